"""How long a no takes from the commit to Mailchimp: a real worker process, idle, and a real Redis.

The baseline is the two requests that it takes (read the member, unsubscribe them), made directly.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_mailchimp_optin import CustomerMapping, MailchimpOptin
from flask_mailchimp_optin.client import Client, Write
from flask_mailchimp_optin.testing import MailchimpSandbox, connect, run_jobs
from flask_mailchimp_optin.vault import new_key

OPT_OUTS = 200
_QUEUE = "bench-latency"


class Base(DeclarativeBase):
    """The declarative base of this host."""


db = SQLAlchemy(model_class=Base)


class Customer(db.Model):  # type: ignore[name-defined,misc]
    """A customer of this host."""

    __tablename__ = "bench_latency"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    opt_in: Mapped[bool]


def create_app() -> Flask:
    """The host, here and in the worker; what they share comes by the environment."""
    app = Flask("latency")
    app.config.update(
        SECRET_KEY="bench",
        SQLALCHEMY_DATABASE_URI=os.environ["BENCH_LATENCY_DATABASE"],
        MAILCHIMP_OPTIN_ENCRYPTION_KEYS=[os.environ["BENCH_LATENCY_KEY"]],
        MAILCHIMP_OPTIN_REDIS_URL=os.environ["BENCH_LATENCY_REDIS"],
        MAILCHIMP_OPTIN_API_URL=os.environ["BENCH_LATENCY_API"],
        MAILCHIMP_OPTIN_QUEUE=_QUEUE,
    )
    db.init_app(app)
    mapping = CustomerMapping(email="email", opt_in="opt_in")
    MailchimpOptin(app, db, Customer, mapping=mapping, authorize=lambda: False)
    return app


def measure(folder: Path, redis_url: str) -> dict[str, Any]:
    """The row of the table."""
    sandbox = MailchimpSandbox()
    with sandbox.serve() as url:
        database = os.environ.get("BENCH_DATABASE_URL") or f"sqlite:///{folder / 'latency'}.sqlite3"
        os.environ.update(
            BENCH_LATENCY_DATABASE=database,
            BENCH_LATENCY_KEY=new_key(),
            BENCH_LATENCY_REDIS=redis_url,
            BENCH_LATENCY_API=url,
        )
        app = create_app()
        with app.app_context():
            db.drop_all()
            db.create_all()
            db.session.add_all(
                Customer(email=f"c{n}@example.com", opt_in=True) for n in range(OPT_OUTS)
            )
            db.session.commit()
        list_id = connect(app, sandbox)
        run_jobs(app)
        with _worker(redis_url):
            times_s = [_one(app, sandbox, number) for number in range(OPT_OUTS)]
        bare_s = _bare(sandbox, url, list_id)
        with app.app_context():
            db.drop_all()
    median_s, p99_s = statistics.median(times_s), statistics.quantiles(times_s, n=100)[98]
    return {
        "name": "no_to_mailchimp",
        "unit": "s",
        "value": median_s,
        "baseline": bare_s,
        "ratio": median_s / bare_s,
        "n": OPT_OUTS,
        "note": f"its two requests made directly; p99 {p99_s:.3f}s",
    }


def _one(app: Flask, sandbox: MailchimpSandbox, number: int) -> float:
    """One opt-out: seconds from the end of the commit to Mailchimp's taking it up."""
    before = len(sandbox.status_changes)
    with app.app_context():
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
    assert change.new == "unsubscribed"
    return max(0.0, (change.moment - committed_at).total_seconds())


@contextmanager
def _worker(redis_url: str) -> Iterator[None]:
    """A worker process, up and idle."""
    client = redis.Redis.from_url(redis_url)
    environment = {**os.environ, "FLASK_APP": "benchmarks.latency:create_app"}
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "mailchimp", "worker"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not client.scard(f"rq:workers:{_QUEUE}"):
            if time.monotonic() > deadline:
                raise TimeoutError("The worker does not start.")
            time.sleep(0.05)
        time.sleep(1)
        yield
    finally:
        process.terminate()
        process.wait(30)
        client.close()


def _bare(sandbox: MailchimpSandbox, url: str, list_id: str) -> float:
    """The median of the two requests of an opt-out, without anything around them."""
    times_s = []
    with Client(sandbox.api_key, api_url=url) as client:
        for number in range(OPT_OUTS):
            address = f"bare{number}@example.com"
            sandbox.subscribe(list_id, address)
            begin = time.perf_counter()
            client.member(list_id, address)
            client.write(list_id, [Write(address=address, status="unsubscribed")])
            times_s.append(time.perf_counter() - begin)
    return statistics.median(times_s)
