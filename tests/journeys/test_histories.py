"""Random histories with faults: whatever happened, in the end nobody's last word is lost.

Each seed is one history of acts of customers, clerks and administrators, with rings lost and answers
broken in between. ``HISTORIES`` says how many are run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_mailchimp_optin import drain, overviews
from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.sandbox import ImpossibleActError
from tests.faults.test_mailchimp import BEHAVIOURS
from tests.house import Clock, Host, hosting

PEOPLE = ("ada", "bob", "cyd")


class History:
    """One random history, and the last word of everybody in it."""

    def __init__(self, host: Host, seed: int) -> None:
        self.host, self.dice = host, random.Random(seed)
        self.ids = {name: host.add(f"{name}@example.com", wants_news=False) for name in PEOPLE}
        self.last: dict[str, bool | None] = dict.fromkeys(PEOPLE)
        self.log: list[str] = []
        host.connect()

    def address(self, name: str) -> str:
        return f"{name}@example.com"

    def run(self, steps: int) -> None:
        acts: list[Callable[[str], None]] = [
            self.tick,
            self.tick,
            self.untick,
            self.edit,
            self.subscribe,
            self.unsubscribe,
            self.unsubscribe,
            self.confirm,
            self.profile,
            self.fault,
            self.drop,
            self.work_a_little,
            self.work,
            self.work,
        ]
        for _ in range(steps):
            act, name = self.dice.choice(acts), self.dice.choice(PEOPLE)
            self.log.append(f"{act.__name__} {name}")
            act(name)
            self.host.clock.turn(minutes=10)  # so that everybody agrees on what was later

    def tick(self, name: str) -> None:
        if self.host.box(self.ids[name]) is not True:
            self.host.change(self.ids[name], wants_news=True)
            self.last[name] = True

    def untick(self, name: str) -> None:
        if self.host.box(self.ids[name]) is not False:
            self.host.change(self.ids[name], wants_news=False)
            self.last[name] = False

    def edit(self, name: str) -> None:
        self.host.change(self.ids[name], given_name=f"N{self.dice.random():.3f}")

    def _person(self, act: Callable[..., bool], name: str, word: bool | None, **more: Any) -> None:
        try:
            if act(self.host.list_id, self.address(name), **more) and word is not None:
                self.last[name] = word
        except ImpossibleActError:
            self.log.append("(impossible)")

    def subscribe(self, name: str) -> None:
        self._person(self.host.sandbox.subscribe, name, True)

    def unsubscribe(self, name: str) -> None:
        self._person(self.host.sandbox.unsubscribe, name, False)

    def confirm(self, name: str) -> None:
        self._person(self.host.sandbox.confirm, name, True)

    def profile(self, name: str) -> None:
        self._person(self.host.sandbox.edit_profile, name, None, LNAME="Edited")

    def fault(self, _name: str) -> None:
        behaviour = self.dice.choice(sorted(BEHAVIOURS))
        self.log.append(behaviour)
        self.host.sandbox.fail_next(**{"status": 200, **BEHAVIOURS[behaviour]})

    def drop(self, _name: str) -> None:
        self.host.sandbox.drop_rings(1)

    def work_a_little(self, _name: str) -> None:
        with self.host.app.app_context():
            drain.drain(self.host.services, 1, "short-lived", budget_s=0.0)

    def work(self, _name: str) -> None:
        self.host.work()

    def settle_down(self) -> None:
        """Faults stop; everything lands; a daily sync finds what no ring told."""
        self.host.sandbox.stop_failing()
        for _ in range(3):
            self.host.work()
            self.host.clock.turn(minutes=10)
        self.host.clock.turn(days=2)
        for _ in range(3):
            self.host.work()
            self.host.clock.turn(minutes=10)

    def check(self) -> None:
        for name in PEOPLE:
            status = self.host.status(self.address(name))
            box, state = self.host.box(self.ids[name]), self.host.state(self.ids[name])
            facts = f"{name}: last {self.last[name]}, {status}, {box}, {state}; {self.log}"
            if self.last[name] is False:  # S
                assert status != "subscribed", facts
            if self.last[name] is True:  # L
                assert status in ("subscribed", "pending") or state in ("refused", "asked"), facts
            if box:  # C
                assert status in ("subscribed", "pending") or state == "refused", facts
            else:
                assert status != "subscribed", facts
        self.check_requests()

    def check_requests(self) -> None:
        """V: no request moves a member to subscribed whom somebody else unsubscribed."""
        by: dict[str, str] = {}
        for change in self.host.sandbox.status_changes:
            if change.by == "api" and change.new == "subscribed" and change.old == "unsubscribed":
                assert by.get(change.address) == "api", (change, self.log)
            by[change.address] = change.by
        with self.host.app.app_context():
            overview = overviews.read(self.host.services, "")
        assert overview.suspended is None, self.log


@pytest.mark.parametrize("seed", range(int(os.environ.get("HISTORIES", "6"))))
def test_nobodys_last_word_is_lost(tmp_path: Path, seed: int) -> None:
    clock = Clock()
    sandbox = MailchimpSandbox(clock=clock)
    with hosting(tmp_path, sandbox, clock) as host:
        history = History(host, seed)
        history.run(25)
        history.settle_down()
        history.check()
