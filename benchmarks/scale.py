"""A sync of very many customers with nothing, or one thing, changed: its time, calls and memory.

A daily one, which asks Mailchimp only for who changed since the last; and one that reads all members, as
the first sync, one asked for by hand and every seventh daily one do. The baseline reads the same columns
of both sides once: the host's, and Mailchimp's members by 1,000.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask

from flask_mailchimp_optin import acts, connect, overviews, state
from flask_mailchimp_optin.client import Client
from flask_mailchimp_optin.testing import run_jobs

from . import compared
from .host import Customer, Sandbox, db, host, sandbox

CUSTOMERS = int(os.environ.get("BENCH_MANY", "100000"))
_ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
_PAGE = 1000


def measure(folder: Path, redis_url: str) -> list[dict[str, Any]]:
    """The rows of the table."""
    daily, whole = _rounds(folder / "many.sqlite3", redis_url, CUSTOMERS)
    less_daily, less = _rounds(folder / "fewer.sqlite3", redis_url, CUSTOMERS // 10)
    pages = float(-(-CUSTOMERS // _PAGE))
    rows = []
    for name, many, few in (
        ("one_change_in", daily, less_daily),
        ("all_members_read", whole, less),
    ):
        size = f"{CUSTOMERS // 1000}k"
        rows += [
            compared.row(f"{name}_{size}", "s", many.seconds, CUSTOMERS, "both sides read once"),
            compared.row(
                f"{name}_{size}, calls", "calls", [(many.calls, pages)], CUSTOMERS, "by 1,000"
            ),
            compared.row(
                f"{name}_{size}, memory",
                "MB",
                [(many.memory, few.memory)],
                CUSTOMERS,
                "a tenth of the customers",
            ),
        ]
    return rows


@dataclass
class Syncs:
    """Seconds of ours and of the baseline; calls and peak memory, in MB, of the last one."""

    seconds: list[tuple[float, float]]
    calls: float = 0
    memory: float = 0


def _rounds(database: Path, redis_url: str, customers: int) -> tuple[Syncs, Syncs]:
    """Of daily syncs, and of those that read all members."""
    url = os.environ.get("BENCH_DATABASE_URL") or f"sqlite:///{database}"
    with sandbox() as there, host(url, redis_url, there.url, customers) as app:
        addresses = [f"customer{number}@example.com" for number in range(customers)]
        there.ask("add_members", there.list_id, addresses)
        _connect(app, there)
        daily, whole = Syncs([]), Syncs([])
        for number in range(_ROUNDS):
            for syncs, begin in ((daily, _a_day_passes), (whole, _by_hand)):
                _change_one(app, number)
                begin(app)
                before = there.ask("requests")
                seconds, syncs.memory = _sync(app)
                syncs.calls = float(there.ask("requests") - before)
                syncs.seconds.append((seconds, _read_both(app, there)))
        return daily, whole


def _connect(app: Flask, there: Sandbox) -> None:
    """Connected, with everybody's profile sent: what a first sync leaves behind."""
    services = state.of(app).services
    connect.connect(services, "", there.api_key)
    connect.save_settings(services, "", overviews.Settings(enabled=True, master_list=there.list_id))
    run_jobs(app)


def _change_one(app: Flask, number: int) -> None:
    with app.app_context():
        customer: Any = db.session.get_one(Customer, number + 1)
        customer.first_name = f"Grace {time.monotonic_ns()}"
        db.session.commit()


def _by_hand(app: Flask) -> None:
    with app.app_context():
        acts.start_sync(state.of(app).services, "")


def _a_day_passes(app: Flask) -> None:
    """The last daily sync was yesterday's, and no member has changed since it read them."""
    services = state.of(app).services
    tables, now = services.tables, services.now()
    with services.begin() as tx:
        yesterday = (now - timedelta(days=2)).date().isoformat()
        tx.execute(sa.update(tables.connection).values(last_daily_on=yesterday))
        # It asks for more than that again, lest a clock be wrong.
        read_at = now + timedelta(minutes=10)
        tx.execute(sa.update(tables.audience).values(read_at=read_at, read_in_full_at=now))


#: A process counts the memory of the one that began it as its own, so a small one begins it.
_MEMORY_OF = """import resource, subprocess, sys
code = subprocess.call([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)"""


def _sync(app: Flask) -> tuple[float, float]:
    """The sync that is due, in processes of its own: seconds, and the largest one's peak in MB."""
    services = state.of(app).services
    environment = {**os.environ, "FLASK_APP": "benchmarks.host:create_app"}
    command = [sys.executable, "-c", _MEMORY_OF, "-m", "flask", "mailchimp", "sweep"]
    begin, peak = time.perf_counter(), 0
    while True:  # a process gives others their turn after half a minute
        process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        peak = max(peak, int(process.stdout or 0))
        runs = services.tables.sync_run
        with services.begin() as tx:
            last = tx.row(sa.select(runs).order_by(runs.c.id.desc()).limit(1))
        if process.returncode or last is None or last.state not in ("running", "done"):
            raise RuntimeError("the sync did not come to its end")
        if last.state == "done":
            return time.perf_counter() - begin, peak / 1024


def _read_both(app: Flask, there: Sandbox) -> float:
    """The host's columns by pages of its key, then every member's."""
    table = Customer.__table__
    begin, after, read = time.perf_counter(), 0, 0
    with app.app_context(), db.engine.connect() as connection:
        while rows := connection.execute(
            sa.select(table).where(table.c.id > after).order_by(table.c.id).limit(_PAGE)
        ).all():
            after, read = rows[-1].id, read + len(rows)
    with Client(there.api_key, api_url=there.url) as client:
        for offset in range(0, read, _PAGE):
            client.members(there.list_id, since=None, offset=offset, status=None)
    return time.perf_counter() - begin
