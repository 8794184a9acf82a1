"""Leases and fences: many workers on one connection; workers that stand still or die in the middle."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flask_mailchimp_optin import client, drain, jobs, lease, send, waking
from flask_mailchimp_optin.errors import LeaseLost
from flask_mailchimp_optin.testing import run_jobs
from tests.faults.journeys import JOURNEYS, Scene
from tests.faults.processes import Parts, until
from tests.faults.stage import Stage, expire_lease, take_the_way_out, until_quiet
from tests.house import Host
from tests.invariants import Promises

#: Between two transactions somebody else takes over, and as a rule the customer changed their mind.
_MINDS = ["same mind", "another mind"][os.environ.get("TEST_FAULTS") != "all" :]
_numbers = count()


# In one process: a second drain between any two transactions of the first


class Interleaved:
    """Runs something before the n-th transaction of a drain, in place of an unlucky schedule."""

    def __init__(self, host: Host, number: int, act: Callable[[], None]) -> None:
        self._services, self._left, self._act = host.services, number, act
        self.met = False

    def __enter__(self) -> Interleaved:
        self._factory = self._services.session_factory
        object.__setattr__(self._services, "session_factory", self._session)
        return self

    def __exit__(self, *_: object) -> None:
        object.__setattr__(self._services, "session_factory", self._factory)

    def _session(self) -> Any:
        self._left -= 1
        if self._left == 0:
            self.met = True
            object.__setattr__(self._services, "session_factory", self._factory)
            self._act()
        return self._factory()


def _changes_their_mind(scene: Scene) -> None:
    if scene.promises.row(scene.ada) is not None:
        scene.promises.change(scene.ada, wants_news=not scene.host.box(scene.ada))


@pytest.mark.parametrize("mind", _MINDS)
@pytest.mark.parametrize(
    "name",
    [
        "first save",
        "opt-out: sending",
        "opt-in again: rejoin",
        "opt-in again: ask",
        "ring",
        "address change",
        "delete: archive",
    ],
)
def test_two_drains_may_take_turns_at_every_transaction(stage: Stage, name: str, mind: str) -> None:
    journey, host = JOURNEYS[name], stage.host_for(name, **JOURNEYS[name].settings)
    for turn in range(1, 100):
        with Promises(host).from_now().watching() as promises:
            scene = Scene(host, promises, next(_numbers))
            journey.prepare(scene)
            host.work()
            mails = len(host.sandbox.mails)

            def takes_over(scene: Scene = scene) -> None:
                if mind == "another mind":
                    _changes_their_mind(scene)
                expire_lease(host)
                run_jobs(host.app)

            journey.act(scene)
            with Interleaved(host, turn, takes_over) as interleaved:
                run_jobs(host.app)
            until_quiet(host)
            take_the_way_out(host)
            assert len(host.sandbox.mails) - mails <= journey.mails + (mind == "another mind")
            promises.check()
        if not interleaved.met:
            break
    assert turn > 8
    stage.good()


def test_who_was_taken_over_can_write_nothing_any_more(connected: Host) -> None:
    services = connected.services
    with connected.app.app_context():
        (row,) = connected.rows("connection")
        first = lease.take(services, row.id, "first")
        assert first is not None
        assert lease.take(services, row.id, "second") is None
        expire_lease(connected)
        second = lease.take(services, row.id, "second")
        assert second is not None
        assert second.fence > first.fence
        with pytest.raises(LeaseLost), services.begin() as tx:
            first.hold(tx, services)
        lease.release(services, first)
        (row,) = connected.rows("connection")
        assert row.lease_owner == "second"
        with services.begin() as tx:
            second.hold(tx, services)


# Real processes


def _wave(parts: Parts, number: int, **values: Any) -> list[int]:
    return [parts.host.add(f"w{n}@example.com", **values) for n in range(number)]


def _touched(request: Any) -> set[str]:
    body = request.body if isinstance(request.body, dict) else {}
    rows = body.get("members", ()) if request.method == "POST" else ()
    return {row["email_address"] for row in rows}


def test_eight_workers_on_one_connection(parts: Parts) -> None:
    host, sandbox = parts.host, parts.host.sandbox
    for _ in range(8):
        parts.run("flask", "mailchimp", "worker")
    until(lambda: parts.redis.scard(f"rq:workers:{parts.queue}") == 8, within_s=90)
    sandbox.latency_s = 0.05
    ids = _wave(parts, 40, wants_news=True)
    queue = jobs.queue(parts.queue, parts.redis)
    for n, id_ in enumerate(ids):
        waking.enqueue(queue, "work")
        host.change(id_, wants_news=bool(n % 2), given_name=f"N{n}")
    until(
        lambda: all(
            host.status(f"w{n}@example.com")
            in (("subscribed",) if n % 2 else (None, "unsubscribed"))
            for n in range(40)
        ),
        within_s=60,
    )
    until(parts.idle, within_s=60)
    assert [host.box(id_) for id_ in ids] == [bool(n % 2) for n in range(40)]
    assert sandbox.peak_connections <= 10
    writes = [(r.at, _touched(r)) for r in sandbox.requests if _touched(r)]
    for (at, some), (later, others) in pairwise(writes):
        overlap = later - at < timedelta(seconds=sandbox.latency_s)
        assert not (overlap and some & others)
    assert all(row.acked_version == row.version for row in host.rows("contact"))


def _in_the_middle(parts: Parts, act: Callable[[int, int], None]) -> int:
    """A worker met by ``act``, with its pid and its child's, when its batch has just taken effect."""
    worker = parts.worker()
    children: list[int] = []

    def meets() -> None:
        children.extend(parts.children(worker))
        act(worker.pid, children[0])

    parts.host.sandbox.after_effect(meets, path="skip_merge_validation")
    parts.host.add("ada@example.com", wants_news=True)
    until(lambda: children)
    return children[0]


def test_a_worker_stopped_past_its_lease_acknowledges_nothing(parts: Parts) -> None:
    host = parts.host
    child = _in_the_middle(parts, lambda _parent, child: os.kill(child, signal.SIGSTOP))
    (row,) = host.rows("customer")
    ada = int(row.customer_key)
    host.change(ada, wants_news=False)
    until(lambda: _sweeps(parts) and host.status("ada@example.com") != "subscribed")
    (before,) = host.rows("contact")
    os.kill(child, signal.SIGCONT)
    until(lambda: not _alive(child))
    until(parts.idle)
    (after,) = host.rows("contact")
    assert (after.wanted, after.settled_version) == (False, before.settled_version)
    # Asked, where nobody can know whether the opt-in was the person's own.
    assert host.status("ada@example.com") in ("unsubscribed", "pending")
    assert host.box(ada) is False


def test_a_child_whose_parent_was_killed_finishes_its_work(parts: Parts) -> None:
    child = _in_the_middle(parts, lambda parent, _child: os.kill(parent, signal.SIGKILL))
    until(lambda: not _alive(child))
    assert parts.host.status("ada@example.com") == "subscribed"
    (contact,) = parts.host.rows("contact")
    assert (contact.acked_version, contact.attempts) == (contact.version, 0)
    parts.host.change(int(parts.host.rows("customer")[0].customer_key), wants_news=False)
    assert _sweeps(parts)
    assert parts.host.status("ada@example.com") == "unsubscribed"


def _sweeps(parts: Parts) -> bool:
    return parts.run("flask", "mailchimp", "sweep").wait(30) == 0


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_stopped_between_writing_down_and_sending_sends_nothing_when_it_goes_on(
    connected: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = connected.add(wants_news=True)
    written_down = send._write_down

    def then_stands_still(*args: Any) -> Any:
        verbs = written_down(*args)
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600)
        monkeypatch.setattr(client, "time", later)
        return verbs

    monkeypatch.setattr(send, "_write_down", then_stands_still)
    with connected.app.app_context():
        for _ in range(2):  # the outbox; the contact
            drain.drain(connected.services, 1, "held up", budget_s=0.0)
    assert connected.calls("POST", "skip_merge_validation") == []
    (contact,) = connected.rows("contact")
    assert contact.open_verb == "upsert"
    monkeypatch.undo()
    connected.clock.turn(minutes=1)
    connected.work()
    assert (connected.status("ada@example.com"), connected.box(ada)) == ("subscribed", True)
