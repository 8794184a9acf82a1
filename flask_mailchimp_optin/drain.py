"""One connection's work, most urgent first, under its lease: what an RQ job and a test both run.

Every piece is a transaction or a request of its own, so whoever dies leaves the rest to the next.
"""

from __future__ import annotations

import logging
import random
import time
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, delete, literal, or_, select, update

from . import hooks, outbox, reconcile, runs, signals, site
from . import lease as leases
from .client import Client
from .errors import (
    KeyRefused,
    LeaseLost,
    MailchimpError,
    OutcomeUnknown,
    PermissionDenied,
    TryLater,
)
from .inbound import answer_rings, waiting_rings
from .lease import Lease
from .models import utc
from .outbound import absorb
from .recent import Recent
from .services import Services, Transaction
from .settle import due, settle
from .vault import CannotDecrypt

logger = logging.getLogger("flask_mailchimp_optin")

_PRUNED = 1000  # rows that one sweep looks at, the oldest first


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
        _any(mine, is_due),
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
    if outbox.waits(tx, services, connection.tenant):
        return True
    if waiting_rings(tx, services, connection.id):
        return True
    if not _may_send(tx, services, connection):
        return False
    contact = services.tables.contact
    here = contact.c.connection_id == connection.id
    condition = _condition(tx, services, connection)
    if tx.value(select(contact.c.id).where(here, condition).limit(1)) is not None:
        return True
    return _is_daily_due(services, connection) or (
        connection.enabled
        and (_run_to_do(tx, services, connection) or hooks.due(tx, services, connection))
    )


def _run_to_do(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    run = runs.current(tx, services, connection.id)
    if run is None:
        return False
    return run.phase != "send" or runs.left_to_send(tx, services, run.id) == 0


def _may_send(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    if site.is_other(tx, services, connection):
        logger.warning("the connection belongs to another site: nothing is sent from here")
        return False
    paused = utc(connection.paused_until)
    return connection.suspended is None and (paused is None or paused <= services.now())


def _condition(tx: Transaction, services: Services, connection: Row[Any]) -> Any:
    run = runs.current(tx, services, connection.id)
    return due(
        services,
        # An initial sync reads Mailchimp before anything but a no goes out.
        enabled=connection.enabled and not reconcile.is_reading_first(run),
        daily=connection.daily,
        run_id=run.id if run is not None else None,
    )


def drain(services: Services, connection_id: int, owner: str, *, budget_s: float = 30.0) -> bool:
    """Work a connection off until nothing is due or the time is up; whether more is left.

    :param owner: names the process, for the lease.
    :param budget_s: seconds, after which others get their turn.
    """
    deadline = time.monotonic() + budget_s
    while True:
        lease = leases.take(services, connection_id, owner)
        if lease is None:
            return False  # somebody else is at it, and looks again after giving the lease back
        try:
            pieces = _work_off(services, lease, deadline)
        except LeaseLost:
            logger.info("a lease was lost", extra={"connection": connection_id})
            pieces = 1
        finally:
            leases.release(services, lease)
        # Who came while we held the lease went away again: look once more. What could not be done
        # in a whole round waits for the next sweep.
        if not pieces or not has_work(services, connection_id):
            return False
        if time.monotonic() >= deadline:
            return True


def _work_off(services: Services, lease: Lease, deadline: float) -> int:
    """Pieces of work until nothing is due or the time is up; how many, at least one if it can be."""
    client: Client | None = None
    recent: Recent | None = None
    pieces = 0
    try:
        while not pieces or time.monotonic() < deadline:
            with services.begin() as tx:
                connection = services.connection(tx, lease.connection_id)
                run = runs.current(tx, services, lease.connection_id)
                may_send = connection is not None and _may_send(tx, services, connection)
            if connection is None:
                return 0
            hold = reconcile.is_reading_first(run)
            more = absorb(services, lease, connection, hold_yeses=hold) or answer_rings(
                services, lease
            )
            pieces += more
            if may_send:
                if client is None or recent is None:
                    client = services.client(connection)
                    recent = Recent(client, services.now)
                # While there is more to absorb, only a no goes out: it goes ahead of everything.
                spoken = _speak(services, lease, connection, client, recent, only_nos=more)
                pieces += spoken
                more = more or spoken
            if not more:
                break
    except CannotDecrypt as error:
        _suspend(services, lease, str(error))
    finally:
        if client is not None:
            client.close()
    return pieces


def _speak(
    services: Services,
    lease: Lease,
    connection: Row[Any],
    client: Client,
    recent: Recent,
    *,
    only_nos: bool,
) -> bool:
    """One piece that needs Mailchimp; whether there was one. Its errors stop the connection."""
    with services.begin() as tx:
        condition = _condition(tx, services, connection)
    nos = due(services, enabled=False, daily=connection.daily, run_id=None)
    try:
        if only_nos:
            return settle(services, lease, connection, client, recent, nos)
        # A list's webhook comes before its first member: what people answer there must be heard.
        if connection.enabled and hooks.check(services, lease, connection, client):
            return True
        if settle(services, lease, connection, client, recent, condition):
            return True
        return connection.enabled and (
            reconcile.step(services, lease, connection, client)
            or reconcile.plan_daily(services, lease, connection)
        )
    except (KeyRefused, PermissionDenied) as error:
        _suspend(services, lease, str(error))
        return False
    except (TryLater, OutcomeUnknown) as error:
        _pause(services, lease, 10.0 if error.status == 429 else 30.0)
        return False
    except MailchimpError as error:
        logger.error("Mailchimp refused a request", extra={"status": error.status})
        _pause(services, lease, 60.0)
        return False


def tidy(services: Services) -> None:
    """Take out changes of tenants without a connection, and delete what is old."""
    while services.transact(lambda tx: outbox.take_of_nobody(tx, services)):
        pass
    _prune(services)


def _prune(services: Services) -> None:
    """Old rings that were worked off and old syncs that ended, some at a time."""
    keep = services.config.KEEP_DAYS
    if not keep:
        return
    before = services.now() - timedelta(days=keep)
    rings, syncs = services.tables.webhook_event, services.tables.sync_run

    def work(tx: Transaction) -> None:
        for table, since, is_over in (
            (rings, rings.c.received_at, rings.c.outcome.isnot(None)),
            (syncs, syncs.c.finished_at, syncs.c.finished_at.isnot(None)),
        ):
            # In the order of their ids, which is that of their times but for a few seconds.
            oldest = select(table.c.id, since.label("since"), is_over.label("is_over"))
            rows = tx.rows(oldest.order_by(table.c.id).limit(_PRUNED))
            ids = [row.id for row in rows if row.is_over and utc(row.since) < before]
            tx.execute(delete(table).where(table.c.id.in_(ids)))

    services.transact(work)


def _pause(services: Services, lease: Lease, seconds: float) -> None:
    """Nobody speaks to this account for a while; the jitter keeps workers from coming back as one."""
    until = services.now() + timedelta(seconds=seconds * random.uniform(0.5, 1.5))
    _write(services, lease, paused_until=until)


def _suspend(services: Services, lease: Lease, reason: str) -> None:
    """Stop until an administrator acts; all work is kept."""
    _write(services, lease, suspended=reason)
    with services.begin() as tx:
        row = services.connection(tx, lease.connection_id)
    if row is not None:
        services.tell(signals.disconnected, tenant=row.tenant, reason=reason)


def _write(services: Services, lease: Lease, **values: Any) -> None:
    table = services.tables.connection

    def work(tx: Transaction) -> None:
        lease.hold(tx, services)
        tx.execute(update(table).where(table.c.id == lease.connection_id).values(**values))

    services.transact(work)
