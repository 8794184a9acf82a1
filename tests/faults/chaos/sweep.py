"""The kill sweep of one database: every scenario is run once for each call of each of its processes,
which dies there or meets an error; then all is started again, swept, and looked at.

Imports the scenarios, the parts and the calls; prints nothing.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from flask_mailchimp_optin import jobs, state
from tests.faults.chaos.calls import (
    CHANGING,
    ERRORS,
    FORKING,
    Calls,
    Fault,
    Strace,
    errors,
    kills,
    landing_late,
)
from tests.faults.chaos.findings import Outcome, facts, outcome
from tests.faults.chaos.forker import Forker, Marks, state_of_process, told
from tests.faults.chaos.parts import House, Picture
from tests.faults.chaos.points import Point, Verdict, who_dies
from tests.faults.chaos.restart import LATE_S, do, restart
from tests.faults.chaos.scenarios import Scenario
from tests.faults.chaos.victims import Forward, Victims


@dataclass(frozen=True, kw_only=True)
class Course:
    """A scenario's house, and how it is before the act, after it, and when all is done."""

    scenario: Scenario
    picture: Picture
    before: Any
    after: Any
    untouched: Outcome
    final: Outcome


class Sweep:
    """One database's sweep."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.host = house.host
        self.marks = Marks()
        self._log = house.folder / "strace.log"
        # libpq believes in a failed write only when a read fails too, and waits for the answer to what
        # was never sent. A connection that is really broken fails both; only an injected error doesn't.
        is_libpq = house.engine.dialect.name == "postgresql"
        self._deaf = house.engine.url.port or 5432 if is_libpq else None
        with self._serving():
            self._warm_up()
        house.engine.dispose()
        house.redis.connection_pool.disconnect()
        state.of(house.app).redis.connection_pool.disconnect()
        house.ours.clear()
        self._forker = Forker(Victims(house, self.marks).child)

    @contextmanager
    def _serving(self) -> Iterator[None]:
        with self.house.sandbox.serve(port=self.house.port):
            self.house.sandbox.deliver_to(self.house.app)
            yield

    @contextmanager
    def running(self) -> Iterator[None]:
        """Mailchimp is there while the block lasts."""
        try:
            with self._serving():
                yield
        finally:
            self._forker.close()

    def _warm_up(self) -> None:
        """What is imported and compiled only when it is first used is so before we fork."""
        self.house.reset()
        self.host.connect()
        customer = self.host.add("warm@example.com", wants_news=True)
        self.host.work()
        self.host.change(customer, wants_news=False)
        self.host.work()
        self.host.sandbox.subscribe(self.host.list_id, "warm@example.com")
        self.host.work()
        with self.house.app.app_context():
            jobs.sweep()

    # A scenario's course without a fault

    def course(self, scenario: Scenario) -> Course:
        """Build the scenario's house, and see how the story goes when nothing happens."""
        self.house.reset()
        scenario.before(self.host)
        assert self.host.sandbox.wait_for_rings(10)
        self.host.take_down()
        picture = self.house.picture()
        before = facts(self.house)
        restart(self.house, scenario.afterwards)
        untouched = outcome(self.house)
        self.house.put_back(picture)
        do(self.house, scenario.act)
        after = facts(self.house)
        self._prepare(scenario)
        restart(self.house, scenario.afterwards)
        return Course(
            scenario=scenario,
            picture=picture,
            before=before,
            after=after,
            untouched=untouched,
            final=outcome(self.house),
        )

    def points(self, course: Course) -> list[Point]:
        """Every point of a scenario, from a dry run of each of its processes.

        :raises AssertionError: the story does not go well even without a fault.
        """
        found = []
        for actor in course.scenario.actors:
            names = (*CHANGING, *(FORKING if actor == "parent" else ()))
            traced = tuple(dict.fromkeys([*names, *ERRORS]))
            verdict, made = self._run(course, actor, None, traced)
            assert verdict.good, f"{course.scenario.name}, {actor}, no fault: {verdict}"
            faults = [*kills(made, names), *errors(made, self._deaf)]
            faults += landing_late(made, faults)
            found += [
                Point(scenario=course.scenario.name, actor=who_dies(actor, fault), fault=fault)
                for fault in faults
            ]
        return found

    # One point

    def strike(self, course: Course, point: Point) -> Verdict:
        """Run the scenario with this fault, start again what died, sweep, and look."""
        return self._run(course, point.actor, point.fault, ())[0]

    def _run(
        self, course: Course, actor: str, fault: Fault | None, names: tuple[str, ...]
    ) -> tuple[Verdict, Calls]:
        self.house.put_back(course.picture)
        with self.host.promises.watching():
            return self._watched(course, actor, fault, names)

    def _watched(
        self, course: Course, actor: str, fault: Fault | None, names: tuple[str, ...]
    ) -> tuple[Verdict, Calls]:
        scenario, host = course.scenario, self.host
        traced, tracer = self._begin(scenario, actor, fault, names)
        if actor == "host" and scenario.web:
            host.sandbox.deliver_to(Forward(self.marks.port))
            host.sandbox.release_rings()
        ended = tracer.end()
        status = self._ended(traced, kill=not ended)
        host.sandbox.deliver_to(self.house.app)
        verdict = Verdict(struck=fault is None or tracer.struck(), other=status)
        if not ended and self._deaf is not None and tracer.struck_a_database():
            # libpq takes a failed write for sent, and waits for an answer that a connection which had
            # really broken would not owe: as good as killed there, and no point of its own.
            verdict.struck = False
        elif not ended:
            verdict.stuck.append("it did not come to an end")
        try:
            there = self._atomic(course, actor, verdict)
            host.take_down()
            restart(self.house, scenario.afterwards)
            self._look(course, verdict, there, late=fault is not None and fault.late > 0)
        except Exception as error:  # whatever stops a restart is a finding
            verdict.stuck.append(told(error))
        return verdict, tracer.calls() if fault is None else Calls()

    def _begin(
        self, scenario: Scenario, actor: str, fault: Fault | None, names: tuple[str, ...]
    ) -> tuple[list[int], Strace]:
        """Start the process, and trace it; the pids of all that may have to be ended."""
        self.marks.clear()
        rings = self._stage(scenario, actor)
        if fault is not None and fault.late:
            self.host.sandbox.before_answer(self._make_late, k=fault.late)
        pid = self._forker.start(
            {
                "scenario": scenario.name,
                "actor": actor,
                "ahead": self.house.clock.ahead.total_seconds(),
                "list_id": self.host.list_id,
                "rings": rings,
            }
        )
        traced = self._stopped(pid, actor)
        tracer = Strace(traced, names, self._log, fault, follow=actor != "parent")
        return [pid, traced], tracer

    def _ended(self, pids: list[int], *, kill: bool) -> str:
        """Wait until nothing of it is left; how it ended."""
        pids = [pid for pid in (*pids, self.marks.child) if pid]
        for pid in pids if kill else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        status = self._forker.wait()
        self.house.wait_for_the_dead(pids)
        return f"status {status:#x} {self.marks.error}"

    def _make_late(self) -> None:
        self.host.sandbox.fail_next(how="late", delay_s=LATE_S)

    def _stage(self, scenario: Scenario, actor: str) -> int:
        """What comes before the process that is traced; how many rings wait for it."""
        sandbox = self.host.sandbox
        if actor == "host":
            if not scenario.web:
                return 0
            sandbox.hold_rings()
            scenario.act(self.host)
            return sandbox.ringer.held()
        do(self.house, scenario.act)
        self._prepare(scenario)
        return 0

    def _prepare(self, scenario: Scenario) -> None:
        if scenario.meanwhile:
            number, meanwhile = scenario.meanwhile
            self.host.sandbox.before_answer(lambda: meanwhile(self.host), k=number)

    def _stopped(self, pid: int, actor: str) -> int:
        deadline = time.monotonic() + 10
        while True:
            traced = self.marks.child if actor in ("worker", "machine") else pid
            if traced and state_of_process(traced) == "T":
                return traced
            if time.monotonic() > deadline or (traced and state_of_process(traced) in ("", "Z")):
                raise RuntimeError(f"the {actor} did not begin: {self.marks.error}")
            time.sleep(0.0005)

    # What must be so

    def _atomic(self, course: Course, actor: str, verdict: Verdict) -> bool:
        """Whether the act is there."""
        if actor != "host":
            return True
        now = facts(self.house)
        if course.scenario.web:
            return True  # Mailchimp rings again until somebody answers
        if now == course.after:
            return True
        if now != course.before:
            verdict.lost.append(f"half of the act is there: {now}")
        elif self.marks.returned:
            verdict.lost.append("the act came back, and is not there")
        return False

    def _look(self, course: Course, verdict: Verdict, there: bool, *, late: bool) -> None:
        expected = course.final if there else course.untouched
        now = outcome(self.house)
        # What lands late may end otherwise, as long as the promises hold.
        as_expected = now.boxes == expected.boxes and _as_good(
            now.statuses, expected.statuses, asked=course.scenario.afterwards is not None
        )
        if not late and not as_expected:
            verdict.wrong.append(f"{now} instead of {expected}")
        verdict.stuck += sorted(now.left_over - expected.left_over)
        for breach in self.host.breaches():
            if late and breach.race:
                continue  # a REJOIN that landed late: no client can rule that out
            words = verdict.lost if breach.promise == "L" else verdict.wrong
            words.append(f"{breach.promise}: {breach.text}")


def _as_good(
    now: dict[str, list[tuple[str, str]]],
    expected: dict[str, list[tuple[str, str]]],
    *,
    asked: bool,
) -> bool:
    """Whether Mailchimp ends as it does undisturbed.

    :param asked: a question will do instead: who changes their mind after a request whose answer
        nobody heard is asked, for it can't be told any more that only we had unsubscribed them.
    """
    if not asked:
        return now == expected
    return now.keys() == expected.keys() and all(
        len(now[name]) == len(expected[name])
        and all(
            there == wanted or (there == (wanted[0], "pending") and wanted[1] == "subscribed")
            for there, wanted in zip(now[name], expected[name], strict=True)
        )
        for name in expected
    )
