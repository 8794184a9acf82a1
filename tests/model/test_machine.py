"""A state machine against the real code: whatever people, clerks, Mailchimp and workers do.

``MODEL_STEPS`` says how many steps are run, and ``MODEL_SEED`` with which dice; without them it is a
small share, the same each time.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run

from tests.model.world import ADDRESSES, FAULTS, LISTS, Stage, World, as_very_many, stage

LENGTH = int(os.environ.get("MODEL_LENGTH", "50"))  # steps of a history
SHARE = 6  # histories of each kind in the suite
CHUNK = 200  # histories of one run of Hypothesis

some = st.integers(0, 7)  # which customer, counted round
addresses = st.sampled_from(ADDRESSES)
lists = st.sampled_from((LISTS[0], LISTS[0], LISTS[1]))
boxes = st.sampled_from((True, True, False, False, None))
seconds = st.sampled_from((0, 1, 5, 30, 100, 130, 160, 300, 700, 4000, 90_000))
skews = st.sampled_from((0, 0, -60, -20, 20, 60))
counts: Counter[str] = Counter()


class Machine(RuleBasedStateMachine):
    """One history."""

    stage: Stage
    always_confirm = True

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world: World

    @initialize(
        host=skews,
        mailchimp=skews,
        rows=st.lists(st.tuples(addresses, boxes), max_size=3),
        many=st.booleans(),
        found=st.booleans(),
    )
    def begin(
        self,
        host: int,
        mailchimp: int,
        rows: list[tuple[str, bool | None]],
        many: bool = False,
        found: bool = False,
    ) -> None:
        if many:
            self.stack.enter_context(as_very_many())
        world = self.stage.world(
            host_ahead_s=host,
            sandbox_ahead_s=mailchimp,
            always_confirm=self.always_confirm,
            enabled=not found,
        )
        self.world = self.stack.enter_context(world)
        for address, box in rows:
            if found:
                self.world.found(address, box)
            else:
                self.world.add(address, box)
        if found:
            self.world.settings(enabled=True)

    def customer(self, number: int) -> int | None:
        keys = self.world.customers
        return keys[number % len(keys)] if keys else None

    # Customers and clerks

    @rule(address=addresses, box=boxes, named=st.booleans(), own=st.booleans())
    def add(self, address: str, box: bool | None, named: bool, own: bool) -> None:
        if len(self.world.customers) < 6:
            self.world.add(address, box, named=named, own=LISTS[1] if own else None)

    @rule(number=some, box=boxes)
    def tick(self, number: int, box: bool | None) -> None:
        self._change(number, wants_news=box)

    @rule(number=some, box=boxes)
    def tick_too(self, number: int, box: bool | None) -> None:
        self._change(number, wants_news=box)

    @rule(number=some, name=st.sampled_from(("Ada", "Bob", "")))
    def edit(self, number: int, name: str) -> None:
        self._change(number, given_name=name)

    @rule(number=some, address=addresses)
    def new_address(self, number: int, address: str) -> None:
        self._change(number, mail=address)

    @rule(number=some, own=st.sampled_from((None, *LISTS)))
    def new_list(self, number: int, own: str | None) -> None:
        self._change(number, own_list=own)

    def _change(self, number: int, **values: Any) -> None:
        key = self.customer(number)
        if key is not None:
            self.world.change(key, **values)

    @rule(number=some)
    def delete(self, number: int) -> None:
        key = self.customer(number)
        if key is not None:
            self.world.delete(key)

    @rule(box=boxes)
    def bulk(self, box: bool | None) -> None:
        self.world.bulk(self.world.customers[:3], wants_news=box)

    @rule(number=some, box=boxes)
    def raw(self, number: int, box: bool | None) -> None:
        key = self.customer(number)
        if key is not None:
            self.world.raw(key, box)

    # People and administrators at Mailchimp

    @rule(
        act=st.sampled_from(("subscribe", "unsubscribe", "confirm", "unsubscribe")),
        address=addresses,
        list_id=lists,
        by=st.sampled_from(("contact", "contact", "admin")),
    )
    def says(self, act: str, address: str, list_id: str, by: str) -> None:
        more = {} if act == "confirm" else {"by": by}
        self.world.at_mailchimp(act, address, list_id, **more)

    @rule(address=addresses, list_id=lists)
    def complains(self, address: str, list_id: str) -> None:
        self.world.at_mailchimp("unsubscribe", address, list_id, reason="abuse")

    @rule(address=addresses, new=addresses, list_id=lists)
    def moves(self, address: str, new: str, list_id: str) -> None:
        self.world.at_mailchimp("change_email", address, list_id, new=new)

    @rule(address=addresses, list_id=lists, name=st.sampled_from(("L1", "L2")))
    def edits(self, address: str, list_id: str, name: str) -> None:
        self.world.at_mailchimp("edit_profile", address, list_id, LNAME=name)

    @rule(
        act=st.sampled_from(("archive", "archive", "clean", "delete_permanently")),
        address=addresses,
        list_id=lists,
    )
    def admin(self, act: str, address: str, list_id: str) -> None:
        self.world.at_mailchimp(act, address, list_id)

    @rule(list_id=lists, on=st.booleans())
    def double_optin(self, list_id: str, on: bool) -> None:
        self.world.double_optin(list_id, on)

    # Rings

    @rule(how=st.sampled_from(("drop", "repeat", "hold", "release", "reverse", "shuffle")))
    def rings(self, how: str) -> None:
        sandbox = self.world.sandbox
        if how == "drop":
            sandbox.drop_rings(1)
        elif how == "repeat":
            sandbox.repeat_rings(2)
        elif how == "hold":
            sandbox.hold_rings()
        else:
            order = {"release": "fifo", "reverse": "reversed", "shuffle": "shuffled"}[how]
            self.world.release(order, 1)

    # Faults, workers, time

    @rule(name=st.sampled_from(sorted(FAULTS)), times=st.sampled_from((1, 1, 2)))
    def fault(self, name: str, times: int) -> None:
        self.world.fault(name, times)

    @rule(name=st.sampled_from([name for name in FAULTS if "late" in name or "effect" in name]))
    def lost(self, name: str) -> None:
        self.world.fault(name, 1, "POST /3.0/lists/")

    @rule(
        k=st.integers(1, 4),
        number=some,
        address=addresses,
        what=st.sampled_from(
            ("tick", "untick", "unsubscribe", "subscribe", "archive", "address", "second worker")
        ),
        after=st.booleans(),
    )
    def meanwhile(self, k: int, number: int, address: str, what: str, after: bool) -> None:
        world, key = self.world, self.customer(number)
        if what == "second worker":
            world.overtaken(k)
        elif what in ("unsubscribe", "subscribe", "archive"):
            world.meanwhile(k, lambda: world.at_mailchimp(what, address, LISTS[0]), after=after)
        elif key is not None:
            values: dict[str, Any] = {"wants_news": what == "tick"}
            if what == "address":
                values = {"mail": address}
            world.meanwhile(k, lambda: world.still(key, **values), after=after)

    @rule()
    def work(self) -> None:
        self.world.work()

    @rule()
    def work_more(self) -> None:
        self.world.work()

    @rule(killed_at=st.none() | st.integers(1, 40))
    def piece(self, killed_at: int | None) -> None:
        self.world.piece(killed_at=killed_at, budget_s=0.0 if killed_at is None else 30.0)

    @rule(s=seconds)
    def wait(self, s: int) -> None:
        self.world.wait(s)

    @rule(s=seconds)
    def wait_and_work(self, s: int) -> None:
        self.world.wait(s)
        self.world.work()

    # Administrators of the host

    @rule(
        what=st.sampled_from(
            (
                {"daily": True},
                {"daily": False},
                {"enabled": False},
                {"enabled": True},
                {"master_list": LISTS[0]},
                {"master_list": LISTS[1]},
                {"on_delete": "leave"},
                {"on_delete": "archive"},
                {"on_delete": "delete"},
                {"on_delete": "unsubscribe"},
            )
        )
    )
    def settings(self, what: dict[str, Any]) -> None:
        self.world.settings(**what)

    @rule(act=st.sampled_from(("start", "resume", "cancel", "resume")))
    def sync(self, act: str) -> None:
        self.world.sync(act)

    @rule(what=st.sampled_from(("retry", "new key")))
    def mend(self, what: str) -> None:
        if what == "retry":
            self.world.retry()
        else:
            self.world.new_key()

    # What must hold

    @invariant()
    def always(self) -> None:
        if hasattr(self, "world"):
            counts["steps"] += 1
            self.world.now.turn(seconds=1)
            self.world.check_always()

    def teardown(self) -> None:
        with self.stack:
            if hasattr(self, "world"):
                counts["histories"] += 1
                self.world.settle_down()
                self.world.check_settled()
                counts["races"] += len(self.world.races)


class Rejoining(Machine):
    """With the policy that subscribes again whom only we unsubscribed."""

    always_confirm = False


@pytest.fixture(scope="module")
def on_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("stage")) as made:
        yield made


def dice(number: int) -> settings:
    return settings(
        max_examples=number,
        stateful_step_count=LENGTH,
        deadline=None,
        database=None,
        derandomize="MODEL_STEPS" not in os.environ,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,) if os.environ.get("MODEL_SHRINK") == "no" else tuple(Phase),
        print_blob=False,
    )


@pytest.mark.timeout(0 if "MODEL_STEPS" in os.environ else 300)
@pytest.mark.parametrize("machine", [Machine, Rejoining])
def test_nobodys_last_word_is_lost(on_stage: Stage, machine: type[Machine]) -> None:
    histories = int(os.environ.get("MODEL_STEPS", SHARE * LENGTH)) // LENGTH
    counts.clear()
    begin = time.monotonic()
    for chunk in range(0, histories, CHUNK):
        kind = type(machine.__name__, (machine,), {"stage": on_stage})
        if "MODEL_STEPS" in os.environ:
            kind = seed(int(os.environ.get("MODEL_SEED", "1")) + chunk)(kind)
        run(kind, settings=dice(min(CHUNK, histories - chunk)))
    took_s = time.monotonic() - begin
    print(f"{machine.__name__}: {dict(counts)} in {took_s:.0f} s")
    assert counts["steps"] >= histories
