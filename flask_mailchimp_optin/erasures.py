"""Addresses that were erased for good, remembered without the address. Journey out.

Where deleted customers are deleted permanently, a keyed hash stays behind, so that an old file that is
imported does not bring somebody back silently: their ticked box is held until somebody decides anew.
Of use to whoever has the encryption keys and the address already, and to nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import and_, delete, insert, select, update

from .models import utc
from .services import Services, Transaction, chunks
from .wants import House


def remember(
    tx: Transaction, services: Services, house: House, addresses: Mapping[str, datetime]
) -> None:
    """The customers of these addresses were deleted then; what nobody owns any more is erased."""
    table, customers = services.tables.erasure, services.tables.customer
    mine = customers.c.connection_id == house.connection_id
    left = set(addresses)
    for chunk in chunks(sorted(addresses)):
        owned = tx.rows(select(customers.c.address).where(mine, customers.c.address.in_(chunk)))
        left -= {row.address for row in owned}
    for address in sorted(left):
        forget(tx, services, house, address)
        mark = _marks(services, house.tenant, address)[0]
        values = {"tenant": house.tenant, "mark": mark, "erased_at": addresses[address]}
        tx.execute(insert(table).values(**values))


def among(
    tx: Transaction, services: Services, house: House, addresses: set[str]
) -> dict[str, datetime]:
    """Which of these addresses were erased, and when."""
    table = services.tables.erasure
    mine = table.c.tenant == house.tenant
    if not addresses or tx.value(select(table.c.id).where(mine).limit(1)) is None:
        return {}
    by_mark = {m: address for address in addresses for m in _marks(services, house.tenant, address)}
    found: dict[str, datetime] = {}
    for chunk in chunks(list(by_mark)):
        query = select(table).where(mine, table.c.mark.in_(chunk))
        found |= {by_mark[row.mark]: utc(row.erased_at) for row in tx.rows(query)}
    return found


def forget(tx: Transaction, services: Services, house: House, address: str) -> set[tuple[int, str]]:
    """Somebody decided anew for this address: nothing is held back any more.

    :returns: the (audience id, address) pairs at which something was.
    """
    table, customers = services.tables.erasure, services.tables.customer
    marks = _marks(services, house.tenant, address)
    tx.execute(delete(table).where(table.c.tenant == house.tenant, table.c.mark.in_(marks)))
    held = and_(
        customers.c.connection_id == house.connection_id,
        customers.c.address == address,
        customers.c.erased_at.isnot(None),
    )
    rows = tx.rows(select(customers.c.audience_id).where(held))
    tx.execute(update(customers).where(held).values(erased_at=None))
    return {(row.audience_id, address) for row in rows if row.audience_id}


def _marks(services: Services, tenant: str, address: str) -> list[str]:
    return services.vault.fingerprints(f"erased:{tenant}:{address}")
