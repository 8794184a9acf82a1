"""Both journeys at once: the initial, the daily and the manual sync, a piece at a time.

A run walks over all customers by key, reads Mailchimp's members, counts what would change, stops for
a person if that is too much, and only then lets the contacts be settled. Its cursor is in the
database: whatever dies, the next piece goes on from there.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, func, or_, select, update

from . import contacts, runs, signals
from .client import Client, MemberRead
from .consent import Act, Status, Verb, decide
from .contacts import Contact
from .errors import NotFound
from .lease import Lease
from .models import utc
from .outbound import ALL, NOTHING, Seen, house_of, observe
from .services import Services, Transaction

_CHUNK = 500
_PAGE = 1000
#: A daily reading starts this long before the last one began.
_OVERLAP = timedelta(minutes=10)


def scheduled_day(daily_at: str, zone: str, now: datetime) -> str:
    """The date, in that zone, of the last daily sync that should have begun by now.

    :param daily_at: ``HH:MM``.
    :param now: aware UTC.
    """
    here = now.astimezone(ZoneInfo(zone))
    day = here.date()
    if here.strftime("%H:%M") < daily_at:
        day -= timedelta(days=1)
    return day.isoformat()


def due_daily(connection: Row[Any], now: datetime) -> str | None:
    """The date of the daily sync that is due; None if it was done. One that was missed counts."""
    day = scheduled_day(connection.daily_at, connection.daily_zone, now)
    last = connection.last_daily_on
    return day if last is None or last < day else None


def plan_daily(services: Services, lease: Lease, connection: Row[Any]) -> bool:
    """Plan today's sync once its time has come; whether it did.

    Also where changes go out at once: it finds what was written past the listeners, and rings that
    were lost.
    """
    now = services.now()
    today = due_daily(connection, now)
    if today is None:
        return False

    def work(tx: Transaction) -> bool:
        lease.hold(tx, services)
        table = services.tables.connection
        tx.execute(update(table).where(table.c.id == connection.id).values(last_daily_on=today))
        runs.plan(tx, services, connection, "daily", now)
        return True

    return services.transact(work)


def is_reading_first(run: Row[Any] | None) -> bool:
    """Whether an initial sync has not yet read Mailchimp: until then only a no goes out."""
    return run is not None and run.kind == "initial" and run.phase != "send"


def step(services: Services, lease: Lease, connection: Row[Any], client: Client) -> bool:
    """One piece of the current run; whether there is more to do at once."""
    with services.begin() as tx:
        run = runs.current(tx, services, connection.id)
    if run is None:
        return False
    if run.phase == "customers":
        return _walk(services, lease, connection, run)
    if run.phase == "members":
        return _read_members(services, lease, connection, run, client)
    if run.phase == "plan":
        return _plan(services, lease, connection, run)
    return _finish_if_sent(services, lease, connection, run)


# 1. The customers, as the host's rows say now


def _walk(services: Services, lease: Lease, connection: Row[Any], run: Row[Any]) -> bool:
    def work(tx: Transaction) -> bool:
        lease.hold(tx, services)
        total = run.customers
        if run.cursor is None:
            total = _count_customers(tx, services)
        after = json.loads(run.cursor)["after"] if run.cursor else None
        mapping = services.mapping
        page = mapping.page(tx.session, after, _CHUNK)
        keys = [mapping.key_of(customer) for customer in page]
        house = house_of(tx, services, connection)
        mine = [
            key
            for key, customer in zip(keys, page, strict=True)
            if mapping.tenant_of(customer) == connection.tenant
        ]
        seen = _unchanged(tx, services, mine, utc(run.started_at))
        # What a sync finds is counted before it is sent; a bulk write's walk sends at once.
        observe(tx, services, house, seen, release=ALL if run.kind == "walk" else NOTHING)
        done = run.customers_done + len(page)
        if len(page) == _CHUNK:
            _advance(tx, services, run, {"after": keys[-1]}, customers=total, customers_done=done)
            return True
        _drop_missing(tx, services, connection, utc(run.started_at))
        _next_phase(tx, services, run, customers=done, customers_done=done)
        return True

    return services.transact(work)


def _count_customers(tx: Transaction, services: Services) -> int:
    count = select(func.count()).select_from(services.mapping.model)
    return int(tx.session.execute(count).scalar() or 0)


def _unchanged(
    tx: Transaction, services: Services, keys: list[str], at: datetime
) -> dict[str, Seen]:
    """The customers of a walk, without those whose own outbox row will speak for them."""
    table = services.tables.outbox
    waiting = {
        row.customer_key
        for row in tx.rows(select(table.c.customer_key).where(table.c.customer_key.in_(keys)))
    }
    return {key: Seen(at=at) for key in keys if key not in waiting}


def _drop_missing(
    tx: Transaction, services: Services, connection: Row[Any], started_at: datetime
) -> None:
    """Customers deleted past the listeners: an outbox row each, so that they are looked at."""
    table, outbox = services.tables.customer, services.tables.outbox
    # Every customer that exists was seen by this walk, or has an outbox row of their own.
    old = select(table.c.customer_key).where(
        table.c.connection_id == connection.id, table.c.seen_at < started_at
    )
    keys = [row.customer_key for row in tx.rows(old)]
    for chunk in contacts.chunks(keys):
        there = services.mapping.load(tx.session, chunk)
        rows = [
            {"tenant": connection.tenant, "customer_key": key, "created_at": services.now()}
            for key in chunk
            if key not in there
        ]
        tx.execute(outbox.insert(), rows)


def _advance(
    tx: Transaction, services: Services, run: Row[Any], cursor: Any, **counts: Any
) -> None:
    runs.change(tx, services, run.id, cursor=json.dumps(cursor), **counts)


def _next_phase(tx: Transaction, services: Services, run: Row[Any], **counts: Any) -> None:
    if run.kind == "walk":
        _close(tx, services, run, runs.DONE, **counts)
        return
    following = {"customers": "members", "members": "plan", "plan": "send"}[run.phase]
    runs.change(tx, services, run.id, phase=following, cursor="{}", **counts)


def _close(tx: Transaction, services: Services, run: Row[Any], state: str, **values: Any) -> None:
    runs.change(tx, services, run.id, state=state, finished_at=services.now(), **values)


# 2. The members, as Mailchimp shows them now


def _read_members(
    services: Services, lease: Lease, connection: Row[Any], run: Row[Any], client: Client
) -> bool:
    cursor = json.loads(run.cursor or "{}")
    if "todo" not in cursor:
        cursor = _begin_reading(services, connection, run)
    if not cursor["todo"]:
        services.transact(lambda tx: _held(tx, lease, services, run, cursor))
        return True
    audience_id, list_id, since_text, status = cursor["todo"][0]
    since = datetime.fromisoformat(since_text) if since_text else None
    now = services.now()
    try:
        rows, total = client.members(list_id, since=since, offset=cursor["offset"], status=status)
    except NotFound:
        rows, total = [], 0  # the audience is gone: no box changes because of that

    def work(tx: Transaction) -> None:
        lease.hold(tx, services)
        _remember(tx, services, connection, audience_id, rows, now)
        read = cursor["offset"] + len(rows)
        counts = {"members": run.members + (total if cursor["offset"] == 0 else 0)}
        counts["members_done"] = min(counts["members"], run.members_done + len(rows))
        if len(rows) < _PAGE or read >= total:
            following = cursor | {"todo": cursor["todo"][1:], "offset": 0}
        else:
            following = cursor | {"offset": cursor["offset"] + _PAGE - 10}
        _advance(tx, services, run, following, **counts)

    services.transact(work)
    return True


def _begin_reading(services: Services, connection: Row[Any], run: Row[Any]) -> dict[str, Any]:
    """What to read: each audience that is somebody's, in full or since the last reading."""
    table, customer = services.tables.audience, services.tables.customer
    used = select(customer.c.audience_id).where(customer.c.connection_id == connection.id)
    with services.begin() as tx:
        rows = tx.rows(
            select(table)
            .where(
                table.c.connection_id == connection.id,
                table.c.gone_at.is_(None),
                or_(table.c.id == connection.master_audience_id, table.c.id.in_(used)),
            )
            .order_by(table.c.id)
        )
    todo = []
    for row in rows:
        read_at = utc(row.read_at)
        since = None
        if run.kind == "daily" and read_at is not None:
            since = (read_at - _OVERLAP).isoformat()
        # The archived are listed only when they are asked for.
        todo += [[row.id, row.list_id, since, status] for status in (None, "archived")]
    started = services.now().isoformat()
    return {"todo": todo, "offset": 0, "started": started, "read": [row.id for row in rows]}


def _held(
    tx: Transaction, lease: Lease, services: Services, run: Row[Any], cursor: dict[str, Any]
) -> None:
    lease.hold(tx, services)
    table = services.tables.audience
    if cursor["read"]:
        started = datetime.fromisoformat(cursor["started"])
        ids = table.c.id.in_(cursor["read"])
        tx.execute(update(table).where(ids).values(read_at=started))
    _next_phase(tx, services, run)


def _remember(
    tx: Transaction,
    services: Services,
    connection: Row[Any],
    audience_id: int,
    rows: list[MemberRead],
    now: datetime,
) -> None:
    """Write down what was read of the members that belong to customers, or did."""
    pairs = {(audience_id, member.address) for member in rows}
    owned = set(contacts.owners(tx, services, pairs))
    ours = contacts.ensure(tx, services, connection.id, owned)
    ours |= contacts.find(tx, services, pairs - owned)
    changed = []
    for member in rows:
        contact = ours.get((audience_id, member.address))
        if contact is None:
            continue  # a member that is no customer: never touched
        read = contacts.member_of(member)
        if _news(contact, read.status):
            # Compared with what is wanted when the run is planned; until then only remembered.
            contact.look = True
        contacts.saw(contact, read, now)
        changed.append(contact)
    contacts.save(tx, services, changed)


def _news(contact: Contact, status: Status) -> bool:
    return bool(contact.seen_status != status or contact.wanted is None or contact.moved)


# 3. What would change, and whether a person must be asked first


def _plan(services: Services, lease: Lease, connection: Row[Any], run: Row[Any]) -> bool:
    cursor = json.loads(run.cursor or "{}")
    counts = {name: getattr(run, name) for name in _COUNTS}
    with services.begin() as tx:
        page = _contacts_page(tx, services, connection, cursor.get("after", 0))
    due: list[int] = []
    for contact in page:
        if _foresee(services, connection, contact, counts):
            due.append(contact.id)

    def work(tx: Transaction) -> bool:
        lease.hold(tx, services)
        if run.kind != "preview":
            _mark(tx, services, run.id, due)
        counts["to_send"] = run.to_send + len(due)
        if len(page) == _CHUNK:
            _advance(tx, services, run, cursor | {"after": page[-1].id}, **counts)
            return True
        if run.kind == "preview":
            _close(tx, services, run, runs.PREVIEWED, **counts)
            return True
        reason = None if cursor.get("approved") else _too_much(services, run, counts)
        if reason is not None:
            runs.change(tx, services, run.id, state=runs.WAITING, message=reason, **counts)
            return True
        _release(tx, services, connection.id, run.id)
        _next_phase(tx, services, run, **counts)
        return True

    stopped = services.transact(work)
    with services.begin() as tx:
        table = services.tables.sync_run
        state = tx.value(select(table.c.state).where(table.c.id == run.id))
    if state == runs.WAITING:
        services.tell(signals.sync_stopped, tenant=connection.tenant, run_id=run.id)
    return stopped


_COUNTS = ("boxes_on", "boxes_off", "removals", "asks")


def _contacts_page(
    tx: Transaction, services: Services, connection: Row[Any], after: int
) -> list[Contact]:
    table, audiences = services.tables.contact, services.tables.audience
    rows = tx.rows(
        select(table, audiences.c.double_optin.label("double_optin"))
        .join(audiences, audiences.c.id == table.c.audience_id)
        .where(table.c.connection_id == connection.id, table.c.id > after)
        .order_by(table.c.id)
        .limit(_CHUNK)
    )
    return [Contact.of(row) for row in rows]


def _foresee(
    services: Services, connection: Row[Any], contact: Contact, counts: dict[str, int]
) -> bool:
    """Count what the rule would do with what was just read; whether the contact has to be settled."""
    behind = bool(contact.look or contact.due_at or contact.version > contact.acked_version)
    if contact.orphan and contact.seen_status != Status.ABSENT:
        counts["removals"] += 1
        return True
    if contact.seen_status is None:
        return behind
    member = contacts.member_of(
        MemberRead(
            address=contact.address,
            status=contact.seen_status,
            last_changed=contact.seen_changed_at,
            timestamp_opt=contact.seen_opt_at,
        )
    )
    outcome = decide(
        contacts.host_of(contact),
        member,
        contacts.memory_of(contact, member, services.now()),
        always_confirm=connection.always_confirm or contact.double_optin,
    )
    if outcome.act is Act.BOX:
        counts["boxes_on" if outcome.box else "boxes_off"] += 1
    elif outcome.verb is Verb.REMOVE:
        counts["removals"] += 1
    elif outcome.verb is Verb.ASK:
        counts["asks"] += 1
    return behind


def _mark(tx: Transaction, services: Services, run_id: int, ids: list[int]) -> None:
    table = services.tables.contact
    for chunk in contacts.chunks(ids):
        # A new version, so that the run can tell what is settled from what is not.
        values = {"run_id": run_id, "version": table.c.version + 1}
        tx.execute(update(table).where(table.c.id.in_(chunk)).values(**values))


def _release(tx: Transaction, services: Services, connection_id: int, run_id: int) -> None:
    """Let the run's contacts be settled, and whoever changed while it was being planned."""
    table = services.tables.contact
    tx.execute(
        update(table)
        .where(
            table.c.connection_id == connection_id,
            table.c.due_at.is_(None),
            or_(table.c.run_id == run_id, table.c.version > table.c.acked_version),
        )
        .values(due_at=services.now())
    )


def _too_much(services: Services, run: Row[Any], counts: dict[str, int]) -> str | None:
    """Why a person has to agree first: the stop rule; None if they needn't."""
    limit = max(services.config.STOP_SHARE * run.customers, services.config.STOP_COUNT)
    words = {
        "boxes_off": "untick {} customers",
        "removals": "unsubscribe {} members",
        "asks": "mail {} people a confirmation request",
    }
    over = [text.format(counts[n]) for n, text in words.items() if counts[n] > limit]
    if not over:
        return None
    return (
        f"This sync would {' and '.join(over)}, more than the {limit:.0f} that it may change without "
        "asking. Nothing was changed. Look whether the right list is chosen, then continue or cancel."
    )


# 4. Sent


def _finish_if_sent(services: Services, lease: Lease, connection: Row[Any], run: Row[Any]) -> bool:
    def work(tx: Transaction) -> bool:
        lease.hold(tx, services)
        if runs.left_to_send(tx, services, run.id):
            return False  # settling goes on; what waits for a retry is shown on its own
        _close(tx, services, run, runs.DONE, failed=runs.refused(tx, services, run.id))
        table = services.tables.connection
        where = table.c.id == connection.id
        tx.execute(update(table).where(where).values(synced_at=services.now()))
        return True

    finished = services.transact(work)
    if finished:
        services.tell(signals.sync_finished, tenant=connection.tenant, run_id=run.id)
    return finished


def resume(services: Services, connection_id: int) -> bool:
    """A person agreed to a stopped sync: it goes on. Whether there was one."""

    def work(tx: Transaction) -> bool:
        run = waiting(tx, services, connection_id)
        if run is None:
            return False
        cursor = json.loads(run.cursor or "{}") | {"approved": True}
        values = {"state": runs.RUNNING, "message": None, "to_send": 0, "cursor": None}
        counts = dict.fromkeys(_COUNTS, 0)
        cursor.pop("after", None)
        runs.change(tx, services, run.id, **values | counts | {"cursor": json.dumps(cursor)})
        return True

    return services.transact(work)


def waiting(tx: Transaction, services: Services, connection_id: int) -> Row[Any] | None:
    """The run that waits for a person."""
    table = services.tables.sync_run
    return tx.row(
        select(table)
        .where(table.c.connection_id == connection_id, table.c.state == runs.WAITING)
        .order_by(table.c.id.desc())
        .limit(1)
    )
