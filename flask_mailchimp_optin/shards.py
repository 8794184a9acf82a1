"""The right to settle a part of a connection's contacts, where one worker alone would take long.

Whoever works a connection off may share its contacts out: each shard is a lease of its own, and the
right to one request to Mailchimp at a time. The contacts are told apart by their ids. While nothing is
shared, all are the business of whoever holds the connection's lease.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, insert, or_, select, tuple_, update

from .client import LARGEST_BATCH
from .errors import LeaseLost
from .lease import Lease
from .models import utc
from .services import Services, Transaction, database_now

#: Contacts that are due at once, or customers to tell: where there are so many, they are shared out.
SHARED_FROM = 2 * LARGEST_BATCH


@dataclass(frozen=True, kw_only=True)
class Shards:
    """Some shards of a connection, leased; only as good as the last :meth:`hold`.

    :ivar fences: by the shard's number.
    :ivar of: how many there are in all.
    :ivar are_new: some were taken just now: others may have been at their contacts.
    """

    connection_id: int
    owner: str
    fences: Mapping[int, int]
    of: int
    are_new: bool
    seconds: float
    taken_at: datetime
    taken_monotonic: float

    @property
    def at_a_time(self) -> int:
        """How many requests may be under way at once."""
        return len(self.fences)

    def hold(self, tx: Transaction, services: Services) -> None:
        """Prolong the lease as the first write of a transaction.

        :raises LeaseLost: somebody else took a shard over, or key or settings changed meanwhile.
        """
        table = services.tables.shard
        passed = time.monotonic() - self.taken_monotonic
        until = self.taken_at + timedelta(seconds=passed + self.seconds)
        held = tx.execute(
            update(table)
            .where(
                table.c.connection_id == self.connection_id,
                tuple_(table.c.number, table.c.fence).in_(list(self.fences.items())),
            )
            .values(lease_until=until)
        )
        if held != len(self.fences):
            raise LeaseLost("Another worker took a part of this connection over.")

    def theirs(self, services: Services) -> Any:
        """The SQL condition for the contacts of these shards."""
        return (services.tables.contact.c.id % self.of).in_(list(self.fences))


def share_out(services: Services, lease: Lease) -> None:
    """From now on others may help. Then whoever does is asked for."""
    table, number = services.tables.shard, services.config.CONNECTIONS

    def work(tx: Transaction) -> None:
        lease.hold(tx, services)
        here = table.c.connection_id == lease.connection_id
        known = {row.number for row in tx.rows(select(table.c.number).where(here))}
        blank = {"connection_id": lease.connection_id, "fence": 0, "asked": False}
        new = [blank | {"number": n} for n in range(number) if n not in known]
        tx.execute(insert(table), new)
        _set_number(tx, services, lease, number)

    services.transact(work)
    services.wake()


def call_in(services: Services, lease: Lease) -> None:
    """Nobody may begin to help any more; whoever does ends with what they are at: see :func:`held`."""

    def work(tx: Transaction) -> None:
        lease.hold(tx, services)
        _set_number(tx, services, lease, 0)

    services.transact(work)


def _set_number(tx: Transaction, services: Services, lease: Lease, number: int) -> None:
    table = services.tables.connection
    tx.execute(update(table).where(table.c.id == lease.connection_id).values(shards=number))


def held(services: Services, connection_id: int) -> bool:
    """Whether anybody has a shard."""
    table = services.tables.shard

    def work(tx: Transaction) -> bool:
        leased = table.c.connection_id == connection_id, table.c.lease_until.isnot(None)
        untils = [row.lease_until for row in tx.rows(select(table.c.lease_until).where(*leased))]
        return bool(untils) and utc(max(untils)) >= database_now(tx)

    return services.transact(work)


def turn(
    services: Services, connection_id: int, owner: str, mine: Shards | None = None
) -> Shards | None:
    """A fair part of the shards, between two rounds; None if there is nothing to share.

    What others have asked for is given back; what is free is taken, as long as it is no more than an
    equal part; who gets none asks those who have more, and has no shard for the moment.

    :param mine: what this process holds.
    """
    table = services.tables.shard
    fences = dict(mine.fences) if mine is not None else {}
    seconds = 2 * services.config.TIMEOUT_S

    def work(tx: Transaction) -> Shards | None:
        of = _number(tx, services, connection_id)
        if not of:
            return None
        now = database_now(tx)
        rows = tx.rows(
            select(table)
            .where(table.c.connection_id == connection_id, table.c.number < of)
            .order_by(table.c.number)
        )
        ours = [row for row in rows if row.lease_owner == owner]
        kept = {
            row.number: row.fence
            for row in ours
            if fences.get(row.number) == row.fence and not row.asked
        }
        given = [row.number for row in ours if row.number not in kept]
        _free(tx, services, connection_id, owner, given)
        others = Counter(
            row.lease_owner for row in rows if row.lease_owner != owner and _is_live(row, now)
        )
        part = math.ceil(of / (len(others) + 1))
        if not given:
            free = [row.number for row in rows if row not in ours and not _is_live(row, now)]
            wanted = free[: max(0, part - len(kept))]
            until = now + timedelta(seconds=seconds)
            kept |= _take(tx, services, connection_id, owner, wanted, now, until)
        if not kept and not given and not _ask(tx, services, rows, others, part):
            return None
        return Shards(
            connection_id=connection_id,
            owner=owner,
            fences=kept,
            of=of,
            are_new=not kept.keys() <= fences.keys(),
            seconds=seconds,
            taken_at=now,
            taken_monotonic=time.monotonic(),
        )

    return services.transact(work)


def _number(tx: Transaction, services: Services, connection_id: int) -> int:
    table = services.tables.connection
    return tx.value(select(table.c.shards).where(table.c.id == connection_id)) or 0


def _is_live(row: Row[Any], now: datetime) -> bool:
    return row.lease_until is not None and utc(row.lease_until) >= now


def _take(
    tx: Transaction,
    services: Services,
    connection_id: int,
    owner: str,
    numbers: list[int],
    now: datetime,
    until: datetime,
) -> dict[int, int]:
    """Those of the numbers that nobody else was quicker to take, with their fences."""
    table = services.tables.shard
    here = and_(table.c.connection_id == connection_id, table.c.number.in_(numbers))
    if not numbers:
        return {}
    tx.execute(
        update(table)
        .where(here, or_(table.c.lease_until.is_(None), table.c.lease_until < now))
        .values(lease_owner=owner, lease_until=until, fence=table.c.fence + 1, asked=False)
    )
    rows = tx.rows(select(table.c.number, table.c.fence).where(here, table.c.lease_owner == owner))
    return {row.number: row.fence for row in rows}


def _ask(
    tx: Transaction, services: Services, rows: list[Row[Any]], others: Counter[str], part: int
) -> bool:
    """Ask those who have more than an equal part for what is beyond it; whether there is any."""
    table, beyond = services.tables.shard, []
    left = Counter({owner: number - part for owner, number in others.items()})
    for row in rows:
        if left[row.lease_owner] > 0:
            left[row.lease_owner] -= 1
            beyond.append(row)
    ids = [row.id for row in beyond if not row.asked]
    if ids:
        tx.execute(update(table).where(table.c.id.in_(ids)).values(asked=True))
    return bool(beyond)


def give_back(services: Services, mine: Shards) -> None:
    """Free what is still ours."""
    numbers = list(mine.fences)
    services.transact(lambda tx: _free(tx, services, mine.connection_id, mine.owner, numbers))


def _free(
    tx: Transaction, services: Services, connection_id: int, owner: str, numbers: list[int]
) -> None:
    table = services.tables.shard
    if numbers:
        tx.execute(
            update(table)
            .where(
                table.c.connection_id == connection_id,
                table.c.lease_owner == owner,
                table.c.number.in_(numbers),
            )
            .values(lease_owner=None, lease_until=None, asked=False)
        )


def fence_off(tx: Transaction, services: Services, connection_id: int) -> None:
    """Key or settings change: whoever has a shard can write nothing more with it."""
    table = services.tables.shard
    here = table.c.connection_id == connection_id
    tx.execute(update(table).where(here).values(fence=table.c.fence + 1))
