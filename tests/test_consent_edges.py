"""The rule at its edges: clocks, ties, reasons, and what holds in every situation whatever.

Beside the table of ``test_consent``: there each story has its answer, here each comparison has both
its sides. ``make mutants`` measures whether the two notice every small change of the rule.
"""

from __future__ import annotations

import importlib
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_mailchimp_optin.consent import (
    EPSILON,
    LATE,
    Act,
    Agreed,
    Host,
    Member,
    Memory,
    Outcome,
    Status,
    Verb,
    decide,
    latest,
)
from tests.blocks import ROOT

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
UNSUB, SUB, PENDING = Status.UNSUBSCRIBED, Status.SUBSCRIBED, Status.PENDING
TICKED, UNTICKED = Host(wanted=True, at=NOON, moved=True), Host(wanted=False, at=NOON, moved=True)
KNEW_YES, KNEW_NO = Memory(agreed=Agreed.YES), Memory(agreed=Agreed.NO)


def left(changed: datetime | None) -> Member:
    return Member(status=UNSUB, last_changed=changed)


def came(*, opted: datetime | None = None, changed: datetime | None = None) -> Member:
    return Member(status=SUB, last_changed=changed, timestamp_opt=opted)


def test_the_clocks_may_be_two_minutes_apart_and_a_late_request_has_longer() -> None:
    assert timedelta(minutes=2) == EPSILON
    assert timedelta(seconds=150) == LATE


def test_nothing_is_known_unless_it_is_said() -> None:
    assert Memory() == Memory(
        agreed=Agreed.NOTHING,
        subscribed_seen_at=None,
        opted_at=None,
        removed_at=None,
        sent=frozenset(),
        archived_seen_at=None,
        asked=False,
    )
    assert Host(wanted=True) == Host(wanted=True, at=None, moved=False)
    assert Member(status=SUB) == Member(status=SUB, last_changed=None, timestamp_opt=None)
    assert Outcome(act=Act.WAIT, why="") == Outcome(
        act=Act.WAIT, why="", verb=None, box=None, agreed=Agreed.NOTHING
    )


# Each comparison of clocks, on both its sides. Both may be EPSILON off: "certainly" is twice that.


@pytest.mark.parametrize(
    ("seen", "box"),
    [
        (NOON - HOUR, None),
        (NOON + 2 * EPSILON - TICK, None),
        (NOON + 2 * EPSILON, None),
        (NOON + 2 * EPSILON + TICK, False),
    ],
)
def test_a_no_is_later_only_if_we_saw_them_subscribed_certainly_after_the_tick(
    seen: datetime, box: bool | None
) -> None:
    memory = Memory(agreed=Agreed.YES, subscribed_seen_at=seen)
    outcome = decide(TICKED, left(NOON + HOUR), memory)
    assert outcome.box is box
    assert outcome.verb is (Verb.ASK if box is None else None)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (None, "both sides changed at about the same time"),
        (NOON + HOUR, "both sides changed at about the same time"),
        (NOON - 2 * EPSILON + TICK, "both sides changed at about the same time"),
        (NOON - 2 * EPSILON, "both sides changed at about the same time"),
        (NOON - 2 * EPSILON - TICK, "ticked after the person had unsubscribed at Mailchimp"),
    ],
)
def test_a_tick_is_later_only_if_nothing_changed_there_since_certainly_before(
    changed: datetime | None, why: str
) -> None:
    outcome = decide(TICKED, left(changed), KNEW_YES)
    assert outcome == Outcome(act=Act.SEND, verb=Verb.ASK, why=why)


@pytest.mark.parametrize(
    ("opted", "box"),
    [
        (None, None),
        (NOON + 2 * EPSILON - TICK, None),
        (NOON + 2 * EPSILON, None),
        (NOON + 2 * EPSILON + TICK, True),
    ],
)
def test_a_yes_is_later_only_if_they_opted_in_certainly_after_the_untick(
    opted: datetime | None, box: bool | None
) -> None:
    outcome = decide(UNTICKED, came(opted=opted, changed=NOON + HOUR), KNEW_NO)
    assert outcome.box is box
    assert outcome.verb is (Verb.ASK if box is None else None)


@pytest.mark.parametrize(
    ("changed", "verb"),
    [
        (None, Verb.ASK),
        (NOON - 2 * EPSILON + TICK, Verb.ASK),
        (NOON - 2 * EPSILON, Verb.ASK),
        (NOON - 2 * EPSILON - TICK, Verb.REMOVE),
    ],
)
def test_an_untick_is_later_only_if_nothing_changed_there_since_certainly_before(
    changed: datetime | None, verb: Verb
) -> None:
    assert decide(UNTICKED, came(changed=changed), KNEW_NO).verb is verb


@pytest.mark.parametrize(
    ("opted", "before", "box"),
    [
        (NOON + HOUR, NOON + HOUR - TICK, True),
        (NOON + HOUR, NOON + HOUR, None),
        (NOON + HOUR, NOON + HOUR + TICK, True),  # what we send carries the host's time
        (NOON + HOUR, None, None),
        (None, NOON + HOUR, None),
    ],
)
def test_somebody_came_back_only_if_their_opt_in_is_another_than_the_one_we_knew(
    opted: datetime | None, before: datetime | None, box: bool | None
) -> None:
    memory = Memory(agreed=Agreed.YES, opted_at=before)
    outcome = decide(UNTICKED, came(opted=opted, changed=opted), memory)
    assert outcome.box is box
    assert outcome.verb is (Verb.REMOVE if box is None else None)


@pytest.mark.parametrize(
    ("changed", "removed", "verb"),
    [
        (NOON - HOUR, NOON - HOUR, Verb.REJOIN),
        (NOON - HOUR - TICK, NOON - HOUR, Verb.ASK),
        (NOON - HOUR + TICK, NOON - HOUR, Verb.ASK),
        (NOON - HOUR, None, Verb.ASK),
        (None, NOON - HOUR, Verb.ASK),
        (None, None, Verb.ASK),
    ],
)
def test_who_we_removed_rejoins_only_if_not_a_microsecond_differs(
    changed: datetime | None, removed: datetime | None, verb: Verb
) -> None:
    memory = Memory(agreed=Agreed.NO, removed_at=removed)
    assert decide(TICKED, left(changed), memory).verb is verb


# Our own requests explain a change: then Mailchimp has not moved.


@pytest.mark.parametrize("agreed", Agreed)
def test_a_no_that_our_own_removal_explains_is_no_decision_of_the_person(agreed: Agreed) -> None:
    explained = Memory(agreed=agreed, sent=frozenset({Verb.REMOVE}), subscribed_seen_at=NOON + HOUR)
    assert decide(TICKED, left(NOON), explained).verb is Verb.ASK
    unexplained = replace(explained, sent=frozenset({Verb.UPSERT, Verb.ASK, Verb.REJOIN}))
    outcome = decide(TICKED, left(NOON), unexplained)
    assert outcome.box is (None if agreed is Agreed.NO else False)


@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize(
    ("sent", "ours"),
    [
        ({Verb.UPSERT}, True),
        ({Verb.REJOIN}, True),
        ({Verb.UPSERT, Verb.REMOVE}, True),
        ({Verb.REMOVE}, False),
        ({Verb.ASK}, False),
        (set(), False),
    ],
)
def test_a_yes_that_our_own_request_explains_is_no_decision_of_the_person(
    sent: set[Verb], ours: bool, moved: bool
) -> None:
    memory = Memory(agreed=Agreed.NO, sent=frozenset(sent))
    outcome = decide(replace(UNTICKED, moved=moved), came(changed=NOON + HOUR), memory)
    if ours:
        why = "a no that our own late request crossed"
        assert outcome == Outcome(act=Act.SEND, verb=Verb.REMOVE, why=why)
    else:
        assert outcome.verb is (Verb.ASK if moved else None)


@pytest.mark.parametrize(
    ("opted", "follows"),
    [
        (NOON - 2 * EPSILON - TICK, Verb.REMOVE),
        (NOON - 2 * EPSILON, Verb.ASK),
        (NOON + 2 * EPSILON, Verb.ASK),
        (NOON + 2 * EPSILON + TICK, Verb.ASK),
    ],
)
@pytest.mark.parametrize("asked", [True, False])
def test_what_a_request_of_ours_may_explain_is_asked_about_unless_it_is_older_than_the_no(
    opted: datetime, follows: Verb | bool, asked: bool
) -> None:
    memory = Memory(agreed=Agreed.NO, sent=frozenset({Verb.UPSERT}), asked=asked)
    there = came(opted=opted, changed=NOON - HOUR)
    for moved in (True, False):
        outcome = decide(replace(UNTICKED, moved=moved), there, memory)
        assert follows in (outcome.verb, outcome.box)


@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize("agreed", Agreed)
def test_a_removal_that_overtook_a_yes_is_undone_or_asked_about(
    agreed: Agreed, moved: bool
) -> None:
    host = replace(TICKED, moved=moved)
    memory = Memory(agreed=agreed, sent=frozenset({Verb.REMOVE}), removed_at=NOON)
    assert decide(host, left(NOON), memory).verb is Verb.REJOIN
    assert decide(host, left(NOON), memory, always_confirm=True).verb is Verb.ASK
    assert decide(host, left(NOON + TICK), memory).verb is Verb.ASK
    # A yes without a time never stands against a no.
    assert decide(replace(host, at=None), left(NOON), memory).box is False


@pytest.mark.parametrize(
    ("opted", "before", "crossed"),
    [
        (NOON, NOON - TICK, True),
        (NOON, None, True),
        (NOON, NOON, False),
        (None, None, False),
        (None, NOON, False),
        (NOON - 2 * EPSILON, NOON - HOUR, True),
        (NOON - 2 * EPSILON - TICK, NOON - HOUR, False),
    ],
)
def test_a_removal_that_crossed_a_new_opt_in_is_asked_about(
    opted: datetime | None, before: datetime | None, crossed: bool
) -> None:
    memory = Memory(agreed=Agreed.NO, opted_at=before, sent=frozenset({Verb.REMOVE}))
    there = Member(status=UNSUB, last_changed=NOON, timestamp_opt=opted)
    outcome = decide(UNTICKED, there, memory)
    if crossed:
        why = "our request crossed a yes of the person's at Mailchimp"
        assert outcome == Outcome(act=Act.SEND, verb=Verb.ASK, why=why)
    else:
        why = "unsubscribed, as decided"
        assert outcome == Outcome(act=Act.AGREE, why=why, agreed=Agreed.NO)
    undated, anew = replace(UNTICKED, at=None), opted is not None and opted != before
    assert decide(undated, there, memory).verb is (Verb.ASK if anew else None)
    # Its answer came, and the member was edited since: still ours, unless they came and left again.
    answered = replace(memory, sent=frozenset(), removed_at=NOON - TICK, seen_opted_at=opted)
    for moved in (True, False):
        host = replace(UNTICKED, moved=moved)
        assert decide(host, there, answered) == outcome
        came_between = replace(answered, seen_opted_at=NOON - 2 * HOUR)
        assert decide(host, there, came_between).why == "not subscribed"
    # Without that request, it is simply what both sides say.
    assert decide(UNTICKED, there, replace(memory, sent=frozenset())).why == "not subscribed"


@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize("verb", Verb)
def test_a_question_of_ours_that_landed_late_is_withdrawn(verb: Verb, moved: bool) -> None:
    memory = Memory(agreed=Agreed.NO, sent=frozenset({verb}))
    outcome = decide(replace(UNTICKED, moved=moved), Member(status=PENDING), memory)
    withdrawn = moved or verb in (Verb.ASK, Verb.UPSERT)
    assert outcome.verb is (Verb.REMOVE if withdrawn else None)


@pytest.mark.parametrize(
    ("changed", "seen", "back"),
    [
        (NOON - 2 * EPSILON - TICK, None, True),
        (NOON - 2 * EPSILON, None, False),
        (NOON, NOON - TICK, True),
        (NOON, NOON, False),
        (NOON, NOON + TICK, False),
        (None, None, False),
        (None, NOON - TICK, True),
    ],
)
def test_a_yes_brings_back_from_the_archive_only_if_it_is_certainly_newer(
    changed: datetime | None, seen: datetime | None, back: bool
) -> None:
    there = Member(status=Status.ARCHIVED, last_changed=changed)
    assert decide(TICKED, there, Memory(archived_seen_at=seen)).verb is (
        Verb.UPSERT if back else None
    )
    for host in (replace(TICKED, moved=False), replace(TICKED, at=None)):
        assert decide(host, there, Memory(archived_seen_at=seen)).verb is None


# What is known to both sides afterwards.


@pytest.mark.parametrize("agreed", Agreed)
@pytest.mark.parametrize("status", [Status.CLEANED, Status.ARCHIVED])
@pytest.mark.parametrize("wanted", [None, True])
def test_who_cannot_be_reached_keeps_what_was_agreed(
    status: Status, wanted: bool | None, agreed: Agreed
) -> None:
    outcome = decide(Host(wanted=wanted), Member(status=status), Memory(agreed=agreed))
    why = "archived at Mailchimp" if status is Status.ARCHIVED else "bounced at Mailchimp"
    assert outcome == Outcome(act=Act.UNREACHABLE, why=why, agreed=agreed)


@pytest.mark.parametrize("agreed", Agreed)
@pytest.mark.parametrize(
    ("asked", "sent"), [(True, set()), (False, {Verb.UPSERT}), (True, {Verb.UPSERT})]
)
def test_a_new_yes_is_told_to_an_archived_member_only_once(
    agreed: Agreed, asked: bool, sent: set[Verb]
) -> None:
    there = Member(status=Status.ARCHIVED, last_changed=NOON - HOUR)
    assert decide(TICKED, there, Memory(agreed=agreed)).verb is Verb.UPSERT
    outcome = decide(TICKED, there, Memory(agreed=agreed, asked=asked, sent=frozenset(sent)))
    assert outcome == Outcome(act=Act.UNREACHABLE, why="archived at Mailchimp", agreed=agreed)


@pytest.mark.parametrize("agreed", Agreed)
@pytest.mark.parametrize("moved", [True, False])
def test_a_sign_up_elsewhere_that_waits_for_confirmation_changes_nothing(
    agreed: Agreed, moved: bool
) -> None:
    there, memory = Member(status=PENDING), Memory(agreed=agreed)
    outcome = decide(replace(UNTICKED, moved=False), there, memory)
    assert outcome == Outcome(act=Act.WAIT, why="waiting for confirmation", agreed=agreed)
    asked = decide(replace(UNTICKED, moved=moved), there, replace(memory, asked=True))
    assert asked == Outcome(act=Act.WAIT, why="waiting for confirmation", agreed=Agreed.ASKED)


@pytest.mark.parametrize("agreed", Agreed)
def test_who_was_asked_once_is_waited_for_and_what_was_agreed_stays(agreed: Agreed) -> None:
    there = Member(status=Status.TRANSACTIONAL)
    outcome = decide(TICKED, there, Memory(agreed=agreed, asked=True))
    why = "asked once: a transactional contact has not agreed to marketing"
    assert outcome == Outcome(act=Act.WAIT, why=why)  # nothing is agreed by having asked


# Decisions that nobody had looked at when both sides last agreed.


@pytest.mark.parametrize(
    ("agreed_at", "opted", "follows"),
    [
        (None, NOON + HOUR, Verb.REMOVE),  # only we had acted there
        (NOON, NOON + HOUR, Verb.REMOVE),
        (NOON + TICK, NOON + HOUR, True),
        (NOON + TICK, NOON + 2 * EPSILON, Verb.ASK),
        (NOON + TICK, NOON - HOUR, Verb.REMOVE),
    ],
)
def test_a_no_from_before_the_last_agreement_is_compared_with_what_was_agreed(
    agreed_at: datetime | None, opted: datetime, follows: Verb | bool
) -> None:
    memory = Memory(agreed=Agreed.YES, opted_at=opted, agreed_at=agreed_at)
    outcome = decide(UNTICKED, came(opted=opted, changed=opted), memory)
    assert follows in (outcome.verb, outcome.box)


@pytest.mark.parametrize(
    ("agreed", "agreed_at", "opted", "verb"),
    [
        (Agreed.ASKED, NOON + TICK, NOON, None),
        (Agreed.ASKED, NOON + TICK, NOON - 2 * EPSILON, None),
        (Agreed.ASKED, NOON + TICK, NOON - 2 * EPSILON - TICK, Verb.REMOVE),
        (Agreed.ASKED, NOON + TICK, None, Verb.REMOVE),
        (Agreed.ASKED, NOON, NOON, Verb.REMOVE),
        (Agreed.ASKED, None, NOON, Verb.REMOVE),
        (Agreed.YES, NOON + TICK, NOON, Verb.REMOVE),
    ],
)
def test_a_question_that_replaced_a_newer_yes_stays_open(
    agreed: Agreed, agreed_at: datetime | None, opted: datetime | None, verb: Verb | None
) -> None:
    memory = Memory(agreed=agreed, agreed_at=agreed_at, opted_at=NOON - 2 * HOUR)
    there = Member(status=PENDING, last_changed=NOON, timestamp_opt=opted)
    outcome = decide(UNTICKED, there, memory)
    assert outcome.verb is verb
    assert outcome.act is (Act.WAIT if verb is None else Act.SEND)
    if verb is None:
        assert outcome.agreed is Agreed.ASKED
    undated = decide(replace(UNTICKED, at=None), there, memory)
    assert undated.verb is Verb.REMOVE


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("agreed", Agreed)
def test_a_question_or_a_yes_that_our_late_removal_undid_is_put_again(
    agreed: Agreed, asked: bool
) -> None:
    memory = Memory(agreed=agreed, sent=frozenset({Verb.REMOVE}), asked=asked)
    again = Outcome(act=Act.SEND, verb=Verb.ASK, why="our own late request had unsubscribed them")
    assert decide(replace(TICKED, moved=False), left(NOON), memory) == again
    moved = decide(TICKED, left(NOON), memory)
    assert (moved == again) is (agreed is Agreed.ASKED)
    no = decide(replace(UNTICKED, moved=False), left(NOON), memory)
    assert (no == again) is (agreed is Agreed.ASKED)
    assert decide(UNTICKED, left(NOON), memory).act is Act.AGREE


@pytest.mark.parametrize("moved", [True, False])
def test_who_may_have_been_brought_back_from_the_archive_by_accident_is_asked(moved: bool) -> None:
    memory = Memory(agreed=Agreed.YES, revived=True)
    outcome = decide(replace(TICKED, moved=moved), came(), memory)
    why = "a late request of ours may have brought them back from the archive"
    assert outcome == Outcome(act=Act.SEND, verb=Verb.ASK, why=why)
    asked = decide(replace(TICKED, moved=moved), came(), replace(memory, asked=True))
    assert asked == Outcome(act=Act.WAIT, why=f"asked once: {why}")


ANSWERS = {
    "subscribed": (
        TICKED,
        came(),
        Memory(),
        Outcome(act=Act.AGREE, why="subscribed", agreed=Agreed.YES),
    ),
    "not subscribed": (
        UNTICKED,
        left(None),
        Memory(),
        Outcome(act=Act.AGREE, why="not subscribed", agreed=Agreed.NO),
    ),
    "not mailed": (
        UNTICKED,
        Member(status=Status.CLEANED),
        Memory(agreed=Agreed.YES),
        Outcome(act=Act.AGREE, why="not mailed, as decided", agreed=Agreed.NO),
    ),
    "asked": (
        TICKED,
        Member(status=PENDING),
        Memory(),
        Outcome(act=Act.WAIT, why="waiting for confirmation", agreed=Agreed.ASKED),
    ),
    "undecided": (
        Host(wanted=None),
        Member(status=Status.TRANSACTIONAL),
        Memory(agreed=Agreed.YES),
        Outcome(act=Act.WAIT, why="nobody has decided yet"),
    ),
    "box ticked": (
        Host(wanted=None),
        came(),
        Memory(),
        Outcome(act=Act.BOX, box=True, why="subscribed at Mailchimp", agreed=Agreed.YES),
    ),
    "box unticked": (
        Host(wanted=None),
        left(None),
        Memory(),
        Outcome(act=Act.BOX, box=False, why="unsubscribed at Mailchimp", agreed=Agreed.NO),
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_whole_answer(name: str) -> None:
    host, there, memory, expected = ANSWERS[name]
    assert decide(host, there, memory) == expected


# What holds in every situation.

#: Around noon, at and beside each bound: one and two times EPSILON away.
TIMES = [NOON + k * EPSILON + d for k in (-3, -2, -1, 0, 1, 2, 3) for d in (-TICK, 0 * TICK, TICK)]
times = st.none() | st.sampled_from(TIMES)
hosts = st.builds(Host, wanted=st.sampled_from([None, True, False]), at=times, moved=st.booleans())
members = st.builds(Member, status=st.sampled_from(Status), last_changed=times, timestamp_opt=times)
memories = st.builds(
    Memory,
    agreed=st.sampled_from(Agreed),
    subscribed_seen_at=times,
    opted_at=times,
    seen_opted_at=times,
    agreed_at=times,
    removed_at=times,
    archived_seen_at=times,
    sent=st.frozensets(st.sampled_from(Verb)),
    asked=st.booleans(),
)
everywhere = settings(max_examples=400, derandomize=True, deadline=None, database=None)

#: How near an answer brings somebody to the list.
NEARER = {Verb.REMOVE: 0, None: 1, Verb.ASK: 2, Verb.UPSERT: 3, Verb.REJOIN: 3}


def nearness(outcome: Outcome) -> int:
    if outcome.act in (Act.BOX, Act.AGREE):
        return 3 if outcome.agreed is Agreed.YES else 0
    return NEARER[outcome.verb]


@everywhere
@given(hosts, members, memories, st.booleans())
def test_every_situation_has_one_answer_with_a_reason(
    host: Host, member: Member, memory: Memory, always_confirm: bool
) -> None:
    outcome = decide(host, member, memory, always_confirm=always_confirm)
    assert isinstance(outcome.act, Act)
    assert isinstance(outcome.agreed, Agreed)
    assert outcome.why
    assert (outcome.verb is not None) == (outcome.act is Act.SEND)
    assert (outcome.box is not None) == (outcome.act is Act.BOX)


@everywhere
@given(hosts, members, memories)
def test_always_confirm_only_turns_a_rejoin_into_a_question(
    host: Host, member: Member, memory: Memory
) -> None:
    usual = decide(host, member, memory)
    confirmed = decide(host, member, memory, always_confirm=True)
    assert confirmed.verb is not Verb.REJOIN
    if usual.verb is Verb.REJOIN:
        assert confirmed.verb is (None if memory.asked else Verb.ASK)
    else:
        assert confirmed == usual


@everywhere
@given(hosts, members, memories)
def test_nobody_is_asked_twice_about_one_decision_unless_a_late_request_of_ours_took_the_answer(
    host: Host, member: Member, memory: Memory
) -> None:
    outcome = decide(host, member, replace(memory, asked=True))
    assert outcome.verb is not Verb.ASK or memory.sent - {Verb.ASK}


@everywhere
@given(hosts, members, memories, st.booleans())
def test_only_a_rejoin_moves_an_existing_member_to_subscribed(
    host: Host, member: Member, memory: Memory, always_confirm: bool
) -> None:
    outcome = decide(host, member, memory, always_confirm=always_confirm)
    if outcome.verb is Verb.UPSERT:
        assert member.status in (Status.ABSENT, Status.ARCHIVED)
    if outcome.verb is Verb.REJOIN:
        assert member.status is UNSUB
        assert member.last_changed == memory.removed_at
        assert memory.removed_at is not None
    if outcome.verb in (Verb.UPSERT, Verb.REJOIN):
        assert host.wanted


@everywhere
@given(times.filter(bool), times.filter(bool), members, memories, st.booleans())
def test_a_later_no_is_never_told_as_less_of_a_no(
    one: datetime, other: datetime, member: Member, memory: Memory, moved: bool
) -> None:
    earlier, later = (
        decide(Host(wanted=False, at=at, moved=moved), member, memory)
        for at in sorted((one, other))
    )
    assert nearness(later) <= nearness(earlier)


@everywhere
@given(times.filter(bool), times.filter(bool), members, memories, st.booleans())
def test_a_later_yes_is_never_told_as_less_of_a_yes(
    one: datetime, other: datetime, member: Member, memory: Memory, moved: bool
) -> None:
    earlier, later = (
        decide(Host(wanted=True, at=at, moved=moved), member, memory) for at in sorted((one, other))
    )
    assert nearness(later) >= nearness(earlier)


@everywhere
@given(hosts, members, memories, st.booleans())
def test_only_differences_of_times_count_and_never_how_they_are_written(
    host: Host, member: Member, memory: Memory, always_confirm: bool
) -> None:
    east = timezone(timedelta(hours=9, minutes=30))

    def elsewhere(at: datetime | None) -> datetime | None:
        return at and (at + timedelta(days=400)).astimezone(east)

    shifted = decide(
        replace(host, at=elsewhere(host.at)),
        replace(
            member,
            last_changed=elsewhere(member.last_changed),
            timestamp_opt=elsewhere(member.timestamp_opt),
        ),
        replace(
            memory,
            subscribed_seen_at=elsewhere(memory.subscribed_seen_at),
            opted_at=elsewhere(memory.opted_at),
            seen_opted_at=elsewhere(memory.seen_opted_at),
            agreed_at=elsewhere(memory.agreed_at),
            removed_at=elsewhere(memory.removed_at),
            archived_seen_at=elsewhere(memory.archived_seen_at),
        ),
        always_confirm=always_confirm,
    )
    assert shifted == decide(host, member, memory, always_confirm=always_confirm)


@everywhere
@given(hosts, members, memories)
def test_what_was_agreed_stays_agreed(host: Host, member: Member, memory: Memory) -> None:
    """After both sides agree, or the box has followed, the same reading changes nothing more."""
    outcome = decide(host, member, memory)
    if outcome.act not in (Act.AGREE, Act.BOX):
        return
    wanted = host.wanted if outcome.box is None else outcome.box
    settled = Host(wanted=wanted, at=member.last_changed, moved=False)
    remembered = replace(memory, agreed=outcome.agreed, opted_at=member.timestamp_opt)
    again = decide(settled, member, remembered)
    assert (again.act, again.agreed) == (Act.AGREE, outcome.agreed)


@everywhere
@given(hosts, members, memories)
def test_no_answer_leaves_a_decision_untold(host: Host, member: Member, memory: Memory) -> None:
    """S and L: what the host decided is told, asked about, followed, or has a visible reason."""
    outcome = decide(host, member, memory)
    if host.wanted is False and member.status is SUB:
        untold = outcome.act is Act.WAIT and not memory.asked
        assert outcome.act in (Act.SEND, Act.BOX, Act.WAIT)
        assert not untold
    if host.wanted and member.status is not SUB:
        assert outcome.act is not Act.AGREE
        if outcome.act is Act.WAIT:
            assert memory.asked or member.status is PENDING


# Customers who share an address.


@everywhere
@given(st.lists(st.tuples(st.booleans(), times), max_size=4))
def test_the_order_of_customers_never_matters_and_a_tie_is_a_no(
    decisions: list[tuple[bool, datetime | None]],
) -> None:
    wanted, at = latest(decisions)
    assert all(latest(order) == (wanted, at) for order in itertools.permutations(decisions))
    timed = [(yes, when) for yes, when in decisions if when is not None]
    if timed:
        assert at == max(when for _, when in timed)
        assert wanted is all(yes for yes, when in timed if when == at)
    else:
        assert at is None
        assert wanted is (True if any(yes for yes, _ in decisions) else None)


# Every reason has its place in the documentation.


def _reasons() -> set[str]:
    """Every reason that the rule can give, found by asking it about everything."""
    some = (None, NOON - HOUR, NOON + HOUR)
    every = itertools.product(
        [
            Host(wanted=w, at=at, moved=m)
            for w, at, m in itertools.product((None, True, False), (None, NOON), (True, False))
        ],
        [
            Member(status=s, last_changed=c, timestamp_opt=o)
            for s, c, o in itertools.product(Status, some, some)
        ],
        [
            Memory(agreed=a, removed_at=r, subscribed_seen_at=s, opted_at=o, sent=v, asked=q)
            for a, r, s, o, v, q in itertools.product(
                Agreed,
                (None, NOON - HOUR),
                (None, NOON + HOUR),
                (None, NOON),
                [frozenset[Verb](), frozenset({Verb.UPSERT}), frozenset({Verb.REMOVE})],
                (True, False),
            )
        ],
    )
    return {decide(host, member, memory).why for host, member, memory in every}


def test_every_reason_that_the_rule_gives_is_in_the_documentations_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    situations = importlib.import_module("consent_table").SITUATIONS
    reasons, documented = _reasons(), {situation.outcome.why for situation in situations}
    # Of those asked once, one stands for all: the rest of the reason is the question's own.
    asked = {why for why in reasons if why.startswith("asked once: ")}
    assert {why.removeprefix("asked once: ") for why in asked} <= reasons
    assert asked & documented
    assert reasons - asked <= documented
