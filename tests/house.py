"""A small host application for tests: what a developer would write, with a sandbox beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_mailchimp_optin import (
    CustomerMapping,
    MailchimpOptin,
    attention,
    connect,
    overviews,
    state,
    testing,
)
from flask_mailchimp_optin.attention import Attention
from flask_mailchimp_optin.overviews import Settings
from flask_mailchimp_optin.services import Services
from flask_mailchimp_optin.testing import MailchimpSandbox, run_jobs

KEY = "2x0cVNi5yYjZgqzPKQnUTXvVZ4Ee2aOeO0v8N3mYwYE="


class Base(DeclarativeBase):
    """The declarative base of the test host."""


db = SQLAlchemy(model_class=Base)


class Customer(db.Model):  # type: ignore[name-defined,misc]
    """The host's customer, with names of its own."""

    id: Mapped[int] = mapped_column(primary_key=True)
    mail: Mapped[str | None] = mapped_column(sa.String(300))
    given_name: Mapped[str | None] = mapped_column(sa.String(300))
    family_name: Mapped[str | None] = mapped_column(sa.String(300))
    wants_news: Mapped[bool | None]
    own_list: Mapped[str | None] = mapped_column(sa.String(40))
    notes: Mapped[str | None] = mapped_column(sa.Text)


MAPPING = CustomerMapping(
    email="mail",
    opt_in="wants_news",
    merge_fields={"FNAME": "given_name", "LNAME": "family_name"},
    audience="own_list",
)


class Clock(testing.Clock):
    """Begins at today's noon; for host and sandbox.

    Noon, so that nothing depends on whether the test runs just before the time of the daily sync.

    :param real: the real time instead, for tests with processes of their own.
    """

    def __init__(self, *, real: bool = False) -> None:
        now = datetime.now(UTC)
        noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
        super().__init__(timedelta(0) if real else noon - now)


class SharedClock(Clock):
    """A clock that several processes read from a file, and any of them turns.

    :param file: holds how far it is ahead of the real time, in seconds; made if it isn't there.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        if not file.exists():
            super().__init__(real=True)

    @property
    def ahead(self) -> timedelta:  # in the file, not in this object
        return timedelta(seconds=float(self._file.read_text()))

    @ahead.setter
    def ahead(self, value: timedelta) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(str(value.total_seconds()))
        new.replace(self._file)  # a reader sees the old or the new time, never half of one


class Host:
    """A host application, its sandbox, and the acts of its people in business words."""

    def __init__(self, app: Flask, sandbox: MailchimpSandbox, clock: Clock, model: Any) -> None:
        self.app, self.sandbox, self.clock, self.model = app, sandbox, clock, model
        self.mailchimp: MailchimpOptin = app.config["TEST_MAILCHIMP"]
        self.list_id = ""

    @property
    def services(self) -> Services:
        return state.of(self.app).services

    def connect(self, **settings: Any) -> None:
        """Connect and enable; everything that follows is worked off."""
        self.enable(**settings)
        self.work()

    def enable(self, **settings: Any) -> None:
        """Connect with the sandbox's key and enable the integration with its first list."""
        with self.app.app_context():
            overview = connect.connect(self.services, "", self.sandbox.api_key)
            self.list_id = overview.lists[0].list_id
            values: dict[str, Any] = {"enabled": True, "master_list": self.list_id, **settings}
            connect.save_settings(self.services, "", Settings(**values))

    def settings(self, **settings: Any) -> None:
        """Save the settings form with these values changed."""
        with self.app.app_context():
            now = overviews.read(self.services, "").settings
            values = {**now.__dict__, **settings}
            connect.save_settings(self.services, "", Settings(**values))

    def overview(self, tenant: str = "") -> overviews.Overview:
        """What the settings page shows."""
        with self.app.app_context():
            return overviews.read(self.services, tenant)

    def configure(self, **config: Any) -> None:
        """As after a restart with another configuration."""
        for name, value in config.items():
            object.__setattr__(self.services.config, name, value)

    def another_list(self, name: str) -> str:
        """A list that is made at Mailchimp, and stored; its id."""
        list_id = self.sandbox.add_audience(name)
        with self.app.app_context():
            connect.refresh(self.services, "")
            connect.store_lists(self.services, "")
        return list_id

    def work(self) -> None:
        """Everything that is due, rings included, until nothing is due any more."""
        run_jobs(self.app, self.sandbox)

    def add(self, mail: str | None = "ada@example.com", **values: Any) -> int:
        """A new customer; their id."""
        with self.app.app_context():
            customer = self.model(mail=mail, **values)
            db.session.add(customer)
            db.session.commit()
            return int(customer.id)

    def change(self, customer_id: int, **values: Any) -> None:
        """Change a customer as the host's form would."""
        with self.app.app_context():
            customer = db.session.get_one(self.model, customer_id)
            for name, value in values.items():
                setattr(customer, name, value)
            db.session.commit()

    def delete(self, customer_id: int) -> None:
        """Delete a customer."""
        with self.app.app_context():
            db.session.delete(db.session.get_one(self.model, customer_id))
            db.session.commit()

    def box(self, customer_id: int) -> bool | None:
        """The checkbox as the host's table has it."""
        with self.app.app_context():
            box: bool | None = db.session.get_one(self.model, customer_id).wants_news
            return box

    def state(self, customer_id: int) -> str:
        """The word of ``state_of``."""
        with self.app.app_context():
            return self.mailchimp.state_of(db.session.get_one(self.model, customer_id)).state

    def attention(self) -> list[Attention]:
        """Who needs attention, as the activity page has it."""
        with self.app.app_context():
            return list(attention.everybody(self.services, "", attention.Which()))

    def history(self, customer_id: int) -> list[Any]:
        """The customer's decisions, newest first."""
        with self.app.app_context():
            return self.mailchimp.history_of(db.session.get_one(self.model, customer_id))

    def status(self, mail: str, list_id: str | None = None) -> str | None:
        """The member's status at Mailchimp; None for no member."""
        member = self.sandbox.members(list_id or self.list_id).get(mail)
        return None if member is None else str(member["status"])

    def rows(self, table: str) -> list[Any]:
        """The rows of one of our tables, the oldest first."""
        found = getattr(self.services.tables, table)
        with self.app.app_context(), self.services.begin() as tx:
            return tx.rows(sa.select(found).order_by(*found.primary_key))

    def calls(self, method: str = "", path: str = "") -> list[Any]:
        """What was asked of Mailchimp."""
        return [r for r in self.sandbox.requests if r.method.startswith(method) and path in r.path]


def database_url(folder: Path) -> str:
    """``TEST_DATABASE_URL``, or a SQLite file of the test's own."""
    return os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{folder / 'host.sqlite3'}"


class _Statements(dict[Any, Any]):
    """Statements that one test has compiled are good for the next, whose engine is another."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((key[0].name, *key[1:]), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__((key[0].name, *key[1:]), value)


class _Templates(BytecodeCache):
    """The same for templates."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._known:
            bucket.bytecode_from_string(self._known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key] = bucket.bytecode_to_string()


_STATEMENTS, _TEMPLATES = _Statements(), _Templates()


def _hasten(app: Flask) -> None:
    """A test's database need not survive a power cut."""
    with app.app_context():
        engine = db.engine

    @sa.event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")


def make_app(
    folder: Path,
    sandbox_url: str,
    clock: Callable[[], datetime],
    *,
    mapping: CustomerMapping = MAPPING,
    tenant: Callable[[], str] | None = None,
    **config: Any,
) -> Flask:
    """The host application, its tables made anew."""
    app = Flask("host")
    app.config.update(
        SECRET_KEY="a test's secret",
        TESTING=True,
        SQLALCHEMY_DATABASE_URI=database_url(folder),
        TEST_MAY=lambda: True,
    )
    app.config.update(testing.config(sandbox_url))
    app.config.update(
        MAILCHIMP_OPTIN_ENCRYPTION_KEYS=[KEY],  # processes of a test's own read with it, too
        MAILCHIMP_OPTIN_PUBLIC_URL="https://host.example.com",
    )
    app.config.update(config)
    app.jinja_options = {"bytecode_cache": _TEMPLATES}
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"execution_options": {"compiled_cache": _STATEMENTS}}
    db.init_app(app)
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        _hasten(app)
    mailchimp = MailchimpOptin()
    mailchimp.init_app(
        app,
        db,
        Customer,
        mapping=mapping,
        tenant=tenant,
        authorize=lambda: app.config["TEST_MAY"](),
        clock=clock,
    )
    app.config["TEST_MAILCHIMP"] = mailchimp
    return app


@contextmanager
def hosting(folder: Path, sandbox: MailchimpSandbox, clock: Clock, **config: Any) -> Iterator[Host]:
    """A host beside a served sandbox whose rings reach it in process."""
    with sandbox.serve() as url:
        app = make_app(folder, url, clock, **config)
        sandbox.deliver_to(app)
        with app.app_context():
            db.drop_all()
            db.create_all()
        try:
            yield Host(app, sandbox, clock, Customer)
        finally:
            with app.app_context():
                db.session.remove()
                db.drop_all()
                for engine in db.engines.values():
                    engine.dispose()
