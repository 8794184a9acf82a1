"""What earlier releases have left: the present code goes on with it. docs/upgrading.rst promises it."""

from __future__ import annotations

import copy
import json
import re
import sqlite3
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.operations.ops import ModifyTableOps
from rq.job import Job
from rq.registry import FailedJobRegistry

from flask_mailchimp_optin import jobs
from flask_mailchimp_optin.testing.redis_server import embedded_redis
from tests.faults.processes import Parts
from tests.house import Customer, Host, SharedClock, database_url, db, make_app
from tests.upgrades import record

RELEASES = sorted(path.parent for path in record.HERE.glob("*/tables.json"))
NOTES = record.HERE.parent.parent / "docs" / "upgrading.rst"


def names_that_changed(before: Any, now: Any) -> set[str]:
    """Tables that came or went, and columns, indexes and constraints that are otherwise."""
    changed: set[str] = before.keys() ^ now.keys()
    for table in before.keys() & now.keys():
        items = before[table].items() ^ now[table].items()
        changed |= {f"{table}.{name}" for name, _ in items}
    return changed


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_the_notes_name_whatever_changed_in_the_tables(release: Path) -> None:
    before = json.loads((release / "tables.json").read_text(encoding="utf-8"))
    named = set(re.findall(r"``(mailchimp_optin_[\w.]+)``", NOTES.read_text(encoding="utf-8")))
    missing = names_that_changed(before, record.tables()) - named
    assert not missing, f"docs/upgrading.rst names no migration since {release.name} for {missing}"


def test_a_changed_table_is_noticed() -> None:
    before, now = record.tables(), copy.deepcopy(record.tables())
    del now["mailchimp_optin_erasure"], now["mailchimp_optin_outbox"]["number"]
    now["mailchimp_optin_contact"] |= {"due_at": "DATE", "new": "TEXT"}
    now["mailchimp_optin_contact"]["ix_mailchimp_optin_contact_run"] = "on id"
    assert names_that_changed(before, now) == {
        "mailchimp_optin_erasure",
        "mailchimp_optin_outbox.number",
        "mailchimp_optin_contact.due_at",
        "mailchimp_optin_contact.new",
        "mailchimp_optin_contact.ix_mailchimp_optin_contact_run",
    }


def migrate(engine: sa.Engine) -> list[Any]:
    """What ``flask db migrate`` and ``flask db upgrade`` do; returns the operations."""
    with engine.begin() as connection:
        context = MigrationContext.configure(connection)
        found: list[Any] = []
        for operation in produce_migrations(context, db.metadata).upgrade_ops_list[0].ops:
            found += operation.ops if isinstance(operation, ModifyTableOps) else [operation]
        for operation in found:
            Operations(context).invoke(operation)
    return found


@contextmanager
def built(folder: Path, release: Path, *more: str) -> Iterator[sa.Engine]:
    """The database as that release left it, in ``TEST_DATABASE_URL`` or SQLite."""
    file = folder / "host.sqlite3"
    with closing(sqlite3.connect(file)) as database:
        database.executescript((release / "database.sql").read_text(encoding="utf-8"))
    engine = sa.create_engine(database_url(folder))
    if engine.dialect.name != "sqlite":
        _drop_all(engine)
        _copy(sa.create_engine(f"sqlite:///{file}"), engine, release)
    with engine.begin() as connection:
        for statement in more:
            connection.execute(sa.text(statement))
    try:
        yield engine
    finally:
        if engine.dialect.name != "sqlite":
            _drop_all(engine)
        engine.dispose()


def _drop_all(engine: sa.Engine) -> None:
    found = sa.MetaData()
    found.reflect(engine)
    found.drop_all(engine)


def _copy(source: sa.Engine, target: sa.Engine, release: Path) -> None:
    """That release's tables in another database, of the types that it had there, and their rows."""
    recorded = json.loads((release / "tables.json").read_text(encoding="utf-8"))
    as_read, made = sa.MetaData(), sa.MetaData()
    as_read.reflect(source)
    made.reflect(source)
    for table in made.tables.values():
        for column in table.columns:
            if table.name in recorded:  # not the host's own
                column.type = _Recorded.type_of(recorded[table.name][column.name], target)
        for index in table.indexes:
            where = index.dialect_options["sqlite"]["where"]
            index.dialect_options["postgresql"]["where"] = where
    made.create_all(target)
    with source.connect() as old, target.begin() as new:
        for table in as_read.sorted_tables:
            rows = [_in_utc(row._mapping) for row in old.execute(sa.select(table))]
            columns: list[sa.ColumnClause[Any]] = [sa.column(one.name) for one in table.columns]
            new.execute(sa.insert(sa.table(table.name, *columns)), rows)
            if target.dialect.name == "postgresql" and "id" in table.columns:
                counter = f"pg_get_serial_sequence('{table.name}', 'id')"
                new.execute(sa.text(f"SELECT setval({counter}, max(id)) FROM {table.name}"))
        # Its name is a part of what tells a copied database from the site's own.
        moved = "UPDATE mailchimp_optin_connection SET site = replace(site, 'host.sqlite3', :name)"
        new.execute(sa.text(moved), {"name": target.url.database})
    source.dispose()


def _in_utc(row: Any) -> dict[str, Any]:
    return {
        name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
        for name, value in row.items()
    }


class _Recorded(sa.types.UserDefinedType[Any]):
    """A column's type as ``tables.json`` spells it."""

    def __init__(self, spelled: str) -> None:
        self.spelled = spelled

    def get_col_spec(self, **_: Any) -> str:
        return self.spelled

    @classmethod
    def type_of(cls, said: str, engine: sa.Engine) -> Any:
        """PostgreSQL's comes first, MySQL's last; an id counts up."""
        spelled = said.removesuffix(", not null").split(" or ")
        one = spelled[0 if engine.dialect.name == "postgresql" else -1]
        return sa.BigInteger() if one == "BIGINT" else cls(one)


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_rows_of_every_table_are_recorded(release: Path, tmp_path: Path) -> None:
    tables = json.loads((release / "tables.json").read_text(encoding="utf-8"))
    with built(tmp_path, release) as engine, engine.connect() as connection:
        for table in tables:
            assert connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) > 0, table


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def release(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def left(release: Path, tmp_path: Path) -> Iterator[Parts]:
    """A host with that release's database and queue, its tables migrated, and no worker yet."""
    held = json.loads((release / "waiting.json").read_text(encoding="utf-8"))
    clock = SharedClock(tmp_path / "clock")
    sandbox = record.mailchimp(clock)
    for address, status, at in held["members"]:
        clock.ahead = datetime.fromisoformat(at) - datetime.now(UTC)
        sandbox.add_members(record.LIST_ID, [address], status=status)
    clock.turn(minutes=1)
    with built(tmp_path, release), sandbox.serve() as url, embedded_redis() as redis_url:
        config: dict[str, Any] = {
            "MAILCHIMP_OPTIN_REDIS_URL": redis_url,
            "MAILCHIMP_OPTIN_QUEUE": record.QUEUE,
        }
        app = make_app(tmp_path, url, clock, **config)
        with app.app_context():
            migrate(db.engine)
        host = Host(app, sandbox, clock, Customer)
        host.list_id = record.LIST_ID
        parts = Parts(host, tmp_path, redis_url, record.QUEUE)
        parts.environment["TEST_CLOCK"] = str(tmp_path / "clock")
        for number, fields in enumerate(held["jobs"]):
            job = {name: b64decode(value) for name, value in fields.items()}
            parts.redis.hset(Job.key_for(f"job-{number}"), mapping=job)
            jobs.queue(record.QUEUE, parts.redis).push_job_id(f"job-{number}")
        try:
            yield parts
        finally:
            parts.stop()
            with app.app_context():
                db.engine.dispose()


def test_queued_jobs_do_the_work_that_waited(left: Parts) -> None:
    assert left.run("flask", "mailchimp", "worker", "--burst").wait(60) == 0, left.log()
    host, queue = left.host, jobs.queue(record.QUEUE, left.redis)
    assert (queue.count, FailedJobRegistry(queue=queue).count) == (0, 0), left.log()
    assert host.status("ada@example.com") == "unsubscribed", "who had unticked the box"
    assert host.status("finn@example.com") == "subscribed", "who had ticked it"
    assert host.box(4) is False, "who had unsubscribed at Mailchimp"
    assert (
        host.sandbox.members(record.LIST_ID)["cleo@example.com"]["merge_fields"]["FNAME"]
        == "Cleopatra"
    )
    assert None not in [row.outcome for row in host.rows("webhook_event")]


def test_what_was_decided_and_erased_is_remembered(left: Parts) -> None:
    host = left.host
    assert [decision.value for decision in host.history(2)] == [False, True]
    assert host.status("bea@example.com") == "unsubscribed"
    again = host.add("eva@example.com", wants_news=True)  # as an import would
    host.work()
    assert (host.status("eva@example.com"), host.state(again)) == (None, "erased")
    for page in ("", "activity", "customers/2"):
        assert host.app.test_client().get(f"/integrations/mailchimp/{page}").status_code == 200


def test_a_migration_adds_what_is_missing(release: Path, tmp_path: Path) -> None:
    lacks = "ALTER TABLE mailchimp_optin_sync_run DROP COLUMN message"
    with built(tmp_path, release, lacks, "DROP TABLE mailchimp_optin_shard") as engine:
        assert len(migrate(engine)) >= 2
        assert migrate(engine) == []
