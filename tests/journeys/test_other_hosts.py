"""Hosts that are built otherwise: other keys, another database, older models, inheritance."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_mailchimp_optin import CustomerMapping, MailchimpOptin
from flask_mailchimp_optin.testing import MailchimpSandbox, connect, run_jobs
from tests.house import KEY, Clock

Made = tuple[SQLAlchemy, Any, Callable[..., Any]]


def _legacy() -> Made:
    """Flask-SQLAlchemy as of old: ``db.Column`` on ``db.Model``."""
    db = SQLAlchemy()

    class Client(db.Model):  # type: ignore[name-defined,misc]
        id = db.Column(db.Integer, primary_key=True)
        mail = db.Column(db.String(200))
        news = db.Column(db.Boolean, nullable=False, default=False)

    return db, Client, Client


def _uuid_in_another_database() -> Made:
    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)

    class Patient(db.Model):  # type: ignore[name-defined,misc]
        __bind_key__ = "clinic"
        id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
        mail: Mapped[str]
        news: Mapped[bool | None]

    return db, Patient, Patient


def _composite_key() -> Made:
    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)

    class Member(db.Model):  # type: ignore[name-defined,misc]
        club: Mapped[str] = mapped_column(sa.String(20), primary_key=True)
        number: Mapped[int] = mapped_column(primary_key=True)
        mail: Mapped[str]
        news: Mapped[bool]

    numbers = iter(range(1, 100))
    return db, Member, lambda **v: Member(club="north", number=next(numbers), **v)


def _inherited() -> Made:
    """Customers are one kind of people, in a table of their own."""

    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)

    class Person(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]
        mail: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}

    class Buyer(Person):
        id: Mapped[int] = mapped_column(sa.ForeignKey("person.id"), primary_key=True)
        news: Mapped[bool]
        __mapper_args__ = {"polymorphic_identity": "buyer"}

    return db, Buyer, Buyer


@pytest.mark.parametrize("make", [_legacy, _uuid_in_another_database, _composite_key, _inherited])
def test_both_journeys_work_for_every_kind_of_host(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock, make: Callable[[], Made]
) -> None:
    db, model, build = make()
    with sandbox.serve() as url:
        app = Flask("other")
        app.config.update(
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'main.sqlite3'}",
            SQLALCHEMY_BINDS={"clinic": f"sqlite:///{tmp_path / 'clinic.sqlite3'}"},
            MAILCHIMP_OPTIN_ENCRYPTION_KEYS=[KEY],
            MAILCHIMP_OPTIN_API_URL=url,
            MAILCHIMP_OPTIN_PUBLIC_URL="https://other.example.com",
            MAILCHIMP_OPTIN_REDIS_URL="redis://127.0.0.1:1/0",
        )
        db.init_app(app)
        mapping = CustomerMapping(email="mail", opt_in="news")
        mailchimp = MailchimpOptin(
            app, db, model, mapping=mapping, authorize=lambda: True, clock=clock
        )
        sandbox.deliver_to(app)
        with app.app_context():
            db.create_all()
        list_id = connect(app, sandbox)
        with app.app_context():
            db.session.add_all([build(mail=f"c{n}@example.com", news=n < 2) for n in range(3)])
            db.session.commit()
        run_jobs(app)
        assert set(sandbox.members(list_id)) == {"c0@example.com", "c1@example.com"}
        sandbox.unsubscribe(list_id, "c0@example.com")
        sandbox.subscribe(list_id, "c2@example.com")
        assert sandbox.wait_for_rings(10)
        run_jobs(app)
        with app.app_context():
            everybody = db.session.scalars(sa.select(model).order_by(model.mail)).all()
            assert [customer.news for customer in everybody] == [False, True, True]
            states = [mailchimp.state_of(customer).state for customer in everybody]
            assert states == ["unsubscribed", "subscribed", "subscribed"]
            db.session.execute(sa.update(model).values(news=False))
            db.session.commit()
        run_jobs(app)
        assert {m["status"] for m in sandbox.members(list_id).values()} == {"unsubscribed"}
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()
