"""A sync's third phase: what would change is counted, and a person is asked if that is too much.

Both journeys. Nothing is told to Mailchimp and no box is set here; what passes is made due.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Row, or_, select, update

from . import contacts, memory, runs, signals
from .client import MemberRead
from .consent import Act, Status, Verb, decide
from .lease import Lease
from .memory import Contact
from .services import Services, Transaction

_CHUNK = 500


def plan(services: Services, lease: Lease, connection: Row[Any], run: Row[Any]) -> bool:
    cursor = json.loads(run.cursor or "{}")
    counts = {name: getattr(run, name) for name in runs.COUNTS}
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
            runs.advance(tx, services, run, cursor | {"after": page[-1].id}, **counts)
            return True
        if run.kind == "preview":
            runs.close(tx, services, run, runs.PREVIEWED, **counts)
            return True
        reason = None if cursor.get("approved") else _too_much(services, run, counts)
        if reason is not None:
            runs.change(tx, services, run.id, state=runs.WAITING, message=reason, **counts)
            return True
        _release(tx, services, connection.id, run.id)
        runs.next_phase(tx, services, run, **counts)
        return True

    stopped = services.transact(work)
    with services.begin() as tx:
        table = services.tables.sync_run
        state = tx.value(select(table.c.state).where(table.c.id == run.id))
    if state == runs.WAITING:
        services.tell(signals.sync_stopped, tenant=connection.tenant, run_id=run.id)
    return stopped


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
