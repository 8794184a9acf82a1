"""Who needs attention: contacts that Mailchimp refused, and customers whose row can't be sent.

Reads only, a page at a time, in the order of reason and id: whoever is helped meanwhile moves nobody
else to another page. For the pages and the commands.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, and_, false, func, or_, select

from . import contacts, overviews, reasons
from .addresses import canonical_or_none
from .models import utc
from .services import Services, Transaction

_AT_ONCE = 500  # rows of a download, in one transaction
_SHOWN = {
    *("id", "audience_id", "address"),
    *("refusal", "refusal_text", "refused_at"),
    *("customer_key", "problem", "seen_at"),
}
_LONGEST = 254  # that an address or a key can be


@dataclass(frozen=True, kw_only=True)
class Attention:
    """A customer whose wish could not be carried out.

    :param place: where they stand among all, for the page after or before.
    :param contact_id: for a retry; None where the customer's row itself is the problem.
    :param reason: a short word for grouping.
    :param text: why, in plain words.
    :param way_out: what can be done about it, if the text doesn't say.
    :param link: an address that helps, such as the list's sign-up form.
    """

    place: str
    contact_id: int | None
    customer_keys: tuple[str, ...]
    address: str | None
    list_name: str | None
    reason: str
    text: str
    way_out: str | None
    link: str | None
    since: datetime | None


@dataclass(frozen=True, kw_only=True)
class Which:
    """Whom to show.

    :param reason: of this reason only.
    :param search: a part of an address, or a customer's whole key; "": everybody.
    """

    reason: str | None = None
    search: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some of those who need attention.

    :param shares: how many there are of each reason, whatever reason was asked for.
    :param first: the number of the first of :attr:`members` among all that were asked for.
    :param total: how many were asked for.
    :param before: the place to ask for the page before with; None: there is none.
    :param after: likewise.
    """

    members: tuple[Attention, ...] = ()
    shares: dict[str, int]
    first: int = 0
    total: int = 0
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, kw_only=True)
class Group:
    """Customers that need attention for the same reason.

    :param number: how many there are, shown or not.
    """

    reason: str
    number: int
    members: tuple[Attention, ...]


def count(services: Services, tenant: str) -> int:
    """How many need attention."""
    with services.begin() as tx:
        here = _at(tx, services, tenant, "")
        return 0 if here is None else sum(here.shares().values())


def counts(tx: Transaction, services: Services) -> dict[str, int]:
    """How many need attention by reason, of all tenants together."""
    return _counted(tx, services, (), (services.tables.customer.c.opt_in.is_(True),))


def first_of_each(services: Services, tenant: str, size: int) -> list[Group]:
    """A few of every reason."""
    with services.begin() as tx:
        here = _at(tx, services, tenant, "")
        if here is None:
            return []
        return [
            Group(reason=reason, number=number, members=tuple(here.members(reason, size)))
            for reason, number in here.shares().items()
        ]


def page(
    services: Services,
    tenant: str,
    which: Which,
    *,
    after: str | None = None,
    before: str | None = None,
    size: int = 50,
) -> Page:
    """So many of them, from the first on, or after or before a place.

    A place that nobody is after or before, or that makes no sense, is taken for the beginning.
    """
    with services.begin() as tx:
        here = _at(tx, services, tenant, which.search)
        if here is None:
            return Page(shares={})
        shares = here.shares()
        names = [name for name in shares if which.reason in (None, name)]
        found: list[Attention] = []
        if _read(before) is not None:
            found = here.walk(names, _read(before), size, backwards=True)
            found = found if len(found) == size else []
        elif _read(after) is not None:
            found = here.walk(names, _read(after), size)
        found = found or here.walk(names, None, size)
        if not found:
            return Page(shares=shares)
        first = here.number(names, shares, found[0].place)
    total = sum(shares[name] for name in names)
    return Page(
        members=tuple(found),
        shares=shares,
        first=first,
        total=total,
        before=found[0].place if first > 1 else None,
        after=found[-1].place if first + len(found) <= total else None,
    )


def everybody(services: Services, tenant: str, which: Which) -> Iterator[Attention]:
    """All of them, read some at a time: never many at once in memory, or for long in a transaction."""
    place: _Place | None = None
    names: list[str] | None = None
    while True:
        with services.begin() as tx:
            here = _at(tx, services, tenant, which.search)
            if here is None:
                return
            if names is None:
                names = [name for name in here.shares() if which.reason in (None, name)]
            some = here.walk(names, place, _AT_ONCE)
        yield from some
        if len(some) < _AT_ONCE:
            return
        place = _read(some[-1].place)


_Place = tuple[str, int]


def _read(place: str | None) -> _Place | None:
    reason, _, number = (place or "").rpartition(".")
    return (
        (reason, int(number))
        if number.isascii() and number.isdigit() and len(number) < 19
        else None
    )


def _at(tx: Transaction, services: Services, tenant: str, search: str) -> _Here | None:
    connection = overviews.find(tx, services, tenant)
    if connection is None:
        return None
    return _Here(tx=tx, services=services, connection_id=connection.id, search=_cleaned(search))


def _cleaned(search: str) -> str:
    """Without what no database takes."""
    return search.replace("\0", "").encode("utf-8", "replace").decode().strip()


@dataclass(frozen=True, kw_only=True)
class _Here:
    """One connection's, as far as a search finds them."""

    tx: Transaction
    services: Services
    connection_id: int
    search: str

    def shares(self) -> dict[str, int]:
        """How many by reason, in the order of the reasons."""
        return _counted(self.tx, self.services, self._refused(), self._ticked())

    def members(
        self, reason: str, size: int, place: int | None = None, *, backwards: bool = False
    ) -> list[Attention]:
        """So many of one reason, in their order, or away from it."""
        table, where = self._of(reason)
        audiences = self.services.tables.audience
        if place is not None:
            where = (*where, table.c.id < place if backwards else table.c.id > place)
        order = [table.c[name] for name in ("refusal", "id") if name in table.c]
        rows = self.tx.rows(
            select(
                *(column for column in table.c if column.name in _SHOWN),
                audiences.c.name.label("list_name"),
                audiences.c.subscribe_url,
            )
            .outerjoin(audiences, audiences.c.id == table.c.audience_id)
            .where(*where)
            .order_by(*(column.desc() if backwards else column for column in order))
            .limit(size)
        )
        if reason in reasons.OURS:
            return [_problem(row, reason) for row in rows]
        owners = contacts.owners(
            self.tx, self.services, [(row.audience_id, row.address) for row in rows]
        )
        return [_refusal(row, owners.get((row.audience_id, row.address), [])) for row in rows]

    def walk(
        self, names: list[str], place: _Place | None, size: int, *, backwards: bool = False
    ) -> list[Attention]:
        """So many of these reasons, after or before a place, in their order."""
        found: list[Attention] = []
        for name in reversed(names) if backwards else names:
            start = None
            if place is not None:
                if name > place[0] if backwards else name < place[0]:
                    continue
                start = place[1] if name == place[0] else None
            found += self.members(name, size - len(found), start, backwards=backwards)
            if len(found) >= size:
                break
        return found[::-1] if backwards else found

    def number(self, names: list[str], shares: dict[str, int], place: str) -> int:
        """Which one of all it is that stands at this place, beginning with 1."""
        reason, row_id = _read(place) or ("", 0)
        table, where = self._of(reason)
        inside = self.tx.value(select(func.count()).where(*where, table.c.id <= row_id))
        return sum(shares[name] for name in names if name < reason) + int(inside or 0)

    def _of(self, reason: str) -> tuple[Table, tuple[ColumnElement[bool], ...]]:
        tables = self.services.tables
        problem, erased_at = tables.customer.c.problem, tables.customer.c.erased_at
        if reason == reasons.CUSTOMER:
            return tables.customer, (*self._ticked(), problem.isnot(None))
        if reason == reasons.ERASED:
            return tables.customer, (*self._ticked(), problem.is_(None), erased_at.isnot(None))
        # As a range: for one value, PostgreSQL would rather read all contacts in the order of their ids.
        return tables.contact, (*self._refused(), tables.contact.c.refusal.between(reason, reason))

    def _refused(self) -> tuple[ColumnElement[bool], ...]:
        table, customers = self.services.tables.contact, self.services.tables.customer
        ours = table.c.connection_id == self.connection_id
        if not self.search:
            return (ours,)
        their = select(customers.c.audience_id, customers.c.address)
        owner = self.tx.row(
            their.where(
                customers.c.customer_key == self.search,
                customers.c.connection_id == self.connection_id,
            )
        )
        like = self._like(table)
        if owner is not None and owner.address and len(self.search) <= _LONGEST:
            is_theirs = table.c.audience_id == owner.audience_id, table.c.address == owner.address
            like = or_(like, and_(*is_theirs))
        return ours, like

    def _ticked(self) -> tuple[ColumnElement[bool], ...]:
        table = self.services.tables.customer
        ours = table.c.connection_id == self.connection_id, table.c.opt_in.is_(True)
        if not self.search:
            return ours
        return *ours, or_(self._like(table), table.c.customer_key == self.search)

    def _like(self, table: Table) -> ColumnElement[bool]:
        """Addresses are canonical: so is what is looked for, as far as a part can be."""
        if len(self.search) > _LONGEST:
            return false()
        part = canonical_or_none(self.search)
        part = part or unicodedata.normalize("NFC", self.search.lower())
        found: ColumnElement[bool] = table.c.address.contains(part, autoescape=True)
        return found


def _counted(
    tx: Transaction,
    services: Services,
    refused: tuple[ColumnElement[bool], ...],
    ticked: tuple[ColumnElement[bool], ...],
) -> dict[str, int]:
    """How many by reason, in the order of the reasons.

    :param refused: SQL conditions for the contacts that count.
    :param ticked: and for the customers.
    """
    table, customers = services.tables.contact, services.tables.customer
    by_reason = (
        select(table.c.refusal, func.count().label("number"))
        .where(*refused, table.c.refusal.isnot(None))
        .group_by(table.c.refusal)
    )
    found = {row.refusal: int(row.number) for row in tx.rows(by_reason)}
    cannot_be_sent = or_(customers.c.problem.isnot(None), customers.c.erased_at.isnot(None))
    counted = select(func.count(customers.c.problem), func.count())
    row: Any = tx.row(counted.where(*ticked, cannot_be_sent))
    problems, both = row
    found |= {reasons.CUSTOMER: problems, reasons.ERASED: both - problems}
    return {reason: found[reason] for reason in sorted(found) if found[reason]}


def _refusal(row: Row[Any], owners: list[Row[Any]]) -> Attention:
    text = reasons.refused(row.refusal, row.refusal_text)
    way_out = reasons.WAYS_OUT.get(reasons.ALSO.get(row.refusal, row.refusal))
    return Attention(
        place=f"{row.refusal}.{row.id}",
        contact_id=row.id,
        customer_keys=tuple(owner.customer_key for owner in owners),
        address=row.address,
        list_name=row.list_name,
        reason=row.refusal,
        text=text,
        way_out=None if way_out is None or way_out in text else way_out,
        link=reasons.link(row.refusal, row.subscribe_url),
        since=utc(row.refused_at),
    )


def _problem(row: Row[Any], reason: str) -> Attention:
    erased = reason == reasons.ERASED
    return Attention(
        place=f"{reason}.{row.id}",
        contact_id=None,
        customer_keys=(row.customer_key,),
        address=row.address,
        list_name=row.list_name if erased else None,
        reason=reason,
        text=reasons.TEXTS[reason] if erased else row.problem,
        way_out=reasons.WAYS_OUT[reason] if erased else None,
        link=reasons.link(reason, row.subscribe_url),
        since=utc(row.seen_at),
    )
