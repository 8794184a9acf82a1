"""Figures for the activity page: members by status, decisions by day, the latest rings and decisions.

Reads only, and bounded: no query here grows with the number of customers without a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import case, func, select

from . import contacts, overviews
from .models import utc
from .services import Services, Transaction

#: Beyond this many contacts a page does not count them.
_COUNTED = 200_000


@dataclass(frozen=True, kw_only=True)
class Day:
    """How many customers said yes and no on one day (UTC)."""

    day: date
    yes: int
    no: int


@dataclass(frozen=True, kw_only=True)
class ListFigures:
    """How the addresses of our customers stand in one list.

    :param counts: Mailchimp's status to number of addresses, as last seen.
    """

    name: str
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Ring:
    """One received webhook, without the address that it names.

    :param fired_at: when Mailchimp says that it happened.
    :param outcome: what came of it; None: not worked off yet.
    :param about_a_person: whether it names somebody, so that one can look again.
    :param customer_keys: who has that address in that list now.
    :param read_at: when that address was last read at Mailchimp, for whatever reason.
    """

    id: int
    received_at: datetime
    fired_at: datetime | None
    list_name: str
    kind: str
    verified: str
    outcome: str | None
    about_a_person: bool
    customer_keys: tuple[str, ...]
    read_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Latest:
    """One of the newest decisions."""

    customer_key: str
    value: bool
    source: str
    recorded_at: datetime


def days(services: Services, tenant: str, number: int = 30) -> list[Day]:
    """Yes and no by day for the last days, oldest first, today included."""
    today = services.now().replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [today - timedelta(days=back) for back in range(number - 1, -1, -1)]
    table = services.tables.decision
    # A case per day instead of a date function: each database has another one, and its own zone.
    which = case(
        *((table.c.recorded_at < start, i) for i, start in enumerate(starts[1:])),
        else_=number - 1,
    )
    rows = (
        select(which.label("day"), table.c.value.label("value"))
        .where(table.c.tenant == tenant, table.c.recorded_at >= starts[0])
        .subquery()
    )
    query = select(rows.c.day, rows.c.value, func.count().label("number"))
    query = query.group_by(rows.c.day, rows.c.value)
    with services.begin() as tx:
        found = {(int(row.day), bool(row.value)): int(row.number) for row in tx.rows(query)}
    return [
        Day(day=start.date(), yes=found.get((i, True), 0), no=found.get((i, False), 0))
        for i, start in enumerate(starts)
    ]


def lists(services: Services, tenant: str) -> list[ListFigures] | None:
    """The addresses of every list by status; None if there are too many to count for a page."""
    with services.begin() as tx:
        connection = overviews.find(tx, services, tenant)
        if connection is None:
            return []
        rows = _counted(tx, services, connection.id)
    if sum(row.number for row in rows) >= _COUNTED:
        return None
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row.name, {})[row.status or "unknown"] = int(row.number)
    return [ListFigures(name=name, counts=counts) for name, counts in sorted(found.items())]


def _counted(tx: Transaction, services: Services, connection_id: int) -> list[Any]:
    contact, audience = services.tables.contact, services.tables.audience
    some = (
        select(contact.c.audience_id, contact.c.seen_status)
        .where(contact.c.connection_id == connection_id)
        .limit(_COUNTED)
        .subquery()
    )
    return tx.rows(
        select(audience.c.name, some.c.seen_status.label("status"), func.count().label("number"))
        .join(audience, audience.c.id == some.c.audience_id)
        .group_by(audience.c.id, audience.c.name, some.c.seen_status)
    )


# The outcomes that ``inbound`` gives.
_LOOKED, _NOBODY = "looked at", ("nobody here has this address", "not about a person")

#: What the log of webhooks can be narrowed down to.
RING_STATES = ("waiting", "done", "nobody")


def rings(
    services: Services,
    tenant: str,
    limit: int = 20,
    *,
    state: str | None = None,
    before: int | None = None,
) -> list[Ring]:
    """The latest webhooks, newest first; without addresses.

    :param state: one of :data:`RING_STATES`; None: all.
    :param before: only those with a smaller id.
    """
    events, audience = services.tables.webhook_event, services.tables.audience
    outcome = events.c.outcome
    narrowed: dict[str, list[Any]] = {
        "waiting": [outcome.is_(None)],
        "done": [outcome == _LOOKED],
        "nobody": [outcome.in_(_NOBODY)],
    }
    where = narrowed.get(state or "", [])
    if before is not None:
        where.append(events.c.id < before)
    with services.begin() as tx:
        connection = overviews.find(tx, services, tenant)
        if connection is None:
            return []
        lists = tx.rows(select(audience).where(audience.c.connection_id == connection.id))
        found: list[tuple[Any, str]] = []
        for row in lists:  # each by itself is read from an index, and no further than needed
            newest = select(events).where(events.c.audience_id == row.id, *where)
            newest = newest.order_by(events.c.id.desc()).limit(limit)
            found += [(event, row.name) for event in tx.rows(newest)]
        found = sorted(found, key=lambda one: -one[0].id)[:limit]
        pairs = {(e.audience_id, e.new_address or e.address) for e, _ in found}
        pairs = {(audience_id, address) for audience_id, address in pairs if address}
        owners = contacts.owners(tx, services, pairs)
        known = contacts.find(tx, services, pairs)
    return [_ring(event, name, owners, known) for event, name in found]


def _ring(row: Any, list_name: str, owners: Any, known: Any) -> Ring:
    pair = (row.audience_id, row.new_address or row.address)
    return Ring(
        id=row.id,
        received_at=utc(row.received_at),
        fired_at=utc(row.fired_at),
        list_name=list_name,
        kind=row.type,
        verified=row.verified,
        outcome=row.outcome,
        about_a_person=pair[1] is not None,
        customer_keys=tuple(owner.customer_key for owner in owners.get(pair, [])),
        read_at=known[pair].seen_at if pair in known else None,
    )


def latest(services: Services, tenant: str, limit: int = 10) -> list[Latest]:
    """The newest decisions, whoever made them."""
    table = services.tables.decision
    with services.begin() as tx:
        rows = tx.rows(
            select(table).where(table.c.tenant == tenant).order_by(table.c.id.desc()).limit(limit)
        )
    return [
        Latest(
            customer_key=row.customer_key,
            value=row.value,
            source=row.source,
            recorded_at=utc(row.recorded_at),
        )
        for row in rows
    ]
