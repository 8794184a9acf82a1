"""Contact rows: found, made, written back; and what of a customer's profile is sent.

Used by both journeys. Knows the table's columns, decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import compress
from operator import itemgetter, ne
from typing import Any

from sqlalchemy import Row, Table, and_, bindparam, case, delete, insert, or_, select, update

from .consent import Agreed, Status
from .errors import ChangedMeanwhile
from .mapping import Snapshot
from .memory import Contact, late_read, late_text
from .models import utc
from .services import Services, Transaction, chunks, insert_rows

#: What settling writes only if the contact has not moved on meanwhile: whatever moved it has said when
#: it is due, whose it is, and that earlier refusals count no more.
_UNLESS_MOVED = frozenset(
    ("due_at", "look", "moved_from", "orphan", "attempts", "refusal", "refusal_text", "refused_at")
)
#: All that it writes, if it changed.
_SETTLED = (
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
    "profile_tags",
    "run_id",
    *sorted(_UNLESS_MOVED),
)
_values = itemgetter(*_SETTLED, "profile")
_MANY = 8  # contacts with the same news, above which they are told in one statement


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
    contact = Contact(**_idle(services.tables.contact))
    contact.connection_id = connection_id
    contact.audience_id, contact.address = pair
    return contact


@lru_cache(maxsize=8)
def _idle(table: Table) -> Mapping[str, Any]:
    versions = ("version", "acked_version", "decided_version", "settled_version")
    values = dict.fromkeys(table.columns.keys()) | dict.fromkeys(versions, 0)
    return values | {"agreed": Agreed.NOTHING.value, "late": (), "look": False, "attempts": 0}


def add(tx: Transaction, services: Services, made: list[Contact]) -> None:
    """Insert contacts that are not in the database yet."""
    table = services.tables.contact
    rows = [vars(contact) for contact in made]
    names = _filled(table, rows)
    tx.execute(insert(table), [{name: row[name] for name in names} for row in rows])


def add_alike(
    tx: Transaction, services: Services, contact: Contact, each: list[tuple[str, str]]
) -> None:
    """Insert contacts that are as this one, but for address and profile."""
    table, own = services.tables.contact, ("address", "profile")
    names = [name for name in _filled(table, [vars(contact)]) if name not in own]
    alike = {name: getattr(contact, name) for name in names}
    insert_rows(tx.connection, table, own, each, alike)


def _filled(table: Table, rows: list[dict[str, Any]]) -> list[str]:
    """Most columns of a new contact are empty, also what may land late: they are not named."""
    filled = {name for row in rows for name, value in row.items() if value not in (None, ())}
    return [name for name in table.columns.keys() if name in filled]  # noqa: SIM118


def find(
    tx: Transaction, services: Services, pairs: set[tuple[int, str]]
) -> dict[tuple[int, str], Contact]:
    """The contacts that exist for these (audience id, address) pairs."""
    table = services.tables.contact
    found: dict[tuple[int, str], Contact] = {}
    for here in at(table, pairs):
        rows = tx.rows(select(table).where(here))
        found |= {(row.audience_id, row.address): read(row) for row in rows}
    return found


def read(row: Row[Any]) -> Contact:
    """A contact from its row, which may have more columns."""
    contact = Contact.of(row)
    contact.was = _values(vars(contact))
    return contact


def lock(tx: Transaction, services: Services, rows: Iterable[Contact]) -> None:
    """Keep others from writing to these contacts, which are as they were read, until the end.

    :raises ChangedMeanwhile: Mailchimp's word was followed since they were read.
    """
    by_id = {row.id: row for row in rows}
    said = ("version", "wanted", "wanted_at")
    found = _locked(tx, services, by_id, *said, "agreed", "open_verb", "late", "profile")
    for id_, row in by_id.items():
        now = found.get(id_)
        if now is None or (now.version, now.wanted, utc(now.wanted_at)) != (
            row.version,
            row.wanted,
            row.wanted_at,
        ):
            raise ChangedMeanwhile("A contact changed while its customers were looked at.")
        row.agreed, row.open_verb, row.profile = now.agreed, now.open_verb, now.profile
        row.late = late_read(now.late)


def unmoved(tx: Transaction, services: Services, rows: list[Contact]) -> list[Contact]:
    """Those that nothing has happened to on the host's side; nothing will, until the end."""
    found = _locked(tx, services, [row.id for row in rows], "version")
    return [row for row in rows if row.id in found and found[row.id].version == row.version]


def _locked(
    tx: Transaction, services: Services, ids: Iterable[int], *names: str
) -> dict[int, Row[Any]]:
    """These columns of contacts as they are now, by id; nobody else writes to them until the end."""
    table = services.tables.contact
    columns = [table.c[name] for name in ("id", *names)]
    found: dict[int, Row[Any]] = {}
    for chunk in chunks(list(ids)):
        query = select(*columns).where(table.c.id.in_(chunk)).with_for_update()
        found |= {now.id: now for now in tx.rows(query)}
    return found


def owners(
    tx: Transaction, services: Services, pairs: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], list[Row[Any]]]:
    """The customers of each (audience id, address), as we last saw them, in the order of their id."""
    table = services.tables.customer
    words = "connection_id", "opt_in", "decided_at", "erased_at", "leaves_at"
    columns = [table.c[n] for n in ("audience_id", "address", "customer_key", *words)]
    found: dict[tuple[int, str], list[Row[Any]]] = {}
    for here in at(table, pairs):
        for row in tx.rows(select(*columns).where(here).order_by(table.c.id)):
            found.setdefault((row.audience_id, row.address), []).append(row)
    return found


def records(tx: Transaction, services: Services, keys: list[str]) -> dict[str, Row[Any]]:
    """What we remember of the customers with these keys, by key."""
    table = services.tables.customer
    found: dict[str, Row[Any]] = {}
    for chunk in chunks(keys):
        for row in tx.rows(select(table).where(table.c.customer_key.in_(chunk))):
            found[row.customer_key] = row
    return found


def at(table: Table, pairs: Iterable[tuple[int, str]]) -> Iterator[Any]:
    """Conditions for the rows of these (audience id, address) pairs, each for one statement."""
    by_audience: dict[int, list[str]] = {}
    for audience, address in set(pairs):
        by_audience.setdefault(audience, []).append(address)
    for audience, addresses in by_audience.items():
        for chunk in chunks(addresses):
            yield and_(table.c.audience_id == audience, table.c.address.in_(chunk))


def save(tx: Transaction, services: Services, contacts: Iterable[Contact]) -> None:
    """Write back what changed of these contacts since they were read or last :func:`saved`."""
    table = services.tables.contact
    alike: dict[tuple[Any, ...], list[int]] = {}
    each: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for contact in contacts:
        new, old = _values(vars(contact)), contact.was
        changed = list(map(ne, new, old))
        names, values = tuple(compress(_SETTLED, changed)), tuple(compress(new[:-1], changed))
        if names:
            alike.setdefault((contact.version, names, values), []).append(contact.id)
        if changed[-1]:  # the profile, of each their own
            own = {"b_version": contact.version, "b_id": contact.id, "b_profile": contact.profile}
            each.setdefault(("profile",), []).append(own)
    for (version, names, values), ids in alike.items():
        news = {f"b_{name}": value for name, value in zip(names, values, strict=True)}
        news["b_version"] = version
        if "b_late" in news:
            news["b_late"] = late_text(news["b_late"])
        if len(ids) < _MANY:
            each.setdefault(names, []).extend(news | {"b_id": id_} for id_ in ids)
            continue
        for chunk in chunks(ids):
            tx.connection.execute(_news(table, names, table.c.id.in_(chunk)), news)
    for names, rows in each.items():
        tx.execute(_news(table, names, table.c.id == bindparam("b_id")), rows)


def save_alike(
    tx: Transaction,
    services: Services,
    before: Contact,
    after: Contact,
    addresses: list[str],
    *,
    unsent: bool = False,
) -> int:
    """Write what changed of contacts that were all as one before, and are as one after; of how many.

    Those about which the host has said something new meanwhile stay as they are.

    :param unsent: their profiles, of each their own, were not sent after all.
    """
    table = services.tables.contact
    old, new = _values(vars(before)), _values(vars(after))
    changed = [name for name, o, n in zip(_SETTLED, old, new, strict=False) if o != n]
    values = {name: getattr(after, name) for name in changed}
    values |= {"profile": None} if unsent else {}
    number = 0
    for chunk in chunks(addresses):
        here = table.c.audience_id == before.audience_id, table.c.address.in_(chunk)
        unmoved = table.c.version == before.version
        number += tx.execute(update(table).where(*here, unmoved).values(**values))
    return number


def look_again_at_nos(
    tx: Transaction, services: Services, before: Contact, addresses: list[str]
) -> None:
    """Of contacts that were all as one before: who has said no meanwhile is due, as a call is answered.

    Whoever looked while it was under way may have found nobody to unsubscribe.
    """
    table = services.tables.contact
    for chunk in chunks(addresses):
        here = table.c.audience_id == before.audience_id, table.c.address.in_(chunk)
        moved = table.c.version != before.version, table.c.wanted.is_(False)
        tx.execute(update(table).where(*here, *moved).values(due_at=services.now()))


def saved(contacts: Iterable[Contact]) -> None:
    """The transaction that saved them is committed."""
    for contact in contacts:
        contact.was = _values(vars(contact))


def _news(table: Table, names: tuple[str, ...], which: Any) -> Any:
    """The statement that writes these columns of some contacts."""
    moved = table.c.version != bindparam("b_version")
    values: dict[str, Any] = {}
    for name in names:
        new = bindparam(f"b_{name}", type_=table.c[name].type)
        values[name] = case((moved, table.c[name]), else_=new) if name in _UNLESS_MOVED else new
    return update(table).where(which).values(**values)


def is_told(table: Table) -> Any:
    """The SQL condition for whom :func:`.memory.is_told` holds."""
    return or_(
        table.c.agreed.in_((Agreed.YES.value, Agreed.ASKED.value)),
        table.c.seen_status == Status.SUBSCRIBED.value,
        table.c.open_verb.isnot(None),
        table.c.late.isnot(None),
    )


def remove(tx: Transaction, services: Services, contact: Contact) -> None:
    """Forget a contact, unless it moved on meanwhile."""
    table = services.tables.contact
    tx.execute(delete(table).where(table.c.id == contact.id, table.c.version == contact.version))


# Profiles


def merge_fields(values: Mapping[str, Any], sent_before: str | None) -> dict[str, Any]:
    """The merge fields to send: blank ones only where a value was sent before, to clear it."""
    before = sent_before.split(",") if sent_before else ()
    return {tag: v for tag, v in values.items() if v or v not in ("", {}) or tag in before}


def sent_tags(values: Mapping[str, Any], snapshot: Snapshot, sent_before: str | None) -> str:
    """The merge tags that hold a value at Mailchimp once these values were sent.

    :param snapshot: whose other values could not be sent: what was there before still is.
    """
    filled = {tag for tag, v in values.items() if v or v not in ("", {})}
    if sent_before:
        filled |= (set(sent_before.split(",")) & snapshot.merge_fields.keys()) - values.keys()
    return ",".join(sorted(filled))
