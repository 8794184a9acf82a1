"""What a release leaves behind: its tables, rows of every kind, work that waits, and jobs.

``python -m tests.upgrades.record`` writes ``tests/upgrades/VERSION`` when a release is made. What is
there is not written again: it is what hosts have.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import redis
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from flask_mailchimp_optin import __version__, jobs, waking
from flask_mailchimp_optin.models import Tables, define
from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.redis_server import embedded_redis
from tests.house import Clock, Host, hosting

HERE = Path(__file__).parent
QUEUE = "an-earlier-release"
LIST_ID = "0a1b2c3d4e"
_DIALECTS: tuple[sa.Dialect, ...] = (postgresql.dialect(), mysql.dialect())  # type: ignore[no-untyped-call]


def mailchimp(clock: Clock) -> MailchimpSandbox:
    """The account that the record speaks of; its members are added by whoever needs them."""
    sandbox = MailchimpSandbox(
        api_key="0123456789abcdef0123456789abcdef-us6", audiences=(), clock=clock
    )
    sandbox.add_audience("Newsletter", id=LIST_ID)
    return sandbox


def tables() -> dict[str, dict[str, str]]:
    """The present tables: each column with its type, each index and constraint with its columns."""
    made = define(sa.MetaData())
    return {
        table.name: {
            **{column.name: _column(column) for column in table.columns},
            **{str(item.name): _columns_of(item) for item in (*table.constraints, *table.indexes)},
        }
        for table in (getattr(made, field.name) for field in fields(Tables))
    }


def _column(column: sa.Column[Any]) -> str:
    types = " or ".join(dict.fromkeys(column.type.compile(dialect) for dialect in _DIALECTS))
    return types if column.nullable else f"{types}, not null"


def _columns_of(item: Any) -> str:
    return f"on {', '.join(column.name for column in item.columns)}"


def _members(host: Host) -> list[Any]:
    """Who is what at Mailchimp, and since when."""
    found = host.sandbox.members(LIST_ID)
    return sorted([name, held["status"], held["last_changed"]] for name, held in found.items())


def act(host: Host) -> None:
    """Rows of every kind; then changes, a ring and jobs that nobody works off."""
    host.connect(on_delete="delete")
    host.sandbox.refuse("zoe@example.com")
    for name in ("ada", "bea", "cleo", "dora", "eva", "zoe"):
        host.add(f"{name}@example.com", given_name=name, wants_news=True)
    host.work()
    host.change(2, wants_news=False)
    host.delete(5)
    host.work()
    with host.app.app_context(), host.services.begin() as tx:  # as while many workers help
        tx.execute(
            sa.insert(host.services.tables.shard).values(
                connection_id=1, number=0, fence=1, asked=False
            )
        )
    host.change(1, wants_news=False)
    host.change(3, given_name="Cleopatra")
    host.add("finn@example.com", wants_news=True)
    host.sandbox.unsubscribe(LIST_ID, "dora@example.com")
    host.sandbox.wait_for_rings(10)


@contextmanager
def queued() -> Iterator[list[dict[str, str]]]:
    """Jobs of all kinds, each as Redis has it."""
    with embedded_redis() as url, redis.Redis.from_url(url) as connection:
        queue = jobs.queue(QUEUE, connection)
        for name, ids in (("work", ()), ("drain_connection", (1,)), ("sweep", ())):
            waking.enqueue(queue, name, *ids)
        yield [_as_text(connection.hgetall(job.key)) for job in queue.jobs]


def _as_text(held: Any) -> dict[str, str]:
    return {name.decode(): b64encode(value).decode() for name, value in held.items()}


def write(folder: Path) -> None:
    """All of it, into a new folder.

    :raises FileExistsError: this release's is there.
    """
    folder.mkdir()
    clock = Clock()
    with (
        tempfile.TemporaryDirectory() as made,
        hosting(Path(made), mailchimp(clock), clock) as host,
    ):
        act(host)
        members = _members(host)
        with sqlite3.connect(Path(made) / "host.sqlite3") as database:
            lines = [line for line in database.iterdump() if "sqlite_sequence" not in line]
        database.close()
    (folder / "database.sql").write_text("\n".join([*lines, ""]), encoding="utf-8")
    with queued() as found:
        _write(folder / "waiting.json", {"members": members, "jobs": found})
    _write(folder / "tables.json", tables())


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(HERE / __version__)
    sys.stdout.write(f"tests/upgrades/{__version__} is written; commit it.\n")
