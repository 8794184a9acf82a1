"""Redis dies, forgets, stalls or is slow, at every step of the journeys: it holds no truth.

Real servers, workers and replies that get lost. Whatever happens, no commit fails or waits; and when
Redis is back, at the latest a sweep brings everything where it belongs.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from flask_mailchimp_optin import drain, health, jobs, redis_clients, state, waking
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.faults.processes import Parts, until
from tests.faults.proxy import Proxy, proxied
from tests.faults.servers import OwnRedis, own_redis
from tests.house import Clock, hosting

#: Every point, instead of one in five.
EVERYTHING = os.environ.get("TEST_FAULTS") == "all"
_SLACK_S = 0.1  # for a slow machine
_BACK_S = 0.4  # how long Redis is away where it comes back while we wait


class Stage:
    """A host whose workers, and whose commits if a test wants so, reach Redis through a proxy."""

    def __init__(self, parts: Parts, redis: OwnRedis, proxy: Proxy) -> None:
        self.parts, self.host, self.redis, self.proxy = parts, parts.host, redis, proxy
        self.number = self.ended = 0
        self.worker: subprocess.Popen[bytes] | None = None
        parts.environment["REDIS_URL"] = self.proxied

    @property
    def proxied(self) -> str:
        return f"redis://127.0.0.1:{self.proxy.port}/0"

    def save(self) -> str:
        """A customer who says yes; their address."""
        self.number += 1
        address = f"c{self.number}@example.com"
        self.host.add(address, wants_news=True)
        return address

    def sweep(self) -> None:
        """What cron does, in a process without a worker."""
        with self.host.app.app_context():
            jobs.sweep()

    def arrives(self, address: str) -> None:
        """It is at Mailchimp, at the latest after a sweep."""

        def there() -> bool:
            self.sweep()
            return self.host.status(address) == "subscribed"

        until(there, within_s=15)
        until(lambda: self.host.rows("outbox") == [], within_s=15)

    def idle(self) -> bool:
        """Whether the worker lives and has nothing to do; one that ended is started again."""
        with suppress(redis_py.RedisError):  # it may not be back yet
            if self.worker is None or self.worker.poll() is not None:
                self.ended += self.worker is not None
                self.worker = self.parts.worker()
            return self.parts.idle()
        return False


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    queue = f"test-{uuid.uuid4().hex}"
    with own_redis() as redis, proxied("127.0.0.1", redis.port) as proxy:
        config: dict[str, Any] = {
            "MAILCHIMP_OPTIN_QUEUE": queue,
            "MAILCHIMP_OPTIN_REDIS_URL": redis.url,
            "MAILCHIMP_OPTIN_TIMEOUT_S": 2.0,
        }
        with hosting(tmp_path, MailchimpSandbox(), Clock(real=True), **config) as host:
            host.connect()
            parts = Parts(host, tmp_path, redis.url, queue)
            try:
                yield Stage(parts, redis, proxy)
            finally:
                redis.kill()
                redis.start()
                parts.stop()


# The commit

AWAY: dict[str, tuple[Callable[[Stage], object], Callable[[Stage], object]]] = {
    "refuses": (lambda s: s.redis.kill(), lambda s: s.redis.start()),
    "accepts and never answers": (lambda s: s.redis.stop(), lambda s: s.redis.go_on()),
    "pauses": (lambda s: s.redis.pause(1.0), lambda s: until(s.redis.client().ping)),
    "is slow": (
        lambda s: setattr(s.proxy, "slow_s", 0.03),
        lambda s: setattr(s.proxy, "slow_s", 0.0),
    ),
    "cuts": (lambda s: s.proxy.harm("before", 1), lambda s: None),
    "loses a reply": (lambda s: s.proxy.harm("lost", 1), lambda s: None),
    "answers half": (lambda s: s.proxy.harm("half", 1), lambda s: None),
}
FORGETS: dict[str, Callable[[Stage], object]] = {
    "was flushed": lambda s: s.redis.flush(),
    "was restarted empty": lambda s: s.redis.restart(),
}


def _waker(stage: Stage) -> waking.Waker:
    """The host's own, but through the proxy."""
    here = state.of(stage.host.app)
    config = here.config
    object.__setattr__(config, "REDIS_URL", stage.proxied)
    redis = redis_clients.redis_client(config, config.REDIS_TIMEOUT_S)
    waker = waking.Waker(lambda: waking.ask(config, redis), config.REDIS_TIMEOUT_S)
    object.__setattr__(config, "REDIS_URL", stage.redis.url)
    object.__setattr__(here.services, "wake", waker)
    return waker


def _seconds(act: Callable[[], object]) -> float:
    begin = time.monotonic()
    act()
    return time.monotonic() - begin


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "new"])
@pytest.mark.parametrize("redis", AWAY)
def test_no_commit_waits_while_redis(stage: Stage, redis: str, connected: bool) -> None:
    waker = _waker(stage)
    if connected:
        waker()
        waking.talker.wait(waker, 30)
        stage.redis.flush()
    harm, mend = AWAY[redis]
    harm(stage)
    assert _seconds(waker) < _SLACK_S
    saved = [stage.save() for _ in range(3)]
    assert (
        _seconds(lambda: list(map(waking.Waker.__call__, 20 * [waker]))) < _SLACK_S
    )  # not once for each
    mend(stage)
    assert len(stage.host.rows("outbox")) == 3
    for address in saved:
        stage.arrives(address)


@pytest.mark.parametrize("redis", FORGETS)
def test_a_commit_wakes_a_worker_although_redis(stage: Stage, redis: str) -> None:
    waker = _waker(stage)
    waker()
    waking.talker.wait(waker, 30)
    FORGETS[redis](stage)
    stage.save()
    until(lambda: stage.parts.redis.llen(f"rq:queue:{stage.parts.queue}") == 1)


_SCRIPT = """
from tests.house import Customer, db
from tests.served import create_app

with create_app().app_context():
    db.session.add(Customer(mail="ada@example.com", wants_news=True))
    db.session.commit()
"""


def test_a_script_that_ends_with_its_commit_has_asked_for_a_worker(stage: Stage) -> None:
    stage.proxy.slow_s = 0.03  # so that it is not done by the time the script is
    environment = {**stage.parts.environment, "REDIS_URL": stage.proxied}
    subprocess.run([sys.executable, "-c", _SCRIPT], env=environment, check=True, timeout=60)
    assert stage.parts.redis.llen(f"rq:queue:{stage.parts.queue}") == 1


def test_a_forked_process_wakes_a_worker_too(stage: Stage) -> None:
    waker = _waker(stage)
    waker()
    until(lambda: stage.parts.redis.llen(f"rq:queue:{stage.parts.queue}") == 1)
    stage.redis.flush()

    def child() -> None:
        waker()
        until(lambda: stage.parts.redis.llen(f"rq:queue:{stage.parts.queue}") == 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0


_FORKS = """
import os, signal, sys, time
from tests.served import create_app
from flask_mailchimp_optin import state

state.of(create_app()).services.wake()
while "redis" not in sys.modules:
    time.sleep(0.001)
# It is being imported, and RQ with it.
if os.fork():
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
signal.alarm(20)
import rq
os._exit(0)
"""


def test_a_process_forked_by_one_that_has_just_committed_can_import_what_it_needs(
    stage: Stage,
) -> None:
    subprocess.run(
        [sys.executable, "-c", _FORKS], env=stage.parts.environment, check=True, timeout=60
    )


@pytest.mark.parametrize("how", ["before", "lost", "half"])
def test_no_lost_exchange_of_a_wake_fails_a_commit(stage: Stage, how: Any) -> None:
    exchange = 0
    stage.proxy.harmed = True
    while stage.proxy.harmed:
        exchange += 1
        stage.redis.flush()
        waker = _waker(stage)  # with a connection yet to be made
        stage.proxy.harm(how, exchange)
        address = stage.save()
        waking.talker.wait(waker, 30)
        stage.arrives(address)
    assert exchange > 5


# Between the commit and the worker


def test_a_flag_without_a_job_keeps_a_change_waiting_for_the_sweep_only(stage: Stage) -> None:
    stage.redis.flush()
    stage.parts.redis.set(waking.flag(stage.parts.queue), b"1", ex=60)
    address = stage.save()
    assert stage.parts.redis.llen(f"rq:queue:{stage.parts.queue}") == 0
    stage.arrives(address)


@pytest.mark.parametrize("redis", FORGETS)
def test_a_job_that_was_forgotten_is_found_by_a_worker_that_starts(
    stage: Stage, redis: str
) -> None:
    address = stage.save()
    FORGETS[redis](stage)
    stage.parts.worker()
    until(lambda: stage.host.status(address) == "subscribed")


# While a job runs, and at every exchange of a worker's


def _back(stage: Stage, away: Callable[[], None], back: Callable[[], None]) -> None:
    with suppress(redis_py.RedisError):
        away()
    time.sleep(_BACK_S)  # how long it is away, not a wait for anything
    back()


DURING: dict[str, Callable[[Stage], object]] = {
    "killed and started again": lambda s: _back(s, s.redis.kill, s.redis.start),
    "flushed": lambda s: s.redis.flush(),
    "stopped for a while": lambda s: _back(s, s.redis.stop, s.redis.go_on),
    "paused": lambda s: s.redis.pause(_BACK_S),
}


@pytest.mark.parametrize("what", DURING)
def test_a_job_at_work_while_redis_is(stage: Stage, what: str) -> None:
    until(stage.idle)
    stage.host.sandbox.fail_next(how="slow", delay_s=1.0, path="skip_merge_validation")
    address = stage.save()
    until(lambda: stage.host.sandbox.connections > 0)
    DURING[what](stage)
    stage.arrives(address)
    assert len(stage.host.calls("POST", f"/lists/{stage.host.list_id}")) <= 3
    until(stage.idle)
    stage.arrives(stage.save())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", [*DURING, "cut off", "without an answer"])
def test_at_every_exchange_of_a_working_worker_redis_is(stage: Stage, what: str) -> None:
    step = 1 if EVERYTHING else 8
    first = 1 if EVERYTHING else 1 + [*DURING, "cut off", "without an answer"].index(what)
    points = 0
    while _harmed(stage, what, first + points * step):
        points += 1
    print(f"{what}: {points} points, {stage.ended} workers ended")
    assert points >= 1


def _harmed(stage: Stage, what: str, exchange: int) -> bool:
    """One change, and something happens at this exchange of the worker's; False if there is none."""
    until(stage.idle)
    if what in DURING:
        stage.proxy.harm(lambda: DURING[what](stage), exchange)
    else:
        stage.proxy.harm("before" if what == "cut off" else "lost", exchange)
    address = stage.save()
    # At the latest with the exchange of its next heartbeat, or there is none such.
    with suppress(AssertionError):
        until(lambda: stage.proxy.harmed, within_s=1.5)
    met = stage.proxy.harmed
    stage.arrives(address)
    stage.proxy.harm()
    return met


@pytest.mark.parametrize("exchange", range(1, 40, 1 if EVERYTHING else 13))
def test_a_worker_that_starts_while_redis_comes_and_goes(stage: Stage, exchange: int) -> None:
    """It registers, and does its first maintenance."""
    address = stage.save()
    stage.proxy.harm(lambda: _back(stage, stage.redis.kill, stage.redis.start), exchange)
    stage.worker = stage.parts.run("flask", "mailchimp", "worker")
    until(lambda: stage.proxy.harmed)
    stage.arrives(address)
    stage.proxy.harm()
    until(stage.idle)


# The rest of the journeys


def test_what_is_left_of_a_long_drain_is_not_lost_with_redis(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = drain.drain
    saved = [stage.save() for _ in range(3)]
    stage.redis.kill()
    with monkeypatch.context() as patch:
        patch.setattr(drain, "drain", lambda *a, **_: whole(*a, budget_s=0.0))
        patch.setattr(jobs, "_LONGEST_S", 0.0)
        stage.sweep()  # it wants to put itself on the queue again
    left = [address for address in saved if stage.host.status(address) is None]
    stage.redis.start()
    assert left
    for address in left:
        stage.arrives(address)


def test_a_worker_is_known_again_after_redis_was_restarted_empty(stage: Stage) -> None:
    here = state.of(stage.host.app)
    worker = jobs.OurWorker(stage.host.app, stage.parts.redis)
    worker.register_birth()  # type: ignore[no-untyped-call]  # RQ's
    stage.redis.restart()
    worker.run_maintenance_tasks()
    with stage.host.app.app_context():
        found = {check.code: check.level for check in health.checks(here, "")}
    worker.register_death()  # type: ignore[no-untyped-call]  # RQ's
    assert found["worker"] == "ok"
