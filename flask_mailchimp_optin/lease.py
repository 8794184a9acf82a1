"""The right to work one connection off: a lease in the database, with a fence.

Whoever takes a lease raises the fence; every transaction of the holder starts by checking it, so a
worker that stalled past its lease can acknowledge nothing. The clock is the database's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update

from .errors import LeaseLost
from .services import Services, Transaction, database_now


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A lease that was taken; it is only as good as the last :meth:`hold`."""

    connection_id: int
    owner: str
    fence: int
    epoch: int
    seconds: float
    taken_at: datetime
    taken_monotonic: float
    at_a_time: int  # requests that may be under way at once

    def _until(self) -> datetime:
        passed = time.monotonic() - self.taken_monotonic
        return self.taken_at + timedelta(seconds=passed + self.seconds)

    def hold(self, tx: Transaction, services: Services) -> None:
        """Prolong the lease as the first write of a transaction.

        :raises LeaseLost: another worker took over, or key or master list changed meanwhile.
        """
        table = services.tables.connection
        held = tx.execute(
            update(table)
            .where(
                table.c.id == self.connection_id,
                table.c.fence == self.fence,
                table.c.epoch == self.epoch,
            )
            .values(lease_until=self._until(), lease_owner=self.owner)
        )
        if not held:
            raise LeaseLost("Another worker works this connection off, or its settings changed.")


def take(services: Services, connection_id: int, owner: str) -> Lease | None:
    """The lease of a connection; None while somebody else holds it.

    :param owner: host and process, so that a supervisor can free what a killed process held.
    """
    seconds = 2 * services.config.TIMEOUT_S

    def work(tx: Transaction) -> Lease | None:
        table = services.tables.connection
        now = database_now(tx)
        taken = tx.execute(
            update(table)
            .where(
                table.c.id == connection_id,
                or_(table.c.lease_until.is_(None), table.c.lease_until < now),
            )
            .values(
                lease_owner=owner,
                lease_until=now + timedelta(seconds=seconds),
                fence=table.c.fence + 1,
            )
        )
        if not taken:
            return None
        row = tx.row(select(table.c.fence, table.c.epoch).where(table.c.id == connection_id))
        if row is None:
            return None
        return Lease(
            connection_id=connection_id,
            owner=owner,
            fence=row.fence,
            epoch=row.epoch,
            seconds=seconds,
            taken_at=now,
            taken_monotonic=time.monotonic(),
            at_a_time=services.config.CONNECTIONS,
        )

    return services.transact(work)


def release(services: Services, lease: Lease) -> None:
    """Give a lease back, if it is still ours."""
    table = services.tables.connection

    def work(tx: Transaction) -> None:
        tx.execute(
            update(table)
            .where(table.c.id == lease.connection_id, table.c.fence == lease.fence)
            .values(lease_owner=None, lease_until=None)
        )

    services.transact(work)


def release_all_of(services: Services, owner: str) -> None:
    """Free what a process held that is known to be dead. Its fence still keeps it out."""

    def work(tx: Transaction) -> None:
        for table in (services.tables.connection, services.tables.shard):
            tx.execute(
                update(table)
                .where(table.c.lease_owner == owner)
                .values(lease_owner=None, lease_until=None)
            )

    services.transact(work)
