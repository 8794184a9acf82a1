"""Both journeys meet: contacts that are due are read, decided on, told to Mailchimp and remembered.

Some thousand contacts of one audience at a time, the next call's made ready while others are under way.
What is going to be sent is written down and committed first; no transaction is open while Mailchimp is
spoken to; an answer acknowledges exactly the version it was about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Row, and_, false, or_, select

from . import contacts, leave, memory, send, verdicts
from .client import LARGEST_BATCH, Client, MemberRead
from .consent import EPSILON, Agreed, Status, Verb
from .errors import OutcomeUnknown, TryLater
from .lease import Lease
from .memory import Contact
from .recent import Recent
from .round import Round
from .services import Services, Transaction, chunks
from .shards import Shards

#: All that may be wanted, most urgent first. An index finds who is due of each, and reads nobody else.
WANTED = (False, True, None)
_SINGLE_READS = 20  # above this many, one paged reading of what changed is cheaper
_DEEP = 4  # calls one after the other that a round may take, unless something else turns up
_ALONE = (Verb.ASK, Verb.REJOIN)  # of one person at a time


def due(
    services: Services,
    *,
    enabled: bool,
    daily: bool,
    run_id: int | None,
    left: int | None = None,
) -> Any:
    """The SQL condition for contacts whose turn it is.

    :param enabled: False while the integration is paused: only a no goes out, for it never waits.
    :param daily: between daily syncs only nos go out, and looks that a ring asked for.
    :param run_id: the sync at work, whose contacts go out in any mode.
    :param left: the audience that customers leave: what is new there is heard first.
    """
    table = services.tables.contact
    nos = and_(table.c.wanted.is_(False), table.c.decided_version > table.c.settled_version)
    audiences = services.tables.audience
    there = select(audiences.c.id).where(audiences.c.gone_at.is_(None))
    turn = and_(table.c.due_at <= services.now(), table.c.audience_id.in_(there))
    if not enabled and left is not None:
        news = and_(table.c.audience_id == left, table.c.look.is_(True), contacts.is_told(table))
        return and_(turn, or_(nos, news))
    if not enabled:
        return and_(turn, nos)
    if daily:
        of_run = table.c.run_id == run_id if run_id is not None else false()
        return and_(turn, or_(nos, table.c.look.is_(True), of_run))
    return turn


def is_plain(services: Services) -> Any:
    """The SQL condition for contacts that can be settled each on their own, by whoever helps."""
    table = services.tables.contact
    return and_(table.c.orphan.is_(None), table.c.moved_from.is_(None))


def settle(
    services: Services,
    lease: Lease | Shards,
    connection: Row[Any],
    client: Client,
    recent: Recent,
    condition: Any,
    goes_on: Callable[[], bool],
) -> int:
    """Settle due contacts of one audience, as many as go out at once and some more; how many.

    :param condition: from :func:`due`.
    :param goes_on: whether nothing more urgent has turned up; else the rest stays due.
    :raises MailchimpError: about the connection as a whole; single members' troubles stay here.
    """
    most = LARGEST_BATCH * lease.at_a_time * (_DEEP if goes_on() else 1)
    with services.begin() as tx:
        audience, picked = _pick(tx, services, connection.id, condition, most)
    if audience is None:
        return 0
    try:
        _run(Round(services, lease, connection, client, recent, audience), picked, goes_on)
    finally:
        client.until = None
    return len(picked)


def _pick(
    tx: Transaction, services: Services, connection_id: int, condition: Any, most: int
) -> tuple[Row[Any] | None, list[Contact]]:
    table, audiences = services.tables.contact, services.tables.audience
    for wanted in WANTED:
        query = (
            select(table)
            .where(table.c.connection_id == connection_id, table.c.wanted.is_(wanted), condition)
            .order_by(table.c.due_at, table.c.id)
        )
        first = tx.row(query.limit(1))
        if first is not None:
            break
    else:
        return None, []
    audience = tx.row(select(audiences).where(audiences.c.id == first.audience_id))
    if first.attempts >= send.ALONE_AFTER:
        return audience, [contacts.read(first)]
    company = query.where(
        table.c.audience_id == first.audience_id, table.c.attempts < send.ALONE_AFTER
    )
    return audience, [contacts.read(row) for row in tx.rows(company.limit(most))]


def _run(here: Round, picked: list[Contact], goes_on: Callable[[], bool]) -> None:
    for contact in picked:
        memory.adopt(contact, here.services.now())
    here.looked_at([c for c in picked if c.moved_from])
    old = {c.moved_from for c in picked}
    picked = [c for c in picked if not c.moved_from or leave.move(here, c)]
    # What a move made of the old address's contact is not overwritten: it is due on its own.
    picked = [c for c in picked if c.address not in old]
    orphans = [c for c in picked if c.orphan]
    here.load(orphans)
    here.looked_at(orphans)
    for contact in orphans:
        leave.part(here, contact)
    owned = [c for c in picked if not c.orphan]
    few = len(owned) <= LARGEST_BATCH
    send.together(here, _ready(here, owned, _read(here, owned)), goes_on, few=few)
    for contact, verb in [v for v in here.verbs if v[1] in _ALONE]:
        send.alone(here, contact, verb)
    here.tell()


def _ready(
    here: Round, owned: list[Contact], reads: Mapping[tuple[int, str], MemberRead | None]
) -> Iterator[list[tuple[Contact, Verb]]]:
    """What can be told together, as many contacts at a time as one call takes."""
    for some in chunks(owned, LARGEST_BATCH):
        here.load(some)
        here.looked_at(some)
        before, here.verbs = here.verbs, []
        looked, alike = [], verdicts.Alike()
        for contact in some:
            if contact.pair in reads:
                read = reads[contact.pair]
                shown = read.merge_fields if read is not None else None
                verdicts.take(here, contact, memory.member_of(read), alike, details=shown)
            elif _needs_no_reading(contact):
                verdicts.without_reading(here, contact)
            else:
                continue  # it could not be read
            looked.append(contact)
        found, here.verbs = here.verbs, before
        to_send = {contact.id for contact, _ in found}
        here.save([c for c in looked if c.id not in to_send])
        here.verbs += [v for v in found if v[1] in _ALONE]
        yield [v for v in found if v[1] not in _ALONE]


def _read(here: Round, owned: list[Contact]) -> dict[tuple[int, str], MemberRead | None]:
    """The members as they are now; of many, who changed since they were seen.

    Whoever gets an UPSERT whatever a reading shows is not read where they are many, but for who was
    archived: it leaves every other status alone, and its answer shows it.
    """
    here.read_at = here.services.now()
    if len(owned) <= _SINGLE_READS:
        return here.members(owned)
    unread: list[Contact] = []
    known: list[Contact] = []
    single: list[Contact] = []
    for c in owned:
        if _is_new(c) or _is_newcomer(c) or _is_settled(c):
            unread.append(c)
        elif c.seen_at and (c.wanted or c.seen_status != Status.ABSENT):
            known.append(c)
        else:  # that somebody was not there is good enough for a yes only
            single.append(c)
    if len(known) <= _SINGLE_READS:
        known, single = [], single + known
    found = here.members(single)
    return found | _changed(here, known, unread) if known or unread else found


def _needs_no_reading(contact: Contact) -> bool:
    """A yes that makes whoever is none a member, and is refused of whoever is one; or a settled one."""
    return _is_new(contact) or _is_settled(contact) or (_is_newcomer(contact) and contact.moved)


def _is_new(contact: Contact) -> bool:
    """A yes of somebody whom we never saw, and about whom nothing is unsure."""
    return bool(
        contact.seen_at is None and contact.wanted and not contact.look and not contact.late
    )


def _is_newcomer(contact: Contact) -> bool:
    """A yes of somebody who was not there when we looked, and about whom nothing is unsure."""
    absent = contact.seen_status == Status.ABSENT and contact.agreed == Agreed.NOTHING
    return bool(absent and contact.wanted and not contact.look and not contact.late)


def _is_settled(contact: Contact) -> bool:
    """A yes of a member, as we last saw, so that there are only details to send.

    If that has changed meanwhile, the answer to the UPSERT shows it.
    """
    agreed = contact.agreed == Agreed.YES and contact.seen_status == Status.SUBSCRIBED
    settled = contact.wanted and agreed and contact.seen_at is not None and not contact.moved
    unsure = contact.look or contact.late or contact.refusal not in (None, "merge_fields")
    return bool((settled or memory.is_there(contact)) and not unsure)


def _changed(
    here: Round, known: list[Contact], unread: list[Contact]
) -> dict[tuple[int, str], MemberRead | None]:
    """Those we know as a bulk reading shows them, or as last seen; of the others, whom it shows.

    The others are in it only if they are archived: among who changed would be everybody whom a long
    sync has just sent, again for each of its batches.
    """
    everybody = known + unread
    changed = min((c.seen_at for c in known), default=None)
    since = min(c.seen_at or c.wanted_at or here.read_at for c in everybody)
    undated = any(c.wanted_at is None for c in unread if c.seen_at is None)
    try:
        reading = here.recent.read(
            here.audience.list_id,
            changed - EPSILON if changed else None,
            None if here.connection.always_confirm or undated else since - EPSILON,
            [contact.address for contact in everybody],
            max((c.due_at for c in known if c.look), default=None),
        )
    except (OutcomeUnknown, TryLater) as error:
        if error.status in (403, 429):
            raise
        # Reading from long ago may fail again and again: each on its own then.
        return here.members(everybody)
    here.read_at = min(here.read_at, reading.at)
    found: dict[tuple[int, str], MemberRead | None] = {
        c.pair: _as_seen(c) for c in everybody if not _needs_no_reading(c)
    }
    for contact in everybody:
        if contact.address in reading.members:
            found[contact.pair] = reading.members[contact.address]
    return found


def _as_seen(contact: Contact) -> MemberRead:
    return MemberRead(
        address=contact.address,
        status=contact.seen_status,
        last_changed=contact.seen_changed_at,
        timestamp_opt=contact.seen_opt_at,
    )
