"""A host that annotates everything, in one file: application, a test of its own, and no exception.

It is run, and read by mypy and pyright, both strict (``make types``), without one thing being ignored:
what is public says its types to whoever uses it. A plain declarative base instead of ``db.Model``,
which is made at run time, so that no checker can read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_mailchimp_optin import (
    ConfigError,
    CustomerMapping,
    CustomerState,
    Decision,
    MailchimpOptin,
    signals,
)
from flask_mailchimp_optin.testing import Clock, Connect, Connected, MailchimpSandbox, Ring


class Base(DeclarativeBase):
    """The host's tables."""


class Customer(Base):
    """With a checkbox, and a list of their own if they like."""

    __tablename__ = "customer"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254))
    name: Mapped[str | None] = mapped_column(String(100))
    wants_news: Mapped[bool | None]
    list_id: Mapped[str | None] = mapped_column(String(40))


def first_name(customer: Customer) -> str:
    return (customer.name or "").partition(" ")[0]


def is_admin() -> bool:
    return bool(g.get("is_admin"))


db = SQLAlchemy(metadata=Base.metadata)
mailchimp = MailchimpOptin()
mapping = CustomerMapping(
    email="email",
    opt_in="wants_news",
    merge_fields={"FNAME": first_name, "LNAME": lambda customer: customer.name},
    audience="list_id",
    tags=("Customers",),
    depends_on=("name",),
)


def create_app(config: dict[str, Any]) -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(config)
    db.init_app(app)
    mailchimp.init_app(app, db, Customer, mapping=mapping, authorize=is_admin)
    return app


def profile_of(customer: Customer) -> tuple[str, str | None, list[tuple[datetime, bool]]]:
    """For a page of the host's: the state, the way out if there is one, and the history."""
    state: CustomerState = mailchimp.state_of(customer)
    decisions: list[Decision] = mailchimp.history_of(customer)
    return state.text, state.way_out, [(one.decided_at, one.value) for one in decisions]


# The host's own tests


@pytest.fixture
def app(mailchimp_config: dict[str, Any], tmp_path: Path) -> Iterator[Flask]:
    made = create_app(
        {
            "SECRET_KEY": "typed",
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/test.db",
            **mailchimp_config,
        }
    )
    with made.app_context():
        db.create_all()
        yield made
        db.engine.dispose()


@pytest.fixture
def ada(app: Flask) -> Customer:
    made = Customer(email="ada@example.com", name="Ada Lovelace")
    db.session.add(made)
    db.session.commit()
    return made


def test_what_a_host_calls_says_what_it_gives(
    app: Flask,
    ada: Customer,
    mailchimp_sandbox: MailchimpSandbox,
    mailchimp_connected: Connected,
    mailchimp_run_jobs: Callable[[], None],
) -> None:
    left: list[tuple[str, str]] = []

    @signals.customer_unsubscribed.connect_via(app)
    def note(sender: Flask, *, customer_key: str, reason: str, **more: object) -> None:
        left.append((customer_key, reason))

    with mailchimp.decided_by(actor="Grace", source="client form", wording="news-2"):
        ada.wants_news = True
        db.session.commit()
    mailchimp_run_jobs()
    member = mailchimp_sandbox.members(mailchimp_connected.list_id)["ada@example.com"]
    assert (member["status"], member["merge_fields"]["FNAME"]) == ("subscribed", "Ada")

    mailchimp_sandbox.unsubscribe(mailchimp_connected.list_id, "ada@example.com")
    mailchimp_run_jobs()
    assert ada.wants_news is False
    assert [key for key, _reason in left] == [str(ada.id)]
    text, way_out, history = profile_of(ada)
    assert (text, way_out) == ("Not subscribed at Mailchimp.", None)
    assert [value for _at, value in history] == [False, True]
    assert mailchimp.states_of([ada])[str(ada.id)].text == text
    assert [row.list_id for row in mailchimp.lists() if not row.gone] == [
        mailchimp_connected.list_id
    ]


def test_what_the_plugin_gives_has_the_types_that_are_exported(
    ada: Customer,
    mailchimp_clock: Clock,
    mailchimp_connect: Connect,
    mailchimp_ring: Ring,
    mailchimp_sandbox: MailchimpSandbox,
    mailchimp_run_jobs: Callable[[], None],
) -> None:
    there: Connected = mailchimp_connect(always_confirm=True)
    ada.wants_news = True
    db.session.commit()
    mailchimp_run_jobs()
    status: str | None = there.status("ada@example.com")
    assert status == "subscribed"
    mailchimp_sandbox.drop_rings(1)
    mailchimp_sandbox.unsubscribe(there.list_id, "ada@example.com")
    mailchimp_clock.turn(minutes=3)
    mailchimp_ring("ada@example.com", there.list_id)
    assert ada.wants_news is False


def test_a_mistake_is_told_at_start() -> None:
    app = Flask(__name__)
    with pytest.raises(ConfigError, match=r"db\.init_app"):
        MailchimpOptin(app, db, Customer, mapping=mapping, authorize=is_admin)
