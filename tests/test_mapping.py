"""The mapping: a host's model read as a member, with mistakes named at start and no guessed yes."""

from __future__ import annotations

import enum
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    mapped_column,
    relationship,
)

from flask_mailchimp_optin.errors import ConfigError
from flask_mailchimp_optin.mapping import BoundMapping, CustomerMapping, as_box, tenant_name


class Base(DeclarativeBase):
    """The declarative base of this module."""


class Person(Base):
    """A customer with a number for a key."""

    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str | None]
    optin: Mapped[bool | None]
    first: Mapped[str | None]
    born: Mapped[date | None]
    list_id: Mapped[str | None]
    account: Mapped[int | None]
    text_box: Mapped[str | None]
    number_box: Mapped[int | None]
    own_flag: Mapped[bool | None]
    orders: Mapped[list[Order]] = relationship()
    hello: Mapped[str | None] = mapped_column(sa.Computed("'Dear ' || first"))
    saved: Mapped[date | None] = mapped_column(onupdate=sa.func.current_date())
    initial: Mapped[str | None] = column_property(sa.literal_column("substr(first, 1, 1)"))

    @property
    def shown(self) -> str:
        return f"Dear {self.first}"

    @property
    def frozen_box(self) -> bool:
        return True

    @property
    def own_box(self) -> bool | None:
        return self.optin

    @own_box.setter
    def own_box(self, value: bool) -> None:
        self.optin = value

    @hybrid_property
    def loud(self) -> str | None:
        return self.first


class Order(Base):
    """Something a person has many of."""

    __tablename__ = "purchase"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(sa.ForeignKey("person.id"))


class ByText(Base):
    """A customer with a text for a key."""

    __tablename__ = "by_text"
    code: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str | None]
    optin: Mapped[bool | None]


class ByUuid(Base):
    """A customer with a UUID for a key."""

    __tablename__ = "by_uuid"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    email: Mapped[str | None]
    optin: Mapped[bool | None]


class ByThree(Base):
    """A customer with a composite key."""

    __tablename__ = "by_three"
    shop: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    tag: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    email: Mapped[str | None]
    optin: Mapped[bool | None]


class ByDay(Base):
    """A customer with a key that can't be written as a text and read again."""

    __tablename__ = "by_day"
    day: Mapped[date] = mapped_column(primary_key=True)
    email: Mapped[str | None]
    optin: Mapped[bool | None]


class Kind(enum.Enum):
    SHOP = "shop"
    CLUB = "club"


class Owned(Base):
    """A customer of some tenant, who may be named in several ways."""

    __tablename__ = "owned"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str | None]
    optin: Mapped[bool | None]
    number: Mapped[int | None]
    name: Mapped[str | None]
    tag: Mapped[uuid.UUID | None]
    kind: Mapped[Kind | None]


#: Of these columns, the values are the tenants' names.
COLUMNS = ("number", "name", "tag")


def bound(model: Any = Person, **changed: Any) -> BoundMapping:
    given_ = {"email": "email", "opt_in": "optin", **changed}
    return BoundMapping(model, CustomerMapping(**given_))


@pytest.fixture
def session() -> Iterator[Session]:
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as made:
        yield made
    engine.dispose()


# Reading


def test_sources_are_names_properties_and_callables() -> None:
    mapping = bound(
        email=lambda p: p.email.removeprefix("mailto:"),
        merge_fields={"FNAME": "first", "SHOWN": "shown", "BORN": lambda p: p.born},
        audience="list_id",
        tenant=lambda p: p.account,
        tags=lambda p: ["Customers", f"Account {p.account}", "  ", 7],
    )
    ada = Person(id=7, email="mailto:Ada@Example.com", optin=True, first=" Ada ")
    ada.born, ada.list_id, ada.account = date(1815, 12, 10), " a1b2 ", 12
    found = mapping.snapshot(ada)
    assert (found.key, found.tenant, found.list_id) == ("7", "12", "a1b2")
    assert (found.address, found.problem, found.opt_in) == ("ada@example.com", None, True)
    assert found.merge_fields == {"FNAME": "Ada", "SHOWN": "Dear  Ada", "BORN": "1815-12-10"}
    assert found.tags == ("Customers", "Account 12", "7")


def test_without_more_there_is_one_tenant_one_list_and_no_tag() -> None:
    found = bound().snapshot(Person(id=1, email="ada@example.com"))
    assert (found.tenant, found.list_id, found.tags, found.opt_in) == ("", None, (), None)
    assert found.merge_fields == {}


@pytest.mark.parametrize("email", [None, "", "nobody", "a\x00@example.com", "a b@example.com"])
def test_an_impossible_address_is_a_problem_in_words_and_no_error(email: str | None) -> None:
    found = bound().snapshot(Person(id=1, email=email, optin=True))
    assert found.address is None
    assert found.problem is not None
    assert found.problem.endswith(".")
    assert bound().address_of(Person(id=1, email=email)) is None


@pytest.mark.parametrize("empty", [None, "", "   "])
def test_a_blank_list_is_the_master_list(empty: str | None) -> None:
    ada = Person(id=1, email="ada@example.com", list_id=empty)
    assert bound(audience="list_id").snapshot(ada).list_id is None


def test_a_callable_that_knows_no_tags_may_return_none() -> None:
    assert bound(tags=lambda _: None).snapshot(Person(id=1, email="x")).tags == ()


@pytest.mark.parametrize(
    ("value", "box"),
    [
        pytest.param(True, True, id="true"),
        pytest.param(False, False, id="false"),
        pytest.param(1, True, id="one"),
        pytest.param(0, False, id="zero"),
        pytest.param(None, None, id="none"),
        *(
            pytest.param(text, None, id=f"text-{text or 'blank'}")
            for text in ("yes", "true", "True", "1", "on", "Y", "no", "false", "0", "")
        ),
        pytest.param(b"\x01", None, id="bytes"),
        pytest.param(2, None, id="two"),
        pytest.param(-1, None, id="minus-one"),
        pytest.param(0.5, None, id="half"),
        pytest.param(float("nan"), None, id="nan"),
        pytest.param([1], None, id="list"),
        pytest.param([], None, id="empty-list"),
        pytest.param(object(), None, id="object"),
    ],
)
def test_a_yes_is_never_guessed(value: object, box: bool | None) -> None:
    assert as_box(value) is box


@given(st.one_of(st.text(), st.binary(), st.lists(st.integers()), st.dates()))
def test_no_text_or_thing_is_a_yes(value: object) -> None:
    assert as_box(value) is None


class Colour(enum.Enum):
    """A value that is written as its own text."""

    RED = "red"

    def __str__(self) -> str:
        return self.value


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        pytest.param(None, "", id="none"),
        pytest.param("", "", id="blank"),
        pytest.param("  Ada\n", "Ada", id="spaces"),
        pytest.param("A\x00d\x1ba", "Ada", id="control-characters"),
        pytest.param("A\ud800da", "Ada", id="half-a-surrogate"),
        pytest.param("línea\ttab", "línea\ttab", id="tab"),
        pytest.param("x" * 300, "x" * 255, id="long"),
        pytest.param("é" * 300, "é" * 255, id="long-non-ascii"),
        pytest.param(True, "Yes", id="true"),
        pytest.param(False, "No", id="false"),
        pytest.param(7, 7, id="number"),
        pytest.param(0, 0, id="zero"),
        pytest.param(1.5, 1.5, id="fraction"),
        pytest.param(float("nan"), "", id="nan"),
        pytest.param(float("inf"), "", id="infinity"),
        pytest.param(Decimal("12.50"), "12.50", id="decimal"),
        pytest.param(date(1815, 12, 10), "1815-12-10", id="date"),
        pytest.param(datetime(1815, 12, 10, 3, tzinfo=UTC), "1815-12-10", id="datetime"),
        pytest.param(Colour.RED, "red", id="enum"),
        pytest.param(
            {"addr1": "1 Street ", "zip": 8000, "addr2": None, "city": "a\x00b"},
            {"addr1": "1 Street", "zip": "8000", "city": "ab"},
            id="address",
        ),
        pytest.param({}, {}, id="empty-address"),
    ],
)
def test_a_merge_value_is_what_mailchimp_takes(value: object, sent: object) -> None:
    mapping = bound(merge_fields={"X": lambda _: value})
    found = mapping.snapshot(Person(id=1, email="ada@example.com")).merge_fields["X"]
    assert found == sent
    assert type(found) is type(sent)


@given(st.one_of(st.text(), st.floats(), st.dictionaries(st.text(), st.text()), st.datetimes()))
def test_any_merge_value_is_valid_json_within_the_limit(value: object) -> None:
    mapping = bound(merge_fields={"X": lambda _: value})
    found = mapping.snapshot(Person(id=1, email="ada@example.com")).merge_fields["X"]
    json.dumps(found, allow_nan=False)
    texts = found.values() if isinstance(found, dict) else [found]
    assert all(not isinstance(t, str) or len(t) <= 255 for t in texts)


# What is watched


@pytest.mark.parametrize(
    ("changed", "watched", "everything"),
    [
        pytest.param({}, {"email", "optin"}, False, id="columns"),
        pytest.param({"merge_fields": {"A": "first"}}, {"email", "optin", "first"}, False, id="more"),
        pytest.param({"merge_fields": {"A": "shown"}}, {"email", "optin"}, True, id="property"),
        pytest.param({"tags": lambda _: ()}, {"email", "optin"}, True, id="callable"),
        pytest.param(
            {"merge_fields": {"A": "shown"}, "depends_on": ("first",)},
            {"email", "optin", "first"},
            False,
            id="property-that-says-what-it-reads",
        ),
        pytest.param({"email": lambda p: p.email}, {"optin"}, True, id="callable-address"),
        pytest.param({"merge_fields": {"A": "hello"}}, {"email", "optin", "hello"}, True, id="computed"),
        pytest.param({"merge_fields": {"A": "saved"}}, {"email", "optin", "saved"}, True, id="saved"),
        pytest.param({"merge_fields": {"A": "initial"}}, {"email", "optin", "initial"}, True, id="sql"),
    ],
)  # fmt: skip
def test_what_is_watched_follows_from_the_mapping(
    changed: dict[str, Any], watched: set[str], everything: bool
) -> None:
    mapping = bound(**changed)
    assert set(mapping.watched) == watched
    assert mapping.watch_all is everything


# Keys

TAG = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("model", "values", "key"),
    [
        pytest.param(Person, {"id": 7}, "7", id="number"),
        pytest.param(Person, {"id": 2**40}, str(2**40), id="large-number"),
        pytest.param(ByText, {"code": "A-7"}, "A-7", id="text"),
        pytest.param(ByText, {"code": '["a"]'}, '["a"]', id="text-that-looks-like-json"),
        pytest.param(ByText, {"code": "ä/ö?#"}, "ä/ö?#", id="text-of-any-kind"),
        pytest.param(ByText, {"code": "007"}, "007", id="text-of-digits"),
        pytest.param(ByUuid, {"id": TAG}, str(TAG), id="uuid"),
        pytest.param(
            ByThree,
            {"shop": 3, "code": 'a","b', "tag": TAG},
            json.dumps(["3", 'a","b', str(TAG)]),
            id="composite",
        ),
    ],
)
def test_a_key_is_a_text_and_back_again(
    session: Session, model: Any, values: dict[str, Any], key: str
) -> None:
    mapping = bound(model)
    session.add(model(**values, email="ada@example.com"))
    session.commit()
    customer = session.scalars(sa.select(model)).one()
    assert mapping.key_of(customer) == key
    assert mapping.identity(key) == tuple(values.values())
    assert mapping.load(session, [key, key]) == {key: customer}
    assert mapping.existing(session, [key, key]) == {key}
    assert mapping.page(session, "", None, 10) == [mapping.snapshot(customer)]
    assert mapping.snapshots(session, [key]) == {key: mapping.snapshot(customer)}
    assert mapping.page(session, "", key, 10) == []
    session.delete(customer)
    session.flush()
    assert mapping.key_of(customer) == key  # of a deleted one too
    assert mapping.load(session, [key]) == {}
    assert mapping.existing(session, [key]) == set()


def test_a_new_customer_has_a_key_before_it_is_stored_if_the_host_gave_one() -> None:
    assert bound(ByText).key_of(ByText(code="x")) == "x"


@pytest.mark.parametrize("model", [Person, ByText, ByThree])
def test_a_walk_meets_every_customer_once_in_pages(session: Session, model: Any) -> None:
    mapping = bound(model)
    for n in range(25):
        rows: dict[Any, dict[str, Any]] = {
            Person: {"id": n + 1},
            ByText: {"code": f"c{n}"},
            ByThree: {"shop": n % 3, "code": f"c{n % 5}", "tag": uuid.UUID(int=n)},
        }
        session.add(model(**rows[model]))
    session.commit()
    seen: list[str] = []
    after = None
    while found := mapping.page(session, "", after, 4):
        assert len(found) <= 4
        seen += [snapshot.key for snapshot in found]
        after = seen[-1]
    assert len(seen) == len(set(seen)) == 25


@pytest.mark.parametrize(
    ("source", "values"),
    [
        pytest.param("number", [7, 7, 8, None], id="number"),
        pytest.param("name", ["7", "7", "seven", None], id="text"),
        pytest.param("tag", [uuid.UUID(int=7), uuid.UUID(int=7), TAG, None], id="uuid"),
        pytest.param("kind", [Kind.SHOP, Kind.SHOP, Kind.CLUB, None], id="enum"),
        pytest.param(lambda o: o.number, [7, 7, 8, None], id="callable"),
    ],
)
def test_a_walk_meets_every_customer_of_its_tenant(
    session: Session, source: Any, values: list[Any]
) -> None:
    mapping = bound(Owned, tenant=source)
    column = source if isinstance(source, str) else "number"
    session.add_all(Owned(**{column: value}) for value in values)
    session.commit()
    for tenant, keys in ((tenant_name(values[0]), ["1", "2"]), ("", ["4"]), ("nobody", [])):
        found = mapping.page(session, tenant, None, 10)
        mine = [snapshot.key for snapshot in found if snapshot.tenant == tenant]
        assert mine == keys
        assert mapping.count(session, tenant) == len(found)
        # Only where the column's values are the tenants' names can the database tell.
        assert found == [s for s in found if s.tenant == tenant] or source not in COLUMNS
    assert [s.key for s in mapping.page(session, tenant_name(values[0]), "1", 10) if s.key == "2"]


def test_many_keys_are_loaded_in_several_statements_and_as_they_are_now(session: Session) -> None:
    mapping = bound()
    session.add_all(Person(id=n, first="before") for n in range(1, 1203))
    session.commit()
    held = session.get_one(Person, 1)
    assert held.first == "before"
    session.execute(
        sa.update(Person).values(first="now").execution_options(synchronize_session=False)
    )
    found = mapping.load(session, [str(n) for n in range(1, 1300)])
    assert len(found) == 1202
    assert found["1"] is held
    assert held.first == "now"


# Writing


@pytest.mark.parametrize("name", ["optin", "own_box", "number_box"])
def test_the_box_is_written_through_the_hosts_attribute(name: str) -> None:
    mapping, ada = bound(opt_in=name), Person(id=1)
    assert mapping.box(ada) is None
    mapping.set_box(ada, True)
    assert mapping.box(ada) is True
    mapping.set_box(ada, False)
    assert mapping.box(ada) is False


# Mistakes


def pulling(source: Any) -> dict[str, Any]:
    return {"merge_fields": {"A": source}, "pull": ("A",)}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"email": "mail"}, "Person has no attribute 'mail'", id="no-such-attribute"),
        pytest.param({"email": None}, "mapping.email", id="no-address"),
        pytest.param({"email": ""}, "mapping.email", id="blank-address"),
        pytest.param({"email": 5}, "mapping.email", id="number"),
        pytest.param({"opt_in": lambda p: p.optin}, "mapping.opt_in", id="box-callable"),
        pytest.param({"opt_in": "box"}, "'box'", id="no-such-box"),
        pytest.param({"opt_in": "text_box"}, "not a Boolean column", id="box-of-text"),
        pytest.param({"opt_in": "frozen_box"}, "can't be set", id="box-without-setter"),
        pytest.param({"audience": "lists"}, "'lists'", id="no-such-list"),
        pytest.param({"audience": 7}, "mapping.audience", id="list-number"),
        pytest.param({"tenant": "company"}, "'company'", id="no-such-tenant"),
        pytest.param({"merge_fields": {"FNAME": "name"}}, "'name'", id="no-such-merge-source"),
        pytest.param({"merge_fields": {"FNAME": None}}, "'FNAME'", id="merge-source-none"),
        pytest.param({"merge_fields": {"fname": "first"}}, "'fname'", id="small-tag"),
        pytest.param({"merge_fields": {"F NAME": "first"}}, "'F NAME'", id="tag-with-space"),
        pytest.param({"merge_fields": {"": "first"}}, "merge tag", id="blank-tag"),
        pytest.param({"merge_fields": {"_": "first"}}, "merge tag", id="tag-of-nothing"),
        pytest.param({"merge_fields": {"ÜBER": "first"}}, "'ÜBER'", id="non-ascii-tag"),
        pytest.param({"merge_fields": {1: "first"}}, "merge tag", id="number-for-a-tag"),
        pytest.param({"merge_fields": ["FNAME"]}, "merge_fields must be", id="list-of-tags"),
        pytest.param({"tags": "Customers"}, "mapping.tags", id="tags-one-text"),
        pytest.param({"depends_on": "first"}, "mapping.depends_on", id="depends-one-text"),
        pytest.param({"depends_on": ("name",)}, "'name'", id="depends-on-nothing"),
        pytest.param({"pull": "FNAME"}, "mapping.pull", id="pull-one-text"),
        pytest.param({"pull": ("LNAME",)}, "names 'LNAME'", id="pull-nothing"),
        pytest.param(pulling(lambda p: p.first), "only an attribute", id="pull-callable"),
        pytest.param(pulling("shown"), "Person.shown can't", id="pull-without-setter"),
        pytest.param(pulling("email"), "Person.email can't", id="pull-the-address"),
        pytest.param(pulling("optin"), "Person.optin can't", id="pull-the-box"),
        pytest.param(pulling("id"), "Person.id can't", id="pull-the-key"),
        pytest.param(pulling("own_flag"), "Person.own_flag can't", id="pull-a-boolean"),
        pytest.param({"model": ByDay}, "'day'", id="key-of-a-day"),
        pytest.param({"model": dict}, "not a SQLAlchemy model", id="no-model"),
        pytest.param({"model": "Person"}, "not a SQLAlchemy model", id="name-of-a-model"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_at_start(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        bound(**changed)
    assert words in str(refused.value)
    assert str(refused.value).endswith((".", "?"))


def test_a_hybrid_and_a_relationship_may_be_named() -> None:
    mapping = bound(merge_fields={"A": "loud", "N": lambda p: len(p.orders)})
    found = mapping.snapshot(Person(id=1, first="Ada", orders=[Order(), Order()]))
    assert found.merge_fields == {"A": "Ada", "N": 2}


def test_the_tables_belong_to_the_models_own_metadata() -> None:
    assert bound().metadata is Base.metadata
