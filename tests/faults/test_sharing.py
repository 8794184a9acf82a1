"""Very many contacts are shared out: nobody is left out, and never are too many requests under way.

A no that was looked at while somebody helps is not overtaken by what the helper picked before.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from flask_mailchimp_optin import (
    acts,
    drain,
    lease,
    newcomers,
    settle,
    shards,
)
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.faults.processes import Parts, until
from tests.faults.stage import Stage, until_quiet
from tests.faults.test_leases import Interleaved
from tests.house import Clock, Customer, Host, db, hosting
from tests.invariants import Promises

MANY = 3000
#: What somebody does meanwhile to the customer with this key and address.
CHANGES: dict[str, Callable[[Promises, int, str], object]] = {
    "a no": lambda promises, key, _: promises.change(key, wants_news=False),
    "another name": lambda promises, key, _: promises.change(key, given_name="Grace"),
    "another address": lambda promises, key, mail: promises.change(key, mail=f"new.{mail}"),
    "deleted": lambda promises, key, _: promises.delete(key),
    "a mate's no": lambda promises, _, mail: promises.change(
        promises.add(mail, wants_news=None), wants_news=False
    ),
    "a no at Mailchimp": lambda promises, _, mail: _no_at_mailchimp(promises.host, mail),
}
RENAMED = list(CHANGES).index("another name")
_numbers = count()


def _no_at_mailchimp(host: Host, mail: str) -> None:
    if host.status(mail) is None:
        host.sandbox.subscribe(host.list_id, mail)
    host.sandbox.unsubscribe(host.list_id, mail)


def _customers(parts: Parts, number: int) -> int:
    """So many with a tick; the id of the first."""
    _insert(parts.host, [f"many{n}@example.com" for n in range(number)])
    with parts.host.app.app_context(), db.engine.begin() as connection:
        return int(connection.execute(select(func.min(Customer.id))).scalar_one())


def _workers(parts: Parts, number: int) -> list[subprocess.Popen[bytes]]:
    started = [parts.run("flask", "mailchimp", "worker") for _ in range(number)]
    until(lambda: parts.redis.scard(f"rq:workers:{parts.queue}") == number, within_s=120)
    return started


def _holders(parts: Parts) -> set[int]:
    """The processes that are settling a part of the contacts."""
    return {
        int(row.lease_owner.rpartition(":")[2])
        for row in parts.host.rows("shard")
        if row.lease_owner
    }


def _kill_holders(
    parts: Parts, dice: random.Random, number: int, then: Callable[[], object] = lambda: None
) -> tuple[int, int]:
    """As long as a sync runs, so many of those at work; the most who were at it at once, and kills.

    :param then: what somebody does at each kill.
    """
    together, kills = 0, 0
    while parts.host.rows("sync_run")[-1].state == "running":
        time.sleep(0.1)
        holders = _holders(parts)
        together = max(together, len(holders))
        if len(holders) > 1 and kills < number:
            with suppress(ProcessLookupError):
                os.kill(dice.choice(sorted(holders)), signal.SIGKILL)
                kills += 1
            then()
    return together, kills


@pytest.mark.timeout(300)  # sixteen interpreters begin at once
def test_sixteen_workers_under_kills(parts: Parts) -> None:
    host, sandbox, dice = parts.host, parts.host.sandbox, random.Random(4)
    at_once = host.services.config.CONNECTIONS
    first = _customers(parts, MANY)
    parts.environment["TEST_BATCH"] = "25"
    _workers(parts, 16)
    sandbox.latency_s, sandbox.connection_limit = 0.2, at_once
    with host.app.app_context():
        acts.start_sync(host.services, "")
    said_no: set[int] = set()

    def says_no() -> None:
        number = dice.randrange(MANY)
        said_no.add(number)
        host.change(first + number, wants_news=False)

    together, kills = _kill_holders(parts, dice, 8, says_no)
    until(parts.idle, within_s=120)
    there = {m["email_address"]: m["status"] for m in sandbox.members(host.list_id).values()}
    print(together, kills, sandbox.peak_connections, len(sandbox.requests))
    wrong = {
        n: there.get(f"many{n}@example.com")
        for n in range(MANY)
        if (there.get(f"many{n}@example.com") == "subscribed") is (n in said_no)
    }
    assert wrong == {}
    assert all(row.acked_version == row.version for row in host.rows("contact"))
    assert kills == 8
    assert together > 2
    assert sandbox.peak_connections <= at_once


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("known", [False, True])
def test_whoever_holds_the_lease_absorbs_while_another_helps(
    stage: Stage, change: str, known: bool
) -> None:
    """Before any transaction of the helper's."""
    host = stage.host_for("sharing")
    services = host.services
    for turn in range(1, 100):
        with Promises(host).from_now().watching() as promises:
            mail = f"ada{next(_numbers)}@example.com"
            ada = promises.add(mail, wants_news=True, named=True)
            if known:
                host.work()
                promises.change(ada, given_name="Ada")
            host.clock.turn(seconds=1)

            def somebody_acts(
                promises: Promises = promises, ada: int = ada, mail: str = mail
            ) -> None:
                CHANGES[change](promises, ada, mail)
                host.sandbox.wait_for_rings(10)
                for _ in range(2):
                    drain.drain(services, 1, "first", budget_s=0.0)

            with host.app.app_context():
                drain.drain(services, 1, "first", budget_s=0.0)
                _share_out(host)
                with Interleaved(host, turn, somebody_acts) as interleaved:
                    _help(host)
            until_quiet(host)
            promises.check()
        if not interleaved.met:
            break
    assert turn > 6
    stage.good()


def test_whoever_is_called_in_gives_back_what_they_hold(
    connected: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, settled = connected.services, settle.settle

    def then_called_in(*args: Any) -> int:
        number = settled(*args)
        held = lease.take(services, 1, "first")
        assert held is not None
        shards.call_in(services, held)
        lease.release(services, held)
        return number

    for number in range(3):
        connected.add(f"c{number}@example.com", wants_news=True)
    with connected.app.app_context():
        drain.drain(services, 1, "first", budget_s=0.0)  # looked at, and due
        _share_out(connected)
        monkeypatch.setattr(settle, "settle", then_called_in)
        _help(connected)
        assert not shards.held(services, 1)  # else the others wait until the lease runs out


def test_whoever_holds_the_lease_absorbs_while_another_tells_newcomers(
    tmp_path: Path, clock: Clock, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any transaction of the helper's; each change happens to a newcomer of their own."""
    monkeypatch.setattr(drain, "_WAIT_S", 0.005)
    for turn in range(1, 100):
        with hosting(tmp_path, MailchimpSandbox(clock=clock), clock) as host:
            promises = Promises(host)
            _begin_a_first_sync(promises, len(CHANGES))

            def somebody_acts(host: Host = host, promises: Promises = promises) -> None:
                host.clock.turn(seconds=1)
                for number, change in enumerate(CHANGES.values()):
                    change(promises, number + 1, f"ada{number}@example.com")
                host.sandbox.wait_for_rings(10)
                for _ in range(3):
                    drain.drain(host.services, 1, "first", budget_s=0.0)

            with host.app.app_context():
                with Interleaved(host, turn, somebody_acts) as interleaved:
                    _help(host)
                if not interleaved.met:
                    break
                until_quiet(host)
                promises.check()
            renamed = host.sandbox.members(host.list_id)[f"ada{RENAMED}@example.com"]
            assert renamed["merge_fields"]["FNAME"] == "Grace", turn
            assert host.rows("sync_run")[0].state == "done", turn
    assert turn > 8


@pytest.mark.parametrize("when", ["before_answer", "after_effect"])
def test_a_no_while_a_helpers_call_is_under_way_goes_out_once_it_is_answered(
    host: Host, small_parts: None, when: str
) -> None:
    promises = Promises(host)
    _begin_a_first_sync(promises, 4)

    def says_no() -> None:
        promises.change(4, wants_news=False)
        with host.app.app_context():
            for _ in range(3):  # looks, and finds nobody to unsubscribe
                drain.drain(host.services, 1, "first", budget_s=0.0)

    getattr(host.sandbox, when)(says_no, path=f"POST /3.0/lists/{host.list_id}?")
    with host.app.app_context():
        _help(host)
    assert host.status("ada3@example.com") == "subscribed"
    host.work()  # the clock stands still
    assert host.status("ada3@example.com") == "unsubscribed"
    host.clock.turn(minutes=3)
    host.work()
    assert host.rows("sync_run")[0].state == "done"


@pytest.mark.timeout(300)
def test_a_first_sync_is_shared_out_under_kills(parts: Parts) -> None:
    host, sandbox, dice = parts.host, parts.host.sandbox, random.Random(7)
    at_once = host.services.config.CONNECTIONS
    host.settings(enabled=False)
    _insert(host, [f"many{n}@example.com" for n in range(MANY)])
    parts.environment["TEST_BATCH"] = "25"
    _workers(parts, 4)
    sandbox.latency_s, sandbox.connection_limit = 0.2, at_once
    host.settings(enabled=True)
    together, kills = _kill_holders(parts, dice, 4)
    run = host.rows("sync_run")[-1]
    assert (run.kind, run.state, run.customers_done) == ("initial", "done", MANY)
    there = [m["status"] for m in sandbox.members(host.list_id).values()]
    assert there == MANY * ["subscribed"]
    assert together > 1
    assert kills == 4
    assert sandbox.peak_connections <= at_once


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first sync is shared out among workers in parts of two customers."""
    monkeypatch.setattr(shards, "SHARED_FROM", 2)
    monkeypatch.setattr(newcomers, "LARGEST_BATCH", 2)


def _insert(host: Host, mails: list[str]) -> None:
    """Customers with a tick who were there before the extension was."""
    rows = [{"mail": mail, "wants_news": True, "given_name": "Ada"} for mail in mails]
    with host.app.app_context(), db.engine.begin() as connection:
        connection.execute(insert(Customer.__table__), rows)


def _begin_a_first_sync(promises: Promises, number: int) -> None:
    """Of so many newcomers, until it is shared out."""
    host = promises.host
    host.enable()
    with promises.writing(*range(1, number + 1), raw=True):
        _insert(host, [f"ada{n}@example.com" for n in range(number)])
    with host.app.app_context():
        for _ in range(20):
            drain.drain(host.services, 1, "first", budget_s=0.0)
            if host.rows("connection")[0].shards:
                return
    raise AssertionError("never shared out")


def _help(host: Host) -> None:
    drain._help(host.services, 1, "helper", drain._Turn(host.services, 1, 30.0, 0.0))


def _share_out(host: Host) -> None:
    held = lease.take(host.services, 1, "first")
    assert held is not None
    shards.share_out(host.services, held)
    lease.release(host.services, held)
