"""How long a no or a new yes takes from the commit to Mailchimp: an idle worker, and a real Redis.

The baseline is the two requests that it takes (read the member, write them), made directly.
"""

from __future__ import annotations

import os
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask

from flask_mailchimp_optin.client import Client, Write
from flask_mailchimp_optin.testing import MailchimpSandbox, connect, run_jobs

from . import compared
from .host import Customer, db, host, row, workers

_EACH = 200


def measure(folder: Path, redis_url: str) -> list[dict[str, Any]]:
    """The rows of the table."""
    sandbox = MailchimpSandbox()
    database = os.environ.get("BENCH_DATABASE_URL") or f"sqlite:///{folder / 'latency'}.sqlite3"
    with sandbox.serve() as url, host(database, redis_url, url, _EACH) as app:
        list_id = connect(app, sandbox)
        run_jobs(app)
        with workers(redis_url, 1):
            nos_s = [_one(app, sandbox, number, yes=False) for number in range(_EACH)]
            yeses_s = [_one(app, sandbox, number, yes=True) for number in range(_EACH)]
        bare_s = _bare(sandbox, url, list_id)
    return [
        _row("no_to_mailchimp", nos_s, bare_s),
        _row("save_to_mailchimp", yeses_s, bare_s),
    ]


def _row(name: str, times_s: list[float], bare_s: float) -> dict[str, Any]:
    median_s, p99_s = statistics.median(times_s), statistics.quantiles(times_s, n=100)[98]
    note = f"its two requests made directly; p99 {p99_s:.3f} s"
    return compared.row(name, "s", [(median_s, bare_s)], _EACH, note)


def _one(app: Flask, sandbox: MailchimpSandbox, number: int, *, yes: bool) -> float:
    """One opt-out, or a new customer: seconds from the end of the commit to Mailchimp's taking it up."""
    before = len(sandbox.status_changes)
    with app.app_context():
        if yes:
            db.session.add(Customer(**row(_EACH + number)))
        else:
            customer: Any = db.session.get_one(Customer, number + 1)
            customer.opt_in = False
        db.session.commit()
        committed_at = datetime.now(UTC)
    deadline = time.monotonic() + 30
    while len(sandbox.status_changes) == before:
        if time.monotonic() > deadline:
            raise TimeoutError("The worker does not get on.")
        time.sleep(0.001)
    time.sleep(0.05)  # until the worker is idle again
    change = sandbox.status_changes[before]
    assert change.new == ("subscribed" if yes else "unsubscribed")
    return max(0.0, (change.moment - committed_at).total_seconds())


def _bare(sandbox: MailchimpSandbox, url: str, list_id: str) -> float:
    """The median of the two requests of an opt-out, without anything around them."""
    times_s = []
    with Client(sandbox.api_key, api_url=url) as client:
        for number in range(_EACH):
            address = f"bare{number}@example.com"
            sandbox.subscribe(list_id, address)
            begin = time.perf_counter()
            client.member(list_id, address)
            client.write(list_id, [Write(address=address, status="unsubscribed")])
            times_s.append(time.perf_counter() - begin)
    return statistics.median(times_s)
