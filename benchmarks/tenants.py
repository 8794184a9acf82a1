"""How long one tenant's opt-out waits while another tenant's first sync keeps the only worker busy.

The baseline is the same opt-out with an idle worker.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask

from flask_mailchimp_optin import connect as acts
from flask_mailchimp_optin import overviews, state
from flask_mailchimp_optin.client import Client

from . import compared
from .host import Customer, Sandbox, db, host, row, sandbox, wait_for, workers

CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "100000"))
_LARGE, _SMALL = "large", "small"
_EACH = 20
_LATENCY_S = 0.2


def measure(folder: Path, redis_url: str) -> list[dict[str, Any]]:
    """The rows of the table."""
    database = os.environ.get("BENCH_DATABASE_URL") or f"sqlite:///{folder / 'tenants'}.sqlite3"
    os.environ["BENCH_HOST_TENANTS"] = "yes"
    try:
        with (
            sandbox(_LATENCY_S) as there,
            host(database, redis_url, there.url, CUSTOMERS, tenant=_LARGE) as app,
            workers(redis_url, 1),
            Client(there.api_key, api_url=there.url) as client,
        ):
            list_id = _connect(app, there, client)
            idle_s = [_one(app, client, list_id, number) for number in range(_EACH)]
            _enable(app, _LARGE, there.list_id)
            busy_s: list[float] = []
            while not _is_done(app):
                busy_s.append(_one(app, client, list_id, _EACH + len(busy_s)))
    finally:
        del os.environ["BENCH_HOST_TENANTS"]
    pair = max(busy_s), statistics.median(idle_s)
    median_s = statistics.median(busy_s)
    note = f"an idle worker; the slowest of {len(busy_s)}, median {median_s:.3f} s"
    return [compared.row(f"no_beside_{CUSTOMERS // 1000}k", "s", [pair], CUSTOMERS, note)]


def _connect(app: Flask, there: Sandbox, client: Client) -> str:
    """Both tenants are connected, the small one is in sync; its list."""
    services = state.of(app).services
    list_id: str = there.ask("add_audience", "Small")
    with app.app_context():
        numbers = range(CUSTOMERS, CUSTOMERS + 10 * _EACH)
        db.session.execute(
            sa.insert(Customer), [row(number) | {"account": _SMALL} for number in numbers]
        )
        db.session.commit()
        for tenant in (_LARGE, _SMALL):
            acts.connect(services, tenant, there.api_key)
    _enable(app, _SMALL, list_id)
    last = row(CUSTOMERS + 10 * _EACH - 1)["email"]
    wait_for(lambda: client.member(list_id, last) is not None)
    time.sleep(2)
    return list_id


def _enable(app: Flask, tenant: str, list_id: str) -> None:
    settings = overviews.Settings(enabled=True, master_list=list_id)
    acts.save_settings(state.of(app).services, tenant, settings)


def _is_done(app: Flask) -> bool:
    """Whether the large tenant's first sync has come to its end."""
    runs = state.of(app).services.tables.sync_run
    with state.of(app).services.begin() as tx:
        rows = tx.rows(sa.select(runs.c.state).where(runs.c.kind == "initial"))
    return len(rows) == 2 and all(row.state == "done" for row in rows)


def _one(app: Flask, client: Client, list_id: str, number: int) -> float:
    """One opt-out of the small tenant: seconds from the commit until Mailchimp shows it."""
    address = row(CUSTOMERS + number)["email"]
    with app.app_context():
        query = sa.select(Customer).where(Customer.email == address)
        customer: Any = db.session.scalars(query).one()
        customer.opt_in = False
        db.session.commit()
    begin = time.perf_counter()

    def is_gone() -> bool:
        member = client.member(list_id, address)
        return member is not None and member.status == "unsubscribed"

    wait_for(is_gone)
    return time.perf_counter() - begin
