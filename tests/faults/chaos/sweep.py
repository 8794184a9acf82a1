"""The kill sweep of one database: every scenario is run once for each call of each of its processes,
which dies there or meets an error; then all is started again, swept, and looked at.

Imports the scenarios, the parts and the calls; prints nothing.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from flask_mailchimp_optin import drain, jobs, state
from flask_mailchimp_optin.models import utc
from tests.faults.chaos.calls import CHANGING, ERRORS, FORKING, Fault, Strace
from tests.faults.chaos.parts import (
    Forker,
    Forward,
    House,
    Marks,
    Picture,
    state_of_process,
    told,
)
from tests.faults.chaos.scenarios import SCENARIOS, Scenario
from tests.house import Customer

_BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@dataclass(frozen=True, kw_only=True)
class Point:
    """One fault in one process of one scenario."""

    scenario: str
    actor: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.scenario} | {self.actor} | {self.fault}"


@dataclass(kw_only=True)
class Verdict:
    """What was found after a point. ``lost``, ``wrong`` and ``stuck`` say what, and should be empty."""

    struck: bool
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    other: str = ""

    @property
    def good(self) -> bool:
        return not (self.lost or self.wrong or self.stuck)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What people see when all is done, and what is still waiting, held or open."""

    boxes: list[str]
    statuses: dict[str, list[tuple[str, str]]]
    left_over: frozenset[str]


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
        with self._serving():
            self._warm_up()
        house.engine.dispose()
        house.redis.connection_pool.disconnect()
        state.of(house.app).redis.connection_pool.disconnect()
        house.ours.clear()
        self._forker = Forker(self._child)

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

    # In the children

    def _child(self, command: dict[str, Any]) -> None:
        scenario = _BY_NAME[command["scenario"]]
        self.host.clock.ahead = timedelta(seconds=command["ahead"])
        self.host.list_id = command["list_id"]
        os.environ["PGAPPNAME"] = "chaos"
        try:
            if command["actor"] in ("worker", "parent"):
                self._work(stop_the_horse=command["actor"] == "worker")
            elif scenario.web:
                self._answer_rings(command["rings"])
            else:
                os.kill(os.getpid(), signal.SIGSTOP)
                scenario.act(self.host)
                self.marks.has_returned()
        except BaseException as error:
            self.marks.error = told(error)

    def _work(self, *, stop_the_horse: bool) -> None:
        marks = self.marks

        class Worker(jobs.OurWorker):
            def main_work_horse(self, *args: Any) -> None:
                first = not marks.number
                marks.number = os.getpid()
                if first and stop_the_horse:
                    os.kill(os.getpid(), signal.SIGSTOP)
                super().main_work_horse(*args)

            # The thread that listens for an operator's commands takes 0.2 s to end, and gets none.
            def subscribe(self) -> None: ...

            def unsubscribe(self) -> None: ...

        config = state.of(self.house.app).config
        worker = Worker(self.house.app, jobs.redis_client(config, None))
        if not stop_the_horse:
            os.kill(os.getpid(), signal.SIGSTOP)
        worker.work(burst=True, logging_level="CRITICAL")

    def _answer_rings(self, number: int) -> None:
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, *_: Any) -> None:
                """Nothing."""

        server = make_server("127.0.0.1", 0, self.house.app, request_handler=Quiet)
        server.timeout = 3.0
        self.marks.number = server.server_address[1]
        os.kill(os.getpid(), signal.SIGSTOP)
        for _ in range(number):
            server.handle_request()

    # A scenario's course without a fault

    def course(self, scenario: Scenario) -> Course:
        """Build the scenario's house, and see how the story goes when nothing happens."""
        self.house.reset()
        scenario.before(self.host)
        assert self.host.sandbox.wait_for_rings(10)
        picture = self.house.picture()
        before = self.facts()
        self._recover()
        untouched = self.outcome()
        self.house.put_back(picture)
        self._act(scenario)
        after = self.facts()
        if scenario.meanwhile:
            number, meanwhile = scenario.meanwhile
            self.host.sandbox.before_answer(lambda: meanwhile(self.host), k=number)
        self._recover()
        return Course(
            scenario=scenario,
            picture=picture,
            before=before,
            after=after,
            untouched=untouched,
            final=self.outcome(),
        )

    def points(self, course: Course) -> list[Point]:
        """Every point of a scenario, from a dry run of each of its processes.

        :raises AssertionError: the story does not go well even without a fault.
        """
        found = []
        for actor in course.scenario.actors:
            names = (*CHANGING, *(FORKING if actor == "parent" else ()))
            traced = tuple(dict.fromkeys([*names, *ERRORS]))
            verdict, counts = self._run(course, actor, None, traced)
            assert verdict.good, f"{course.scenario.name}, {actor}, no fault: {verdict}"
            faults = [*kills(counts, names), *errors(counts)]
            found += [Point(scenario=course.scenario.name, actor=actor, fault=f) for f in faults]
        return found

    # One point

    def strike(self, course: Course, point: Point) -> Verdict:
        """Run the scenario with this fault, start again what died, sweep, and look."""
        return self._run(course, point.actor, point.fault, ())[0]

    def _run(
        self, course: Course, actor: str, fault: Fault | None, names: tuple[str, ...]
    ) -> tuple[Verdict, Counter[str]]:
        scenario, marks = course.scenario, self.marks
        self.house.put_back(course.picture)
        marks.clear()
        rings = self._stage(scenario, actor)
        command = {
            "scenario": scenario.name,
            "actor": actor,
            "ahead": self.house.clock.ahead.total_seconds(),
            "list_id": self.host.list_id,
            "rings": rings,
        }
        pid = self._forker.start(command)
        traced = self._stopped(pid, actor)
        tracer = Strace(traced, names, self._log, fault, follow=actor != "parent")
        if actor == "host" and scenario.web:
            self.host.sandbox.deliver_to(Forward(marks.number))
            self.host.sandbox.release_rings()
        ended = tracer.end()
        others = [] if actor == "host" else [marks.number]
        if not ended:
            for process in (pid, traced, *others):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        status = self._forker.wait()
        self.host.sandbox.deliver_to(self.house.app)
        verdict = Verdict(
            struck=fault is None or tracer.struck(), other=f"status {status:#x} {marks.error}"
        )
        if not ended:
            verdict.stuck.append("it did not come to an end")
        try:
            self.house.wait_for_the_dead([traced, *others])
            there = self._atomic(course, actor, verdict)
            self._recover()
            self._look(course, verdict, there)
        except Exception as error:  # whatever stops a restart is a finding
            verdict.stuck.append(told(error))
        return verdict, tracer.counts() if fault is None else Counter()

    def _stage(self, scenario: Scenario, actor: str) -> int:
        """What comes before the process that is traced; how many rings wait for it."""
        sandbox = self.host.sandbox
        if actor == "host":
            if not scenario.web:
                return 0
            sandbox.hold_rings()
            scenario.act(self.host)
            return sandbox.ringer.held()
        self._act(scenario)
        if scenario.meanwhile:
            number, meanwhile = scenario.meanwhile
            sandbox.before_answer(lambda: meanwhile(self.host), k=number)
        return 0

    def _act(self, scenario: Scenario) -> None:
        scenario.act(self.host)
        assert self.host.sandbox.wait_for_rings(10)

    def _stopped(self, pid: int, actor: str) -> int:
        deadline = time.monotonic() + 10
        while True:
            traced = self.marks.number if actor == "worker" else pid
            if traced and state_of_process(traced) == "T":
                return traced
            if time.monotonic() > deadline or (traced and state_of_process(traced) in ("", "Z")):
                raise RuntimeError(f"the {actor} did not begin: {self.marks.error}")
            time.sleep(0.0005)

    # What must be so

    def facts(self) -> Any:
        """What one transaction of the host writes, without ids and times: all of it or nothing."""
        tables = self.host.services.tables
        wanted = {
            Customer.__table__: ("mail", "given_name", "wants_news", "own_list"),
            tables.outbox: ("tenant", "decision"),
            tables.decision: ("value", "previous", "source", "address"),
            tables.webhook_event: ("type", "address"),
            tables.connection: ("enabled", "master_audience_id", "epoch"),
            tables.sync_run: ("kind", "state", "phase"),
        }
        with self.house.engine.connect() as connection:
            return [
                sorted(
                    repr(tuple(row))
                    for row in connection.execute(sa.select(*(table.c[n] for n in names)))
                )
                for table, names in wanted.items()
            ]

    def _atomic(self, course: Course, actor: str, verdict: Verdict) -> bool:
        """Whether the act is there."""
        if actor != "host":
            return True
        now = self.facts()
        if course.scenario.web:
            return True  # Mailchimp rings again until somebody answers
        if now == course.after:
            return True
        if now != course.before:
            verdict.lost.append(f"half of the act is there: {now}")
        elif self.marks.returned:
            verdict.lost.append("the act came back, and is not there")
        return False

    def _recover(self) -> None:
        """Everything is started again, time passes, and the sweeps of those minutes are made."""
        self._time_passes()
        for minutes in (0, 3, 3, 20):
            self.house.clock.turn(minutes=minutes)
            assert self.host.sandbox.wait_for_rings(10), "a ring is never answered"
            self._sweep()

    def _time_passes(self) -> None:
        """The leases of the dead run out: by the database's clock, which is not ours to turn."""
        table = self.host.services.tables.connection
        with self.house.engine.begin() as connection:
            connection.execute(
                sa.update(table)
                .where(table.c.lease_until.isnot(None))
                .values(lease_until=table.c.created_at)
            )

    def _sweep(self) -> None:
        with self.house.app.app_context():
            for _ in range(20):
                jobs.sweep()
                if not drain.connections_with_work(self.host.services):
                    return

    def outcome(self) -> Outcome:
        with self.house.engine.connect() as connection:
            rows = connection.execute(sa.select(Customer.mail, Customer.wants_news))
            boxes = sorted(repr(tuple(row)) for row in rows)
        members = self.host.sandbox.members
        return Outcome(
            boxes=boxes,
            statuses={
                name: sorted((a, m["status"]) for a, m in members(list_id).items())
                for list_id, name in self.host.sandbox.audiences.items()
            },
            left_over=frozenset(self._left_over()),
        )

    def _look(self, course: Course, verdict: Verdict, there: bool) -> None:
        expected = course.final if there else course.untouched
        now = self.outcome()
        if (now.boxes, now.statuses) != (expected.boxes, expected.statuses):
            verdict.wrong.append(f"{now} instead of {expected}")
        verdict.stuck += sorted(now.left_over - expected.left_over)

    def _left_over(self) -> Iterator[str]:
        host = self.host
        with self.house.app.app_context():
            if drain.connections_with_work(host.services):
                yield "there is still work"
        for row in host.rows("connection"):
            if row.suspended or (row.lease_until and utc(row.lease_until) > datetime.now(UTC)):
                yield "the connection is held or suspended"
        for row in host.rows("contact"):
            names = ("open_verb", "late_verb", "moved_from", "orphan", "due_at")
            waiting = [name for name in names if getattr(row, name)]
            if waiting or (row.acked_version < row.version and row.refusal is None):
                yield f"contact {row.address}: {waiting}"
        if host.rows("outbox"):
            yield "the outbox is not empty"
        for row in host.rows("sync_run"):
            if row.state == "running":
                yield f"a sync: {row.kind}, {row.phase}"
        flag = jobs.flag(self.house.queue)
        if self.house.redis.exists(flag) and self.house.redis.ttl(flag) < 0:
            yield "the flag in Redis never ends"


def kills(counts: Counter[str], names: Iterable[str]) -> list[Fault]:
    """Death at each call."""
    return [
        Fault(call=name, number=number, how="signal=SIGKILL")
        for name in names
        for number in range(1, counts[name] + 1)
    ]


def errors(counts: Counter[str]) -> list[Fault]:
    """An error at each call, in turn those that it may meet."""
    found = []
    for name, words in ERRORS.items():
        for number in range(1, counts[name] + 1):
            word = words[number % len(words)]
            how, lasting = f"error={word.rstrip('+')}", word.endswith("+")
            found.append(Fault(call=name, number=number, how=how, lasting=lasting))
    return found
