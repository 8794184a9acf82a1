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
from tests.invariants import Promises

PEOPLE = ("ada", "bob", "cyd")


class History:
    """One random history."""

    def __init__(self, host: Host, promises: Promises, seed: int) -> None:
        self.host, self.promises, self.dice = host, promises, random.Random(seed)
        host.connect()
        self.ids = {name: promises.add(f"{name}@example.com", wants_news=False) for name in PEOPLE}
        self.log: list[str] = []

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
        self.promises.change(self.ids[name], wants_news=True)

    def untick(self, name: str) -> None:
        self.promises.change(self.ids[name], wants_news=False)

    def edit(self, name: str) -> None:
        self.promises.change(self.ids[name], given_name=f"N{self.dice.random():.3f}")

    def _person(self, act: Callable[..., bool], name: str, **more: Any) -> None:
        try:
            act(self.host.list_id, self.address(name), **more)
        except ImpossibleActError:
            self.log.append("(impossible)")

    def subscribe(self, name: str) -> None:
        self._person(self.host.sandbox.subscribe, name)

    def unsubscribe(self, name: str) -> None:
        self._person(self.host.sandbox.unsubscribe, name)

    def confirm(self, name: str) -> None:
        self._person(self.host.sandbox.confirm, name)

    def profile(self, name: str) -> None:
        self._person(self.host.sandbox.edit_profile, name, LNAME="Edited")

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
        breaches = self.promises.always() + self.promises.settled()
        assert not breaches, (breaches, self.log)
        with self.host.app.app_context():
            overview = overviews.read(self.host.services, "")
        assert overview.suspended is None, self.log


@pytest.mark.parametrize("seed", range(int(os.environ.get("HISTORIES", "6"))))
def test_nobodys_last_word_is_lost(tmp_path: Path, seed: int) -> None:
    clock = Clock()
    sandbox = MailchimpSandbox(clock=clock)
    with hosting(tmp_path, sandbox, clock) as host, Promises(host).watching() as promises:
        history = History(host, promises, seed)
        history.run(25)
        history.settle_down()
        history.check()
