"""Where people stand: a customer's real state, and their history.

Reads only. For the host's own pages, the history page and the commands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from . import contacts, memory, outbox, overviews, reasons, reconcile, site
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
                found |= dict.fromkeys(of_tenant, _plain("copied"))
            else:
                found |= _states(tx, services, connection, of_tenant)
    return found


def _states(
    tx: Transaction, services: Services, connection: Row[Any], customers: dict[str, Any]
) -> dict[str, CustomerState]:
    records = contacts.records(tx, services, list(customers))
    pairs = {(r.audience_id, r.address) for r in records.values() if r.audience_id and r.address}
    audiences = services.tables.audience
    here = _Here(
        connection=connection,
        lists={
            row.id: row
            for row in tx.rows(select(audiences).where(audiences.c.connection_id == connection.id))
        },
        held=reconcile.waiting(tx, services, connection.id) is not None,
    )
    known = contacts.find(tx, services, pairs)
    waits = outbox.changed(tx, services, customers)
    return {
        key: here.state(
            records.get(key), known, waits=key in waits, box=services.mapping.box(customer)
        )
        for key, customer in customers.items()
    }


def _plain(state: str, as_of: datetime | None = None, link: str | None = None) -> CustomerState:
    return CustomerState(
        state=state,
        text=reasons.TEXTS[state],
        way_out=reasons.WAYS_OUT.get(state),
        link=link,
        as_of=as_of,
    )


@dataclass(frozen=True, kw_only=True)
class _Here:
    """A connection, its lists by id, and whether a sync is held back for an administrator."""

    connection: Row[Any]
    lists: dict[int, Row[Any]]
    held: bool

    def state(
        self,
        record: Row[Any] | None,
        known: dict[tuple[int, str], memory.Contact],
        *,
        waits: bool,
        box: bool | None,
    ) -> CustomerState:
        """A customer's, from what we remember of them."""
        if record is None:
            return self._waiting(None, no=not box) if waits or box else _plain("never_asked")
        if record.problem and record.opt_in:
            way_out = reasons.WAYS_OUT["bad_address"]
            return CustomerState(state="bad_address", text=record.problem, way_out=way_out)
        contact = known.get((record.audience_id, record.address))
        if record.erased_at and (contact is None or contact.wanted is None):
            return _plain("erased", link=self._form("erased", record.audience_id))
        if contact is None:
            to_send = waits or record.opt_in
            return self._waiting(None, no=not box) if to_send else _plain("never_asked")
        return self._of_contact(contact, waits=waits, no=not box)

    def _of_contact(self, contact: memory.Contact, *, waits: bool, no: bool) -> CustomerState:
        if contact.refusal is not None and contact.refusal != "merge_fields":
            return self._refused(contact)
        if waits or contact.moved or (contact.due_at is not None and not contact.late):
            found = self._waiting(contact, no=no)
            asks = contact.look and not waits and not contact.moved
            if asks and found.text == reasons.TEXTS["waiting"]:
                return replace(found, text=reasons.TEXTS["looking"])
            return found
        state = "unsubscribed"
        if contact.agreed == Agreed.ASKED or contact.seen_status == Status.PENDING:
            state = "asked"
        elif contact.agreed == Agreed.YES and contact.seen_status == Status.SUBSCRIBED:
            state = "bare" if contact.refusal else "subscribed"
        elif contact.wanted is None:
            state = "never_asked"
        elif contact.wanted:
            state = "left"
        found = _plain(state, contact.seen_at, self._form(state, contact.audience_id))
        return replace(found, state=_ALSO.get(state, state))

    def _refused(self, contact: memory.Contact) -> CustomerState:
        reason = str(contact.refusal)
        return CustomerState(
            state=reason if reason in ("archived", "bounced") else "refused",
            text=reasons.refused(reason, contact.refusal_text),
            way_out=reasons.WAYS_OUT.get(reason),
            link=self._form(reason, contact.audience_id),
            as_of=contact.seen_at or contact.refused_at,
        )

    def _waiting(self, contact: memory.Contact | None, *, no: bool) -> CustomerState:
        now, audience = self.connection, None if contact is None else contact.audience_id
        # A no waits for nothing that an administrator has chosen.
        text, way_out = reasons.waiting(
            stopped=now.suspended is not None,
            gone=self._is_gone(audience or now.master_audience_id),
            disabled=not no and not now.enabled,
            held=not no and self.held and (contact is None or contact.due_at is None),
            daily=not no and bool(now.daily),
            failed=contact is not None and contact.attempts > 0,
        )
        as_of = None if contact is None else contact.seen_at
        return CustomerState(state="waiting", text=text, way_out=way_out, as_of=as_of)

    def _is_gone(self, audience_id: int | None) -> bool:
        audience = self.lists.get(audience_id or 0)
        return audience is None or audience.gone_at is not None

    def _form(self, reason: str, audience_id: int | None) -> str | None:
        audience = self.lists.get(audience_id or 0)
        return reasons.link(reason, audience.subscribe_url if audience is not None else None)


#: States that differ in words only.
_ALSO = {"bare": "subscribed", "left": "unsubscribed"}


def history_of(services: Services, customer: Any) -> list[Decision]:
    """Every decision about a customer, newest first."""
    return history_of_key(services, services.mapping.key_of(customer))


def history_of_key(services: Services, key: str, tenant: str | None = None) -> list[Decision]:
    """Every decision about the customer with this primary key (as text), newest first.

    :param tenant: only what was decided as this tenant's customer; None: whoever's.
    """
    table = services.tables.decision
    with services.begin() as tx:
        found = [
            row._asdict()
            for row in tx.rows(
                select(table).where(table.c.customer_key == key).order_by(table.c.id)
            )
        ]
        found += outbox.decisions(tx, services, key)
    return [_decision(row) for row in reversed(found) if tenant in (None, row["tenant"])]


def _decision(row: dict[str, Any]) -> Decision:
    names = ["value", "previous", "actor", "source", "page", "wording", "ip"]
    return Decision(
        decided_at=utc(row["decided_at"]),
        recorded_at=utc(row["recorded_at"]),
        list_id=row.get("list_id"),
        receipt=row.get("receipt"),
        **{name: row[name] for name in names},
    )
