"""Both journeys meet: contacts that are due are read, decided on, told to Mailchimp and remembered.

Up to 500 contacts of one audience at a time. What is going to be sent is written down and committed
first; no transaction is open while Mailchimp is spoken to; an answer acknowledges exactly the version
it was about.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Row, and_, false, or_, select

from . import contacts, leave, send, verdicts
from .client import Client, MemberRead, pages
from .consent import Status, Verb
from .contacts import Contact
from .errors import OutcomeUnknown, TryLater
from .lease import Lease
from .round import Round
from .services import Services, Transaction

_BATCH = 500  # Mailchimp's most in one call
_SINGLE_READS = 20  # above this many, one paged reading of what changed is cheaper
_MARGIN = timedelta(seconds=120)


def due(services: Services, *, enabled: bool, daily: bool, run_id: int | None) -> Any:
    """The SQL condition for contacts whose turn it is.

    :param enabled: False while the integration is paused: only a no goes out, for it never waits.
    :param daily: between daily syncs only nos go out, and looks that a ring asked for.
    :param run_id: the sync at work, whose contacts go out in any mode.
    """
    table = services.tables.contact
    nos = and_(table.c.wanted.is_(False), table.c.decided_version > table.c.settled_version)
    audiences = services.tables.audience
    there = select(audiences.c.id).where(audiences.c.gone_at.is_(None))
    turn = and_(table.c.due_at <= services.now(), table.c.audience_id.in_(there))
    if not enabled:
        return and_(turn, nos)
    if daily:
        of_run = table.c.run_id == run_id if run_id is not None else false()
        return and_(turn, or_(nos, table.c.look.is_(True), of_run))
    return turn


def settle(
    services: Services, lease: Lease, connection: Row[Any], client: Client, condition: Any
) -> bool:
    """Settle up to 500 due contacts of one audience; whether there were any.

    :param condition: from :func:`due`.
    :raises MailchimpError: about the connection as a whole; single members' troubles stay here.
    """
    with services.begin() as tx:
        audience, picked = _pick(tx, services, connection.id, condition)
    if audience is None:
        return False
    _run(Round(services, lease, connection, client, audience), picked)
    return True


def _pick(
    tx: Transaction, services: Services, connection_id: int, condition: Any
) -> tuple[Row[Any] | None, list[Contact]]:
    table, audiences = services.tables.contact, services.tables.audience
    query = (
        select(table)
        .where(table.c.connection_id == connection_id, condition)
        # A no goes ahead of everything; then whoever has waited longest.
        .order_by(table.c.wanted.is_(None), table.c.wanted, table.c.due_at, table.c.id)
    )
    first = tx.row(query.limit(1))
    if first is None:
        return None, []
    audience = tx.row(select(audiences).where(audiences.c.id == first.audience_id))
    if first.attempts >= send.ALONE_AFTER:
        return audience, [Contact.of(first)]
    company = query.where(
        table.c.audience_id == first.audience_id, table.c.attempts < send.ALONE_AFTER
    )
    return audience, [Contact.of(row) for row in tx.rows(company.limit(_BATCH))]


def _run(here: Round, picked: list[Contact]) -> None:
    for contact in picked:
        if contact.moved_from:
            leave.move(here, contact)
    here.load(picked)
    for contact in (c for c in picked if c.orphan):
        leave.part(here, contact)
    owned = [c for c in picked if not c.orphan]
    reads = _read(here, [c for c in owned if _needs_reading(c)])
    for contact in owned:
        if contact.pair in reads:
            verdicts.take(here, contact, contacts.member_of(reads[contact.pair]))
        elif not _needs_reading(contact):
            verdicts.without_reading(here, contact)
    to_send = {contact.id for contact, _ in here.verbs}
    looked = [c for c in owned if c.pair in reads or not _needs_reading(c)]
    here.save([c for c in looked if c.id not in to_send])
    send.together(here, [v for v in here.verbs if v[1] in (Verb.UPSERT, Verb.REMOVE)])
    for contact, verb in [v for v in here.verbs if v[1] in (Verb.ASK, Verb.REJOIN)]:
        send.alone(here, contact, verb)
    here.tell()


def _read(here: Round, wanted: list[Contact]) -> dict[tuple[int, str], MemberRead | None]:
    """The members as they are now. One that a bulk reading doesn't show is as last seen."""
    known = [c for c in wanted if c.seen_at is not None and c.seen_status != Status.ABSENT]
    if len(wanted) <= _SINGLE_READS:
        known = []
    found: dict[tuple[int, str], MemberRead | None] = {c.pair: _as_seen(c) for c in known}
    found |= here.members([c for c in wanted if c.pair not in found])
    if known:
        found |= _changed(here, known)
    return found


def _changed(here: Round, known: list[Contact]) -> dict[tuple[int, str], MemberRead | None]:
    """Those of the known members who changed since they were seen, by one paged reading."""
    since = min(c.seen_at for c in known) - _MARGIN
    pairs = {contact.pair for contact in known}
    found: dict[tuple[int, str], MemberRead | None] = {}
    try:
        for page in pages(here.client, here.audience.list_id, since):
            found |= {(here.audience.id, member.address): member for member in page}
    except (OutcomeUnknown, TryLater) as error:
        if error.status in (403, 429):
            raise
        # Reading from long ago may fail again and again: each on its own then.
        return here.members(known)
    return {pair: member for pair, member in found.items() if pair in pairs}


def _needs_reading(contact: Contact) -> bool:
    """Whether Mailchimp must be read before anything can be decided.

    A yes needs no reading, but for somebody unsubscribed: an UPSERT would move ``last_changed``, which
    tells whether it was our own REMOVE, and nothing since, that unsubscribed them.
    """
    comes_back = contact.moved and contact.seen_status == Status.UNSUBSCRIBED
    unsure = contact.look or contact.open_verb or contact.late_verb
    return bool(unsure or comes_back or contact.wanted is not True)


def _as_seen(contact: Contact) -> MemberRead:
    return MemberRead(
        address=contact.address,
        status=contact.seen_status,
        last_changed=contact.seen_changed_at,
        timestamp_opt=contact.seen_opt_at,
    )
