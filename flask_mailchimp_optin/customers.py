"""Our records of customers, brought in line with their rows as they say now. Journey out, and syncs.

What of it concerns an address, its contact and its other owners is the business of ``wants``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from sqlalchemy import Row, and_, delete, func, insert, select

from . import contacts, erasures, inbound, memory, outbox
from .consent import latest
from .mapping import Snapshot
from .memory import Contact
from .models import utc
from .services import WAKE, Services, Transaction, chunks
from .wants import ALL, House, Wants, counts


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the outbox says of one customer.

    :param decisions: ``(yes or no, when)`` as captured.
    :param at: when the last change was written; None for a walk over all customers.
    :param before: another customer's decisions, who had the same key and is gone; None for none.
    """

    decisions: tuple[tuple[bool, datetime], ...] = ()
    at: datetime
    before: tuple[tuple[bool, datetime], ...] | None = None


def observe(
    tx: Transaction,
    services: Services,
    house: House,
    seen: Mapping[str, Seen],
    *,
    customers: Mapping[str, Snapshot] | None = None,
    release: str = ALL,
) -> None:
    """Bring our records in line with these customers as their rows say now.

    :param customers: them, if they were just read.
    :param release: what of it may be settled at once: ``all``, ``nos`` or ``nothing``.
    """
    if not seen:
        return
    captured = customers is None
    if customers is None:
        customers = services.mapping.snapshots(tx.session, seen)
    known = contacts.records(tx, services, list(seen))
    others = _others(tx, services, house, seen, customers, known)
    seen = {key: what for key, what in seen.items() if key not in others}
    erased = _erased(tx, services, house, seen, customers, known)
    leaving = _leaving(house, customers, known)
    before = contacts.find(tx, services, leaving)
    look = _Look(tx, services, house, erased, before, captured=captured)
    earlier = _earlier_decisions(tx, services, [k for k in seen if k not in known])
    for key, what in others.items():
        if not look.is_ours(known.get(key)):
            continue
        # Whoever is another tenant's new customer may have the key of one who was deleted here.
        if what.before is None:
            look.leaves(known[key])
        else:
            look.goes(known[key], what.at)
    for key, what in seen.items():
        if key in customers:
            look.at(customers[key], what, known.get(key), earlier.get(key))
        else:
            look.goes(known.get(key), what.at)
    look.touch_what_differs()
    look.remember()
    nos = _nos(tx, services, house, seen, known, customers)
    gone = set(look.gone)
    wants = Wants(tx, services, house, release=release, profiles=look.profiles, gone=gone)
    wants.settle(look.touched | set(nos), look.moves, nos)
    inbound.look(tx, services, house.connection_id, look.unheard)
    if house.on_delete == "delete":
        times = {address: at for (_, address), at in look.gone.items()}
        erasures.remember(tx, services, house, times)


def as_they_were(
    tx: Transaction, services: Services, house: House, customers: Mapping[str, Snapshot]
) -> tuple[set[str], set[str], list[int]]:
    """Those of whom a walk finds nothing new; those whom we know; and the ids of our records of them.

    That is nearly everybody, every day: what :func:`observe` would look at is compared at once, and
    nothing is written.
    """
    table, contact = services.tables.customer, services.tables.contact
    theirs = and_(
        contact.c.audience_id == table.c.audience_id, contact.c.address == table.c.address
    )
    names = ("id", "customer_key", "connection_id", *_RECORD, *_UNSURE)
    columns = [*(table.c[name] for name in names), *(contact.c[name] for name in _CONTACT)]
    query = select(*columns).select_from(table.outerjoin(contact, theirs))
    ids: list[int] = []
    same: set[str] = set()
    known: set[str] = set()
    for chunk in chunks(list(customers)):
        for row in tx.rows(query.where(table.c.customer_key.in_(chunk))):
            id_, key, connection_id, *said = tuple(row)
            known.add(key)
            if connection_id == house.connection_id:
                ids.append(id_)
                if _is_same(house, customers[key], *said):
                    same.add(key)
    return same, known, ids


#: What a record and its contact say, in the order of :func:`_is_same`'s parameters.
_RECORD = ("audience_id", "own_list", "address", "opt_in", "decided_at")
_UNSURE = ("problem", "erased_at", "leaves_at")
_CONTACT = ("wanted", "profile", "orphan")


def _is_same(
    house: House,
    snapshot: Snapshot,
    audience_id: int | None,
    own_list: bool,
    address: str | None,
    opt_in: bool | None,
    decided_at: datetime | None,
    *rest: Any,
) -> bool:
    """Whether our record and the contact say what the customer's row says."""
    *unsure, wanted, profile, orphan = rest
    named, problem = house.audience(snapshot)
    return bool(
        (audience_id, own_list, address) == (named, snapshot.list_id is not None, snapshot.address)
        and not (snapshot.problem or problem or orphan or any(unsure))
        and (snapshot.opt_in is None or snapshot.opt_in is opt_in)
        and wanted is (opt_in if counts(opt_in, decided_at, None) else None)
        and (not wanted or profile == snapshot.profile)
    )


class _Look:
    """What a look at some customers finds: our records of them, and the addresses it is about."""

    def __init__(
        self,
        tx: Transaction,
        services: Services,
        house: House,
        erased: Mapping[str, datetime],
        before: Mapping[tuple[int, str], Contact],
        *,
        captured: bool,
    ) -> None:
        """
        :param before: the contacts of those who get another list, in the one that they leave.
        :param captured: a listener saw the customers change; else they are walked over.
        """
        self.tx, self.services, self.house = tx, services, house
        self._erased, self._before, self._captured = dict(erased), before, captured
        self.touched: set[tuple[int, str]] = set()
        self.unheard: set[tuple[int, str]] = set()  # at Mailchimp, before they get another list
        self.gone: dict[tuple[int, str], datetime] = {}  # whose customer was deleted, and when
        self.moves: dict[tuple[int, str], str] = {}
        self.profiles: dict[tuple[int, str], str] = {}
        self._fresh: list[dict[str, Any]] = []
        self._changed: list[dict[str, Any]] = []
        self._settled: dict[tuple[int, str], bool | None] = {}

    def goes(self, record: Row[Any] | None, at: datetime) -> None:
        """The customer was deleted."""
        if self.is_ours(record):  # else it is another tenant's policy
            self.gone |= dict.fromkeys(_pair(record), at)
        self.leaves(record)

    def is_ours(self, record: Row[Any] | None) -> bool:
        """Whether it is this connection that remembers the customer."""
        return record is not None and record.connection_id == self.house.connection_id

    def leaves(self, record: Row[Any] | None) -> None:
        """The customer is no longer this tenant's."""
        self.touched |= _pair(record)
        if record is not None:
            table = self.services.tables.customer
            self.tx.execute(delete(table).where(table.c.id == record.id))

    def at(
        self,
        snapshot: Snapshot,
        what: Seen,
        record: Row[Any] | None,
        earlier: tuple[bool, datetime] | None,
    ) -> None:
        """The customer as their row says now."""
        if snapshot.tenant is None and record is None:
            return  # the mapping can't tell whose they are: nothing of theirs is known here
        if what.before is not None:
            self.goes(record, what.at)
            record = earlier = None
        values = _values(self.tx, self.services, self.house, snapshot, what, record, earlier)
        values["erased_at"] = self._held_back(values, what.at)
        values |= self._stays(record, values)
        if record is not None and not _differs(record, values):
            if not what.decisions:
                self._still(values, snapshot)
                return
        elif record is not None:
            self._changed.append({"id": record.id, **values})
        else:
            self._fresh.append(values)
        if not (_master_changed(record, values) and self._is_told(record)):
            self.touched |= _pair(record)
        _note_move(record, values, self.moves)
        if values["audience_id"] and values["address"]:
            pair = (values["audience_id"], values["address"])
            self.touched.add(pair)
            self.profiles.setdefault(pair, snapshot.profile)

    def _is_told(self, record: Row[Any] | None) -> bool:
        """Whether the customer may be a member of the list that they leave, by a yes of theirs."""
        return any(
            memory.is_told(self._before[pair]) for pair in _pair(record) & self._before.keys()
        )

    def _stays(self, record: Row[Any] | None, values: Mapping[str, Any]) -> dict[str, Any]:
        """Where somebody stays, and since when, until what they said there has been heard.

        A no goes along with them; also one that nobody has read yet. Whoever decides anew goes at once.
        """
        goes = {"leaves_at": None}
        if record is None or not self._is_told(record):
            return goes
        if record.audience_id not in self.house.by_list.values():
            return goes  # gone: nothing can be read there
        said = record.opt_in, utc(record.decided_at)
        if said != (True, values["decided_at"]) or not values["opt_in"]:
            return goes
        (pair,) = _pair(record)
        contact, since = self._before[pair], utc(record.leaves_at)
        if since is None and not _master_changed(record, values):
            since = self.services.now()
        is_known = since is None or (contact.seen_at is not None and contact.seen_at >= since)
        if is_known and not contact.look:
            return goes
        if not (contact.look and contact.due_at):
            self.unheard.add(pair)
        where = {name: getattr(record, name) for name in ("audience_id", "own_list", "address")}
        return where | {"leaves_at": since or self.services.now()}

    def _still(self, values: Mapping[str, Any], snapshot: Snapshot) -> None:
        """Nothing new of this customer: their contact should say the same."""
        if not values["audience_id"] or not values["address"]:
            return
        pair = (values["audience_id"], values["address"])
        said = counts(values["opt_in"], values["decided_at"], values["erased_at"])
        wanted = values["opt_in"] if said else None
        self.profiles.setdefault(pair, snapshot.profile)
        if self._settled.setdefault(pair, wanted) is not wanted:
            self.touched.add(pair)

    def touch_what_differs(self) -> None:
        """Whose contact does not say what its customer does, though nothing is new of them."""
        table = self.services.tables.contact
        columns = [table.c[n] for n in ("audience_id", "address", "wanted", "profile", "orphan")]
        wanted = self._settled
        unknown = {pair for pair, yes in wanted.items() if yes is not None}
        for here in contacts.at(table, wanted.keys() - self.touched):
            for row in self.tx.rows(select(*columns).where(here)):
                pair = (row.audience_id, row.address)
                unknown.discard(pair)
                other = row.wanted and row.profile != self.profiles[pair]
                if other or row.wanted is not wanted[pair] or row.orphan:
                    self.touched.add(pair)
        self.touched |= unknown

    def _held_back(self, values: Mapping[str, Any], at: datetime) -> datetime | None:
        """Since when a yes is held back that nobody decided after the address was erased."""
        erased_at = self._erased.get(values["address"])
        if erased_at is None or values["opt_in"] is not True:
            return None
        # Whoever had the address when it was erased, only that nobody had looked yet, stays.
        stays = self._captured and at < erased_at
        if not stays and (values["decided_at"] is None or values["decided_at"] <= erased_at):
            return erased_at
        self._let_go(values["address"])
        return None

    def _let_go(self, address: str) -> None:
        """Nobody's yes is held back any more at this address, in whichever list."""
        del self._erased[address]
        for values in (*self._fresh, *self._changed):
            if values["address"] == address:
                values["erased_at"] = None
        self.touched |= erasures.forget(self.tx, self.services, self.house, address)

    def remember(self) -> None:
        """Write what was found."""
        table = self.services.tables.customer
        self.tx.execute(insert(table), self._fresh)
        self.tx.update_each(table, self._changed)


def _nos(
    tx: Transaction,
    services: Services,
    house: House,
    seen: Mapping[str, Seen],
    known: Mapping[str, Row[Any]],
    customers: Mapping[str, Snapshot],
) -> dict[tuple[int, str], list[tuple[bool, datetime]]]:
    """The nos that were captured, by the address that each customer had then.

    A no that was a customer's last word there stays with the address, even if they are gone from it
    before anybody looked: in the list where they were seen, and in that where they said so. If that
    can't be told, it may be any that they have now, unless it is somebody else's address there.
    """
    said = {key: (*(what.before or ()), *what.decisions) for key, what in seen.items()}
    times = {key: {at for yes, at in words if not yes} for key, words in said.items()}
    table = services.tables.decision
    found: dict[tuple[int, str], list[tuple[bool, datetime]]] = {}
    perhaps: dict[tuple[int, str], list[tuple[bool, datetime]]] = {}
    for chunk in chunks([key for key, at in times.items() if at]):
        first = min(min(times[key]) for key in chunk)
        rows = tx.rows(
            select(table)
            .where(table.c.customer_key.in_(chunk), table.c.recorded_at >= first)
            .order_by(table.c.id)
        )
        last = {(row.customer_key, row.address): row for row in rows}
        for row in last.values():
            if row.value or utc(row.recorded_at) not in times[row.customer_key]:
                continue
            record, snapshot = known.get(row.customer_key), customers.get(row.customer_key)
            address = row.address or (record and record.address)
            if not address:
                continue
            no = (False, utc(row.recorded_at))
            sure, unsure = _lists(house, row, record, snapshot)
            for audience_id in sure:
                found.setdefault((audience_id, address), []).append(no)
            for audience_id in unsure:
                perhaps.setdefault((audience_id, address), []).append(no)
    owned = contacts.owners(tx, services, perhaps).keys()
    for pair in perhaps.keys() - owned:
        found.setdefault(pair, []).extend(perhaps[pair])
    return found


def _lists(
    house: House, said: Row[Any], record: Row[Any] | None, snapshot: Snapshot | None
) -> tuple[set[int], set[int]]:
    """Where a customer was who said something, and where else they may have been."""
    seen_in = record.audience_id if record is not None else None
    own = house.by_list.get(said.list_id or "")
    maybe = [] if snapshot is None else [house.audience(snapshot)[0]]
    if snapshot is None or snapshot.list_id is None:
        maybe += [house.master_id, house.chosen_id]
    others = [one for one in maybe if one]
    sure: set[int] = {one for one in (seen_in, own) if one} or set(others[:1])
    return sure, set() if own else set(others) - sure


_compared = itemgetter(
    "customer_key", "connection_id", "audience_id", "own_list", "address", "opt_in", "problem"
)


def _differs(record: Row[Any], values: Mapping[str, Any]) -> bool:
    if any(utc(getattr(record, n)) != values[n] for n in ("decided_at", "erased_at", "leaves_at")):
        return True
    return bool(_compared(record._mapping) != _compared(values))


def _leaving(
    house: House, customers: Mapping[str, Snapshot], known: Mapping[str, Row[Any]]
) -> set[tuple[int, str]]:
    """Where those were last seen whose rows name another list now."""
    found = set()
    for key, record in known.items():
        if key in customers and house.audience(customers[key])[0] not in (None, record.audience_id):
            found |= _pair(record)
    return found


def _pair(record: Row[Any] | None) -> set[tuple[int, str]]:
    if record is None or not record.audience_id or not record.address:
        return set()
    return {(record.audience_id, record.address)}


def _master_changed(record: Row[Any] | None, values: Mapping[str, Any]) -> bool:
    """Only the master list is another one: members of the old list stay there until they say no."""
    return (
        record is not None
        and record.connection_id == values["connection_id"]
        and not record.own_list
        and not values["own_list"]
        and record.audience_id != values["audience_id"]
        and record.address == values["address"]
    )


def _earlier_decisions(
    tx: Transaction, services: Services, keys: list[str]
) -> dict[str, tuple[bool, datetime]]:
    """The ledger's last change of the box of customers that we have no record of yet."""
    table = services.tables.decision
    found: dict[str, tuple[bool, datetime]] = {}
    for chunk in chunks(keys):
        last = (
            select(func.max(table.c.id))
            .where(table.c.customer_key.in_(chunk), table.c.previous.isnot(None))
            .group_by(table.c.customer_key)
        )
        for row in tx.rows(select(table).where(table.c.id.in_(last))):
            found[row.customer_key] = (bool(row.value), utc(row.decided_at))
    return found


def _others(
    tx: Transaction,
    services: Services,
    house: House,
    seen: Mapping[str, Seen],
    customers: Mapping[str, Snapshot],
    known: Mapping[str, Row[Any]],
) -> dict[str, Seen]:
    """Those who are another tenant's: their drain takes it from here.

    First of all that of the tenant whose connection remembers them, so that nobody else changes what is
    told to its Mailchimp account; then theirs to whom their row belongs now. A row of the outbox that
    names no tenant may be about anybody's customers.
    """
    found: dict[str, str] = {}
    elsewhere = {r.connection_id for r in known.values()} - {house.connection_id}
    theirs = {id_: services.connection(tx, id_) for id_ in elsewhere}
    for key in seen:
        record, snapshot = known.get(key), customers.get(key)
        tenant = snapshot.tenant if snapshot is not None else None
        if record is not None and record.connection_id in theirs:
            connection = theirs[record.connection_id]
            tenant = connection.tenant if connection is not None else None
        if tenant not in (house.tenant, None):
            found[key] = tenant
    waiting = outbox.changed(tx, services, found)  # which leads there as well, and is newer
    rows: list[dict[str, Any]] = []
    for key in found.keys() - waiting:
        what = seen[key]
        value, at = what.decisions[-1] if what.decisions else (None, what.at)
        change = outbox.Change(key, value, is_new=what.before is not None)
        rows += outbox.rows(found[key], [change], at, None)
    tx.execute(insert(services.tables.outbox), rows)
    if rows:
        tx.session.info[WAKE] = services
    return {key: seen[key] for key in found}


def _values(
    tx: Transaction,
    services: Services,
    house: House,
    snapshot: Snapshot,
    what: Seen,
    record: Row[Any] | None,
    earlier: tuple[bool, datetime] | None,
) -> dict[str, Any]:
    audience_id, problem = house.audience(snapshot)
    # Unset does nothing: what was decided before stands, though nobody may have looked at it yet.
    said = latest(what.decisions)[0] if snapshot.opt_in is None else snapshot.opt_in
    opt_in, decided_at = said, None
    if record is not None:
        opt_in = record.opt_in if opt_in is None else opt_in
        decided_at = utc(record.decided_at)
    captured = [at for value, at in what.decisions if value is said]
    if _overwritten(tx, services, snapshot, what):
        # It came after the last decision that was captured, whenever it was.
        decided_at = what.at + timedelta(microseconds=1) if said else services.now()
        _record_found(tx, services, snapshot, what.decisions[-1][0], decided_at)
    elif captured:
        decided_at = max(captured)
    elif record is None:
        decided_at = earlier[1] if earlier is not None and earlier[0] is opt_in else None
    elif opt_in is not record.opt_in and opt_in is not None:
        # Written past the listeners (raw SQL, a property): found by comparing. Nobody knows when, so a
        # yes counts from as early as it can have been, and a no from now on.
        decided_at = what.at if opt_in else services.now()
        _record_found(tx, services, snapshot, record.opt_in, decided_at)
    return {
        "customer_key": snapshot.key,
        "connection_id": house.connection_id,
        **_whereabouts(record, snapshot, audience_id, unknown_list=problem is not None),
        "opt_in": opt_in,
        "decided_at": decided_at,
        "problem": snapshot.problem or problem,
        "seen_at": services.now(),
    }


def _overwritten(tx: Transaction, services: Services, snapshot: Snapshot, what: Seen) -> bool:
    """Whether the box was written past the listeners after the last decision that was captured."""
    if not what.decisions or snapshot.opt_in in (None, what.decisions[-1][0]):
        return False
    return not outbox.changed(tx, services, [snapshot.key])  # else more of them is to come


def _whereabouts(
    record: Row[Any] | None, snapshot: Snapshot, audience_id: int | None, *, unknown_list: bool
) -> dict[str, Any]:
    """List and address; while they are impossible, the last good ones: nobody leaves by a typo."""
    address, own_list = snapshot.address, snapshot.list_id is not None
    if record is not None and snapshot.problem is not None:
        return {
            "audience_id": record.audience_id,
            "own_list": record.own_list,
            "address": record.address,
        }
    if record is not None and unknown_list:
        audience_id, own_list = record.audience_id, record.own_list
    return {"audience_id": audience_id, "own_list": own_list, "address": address}


def _record_found(
    tx: Transaction, services: Services, snapshot: Snapshot, before: bool | None, at: datetime
) -> None:
    tx.execute(
        insert(services.tables.decision).values(
            tenant=snapshot.tenant,
            customer_key=snapshot.key,
            address=snapshot.address,
            value=snapshot.opt_in,
            previous=before,
            decided_at=at,
            recorded_at=services.now(),
            source="found in the database",
        )
    )


def _note_move(
    record: Row[Any] | None, values: Mapping[str, Any], moves: dict[tuple[int, str], str]
) -> None:
    """Same list, another address: the member at Mailchimp may follow."""
    if record is None or not record.address or not values["address"]:
        return
    same_list = record.audience_id == values["audience_id"]
    if same_list and record.address != values["address"] and values["audience_id"]:
        moves[(values["audience_id"], values["address"])] = record.address


def _erased(
    tx: Transaction,
    services: Services,
    house: House,
    seen: Mapping[str, Seen],
    customers: Mapping[str, Snapshot],
    known: Mapping[str, Row[Any]],
) -> dict[str, datetime]:
    """When the addresses of those were erased who are new, held back, or just said yes."""
    addresses = set()
    for key in customers.keys() & seen.keys():
        record, snapshot = known.get(key), customers[key]
        said_yes = any(value for value, _ in seen[key].decisions)
        if (record is None or record.erased_at or said_yes) and snapshot.opt_in:
            addresses.add(snapshot.address or "")
    return erasures.among(tx, services, house, addresses - {""})
