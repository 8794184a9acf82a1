"""Capture: every way to write a customer is seen, and a rollback leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_mailchimp_optin.outbox import oldest, unpack
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import MAPPING, Clock, Customer, Host, db, hosting


def outbox(host: Host) -> list[tuple[str | None, bool | None]]:
    """(customer key, decision) of what waits; a customer without a key for every one."""
    return [
        (noted.change.key, noted.said) for row in host.rows("outbox") for noted in unpack(row)
    ] or [(None, None) for _ in host.rows("outbox")]


@pytest.fixture
def quiet(connected: Host) -> Host:
    """Three customers who are settled: ticked, unticked, unset."""
    connected.add("yes@example.com", wants_news=True)
    connected.add("no@example.com", wants_news=False)
    connected.add("unset@example.com", wants_news=None)
    connected.work()
    assert outbox(connected) == []
    return connected


def _update_one() -> None:
    db.session.get_one(Customer, 1).wants_news = False
    db.session.commit()


def _update_expired() -> None:
    customer = db.session.get_one(Customer, 1)
    db.session.commit()  # expires: the old value has to be read before it is lost
    customer.wants_news = False
    db.session.commit()


def _update_to_an_expression() -> None:
    """What the row says then is known once it is read again, as with a server's default."""
    db.session.get_one(Customer, 1).wants_news = sa.false()
    db.session.commit()


def _delete_one() -> None:
    db.session.delete(db.session.get_one(Customer, 1))
    db.session.commit()


def _bulk_update() -> None:
    db.session.execute(sa.update(Customer).where(Customer.id == 1).values(wants_news=False))
    db.session.commit()


def _bulk_update_of_an_expression() -> None:
    flipped = sa.case((Customer.id == 1, False), else_=Customer.wants_news)
    db.session.execute(sa.update(Customer).where(Customer.id == 1).values(wants_news=flipped))
    db.session.commit()


def _bulk_update_by_key() -> None:
    db.session.execute(sa.update(Customer), [{"id": 1, "wants_news": False}])
    db.session.commit()


def _query_update() -> None:
    db.session.query(Customer).filter_by(id=1).update({"wants_news": False})
    db.session.commit()


def _bulk_delete() -> None:
    db.session.execute(sa.delete(Customer).where(Customer.id == 1))
    db.session.commit()


def _in_a_savepoint() -> None:
    with db.session.begin_nested():
        db.session.get_one(Customer, 1).wants_news = False
    db.session.commit()


def _in_a_session_of_its_own() -> None:
    with Session(db.engine) as session:
        session.get_one(Customer, 1).wants_news = False
        session.commit()


def _merge() -> None:
    db.session.merge(Customer(id=1, mail="yes@example.com", wants_news=False))
    db.session.commit()


WRITES: dict[str, tuple[Callable[[], Any], list[tuple[str | None, bool | None]]]] = {
    "unit of work": (_update_one, [("1", False)]),
    "an expired attribute": (_update_expired, [("1", False)]),
    "an expression": (_update_to_an_expression, [("1", False)]),
    "delete": (_delete_one, [("1", None)]),
    "update()": (_bulk_update, [("1", False)]),
    "update() of an expression": (_bulk_update_of_an_expression, [("1", False)]),
    "update() by primary key": (_bulk_update_by_key, [("1", False)]),
    "query.update()": (_query_update, [("1", False)]),
    "delete()": (_bulk_delete, [("1", None)]),
    "a savepoint that is kept": (_in_a_savepoint, [("1", False)]),
    "another session": (_in_a_session_of_its_own, [("1", False)]),
    "merge": (_merge, [("1", False)]),
}


@pytest.mark.parametrize("way", WRITES)
def test_every_way_of_writing_is_captured_with_its_decision(quiet: Host, way: str) -> None:
    write, expected = WRITES[way]
    with quiet.app.app_context():
        write()
    assert outbox(quiet) == expected
    quiet.work()
    assert quiet.status("yes@example.com") == "unsubscribed"


def test_a_name_that_the_database_works_out_is_captured(quiet: Host) -> None:
    quiet.change(1, given_name="Ada", family_name="King")
    quiet.work()
    quiet.change(1, given_name=Customer.family_name)
    assert outbox(quiet) == [("1", None)]
    quiet.work()
    member = quiet.sandbox.members(quiet.list_id)["yes@example.com"]
    assert member["merge_fields"]["FNAME"] == "King"


def _rollback() -> None:
    db.session.get_one(Customer, 1).wants_news = False
    db.session.flush()
    db.session.rollback()


def _savepoint_rollback() -> None:
    savepoint = db.session.begin_nested()
    db.session.get_one(Customer, 1).wants_news = False
    db.session.flush()
    savepoint.rollback()
    db.session.commit()


def _failed_flush() -> None:
    db.session.get_one(Customer, 1).wants_news = False
    db.session.add(Customer(id=2, mail="a key that is taken"))
    with pytest.raises((sa.exc.IntegrityError, sa.orm.exc.FlushError)):
        db.session.commit()
    db.session.rollback()


def _no_change() -> None:
    customer = db.session.get_one(Customer, 1)
    customer.wants_news = True
    customer.mail = "yes@example.com"
    db.session.commit()


def _unmapped_change() -> None:
    db.session.get_one(Customer, 1).notes = "nothing to Mailchimp"
    db.session.commit()


def _unmapped_bulk_change() -> None:
    db.session.execute(sa.update(Customer).values(notes="nothing to Mailchimp"))
    db.session.commit()


def _bulk_change_of_nobody() -> None:
    nobody = Customer.mail == "nobody@example.com"
    db.session.execute(sa.update(Customer).where(nobody).values(wants_news=False))
    db.session.execute(sa.delete(Customer).where(nobody))
    db.session.commit()


@pytest.mark.parametrize(
    "write",
    [
        _rollback,
        _savepoint_rollback,
        _failed_flush,
        _no_change,
        _unmapped_change,
        _unmapped_bulk_change,
        _bulk_change_of_nobody,
    ],
    ids=lambda write: write.__name__.strip("_"),
)
def test_what_changes_nothing_leaves_nothing(quiet: Host, write: Callable[[], None]) -> None:
    decisions = len(quiet.rows("decision"))
    with quiet.app.app_context():
        write()
    assert outbox(quiet) == []
    assert len(quiet.rows("decision")) == decisions


def test_a_bulk_insert_makes_us_look_at_everybody(quiet: Host) -> None:
    with quiet.app.app_context():
        rows = [{"mail": f"bulk{n}@example.com", "wants_news": True} for n in range(3)]
        db.session.execute(sa.insert(Customer), rows)
        db.session.commit()
    assert outbox(quiet) == [(None, None)]
    quiet.work()
    assert quiet.status("bulk2@example.com") == "subscribed"


def test_core_dml_in_a_session_makes_us_look_at_everybody(quiet: Host) -> None:
    with quiet.app.app_context():
        table = Customer.__table__
        statement = sa.update(table).where(table.c.id == 1).values(wants_news=False)
        db.session.execute(statement)
        db.session.commit()
    quiet.work()
    assert quiet.status("yes@example.com") == "unsubscribed"


def test_raw_sql_is_found_by_the_daily_sync(quiet: Host) -> None:
    with quiet.app.app_context():
        db.session.execute(sa.text("UPDATE customer SET wants_news = FALSE WHERE id = 1"))
        db.session.execute(sa.text("UPDATE customer SET wants_news = TRUE WHERE id = 2"))
        db.session.commit()
    quiet.work()
    assert quiet.status("yes@example.com") == "subscribed"
    quiet.clock.turn(days=2)
    quiet.work()
    assert quiet.status("yes@example.com") == "unsubscribed"
    assert quiet.status("no@example.com") == "subscribed"
    assert quiet.history(1)[0].source == "found in the database"


def test_what_a_callable_reads_elsewhere_is_found_by_the_daily_sync(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
) -> None:
    shops = {"1": "Bern"}
    mapping = replace(MAPPING, merge_fields={"LNAME": lambda customer: shops[str(customer.id)]})
    with hosting(tmp_path, sandbox, clock, mapping=mapping) as host:
        host.connect()
        host.add("ada@example.com", wants_news=True)
        host.work()
        shops["1"] = "Basel"
        clock.turn(days=2)
        host.work()
        member = sandbox.members(host.list_id)["ada@example.com"]
    assert member["merge_fields"]["LNAME"] == "Basel"


def test_a_row_deleted_by_raw_sql_is_found_by_the_daily_sync(quiet: Host) -> None:
    with quiet.app.app_context():
        db.session.execute(sa.text("DELETE FROM customer WHERE id = 1"))
        db.session.commit()
    quiet.clock.turn(days=2)
    quiet.work()
    assert quiet.status("yes@example.com") == "unsubscribed"


def test_whoever_raw_sql_deleted_among_many_is_found(quiet: Host) -> None:
    with quiet.app.app_context():
        db.session.add_all(
            Customer(mail=f"m{n:04}@example.com", wants_news=True) for n in range(2_300)
        )
        db.session.add(
            Customer(mail="nobody", wants_news=None)
        )  # in our records without an address
        db.session.commit()
    quiet.work()
    gone = ["4", "1500", "2304"]  # m0000, m1496 and nobody
    with quiet.app.app_context():
        db.session.execute(sa.text(f"DELETE FROM customer WHERE id IN ({', '.join(gone)})"))
        db.session.commit()
    quiet.clock.turn(days=2)
    quiet.work()
    members = quiet.sandbox.members(quiet.list_id)
    left = {address for address, member in members.items() if member["status"] == "unsubscribed"}
    assert left == {"m0000@example.com", "m1496@example.com"}
    assert not {row.customer_key for row in quiet.rows("customer")} & set(gone)


def test_a_walk_that_finds_nothing_new_writes_to_no_customer(quiet: Host) -> None:
    quiet.clock.turn(days=2)
    written: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            written.append(statement.split("mailchimp_optin_")[1].split()[0])

    with quiet.app.app_context():
        engine = db.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    quiet.work()
    sa.event.remove(engine, "before_cursor_execute", note)
    assert quiet.rows("sync_run")[-1].kind == "daily"
    assert "sync_run" in written
    assert not {"customer", "outbox", "decision"} & set(written)


def test_unset_by_the_host_changes_nothing_at_mailchimp(quiet: Host) -> None:
    quiet.change(1, wants_news=None)
    quiet.work()
    assert quiet.status("yes@example.com") == "subscribed"


@pytest.mark.parametrize(("before", "said"), [("yes", False), ("no", True)])
def test_unset_right_after_a_decision_leaves_the_decision(
    quiet: Host, before: str, said: bool
) -> None:
    customer = {"yes": 1, "no": 2}[before]
    quiet.change(customer, wants_news=said)
    quiet.change(customer, wants_news=None)
    quiet.work()
    status = quiet.status(f"{before}@example.com")
    assert status == ("subscribed" if said else "unsubscribed")


def test_one_flush_is_one_insert_however_many_customers(quiet: Host) -> None:
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "mailchimp_optin" in statement:
            statements.append(statement)

    with quiet.app.app_context():
        sa.event.listen(db.engine, "before_cursor_execute", note)
        db.session.add_all(Customer(mail=f"m{n}@example.com") for n in range(100))
        db.session.commit()
        sa.event.remove(db.engine, "before_cursor_execute", note)
    assert len(statements) == 1
    assert statements[0].startswith("INSERT INTO mailchimp_optin_outbox")


def test_a_no_is_taken_out_first_with_all_that_waits_of_the_same_customers(connected: Host) -> None:
    a, b, c, d, e = (connected.add(f"{name}@example.com", wants_news=True) for name in "abcde")
    connected.work()

    def together(*keys: int) -> None:
        with connected.app.app_context():
            for customer in [db.session.get_one(Customer, key) for key in keys]:
                customer.given_name = f"{customer.given_name}!"
            db.session.commit()

    together(e)
    together(a, b)
    connected.change(a, wants_news=False)
    connected.change(b, family_name="B")
    together(a, c)
    connected.change(a, wants_news=True)
    together(c, d)
    together(b, c)
    first, *ahead, later, last = (row.id for row in connected.rows("outbox"))
    services = connected.services
    with connected.app.app_context(), services.begin() as tx:
        assert [row.id for row in oldest(tx, services, "")] == ahead
        tx.execute(sa.delete(services.tables.outbox).where(services.tables.outbox.c.id.in_(ahead)))
        assert [row.id for row in oldest(tx, services, "")] == [first, later, last]
