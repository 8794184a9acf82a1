"""A sync's first phase: all customers, as the host's rows say now, are looked at. Journey out.

Of nearly everybody there is nothing new, and nothing is written. Whoever is missing was deleted past the
listeners; whether anybody is, the number and the sum of our records' ids tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, func, or_, select

from . import outbox, runs
from .customers import Seen, as_they_were, observe
from .lease import Lease
from .mapping import Snapshot
from .models import utc
from .services import Services, Transaction
from .wants import ALL, NOTHING, House, house_of

_CHUNK = 1000  # customers in one transaction


@dataclass(frozen=True, kw_only=True)
class Found:
    """Some customers, as a walk came by them.

    :ivar customers: the connection's own, by their key and in its order.
    :ivar new: the keys of those whom we have no record of.
    :ivar others: the keys of all of whom there is something new.
    :ivar ids: the ids of our records of them.
    """

    house: House
    customers: Mapping[str, Snapshot]
    new: Set[str]
    others: Set[str]
    ids: list[int]


def step(services: Services, lease: Lease, connection: Row[Any], run_id: int) -> bool:
    """Look at the next customers, then for those who are missing; whether there are more."""

    def work(tx: Transaction) -> bool:
        lease.hold(tx, services)
        run = runs.current(tx, services, connection.id)
        if run is None or run.id != run_id:
            return False  # cancelled meanwhile
        cursor = json.loads(run.cursor or "{}")
        if "missing" in cursor:
            return _miss(tx, services, connection, run, *cursor["missing"])
        if "after" not in cursor:
            customers = services.mapping.count(tx.session, connection.tenant)
            cursor |= {"after": None} | begin(tx, services, run, customers)
        page = services.mapping.page(tx.session, connection.tenant, cursor["after"], _CHUNK)
        found = find(tx, services, connection, page)
        look(tx, services, run, found, found.customers)
        count(cursor, found.ids)
        done = run.customers_done + len(page)
        if len(page) == _CHUNK:
            cursor["after"] = page[-1].key
            runs.advance(tx, services, run, cursor, customers_done=done)
            return True
        runs.change(tx, services, run.id, customers=done, customers_done=done)
        return end(tx, services, connection, run, cursor)

    return services.transact(work)


def begin(tx: Transaction, services: Services, run: Row[Any], customers: int) -> dict[str, Any]:
    """What a walk over so many customers keeps in its cursor, to know in the end who is missing."""
    runs.change(tx, services, run.id, customers=customers, phase_at=services.now())
    last = tx.value(select(func.max(services.tables.customer.c.id)))
    return {"last": int(last or 0), "known": [0, 0]}


def count(cursor: dict[str, Any], ids: list[int]) -> None:
    """These records of ours have been come by: their number and the sum of their ids."""
    known = [id_ for id_ in ids if id_ <= cursor["last"]]
    cursor["known"] = [cursor["known"][0] + len(known), cursor["known"][1] + sum(known)]


def find(tx: Transaction, services: Services, connection: Row[Any], page: list[Snapshot]) -> Found:
    """These customers, and what we know of them."""
    mine = {s.key: s for s in page if s.tenant == connection.tenant}
    house = house_of(tx, services, connection)
    same, known, ids = as_they_were(tx, services, house, mine)
    others = mine.keys() - same
    return Found(house=house, customers=mine, new=others - known, others=others, ids=ids)


def look(
    tx: Transaction,
    services: Services,
    run: Row[Any],
    found: Found,
    customers: Mapping[str, Snapshot],
) -> None:
    """Look at those of these customers of whom something new was found.

    :param customers: as their rows say in this transaction.
    """
    # Of who changed just now their own outbox row will speak.
    others = found.others & customers.keys()
    others -= outbox.changed(tx, services, others)
    seen = {key: Seen(at=utc(run.started_at)) for key in customers if key in others}
    # What a sync finds is counted before it is sent; a bulk write's walk sends at once.
    release = ALL if run.kind == "walk" else NOTHING
    observe(tx, services, found.house, seen, customers=customers, release=release)


def end(
    tx: Transaction,
    services: Services,
    connection: Row[Any],
    run: Row[Any],
    cursor: dict[str, Any],
) -> bool:
    """All have been looked at: the next phase, unless some are missing; whether there is more to do."""
    if _is_complete(tx, services, connection, cursor["last"], cursor["known"]):
        runs.next_phase(tx, services, run)
        if "nobody_at" in cursor:
            runs.advance(tx, services, run, {"nobody_at": cursor["nobody_at"]})
        return False
    runs.advance(tx, services, run, {"missing": [None, 0]})
    return True


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
