"""The queries that run all day find their rows by an index, however many rows there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from flask_mailchimp_optin import (
    attention,
    contacts,
    customers,
    drain,
    figures,
    hooks,
    outbox,
    settle,
    shards,
    waiting,
    wants,
)
from flask_mailchimp_optin.mapping import Snapshot
from flask_mailchimp_optin.memory import Contact
from flask_mailchimp_optin.services import Services, Transaction
from tests.house import Host, db

ROWS, TENANTS = 200_000, 1000
READ_AT_MOST = 5_000  # rows of one table, for one statement: a batch and a bit
PAIRS = [(1, f"c{n}@example.com") for n in (7, 4711, 150_000)]
KEYS = ["7", "4711", "150000"]


def _digits() -> str:
    ten = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(10))
    powers = ["a.n", "10 * b.n", "100 * c.n", "1000 * d.n", "10000 * e.n", "100000 * f.n"]
    tables = " CROSS JOIN ".join(f"({ten}) {name}" for name in "abcdef")
    return f"SELECT {' + '.join(powers)} + 1 AS n FROM {tables}"


def _fill(connection: Connection, name: str, **columns: str) -> None:
    """So many rows, by SQL expressions of the number ``n``."""
    into = f"INSERT INTO mailchimp_optin_{name} ({', '.join(columns)})"
    what = f"SELECT {', '.join(columns.values())} FROM ({_digits()}) numbers WHERE n <= {ROWS}"
    connection.execute(sa.text(f"{into} {what}"))


@pytest.fixture
def large(connected: Host) -> Iterator[Host]:
    """A host with 200,000 of everything."""
    with connected.app.app_context():
        dialect = db.engine.dialect.name
        if dialect == "sqlite":
            pytest.skip("SQLite's plans are not ours to choose: set TEST_DATABASE_URL")
        key = "CAST(n AS CHAR(10))" if dialect != "postgresql" else "CAST(n AS VARCHAR(10))"
        address = f"CONCAT('c', {key}, '@example.com')"
        now, later = "CURRENT_TIMESTAMP", "TIMESTAMP '2040-01-01 00:00:00'"
        tenant = f"CONCAT('t', {key.replace('n AS', f'n % {TENANTS} AS')})"
        with db.engine.begin() as connection:
            names = [c.name for c in connected.services.tables.connection.columns if c.name != "id"]
            values = [tenant if name == "tenant" else name for name in names]
            connection.execute(
                sa.text(
                    f"INSERT INTO mailchimp_optin_connection ({', '.join(names)}) "
                    f"SELECT {', '.join(values)} FROM mailchimp_optin_connection, "
                    f"({_digits()}) numbers WHERE n <= {TENANTS}"
                )
            )
            _fill(
                connection, "customer", customer_key=key, connection_id="1", audience_id="1",
                own_list="FALSE", address=address, opt_in="TRUE", seen_at=now,
                problem="CASE WHEN n % 50 = 0 THEN 'wrong' END",
            )  # fmt: skip
            _fill(
                connection, "contact", connection_id="1", audience_id="1", address=address,
                wanted="TRUE", version="1", acked_version="1", decided_version="1",
                settled_version="1", agreed="'yes'", seen_status="'subscribed'", look="FALSE",
                attempts="0", due_at=f"CASE WHEN n % 2 = 0 THEN {later} END",
                refusal="CASE WHEN n % 20 = 0 THEN 'bounced' END",
            )  # fmt: skip
            _fill(
                connection, "outbox", tenant=tenant, customer_key=key, number="1",
                has_no="FALSE", changes="CONCAT('[null, [[\"', " + key + ", '\"]]]')",
                created_at=now,
            )  # fmt: skip
            _fill(
                connection, "decision", tenant="''", customer_key=key, value="TRUE",
                decided_at=now, recorded_at=now, source="'import'",
            )  # fmt: skip
            _fill(
                connection, "webhook_event", audience_id="1", digest=key, type="'profile'",
                received_at=now, verified="'token'", outcome="'looked at'",
            )  # fmt: skip
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for name in (
                "connection",
                "customer",
                "contact",
                "outbox",
                "decision",
                "webhook_event",
            ):
                word = "ANALYZE" if dialect == "postgresql" else "ANALYZE TABLE"
                connection.execute(sa.text(f"{word} mailchimp_optin_{name}"))
        yield connected


def _connection(tx: Transaction, services: Services) -> Any:
    return services.connection(tx, 1)


def _absorb(tx: Transaction, services: Services) -> None:
    outbox.oldest(tx, services, "")


def _who_changed(tx: Transaction, services: Services) -> None:
    outbox.changed(tx, services, KEYS)


def _records(tx: Transaction, services: Services) -> None:
    contacts.records(tx, services, KEYS)
    customers._earlier_decisions(tx, services, KEYS)


def _owners(tx: Transaction, services: Services) -> None:
    contacts.owners(tx, services, PAIRS)
    contacts.find(tx, services, set(PAIRS))


def _pick(tx: Transaction, services: Services) -> None:
    turn = settle.due(services, enabled=True, daily=False, run_id=None)
    nos = settle.due(services, enabled=False, daily=True, run_id=None)
    for condition in (turn, nos):
        settle._pick(tx, services, 1, condition, 4000)


def _save(tx: Transaction, services: Services) -> None:
    found: list[Contact] = list(contacts.find(tx, services, set(PAIRS)).values())
    for contact in found:
        contact.seen_at = services.now()
    contacts.save(tx, services, found)


def _rings(tx: Transaction, services: Services) -> None:
    hooks.by_token(tx, services, "a-token-of-nobody")


def _no(tx: Transaction, services: Services) -> None:
    house = replace(wants.house_of(tx, services, _connection(tx, services)), on_delete="delete")
    seen = {KEYS[0]: customers.Seen(decisions=((False, services.now()),), at=services.now())}
    customers.observe(tx, services, house, seen)  # whose row is gone


def _work(_tx: Transaction, services: Services) -> None:
    waiting.connections_with_work(services)


def _turn(tx: Transaction, services: Services) -> None:
    connection = _connection(tx, services)
    waiting.turned_up(tx, services, connection)
    waiting.is_due(tx, services, connection, at_least=shards.SHARED_FROM)
    drain._needs_one(tx, services, connection)


def _row(key: str) -> Snapshot:
    """What a customer's row says, who is just as they were."""
    return Snapshot(
        key=key, tenant="", address=f"c{key}@example.com", problem=None, opt_in=True,
        list_id=None, merge_fields={}, tags=(),
    )  # fmt: skip


def _daily(tx: Transaction, services: Services) -> None:
    house = wants.house_of(tx, services, _connection(tx, services))
    customers.as_they_were(tx, services, house, {key: _row(key) for key in KEYS})


def _everybody_who_needs_attention(tx: Transaction, services: Services) -> None:
    here = attention._at(tx, services, "", "")
    assert here is not None
    for reason, place in (("bounced", 150_000), ("customer", 150_000), ("erased", None)):
        here.members(reason, 50, place)
        here.members(reason, 50, place, backwards=True)


def _log(_tx: Transaction, services: Services) -> None:
    for state in (None, "waiting", "done", "nobody"):
        figures.rings(services, "", 25, state=state, before=None if state else 150_000)


QUERIES: list[Callable[[Transaction, Services], None]] = [
    _absorb, _who_changed, _records, _owners, _pick, _save, _rings, _no, _work, _turn,
    _daily, _everybody_who_needs_attention, _log,
]  # fmt: skip


@pytest.mark.timeout(300)
def test_what_runs_all_day_reads_no_table_from_end_to_end(large: Host) -> None:
    services = large.services
    statements: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, text: str, parameters: Any, _context: Any, many: bool) -> None:
        if "mailchimp_optin_" in text and text.split()[0] in ("SELECT", "UPDATE", "DELETE"):
            statements.append((text, parameters[0] if many else parameters))

    sa.event.listen(db.engine, "before_cursor_execute", note)
    for query in QUERIES:
        with services.begin() as tx:
            query(tx, services)
            tx.session.rollback()
    sa.event.remove(db.engine, "before_cursor_execute", note)
    assert len(statements) > 20
    scans = []
    with db.engine.connect() as connection:
        for text, parameters in statements:
            if "INSERT" not in text:
                scans += [f"{what}: {text[:500]}" for what in _scans(connection, text, parameters)]
    assert not scans, "\n\n".join(sorted(set(scans)))


def _scans(connection: Connection, text: str, parameters: Any) -> list[str]:
    """What a statement reads from end to end, of the large tables."""
    small = ("connection", "audience", "sync_run", "erasure")
    if connection.dialect.name == "postgresql":
        # Run, and counted: an index can be read from end to end, too.
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}"
        plan = connection.exec_driver_sql(explain, parameters).scalar()
        nodes = [(json.loads(plan) if isinstance(plan, str) else plan or [])[0]["Plan"]]
        found = []
        while nodes:
            node = nodes.pop()
            nodes += node.get("Plans", [])
            removed = sum(rows for name, rows in node.items() if name.startswith("Rows Removed"))
            if (node["Actual Rows"] + removed) * node["Actual Loops"] > READ_AT_MOST:
                found.append(node.get("Relation Name", ""))
    else:
        rows = connection.exec_driver_sql(f"EXPLAIN {text}", parameters).mappings()
        found = [row["table"] for row in rows if row["type"] in ("ALL", "index") and row["table"]]
    large = [name for name in found if name.startswith("mailchimp_optin_")]
    return [name for name in large if name.removeprefix("mailchimp_optin_") not in small]


def test_no_plan_outlives_the_tables_that_it_was_made_for(connected: Host) -> None:
    """Psycopg prepares a statement; PostgreSQL then keeps its plan, for empty tables as a rule."""
    with connected.app.app_context(), connected.services.begin() as tx:
        if tx.connection.dialect.name != "postgresql":
            pytest.skip("PostgreSQL alone keeps plans: set TEST_DATABASE_URL")
        assert tx.value(sa.text("SHOW plan_cache_mode")) == "force_custom_plan"
    with connected.app.app_context(), connected.services.begin(of_one_row=True) as tx:
        assert tx.value(sa.text("SHOW plan_cache_mode")) == "auto"  # also for the host's own
