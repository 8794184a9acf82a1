"""What the customers of an address want of Mailchimp, together. Journey out.

Customers who share an address share its decision; an address that nobody owns any more is an orphan.
Only records of ours are written here; what is due is told by ``settle``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, select, update

from . import contacts, memory
from .consent import Agreed, Status, latest
from .inbound import set_boxes
from .ledger import Facts
from .mapping import Snapshot
from .models import utc
from .services import Services, Transaction
from .texts import N_

#: What of that which changed may be settled at once; the rest is only remembered.
ALL, NOS, NOTHING = "all", "nos", "nothing"


@dataclass(frozen=True, kw_only=True)
class House:
    """The audiences of a connection, for finding a customer's.

    :param master_id: the master list that customers are in.
    :param chosen_id: the one that they will be in, once what was said in the other has been heard.
    """

    connection_id: int
    tenant: str
    master_id: int | None
    chosen_id: int | None
    by_list: Mapping[str, int]
    on_delete: str
    shared: bool  # others are settling contacts meanwhile

    def audience(self, snapshot: Snapshot) -> tuple[int | None, str | None]:
        """The customer's audience id, or None with the reason."""
        if snapshot.list_id is None:
            return self.master_id, None
        found = self.by_list.get(snapshot.list_id)
        if found is None:
            return None, N_(
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
    by_list = {row.list_id: row.id for row in rows}
    left = connection.left_audience_id
    return House(
        connection_id=connection.id,
        tenant=connection.tenant,
        # Until all is heard that was said in the master list before, customers are still there.
        master_id=left if left in by_list.values() else connection.master_audience_id,
        chosen_id=connection.master_audience_id,
        by_list=by_list,
        on_delete=connection.on_delete,
        shared=bool(connection.shards),
    )


class Wants:
    """Works out what the owners of addresses want, and makes their contacts due."""

    def __init__(
        self,
        tx: Transaction,
        services: Services,
        house: House,
        *,
        release: str,
        profiles: Mapping[tuple[int, str], str],
        gone: set[tuple[int, str]],
    ) -> None:
        """With what a look at the customers found.

        :param gone: pairs whose customer was deleted, and did not just go elsewhere.
        """
        self.tx: Transaction = tx
        self.services: Services = services
        self.house: House = house
        self.release: str = release
        self.profiles: Mapping[tuple[int, str], str] = profiles
        self.gone: set[tuple[int, str]] = gone
        self._changed: list[dict[str, Any]] = []
        self._withdrawn: list[memory.Contact] = []
        self._left: list[tuple[memory.Contact, str]] = []

    def settle(
        self,
        pairs: set[tuple[int, str]],
        moves: Mapping[tuple[int, str], str],
        nos: Mapping[tuple[int, str], list[tuple[bool, datetime]]],
    ) -> None:
        """For these (audience id, address) pairs.

        :param moves: pair to the address that its customer had before.
        :param nos: not looked at before, of customers who are gone: a no stays with the address.
        """
        owners = contacts.owners(self.tx, self.services, pairs)
        rows = contacts.find(self.tx, self.services, pairs)
        # Whoever leaves before their member has got the new address leaves the old one, too.
        before = {
            (row.audience_id, row.moved_from): pair
            for pair, row in rows.items()
            if row.moved_from and pair not in owners
        }
        self.gone |= {old for old, pair in before.items() if pair in self.gone}
        pairs = pairs | before.keys()
        owners |= contacts.owners(self.tx, self.services, before)
        rows |= contacts.find(self.tx, self.services, set(before))
        decided = {p: _decide(_staying(owners.get(p, [])), nos.get(p, [])) for p in pairs}
        needed = [p for p in pairs if p in moves or decided[p][0] is not None]
        if self.house.shared:
            contacts.lock(self.tx, self.services, rows.values())
        new = {
            pair: contacts.blank(self.services, self.house.connection_id, pair)
            for pair in needed
            if pair not in rows
        }
        rows |= new
        followed = {p: old for p, old in moves.items() if _can_move(rows, owners, p, old)}
        left_behind = {(audience, old) for (audience, _), old in followed.items()}
        for pair, row in rows.items():
            if pair in owners:
                self._want(row, decided[pair], owners[pair], followed.get(pair))
            elif pair in left_behind:  # it is settled together with the new address
                self._leaves_elsewhere(row)
            else:
                self._orphan(row, said_no=pair in nos)
        contacts.add(self.tx, self.services, list(new.values()))
        self.tx.update_each(self.services.tables.contact, self._changed)
        for row in self._withdrawn:
            self._withdraw_elsewhere(row)
        for row, policy in self._left:
            self._leave_elsewhere(row, policy)

    def _want(
        self,
        row: memory.Contact,
        decided: tuple[bool | None, datetime | None],
        owners: list[Row[Any]],
        old_address: str | None,
    ) -> None:
        wanted, at = decided
        if wanted is False and row.wanted is False and at and row.wanted_at and at < row.wanted_at:
            at = row.wanted_at  # an older no of somebody who came to the address adds nothing
        new_decision = (wanted, at) != (row.wanted, row.wanted_at) and wanted is not None
        profile = self.profiles.get(row.pair)
        other_profile = bool(wanted and profile and profile != row.profile)
        # A yes leaves with whoever gave it; a no stays with the address until somebody decides.
        lapsed = wanted is None and row.wanted is True
        if new_decision or other_profile or old_address or row.orphan or lapsed:
            values = self._values(row, wanted, at, old_address, new_decision=new_decision)
            values |= {"wanted": None, "wanted_at": None} if lapsed else {}
            self._update(row, **values)
        if wanted is not None:
            others = [o for o in owners if o.opt_in is not wanted and not o.leaves_at]
            facts = Facts(source="shared address", at=at)
            # A yes without a time stays one, whomever it is shared with: it stands against no no.
            set_boxes(self.tx, self.services, others, wanted, at, facts)
        if wanted is False and new_decision:
            self._withdrawn.append(row)

    def _values(
        self,
        row: memory.Contact,
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
            values["renamed_to"] = None
        if old_address is not None:
            values["moved_from"] = old_address
        is_no = wanted is False and new_decision
        if self.release == ALL or (self.release == NOS and is_no):
            values["due_at"] = self.services.now()
        return values

    def _update(self, row: memory.Contact, **values: Any) -> None:
        if row.id is None:
            vars(row).update(values)
        else:
            self._changed.append({"id": row.id, **values})

    def _withdraw_elsewhere(self, row: memory.Contact) -> None:
        """A no also reaches lists that the customer was left in when the master list changed."""
        table, now = self.services.tables.contact, self.services.now()
        # In this order: MySQL lets an assignment see what those before it have written.
        self._elsewhere(
            row,
            (table.c.decided_version, table.c.version + 1),
            (table.c.version, table.c.version + 1),
            (table.c.wanted, False),
            (table.c.wanted_at, now),
            (table.c.due_at, now),
        )

    def _leave_elsewhere(self, row: memory.Contact, policy: str) -> None:
        """Whoever was deleted, or has another address, leaves those lists, too."""
        table = self.services.tables.contact
        due = [(table.c.due_at, self.services.now())] if self.release == ALL else []
        self._elsewhere(row, (table.c.orphan, policy), (table.c.version, table.c.version + 1), *due)

    def _elsewhere(self, row: memory.Contact, *values: tuple[Any, Any]) -> None:
        """Write to the address's contacts in lists where a customer of it was left."""
        table, customer = self.services.tables.contact, self.services.tables.customer
        audience = self.services.tables.audience
        others = self.tx.rows(
            select(audience.c.id).where(
                audience.c.connection_id == row.connection_id, audience.c.id != row.audience_id
            )
        )
        owned = select(customer.c.id).where(
            customer.c.audience_id == table.c.audience_id, customer.c.address == table.c.address
        )
        self.tx.execute(
            update(table)
            .where(
                table.c.audience_id.in_([other.id for other in others]),
                table.c.address == row.address,
                table.c.wanted.is_(True),
                ~owned.exists(),
            )
            .ordered_values(*values)
        )

    def _orphan(self, row: memory.Contact, *, said_no: bool) -> None:
        """Nobody owns the address here any more: what to do with the member.

        :param said_no: their last word was a no that nobody has looked at yet.
        """
        table = self.services.tables.contact
        policy = self._policy(row)
        said_no = said_no or (row.wanted is False and row.moved)
        if said_no:
            self._withdrawn.append(row)
        elif row.pair not in self.gone:
            self._leaves_elsewhere(row)
        elif policy != "leave":
            self._left.append((row, policy))
        if policy == "leave" and said_no:
            policy = "unsubscribe"
        unknown = row.agreed == Agreed.NOTHING and row.open_verb is None and not row.late
        if policy == "leave" or (unknown and not said_no):
            self.tx.execute(delete(table).where(table.c.id == row.id))
            return
        due = {"due_at": self.services.now()} if self.release == ALL else {}
        self._update(row, orphan=policy, version=row.version + 1, attempts=0, refusal=None, **due)

    def _leaves_elsewhere(self, row: memory.Contact) -> None:
        """A list left behind under an address that is nobody's any more: no later no would reach it."""
        if not self._is_owned(row):
            self._left.append((row, "unsubscribe"))

    def _policy(self, row: memory.Contact) -> str:
        """The deletion policy for who was deleted; out of the list for who has another one now."""
        if row.pair not in self.gone:
            return row.orphan or "unsubscribe"
        return "unsubscribe" if self._is_owned(row) else self.house.on_delete

    def _is_owned(self, row: memory.Contact) -> bool:
        """Whether a customer of the same tenant has this address, in whichever list."""
        table = self.services.tables.customer
        mine = table.c.connection_id == row.connection_id
        owner = select(table.c.id).where(mine, table.c.address == row.address).limit(1)
        return self.tx.value(owner) is not None


def _can_move(
    rows: Mapping[tuple[int, str], memory.Contact],
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


def counts(opt_in: bool | None, decided_at: datetime | None, erased_at: datetime | None) -> bool:
    """Whether what a customer's row says is a word at all: "no" is one only if somebody decided."""
    return bool(opt_in is not None and (decided_at or opt_in) and erased_at is None)


def _staying(owners: list[Row[Any]]) -> list[Row[Any]]:
    """Without those who are only waiting to hear what Mailchimp knows of them here, unless all are."""
    return [owner for owner in owners if not owner.leaves_at] or owners


def _decide(
    owners: list[Row[Any]], nos: list[tuple[bool, datetime]]
) -> tuple[bool | None, datetime | None]:
    said = [
        (bool(row.opt_in), utc(row.decided_at))
        for row in owners
        if counts(row.opt_in, row.decided_at, row.erased_at)
    ]
    return latest([*said, *nos])
