"""Journey out, second step: the outbox is absorbed into what is wanted of each contact.

All of it in one transaction of the database: the customers are loaded as they are now, our records of
them and of their contacts follow, the outbox rows go. Whatever dies, it is simply done again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from . import outbox, runs
from .customers import Seen, observe
from .errors import ChangedMeanwhile
from .lease import Lease
from .models import utc
from .services import Services, Transaction
from .wants import ALL, NOS, house_of


def absorb(
    services: Services, lease: Lease, connection: Row[Any], *, hold_yeses: bool = False
) -> bool:
    """Absorb about 500 changes of the outbox; whether there were any.

    :param hold_yeses: an initial sync is reading Mailchimp: only a no goes out before it has.
    """

    def work(tx: Transaction) -> bool:
        lease.hold(tx, services)
        rows = outbox.oldest(tx, services, connection.tenant)
        if not rows:
            return False
        # First gone, then looked at: what is still in the outbox then has come meanwhile.
        rows = outbox.take(tx, services, rows)
        if any(row.changes is None for row in rows):
            _plan_walks(tx, services, min(utc(row.created_at) for row in rows if not row.changes))
        seen: dict[str, Seen] = {}
        for noted in (noted for row in rows for noted in outbox.unpack(row)):
            seen[noted.change.key] = _add(seen.get(noted.change.key), noted)
        house = house_of(tx, services, connection)
        observe(tx, services, house, seen, release=NOS if hold_yeses else ALL)
        return True

    try:
        return services.transact(work)
    except ChangedMeanwhile:
        return True  # whoever helps was at the very same contact: it is done again


def _add(known: Seen | None, noted: outbox.Noted) -> Seen:
    made = () if noted.said is None else ((noted.said, noted.at),)
    if noted.change.is_new:  # databases may give a deleted customer's key again
        return Seen(decisions=made, at=noted.at, before=known.decisions if known else ())
    if known is None:
        return Seen(decisions=made, at=noted.at)
    return replace(known, decisions=known.decisions + made, at=max(known.at, noted.at))


def _plan_walks(tx: Transaction, services: Services, at: datetime) -> None:
    """A bulk write that named nobody: every tenant's customers are walked over once."""
    table = services.tables.connection
    for row in tx.rows(select(table).where(table.c.master_audience_id.isnot(None))):
        runs.plan(tx, services, row, "walk", at)
