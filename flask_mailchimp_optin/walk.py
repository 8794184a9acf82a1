"""A sync's first phase: all customers, as the host's rows say now, are looked at. Journey out.

Of nearly everybody there is nothing new, and nothing is written. Whoever is missing was deleted past the
listeners; whether anybody is, the number and the sum of our records' ids tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from sqlalchemy import Row, and_, func, or_, select

from . import outbox, runs
from .client import LARGEST_BATCH
from .customers import Seen, as_they_were, observe
from .lease import Lease
from .mapping import Snapshot
from .models import utc
from .services import Services, Transaction
from .wants import ALL, NOTHING, House, house_of

_CHUNK = 1000  # customers in one transaction


class Newcomers(Protocol):
    """Takes care of customers whom we have no record of."""

    def begin(self) -> None:
        """A transaction begins, perhaps again."""

    def take(self, tx: Transaction, house: House, new: Mapping[str, Snapshot]) -> set[str]:
        """The keys of those whom it took care of."""


def step(
    services: Services,
    lease: Lease,
    connection: Row[Any],
    run_id: int,
    newcomers: Newcomers | None = None,
) -> bool:
    """Look at the next customers, then for those who are missing; whether there are more.

    :param newcomers: they are told at once: so many customers as one call takes.
    """
    limit = _CHUNK if newcomers is None else LARGEST_BATCH

    def work(tx: Transaction) -> bool:
        if newcomers is not None:
            newcomers.begin()
        lease.hold(tx, services)
        run = runs.current(tx, services, connection.id)
        if run is None or run.id != run_id:
            return False  # cancelled meanwhile
        cursor = json.loads(run.cursor or "{}")
        if "missing" in cursor:
            return _miss(tx, services, connection, run, *cursor["missing"])
        if "after" not in cursor:
            cursor |= {"after": None, "last": _last_record(tx, services), "known": [0, 0]}
            count = services.mapping.count(tx.session, connection.tenant)
            runs.change(tx, services, run.id, customers=count, phase_at=services.now())
        page = services.mapping.page(tx.session, connection.tenant, cursor["after"], limit)
        known = _observe(tx, services, connection, run, page, newcomers)
        cursor["known"] = _sums(cursor["known"], [id_ for id_ in known if id_ <= cursor["last"]])
        done = run.customers_done + len(page)
        if len(page) == limit:
            cursor["after"] = page[-1].key
            runs.advance(tx, services, run, cursor, customers_done=done)
            return True
        runs.change(tx, services, run.id, customers=done, customers_done=done)
        if _is_complete(tx, services, connection, cursor["last"], cursor["known"]):
            runs.next_phase(tx, services, run)
            if "nobody_at" in cursor:
                runs.advance(tx, services, run, {"nobody_at": cursor["nobody_at"]})
            return False
        runs.advance(tx, services, run, {"missing": [None, 0]})
        return True

    return services.transact(work)


def _observe(
    tx: Transaction,
    services: Services,
    connection: Row[Any],
    run: Row[Any],
    page: list[Snapshot],
    newcomers: Newcomers | None,
) -> list[int]:
    """Look at these customers; the ids of the records that there were of them."""
    mine = {s.key: s for s in page if s.tenant == connection.tenant}
    house = house_of(tx, services, connection)
    same, known, ids = as_they_were(tx, services, house, mine)
    # Of who changed just now their own outbox row will speak.
    others = mine.keys() - same
    others -= outbox.changed(tx, services, others)
    if newcomers is not None:
        new = others - known
        others -= newcomers.take(tx, house, {key: mine[key] for key in mine if key in new})
    seen = {key: Seen(at=utc(run.started_at)) for key in mine if key in others}
    # What a sync finds is counted before it is sent; a bulk write's walk sends at once.
    release = ALL if run.kind == "walk" else NOTHING
    observe(tx, services, house, seen, customers=mine, release=release)
    return ids


def _last_record(tx: Transaction, services: Services) -> int:
    return int(tx.value(select(func.max(services.tables.customer.c.id))) or 0)


def _sums(before: list[int], ids: list[int]) -> list[int]:
    return [before[0] + len(ids), before[1] + sum(ids)]


def _is_complete(
    tx: Transaction, services: Services, connection: Row[Any], last: int, known: list[int]
) -> bool:
    """Whether a walk came by everybody whom we had a record of: number and sum of the ids tell."""
    table = services.tables.customer
    query = select(func.count(), func.coalesce(func.sum(table.c.id), 0))
    found = tx.row(query.where(table.c.connection_id == connection.id, table.c.id <= last))
    return found is not None and [int(value) for value in found] == known


def _miss(
    tx: Transaction,
    services: Services,
    connection: Row[Any],
    run: Row[Any],
    address: str | None,
    id_: int,
) -> bool:
    """Customers deleted past the listeners: an outbox row each, so that they are looked at.

    Some of our records at a time, first those without an address; whether there are more.
    """
    table = services.tables.customer
    if address is None:
        later = and_(table.c.address.is_(None), table.c.id > id_)
    else:
        later = and_(table.c.address >= address, or_(table.c.address > address, table.c.id > id_))
    rows = tx.rows(
        select(table.c.id, table.c.customer_key, table.c.address)
        .where(table.c.connection_id == connection.id, later)
        .order_by(table.c.address, table.c.id)
        .limit(_CHUNK)
    )
    keys = [row.customer_key for row in rows]
    there = services.mapping.existing(tx.session, keys)
    outbox.look_at(tx, services, connection.tenant, [key for key in keys if key not in there])
    if len(rows) == _CHUNK:
        runs.advance(tx, services, run, {"missing": [rows[-1].address, rows[-1].id]})
    elif address is None:
        runs.advance(tx, services, run, {"missing": ["", 0]})
    else:
        runs.next_phase(tx, services, run)
        return False
    return True
