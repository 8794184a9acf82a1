"""Where people stand: a customer's real state, their history, and the contacts that need attention.

Reads only. For the host's own pages, the activity page and the commands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, or_, select

from . import contacts, overviews, site
from .consent import Agreed, Status
from .ledger import Decision
from .models import utc
from .services import Services, Transaction


@dataclass(frozen=True, kw_only=True)
class CustomerState:
    """What is true of a customer at Mailchimp, for the host's own pages.

    :param state: ``not_connected``, ``copied`` (nothing is sent from a copy), ``never_asked``,
        ``waiting`` (to be sent), ``subscribed``, ``asked`` (waiting for the person's confirmation),
        ``unsubscribed``, ``archived``, ``bounced``, ``refused``, ``erased`` (held back: nobody decided
        since the address was erased) or ``bad_address``.
    :param text: the same in plain words.
    :param way_out: what can be done about it; None if nothing has to be.
    :param link: an address that helps, such as the list's sign-up form.
    :param as_of: when Mailchimp last showed it, aware UTC.
    """

    state: str
    text: str
    way_out: str | None = None
    link: str | None = None
    as_of: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Attention:
    """A customer whose wish could not be carried out.

    :param contact_id: for a retry; None where the customer's row itself is the problem.
    :param reason: a short word for grouping.
    :param text: why, and what to do, in plain words.
    """

    contact_id: int | None
    customer_keys: tuple[str, ...]
    address: str | None
    list_name: str | None
    reason: str
    text: str
    link: str | None
    since: datetime | None


_TEXTS = {
    "not_connected": "Mailchimp is not connected.",
    "copied": "Nothing is sent to Mailchimp from here: this may be a copy of another site.",
    "never_asked": "Has not decided yet.",
    "waiting": "Waiting to be sent to Mailchimp.",
    "subscribed": "Subscribed at Mailchimp.",
    "asked": "Waiting for the person's confirmation by mail.",
    "unsubscribed": "Not subscribed at Mailchimp.",
}


def state_of(services: Services, customer: Any) -> CustomerState:
    """A customer's state at Mailchimp, as far as we know it now; asks nobody."""
    return states_of(services, [customer])[services.mapping.key_of(customer)]


def states_of(services: Services, customers: Iterable[Any]) -> dict[str, CustomerState]:
    """The states of many customers with a handful of queries, by their primary key as text."""
    mapping = services.mapping
    by_tenant: dict[str, dict[str, Any]] = {}
    for customer in customers:
        of_tenant = by_tenant.setdefault(mapping.tenant_of(customer) or "", {})
        of_tenant[mapping.key_of(customer)] = customer
    found: dict[str, CustomerState] = {}
    with services.begin() as tx:
        for tenant, of_tenant in by_tenant.items():
            connection = overviews.find(tx, services, tenant)
            if connection is None:
                found |= dict.fromkeys(of_tenant, _plain("not_connected"))
            elif site.is_other(tx, services, connection):
                found |= dict.fromkeys(of_tenant, _COPIED)
            else:
                found |= _states(tx, services, connection, of_tenant)
    return found


def _states(
    tx: Transaction, services: Services, connection: Row[Any], customers: dict[str, Any]
) -> dict[str, CustomerState]:
    records = contacts.records(tx, services, list(customers))
    pairs = {(r.audience_id, r.address) for r in records.values() if r.audience_id and r.address}
    known = contacts.find(tx, services, pairs)
    audiences = services.tables.audience
    lists = {
        row.id: row
        for row in tx.rows(select(audiences).where(audiences.c.connection_id == connection.id))
    }
    outbox, waiting = services.tables.outbox, set()
    for chunk in contacts.chunks(list(customers)):
        query = select(outbox.c.customer_key).where(outbox.c.customer_key.in_(chunk))
        waiting |= {row.customer_key for row in tx.rows(query)}
    return {
        key: _one_state(
            records.get(key),
            known,
            lists,
            waits=key in waiting,
            box=services.mapping.box(customer),
        )
        for key, customer in customers.items()
    }


def _one_state(
    record: Row[Any] | None,
    known: dict[tuple[int, str], contacts.Contact],
    lists: dict[int, Row[Any]],
    *,
    waits: bool,
    box: bool | None,
) -> CustomerState:
    if record is None:
        return _plain("waiting" if waits or box else "never_asked")
    if record.problem and record.opt_in:
        return CustomerState(
            state="bad_address", text=record.problem, way_out="Correct the customer's details."
        )
    contact = known.get((record.audience_id, record.address))
    if record.erased_at and (contact is None or contact.wanted is None):
        return _erased(lists.get(record.audience_id))
    if contact is None:
        return _plain("waiting" if waits else "never_asked")
    return _of_contact(contact, lists.get(record.audience_id), waits=waits)


def _plain(state: str, as_of: datetime | None = None) -> CustomerState:
    return CustomerState(state=state, text=_TEXTS[state], as_of=as_of)


ERASED = (
    "This address was erased when a customer was deleted, and came back ticked without a decision: "
    "nothing was sent. If the person agreed anew, untick and tick the box, or let them sign up "
    "themselves."
)

_COPIED = CustomerState(
    state="copied",
    text=_TEXTS["copied"],
    way_out="An administrator says on the settings page what this site is.",
)


def _of_contact(
    contact: contacts.Contact, audience: Row[Any] | None, *, waits: bool
) -> CustomerState:
    if contact.refusal is not None and contact.refusal != "merge_fields":
        return _refused(contact, audience)
    if waits or contact.moved or (contact.due_at is not None and not contact.late):
        return _plain("waiting", contact.seen_at)
    if contact.agreed == Agreed.ASKED or contact.seen_status == Status.PENDING:
        return _plain("asked", contact.seen_at)
    if contact.agreed == Agreed.YES and contact.seen_status == Status.SUBSCRIBED:
        return _plain("subscribed", contact.seen_at)
    if contact.wanted is None:
        return _plain("never_asked", contact.seen_at)
    return _plain("unsubscribed", contact.seen_at)


def _erased(audience: Row[Any] | None) -> CustomerState:
    return CustomerState(
        state="erased",
        text=ERASED,
        way_out="If the person agreed anew, untick and tick the box, or send them the sign-up form.",
        link=(audience.subscribe_url if audience is not None else "") or None,
    )


def _refused(contact: contacts.Contact, audience: Row[Any] | None) -> CustomerState:
    state = contact.refusal if contact.refusal in ("archived", "bounced") else "refused"
    link = _link(contact.refusal, audience.subscribe_url if audience is not None else "")
    return CustomerState(
        state=state,
        text=contact.refusal_text or "Refused by Mailchimp.",
        way_out="Send the person the sign-up form." if link else "Correct it, then try again.",
        link=link,
        as_of=contact.seen_at or contact.refused_at,
    )


def _link(refusal: str, subscribe_url: str) -> str | None:
    return subscribe_url or None if refusal in ("compliance", "forgotten") else None


def history_of(services: Services, customer: Any) -> list[Decision]:
    """Every decision about a customer, newest first."""
    return history_of_key(services, services.mapping.key_of(customer))


def history_of_key(services: Services, key: str, tenant: str | None = None) -> list[Decision]:
    """Every decision about the customer with this primary key (as text), newest first.

    :param tenant: only what was decided as this tenant's customer; None: whoever's.
    """
    table = services.tables.decision
    query = select(table).where(table.c.customer_key == key).order_by(table.c.id.desc())
    if tenant is not None:
        query = query.where(table.c.tenant == tenant)
    with services.begin() as tx:
        rows = tx.rows(query)
    names = ["value", "previous", "actor", "source", "page", "wording", "ip", "list_id", "receipt"]
    return [
        Decision(
            decided_at=utc(row.decided_at),
            recorded_at=utc(row.recorded_at),
            **{name: getattr(row, name) for name in names},
        )
        for row in rows
    ]


def attention(services: Services, tenant: str, *, limit: int = 100) -> list[Attention]:
    """Who needs attention: refused by Mailchimp, and customers whose row can't be sent."""
    with services.begin() as tx:
        connection = overviews.find(tx, services, tenant)
        if connection is None:
            return []
        found = _refused_contacts(tx, services, connection, limit)
        return found + _problem_customers(tx, services, connection, limit - len(found))


def _refused_contacts(
    tx: Transaction, services: Services, connection: Row[Any], limit: int
) -> list[Attention]:
    table, audiences = services.tables.contact, services.tables.audience
    rows = tx.rows(
        select(
            table,
            audiences.c.name.label("list_name"),
            audiences.c.subscribe_url.label("subscribe_url"),
        )
        .join(audiences, audiences.c.id == table.c.audience_id)
        .where(table.c.connection_id == connection.id, table.c.refusal.isnot(None))
        .order_by(table.c.refusal, table.c.id)
        .limit(limit)
    )
    owners = contacts.owners(tx, services, [(row.audience_id, row.address) for row in rows])
    return [
        Attention(
            contact_id=row.id,
            customer_keys=tuple(
                owner.customer_key for owner in owners.get((row.audience_id, row.address), [])
            ),
            address=row.address,
            list_name=row.list_name,
            reason=row.refusal,
            text=row.refusal_text or "",
            link=_link(row.refusal, row.subscribe_url),
            since=utc(row.refused_at),
        )
        for row in rows
    ]


def _problem_customers(
    tx: Transaction, services: Services, connection: Row[Any], limit: int
) -> list[Attention]:
    table, audiences = services.tables.customer, services.tables.audience
    rows = tx.rows(
        select(table, audiences.c.name.label("list_name"), audiences.c.subscribe_url)
        .outerjoin(audiences, audiences.c.id == table.c.audience_id)
        .where(table.c.connection_id == connection.id, *_is_problem(services))
        .order_by(table.c.id)
        .limit(max(0, limit))
    )
    return [_problem(row) for row in rows]


def _problem(row: Row[Any]) -> Attention:
    erased = row.problem is None
    return Attention(
        contact_id=None,
        customer_keys=(row.customer_key,),
        address=row.address,
        list_name=row.list_name if erased else None,
        reason="erased" if erased else "customer",
        text=ERASED if erased else row.problem,
        link=row.subscribe_url or None if erased else None,
        since=utc(row.seen_at),
    )


def _is_problem(services: Services) -> tuple[Any, Any]:
    table = services.tables.customer
    cannot_be_sent = or_(table.c.problem.isnot(None), table.c.erased_at.isnot(None))
    return cannot_be_sent, table.c.opt_in.is_(True)


def attention_count(services: Services, tenant: str) -> int:
    """How many need attention."""
    table, customers = services.tables.contact, services.tables.customer
    with services.begin() as tx:
        connection = overviews.find(tx, services, tenant)
        if connection is None:
            return 0
        refused = tx.value(
            select(func.count()).where(
                table.c.connection_id == connection.id, table.c.refusal.isnot(None)
            )
        )
        problems = tx.value(
            select(func.count()).where(
                customers.c.connection_id == connection.id, *_is_problem(services)
            )
        )
    return int(refused or 0) + int(problems or 0)
