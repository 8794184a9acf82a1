"""One person: all that we keep of them, given out, looked after or erased on their demand.

What an administrator does on the page of a customer; the commands do the same. Every function takes the
tenant, and knows nothing of other tenants' customers.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Row, and_, delete, or_, select, update
from sqlalchemy.exc import DBAPIError

from . import connect, contacts, erasures, inbound, memory, outbox, overviews, standing
from .errors import MemberRefused, NotFound, RefusedInput, RequestRefused
from .models import utc
from .services import Services, Transaction, chunks
from .standing import CustomerState
from .texts import Text
from .wants import house_of

logger: logging.Logger = logging.getLogger("flask_mailchimp_optin")

#: Of the exported form; raised when a field changes its meaning or goes.
SCHEMA_VERSION = 1
_RINGS = 1000  # of one person, in an export

_STILL_TICKED = Text(
    "The customer’s checkbox is still ticked. Untick it and save the customer first: that is their no, "
    "and it belongs into the customer’s own record. Then erase."
)
_ON_ITS_WAY = Text(
    "Something about this person is still on its way to Mailchimp. Wait until a worker has done it, a "
    "minute as a rule, and try again."
)


@dataclass(frozen=True, kw_only=True)
class Present:
    """A customer who exists.

    :param address: canonical; None for no usable one.
    :param box: the checkbox as the host's row has it.
    """

    address: str | None
    box: bool | None
    state: CustomerState


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What erasing a person would do.

    :param exists: they are a customer still.
    :param connected: there is a Mailchimp account to delete them from.
    :param addresses: that are theirs alone, and go.
    :param shared: that another customer has, too: those stay at Mailchimp.
    :param lists: where the addresses are deleted, by name.
    :param decisions: of theirs in the ledger.
    :param hindrance: why it can't be done now, and what to do; None if it can.
    """

    exists: bool
    connected: bool
    addresses: tuple[str, ...]
    shared: tuple[str, ...]
    lists: tuple[str, ...]
    decisions: int
    hindrance: str | None


def present(services: Services, tenant: str, key: str) -> Present | None:
    """The customer with this primary key as text; None if this tenant has no such customer."""
    mapping = services.mapping
    if "\0" in key:  # PostgreSQL has no such text
        return None
    try:
        with services.begin() as tx:
            found = mapping.load(tx.session, [key]).get(key)
            if found is None or mapping.tenant_of(found) != tenant:
                return None
            address, box = mapping.address_of(found), mapping.box(found)
            return Present(address=address, box=box, state=standing.state_of(services, found))
    except (ValueError, TypeError, OverflowError, DBAPIError):
        return None  # no text of a key of this model


def look(services: Services, tenant: str, key: str) -> None:
    """Have a worker look at the customer's address at Mailchimp, as a ring does.

    :raises RefusedInput: there is no such customer, or no connection.
    """
    if present(services, tenant, key) is None:
        raise RefusedInput(Text("There is no customer with this key."))

    def work(tx: Transaction) -> None:
        connection = connect.ours(tx, services, tenant)
        record = _record(tx, services, connection, key)
        if record is not None and record.audience_id and record.address:
            inbound.look(tx, services, connection.id, {(record.audience_id, record.address)})
        else:  # nobody has seen them here yet, or their row is the problem
            outbox.look_at(tx, services, tenant, [key])

    services.transact(work)
    services.wake()


# Given out


def export(services: Services, tenant: str, key: str) -> dict[str, Any]:
    """Everything that we keep of this person, for a request for access; times are aware UTC.

    No keys or secrets of ours are in it.

    :raises RefusedInput: nothing is known of such a customer.
    """
    now = present(services, tenant, key)
    with services.begin() as tx:
        connection = overviews.find(tx, services, tenant)
        decided = _decisions(tx, services, tenant, key)
        if now is None and not decided:
            raise RefusedInput(Text("Nothing is known of a customer with this key."))
        record = None if connection is None else _record(tx, services, connection, key)
        known, rings = [], []
        if connection is not None:
            lists = {row.id: row for row in _lists(tx, services, connection)}
            addresses = _addresses(decided, record, now)
            known = [
                _plain_contact(row, lists[row.audience_id])
                for row in contacts.find(
                    tx, services, {(id_, address) for id_ in lists for address in addresses}
                ).values()
            ]
            rings = [_plain_ring(row, lists) for row in _rings(tx, services, lists, addresses)]
    return {
        "schema": "flask-mailchimp-optin/person",
        "schema_version": SCHEMA_VERSION,
        "exported_at": services.now(),
        "customer_key": key,
        "tenant": tenant,
        "customer": None if now is None else {"address": now.address, "opt_in": now.box},
        "state": None if now is None else asdict(now.state),
        "last_seen_here": None if record is None else _plain_record(record),
        "at_mailchimp": known,
        "decisions": [_plain_decision(row) for row in reversed(decided)],
        "webhooks": rings,
    }


def as_json(exported: dict[str, Any]) -> str:
    """An export as text, with ISO times."""
    return json.dumps(exported, default=lambda at: at.isoformat(), ensure_ascii=False, indent=2)


def _plain_record(row: Row[Any]) -> dict[str, Any]:
    return {
        "address": row.address,
        "opt_in": row.opt_in,
        "decided_at": utc(row.decided_at),
        "held_back_since": utc(row.erased_at),
        "problem": row.problem,
        "seen_at": utc(row.seen_at),
    }


def _plain_contact(row: Any, audience: Row[Any]) -> dict[str, Any]:
    sent = [{"request": verb, "sent_at": at} for verb, at, _ in row.late]
    if row.open_verb is not None:
        sent.append({"request": row.open_verb, "sent_at": row.open_at})
    return {
        "list_id": audience.list_id,
        "list_name": audience.name,
        "address": row.address,
        "wanted": row.wanted,
        "wanted_at": row.wanted_at,
        "agreed": row.agreed,
        "agreed_at": row.agreed_at,
        "status": row.seen_status,
        "status_changed_at": row.seen_changed_at,
        "opted_in_at": row.seen_opt_at,
        "last_seen_subscribed_at": row.subscribed_seen_at,
        "seen_at": row.seen_at,
        "removed_at": row.removed_at,
        "requests_on_their_way": sent,
        "fields_sent": [tag for tag in (row.profile_tags or "").split(",") if tag],
        "fingerprint_of_what_was_sent": row.profile,
        "address_before": row.moved_from,
        "address_at_mailchimp": row.renamed_to,
        "looked_at_next": row.due_at,
        "refusal": row.refusal,
        "refusal_text": row.refusal_text,
        "refused_at": row.refused_at,
    }


def _plain_decision(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "yes": row["value"],
        "before": row["previous"],
        "decided_at": utc(row["decided_at"]),
        "recorded_at": utc(row["recorded_at"]),
        "address": row["address"],
        "list_id": row.get("list_id"),
        **{name: row[name] for name in ("actor", "source", "page", "wording")},
        "ip_address": row["ip"],
        "answer_of_mailchimp": row.get("receipt"),
    }


def _plain_ring(row: Row[Any], lists: dict[int, Row[Any]]) -> dict[str, Any]:
    return {
        "type": row.type,
        "list_id": lists[row.audience_id].list_id,
        "address": row.address,
        "new_address": row.new_address,
        "fired_at": utc(row.fired_at),
        "received_at": utc(row.received_at),
        "outcome": row.outcome,
    }


# Erased


def plan(services: Services, tenant: str, key: str) -> Plan:
    """What :func:`erase` would do.

    :raises RefusedInput: nothing is known of such a customer, or this may be a copy of another site.
    """
    now = present(services, tenant, key)
    with services.begin() as tx:
        return _plan(tx, services, tenant, key, now)


def _plan(tx: Transaction, services: Services, tenant: str, key: str, now: Present | None) -> Plan:
    connection = overviews.find(tx, services, tenant)
    if connection is not None:
        connect.ours(tx, services, tenant)  # a copy deletes nobody from the real list
    decided = _decisions(tx, services, tenant, key)
    if now is None and not decided:
        raise RefusedInput(Text("Nothing is known of a customer with this key."))
    lists: list[Row[Any]] = []
    mine: set[str] = set()
    others: set[str] = set()
    waits = bool(outbox.changed(tx, services, [key]))
    if connection is not None:
        lists = [row for row in _lists(tx, services, connection) if row.gone_at is None]
        mine = _addresses(decided, _record(tx, services, connection, key), now)
        others = _of_others(tx, services, connection, key, mine)
        waits = waits or _is_sending(tx, services, connection, mine - others)
    ticked = now is not None and now.box is True
    return Plan(
        exists=now is not None,
        connected=connection is not None,
        addresses=tuple(sorted(mine - others)),
        shared=tuple(sorted(mine & others)),
        lists=tuple(row.name for row in lists),
        decisions=len(decided),
        hindrance=_STILL_TICKED if ticked else _ON_ITS_WAY if waits else None,
    )


def erase(services: Services, tenant: str, key: str) -> Plan:
    """Delete a person permanently at Mailchimp and forget them here; what was done.

    First there, then here: whatever is cut off is begun anew by asking for it once more. A keyed hash
    of the address stays, so that an import does not bring them back; of their decisions stay the bare
    facts, without address, name, page and IP address. A customer who exists is not changed.

    :raises RefusedInput: the box is ticked, or something is on its way; nothing was done.
    :raises MailchimpError: Mailchimp could not be told; nothing is forgotten here.
    """
    found = _ready(services, tenant, key)
    if found.connected:
        _delete_at_mailchimp(services, tenant, found.addresses)
    found = _ready(services, tenant, key)
    services.transact(lambda tx: _forget(tx, services, tenant, key, found.addresses))
    logger.info("a person was erased by hand", extra={"lists": len(found.lists)})
    return found


def _ready(services: Services, tenant: str, key: str) -> Plan:
    found = plan(services, tenant, key)
    if found.hindrance is not None:
        raise RefusedInput(found.hindrance)
    return found


def _delete_at_mailchimp(services: Services, tenant: str, addresses: tuple[str, ...]) -> None:
    with services.begin() as tx:
        connection = connect.ours(tx, services, tenant)
        lists = [r.list_id for r in _lists(tx, services, connection) if r.gone_at is None]
    with connect.client_of(services, connection) as client:
        for list_id in lists:
            for address in addresses:
                try:
                    client.delete_permanently(list_id, address)
                except (NotFound, RequestRefused, MemberRefused):
                    # As a rule because they are not there, or were deleted before.
                    if client.member(list_id, address) is not None:
                        raise


def _forget(
    tx: Transaction, services: Services, tenant: str, key: str, addresses: tuple[str, ...]
) -> None:
    connection = overviews.find(tx, services, tenant)
    _strip_ledger(tx, services, tenant, key, addresses)
    if connection is None:
        return
    lists = {row.id: row for row in _lists(tx, services, connection)}
    known = contacts.find(tx, services, {(id_, a) for id_ in lists for a in addresses})
    contacts.lock(tx, services, known.values())
    tables = services.tables
    for row in known.values():
        tx.execute(delete(tables.contact).where(tables.contact.c.id == row.id))
    tx.execute(
        delete(tables.customer).where(
            tables.customer.c.customer_key == key,
            tables.customer.c.connection_id == connection.id,
        )
    )
    heard = [row.id for row in _rings(tx, services, lists, set(addresses), limit=None)]
    for chunk in chunks(heard):
        tx.execute(delete(tables.webhook_event).where(tables.webhook_event.c.id.in_(chunk)))
    house = house_of(tx, services, connection)
    erasures.remember(tx, services, house, dict.fromkeys(addresses, services.now()))


def _strip_ledger(
    tx: Transaction, services: Services, tenant: str, key: str, addresses: tuple[str, ...]
) -> None:
    """That somebody said yes or no, when and on which words, stays; who it was, goes."""
    table = services.tables.decision
    theirs = or_(table.c.customer_key == key, table.c.address.in_(addresses))
    # Found first: MySQL would lock every row that an UPDATE has to look at.
    ids = [row.id for row in tx.rows(select(table.c.id).where(table.c.tenant == tenant, theirs))]
    nothing = dict.fromkeys(("address", "actor", "page", "ip"))
    for chunk in chunks(ids):
        tx.execute(update(table).where(table.c.id.in_(chunk)).values(**nothing))


# Found


def _decisions(tx: Transaction, services: Services, tenant: str, key: str) -> list[dict[str, Any]]:
    """The ledger's rows of this tenant's customer, those that wait in the outbox last."""
    table = services.tables.decision
    mine = table.c.customer_key == key, table.c.tenant == tenant
    found = [row._asdict() for row in tx.rows(select(table).where(*mine).order_by(table.c.id))]
    waiting = outbox.decisions(tx, services, key)
    return found + [row for row in waiting if row["tenant"] == tenant]


def _record(tx: Transaction, services: Services, connection: Row[Any], key: str) -> Row[Any] | None:
    record = contacts.records(tx, services, [key]).get(key)
    return record if record is not None and record.connection_id == connection.id else None


def _lists(tx: Transaction, services: Services, connection: Row[Any]) -> list[Row[Any]]:
    table = services.tables.audience
    mine = table.c.connection_id == connection.id
    return tx.rows(select(table).where(mine).order_by(table.c.id))


def _addresses(
    decided: list[dict[str, Any]], record: Row[Any] | None, now: Present | None
) -> set[str]:
    """All that we know the person under."""
    found = {row["address"] for row in decided}
    found |= {record.address} if record is not None else set()
    found |= {now.address} if now is not None else set()
    return found - {None, ""}


def _of_others(
    tx: Transaction, services: Services, connection: Row[Any], key: str, addresses: set[str]
) -> set[str]:
    table = services.tables.customer
    mine = table.c.connection_id == connection.id, table.c.customer_key != key
    found: set[str] = set()
    for chunk in chunks(sorted(addresses)):
        rows = tx.rows(select(table.c.address).where(*mine, table.c.address.in_(chunk)))
        found |= {row.address for row in rows}
    return found


def _is_sending(
    tx: Transaction, services: Services, connection: Row[Any], addresses: set[str]
) -> bool:
    """Whether a request about the person is open, or may still land: it might bring them back."""
    lists = _lists(tx, services, connection)
    known = contacts.find(tx, services, {(row.id, a) for row in lists for a in addresses})
    now = services.now()
    landing = [memory.landed_by(row) for row in known.values()]
    return any(row.open_verb is not None for row in known.values()) or any(
        at is not None and at > now for at in landing
    )


def _rings(
    tx: Transaction,
    services: Services,
    lists: dict[int, Row[Any]],
    addresses: set[str],
    limit: int | None = _RINGS,
) -> list[Row[Any]]:
    table = services.tables.webhook_event
    theirs = or_(
        table.c.address.in_(addresses),
        # One that still waits is another person's, who changes to this address.
        and_(table.c.new_address.in_(addresses), table.c.outcome.isnot(None)),
    )
    query = select(table).where(table.c.audience_id.in_(lists), theirs)
    return tx.rows(query.order_by(table.c.id.desc()).limit(limit))
