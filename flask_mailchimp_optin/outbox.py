"""The outbox: what the host's transactions said of customers, until a worker absorbs it. Journey out.

A row holds the changes of one flush, up to 500 of them, so that a large commit costs the host a few
inserts and not thousands. The decisions among them reach the ledger when the row is taken out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import Row, and_, delete, exists, func, insert, or_, select

from .addresses import canonical_or_none
from .ledger import Facts
from .models import utc
from .services import Services, Transaction, chunks

#: Changes in one row, and about as many in one transaction that takes them out.
LIMIT = 500
#: What may be a list's id; a host's column may hold any text.
_LIST = re.compile(r"[\w-]{1,40}", re.ASCII)
#: As often more rows of the same customers are looked for, before a no waits for its turn.
_FAR = 4


class Change(NamedTuple):
    """What happened to one customer.

    :param value: the decision that was made, None for another change.
    :param previous: the box before.
    :param is_new: an inserted row, whose key a deleted customer may have had.
    :param email: the address at that time, as the host's row has it.
    :param own_list: the customer's own list at that time; None: the master list, or not known.
    """

    key: str
    value: bool | None = None
    previous: bool | None = None
    is_new: bool = False
    email: str | None = None
    own_list: str | None = None


class Noted(NamedTuple):
    """A change as it is read from the outbox.

    :param tenant: None: not known at the time of writing.
    :param facts: who decided; None: the ledger has this decision already.
    """

    tenant: str | None
    change: Change
    at: datetime
    facts: Facts | None

    @property
    def said(self) -> bool | None:
        """The decision, if it has a time: the yes on a new row has one if somebody is named for it."""
        timeless = self.change.is_new and self.facts is not None and not self.facts.named
        return None if timeless else self.change.value


# Written, in the host's transaction or one of ours


def rows(
    tenant: str | None, changes: Iterable[Change], at: datetime, facts: Facts | None
) -> list[dict[str, Any]]:
    """The rows of the table for these changes.

    :param facts: who decided; None: the ledger has what was decided already.
    """
    head = None if facts is None else {n: v for n, v in vars(facts).items() if v is not None}
    if head is not None and facts is not None and facts.at is not None:
        head["at"] = facts.at.isoformat()
    made = []
    for some in chunks(changes, LIMIT):
        made.append(
            {
                "tenant": tenant,
                "customer_key": some[0].key if len(some) == 1 else None,
                "number": len(some),
                "has_no": any(change.value is False for change in some),
                # Most say no more than the key.
                "changes": json.dumps([head, [_short(change) for change in some]]),
                "created_at": at,
            }
        )
    return made


def _short(change: Change) -> tuple[Any, ...]:
    return change[:1] if change.value is None and not change.is_new else change


def everybody(at: datetime) -> dict[str, Any]:
    """The row that says: look at every customer."""
    return {"number": 1, "has_no": False, "created_at": at}


def look_at(tx: Transaction, services: Services, tenant: str, keys: Iterable[str]) -> int:
    """Have a worker look at these customers; how many."""
    changes = [Change(key) for key in keys]
    tx.execute(insert(services.tables.outbox), rows(tenant, changes, services.now(), None))
    return len(changes)


# Read


def unpack(row: Row[Any]) -> list[Noted]:
    """The changes of a row; none if it says "look at every customer"."""
    if row.changes is None:
        return []
    head, changes = json.loads(row.changes)
    facts = None
    if head is not None:
        at = head.pop("at", None)
        facts = Facts(**head, at=datetime.fromisoformat(at) if at else None)
    at = utc(row.created_at)
    return [Noted(row.tenant, Change(*change), at, facts) for change in changes]


def oldest(tx: Transaction, services: Services, tenant: str) -> list[Row[Any]]:
    """The rows to absorb next, in their order: about 500 changes of this tenant's or of nobody's.

    A no goes ahead of everything, together with all else that waits of the same customers.
    """
    nos, rows = _first(tx, services, tenant, nos=True), _first(tx, services, tenant)
    # Another tenant's worker may have taken nobody's rows out between the two.
    if not nos or not rows or nos[0].id == rows[0].id:
        return rows
    return _with_all_of_theirs(tx, services, tenant, nos) or rows


def _first(
    tx: Transaction, services: Services, tenant: str, *, nos: bool = False
) -> list[Row[Any]]:
    table = services.tables.outbox
    found = []
    for whose in (table.c.tenant == tenant, table.c.tenant.is_(None)):
        query = select(table.c.id, table.c.number).where(whose).order_by(table.c.id).limit(LIMIT)
        found += tx.rows(query.where(table.c.has_no.is_(True)) if nos else query)
    ids, number = [], 0
    for row in sorted(found):
        if number >= LIMIT:
            break
        ids.append(row.id)
        number += row.number
    return tx.rows(select(table).where(table.c.id.in_(ids)).order_by(table.c.id))


def _with_all_of_theirs(
    tx: Transaction, services: Services, tenant: str, some: list[Row[Any]]
) -> list[Row[Any]] | None:
    """These rows and all others of the same customers; None if that drags in ever more.

    What many changed at once, after the last of them, may wait for its turn: of a million who say no,
    each batch would have to read all the others. Of who came from another tenant, what waits there is
    left to that one.
    """
    taken = {row.id: row for row in some}
    for _ in range(_FAR):
        keys = {noted.change.key for row in taken.values() for noted in unpack(row)}
        about = (row for row, _ in _about(tx, services, keys, until=max(taken)))
        more = {row.id: row for row in about if row.tenant in (tenant, None)}
        if more.keys() <= taken.keys():
            return [taken[id_] for id_ in sorted(taken)]
        taken |= more
    return None


def _about(
    tx: Transaction, services: Services, keys: Iterable[str], until: int | None = None
) -> Iterator[tuple[Row[Any], list[Noted]]]:
    """The rows that say something of these customers, each with what it says of them.

    :param until: rows of several customers are left out after this one.
    """
    table, wanted = services.tables.outbox, set(keys)
    if tx.value(select(func.min(table.c.id))) is None:
        return  # as nearly always
    rows = list[Row[Any]]()
    for chunk in chunks(wanted):
        rows += tx.rows(select(table).where(table.c.customer_key.in_(chunk)))
    several = and_(table.c.customer_key.is_(None), table.c.changes.isnot(None))
    if until is not None:
        several &= table.c.id <= until
    for row in chain(rows, tx.rows(select(table).where(several))):
        said = [noted for noted in unpack(row) if noted.change.key in wanted]
        if said:
            yield row, said


def changed(tx: Transaction, services: Services, keys: Iterable[str]) -> set[str]:
    """Those of these customers who have changed since they were looked at."""
    return {noted.change.key for _, said in _about(tx, services, keys) for noted in said}


def everybody_waits(tx: Transaction, services: Services) -> bool:
    """Whether a row waits that says "look at every customer"."""
    table = services.tables.outbox
    everybody_ = and_(table.c.customer_key.is_(None), table.c.changes.is_(None))
    return tx.value(select(table.c.id).where(everybody_).limit(1)) is not None


# Taken out


def take(
    tx: Transaction, services: Services, some: list[Row[Any]], *, alone: bool = True
) -> list[Row[Any]]:
    """Out of the outbox with these rows, and what was decided in them into the ledger.

    :param alone: nobody else takes this tenant's rows just now.
    :returns: the rows that nobody else has taken meanwhile.
    """
    table = services.tables.outbox
    ours = [row for row in some if alone and row.tenant is not None]
    for chunk in chunks([row.id for row in ours]):
        tx.execute(delete(table).where(table.c.id.in_(chunk)))
    ids = {row.id for row in ours}
    for row in some:
        if row.id not in ids and tx.execute(delete(table).where(table.c.id == row.id)):
            ids.add(row.id)
    taken = [row for row in some if row.id in ids]
    tx.execute(
        insert(services.tables.decision),
        [
            decision(noted.tenant, noted.change, noted.facts, noted.at)
            for row in taken
            for noted in unpack(row)
            if noted.facts is not None and noted.change.value is not None
        ],
    )
    return taken


def decision(tenant: str | None, change: Change, facts: Facts, at: datetime) -> dict[str, Any]:
    """The ledger's row for a decision.

    :param at: when it was captured.
    """
    return {
        "tenant": tenant or "",
        "customer_key": change.key,
        "address": canonical_or_none(change.email),
        "list_id": change.own_list if _LIST.fullmatch(change.own_list or "") else None,
        "value": change.value,
        "previous": change.previous,
        "decided_at": facts.at or at,
        "recorded_at": at,
        "actor": facts.actor,
        "source": facts.source,
        "page": facts.page,
        "wording": facts.wording,
        "ip": facts.ip,
    }


def decisions(tx: Transaction, services: Services, key: str) -> list[dict[str, Any]]:
    """The decisions of a customer that are not in the ledger yet, as its rows; oldest first."""
    about = sorted(_about(tx, services, [key]), key=lambda found: found[0].id)
    return [
        decision(noted.tenant, noted.change, noted.facts, noted.at)
        for _, said in about
        for noted in said
        if noted.facts is not None and noted.change.value is not None
    ]


def take_of_nobody(tx: Transaction, services: Services) -> bool:
    """Out with changes of tenants without a connection; whether there were any.

    The ledger keeps the decisions, and a first sync will find the rest.
    """
    table, connection = services.tables.outbox, services.tables.connection
    theirs = exists().where(connection.c.tenant == table.c.tenant)
    nobodys = or_(and_(table.c.tenant.isnot(None), ~theirs), ~select(connection.c.id).exists())
    some = tx.rows(select(table).where(nobodys).order_by(table.c.id).limit(LIMIT))
    take(tx, services, some, alone=False)
    return bool(some)
