"""What people change of their details at Mailchimp, in the host's rows: ``pull`` in the mapping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, validates

from flask_mailchimp_optin import CustomerMapping, MailchimpOptin, attention, state
from flask_mailchimp_optin.addresses import subscriber_hash
from flask_mailchimp_optin.testing import MailchimpSandbox, config, connect, run_jobs
from tests.house import MAPPING, Clock, Customer, Host, database_url, db, hosting

ADA = "ada@example.com"


@pytest.fixture
def host(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
    mapping = replace(
        MAPPING,
        merge_fields={
            **MAPPING.merge_fields,
            "PHONE": lambda customer: f"for {customer.given_name}",
        },
        pull=("FNAME", "LNAME"),
        depends_on=("given_name",),
    )
    with hosting(tmp_path, sandbox, clock, mapping=mapping) as host:
        yield host


@pytest.fixture
def ada(connected: Host) -> int:
    """Subscribed, with her details sent; a minute ago."""
    ada = connected.add(ADA, wants_news=True, given_name="Ada", family_name="Byron")
    connected.work()
    connected.clock.turn(minutes=1)
    return ada


def names(host: Host, customer_id: int) -> tuple[str | None, str | None]:
    with host.app.app_context():
        customer = db.session.get_one(Customer, customer_id)
        return customer.given_name, customer.family_name


def there(host: Host) -> dict[str, Any]:
    fields: dict[str, Any] = host.sandbox.members(host.list_id)[ADA]["merge_fields"]
    return fields


def edit(host: Host, **fields: Any) -> None:
    """The person does, at Mailchimp."""
    host.sandbox.edit_profile(host.list_id, ADA, **fields)


def test_what_the_person_changes_is_the_customers_and_is_not_sent_back(
    connected: Host, ada: int
) -> None:
    edit(connected, LNAME="Lovelace")
    asked = len(connected.calls("POST", "/lists/"))
    connected.work()
    assert names(connected, ada) == ("Ada", "Lovelace")
    connected.clock.turn(hours=1)
    connected.work()
    assert len(connected.calls("POST", "/lists/")) == asked
    assert connected.rows("outbox") == []
    assert [d.value for d in connected.history(ada)] == [True]  # it was no decision
    # From then on it is the host's value as any other.
    connected.change(ada, family_name="King")
    connected.work()
    assert there(connected)["LNAME"] == "King"


def test_what_is_made_of_it_goes_out_again(connected: Host, ada: int) -> None:
    edit(connected, FNAME="Augusta")
    connected.work()
    assert names(connected, ada) == ("Augusta", "Byron")
    assert there(connected) | {"FNAME": "Augusta", "PHONE": "for Augusta"} == there(connected)


def test_what_is_cleared_there_is_empty_here(connected: Host, ada: int) -> None:
    edit(connected, LNAME="")
    connected.work()
    assert names(connected, ada) == ("Ada", "")


def test_if_both_changed_the_hosts_value_counts(connected: Host, ada: int) -> None:
    edit(connected, LNAME="Lovelace")
    connected.change(ada, family_name="King")
    connected.work()
    assert names(connected, ada) == ("Ada", "King")
    assert there(connected)["LNAME"] == "King"


def test_a_lost_ring_is_made_up_for_by_the_daily_sync(connected: Host, ada: int) -> None:
    connected.sandbox.drop_rings(10)
    edit(connected, LNAME="Lovelace")
    connected.work()
    assert names(connected, ada) == ("Ada", "Byron")
    connected.clock.turn(days=1)
    connected.work()
    assert names(connected, ada) == ("Ada", "Lovelace")


def test_many_at_once_are_read_together(connected: Host) -> None:
    people = [
        connected.add(f"a{n}@example.com", wants_news=True, given_name="A", family_name=f"B{n}")
        for n in range(60)
    ]
    connected.work()
    connected.clock.turn(hours=1)
    connected.sandbox.drop_rings(100)
    for n in range(60):
        connected.sandbox.edit_profile(connected.list_id, f"a{n}@example.com", LNAME=f"C{n}")
    connected.clock.turn(days=1)
    before = len(connected.calls())
    connected.work()
    assert [names(connected, id_) for id_ in people] == [("A", f"C{n}") for n in range(60)]
    assert len(connected.calls()) - before < 30


def test_a_field_that_is_not_named_stays_the_hosts(connected: Host, ada: int) -> None:
    edit(connected, PHONE="of my own")
    connected.work()
    assert names(connected, ada) == ("Ada", "Byron")
    assert there(connected)["PHONE"] == "of my own"  # nor is it written over before it changes here


def test_who_left_or_never_came_keeps_their_details(connected: Host, ada: int) -> None:
    connected.sandbox.hold_rings()
    edit(connected, LNAME="Lovelace")
    connected.sandbox.unsubscribe(connected.list_id, ADA)
    connected.sandbox.release_rings()
    connected.work()
    assert connected.box(ada) is False
    assert names(connected, ada) == ("Ada", "Byron")
    connected.sandbox.subscribe(connected.list_id, "bob@example.com", FNAME="Robert")
    connected.work()
    bob = connected.add("bob@example.com", wants_news=True, given_name="Bob")
    connected.work()
    assert names(connected, bob) == ("Bob", None)


def test_what_mailchimp_writes_in_a_way_of_its_own_is_no_edit(connected: Host, ada: int) -> None:
    member = connected.sandbox._account.audiences[connected.list_id].members.find(
        subscriber_hash(ADA)
    )
    assert member is not None
    member.merge_fields = {**member.merge_fields, "LNAME": "BYRON"}
    connected.sandbox.ring(connected.list_id, ADA)
    connected.work()
    assert names(connected, ada) == ("Ada", "Byron")


def test_details_are_asked_for_only_where_something_follows_them(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
) -> None:
    with hosting(tmp_path, sandbox, clock) as host:
        host.connect()
        host.add(ADA, wants_news=True)
        host.work()
        assert host.calls("GET", "/members")
        assert not [c for c in host.calls("GET", "/members") if "merge_fields" in c.query["fields"]]


def test_what_of_ours_lands_late_is_not_taken_for_theirs(connected: Host, ada: int) -> None:
    connected.sandbox.fail_next(how="late", delay_s=100, path="POST")
    connected.change(ada, family_name="King")
    connected.work()
    connected.change(ada, family_name="Lovelace")
    connected.clock.turn(seconds=20)
    connected.work()
    assert there(connected)["LNAME"] == "Lovelace"
    for _ in range(3):
        connected.clock.turn(minutes=10)
        connected.work()
    assert names(connected, ada) == ("Ada", "Lovelace")
    assert there(connected)["LNAME"] == "Lovelace"


def test_what_changes_here_meanwhile_comes_first(connected: Host, ada: int) -> None:
    """The box is unticked while Mailchimp is being read."""
    edit(connected, LNAME="Lovelace")
    reads = f"GET /3.0/lists/{connected.list_id}/members/"
    connected.sandbox.after_effect(lambda: connected.change(ada, wants_news=False), path=reads)
    connected.work()
    assert connected.box(ada) is False
    assert connected.status(ADA) == "unsubscribed"


def test_a_change_of_the_box_only_is_none_of_the_details(connected: Host, ada: int) -> None:
    edit(connected, LNAME="Lovelace")
    reads = f"GET /3.0/lists/{connected.list_id}/members/"

    def tick_twice() -> None:
        connected.change(ada, wants_news=False)
        connected.change(ada, wants_news=True)

    connected.sandbox.after_effect(tick_twice, path=reads)
    connected.work()
    assert connected.status(ADA) == "subscribed"
    assert names(connected, ada) == ("Ada", "Lovelace")


# Hosts whose columns are of other types, and who have rules


class Base(DeclarativeBase):
    """The declarative base of the host below."""


library = SQLAlchemy(model_class=Base)


class Reader(library.Model):  # type: ignore[name-defined,misc]
    """With columns of several types, and a rule of its own."""

    id: Mapped[int] = mapped_column(primary_key=True)
    mail: Mapped[str] = mapped_column(sa.String(80))
    news: Mapped[bool]
    surname: Mapped[str] = mapped_column(sa.String(80))
    age: Mapped[int | None]
    since: Mapped[date | None]
    points: Mapped[Decimal | None] = mapped_column(sa.Numeric(8, 2))
    nick: Mapped[str | None] = mapped_column(sa.String(80))
    phone: Mapped[str | None] = mapped_column(sa.String(80))

    @property
    def nickname(self) -> str | None:
        return self.nick

    @nickname.setter
    def nickname(self, value: str) -> None:
        self.nick = value.title()

    @validates("surname")
    def _surname(self, _name: str, value: str) -> str:
        if "<" in value:
            raise LookupError("no surname")
        if value == "Nobody":
            self.news = False
        return value


READER = CustomerMapping(
    email="mail",
    opt_in="news",
    merge_fields={
        "LNAME": "surname",
        "AGE": "age",
        "SINCE": "since",
        "POINTS": "points",
        "NICK": "nickname",
        "MOBILE": "phone",
    },
    pull=("LNAME", "AGE", "SINCE", "POINTS", "NICK", "MOBILE"),
)


class Reading:
    """One reader of the library's, subscribed, and what is known of them."""

    def __init__(self, app: Flask, sandbox: MailchimpSandbox, clock: Clock, list_id: str) -> None:
        self.app, self.sandbox, self.clock, self.list_id = app, sandbox, clock, list_id

    def edit(self, **fields: Any) -> dict[str, Any]:
        """The person edits these at Mailchimp; the row after that."""
        self.clock.turn(minutes=1)
        self.sandbox.edit_profile(self.list_id, ADA, **fields)
        assert self.sandbox.wait_for_rings(10)
        run_jobs(self.app)
        with self.app.app_context():
            reader = library.session.scalars(sa.select(Reader)).one()
            return {c.key: getattr(reader, c.key) for c in sa.inspect(Reader).column_attrs}

    def save(self, **values: Any) -> None:
        """The host does."""
        with self.app.app_context():
            reader = library.session.scalars(sa.select(Reader)).one()
            for name, value in values.items():
                setattr(reader, name, value)
            library.session.commit()
        run_jobs(self.app)

    def there(self) -> dict[str, Any]:
        fields: dict[str, Any] = self.sandbox.members(self.list_id)[ADA]["merge_fields"]
        return fields

    def trouble(self) -> list[str]:
        with self.app.app_context():
            found = list(attention.everybody(state.of(self.app).services, "", attention.Which()))
            assert all(one.since for one in found)
            return [str(one.text) for one in found]


@pytest.fixture
def reading(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Reading]:
    (list_id,) = sandbox.audiences
    fields = {"AGE": "number", "SINCE": "date", "POINTS": "number", "NICK": "text"}
    for tag, kind in fields.items():
        sandbox._account.audiences[list_id].add_field(tag=tag, name=tag, type=kind)
    of_the_states = {"type": "phone", "options": {"phone_format": "US"}}
    sandbox._account.audiences[list_id].add_field(tag="MOBILE", name="Mobile", **of_the_states)
    with sandbox.serve() as url:
        app = Flask("library")
        app.config.update(config(url), SQLALCHEMY_DATABASE_URI=database_url(tmp_path))
        library.init_app(app)
        MailchimpOptin(app, library, Reader, mapping=READER, authorize=lambda: True, clock=clock)
        sandbox.deliver_to(app)
        with app.app_context():
            library.drop_all()
            library.create_all()
            reader = Reader(mail=ADA, news=True, surname="Byron", age=36, points=Decimal("1.50"))
            library.session.add(reader)
            library.session.commit()
        connect(app, sandbox)
        run_jobs(app)
        yield Reading(app, sandbox, clock, list_id)
        with app.app_context():
            library.session.remove()
            library.drop_all()
            library.engine.dispose()


def test_each_column_gets_what_it_takes(reading: Reading) -> None:
    row = reading.edit(AGE=37, SINCE="2026-03-01", POINTS=2.25, NICK="ada l.", LNAME="Lovelace")
    assert (row["age"], row["since"], row["points"]) == (37, date(2026, 3, 1), Decimal("2.25"))
    assert (row["nick"], row["surname"]) == ("Ada L.", "Lovelace")
    row = reading.edit(AGE="", SINCE="", POINTS="", NICK="", LNAME="")
    assert (row["age"], row["since"], row["points"]) == (None, None, None)
    assert (row["nick"], row["surname"]) == ("", "")
    assert reading.trouble() == []


@pytest.mark.parametrize(
    "fields",
    [{"LNAME": "<b>"}, {"LNAME": "Nobody"}, {"AGE": 36.5}],
    ids=["a validator", "more than details", "half a year"],
)
def test_what_the_model_refuses_stays_as_it_is_and_is_told(
    reading: Reading, fields: dict[str, Any]
) -> None:
    before = reading.edit()
    assert reading.edit(**fields) == before
    (tag,) = fields
    (told,) = reading.trouble()
    assert told.startswith(f"{tag} changed at Mailchimp to what the customer")
    assert reading.sandbox.members(reading.list_id)[ADA]["status"] == "subscribed"
    # The next change is as good as any.
    assert reading.edit(LNAME="Lovelace", AGE=40)["surname"] == "Lovelace"


def test_what_differs_in_writing_only_or_was_never_taken_is_left_alone(reading: Reading) -> None:
    reading.save(phone="617 5550123")
    assert reading.there()["MOBILE"] == "617-555-0123"
    assert reading.edit(LNAME="Lovelace", MOBILE="(617) 555-0123")["phone"] == "617 5550123"
    reading.save(phone="ask at the desk")
    assert reading.edit(LNAME="King", MOBILE="617-555-9999")["phone"] == "ask at the desk"


def test_what_came_from_there_can_be_cleared_here(reading: Reading) -> None:
    assert reading.edit(NICK="ada l.")["nick"] == "Ada L."
    reading.save(nick=None)
    assert reading.there()["NICK"] == ""
