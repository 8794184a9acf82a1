"""Figures for the activity page: members by status, decisions by day, the latest rings and decisions.

Reads only, and bounded: no query here grows with the number of customers without a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import case, func, select

from . import overviews
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
    """One received webhook.

    :param outcome: what came of it; None: not worked off yet.
    """

    received_at: datetime
    list_name: str
    kind: str
    verified: str
    outcome: str | None


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


def rings(services: Services, tenant: str, limit: int = 20) -> list[Ring]:
    """The latest webhooks, newest first; without addresses."""
    events, audience = services.tables.webhook_event, services.tables.audience
    connection = services.tables.connection
    with services.begin() as tx:
        rows = tx.rows(
            select(events, audience.c.name.label("list_name"))
            .join(audience, audience.c.id == events.c.audience_id)
            .join(connection, connection.c.id == audience.c.connection_id)
            .where(connection.c.tenant == tenant)
            .order_by(events.c.id.desc())
            .limit(limit)
        )
    return [
        Ring(
            received_at=utc(row.received_at),
            list_name=row.list_name,
            kind=row.type,
            verified=row.verified,
            outcome=row.outcome,
        )
        for row in rows
    ]


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
