"""What the journeys work with, handed to them once: configuration, tables, sessions, clock, key.

Knows neither Flask nor RQ; the edge fills it in. Every transaction of ours begins here.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from blinker import NamedSignal
from sqlalchemy import (
    Connection,
    Dialect,
    Row,
    Table,
    bindparam,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import Session

from . import signals
from .config import Config
from .credential import Credential
from .ledger import Facts
from .mapping import BoundMapping
from .models import PREFIX, Tables, utc
from .vault import Vault

if TYPE_CHECKING:
    from .client import Client
    from .webhook import Door

T = TypeVar("T")
logger: logging.Logger = logging.getLogger("flask_mailchimp_optin")

#: Set in ``session.info`` while a checkbox follows Mailchimp: capture must not send it back.
FOLLOWING = "mailchimp_optin_following"
#: Set in ``session.info`` to the services whose worker is woken once the transaction is committed.
WAKE = "mailchimp_optin_wake"
_TRIES = 6


def chunks(items: Iterable[Any], size: int = 500) -> Iterator[list[Any]]:
    """Lists short enough for one statement's bound values, each made when it is asked for."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def utc_now() -> datetime:
    """Aware UTC now, by this machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Transaction:
    """One transaction: the session for the host's model, its connection for our tables."""

    session: Session
    connection: Connection

    def rows(self, statement: Any) -> list[Row[Any]]:
        """All rows of a query on our tables."""
        return list(self.connection.execute(statement).all())

    def row(self, statement: Any) -> Row[Any] | None:
        """The first row, or None."""
        return self.connection.execute(statement).first()

    def value(self, statement: Any) -> Any:
        """The first column of the first row, or None."""
        return self.connection.execute(statement).scalar()

    def execute(self, statement: Any, rows: list[dict[str, Any]] | None = None) -> int:
        """Run a write; how many rows it touched."""
        if rows is None:
            return int(self.connection.execute(statement).rowcount)
        return int(self.connection.execute(statement, rows).rowcount) if rows else 0

    def update_each(self, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
        """Change rows by their ``id``, each to values of its own.

        One statement for all that change the same columns.
        """
        alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in rows:
            values = {f"b_{name}": value for name, value in row.items()}
            alike.setdefault(tuple(sorted(row.keys() - {"id"})), []).append(values)
        for names, some in alike.items():
            new = {name: bindparam(f"b_{name}", type_=table.c[name].type) for name in names}
            self.execute(update(table).where(table.c.id == bindparam("b_id")).values(new), some)

    def insert(self, statement: Any) -> int:
        """Insert one row; its id."""
        key = self.connection.execute(statement).inserted_primary_key
        assert key is not None  # noqa: S101  # nosec B101  # a single-row insert has one
        return int(key[0])


def insert_rows(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    alike: Mapping[str, Any] | None = None,
) -> None:
    """Insert rows as the driver takes them: a host's commit and a first sync wait for it.

    Values that all have in common are made ready once, not for each row, which takes longer than the
    insert.

    :param names: the columns.
    :param rows: their values.
    :param alike: values that all rows have in common, of other columns.
    """
    if not rows:
        return
    common, options = alike or {}, connection.get_execution_options()
    schemas = tuple((options.get("schema_translate_map") or {}).items())
    every = (*common, *names)
    statement, order, ready = _insertion(table, every, connection.dialect, schemas)
    first = tuple(ready[n](value) if n in ready else value for n, value in common.items())
    columns = zip(names, zip(*rows, strict=True), strict=True)
    made = (map(ready[name], column) if name in ready else column for name, column in columns)
    given: list[Any] = [first + row for row in zip(*made, strict=True)]
    if order is not None:
        given = list(map(order, given))
    else:
        given = [dict(zip(every, values, strict=True)) for values in given]
    # A list of one would go the longer way of many.
    connection.exec_driver_sql(statement, given if len(given) > 1 else given[0])


@lru_cache(maxsize=16)
def _insertion(
    table: Table, names: tuple[str, ...], dialect: Dialect, schemas: tuple[tuple[Any, Any], ...]
) -> tuple[str, Callable[[tuple[Any, ...]], Any] | None, dict[str, Any]]:
    """An insert as the driver takes it; what puts values in order, if it counts; what readies them."""
    statement = (
        insert(table)
        .inline()
        .compile(
            dialect=dialect,
            column_keys=names,
            schema_translate_map=dict(schemas) or None,
            render_schema_translate=bool(schemas),
        )
    )
    ready = {
        name: process
        for name in names
        if (process := table.c[name].type.dialect_impl(dialect).bind_processor(dialect))
    }
    order = statement.positiontup
    in_order = itemgetter(*map(names.index, order)) if order else None
    return str(statement), in_order, ready


@dataclass(frozen=True, kw_only=True)
class Services:
    """The tools of one extension on one application.

    :param session_factory: makes a new session of the host's kind.
    :param clock: aware UTC now; tests turn it.
    :param wake: asks for a worker; never raises, never waits long.
    :param facts: who decides just now, if nobody says otherwise; for the ledger.
    :param webhook_url: the public address of the webhook for a token; None without a public address.
    :param sender: whom signals are sent from.
    :param doors: the webhooks' addresses that this process remembers, by their token's hash.
    """

    config: Config
    tables: Tables
    mapping: BoundMapping
    vault: Vault
    session_factory: Callable[[], Session]
    wake: Callable[[], None]
    facts: Callable[[], Facts]
    webhook_url: Callable[[str], str | None]
    sender: Any
    clock: Callable[[], datetime] = utc_now
    doors: dict[str, Door] = field(default_factory=dict)

    def now(self) -> datetime:
        """Aware UTC now."""
        return self.clock()

    @contextmanager
    def begin(self, *, of_one_row: bool = False) -> Iterator[Transaction]:
        """A transaction of ours: commits at the end, rolls back on an error.

        :param of_one_row: it is about a single row, so that a plan from long ago is as good as any.
        """
        session = self.session_factory()
        try:
            connection = session.connection(bind_arguments={"mapper": self.mapping.mapper})
            if connection.dialect.name == "postgresql" and not of_one_row:
                # Statements that a driver has prepared keep the plan that was best when the tables were
                # empty, until autovacuum comes by: all rows, for each five hundred of a first sync.
                connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_custom_plan")
            yield Transaction(session, connection)
            session.commit()
        except BaseException as error:
            session.rollback()
            if isinstance(error, StatementError):
                error.hide_parameters = True  # they would name people in logs and in failed jobs
            raise
        finally:
            session.close()

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Do some work in a transaction; again, with jitter, after a deadlock or a lock timeout.

        :param work: may run several times; must have no effect but through the transaction.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                with self.begin() as tx:
                    return work(tx)
            except DBAPIError as error:
                if attempt == _TRIES or not _worth_another_try(error):
                    raise
                logger.info("a transaction is tried again", extra={"attempt": attempt})
                time.sleep(random.uniform(0.02, 0.1) * 2**attempt)  # nosec B311  # jitter, no secret
        raise AssertionError("unreachable")

    def client(self, connection: Row[Any]) -> Client:
        """Mailchimp for this connection's key or token."""
        api_key = self.vault.open(connection.sealed_key, f"api-key:{connection.tenant}")
        return self.client_with(Credential.stored(api_key) or api_key)

    def client_with(self, credentials: Credential | str) -> Client:
        """Mailchimp for a key or token.

        :raises RefusedInput: it is neither.
        """
        from .client import Client  # and with it all that speaks HTTP

        return Client(
            credentials,
            api_url=self.config.API_URL,
            timeout_s=self.config.TIMEOUT_S,
            details=bool(self.mapping.mapping.pull),
        )

    def connection(self, tx: Transaction, connection_id: int) -> Row[Any] | None:
        """A connection's row."""
        table = self.tables.connection
        return tx.row(select(table).where(table.c.id == connection_id))

    def tell(self, signal: NamedSignal, **facts: Any) -> None:
        """Send a signal, after the fact is stored."""
        signals.send(signal, self.sender, **facts)


def _worth_another_try(error: DBAPIError) -> bool:
    """Deadlock, lock timeout, serialization failure, a lost connection: the same work may succeed.

    So may an insert that another worker was quicker with, for the same work sees that row by now.
    """
    state = getattr(error.orig, "sqlstate", None) or ""
    code = error.orig.args[0] if error.orig and error.orig.args else None
    words = str(error.orig)
    return (
        error.connection_invalidated
        or state in ("40001", "40P01", "55P03")
        or code in (1205, 1213, 1020)  # MySQL: lock wait, deadlock, record has changed (MariaDB)
        or "database is locked" in words
        or "database table is locked" in words
        or (isinstance(error, IntegrityError) and _is_ours(words))
    )


def _is_ours(words: str) -> bool:
    """Whether it is a key of one of our tables, and not of the host's, that is there already."""
    return any(name + PREFIX in words for name in ("uq_", "failed: "))


def database_now(tx: Transaction) -> datetime:
    """The database's clock, aware UTC: the one clock that all workers share."""
    dialect = tx.connection.dialect.name
    if dialect == "sqlite":
        stamp = tx.value(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"))
        return datetime.fromisoformat(stamp).replace(tzinfo=UTC)
    if dialect in ("mysql", "mariadb"):
        utc_now: datetime = tx.value(text("SELECT UTC_TIMESTAMP(6)"))
        return utc(utc_now)
    now: datetime = tx.value(select(func.clock_timestamp()))
    return utc(now)
