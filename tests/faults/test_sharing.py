"""Very many contacts are shared out: nobody is left out, and never are too many requests under way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress

from sqlalchemy import func, insert, select

from flask_mailchimp_optin import connect
from tests.faults.processes import Parts, until
from tests.house import Customer, db

MANY = 3000


def _customers(parts: Parts, number: int) -> int:
    """So many with a tick; the id of the first."""
    rows = [
        {"mail": f"many{n}@example.com", "wants_news": True, "given_name": f"N{n}"}
        for n in range(number)
    ]
    with parts.host.app.app_context(), db.engine.begin() as connection:
        connection.execute(insert(Customer.__table__), rows)
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


def test_sixteen_workers_under_kills(parts: Parts) -> None:
    host, sandbox, dice = parts.host, parts.host.sandbox, random.Random(4)
    at_once = host.services.config.CONNECTIONS
    first = _customers(parts, MANY)
    parts.environment["TEST_BATCH"] = "25"
    _workers(parts, 16)
    sandbox.latency_s, sandbox.connection_limit = 0.2, at_once
    with host.app.app_context():
        connect.start_sync(host.services, "")
    together, kills = 0, 0
    said_no: set[int] = set()

    while any(run.state == "running" for run in host.rows("sync_run")):
        time.sleep(0.1)
        holders = _holders(parts)
        together = max(together, len(holders))
        if len(holders) > 2 and kills < 8:
            with suppress(ProcessLookupError):
                os.kill(dice.choice(sorted(holders)), signal.SIGKILL)
                kills += 1
            number = dice.randrange(MANY)
            said_no.add(number)
            host.change(first + number, wants_news=False)
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
