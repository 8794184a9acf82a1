"""Journey out, second step: the outbox is absorbed into what is wanted of each contact.

All of it in one transaction of the database: the customers are loaded as they are now, our records of
them and of their contacts follow, the outbox rows go. Whatever dies, it is simply done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, or_, select, update

from . import contacts, runs
from .consent import Agreed, Status, latest
from .inbound import set_boxes
from .lease import Lease
from .ledger import Facts
from .mapping import Snapshot
from .models import utc
from .services import Services, Transaction

LIMIT = 500
#: What of that which changed may be settled at once; the rest is only remembered.
ALL, NOS, NOTHING = "all", "nos", "nothing"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the outbox says of one customer.

    :param decisions: ``(yes or no, when)`` as captured.
    :param at: when the last change was written; None for a walk over all customers.
    """

    decisions: tuple[tuple[bool, datetime], ...] = ()
    at: datetime


@dataclass(frozen=True, kw_only=True)
class House:
    """The audiences of a connection, for finding a customer's."""

    connection_id: int
    tenant: str
    master_id: int | None
    by_list: Mapping[str, int]
    on_delete: str

    def audience(self, snapshot: Snapshot) -> tuple[int | None, str | None]:
        """The customer's audience id, or None with the reason."""
        if snapshot.list_id is None:
            return self.master_id, None
        found = self.by_list.get(snapshot.list_id)
        if found is None:
            return None, (
                "The customer's own list is not among the stored lists. Refresh and store the "
                "lists, or give the customer another one."
            )
        return found, None


def house_of(tx: Transaction, services: Services, connection: Row[Any]) -> House:
    """The audiences that the connection's customers may belong to."""
    table = services.tables.audience
    rows = tx.rows(
        select(table.c.id, table.c.list_id).where(
            table.c.connection_id == connection.id, table.c.gone_at.is_(None)
        )
    )
    return House(
        connection_id=connection.id,
        tenant=connection.tenant,
        master_id=connection.master_audience_id,
        by_list={row.list_id: row.id for row in rows},
        on_delete=connection.on_delete,
    )


def absorb(
    services: Services, lease: Lease, connection: Row[Any], *, hold_yeses: bool = False
) -> bool:
    """Absorb up to 500 rows of the outbox; whether there were any.

    :param hold_yeses: an initial sync is reading Mailchimp: only a no goes out before it has.
    """

    def work(tx: Transaction) -> bool:
        lease.hold(tx, services)
        rows = _read(tx, services, connection.tenant)
        if not rows:
            return False
        if any(row.customer_key is None for row in rows):
            _plan_walks(tx, services, min(utc(r.created_at) for r in rows if not r.customer_key))
        seen: dict[str, Seen] = {}
        for row in rows:
            if row.customer_key is not None:
                seen[row.customer_key] = _add(seen.get(row.customer_key), row)
        # First gone, then looked at: what is still in the outbox then has come meanwhile.
        _forget(tx, services, [row.id for row in rows])
        house = house_of(tx, services, connection)
        observe(tx, services, house, seen, release=NOS if hold_yeses else ALL)
        return True

    return services.transact(work)


def _read(tx: Transaction, services: Services, tenant: str) -> list[Row[Any]]:
    table = services.tables.outbox
    mine = or_(table.c.tenant == tenant, table.c.tenant.is_(None))
    # A no goes ahead of everything; the order of the rest decides nothing.
    nos = tx.rows(select(table).where(mine, table.c.decision.is_(False)).limit(LIMIT))
    if nos:
        keys = [row.customer_key for row in nos]
        return tx.rows(select(table).where(mine, table.c.customer_key.in_(keys)))
    return tx.rows(select(table).where(mine).order_by(table.c.id).limit(LIMIT))


def _add(known: Seen | None, row: Row[Any]) -> Seen:
    at = utc(row.created_at)
    made = () if row.decision is None else ((bool(row.decision), at),)
    if known is None:
        return Seen(decisions=made, at=at)
    return Seen(decisions=known.decisions + made, at=max(known.at, at))


def _forget(tx: Transaction, services: Services, ids: list[int]) -> None:
    table = services.tables.outbox
    for chunk in contacts.chunks(ids):
        tx.execute(delete(table).where(table.c.id.in_(chunk)))


def _plan_walks(tx: Transaction, services: Services, at: datetime) -> None:
    """A bulk write that named nobody: every tenant's customers are walked over once."""
    table = services.tables.connection
    for row in tx.rows(select(table).where(table.c.master_audience_id.isnot(None))):
        runs.plan(tx, services, row, "walk", at)


def observe(
    tx: Transaction,
    services: Services,
    house: House,
    seen: Mapping[str, Seen],
    *,
    release: str = ALL,
) -> None:
    """Bring our records in line with these customers as their rows say now.

    :param release: what of it may be settled at once: ``all``, ``nos`` or ``nothing``.
    """
    if not seen:
        return
    customers = services.mapping.load(tx.session, seen)
    known = contacts.records(tx, services, list(seen))
    touched: set[tuple[int, str]] = set()
    moves: dict[tuple[int, str], str] = {}
    fresh: list[dict[str, Any]] = []
    same: list[int] = []
    profiles: dict[tuple[int, str], str] = {}
    earlier = _earlier_decisions(tx, services, [k for k in customers if k not in known])
    for key, what in seen.items():
        record, customer = known.get(key), customers.get(key)
        if customer is None:
            touched |= _pair(record)
            if record is not None:
                tx.execute(_by_id(services, record.id, delete))
            continue
        snapshot = services.mapping.snapshot(customer)
        if snapshot.tenant != house.tenant:
            touched |= _pair(record)
            _hand_over(tx, services, snapshot, what, record)
            continue
        values = _values(tx, services, house, snapshot, what, record, earlier.get(key))
        if not _master_changed(record, values):
            touched |= _pair(record)
        if record is None:
            fresh.append(values)
        elif _differs(record, values):
            tx.execute(_by_id(services, record.id, update).values(**values))
        else:
            same.append(record.id)
        _note_move(record, values, moves)
        if values["audience_id"] and values["address"]:
            pair = (values["audience_id"], values["address"])
            touched.add(pair)
            profiles.setdefault(pair, contacts.fingerprint(snapshot))
    tx.execute(insert(services.tables.customer), fresh)
    table = services.tables.customer
    for chunk in contacts.chunks(same):
        still_there = update(table).where(table.c.id.in_(chunk))
        tx.execute(still_there.values(seen_at=services.now()))
    wants = _Wants(tx, services, house, release=release, profiles=profiles)
    wants.settle(touched, moves)


def _differs(record: Row[Any], values: Mapping[str, Any]) -> bool:
    names = [name for name in values if name not in ("seen_at", "decided_at")]
    return utc(record.decided_at) != values["decided_at"] or any(
        getattr(record, name) != values[name] for name in names
    )


def _pair(record: Row[Any] | None) -> set[tuple[int, str]]:
    if record is None or not record.audience_id or not record.address:
        return set()
    return {(record.audience_id, record.address)}


def _master_changed(record: Row[Any] | None, values: Mapping[str, Any]) -> bool:
    """Only the master list is another one: members of the old list stay there until they say no."""
    return (
        record is not None
        and not record.own_list
        and not values["own_list"]
        and record.audience_id != values["audience_id"]
        and record.address == values["address"]
    )


def _by_id(services: Services, id_: int, statement: Any) -> Any:
    table = services.tables.customer
    return statement(table).where(table.c.id == id_)


def _earlier_decisions(
    tx: Transaction, services: Services, keys: list[str]
) -> dict[str, tuple[bool, datetime]]:
    """The ledger's last change of the box of customers that we have no record of yet."""
    table = services.tables.decision
    found: dict[str, tuple[bool, datetime]] = {}
    for chunk in contacts.chunks(keys):
        last = (
            select(func.max(table.c.id))
            .where(table.c.customer_key.in_(chunk), table.c.previous.isnot(None))
            .group_by(table.c.customer_key)
        )
        for row in tx.rows(select(table).where(table.c.id.in_(last))):
            found[row.customer_key] = (bool(row.value), utc(row.decided_at))
    return found


def _hand_over(
    tx: Transaction, services: Services, snapshot: Snapshot, what: Seen, record: Row[Any] | None
) -> None:
    """The customer belongs to another tenant: their drain takes it from here."""
    if record is not None:
        tx.execute(_by_id(services, record.id, delete))
    decision, at = what.decisions[-1] if what.decisions else (None, what.at)
    tx.execute(
        insert(services.tables.outbox).values(
            tenant=snapshot.tenant, customer_key=snapshot.key, decision=decision, created_at=at
        )
    )


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
    opt_in, decided_at = snapshot.opt_in, None
    if record is not None:
        # Unset does nothing: what was decided before stands.
        opt_in = record.opt_in if opt_in is None else opt_in
        decided_at = utc(record.decided_at)
    captured = [at for value, at in what.decisions if value is snapshot.opt_in]
    if captured:
        decided_at = max(captured)
    elif record is None:
        decided_at = earlier[1] if earlier is not None and earlier[0] is opt_in else None
    elif opt_in is not record.opt_in and opt_in is not None:
        # Written past the listeners (raw SQL, a property): found by comparing.
        decided_at = what.at
        _record_found(tx, services, snapshot, record.opt_in, what.at)
    return {
        "customer_key": snapshot.key,
        "connection_id": house.connection_id,
        "audience_id": audience_id,
        "own_list": snapshot.list_id is not None,
        "address": snapshot.address,
        "opt_in": opt_in,
        "decided_at": decided_at,
        "problem": snapshot.problem or problem,
        "seen_at": services.now(),
    }


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


# What is wanted of each contact


class _Wants:
    """Works out what the owners of addresses want, and makes their contacts due."""

    def __init__(
        self,
        tx: Transaction,
        services: Services,
        house: House,
        *,
        release: str,
        profiles: Mapping[tuple[int, str], str],
    ) -> None:
        self.tx, self.services, self.house = tx, services, house
        self.release, self.profiles = release, profiles

    def settle(self, pairs: set[tuple[int, str]], moves: Mapping[tuple[int, str], str]) -> None:
        """For these (audience id, address) pairs.

        :param moves: pair to the address that its customer had before.
        """
        owners = contacts.owners(self.tx, self.services, pairs)
        decided = {pair: _decide(owners.get(pair, [])) for pair in pairs}
        needed = [p for p in pairs if p in moves or decided[p][0] is not None]
        rows = contacts.ensure(self.tx, self.services, self.house.connection_id, needed)
        rows |= contacts.find(self.tx, self.services, pairs - set(rows))
        followed = {p: old for p, old in moves.items() if _can_move(rows, owners, p, old)}
        left_behind = {(audience, old) for (audience, _), old in followed.items()}
        for pair, row in rows.items():
            if pair in owners:
                self._want(row, decided[pair], owners[pair], followed.get(pair))
            elif pair not in left_behind:  # those are settled together with the new address
                self._orphan(row)

    def _want(
        self,
        row: contacts.Contact,
        decided: tuple[bool | None, datetime | None],
        owners: list[Row[Any]],
        old_address: str | None,
    ) -> None:
        wanted, at = decided
        new_decision = (wanted, at) != (row.wanted, row.wanted_at) and wanted is not None
        profile = self.profiles.get(row.pair)
        other_profile = bool(wanted and profile and profile != row.profile)
        if new_decision or other_profile or old_address or row.orphan:
            values = self._values(row, wanted, at, old_address, new_decision=new_decision)
            self._update(row, **values)
        if wanted is not None:
            others = [owner for owner in owners if owner.opt_in is not wanted]
            when, facts = at or self.services.now(), Facts(source="shared address", at=at)
            set_boxes(self.tx, self.services, others, wanted, when, facts)
        if wanted is False and new_decision:
            self._withdraw_elsewhere(row)

    def _values(
        self,
        row: contacts.Contact,
        wanted: bool | None,
        at: datetime | None,
        old_address: str | None,
        *,
        new_decision: bool,
    ) -> dict[str, Any]:
        version = row.version + 1
        values: dict[str, Any] = {"version": version, "orphan": None}
        if new_decision:
            values |= {"wanted": wanted, "wanted_at": at, "decided_version": version}
            values |= {"attempts": 0, "refusal": None, "refusal_text": None, "refused_at": None}
        if old_address is not None:
            values["moved_from"] = old_address
        is_no = wanted is False and new_decision
        if self.release == ALL or (self.release == NOS and is_no):
            values["due_at"] = self.services.now()
        return values

    def _update(self, row: contacts.Contact, **values: Any) -> None:
        table = self.services.tables.contact
        self.tx.execute(update(table).where(table.c.id == row.id).values(**values))

    def _withdraw_elsewhere(self, row: contacts.Contact) -> None:
        """A no also reaches lists that the customer was left in when the master list changed."""
        table, customer = self.services.tables.contact, self.services.tables.customer
        owned = select(customer.c.id).where(
            customer.c.audience_id == table.c.audience_id, customer.c.address == table.c.address
        )
        now = self.services.now()
        self.tx.execute(
            update(table)
            .where(
                table.c.connection_id == row.connection_id,
                table.c.address == row.address,
                table.c.id != row.id,
                table.c.wanted.is_(True),
                ~owned.exists(),
            )
            .values(
                wanted=False,
                wanted_at=now,
                version=table.c.version + 1,
                decided_version=table.c.version + 1,
                due_at=now,
            )
        )

    def _orphan(self, row: contacts.Contact) -> None:
        """Nobody owns the address here any more: what to do with the member."""
        table = self.services.tables.contact
        policy = self._policy(row)
        if policy == "leave" or (row.agreed == Agreed.NOTHING and row.open_verb is None):
            self.tx.execute(delete(table).where(table.c.id == row.id))
            return
        due = {"due_at": self.services.now()} if self.release == ALL else {}
        self._update(row, orphan=policy, version=row.version + 1, attempts=0, refusal=None, **due)

    def _policy(self, row: contacts.Contact) -> str:
        """The deletion policy; or out of the list, where the customer has another one now."""
        table = self.services.tables.customer
        elsewhere = self.tx.value(
            select(table.c.id)
            .where(
                table.c.connection_id == self.house.connection_id,
                table.c.address == row.address,
            )
            .limit(1)
        )
        return "unsubscribe" if elsewhere is not None else self.house.on_delete


def _can_move(
    rows: Mapping[tuple[int, str], contacts.Contact],
    owners: Mapping[tuple[int, str], list[Row[Any]]],
    new: tuple[int, str],
    old_address: str,
) -> bool:
    """Whether the member may simply get the new address: known there, unknown here, nobody else's."""
    old = rows.get((new[0], old_address))
    known = (Status.SUBSCRIBED, Status.UNSUBSCRIBED, Status.PENDING)
    return (
        old is not None
        and (new[0], old_address) not in owners
        and old.seen_status in known
        and new in rows
        and rows[new].seen_status in (None, Status.ABSENT)
    )


def _decide(owners: list[Row[Any]]) -> tuple[bool | None, datetime | None]:
    return latest(
        (bool(row.opt_in), utc(row.decided_at))
        for row in owners
        if row.opt_in is not None and (row.decided_at is not None or row.opt_in)
    )
