"""Which connections have something to do, and which of it may be done now."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Row, literal, or_, select

from . import hooks, reconcile, runs, site
from .models import utc
from .services import Services, Transaction
from .settle import WANTED, due

logger: logging.Logger = logging.getLogger("flask_mailchimp_optin")


def connections_with_work(services: Services) -> list[int]:
    """The connections that have something to do now, those with a no first."""

    def work(tx: Transaction) -> list[int]:
        busy = {row.id: bool(row.urgent) for row in tx.rows(_busy(services))}
        table = services.tables.connection
        found = [
            row.id
            for row in tx.rows(select(table).order_by(table.c.id))
            if (row.id in busy or _is_daily_due(services, row)) and _has_work(tx, services, row)
        ]
        return sorted(found, key=lambda id_: (not busy.get(id_), id_))

    return services.transact(work)


def has_work(services: Services, connection_id: int) -> bool:
    """Whether this connection has something to do now."""

    def work(tx: Transaction) -> bool:
        row = services.connection(tx, connection_id)
        return row is not None and _has_work(tx, services, row)

    return services.transact(work)


def _busy(services: Services) -> Any:
    """The query for connections that may have something to do, whatever the time is."""
    t, now = services.tables, services.now()
    mine = t.contact.c.connection_id == t.connection.c.id
    is_due = t.contact.c.due_at <= now
    may_be_busy = or_(
        *(_any(mine, t.contact.c.wanted.is_(wanted), is_due) for wanted in WANTED),
        _said(services, t.connection.c),
        _any(t.sync_run.c.connection_id == t.connection.c.id, t.sync_run.c.state == runs.RUNNING),
        _any(t.audience.c.connection_id == t.connection.c.id, hooks.unchecked(services)),
    )
    theirs, nobodys = _outbox(services, t.connection.c)
    a_no = t.outbox.c.has_no.is_(True)
    urgent = or_(
        _any(mine, t.contact.c.wanted.is_(False), is_due), _any(theirs, a_no), _any(nobodys, a_no)
    )
    return select(t.connection.c.id, urgent.label("urgent")).where(may_be_busy)


def _said(services: Services, connection: Any) -> Any:
    """The condition that customers or Mailchimp said something that nobody has heard yet.

    :param connection: a row of it, or its columns.
    """
    event, audience = services.tables.webhook_event, services.tables.audience
    here = audience.c.connection_id == connection.id, event.c.audience_id == audience.c.id
    rings = _any(*here, event.c.outcome.is_(None))
    return or_(*map(_any, _outbox(services, connection)), rings)


def _outbox(services: Services, connection: Any) -> tuple[Any, Any]:
    """The conditions for the outbox rows of this tenant, and of nobody's; an index finds either."""
    table = services.tables.outbox
    return table.c.tenant == connection.tenant, table.c.tenant.is_(None)


def _any(*conditions: Any) -> Any:
    """Whether there is such a row: a look into an index for each connection, whatever there is."""
    return select(literal(1)).where(*conditions).limit(1).scalar_subquery().isnot(None)


def _is_daily_due(services: Services, connection: Row[Any]) -> bool:
    return connection.enabled and reconcile.due_daily(connection, services.now()) is not None


def _has_work(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    if tx.value(select(_said(services, connection))):
        return True
    if not may_send(tx, services, connection):
        return False
    if is_due(tx, services, connection):
        return True
    return _is_daily_due(services, connection) or (
        connection.enabled
        and (_run_to_do(tx, services, connection) or hooks.due(tx, services, connection))
    )


def turned_up(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    """Whether there is something that should not wait for a long round: a change, a ring, a no.

    Or another worker, that has asked for a shard.
    """
    contact, shard = services.tables.contact, services.tables.shard
    nos = contact.c.wanted.is_(False), contact.c.due_at <= services.now()
    query = or_(
        _said(services, connection),
        _any(contact.c.connection_id == connection.id, *nos),
        _any(shard.c.connection_id == connection.id, shard.c.asked.is_(True)),
    )
    return bool(tx.value(select(query)))


def _run_to_do(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    run = runs.current(tx, services, connection.id)
    if run is None:
        return False
    return run.phase != "send" or runs.left_to_send(tx, services, run.id) == 0


def may_send(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    """Whether Mailchimp may be spoken to just now."""
    if site.is_other(tx, services, connection):
        logger.warning("the connection belongs to another site: nothing is sent from here")
        return False
    paused = utc(connection.paused_until)
    return connection.suspended is None and (paused is None or paused <= services.now())


def is_due(
    tx: Transaction, services: Services, connection: Row[Any], *which: Any, at_least: int = 1
) -> bool:
    """Whether it is the turn of some contacts.

    :param which: SQL conditions for those that count.
    :param at_least: so many with the same wish.
    """
    contact = services.tables.contact
    here = contact.c.connection_id == connection.id, condition(tx, services, connection), *which
    query = select(contact.c.id).where(*here).limit(1).offset(at_least - 1)
    return any(tx.value(query.where(contact.c.wanted.is_(wanted))) is not None for wanted in WANTED)


def condition(tx: Transaction, services: Services, connection: Row[Any]) -> Any:
    """The SQL condition for the contacts whose turn it is."""
    run = runs.current(tx, services, connection.id)
    leaving = connection.enabled and run is not None and run.phase == runs.LEAVING
    return due(
        services,
        left=connection.left_audience_id if leaving else None,
        # An initial sync reads Mailchimp before anything but a no goes out.
        enabled=connection.enabled and not reconcile.is_reading_first(run),
        daily=connection.daily,
        run_id=run.id if run is not None else None,
    )
