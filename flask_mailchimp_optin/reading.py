"""A sync's second phase: the members, as Mailchimp shows them now, are remembered. Both journeys."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, or_, select, update

from . import contacts, edits, memory, runs
from .client import PAGE, STEP, Client, MemberRead, is_whole
from .consent import Status
from .errors import NotFound
from .lease import Lease
from .memory import Contact
from .models import utc
from .services import Services, Transaction, chunks

#: A daily reading starts this long before the last one began.
_OVERLAP = timedelta(minutes=10)
#: So often a daily reading is one of all members: who is gone for good is shown by no other, if its ring
#: was lost.
_IN_FULL_EVERY = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class _Page:
    """Members from some offset on, as they were at a time; none of a list that is gone."""

    offset: int
    at: datetime
    rows: list[MemberRead]
    total: int
    gone: bool = False

    @property
    def is_last(self) -> bool:
        return len(self.rows) < PAGE or self.offset + len(self.rows) >= self.total


def read(
    services: Services,
    lease: Lease,
    connection: Row[Any],
    run: Row[Any],
    client: Client,
    goes_on: Callable[[], bool],
) -> bool:
    """Some pages of one list; each is remembered while the next ones are on their way."""
    cursor = json.loads(run.cursor or "{}")
    if "todo" not in cursor:
        cursor = _begin_reading(services, connection, run, cursor.get("nobody_at"))
    if not cursor["todo"]:
        services.transact(lambda tx: _held(tx, lease, services, run, cursor))
        return True
    counts = {"members": run.members, "members_done": run.members_done}
    pages = _pages(services, client, cursor["todo"][0], cursor["offset"], lease.at_a_time, goes_on)
    for page in pages:
        cursor, counts = _take(services, lease, connection, run, page, cursor, counts)
    return True


def _pages(
    services: Services,
    client: Client,
    todo: list[Any],
    offset: int,
    at_a_time: int,
    goes_on: Callable[[], bool],
) -> Iterator[_Page]:
    """From this offset on, in their order, several under way at a time; until the time is up."""
    _, list_id, since_text, status = todo
    since = datetime.fromisoformat(since_text) if since_text else None

    def page(offset: int) -> _Page:
        at = services.now()
        try:
            rows, total = client.members(list_id, since=since, offset=offset, status=status)
        except NotFound:  # the audience is: no box changes because of that
            return _Page(offset=offset, at=at, rows=[], total=0, gone=True)
        return _Page(offset=offset, at=at, rows=rows, total=total)

    first = page(offset)
    if first.is_last:
        yield first
        return
    offsets = iter(range(offset + STEP, first.total, STEP))
    with ThreadPoolExecutor(at_a_time) as pool:
        ahead: deque[Future[_Page]] = deque()

        def look_ahead() -> None:
            while len(ahead) < at_a_time and goes_on():
                following = next(offsets, None)
                if following is None:
                    return
                ahead.append(pool.submit(page, following))

        look_ahead()
        yield first
        while ahead:
            found = ahead.popleft().result()
            if not found.is_last:
                look_ahead()
            yield found
            if found.is_last:
                return


def _take(
    services: Services,
    lease: Lease,
    connection: Row[Any],
    run: Row[Any],
    page: _Page,
    cursor: dict[str, Any],
    counts: dict[str, int],
) -> tuple[dict[str, Any], dict[str, int]]:
    """Remember a page; the run's cursor and its counts after that."""
    audience_id, _, since_text, status = cursor["todo"][0]
    members = counts["members"] + (page.total if page.offset == 0 else 0)
    done = min(members, counts["members_done"] + len(page.rows))
    if run.phase != runs.LEAVING:
        counts = {"members": members, "members_done": done}
    following = cursor | {"offset": page.offset + STEP}
    if page.is_last:
        following = cursor | {"todo": cursor["todo"][1:], "offset": 0}
    whole = is_whole(page.rows, page.offset, page.total)
    if page.gone or not whole:
        # Not counted as read: the next daily reading begins where the last whole one did.
        following["read"] = [id_ for id_ in cursor["read"] if id_ != audience_id]
    if not (page.gone or whole):
        following["odd"] = True
    in_full = status == Status.ARCHIVED and since_text is None and not page.gone

    def work(tx: Transaction) -> None:
        lease.hold(tx, services)
        _remember(tx, services, connection, audience_id, page.rows, page.at)
        if page.is_last and in_full:
            _doubt(tx, services, audience_id, datetime.fromisoformat(cursor["started"]))
        runs.advance(tx, services, run, following, **counts)

    services.transact(work)
    return following, counts


def _begin_reading(
    services: Services, connection: Row[Any], run: Row[Any], nobody_at: str | None
) -> dict[str, Any]:
    """What to read: each audience that is somebody's, in full or since the last reading.

    Of a list that is left, only what is new.

    :param nobody_at: when nobody was in the master list, which is as good as having read it.
    """
    table, customer = services.tables.audience, services.tables.customer
    used = select(customer.c.audience_id).where(customer.c.connection_id == connection.id)
    leaving = run.phase == runs.LEAVING
    which = or_(table.c.id == connection.master_audience_id, table.c.id.in_(used))
    if leaving:
        which = table.c.id == connection.left_audience_id
    with services.begin() as tx:
        rows = tx.rows(
            select(table)
            .where(
                table.c.connection_id == connection.id,
                table.c.gone_at.is_(None),
                which,
            )
            .order_by(table.c.id)
        )
    todo, in_full = [], []
    for row in rows:
        read_at, all_read_at = utc(row.read_at), utc(row.read_in_full_at)
        recent = all_read_at is not None and services.now() - all_read_at < _IN_FULL_EVERY
        since = None
        if read_at is not None and (leaving or (run.kind == "daily" and recent)):
            since = (read_at - _OVERLAP).isoformat()
        else:
            in_full.append(row.id)
        if nobody_at is None or row.id != connection.master_audience_id:
            # The archived are listed only when they are asked for; they come last.
            todo += [[row.id, row.list_id, since, status] for status in (None, Status.ARCHIVED)]
    started = nobody_at or services.now().isoformat()
    ids = [row.id for row in rows]
    return {"todo": todo, "offset": 0, "started": started, "read": ids, "in_full": in_full}


def _held(
    tx: Transaction, lease: Lease, services: Services, run: Row[Any], cursor: dict[str, Any]
) -> None:
    lease.hold(tx, services)
    table = services.tables.audience
    if cursor["read"]:
        started = datetime.fromisoformat(cursor["started"])
        ids = table.c.id.in_(cursor["read"])
        tx.execute(update(table).where(ids).values(read_at=started))
        in_full = [id_ for id_ in cursor["in_full"] if id_ in cursor["read"]]
        tx.execute(update(table).where(table.c.id.in_(in_full)).values(read_in_full_at=started))
        _mark_absent(tx, services, in_full, started)
    if run.phase != runs.LEAVING:
        runs.next_phase(tx, services, run)
        return
    _release(tx, services, run.connection_id, whole="odd" not in cursor)
    runs.advance(tx, services, run, {"heard": True})


def _release(tx: Transaction, services: Services, connection_id: int, *, whole: bool) -> None:
    """Have the customers hear what is new in the list that they leave, before they do.

    :param whole: all of it could be read; else everybody is looked at.
    """
    table, connection = services.tables.contact, services.tables.connection
    left = select(connection.c.left_audience_id).where(connection.c.id == connection_id)
    who = [table.c.audience_id == left.scalar_subquery(), contacts.is_told(table)]
    who += [table.c.look.is_(True)] if whole else []
    now = {"look": True, "due_at": services.now(), "version": table.c.version + 1}
    tx.execute(update(table).where(*who).values(**now))


def _mark_absent(
    tx: Transaction, services: Services, audience_ids: list[int], started: datetime
) -> None:
    """Whom a reading of all members didn't show was not there when it began.

    Only for a yes, which would do no harm, of somebody never seen before: a page may be missing by
    mistake.
    """
    table = services.tables.contact
    tx.execute(
        update(table)
        .where(
            table.c.audience_id.in_(audience_ids),
            table.c.seen_status.is_(None),
            table.c.wanted.is_(True),
        )
        .values(seen_status=Status.ABSENT.value, seen_at=started)
    )


def _remember(
    tx: Transaction,
    services: Services,
    connection: Row[Any],
    audience_id: int,
    rows: list[MemberRead],
    now: datetime,
) -> None:
    """Write down what was read of the members that belong to customers, or did."""
    still = _still_as_seen(tx, services, audience_id, rows, now)
    rows = [member for member in rows if member.address not in still]
    pairs = {(audience_id, member.address) for member in rows}
    ours = contacts.find(tx, services, pairs)
    owned = contacts.owners(tx, services, pairs - ours.keys())
    ours |= contacts.ensure(tx, services, connection.id, owned)
    changed = []
    for member in rows:
        contact = ours.get((audience_id, member.address))
        if contact is None:
            continue  # a member that is no customer: never touched
        read = memory.member_of(member)
        if _news(contact, read.status):
            # Compared with what is wanted when the run is planned; until then only remembered.
            contact.look = True
        edited = services.mapping.mapping.pull and edits.is_possible(contact, read)
        if edited or contact.late or contact.open_verb:
            contact.look = True  # what was seen before tells who made the change: the rule needs it
        else:
            memory.saw(contact, read, now, now)
        changed.append(contact)
    contacts.save(tx, services, changed)


def _still_as_seen(
    tx: Transaction,
    services: Services,
    audience_id: int,
    rows: list[MemberRead],
    now: datetime,
) -> set[str]:
    """The addresses of settled contacts whose members are as they were; when, is remembered of them.

    That is nearly everybody, every day: a few columns tell.
    """
    table = services.tables.contact
    seen = ("seen_status", "seen_changed_at", "seen_opt_at")
    columns = [table.c[name] for name in ("id", "address", *seen)]
    settled = and_(
        table.c.audience_id == audience_id,
        table.c.wanted.isnot(None),
        table.c.decided_version <= table.c.settled_version,
        table.c.late.is_(None),
        table.c.open_verb.is_(None),
    )
    members = {member.address: member for member in rows}
    still: dict[str, list[int]] = {}
    found = set()
    for chunk in chunks(list(members)):
        ours = tx.rows(select(*columns).where(settled, table.c.address.in_(chunk)))
        for id_, address, status, changed_at, opt_at in map(tuple, ours):
            member = members[address]
            if (
                status == member.status
                and utc(changed_at) == member.last_changed
                and utc(opt_at) == member.timestamp_opt
            ):
                still.setdefault(status, []).append(id_)
                found.add(address)
    for status, ids in still.items():
        values: dict[str, Any] = {"seen_at": now}
        if status == Status.SUBSCRIBED:  # as memory.saw has it
            values |= {"subscribed_seen_at": now, "removed_at": None}
        for chunk in chunks(ids):
            tx.execute(update(table).where(table.c.id.in_(chunk)).values(**values))
    return found


def _doubt(tx: Transaction, services: Services, audience_id: int, started: datetime) -> None:
    """Who was a member and is in no page may be gone for good: each is looked at on its own.

    Only a look: pages shift while others write, and an empty one proves nothing.
    """
    table = services.tables.contact
    tx.execute(
        update(table)
        .where(
            table.c.audience_id == audience_id,
            table.c.seen_status != Status.ABSENT.value,
            table.c.seen_at < started,
        )
        .values(look=True, seen_at=None)  # not seen: no bulk reading can vouch for it
    )


def _news(contact: Contact, status: Status) -> bool:
    return bool(contact.seen_status != status or contact.wanted is None or contact.moved)
