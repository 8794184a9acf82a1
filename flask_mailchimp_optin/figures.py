"""Figures for the activity page: members by status, decisions by day, the latest rings and decisions.

Reads only, and bounded: no query here grows with the number of customers without a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import case, func, literal, select

from . import contacts, overviews, runs
from .models import utc
from .services import Services, Transaction

#: Beyond this many contacts, or decisions, a page does not count them.
_COUNTED = 200_000
_DECISIONS = 50_000
_SYNCS = 1000  # that a curve is drawn through, at most
_SOURCES = 5  # as many as can be told apart in a picture


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many customers said yes and no."""

    yes: int = 0
    no: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(yes=self.yes + other.yes, no=self.no + other.no)


@dataclass(frozen=True, kw_only=True)
class Day:
    """How many customers said yes and no on one day (UTC).

    :param by: by source; "" for the sources that are not among the largest.
    """

    day: date
    by: dict[str, Count]

    @property
    def all(self) -> Count:
        """Whatever the source."""
        return sum(self.by.values(), Count())


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Who said yes and no, day by day, oldest first, today included.

    :param sources: with their sums, the largest first; "" for the others comes last.
    :param since: the first day that is counted in full, if there were too many to count them all.
    """

    days: list[Day]
    sources: dict[str, Count]
    since: date | None

    @property
    def all(self) -> Count:
        """Of all days."""
        return sum(self.sources.values(), Count())


@dataclass(frozen=True, kw_only=True)
class Subscribed:
    """How many addresses were subscribed on one day (UTC), after its last sync or by now."""

    day: date
    number: int


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
    :param answered_at: when it was worked off.
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
    answered_at: datetime | None
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


def decisions(services: Services, tenant: str, number: int = 30) -> Decisions:
    """Yes and no by day and source for the last days."""
    starts = _starts(services, number)
    table = services.tables.decision
    newest = (
        select(table.c.recorded_at, table.c.value, table.c.source)
        .where(table.c.tenant == tenant, table.c.recorded_at >= starts[0])
        .order_by(table.c.recorded_at.desc())
        .limit(_DECISIONS)
        .subquery()
    )
    which = _which(newest.c.recorded_at, starts, 0, number - 1).label("day")
    rows = select(which, newest.c.value, newest.c.source).subquery()
    query = select(rows.c.day, rows.c.value, rows.c.source, func.count().label("number"))
    with services.begin() as tx:
        found = tx.rows(query.group_by(rows.c.day, rows.c.value, rows.c.source))
    by_day: list[dict[str, Count]] = [{} for _ in starts]
    sources: dict[str, Count] = {}
    for row in found:
        count = Count(yes=row.number) if row.value else Count(no=row.number)
        for by in (by_day[int(row.day)], sources):
            by[row.source] = by.get(row.source, Count()) + count
    shown = sorted(sources, key=lambda source: (-sources[source].yes - sources[source].no, source))
    shown = shown[: _SOURCES if len(shown) == _SOURCES else _SOURCES - 1]
    since = None
    if sum(row.number for row in found) >= _DECISIONS:
        since = starts[min(int(row.day) for row in found)].date() + timedelta(days=1)
    return Decisions(
        days=[
            Day(day=start.date(), by=_merged(by, shown))
            for start, by in zip(starts, by_day, strict=True)
        ],
        sources=_merged(sources, shown),
        since=since,
    )


def _starts(services: Services, number: int) -> list[datetime]:
    """When each of the last days began."""
    today = services.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return [today - timedelta(days=back) for back in range(number - 1, -1, -1)]


def _which(column: Any, starts: list[datetime], first: int, last: int) -> Any:
    """The SQL expression for the number of a day, by halves.

    Instead of a date function: each database has another one, and its own zone.
    """
    if first == last:
        return literal(first)
    middle = (first + last + 1) // 2
    before = _which(column, starts, first, middle - 1)
    return case((column < starts[middle], before), else_=_which(column, starts, middle, last))


def _merged(by: dict[str, Count], shown: list[str]) -> dict[str, Count]:
    """The sources that are shown, in their order, and all others as one."""
    merged = {source: by[source] for source in shown if source in by}
    others = [count for source, count in by.items() if source not in shown]
    return merged | ({"": sum(others, Count())} if others else {})


def subscribed(
    services: Services, tenant: str, number: int = 30, now: list[ListFigures] | None = None
) -> list[Subscribed]:
    """How many were subscribed after the last sync of each day; days without one are left out.

    :param now: how the addresses stand now, if they were counted.
    """
    table = services.tables.sync_run
    with services.begin() as tx:
        connection = overviews.find(tx, services, tenant)
        if connection is None:
            return []
        rows = tx.rows(
            select(table.c.finished_at, table.c.subscribed)
            .where(
                table.c.connection_id == connection.id,
                table.c.state == runs.DONE,
                table.c.finished_at >= _starts(services, number)[0],
                table.c.subscribed.isnot(None),
            )
            .order_by(table.c.id.desc())
            .limit(_SYNCS)
        )
    found = {utc(row.finished_at).date(): int(row.subscribed) for row in reversed(rows)}
    if now:
        found[services.now().date()] = sum(one.counts.get("subscribed", 0) for one in now)
    return [Subscribed(day=day, number=number) for day, number in sorted(found.items())]


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
    kind: str | None = None,
    until: datetime | None = None,
    before: int | None = None,
) -> list[Ring]:
    """The latest webhooks, newest first; without addresses.

    :param state: one of :data:`RING_STATES`; None: all.
    :param kind: Mailchimp's word for what happened, such as ``unsubscribe``; None: all.
    :param until: only those that were received before, aware UTC.
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
    if kind is not None:
        where.append(events.c.type == kind)
    if until is not None:
        where.append(events.c.received_at < until)
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
        answered_at=utc(row.answered_at),
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
