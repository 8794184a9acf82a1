"""Rings: how many a second the webhook takes under gunicorn, and what a burst of them costs in calls."""

from __future__ import annotations

import hmac
import http.client
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import sqlalchemy as sa
from flask import Flask

from flask_mailchimp_optin import hooks, state
from flask_mailchimp_optin.testing import MailchimpSandbox, connect, run_jobs

from . import compared
from .host import Customer, host, wait_for

BURST = 5000
_SECONDS = 3.0  # of each measurement of a round
_CLIENTS = 4
_ROUNDS = 5


def measure(folder: Path, redis_url: str) -> list[dict[str, Any]]:
    """The rows of the table."""
    database = os.environ.get("BENCH_DATABASE_URL") or f"sqlite:///{folder / 'rings'}.sqlite3"
    sandbox = MailchimpSandbox()
    sandbox.keep_bodies = False
    with ExitStack() as stack:
        url = stack.enter_context(sandbox.serve())
        site = os.environ["BENCH_HOST_PUBLIC_URL"] = f"http://127.0.0.1:{_free_port()}"
        stack.callback(os.environ.pop, "BENCH_HOST_PUBLIC_URL")
        app = stack.enter_context(host(database, redis_url, url, BURST))
        stack.enter_context(_gunicorn(site))
        list_id = connect(app, sandbox)
        run_jobs(app)
        path = urlsplit(sandbox.webhooks(list_id)[0]["url"]).path
        served = _served(site, path, _Rings(app, list_id))
        return [*served, _burst(app, sandbox, list_id)]


class _Rings:
    """Rings that never were before, signed as Mailchimp signs them."""

    def __init__(self, app: Flask, list_id: str) -> None:
        self._list_id, self._numbers = list_id, count()
        services = state.of(app).services
        with services.begin() as tx:
            audience = tx.row(sa.select(services.tables.audience))
        assert audience is not None
        self._secret = hooks.signing_secrets(services, audience)[0]

    def one(self) -> tuple[bytes, dict[str, str]]:
        """A body and its headers."""
        number, now = next(self._numbers), int(time.time())
        values = {
            "type": "profile",
            "fired_at": "2026-01-01 12:00:00",
            "data[id]": f"{number}",
            "data[list_id]": self._list_id,
            "data[email]": f"customer{number % BURST}@example.com",
        }
        body = urlencode(values).encode()
        signed = hmac.new(self._secret.encode(), f"{now}.".encode() + body, "sha256").hexdigest()
        kind = "application/x-www-form-urlencoded"
        return body, {"Content-Type": kind, "X-Mailchimp-Signature": f"t={now},v1={signed}"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def _gunicorn(site: str) -> Iterator[None]:
    """The host under gunicorn, two workers."""
    command = [sys.executable, "-m", "gunicorn", "--workers=2", "--log-level=error"]
    command += [f"--bind={urlsplit(site).netloc}", "--keep-alive=30", "--worker-class=gthread"]
    process = subprocess.Popen([*command, "benchmarks.host:create_app()"])
    try:
        wait_for(lambda: _answers(urlsplit(site).port or 0))
        yield
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _served(site: str, path: str, rings: _Rings) -> list[dict[str, Any]]:
    pairs = []
    for _ in range(_ROUNDS):
        ours, bare = _rate(site, path, rings), _rate(site, "/bare", rings)
        pairs.append((ours, bare))
    rate = statistics.median(ours for ours, _ in pairs)
    ours_s, bare_s = (_p99(site, where, rings, rate / 2) for where in (path, "/bare"))
    return [
        compared.row("ring", "1/s", pairs, _ROUNDS, "a route that inserts a row"),
        compared.row("ring_p99, at half that rate", "s", [(ours_s, bare_s)], 1, "the same"),
    ]


def _rate(site: str, path: str, rings: _Rings) -> float:
    """Requests a second that all clients together get answered."""
    done = [0] * _CLIENTS
    deadline = time.monotonic() + _SECONDS

    def client(number: int) -> None:
        with _connection(site) as connection:
            while time.monotonic() < deadline:
                _post(connection, path, rings)
                done[number] += 1

    _at_once(client)
    return sum(done) / _SECONDS


def _p99(site: str, path: str, rings: _Rings, rate: float) -> float:
    """The 99th percentile of answer times at so many requests a second."""
    times_s: list[float] = []
    begin, each = time.monotonic() + 0.1, _CLIENTS / rate

    def client(number: int) -> None:
        with _connection(site) as connection:
            for turn in range(int(_SECONDS / each)):
                at = begin + (turn + number / _CLIENTS) * each
                time.sleep(max(0.0, at - time.monotonic()))
                _post(connection, path, rings)
                times_s.append(time.monotonic() - at)

    _at_once(client)
    return statistics.quantiles(times_s, n=100)[98]


def _at_once(client: Any) -> None:
    with ThreadPoolExecutor(_CLIENTS) as pool:
        list(pool.map(client, range(_CLIENTS)))


@contextmanager
def _connection(site: str) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(site).netloc, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def _post(connection: http.client.HTTPConnection, path: str, rings: _Rings) -> None:
    body, headers = rings.one()
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}")


def _burst(app: Flask, sandbox: MailchimpSandbox, list_id: str) -> dict[str, Any]:
    """Everybody unsubscribes at Mailchimp at once: the calls until every box is unticked."""
    run_jobs(app)
    sandbox.hold_rings()
    for number in range(BURST):
        sandbox.unsubscribe(list_id, f"customer{number}@example.com")
    before = len(sandbox.requests)
    sandbox.release_rings()
    sandbox.wait_for_rings(120)
    run_jobs(app)
    with app.app_context(), state.of(app).services.begin() as tx:
        ticked = tx.value(sa.select(sa.func.count()).where(Customer.opt_in.is_(True)))
    if ticked:
        raise RuntimeError(f"{ticked} boxes are still ticked")
    calls = len(sandbox.requests) - before
    return compared.row("burst_5000", "calls", [(calls, BURST)], BURST, "a reading for each ring")
