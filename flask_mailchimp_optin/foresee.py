"""A sync's third phase: what would change is counted, and a person is asked if that is too much.

Both journeys. Nothing is told to Mailchimp and no box is set here; what passes is made due.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row, Table, and_, case, func, not_, or_, select, update

from . import contacts, memory, runs, signals
from .client import MemberRead
from .consent import Act, Status, Verb, decide
from .lease import Lease
from .memory import Contact
from .services import Services, Transaction, chunks
from .texts import Text

_RANGE = 10_000  # contacts that one piece looks through, nearly all of which nobody need look at


def plan(services: Services, lease: Lease, connection: Row[Any], run: Row[Any]) -> bool:
    cursor = json.loads(run.cursor or "{}")
    counts = {name: getattr(run, name) for name in runs.COUNTS}

    def work(tx: Transaction) -> bool:
        lease.hold(tx, services)
        last, newcomers, others = _look_through(tx, services, connection, cursor.get("after", 0))
        here = _between(services, connection, cursor.get("after", 0), last)
        now = dict(counts)
        due = _behind(tx, services, here) if others else []
        there = []
        for contact, double_optin in due:
            asks = connection.always_confirm or double_optin
            _count(services, contact, now, always_confirm=asks)
            if memory.is_there(contact):
                there.append(contact.id)
        now["to_send"] = run.to_send + len(due) + newcomers
        if run.kind != "preview":
            if newcomers:
                _mark(tx, services, run.id, and_(here, _is_behind_newcomer(services)))
            for chunk in chunks([contact.id for contact, _ in due]):
                _mark(tx, services, run.id, services.tables.contact.c.id.in_(chunk))
            for chunk in chunks(there):
                _has_been_read(tx, services, services.tables.contact.c.id.in_(chunk))
        if last is not None:
            runs.advance(tx, services, run, cursor | {"after": last}, **now)
            return True
        if run.kind == "preview":
            runs.close(tx, services, run, runs.PREVIEWED, **now)
            return True
        reason = None if cursor.get("approved") else _reason_to_ask(services, run, now)
        if reason is not None:
            runs.change(tx, services, run.id, state=runs.WAITING, message=str(reason), **now)
            return True
        _release(tx, services, connection.id, run.id)
        runs.next_phase(tx, services, run, **now)
        return True

    stopped = services.transact(work)
    with services.begin() as tx:
        table = services.tables.sync_run
        state = tx.value(select(table.c.state).where(table.c.id == run.id))
    if state == runs.WAITING:
        services.tell(signals.sync_stopped, tenant=connection.tenant, run_id=run.id)
    return stopped


def _look_through(
    tx: Transaction, services: Services, connection: Row[Any], after: int
) -> tuple[int | None, int, int]:
    """The last id of the next contacts, None if they are the last; and about how many of them there is
    something to do: newcomers, and others. Mostly it is nobody.
    """
    table = services.tables.contact
    newcomer, other = _is_behind_newcomer(services), _is_other(services)
    some = (
        select(table.c.id, _one_if(newcomer).label("newcomer"), _one_if(other).label("other"))
        .where(_between(services, connection, after, None))
        .order_by(table.c.id)
        .limit(_RANGE)
        .subquery()
    )
    sums = func.count(), func.max(some.c.id), func.sum(some.c.newcomer), func.sum(some.c.other)
    (found,) = tx.rows(select(*sums).select_from(some))
    number, last, newcomers, others = tuple(found)
    return last if number == _RANGE else None, int(newcomers or 0), int(others or 0)


def _one_if(condition: Any) -> Any:
    return case((condition, 1), else_=0)


def _between(services: Services, connection: Row[Any], after: int, last: int | None) -> Any:
    table = services.tables.contact
    here = and_(table.c.connection_id == connection.id, table.c.id > after)
    return here if last is None else and_(here, table.c.id <= last)


def _is_behind(table: Table) -> Any:
    return or_(
        table.c.look.is_(True),
        table.c.due_at.isnot(None),
        table.c.version > table.c.acked_version,
    )


def _is_newcomer(table: Table) -> Any:
    """Of whom Mailchimp knows nothing: there is nothing to foresee but that they are sent."""
    return and_(
        table.c.orphan.is_(None),
        or_(table.c.seen_status.is_(None), table.c.seen_status == Status.ABSENT.value),
    )


def _is_behind_newcomer(services: Services) -> Any:
    table = services.tables.contact
    return and_(_is_newcomer(table), _is_behind(table))


def _is_other(services: Services) -> Any:
    """Whom Mailchimp knows, and about whom there is something to do."""
    table = services.tables.contact
    gone = and_(table.c.orphan.isnot(None), table.c.seen_status != Status.ABSENT.value)
    return and_(not_(_is_newcomer(table)), or_(_is_behind(table), gone))


def _behind(tx: Transaction, services: Services, here: Any) -> list[tuple[Contact, bool]]:
    """The others, and whether their list asks for itself."""
    table, audiences = services.tables.contact, services.tables.audience
    rows = tx.rows(
        select(table, audiences.c.double_optin.label("double_optin"))
        .join(audiences, audiences.c.id == table.c.audience_id)
        .where(here, _is_other(services))
    )
    return [(contacts.read(row), bool(row.double_optin)) for row in rows]


def _count(
    services: Services, contact: Contact, counts: dict[str, int], *, always_confirm: bool
) -> None:
    """Count what the rule would do with what was just read."""
    if contact.orphan and contact.seen_status != Status.ABSENT:
        counts["removals"] += 1
        return
    member = memory.member_of(
        MemberRead(
            address=contact.address,
            status=contact.seen_status,
            last_changed=contact.seen_changed_at,
            timestamp_opt=contact.seen_opt_at,
        )
    )
    outcome = decide(
        memory.host_of(contact),
        member,
        memory.memory_of(contact, member, services.now()),
        always_confirm=always_confirm,
    )
    if outcome.act is Act.BOX:
        counts["boxes_on" if outcome.box else "boxes_off"] += 1
    elif outcome.verb is Verb.REMOVE:
        counts["removals"] += 1
    elif outcome.verb is Verb.ASK:
        counts["asks"] += 1


def _mark(tx: Transaction, services: Services, run_id: int, which: Any) -> None:
    # A new version, so that the run can tell what is settled from what is not.
    table = services.tables.contact
    tx.execute(update(table).where(which).values(run_id=run_id, version=table.c.version + 1))


def _has_been_read(tx: Transaction, services: Services, which: Any) -> None:
    """No look is needed but this sync's own, unless somebody has asked for one: then it is due."""
    table = services.tables.contact
    unasked = table.c.due_at.is_(None)
    tx.execute(update(table).where(which, unasked).values(look=False))


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


def _reason_to_ask(services: Services, run: Row[Any], counts: dict[str, int]) -> str | None:
    """Why a person has to agree first; None if they needn't."""
    if run.kind != "first":
        return _too_much(services, run, counts)
    return Text(
        "Counted, and nothing was changed yet. This sync would tick %(on)s checkboxes and untick "
        "%(off)s; at Mailchimp it would add or update %(sent)s people, unsubscribe %(removals)s and "
        "mail %(asks)s a confirmation request. Continue or cancel.",
        on=counts["boxes_on"],
        off=counts["boxes_off"],
        removals=counts["removals"],
        asks=counts["asks"],
        sent=counts["to_send"] - sum(counts[name] for name in runs.COUNTS),
    )


def _too_much(services: Services, run: Row[Any], counts: dict[str, int]) -> str | None:
    """Why a person has to agree first: the stop rule; None if they needn't."""
    limit = max(services.config.STOP_SHARE * run.customers, services.config.STOP_COUNT)
    if all(counts[name] <= limit for name in ("boxes_off", "removals", "asks")):
        return None
    return Text(
        "This sync would untick %(off)s customers, unsubscribe %(removals)s members and mail %(asks)s "
        "people a confirmation request. What concerns more than %(limit)s needs a person's word. "
        "Nothing was changed. Look whether the right list is chosen, then continue or cancel.",
        off=counts["boxes_off"],
        removals=counts["removals"],
        asks=counts["asks"],
        limit=int(limit),
    )


def hold_back(services: Services, run_id: int) -> None:
    """A run was cancelled: what it has not told Mailchimp yet is left to the next one; a no is not.

    Some thousand at a time, so that nobody waits long for a lock.
    """
    table = services.tables.contact
    untold = (
        table.c.run_id == run_id,
        table.c.due_at.isnot(None),
        table.c.acked_version < table.c.version,
        table.c.wanted.is_(True),
        table.c.late.is_(None),  # what was asked already has to be looked at again
        table.c.open_verb.is_(None),
    )

    def work(tx: Transaction) -> int:
        ids = [row.id for row in tx.rows(select(table.c.id).where(*untold).limit(_RANGE))]
        for chunk in chunks(ids):
            where = table.c.id.in_(chunk), *untold
            tx.execute(update(table).where(*where).values(due_at=None))
        return len(ids)

    while services.transact(work):
        pass
