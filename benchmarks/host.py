"""A host with customers, in this process and in workers of its own, and a sandbox apart from both."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

import redis
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, event, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_mailchimp_optin import CustomerMapping, MailchimpOptin
from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.vault import new_key

_QUEUE = "bench"


@event.listens_for(Engine, "connect")
def _several_processes(connection: Any, _: object) -> None:
    """SQLite as the documentation has it where there are workers."""
    if isinstance(connection, sqlite3.Connection):
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA busy_timeout=15000;")


class Base(DeclarativeBase):
    """The declarative base of this host."""


db = SQLAlchemy(model_class=Base)


class Customer(db.Model):  # type: ignore[name-defined,misc]
    """A customer of this host."""

    __tablename__ = "bench_customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    first_name: Mapped[str]
    last_name: Mapped[str]
    opt_in: Mapped[bool]
    account: Mapped[str | None]


class Bare(db.Model):  # type: ignore[name-defined,misc]
    """A row of a route that does nothing but insert one."""

    __tablename__ = "bench_bare"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


def bare() -> str:
    """The least that a webhook could do."""
    db.session.execute(insert(Bare).values(body=request.get_data(as_text=True)))
    db.session.commit()
    return "ok"


def create_app() -> Flask:
    """The host, here and in workers; what they share comes by the environment."""
    app = Flask("bench")
    app.config.update(
        SECRET_KEY="bench",
        SQLALCHEMY_DATABASE_URI=os.environ["BENCH_HOST_DATABASE"],
        MAILCHIMP_OPTIN_ENCRYPTION_KEYS=[os.environ["BENCH_HOST_KEY"]],
        MAILCHIMP_OPTIN_REDIS_URL=os.environ["BENCH_HOST_REDIS"],
        MAILCHIMP_OPTIN_API_URL=os.environ["BENCH_HOST_API"],
        MAILCHIMP_OPTIN_QUEUE=_QUEUE,
    )
    public_url = os.environ.get("BENCH_HOST_PUBLIC_URL")
    if public_url is not None:
        app.config["MAILCHIMP_OPTIN_PUBLIC_URL"] = public_url
    db.init_app(app)
    app.add_url_rule("/bare", view_func=bare, methods=["POST"])
    fields = {"FNAME": "first_name", "LNAME": "last_name"}
    tenant = "account" if "BENCH_HOST_TENANTS" in os.environ else None
    mapping = CustomerMapping(email="email", opt_in="opt_in", merge_fields=fields, tenant=tenant)
    whose = (lambda: "") if tenant else None
    MailchimpOptin(app, db, Customer, mapping=mapping, authorize=lambda: False, tenant=whose)
    return app


@contextmanager
def host(
    database: str, redis_url: str, api_url: str, customers: int, *, tenant: str | None = None
) -> Iterator[Flask]:
    """An application with so many ticked customers; its tables go when the block ends."""
    os.environ.update(
        BENCH_HOST_DATABASE=database,
        BENCH_HOST_KEY=new_key(),
        BENCH_HOST_REDIS=redis_url,
        BENCH_HOST_API=api_url,
    )
    app = create_app()
    with app.app_context():
        db.drop_all()
        db.create_all()
        with db.engine.begin() as connection:
            for start in range(0, customers, 10_000):
                numbers = range(start, min(start + 10_000, customers))
                rows = [row(number) | {"account": tenant} for number in numbers]
                connection.execute(insert(Customer.__table__), rows)
        try:
            yield app
        finally:
            db.session.remove()
            db.drop_all()
            db.engine.dispose()


def row(number: int) -> dict[str, Any]:
    """A customer's values."""
    return {
        "email": f"customer{number}@example.com",
        "first_name": "Ada",
        "last_name": f"Lovelace {number}",
        "opt_in": True,
    }


@contextmanager
def workers(redis_url: str, number: int) -> Iterator[list[int]]:
    """Worker processes, up and idle; their process ids."""
    environment = {**os.environ, "FLASK_APP": "benchmarks.host:create_app"}
    command = [sys.executable, "-m", "flask", "mailchimp", "worker"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with ExitStack() as stack:
        client = stack.enter_context(redis.Redis.from_url(redis_url))
        started = []
        for _ in range(number):
            process = subprocess.Popen(command, env=environment, **quiet)  # type: ignore[call-overload]
            started.append(process.pid)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
        wait_for(lambda: client.scard(f"rq:workers:{_QUEUE}") >= number)
        time.sleep(1)
        yield started


def wait_for(what: Any, seconds: float = 60.0) -> None:
    """Poll until it holds.

    :raises TimeoutError: it doesn't come to hold.
    """
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError("The benchmark does not get on.")
        time.sleep(0.05)


class Sandbox:
    """A sandbox in another process, as Mailchimp is on another machine."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.url, self.api_key, self.list_id = pipe.recv()

    def ask(self, name: str, *args: Any) -> Any:
        """An attribute of the sandbox, or what its method returns; of collections their length."""
        self._pipe.send((name, args))
        return self._pipe.recv()


@contextmanager
def sandbox(latency_s: float = 0.0) -> Iterator[Sandbox]:
    """A sandbox that serves in a process of its own.

    :param latency_s: how long every call takes at least.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, latency_s), daemon=True)
    process.start()
    try:
        yield Sandbox(here)
    finally:
        here.send(("", ()))
        process.join(30)


def _serve(pipe: Connection, latency_s: float) -> None:
    made = MailchimpSandbox(latency_s=latency_s)
    made.keep_bodies = False
    with made.serve() as url:
        pipe.send((url, made.api_key, next(iter(made.audiences))))
        while True:
            name, args = pipe.recv()
            if not name:
                return
            found = getattr(made, name)
            found = found(*args) if callable(found) else found
            pipe.send(found if isinstance(found, int | float | str) else len(found or ()))
