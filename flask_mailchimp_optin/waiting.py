"""Which connections have something to do, and which of it may be done now."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Row, literal, or_, select

from . import hooks, outbox, reconcile, runs, site
from .inbound import waiting_rings
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
    here = t.audience.c.connection_id == t.connection.c.id
    theirs = t.outbox.c.tenant == t.connection.c.tenant
    nobodys, a_no = t.outbox.c.tenant.is_(None), t.outbox.c.has_no.is_(True)
    is_due = t.contact.c.due_at <= now
    may_be_busy = or_(
        *(_any(mine, t.contact.c.wanted.is_(wanted), is_due) for wanted in WANTED),
        _any(theirs),
        _any(nobodys),
        _any(
            here,
            t.webhook_event.c.audience_id == t.audience.c.id,
            t.webhook_event.c.outcome.is_(None),
        ),
        _any(t.sync_run.c.connection_id == t.connection.c.id, t.sync_run.c.state == runs.RUNNING),
        _any(here, hooks.unchecked(services)),
    )
    urgent = or_(
        _any(mine, t.contact.c.wanted.is_(False), is_due), _any(theirs, a_no), _any(nobodys, a_no)
    )
    return select(t.connection.c.id, urgent.label("urgent")).where(may_be_busy)


def _any(*conditions: Any) -> Any:
    """Whether there is such a row: a look into an index for each connection, whatever there is."""
    return select(literal(1)).where(*conditions).limit(1).scalar_subquery().isnot(None)


def _is_daily_due(services: Services, connection: Row[Any]) -> bool:
    return connection.enabled and reconcile.due_daily(connection, services.now()) is not None


def _has_work(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    if _said(tx, services, connection):
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
    shard = services.tables.shard
    asked = select(shard.c.id).where(
        shard.c.connection_id == connection.id, shard.c.asked.is_(True)
    )
    contact = services.tables.contact
    nos = select(contact.c.id).where(
        contact.c.connection_id == connection.id,
        contact.c.wanted.is_(False),
        contact.c.due_at <= services.now(),
    )
    return _said(tx, services, connection) or any(
        tx.value(query.limit(1)) is not None for query in (nos, asked)
    )


def _said(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    """Whether customers or Mailchimp said something that nobody has heard yet."""
    return outbox.waits(tx, services, connection.tenant) or bool(
        waiting_rings(tx, services, connection.id)
    )


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
