"""Redis with Sentinel: a master dies, a replica takes its place, and everybody finds it.

Real servers, a real Sentinel, real workers. No change is lost, and nobody has to be told a new address.
"""

from __future__ import annotations

import os
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from flask_mailchimp_optin import health, redis_clients, state
from flask_mailchimp_optin.config import Config
from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.vault import new_key
from tests.blocks import ROOT, blocks
from tests.faults.processes import Parts, until
from tests.faults.servers import OwnRedis, own_redis
from tests.house import Clock, hosting

PASSWORD, SENTINELS_PASSWORD = "of-the-master", "of-the-sentinel"


class Trio:
    """A master, its replica, and the Sentinel that watches over them."""

    def __init__(self, master: OwnRedis, replica: OwnRedis, sentinel: OwnRedis) -> None:
        self.master, self.replica, self.sentinel = master, replica, sentinel
        # A Sentinel that is down stands first.
        self.url = (
            f"redis+sentinel://:{PASSWORD}@127.0.0.1:1,127.0.0.1:{sentinel.port}/crm/0"
            f"?sentinel_password={SENTINELS_PASSWORD}"
        )

    def replicates(self) -> bool:
        """Whether the Sentinel could put the replica in the master's place."""
        with self.sentinel.client() as asked:
            found = asked.execute_command("SENTINEL", "REPLICAS", "crm")
        with self.replica.client() as replica:
            return bool(found) and replica.info()["master_link_status"] == "up"

    def failed_over(self) -> bool:
        """Whether the replica is the master now."""
        # While it is promoted it shuts everybody out.
        with suppress(RedisError), self.replica.client() as replica:
            return bool(replica.info()["role"] == "master")
        return False


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    of_both = ("--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0")
    with own_redis(*of_both, password=PASSWORD) as master:
        of_master = ("--replicaof", "127.0.0.1", str(master.port), *of_both)
        with own_redis(*of_master, password=PASSWORD) as replica:
            watch = tmp_path / "sentinel.conf"
            watch.write_text(
                f"sentinel monitor crm 127.0.0.1 {master.port} 1\n"
                f"sentinel auth-pass crm {PASSWORD}\n"
                "sentinel down-after-milliseconds crm 500\n"
                "sentinel failover-timeout crm 2000\n"
            )
            with own_redis(str(watch), "--sentinel", password=SENTINELS_PASSWORD) as sentinel:
                made = Trio(master, replica, sentinel)
                until(made.replicates)
                yield made


@pytest.fixture
def parts(tmp_path: Path, trio: Trio) -> Iterator[Parts]:
    queue = f"test-{uuid.uuid4().hex}"
    config: dict[str, Any] = {
        "MAILCHIMP_OPTIN_QUEUE": queue,
        "MAILCHIMP_OPTIN_REDIS_URL": trio.url,
        "MAILCHIMP_OPTIN_TIMEOUT_S": 2.0,
    }
    with hosting(tmp_path, MailchimpSandbox(), Clock(real=True), **config) as host:
        host.connect()
        # The test looks at the replica, which is there before and after.
        made = Parts(host, tmp_path, trio.replica.url, queue)
        made.environment["REDIS_URL"] = trio.url
        try:
            yield made
        finally:
            made.stop()


class Supervised:
    """A worker that is started again whenever it ends, as systemd does: RQ's may end without a Redis."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.process = parts.worker()
        self.begun = 1

    def until(self, what: Callable[[], object]) -> None:
        """Wait, and look after the worker meanwhile."""

        def so() -> bool:
            if self.process.poll() is not None:
                self.process = self._parts.run("flask", "mailchimp", "worker")
                self.begun += 1
            return bool(what())

        until(so, within_s=120)


AWAY: dict[str, tuple[Callable[[Trio], None], Callable[[Trio], None]]] = {
    "is killed": (lambda trio: trio.master.kill(), lambda trio: None),
    "hangs, and comes back as a replica": (
        lambda trio: trio.master.stop(),
        lambda trio: trio.master.go_on(),
    ),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", AWAY)
def test_nothing_is_lost_when_the_master(parts: Parts, trio: Trio, what: str) -> None:
    host, (away, back) = parts.host, AWAY[what]
    worker = Supervised(parts)
    ada = host.add("ada@example.com", wants_news=True)
    worker.until(lambda: host.status("ada@example.com") == "subscribed")
    away(trio)
    host.add("bob@example.com", wants_news=True)
    worker.until(trio.failed_over)
    back(trio)
    host.add("eve@example.com", wants_news=True)
    worker.until(lambda: host.status("bob@example.com") == "subscribed")
    worker.until(lambda: host.status("eve@example.com") == "subscribed")
    host.sandbox.unsubscribe(host.list_id, "ada@example.com")
    worker.until(lambda: host.box(ada) is False)
    worker.until(lambda: _health(parts) == ("ok", "ok"))
    worker.until(lambda: host.rows("outbox") == [])


def _health(parts: Parts) -> tuple[str, str]:
    """What the pages say of Redis and of the worker."""
    with parts.host.app.app_context():
        found = {c.code: c.level for c in health.checks(state.of(parts.host.app), "")}
    return found["redis"], found.get("worker", "")


def test_a_plain_rq_worker_serves_with_settings_of_rqs_own(
    parts: Parts, trio: Trio, tmp_path: Path
) -> None:
    text = blocks(ROOT / "docs" / "operators.rst", "python")[0]
    settings = text.replace("10.0.0.1", "127.0.0.1").replace("26379", str(trio.sentinel.port))
    (tmp_path / "rq_settings.py").write_text(settings.replace("mymaster", "crm"))
    parts.environment |= {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}",
        "REDIS_PASSWORD": PASSWORD,
        "SENTINEL_PASSWORD": SENTINELS_PASSWORD,
    }
    parts.host.add("ada@example.com", wants_news=True)
    until(lambda: parts.redis.llen(f"rq:queue:{parts.queue}") == 1)
    serializer = ("--serializer", "rq.serializers.JSONSerializer")
    worker = parts.run("rq.cli", "worker", "-c", "rq_settings", "--burst", *serializer, parts.queue)
    assert worker.wait(30) == 0
    assert parts.host.status("ada@example.com") == "subscribed"


def connect(url: str) -> Redis:
    """As the extension does, from its checked configuration."""
    key, name = "MAILCHIMP_OPTIN_ENCRYPTION_KEYS", "MAILCHIMP_OPTIN_REDIS_URL"
    return redis_clients.redis_client(Config.read({key: [new_key()], name: url}), 5.0)


def test_the_number_of_the_database_counts_and_options_do(trio: Trio) -> None:
    with connect(trio.url.replace("/crm/0?", "/crm/3?client_name=crm&")) as client:
        client.set("here", b"1")
        assert client.client_getname() in (b"crm", "crm")
    with trio.master.client() as master:
        assert [master.exists("here"), master.select(3) and master.exists("here")] == [0, 1]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("/crm/", "/other/", id="another-name"),
        pytest.param(SENTINELS_PASSWORD, "wrong-one", id="a-wrong-password-for-sentinel"),
        pytest.param(f":{PASSWORD}@", ":wrong-one@", id="a-wrong-password-for-redis"),
        pytest.param("", "", id="nobody-there"),
    ],
)
def test_an_error_tells_no_password(trio: Trio, right: str, wrong: str) -> None:
    if right:
        assert right in trio.url
    else:
        trio.sentinel.kill()
    url = trio.url.replace(right, wrong) if right else trio.url
    with connect(url) as client, pytest.raises(RedisError) as refused:
        client.ping()
    text = "".join(traceback.format_exception(refused.value))
    assert not [secret for secret in (PASSWORD, SENTINELS_PASSWORD, "wrong-one") if secret in text]
