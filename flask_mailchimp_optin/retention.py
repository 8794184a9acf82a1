"""What is old goes: changes of nobody, rings that were worked off, syncs that ended, old decisions."""

from __future__ import annotations

import random
from datetime import timedelta

from sqlalchemy import delete, exists, func, select

from . import outbox
from .models import utc
from .services import Services, Transaction

_PRUNED = 1000  # rows that one sweep looks at, the oldest first


def tidy(services: Services) -> None:
    """Take out changes of tenants without a connection, and delete what is old."""
    while services.transact(lambda tx: outbox.take_of_nobody(tx, services)):
        pass
    _prune(services)
    _prune_ledger(services)


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


def _prune_ledger(services: Services) -> None:
    """Old decisions that prove nothing any more, among some that chance chooses.

    A customer's last one stays as long as they do, so most old ones do: who began with the oldest each
    time would never get further.
    """
    keep = services.config.KEEP_DECISIONS_DAYS
    if not keep:
        return
    before = services.now() - timedelta(days=keep)
    table = services.tables.decision
    later = table.alias()
    replaced = exists().where(
        later.c.tenant == table.c.tenant,
        later.c.customer_key == table.c.customer_key,
        later.c.id > table.c.id,
    )

    def work(tx: Transaction) -> None:
        first = tx.value(select(func.min(table.c.id))) or 0
        last = tx.value(select(func.max(table.c.id))) or 0
        start = random.randint(first, max(first, last - _PRUNED))  # nosec B311  # no secret
        some = select(table, replaced.label("replaced")).where(table.c.id >= start)
        rows = tx.rows(some.order_by(table.c.id).limit(_PRUNED))
        old = [row for row in rows if utc(row.recorded_at) < before]
        there = services.mapping.snapshots(
            tx.session, [row.customer_key for row in old if not row.replaced]
        )
        ids = [row.id for row in old if row.replaced or row.customer_key not in there]
        tx.execute(delete(table).where(table.c.id.in_(ids)))

    services.transact(work)
