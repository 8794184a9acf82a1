"""The tables: what ``flask db migrate`` sees and writes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_migrate import Migrate, migrate, upgrade
from flask_migrate import init as init_migrations

from tests.house import Clock, db, make_app

OURS = {
    f"mailchimp_optin_{name}"
    for name in (
        [
            "connection",
            "audience",
            "customer",
            "contact",
            "erasure",
            "outbox",
            "decision",
            "webhook_event",
            "sync_run",
        ]
    )
}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    made = make_app(tmp_path, "http://127.0.0.1:1/3.0/", Clock())
    with made.app_context():
        db.drop_all()
        yield made
        db.session.remove()
        db.drop_all()
        with db.engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))
        db.engine.dispose()
    # Flask-Migrate's env.py configures logging, which disables every logger that exists by then.
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.mark.filterwarnings(
    # The env.py that Flask-Migrate writes still asks for the engine in the old way first.
    "ignore:.get_engine. is deprecated:DeprecationWarning"
)
def test_a_generated_migration_makes_all_tables_without_importing_us(
    app: Flask, tmp_path: Path
) -> None:
    folder = str(tmp_path / "migrations")
    Migrate(app, db, directory=folder)
    init_migrations(directory=folder)
    migrate(directory=folder, message="mailchimp")
    (script,) = (tmp_path / "migrations" / "versions").glob("*.py")
    assert "flask_mailchimp_optin" not in script.read_text()
    upgrade(directory=folder)
    assert set(sa.inspect(db.engine).get_table_names()) >= OURS
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        left = [
            change
            for change in compare_metadata(context, db.metadata)
            if "mailchimp_optin" in repr(change)
        ]
    assert left == []


def test_every_constraint_has_a_name(app: Flask) -> None:
    for name in OURS:
        table = db.metadata.tables[name]
        for constraint in table.constraints | table.indexes:
            assert str(constraint.name).split("_")[1:3] == ["mailchimp", "optin"], constraint
