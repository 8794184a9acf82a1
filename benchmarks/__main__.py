"""``make bench``: what the extension costs, always as a ratio against a baseline of the same run.

Each figure is the median of rounds in which ours and the baseline take turns. Prints one table and
writes ``benchmarks/results.json``. The database is SQLite unless ``BENCH_DATABASE_URL`` names another.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_mailchimp_optin import CustomerMapping, MailchimpOptin
from flask_mailchimp_optin.testing.redis_server import embedded_redis
from flask_mailchimp_optin.vault import new_key

from . import latency

ROUNDS = 7
Work = Callable[[], None]


def make_host(folder: Path, name: str, redis_url: str | None) -> tuple[Flask, SQLAlchemy, Any]:
    """A host of its own; without a Redis address it does not have the extension."""
    db = SQLAlchemy(model_class=type("Base", (DeclarativeBase,), {}))

    class Customer(db.Model):  # type: ignore[name-defined,misc]
        __tablename__ = f"bench_{name}"
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str]
        first_name: Mapped[str]
        opt_in: Mapped[bool]

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
    with app.app_context():
        db.drop_all()
        db.create_all()
        db.session.add(Customer(email="c@example.com", first_name="C", opt_in=True))
        db.session.commit()
    return app, db, Customer


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


def insert_5000(app: Flask, db: SQLAlchemy, model: Any) -> Work:
    """Insert 5,000 customers in one commit."""

    def work() -> None:
        with app.app_context():
            db.session.add_all(
                model(email=f"c{n}@example.com", first_name="C", opt_in=True) for n in range(5000)
            )
            db.session.commit()

    return work


def seconds(work: Work) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(name: str, ours: Work, baseline: Work, n: int, note: str) -> dict[str, Any]:
    """One row of the table: both in turns, the median of each, and of their ratios."""
    ours()
    baseline()
    pairs = [(seconds(ours), seconds(baseline)) for _ in range(ROUNDS)]
    return {
        "name": name,
        "unit": "s",
        "value": statistics.median(a for a, _ in pairs),
        "baseline": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
        "n": n,
        "note": note,
    }


@contextmanager
def black_hole() -> Iterator[str]:
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def measure(folder: Path, redis_url: str, hole: str) -> list[dict[str, Any]]:
    """All rows of the table."""
    plain = make_host(folder, "plain", None)
    with_redis = make_host(folder, "with_redis", redis_url)
    refusing = make_host(folder, "refusing", "redis://127.0.0.1:1/0")
    swallowed = make_host(folder, "swallowed", hole)
    up, without = "Redis up", "without the extension"
    return [
        compare("commit_one", change_one(*with_redis), change_one(*plain), 200, without),
        compare("noop_resave", resave(*with_redis), resave(*plain), 200, without),
        compare("commit_insert_5000", insert_5000(*with_redis), insert_5000(*plain), 5000, without),
        compare(
            "commit_redis_dead (refusing)",
            change_one(*refusing, 1000),
            change_one(*with_redis, 1000),
            1000,
            up,
        ),
        compare(
            "commit_redis_dead (black hole)",
            change_one(*swallowed, 1000),
            change_one(*with_redis, 1000),
            1000,
            up,
        ),
        latency.measure(folder, redis_url),
    ]


def main() -> None:
    """Measure, print, write."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis_url = os.environ.get("REDIS_URL") or stack.enter_context(embedded_redis())
        rows = measure(folder, redis_url, stack.enter_context(black_hole()))
    print(f"{'name':32} {'ours':>9} {'baseline':>9} {'ratio':>6}  against")
    for row in rows:
        print(
            f"{row['name']:32} {row['value']:8.3f}s {row['baseline']:8.3f}s {row['ratio']:6.2f}  "
            f"{row['note']} (n={row['n']})"
        )
    Path(__file__).with_name("results.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
