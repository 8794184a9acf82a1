"""Real workers, a real Redis: how fast they are, and what happens when they die."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from rq import Callback, Queue
from rq.registry import FailedJobRegistry
from rq.serializers import DefaultSerializer, JSONSerializer

from flask_mailchimp_optin import waking
from tests.faults.processes import Parts, until
from tests.house import Customer, db


def subscribed(parts: Parts, *addresses: str) -> bool:
    return all(parts.host.status(address) == "subscribed" for address in addresses)


def test_a_customer_saved_with_an_idle_worker_is_at_mailchimp_at_once(parts: Parts) -> None:
    parts.worker()
    parts.host.add("ada@example.com", wants_news=True)
    until(lambda: subscribed(parts, "ada@example.com"))
    until(parts.idle)
    assert parts.host.rows("outbox") == []


def test_a_ring_with_an_idle_worker_reaches_the_box_at_once(parts: Parts) -> None:
    ada = parts.host.add("ada@example.com", wants_news=True)
    parts.host.work()
    parts.worker()
    parts.host.sandbox.unsubscribe(parts.host.list_id, "ada@example.com")
    until(lambda: parts.host.box(ada) is False)


_TELLS = """
import sys
from flask_mailchimp_optin import jobs, redis_clients, state
from tests.served import create_app

class Tells(jobs.OurWorker):
    def perform_job(self, *args, **kwargs):
        before = set(sys.modules)
        try:
            return super().perform_job(*args, **kwargs)
        finally:
            print(*sys.modules.keys() - before)

app = create_app()
print(*sys.modules)
Tells(app, redis_clients.redis_client(state.of(app).config, None)).work(burst=True)
"""


def test_a_worker_has_imported_what_jobs_need_before_it_forks(parts: Parts) -> None:
    parts.host.add("o'hara@example.com", wants_news=True)  # needs more than a look to be read
    worker = subprocess.run(
        [sys.executable, "-c", _TELLS], env=parts.environment, check=True, capture_output=True
    )
    before, *by_jobs = (set(line.split()) for line in worker.stdout.decode().splitlines())
    heavy = {"email_validator", "mailchimp3", "requests", "urllib3"}
    assert heavy < before
    assert {f"flask_mailchimp_optin.{name}" for name in ("client", "drain", "settle")} < before
    assert len(by_jobs) > 0
    packages = {name.partition(".")[0] for name in set.union(*by_jobs)}
    assert packages.isdisjoint({*heavy, "flask_mailchimp_optin", "redis", "rq", "sqlalchemy"})
    assert "o'hara@example.com" in parts.host.sandbox.members(parts.host.list_id)


def _many(parts: Parts, number: int = 40) -> list[str]:
    addresses = [f"c{n}@example.com" for n in range(number)]
    with parts.host.app.app_context():
        db.session.add_all(Customer(mail=a, wants_news=True) for a in addresses)
        db.session.commit()
    return addresses


def _caught_in_the_middle(parts: Parts, *, applied: bool) -> tuple[int, int]:
    """Have a worker hang in the middle of a batch; the pids of the worker and its child.

    :param applied: whether Mailchimp has done what it was asked when the worker dies.
    """
    worker = parts.worker()
    parts.host.sandbox.fail_next(
        how="hang", delay_s=60.0, path="skip_merge_validation", applied=applied
    )
    _many(parts)
    # (Not just any call: the list may be read before.)
    until(lambda: any("skip_merge_validation" in r.query for r in parts.host.sandbox.requests))
    (child,) = parts.children(worker)
    return worker.pid, child


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not-applied"])
def test_a_child_killed_in_the_middle_of_a_batch_loses_nothing(parts: Parts, applied: bool) -> None:
    _, child = _caught_in_the_middle(parts, applied=applied)
    os.kill(child, signal.SIGKILL)
    until(lambda: subscribed(parts, *(f"c{n}@example.com" for n in range(40))))
    until(parts.idle)
    assert [row.attempts for row in parts.host.rows("contact")] == [0] * 40


def test_worker_and_child_killed_leave_the_work_to_the_next_worker(parts: Parts) -> None:
    worker, child = _caught_in_the_middle(parts, applied=False)
    os.kill(worker, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    parts.run("flask", "mailchimp", "worker")
    # The dead one's lease (twice the request's time limit) has to run out; a sweep then goes on.
    until(lambda: _swept(parts) and subscribed(parts, "c0@example.com", "c39@example.com"))
    statuses = {m["status"] for m in parts.host.sandbox.members(parts.host.list_id).values()}
    assert statuses == {"subscribed"}
    assert len(parts.host.sandbox.members(parts.host.list_id)) == 40


def _swept(parts: Parts) -> bool:
    """What cron or a systemd timer does."""
    sweep = parts.run("flask", "mailchimp", "sweep")
    return sweep.wait(20) == 0


def plant(mark: Path) -> None:
    """What nobody but a planted job would call."""
    mark.touch()


def told_of(job: Any, _redis: Any, *_: Any) -> None:
    """A callback that nobody but a planted job names."""
    Path(job.meta["mark"]).touch()


def _webhooks(address: str) -> dict[str, Any]:
    """Whom RQ would tell that a job ended; from version 3 on it can."""
    if find_spec("rq.webhook") is None:
        return {}
    from rq.webhook import Webhook

    return {"webhooks": [Webhook(address, "finished"), Webhook(address, "failed")]}


@pytest.mark.parametrize("serializer", [JSONSerializer, DefaultSerializer], ids=["json", "pickle"])
@pytest.mark.parametrize("function", ["os.system", "ours", "tests.faults.test_worker.plant"])
def test_planted_jobs_run_nothing_and_tell_nobody(
    parts: Parts, tmp_path: Path, function: str, serializer: Any
) -> None:
    mark = tmp_path / "mark"
    ours = "flask_mailchimp_optin.jobs."
    planted = Queue(parts.queue, connection=parts.redis, serializer=serializer)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        for name in [function] if function != "ours" else [f"{ours}run_until_idle", f"{ours}sweep"]:
            planted.enqueue_call(
                name,
                args=() if name.endswith("sweep") else (f"touch {mark}",),
                meta={"mark": str(mark)},
                on_success=Callback(told_of),
                on_failure=Callback(told_of),
                on_stopped=Callback(told_of),
                **_webhooks(address),
            )
        parts.worker()
        parts.host.add("ada@example.com", wants_news=True)
        until(lambda: subscribed(parts, "ada@example.com"))
        until(parts.idle)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert not mark.exists()


EVIL = b"\xff\x00<script>alert(1)</script>{{7*7}}'; DROP TABLE customer; --"


@pytest.mark.parametrize("kind", ["texts", "other types"])
def test_whatever_is_written_into_redis_is_not_shown_and_breaks_nothing(
    parts: Parts, kind: str
) -> None:
    redis, queue = parts.redis, parts.queue
    worker = f"rq:worker:{queue}:evil"
    if kind == "texts":
        redis.sadd("rq:workers", worker, f"{queue}:none", EVIL + queue.encode())
        redis.sadd(f"rq:workers:{queue}", worker, f"{queue}:none", EVIL + queue.encode())
        fields = ("birth", "last_heartbeat", "queues", "state", "current_job", "pid", "version")
        redis.hset(worker, mapping=dict.fromkeys(fields, EVIL))
        redis.rpush(f"rq:queue:{queue}", EVIL, worker)
        redis.set(waking.flag(queue), EVIL, ex=1)
    else:
        redis.set(f"rq:workers:{queue}", EVIL)
        redis.set(f"rq:queue:{queue}", EVIL)
        redis.delete(waking.flag(queue))
        redis.lpush(waking.flag(queue), EVIL)
    try:
        client = parts.host.app.test_client()
        for path in ("/", "/activity", "/activity/progress"):
            answer = client.get(f"/integrations/mailchimp{path}")
            assert answer.status_code == 200
            assert "alert(1)" not in answer.text
            assert "49" not in re.findall(r"Workers that run: [^.]*", answer.text)
        doctor = parts.host.app.test_cli_runner().invoke(
            args=["mailchimp", "doctor", "--offline", "--json"]
        )
        assert doctor.exit_code in (0, 1)
        assert "alert(1)" not in doctor.output
        parts.host.add("ada@example.com", wants_news=True)
        parts.host.work()
        assert subscribed(parts, "ada@example.com")
    finally:
        redis.srem("rq:workers", worker, f"{queue}:none", EVIL + queue.encode())


def test_a_job_that_fails_names_nobody_in_redis_and_in_the_log(parts: Parts) -> None:
    parts.host.add("ada@example.com", wants_news=True)
    parts.host.work()
    parts.worker()
    with parts.host.app.app_context(), db.engine.begin() as connection:
        one = "CREATE UNIQUE INDEX only_one ON mailchimp_optin_customer (connection_id)"
        connection.execute(sa.text(one))
    parts.host.add("canary@example.com", given_name="Canary", wants_news=True)
    failed = FailedJobRegistry(parts.queue, connection=parts.redis, serializer=JSONSerializer)
    until(lambda: failed.count)
    assert "INSERT INTO mailchimp_optin_customer" in parts.log()
    assert "anary" not in parts.log() + parts.in_redis()


def test_a_plain_rq_worker_serves_too(parts: Parts) -> None:
    parts.host.add("ada@example.com", wants_news=True)
    url = parts.environment["REDIS_URL"]
    worker = parts.run(
        "rq.cli",
        "worker",
        "--burst",
        "--url",
        url,
        "--serializer",
        "rq.serializers.JSONSerializer",
        parts.queue,
    )
    worker.wait(30)
    assert subscribed(parts, "ada@example.com")


def test_a_burst_worker_ends_when_nothing_is_left(parts: Parts) -> None:
    parts.host.add("ada@example.com", wants_news=True)
    assert parts.run("flask", "mailchimp", "worker", "--burst").wait(30) == 0
    assert subscribed(parts, "ada@example.com")
