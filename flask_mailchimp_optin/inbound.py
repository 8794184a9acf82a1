"""Journey in: rings are stored, rung addresses become contacts to look at, and checkboxes follow.

A ring changes nothing by itself. The boxes are set through the host's own model, under a lock, and
only if the customer has not changed since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, bindparam, insert, or_, select, update

from . import contacts, memory, outbox
from .errors import ChangedMeanwhile
from .lease import Lease
from .ledger import Facts
from .models import Tables
from .services import FOLLOWING, Services, Transaction, chunks
from .webhook import Door, Ring

_LIMIT = 1000
IGNORED = "nobody here has this address"


def record(tx: Transaction, services: Services, door: Door, ring: Ring, verified: str) -> bool:
    """Store a ring, if what is known of the address still holds; whether it did.

    All that happens inside the webhook's request, and all in one statement.

    :raises IntegrityError: the very same ring is stored already; see :func:`ring_again`.
    """
    values = {
        "digest": ring.digest,
        "type": ring.type,
        "address": ring.address,
        "new_address": ring.new_address,
        "fired_at": ring.fired_at,
        "received_at": services.now(),
        "verified": verified,
        "outcome": None if is_about(ring) else "not about a person",
        "answered_at": None if is_about(ring) else services.now(),
    }
    known = {"b_id": door.audience_id, "b_hashed": door.hashed, "b_sealed": door.sealed}
    statement = _recording(services.tables, tuple(values))
    return tx.connection.execute(statement, values | known).rowcount > 0


@lru_cache(maxsize=8)
def _recording(tables: Tables, names: tuple[str, ...]) -> Any:
    events, audiences = tables.webhook_event, tables.audience
    hashed = bindparam("b_hashed", type_=audiences.c.token_hash.type)
    sealed = bindparam("b_sealed", type_=audiences.c.sealed_secret.type)
    values = [bindparam(name, type_=events.c[name].type) for name in names]
    still = select(audiences.c.id, *values).where(
        audiences.c.id == bindparam("b_id"),
        or_(audiences.c.token_hash == hashed, audiences.c.token_hash_before == hashed),
        audiences.c.sealed_secret.is_not_distinct_from(sealed),
    )
    made = insert(events).from_select(["audience_id", *names], still)
    return made.execution_options(preserve_rowcount=True)  # without it, some drivers tell none


def ring_again(services: Services, audience_id: int, ring: Ring) -> None:
    """The very same body again: Mailchimp repeats what it saw fail, so look again."""
    table = services.tables.webhook_event
    if not is_about(ring):
        return
    which = table.c.audience_id == audience_id, table.c.digest == ring.digest
    anew = update(table).where(*which).values(outcome=None, answered_at=None)
    services.transact(lambda tx: tx.execute(anew))


def is_about(ring: Ring) -> bool:
    """Whether it names anybody whom one could look at."""
    return bool(ring.address or ring.new_address)


def answer_rings(services: Services, lease: Lease) -> bool:
    """Turn waiting rings into contacts to look at; whether there were any."""

    def work(tx: Transaction) -> bool:
        lease.hold(tx, services)
        events, audiences = services.tables.webhook_event, services.tables.audience
        rows = tx.rows(
            select(events)
            .join(audiences, audiences.c.id == events.c.audience_id)
            .where(audiences.c.connection_id == lease.connection_id, events.c.outcome.is_(None))
            .order_by(events.c.id)
            .limit(_LIMIT)
        )
        if not rows:
            return False
        pairs = {(r.audience_id, a) for r in rows for a in (r.address, r.new_address) if a}
        known = look(tx, services, lease.connection_id, pairs)
        outcomes = []
        for row in rows:
            ours = {(row.audience_id, a) for a in (row.address, row.new_address)} & known
            outcome = "looked at" if ours else IGNORED
            outcomes.append({"id": row.id, "outcome": outcome, "answered_at": services.now()})
            _note_renaming(tx, services, row)
        tx.update_each(events, outcomes)
        return True

    return services.transact(work)


def _note_renaming(tx: Transaction, services: Services, ring: Row[Any]) -> None:
    """Kept for the case that a reading finds the old address gone; alone it says nothing."""
    if ring.new_address is None or ring.address == ring.new_address:
        return
    table = services.tables.contact
    for address, renamed_to in ((ring.address, ring.new_address), (ring.new_address, None)):
        where = (table.c.audience_id == ring.audience_id, table.c.address == address)
        tx.execute(update(table).where(*where).values(renamed_to=renamed_to))


def look(
    tx: Transaction, services: Services, connection_id: int, pairs: set[tuple[int, str]]
) -> set[tuple[int, str]]:
    """Make these (audience id, address) pairs due for a look at Mailchimp, if they are ours at all."""
    owned = set(contacts.owners(tx, services, pairs))
    rows = contacts.ensure(tx, services, connection_id, owned)
    rows |= contacts.find(tx, services, pairs - owned)
    table = services.tables.contact
    for chunk in chunks([row.id for row in rows.values()]):
        tx.execute(
            update(table)
            .where(table.c.id.in_(chunk))
            .values(look=True, due_at=services.now(), version=table.c.version + 1)
        )
    return set(rows)


def follow(
    tx: Transaction,
    services: Services,
    row: memory.Contact,
    value: bool,
    at: datetime,
    facts: Facts,
) -> bool:
    """Let the checkboxes of an address follow Mailchimp; False if a customer changed meanwhile.

    :param at: the decision's time among the host's own, by the host's clock.
    :raises ChangedMeanwhile: the contact did; nothing may be kept of this transaction.

    The contact's version is the fence against the host; a customer with an unread outbox row, or with
    another box than we saw, has changed since we looked, so their own change is absorbed first.
    """
    owners = contacts.owners(tx, services, [row.pair]).get(row.pair, [])
    if not set_boxes(tx, services, owners, value, at, facts):
        return False
    table = services.tables.contact
    values = {
        "wanted": value,
        "wanted_at": at,
        "decided_version": table.c.version,
        "settled_version": table.c.version,
    }
    held = tx.execute(
        update(table).where(table.c.id == row.id, table.c.version == row.version).values(**values)
    )
    if not held:
        raise ChangedMeanwhile("The customer changed while Mailchimp was being read.")
    return True


def set_boxes(
    tx: Transaction,
    services: Services,
    owners: Sequence[Row[Any]],
    value: bool,
    at: datetime | None,
    facts: Facts,
) -> bool:
    """Set the boxes of these customers through the host's model; False if one changed meanwhile.

    :param at: the decision's time; None for a yes without one.
    """
    if not owners:
        return True
    keys = [row.customer_key for row in owners]
    customers = services.mapping.load(tx.session, keys, lock=True)
    if outbox.changed(tx, services, keys) or outbox.everybody_waits(tx, services):
        return False
    if _written_past_us(tx, services, owners, customers):
        return False
    mapping, unchanged = services.mapping, []
    tx.session.info[FOLLOWING] = facts
    try:
        for key, customer in customers.items():
            if mapping.box(customer) is value:
                tenant = mapping.tenant_of(customer) or ""
                unchanged.append((key, tenant, mapping.address_of(customer)))
            else:
                mapping.set_box(customer, value)
        tx.session.flush()
    finally:
        del tx.session.info[FOLLOWING]
    _remember(tx, services, keys, value, at)
    _record_unchanged(tx, services, unchanged, value, facts.at or at or services.now(), facts)
    return True


def _written_past_us(
    tx: Transaction,
    services: Services,
    owners: Sequence[Row[Any]],
    customers: Mapping[str, Any],
) -> bool:
    """Whether a box says other than when we last looked, though no listener told us.

    Such a word is never written over: it goes into the outbox, to be found and dated as any other.
    """
    boxes = {key: services.mapping.box(customer) for key, customer in customers.items()}
    found = [row for row in owners if boxes.get(row.customer_key) not in (None, row.opt_in)]
    if found:
        connection = services.connection(tx, found[0].connection_id)
        tenant = connection.tenant if connection is not None else ""
        outbox.look_at(tx, services, tenant, [row.customer_key for row in found])
    return bool(found)


def _remember(
    tx: Transaction, services: Services, keys: list[str], value: bool, at: datetime | None
) -> None:
    table = services.tables.customer
    values = {"opt_in": value, "decided_at": at, "erased_at": None}
    for chunk in chunks(keys):
        tx.execute(update(table).where(table.c.customer_key.in_(chunk)).values(**values))


def _record_unchanged(
    tx: Transaction,
    services: Services,
    unchanged: list[tuple[str, str, str | None]],
    value: bool,
    at: datetime,
    facts: Facts,
) -> None:
    """The box said so already, but now somebody did decide it: the ledger says who."""
    if facts.source != "mailchimp":
        return
    table = services.tables.decision
    # They may have been written already, by a commit whose reply was lost.
    keys = [key for key, _, _ in unchanged]
    said = table.c.customer_key.in_(keys), table.c.value.is_(value), table.c.decided_at == at
    query = select(table.c.customer_key).where(*said, table.c.source == facts.source)
    written = {row.customer_key for row in tx.rows(query)}
    rows = [
        {
            "tenant": tenant,
            "customer_key": key,
            "address": address,
            "value": value,
            "previous": value,
            "decided_at": at,
            "recorded_at": services.now(),
            "source": facts.source,
            "page": facts.page,
        }
        for key, tenant, address in unchanged
        if key not in written
    ]
    tx.execute(insert(table), rows)
