"""What a commit of the host's costs more with the extension than without, and what others cost."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
import rq
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, configure_mappers, mapped_column

from flask_mailchimp_optin import CustomerMapping, MailchimpOptin
from flask_mailchimp_optin.vault import new_key

from .compared import Work, compare

_MANY = 5000
Host = tuple[Flask, SQLAlchemy, Any]


def measure(folder: Path, redis_url: str) -> list[dict[str, Any]]:
    """The rows of the table."""
    plain, ours = make_host(folder, "plain"), make_host(folder, "ours", redis_url)
    jobs = make_host(folder, "jobs", prepare=enqueues_each_save(redis_url))
    versions = versioned_host(folder)
    rows = []
    for name, work, n, times in (
        ("commit_one", change_one, 200, 1),
        ("noop_resave", resave, 200, 1),
        ("commit_insert_5000", insert_many, _MANY, 10),
        ("commit_update_5000", update_many, _MANY, 10),
    ):
        for whose, other in (("", ours), (", a job a save", jobs), (", Continuum", versions)):
            note, often = "without the extension", times if other is ours else 1  # those take long
            rows.append(compare(f"{name}{whose}", work(*other), work(*plain), n, note, often))
    refusing = make_host(folder, "refusing", "redis://127.0.0.1:1/0")
    with black_hole() as hole:
        swallowed = make_host(folder, "swallowed", hole)
        for name, dead in (("refusing", refusing), ("black hole", swallowed)):
            down, up = change_one(*dead, 1000), change_one(*ours, 1000)
            rows.append(compare(f"commit_redis_dead, {name}", down, up, 1000, "Redis up"))
    return rows


def make_host(
    folder: Path,
    name: str,
    redis_url: str | None = None,
    prepare: Callable[[SQLAlchemy, Any], None] | None = None,
    **options: Any,
) -> Host:
    """A host of its own.

    :param redis_url: with the extension; None: without.
    :param prepare: what else is done to it, before its tables are made.
    :param options: class attributes of the customer model.
    """
    db = SQLAlchemy(model_class=type("Base", (DeclarativeBase,), {}))

    class Customer(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = f"bench_{name}"
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str]
        first_name: Mapped[str]
        opt_in: Mapped[bool]
        vars().update(options)

    app = Flask(name)
    url = os.environ.get("BENCH_DATABASE_URL") or f"sqlite:///{folder / name}.sqlite3"
    app.config.update(SQLALCHEMY_DATABASE_URI=url, SECRET_KEY="bench")
    db.init_app(app)
    if redis_url is not None:
        app.config["MAILCHIMP_OPTIN_ENCRYPTION_KEYS"] = [new_key()]
        app.config["MAILCHIMP_OPTIN_REDIS_URL"] = redis_url
        mapping = CustomerMapping(
            email="email", opt_in="opt_in", merge_fields={"FNAME": "first_name"}
        )
        MailchimpOptin(app, db, Customer, mapping=mapping, authorize=lambda: False)
    if prepare is not None:
        prepare(db, Customer)
    configure_mappers()
    with app.app_context():
        db.drop_all()
        db.create_all()
        db.session.add(Customer(email="c@example.com", first_name="C", opt_in=True))
        db.session.commit()
    return app, db, Customer


def enqueues_each_save(redis_url: str) -> Callable[[SQLAlchemy, Any], None]:
    """What most plugins do: an RQ job for each saved customer, after the commit."""

    def prepare(db: SQLAlchemy, model: Any) -> None:
        queue = rq.Queue("bench-other", connection=redis.Redis.from_url(redis_url))

        def saved(_mapper: Any, _connection: Any, customer: Any) -> None:
            db.session.info.setdefault("saved", []).append(customer.id)

        def committed(session: Any) -> None:
            for key in session.info.pop("saved", []):
                queue.enqueue("benchmarks.commits.nothing", key, ttl=60)

        event.listen(model, "after_insert", saved)
        event.listen(model, "after_update", saved)
        event.listen(db.session, "after_commit", committed)

    return prepare


def nothing(_key: int) -> None:
    """The job that nobody runs."""


def versioned_host(folder: Path) -> Host:
    """A host whose customers' history SQLAlchemy-Continuum keeps."""
    from sqlalchemy_continuum import make_versioned

    make_versioned(user_cls=None)
    return make_host(folder, "versioned", __versioned__={})


def change_one(app: Flask, db: SQLAlchemy, model: Any, commits: int = 200) -> Work:
    """Change one customer and commit, many times over."""

    def work() -> None:
        with app.app_context():
            customer: Any = db.session.get_one(model, 1)
            for n in range(commits):
                customer.first_name = f"C{n}{time.monotonic_ns()}"
                db.session.commit()

    return work


def resave(app: Flask, db: SQLAlchemy, model: Any, commits: int = 200) -> Work:
    """Save a customer without a change, many times over."""

    def work() -> None:
        with app.app_context():
            for _ in range(commits):
                customer: Any = db.session.get_one(model, 1)
                customer.first_name = customer.first_name
                db.session.commit()

    return work


def insert_many(app: Flask, db: SQLAlchemy, model: Any) -> Work:
    """Insert 5,000 customers in one commit."""

    def work() -> None:
        with app.app_context():
            db.session.add_all(
                model(email=f"c{n}@example.com", first_name="C", opt_in=True) for n in range(_MANY)
            )
            db.session.commit()

    return work


def update_many(app: Flask, db: SQLAlchemy, model: Any) -> Work:
    """Change 5,000 customers in one commit."""

    def work() -> None:
        with app.app_context():
            for customer in db.session.scalars(select(model).order_by(model.id).limit(_MANY)):
                customer.first_name = f"C{time.monotonic_ns()}"
            db.session.commit()

    return work


@contextmanager
def black_hole() -> Iterator[str]:
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
