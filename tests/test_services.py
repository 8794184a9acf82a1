"""Transactions of ours: tried again when the database says so, and never half written."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, OperationalError

from flask_mailchimp_optin.models import Time, utc
from flask_mailchimp_optin.services import Transaction, insert_rows
from tests.house import Host


def names(host: Host) -> set[str]:
    return {row.name for row in host.rows("audience")}


def test_two_transactions_that_lock_each_other_both_come_to_their_end(connected: Host) -> None:
    connected.sandbox.add_audience("Second")
    connected.app.test_cli_runner().invoke(args=["mailchimp", "lists", "--refresh"])
    table = connected.services.tables.audience
    one, two = (row.id for row in connected.rows("audience"))
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    def write(mine: str, order: tuple[int, int]) -> None:
        def work(tx: Transaction) -> None:
            tries.append(mine)
            for number, row_id in enumerate(order):
                change = sa.update(table).where(table.c.id == row_id)
                tx.execute(change.values(name=f"{mine} {number}", web_id=mine))
                with suppress(threading.BrokenBarrierError):
                    both_hold_one.wait(0.5)

        with connected.app.app_context():
            connected.services.transact(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ("red", "blue"), ((one, two), (two, one))))
    assert set(tries) == {"red", "blue"}
    # Whoever came last wrote both rows: nothing is half of one and half of the other.
    assert len({row.web_id for row in connected.rows("audience")}) == 1


@pytest.mark.parametrize(
    ("words", "tries"),
    [("database is locked", 3), ("database or disk is full", 1), ("disk I/O error", 1)],
)
def test_what_may_succeed_is_tried_again_and_nothing_is_half_written(
    connected: Host, words: str, tries: int
) -> None:
    table, done = connected.services.tables.audience, []

    def work(tx: Transaction) -> None:
        done.append(tx)
        tx.execute(sa.update(table).values(name=f"try {len(done)}"))
        if len(done) < 3:
            raise OperationalError("UPDATE", {}, sqlite3.OperationalError(words))

    with connected.app.app_context(), suppress(DatabaseError):
        connected.services.transact(work)
    assert len(done) == tries
    assert names(connected) == ({"try 3"} if tries == 3 else {"Newsletter"})


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("schema", [None, "elsewhere"])
def test_rows_are_inserted_as_ever_where_the_connection_says(
    number: int, schema: str | None
) -> None:
    table = sa.Table(
        "things", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(9)), sa.Column("good", sa.Boolean), sa.Column("at", Time),
    )  # fmt: skip
    at, rows = datetime(2026, 11, 27, 12, tzinfo=UTC), [(f"n{n}", n == 0) for n in range(number)]
    with sa.create_engine("sqlite://").connect() as connection:
        connection.exec_driver_sql("ATTACH ':memory:' AS elsewhere")
        connection.execution_options(schema_translate_map={None: schema})
        table.create(connection)
        insert_rows(connection, table, ("name", "good"), rows, {"at": at})
        found = connection.execute(sa.select(table.c.name, table.c.good, table.c.at))
        assert [(name, good, utc(when)) for name, good, when in found] == [(*r, at) for r in rows]
        where = connection.exec_driver_sql(f"SELECT count(*) FROM {schema or 'main'}.things")
        assert where.scalar() == number
