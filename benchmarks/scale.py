"""A daily sync of very many customers with nothing, or one thing, changed: its time, calls and memory.

The baseline reads the same columns of both sides once: the host's, and Mailchimp's members by 1,000.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
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
    times, calls, memory = _rounds(folder / "many.sqlite3", redis_url, CUSTOMERS)
    _, _, less = _rounds(folder / "fewer.sqlite3", redis_url, CUSTOMERS // 10)
    name, pages = f"{CUSTOMERS // 1000}k", float(-(-CUSTOMERS // _PAGE))
    note = "both sides read once"
    return [
        compared.row(f"one_change_in_{name}", "s", times, CUSTOMERS, note),
        compared.row(f"calls_of_it_{name}", "calls", [(calls, pages)], CUSTOMERS, "by 1,000"),
        compared.row(
            f"memory_{name}", "MB", [(memory, less)], CUSTOMERS, "a tenth of the customers"
        ),
    ]


def _rounds(
    database: Path, redis_url: str, customers: int
) -> tuple[list[tuple[float, float]], float, float]:
    """Seconds of ours and of the baseline; the calls and the peak memory, in MB, of the last sync."""
    url = os.environ.get("BENCH_DATABASE_URL") or f"sqlite:///{database}"
    with sandbox() as there, host(url, redis_url, there.url, customers) as app:
        addresses = [f"customer{number}@example.com" for number in range(customers)]
        there.ask("add_members", there.list_id, addresses)
        _connect(app, there)
        times: list[tuple[float, float]] = []
        calls = memory = 0.0
        for number in range(_ROUNDS):
            before = there.ask("requests")
            seconds, memory = _sync(app, number)
            calls = float(there.ask("requests") - before)
            times.append((seconds, _read_both(app, there)))
        return times, calls, memory


def _connect(app: Flask, there: Sandbox) -> None:
    """Connected, with everybody's profile sent: what a first sync leaves behind."""
    services = state.of(app).services
    connect.connect(services, "", there.api_key)
    connect.save_settings(services, "", overviews.Settings(enabled=True, master_list=there.list_id))
    run_jobs(app)


def _sync(app: Flask, number: int) -> tuple[float, float]:
    """One customer changes; then a sync of all, in a process of its own: seconds and peak MB."""
    services = state.of(app).services
    with app.app_context():
        customer: Any = db.session.get_one(Customer, number + 1)
        customer.first_name = f"Grace {time.monotonic_ns()}"
        db.session.commit()
        acts.start_sync(services, "")
    environment = {**os.environ, "FLASK_APP": "benchmarks.host:create_app"}
    command = [sys.executable, "-m", "flask", "mailchimp", "sweep"]
    begin = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = status
    runs = services.tables.sync_run
    with services.begin() as tx:
        last = tx.row(sa.select(runs).order_by(runs.c.id.desc()).limit(1))
    if status or last is None or last.state != "done":
        raise RuntimeError("the sync did not come to its end")
    return seconds, usage.ru_maxrss / 1024


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
