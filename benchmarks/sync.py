"""A first sync of many customers to an empty list, by two workers.

The baseline posts the same bodies, ready-made, over pooled connections, eight at a time: less than that
nobody can do.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa
from flask import Flask
from requests.adapters import HTTPAdapter

from flask_mailchimp_optin import connect as acts
from flask_mailchimp_optin import overviews, state
from flask_mailchimp_optin.client import LARGEST_BATCH

from . import compared
from .host import Sandbox, host, row, sandbox, wait_for, workers

CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "100000"))
_LATENCY_S = 0.2
_ROUNDS = 5
_AT_ONCE = 8


def measure(folder: Path, redis_url: str) -> list[dict[str, Any]]:
    """The rows of the table."""
    database = os.environ.get("BENCH_DATABASE_URL") or f"sqlite:///{folder / 'sync'}.sqlite3"
    rounds = [_pair(database, redis_url) for _ in range(_ROUNDS)]
    size, batches = f"{CUSTOMERS // 1000}k", -(-CUSTOMERS // LARGEST_BATCH)
    times_s = [(ours_s, bare_s) for ours_s, bare_s, _ in rounds]
    calls = [(float(made), float(batches)) for _, _, made in rounds]
    note = "the same bodies posted, 8 at a time"
    return [
        compared.row(f"first_sync_{size}", "s", times_s, CUSTOMERS, note),
        compared.row(f"calls_{size}", "calls", calls, CUSTOMERS, "members by 500"),
    ]


def _pair(database: str, redis_url: str) -> tuple[float, float, int]:
    with sandbox(_LATENCY_S) as there:
        bare_s = _post(there)
    with sandbox(_LATENCY_S) as there, host(database, redis_url, there.url, CUSTOMERS) as app:
        with workers(redis_url, 2):
            ours_s = first_sync(app, there)
        assert there.ask("members", there.list_id) == CUSTOMERS
        return ours_s, bare_s, there.ask("requests")


def first_sync(app: Flask, there: Sandbox) -> float:
    """Connect and enable, as an administrator does; the seconds until the initial sync is done."""
    services = state.of(app).services
    acts.connect(services, "", there.api_key)
    begin = time.perf_counter()
    settings = overviews.Settings(enabled=True, master_list=there.list_id)
    acts.save_settings(services, "", settings)
    runs = services.tables.sync_run

    def done() -> bool:
        with services.begin() as tx:
            return tx.value(sa.select(runs.c.id).where(runs.c.state == "done")) is not None

    wait_for(done, 1800)
    return time.perf_counter() - begin


def _post(there: Sandbox) -> float:
    """The same members in ready-made bodies."""
    bodies = []
    for start in range(0, CUSTOMERS, LARGEST_BATCH):
        numbers = range(start, min(start + LARGEST_BATCH, CUSTOMERS))
        members = [_member(number) for number in numbers]
        bodies.append(json.dumps({"members": members, "update_existing": False}).encode())
    url = f"{there.url}lists/{there.list_id}?skip_merge_validation=true"
    with requests.Session() as session:
        session.trust_env = False
        session.auth = ("bench", there.api_key)
        session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=_AT_ONCE))

        def post(body: bytes) -> None:
            headers = {"Content-Type": "application/json"}
            session.post(url, data=body, headers=headers, timeout=60).raise_for_status()

        begin = time.perf_counter()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(post, bodies))
        return time.perf_counter() - begin


def _member(number: int) -> dict[str, Any]:
    values = row(number)
    return {
        "email_address": values["email"],
        "status_if_new": "subscribed",
        "timestamp_opt": "2026-11-27T12:00:00+00:00",
        "merge_fields": {"FNAME": values["first_name"], "LNAME": values["last_name"]},
    }
