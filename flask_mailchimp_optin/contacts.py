"""Contact rows: found, made, written back; and what of a customer's profile is sent.

Used by both journeys. Knows the table's columns, decides nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Row, bindparam, case, delete, insert, select, update

from .consent import Agreed
from .mapping import Snapshot
from .memory import Contact, late_text
from .services import Services, Transaction

#: What settling writes. `due_at` and `look` are written too, unless the contact moved on meanwhile.
_SETTLED = [
    "acked_version",
    "settled_version",
    "agreed",
    "agreed_opt_at",
    "agreed_at",
    "seen_status",
    "seen_changed_at",
    "seen_opt_at",
    "seen_at",
    "subscribed_seen_at",
    "open_verb",
    "open_version",
    "open_at",
    "open_opt_at",
    "late",
    "removed_at",
    "asked_version",
    "profile",
    "profile_tags",
    "moved_from",
    "orphan",
    "run_id",
    "attempts",
    "refusal",
    "refusal_text",
    "refused_at",
]


def ensure(
    tx: Transaction, services: Services, connection_id: int, pairs: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], Contact]:
    """The contacts of these (audience id, address) pairs; missing ones are made, unasked and idle."""
    wanted = set(pairs)
    found = find(tx, services, wanted)
    missing = wanted - set(found)
    if missing:
        add(tx, services, [blank(services, connection_id, pair) for pair in sorted(missing)])
        found |= find(tx, services, missing)
    return found


def blank(services: Services, connection_id: int, pair: tuple[int, str]) -> Contact:
    """A contact that is not in the database yet: unasked, idle, without an id."""
    names = services.tables.contact.columns.keys()
    values = dict.fromkeys(names) | {
        "connection_id": connection_id,
        "audience_id": pair[0],
        "address": pair[1],
        "version": 0,
        "acked_version": 0,
        "decided_version": 0,
        "settled_version": 0,
        "agreed": Agreed.NOTHING.value,
        "late": (),
        "look": False,
        "attempts": 0,
    }
    return Contact(**values)


def add(tx: Transaction, services: Services, made: list[Contact]) -> None:
    """Insert contacts that are not in the database yet."""
    rows = [vars(contact) | {"late": late_text(contact.late)} for contact in made]
    for row in rows:
        del row["id"]
    tx.execute(insert(services.tables.contact), rows)


def find(
    tx: Transaction, services: Services, pairs: set[tuple[int, str]]
) -> dict[tuple[int, str], Contact]:
    """The contacts that exist for these (audience id, address) pairs."""
    table = services.tables.contact
    found: dict[tuple[int, str], Contact] = {}
    by_audience: dict[int, list[str]] = {}
    for audience, address in pairs:
        by_audience.setdefault(audience, []).append(address)
    for audience, addresses in by_audience.items():
        for chunk in chunks(addresses):
            rows = tx.rows(
                select(table).where(table.c.audience_id == audience, table.c.address.in_(chunk))
            )
            found |= {(row.audience_id, row.address): Contact.of(row) for row in rows}
    return found


def owners(
    tx: Transaction, services: Services, pairs: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], list[Row[Any]]]:
    """The customers of each (audience id, address), as we last saw them, in the order of their id."""
    table = services.tables.customer
    found: dict[tuple[int, str], list[Row[Any]]] = {}
    by_audience: dict[int, list[str]] = {}
    for audience, address in set(pairs):
        by_audience.setdefault(audience, []).append(address)
    for audience, addresses in by_audience.items():
        for chunk in chunks(addresses):
            query = select(table).where(table.c.audience_id == audience, table.c.address.in_(chunk))
            for row in tx.rows(query.order_by(table.c.id)):
                found.setdefault((audience, row.address), []).append(row)
    return found


def records(tx: Transaction, services: Services, keys: list[str]) -> dict[str, Row[Any]]:
    """What we remember of the customers with these keys, by key."""
    table = services.tables.customer
    found: dict[str, Row[Any]] = {}
    for chunk in chunks(keys):
        for row in tx.rows(select(table).where(table.c.customer_key.in_(chunk))):
            found[row.customer_key] = row
    return found


def chunks(items: list[Any], size: int = 500) -> Iterable[list[Any]]:
    """Slices short enough for one statement's bound values."""
    return (items[start : start + size] for start in range(0, len(items), size))


def save(tx: Transaction, services: Services, contacts: Iterable[Contact]) -> None:
    """Write contacts back. Whatever moved one on meanwhile has said when it is due: that stays."""
    table = services.tables.contact
    moved = table.c.version != bindparam("b_version")
    values: dict[str, Any] = {
        name: bindparam(f"b_{name}", type_=table.c[name].type) for name in _SETTLED
    }
    for name in ("due_at", "look"):
        new = bindparam(f"b_{name}", type_=table.c[name].type)
        values[name] = case((moved, table.c[name]), else_=new)
    names = [*_SETTLED, "due_at", "look", "version", "id"]
    rows = [{f"b_{name}": getattr(contact, name) for name in names} for contact in contacts]
    for row in rows:
        row["b_late"] = late_text(row["b_late"])
    tx.execute(update(table).where(table.c.id == bindparam("b_id")).values(**values), rows)


def remove(tx: Transaction, services: Services, contact: Contact) -> None:
    """Forget a contact, unless it moved on meanwhile."""
    table = services.tables.contact
    tx.execute(delete(table).where(table.c.id == contact.id, table.c.version == contact.version))


# Profiles


def fingerprint(snapshot: Snapshot) -> str:
    """Names a profile: equal profiles are not sent again."""
    parts = [sorted(snapshot.merge_fields.items()), sorted(snapshot.tags)]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def merge_fields(snapshot: Snapshot, sent_before: str | None) -> dict[str, Any]:
    """The merge fields to send: blank ones only where a value was sent before, to clear it."""
    before = set((sent_before or "").split(","))
    return {t: v for t, v in snapshot.merge_fields.items() if v not in ("", {}) or t in before}


def sent_tags(sent: Mapping[str, Any]) -> str:
    """The merge tags that now hold a value at Mailchimp."""
    return ",".join(sorted(tag for tag, value in sent.items() if value not in ("", {})))
