"""Journey out, second step: the outbox is absorbed into what is wanted of each contact.

All of it in one transaction of the database: the customers are loaded as they are now, our records of
them and of their contacts follow, the outbox rows go. Whatever dies, it is simply done again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, or_, select

from . import contacts, runs
from .customers import Seen, observe
from .lease import Lease
from .models import utc
from .services import Services, Transaction
from .wants import ALL, NOS, house_of

LIMIT = 500


def absorb(
    services: Services, lease: Lease, connection: Row[Any], *, hold_yeses: bool = False
) -> bool:
    """Absorb up to 500 rows of the outbox; whether there were any.

    :param hold_yeses: an initial sync is reading Mailchimp: only a no goes out before it has.
    """

    def work(tx: Transaction) -> bool:
        lease.hold(tx, services)
        rows = _read(tx, services, connection.tenant)
        if not rows:
            return False
        if any(row.customer_key is None for row in rows):
            _plan_walks(tx, services, min(utc(r.created_at) for r in rows if not r.customer_key))
        seen: dict[str, Seen] = {}
        for row in rows:
            if row.customer_key is not None:
                seen[row.customer_key] = _add(seen.get(row.customer_key), row)
        # First gone, then looked at: what is still in the outbox then has come meanwhile.
        _forget(tx, services, [row.id for row in rows])
        house = house_of(tx, services, connection)
        observe(tx, services, house, seen, release=NOS if hold_yeses else ALL)
        return True

    return services.transact(work)


def _read(tx: Transaction, services: Services, tenant: str) -> list[Row[Any]]:
    table = services.tables.outbox
    mine = or_(table.c.tenant == tenant, table.c.tenant.is_(None))
    # A no goes ahead of everything; the order of the rest decides nothing.
    nos = tx.rows(select(table).where(mine, table.c.decision.is_(False)).limit(LIMIT))
    if nos:
        keys = [row.customer_key for row in nos]
        return tx.rows(
            select(table).where(mine, table.c.customer_key.in_(keys)).order_by(table.c.id)
        )
    return tx.rows(select(table).where(mine).order_by(table.c.id).limit(LIMIT))


def _add(known: Seen | None, row: Row[Any]) -> Seen:
    at = utc(row.created_at)
    made = () if row.decision is None else ((bool(row.decision), at),)
    if row.is_new:  # databases may give a deleted customer's key again
        return Seen(decisions=made, at=at, before=known.decisions if known is not None else ())
    if known is None:
        return Seen(decisions=made, at=at)
    return replace(known, decisions=known.decisions + made, at=max(known.at, at))


def _forget(tx: Transaction, services: Services, ids: list[int]) -> None:
    table = services.tables.outbox
    for chunk in contacts.chunks(ids):
        tx.execute(delete(table).where(table.c.id.in_(chunk)))


def _plan_walks(tx: Transaction, services: Services, at: datetime) -> None:
    """A bulk write that named nobody: every tenant's customers are walked over once."""
    table = services.tables.connection
    for row in tx.rows(select(table).where(table.c.master_audience_id.isnot(None))):
        runs.plan(tx, services, row, "walk", at)
