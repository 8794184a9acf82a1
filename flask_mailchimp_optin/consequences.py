"""What an act would mean, in numbers, told before it is done. Reads only, and never more than it counts.

For whoever changes the master list, and whoever disconnects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from . import overviews
from .services import Services, Transaction

#: Nobody waits for more than that to be counted: "more than" says enough then.
MOST = 100_000


@dataclass(frozen=True, kw_only=True)
class NewMaster:
    """What another master list would mean.

    :param old: the name of the one before; None if there was none.
    :param left: members of the old list that are ours: they stay there.
    :param added: ticked customers that would be added to the new one, who aren't there as far as known.
    """

    old: str | None
    new: str
    left: int
    added: int


@dataclass(frozen=True, kw_only=True)
class Goodbye:
    """What disconnecting would mean.

    :param webhooks: at Mailchimp, that would be removed.
    :param contacts: our records of addresses, that would be deleted.
    :param decisions: in the history, that stay.
    :param waiting: changes that Mailchimp has not been told; it never would be.
    """

    webhooks: int
    contacts: int
    decisions: int
    waiting: int


def of_new_master(services: Services, tenant: str, list_id: str) -> NewMaster | None:
    """What it would mean to choose this master list; None if it is chosen already, or is not stored."""
    overview = overviews.read(services, tenant)
    new = next((row for row in overview.lists if row.list_id == list_id and not row.gone), None)
    if new is None or new.is_master:
        return None
    with services.begin() as tx:
        left, added = _moved(tx, services, overviews.find(tx, services, tenant), list_id)
    old = overview.master
    return NewMaster(old=old.name if old else None, new=new.name, left=left, added=added)


def _moved(tx: Transaction, services: Services, connection: Any, list_id: str) -> tuple[int, int]:
    contact, customer = services.tables.contact, services.tables.customer
    audience = services.tables.audience
    new = tx.value(
        select(audience.c.id).where(
            audience.c.connection_id == connection.id, audience.c.list_id == list_id
        )
    )
    left = select(contact.c.id).where(
        contact.c.audience_id == connection.master_audience_id,
        contact.c.wanted.is_(True),
        contact.c.seen_status == "subscribed",
    )
    known = select(contact.c.id).where(
        contact.c.audience_id == new,
        contact.c.address == customer.c.address,
        contact.c.seen_status == "subscribed",
    )
    added = (
        select(customer.c.address)
        .where(
            customer.c.connection_id == connection.id,
            customer.c.own_list.is_(False),
            customer.c.opt_in.is_(True),
            customer.c.erased_at.is_(None),
            customer.c.address.isnot(None),
            ~known.exists(),
        )
        .distinct()
    )
    return _number(tx, left), _number(tx, added)


def of_disconnecting(services: Services, tenant: str) -> Goodbye | None:
    """What it would mean to disconnect; None while nothing is connected."""
    t = services.tables
    with services.begin() as tx:
        connection = overviews.find(tx, services, tenant)
        if connection is None:
            return None
        ours = t.audience.c.connection_id == connection.id
        hooked = select(t.audience.c.id).where(ours, t.audience.c.webhook_id.isnot(None))
        return Goodbye(
            webhooks=_number(tx, hooked),
            contacts=_number(
                tx, select(t.contact.c.id).where(t.contact.c.connection_id == connection.id)
            ),
            decisions=_number(tx, select(t.decision.c.id).where(t.decision.c.tenant == tenant)),
            waiting=overviews.waiting_changes(tx, services, connection),
        )


def _number(tx: Transaction, rows: Any) -> int:
    """How many rows, counted no further than :data:`MOST` and one."""
    some = rows.limit(MOST + 1).subquery()
    return int(tx.value(select(func.count()).select_from(some)) or 0)
