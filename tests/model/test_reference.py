"""The reference model: a share of its random histories, every short one, and that it can fail.

``make model`` runs many more. Each control is the model with one thing built wrong; a search that does
not notice it would not notice the same mistake in the package either.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flask_mailchimp_optin.consent import (
    Act,
    Agreed,
    Host,
    Member,
    Memory,
    Outcome,
    Status,
    Verb,
    decide,
)
from tests.model.reference import Machinery, World
from tests.model.search import ACTS, everything, explore, history

HISTORIES = 12_000


def test_random_histories_keep_every_promise() -> None:
    number, found = explore(HISTORIES, rejoin=False)
    assert number == HISTORIES
    assert [one for one in found if not one.race] == []


def test_with_rejoin_only_races_break_a_promise() -> None:
    _, found = explore(HISTORIES // 2, rejoin=True, first_seed=7_000_000)
    assert [one for one in found if not one.race] == []


@pytest.mark.parametrize("box", [None, True])
def test_every_sequence_of_three_acts_keeps_every_promise(box: bool | None) -> None:
    found = everything(60, box=box, most=3)
    assert found.depth == 3
    assert found.histories == sum(len(ACTS) ** n for n in range(4))
    assert found.states > 100
    assert found.broken == []


def _last_writer_wins(host: Host, member: Member, memory: Memory, **policy: bool) -> Outcome:
    """Whoever's time is later, as it is written."""
    outcome = decide(host, member, memory, **policy)
    if member.status is Status.UNSUBSCRIBED and host.wanted and host.at and member.last_changed:
        verb = Verb.REJOIN
        if host.at > member.last_changed:
            return Outcome(act=Act.SEND, verb=verb, why="later")
        return Outcome(act=Act.BOX, box=False, why="later", agreed=Agreed.NO)
    return outcome


def _trusts_clocks(host: Host, member: Member, memory: Memory, **policy: bool) -> Outcome:
    """What Mailchimp shows is always the later."""
    if member.status is Status.SUBSCRIBED and host.wanted is False and not memory.sent:
        return Outcome(act=Act.BOX, box=True, why="subscribed", agreed=Agreed.YES)
    return decide(host, member, memory, **policy)


def _explains_nothing(host: Host, member: Member, memory: Memory, **policy: bool) -> Outcome:
    """Our own late requests are taken for the person's decisions."""
    return decide(host, member, replace(memory, sent=frozenset(), opted_by_us=False), **policy)


def _forgets_opt_ins(host: Host, member: Member, memory: Memory, **policy: bool) -> Outcome:
    """Who left and came back is not told from who stayed."""
    return decide(host, member, replace(memory, opted_at=member.timestamp_opt), **policy)


def _counts_from_now(host: Host, member: Member, memory: Memory, **policy: bool) -> Outcome:
    """A decision that nobody had looked at when both agreed is taken for a newer one."""
    return decide(host, member, replace(memory, agreed_at=None), **policy)


def _asks_once_whatever_happened(
    host: Host, member: Member, memory: Memory, **policy: bool
) -> Outcome:
    """A question that our own late request undid is not put again."""
    outcome = decide(host, member, memory, **policy)
    if outcome.verb is Verb.ASK and memory.sent:
        return Outcome(act=Act.WAIT, why="asked once")
    return outcome


CONTROLS: dict[str, dict[str, Any]] = {
    "last writer wins": {"rule": _last_writer_wins},
    "what Mailchimp shows is later": {"rule": _trusts_clocks},
    "late requests explain nothing": {"rule": _explains_nothing},
    "opt-ins are not remembered": {"rule": _forgets_opt_ins},
    "decisions count from when they are looked at": {"rule": _counts_from_now},
    "asked once, whatever happened": {"rule": _asks_once_whatever_happened},
    "a ring's payload is believed": {"believes_rings": True},
    "an UPSERT sets the status": {"upsert_sets_status": True},
    "acknowledged before it is sent": {"acknowledges_before_sending": True},
    "acknowledged whatever the version": {"acknowledges_any_version": True},
    "lost requests are forgotten": {"forgets_lost_requests": True},
    "a changed box is overwritten": {"overwrites_a_changed_box": True, "ignores_the_outbox": True},
    "archived members are revived": {"revives_blindly": True},
    "a found yes is a decision": {"takes_a_found_yes_for_a_decision": True},
    "one customer speaks for all": {"one_customer_decides": True},
}


@pytest.mark.parametrize("control", CONTROLS)
def test_what_is_built_wrong_is_noticed(control: str) -> None:
    broken = Machinery(**CONTROLS[control])
    seeds = range(200_000)
    found = next(
        (one for seed in seeds if (one := history(seed, machinery=broken)) and not one.race), None
    )
    assert found is not None, f"{len(seeds)} histories did not notice: {control}"
    assert history(found.seed) is None  # and nothing but that is wrong with it


def test_a_history_is_told_again_by_its_seed() -> None:
    first: list[str] = []
    again: list[str] = []
    history(7, told=first)
    history(7, told=again)
    assert first == again
    assert first[-1].startswith("all calms down")


def test_the_same_world_has_the_same_key_an_hour_later() -> None:
    def world(begins_at_s: int) -> World:
        made = World()
        made.passes(begins_at_s)
        made.starts(0, 0, True)
        steps: list[Callable[[], None]] = [made.works, made.works, made.works, made.works]
        for step in steps:
            step()
        return made

    early, late = world(0), world(3600)
    assert early.key() == late.key()
    late.unsubscribes(0)
    assert early.key() != late.key()
    late.calms_down(random.Random(0))
    assert late.judge() == []
