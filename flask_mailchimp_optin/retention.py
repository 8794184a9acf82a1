"""What is old goes: changes of nobody, rings that were worked off, syncs that ended."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select

from . import outbox
from .models import utc
from .services import Services, Transaction

_PRUNED = 1000  # rows that one sweep looks at, the oldest first


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
