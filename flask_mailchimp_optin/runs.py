"""Sync runs: planned, paused, counted, finished. The rows behind progress bars and past syncs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from .consent import Status
from .models import utc
from .services import Services, Transaction

#: States of a run. ``waiting`` is for a person: to agree to what its message says, or, without one, to
#: let go on what they paused. ``previewed`` has counted and changed nothing.
RUNNING, WAITING, DONE = "running", "waiting", "done"
CANCELLED, PREVIEWED = "cancelled", "previewed"
#: ``initial``, ``manual`` and ``preview`` read all members, ``daily`` those that changed, ``walk`` none.
#: ``first`` is an initial sync that asks, once it has counted, before it changes anything.
KINDS = ("initial", "first", "manual", "preview", "daily", "walk")

#: The phases that people see. Before them comes ``leaving``, if customers have to leave a list.
PHASES = ("customers", "members", "plan", "send")
LEAVING = "leaving"
PAGE = 10  # syncs
_RATED_AFTER_S = 5  # before, a rate would be guesswork

#: What a plan counts before anything is changed.
COUNTS = ("boxes_on", "boxes_off", "removals", "asks")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a sync is, for people. Times are aware UTC.

    :param percent: 0 to 100; 100 only when it is done.
    :param sent: customers told to Mailchimp, of :attr:`to_send`.
    :param failed: of these, how many Mailchimp refused.
    :param begun: a worker has begun with it.
    :param per_minute: how many customers or members it gets through in a minute; None if that can't be
        told yet.
    :param seconds_left: of this phase; None if that can't be told.
    """

    run_id: int
    kind: str
    state: str
    phase: str
    percent: int
    customers: int
    customers_done: int
    members: int
    members_done: int
    to_send: int
    sent: int
    failed: int
    boxes_on: int
    boxes_off: int
    removals: int
    asks: int
    started_at: datetime
    finished_at: datetime | None
    message: str | None
    begun: bool = True
    per_minute: float | None = None
    seconds_left: float | None = None

    @property
    def paused(self) -> bool:
        """Whether it waits because a person paused it."""
        return self.state == WAITING and self.message is None

    @property
    def took_s(self) -> float | None:
        """From its beginning to its end, in seconds; None before."""
        if self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


def plan(tx: Transaction, services: Services, connection: Row[Any], kind: str, at: datetime) -> int:
    """Plan a run, unless one of the kind is planned that has not begun; its id."""
    table = services.tables.sync_run
    waiting = tx.value(
        select(table.c.id).where(
            table.c.connection_id == connection.id,
            table.c.state == RUNNING,
            table.c.kind == kind,
            table.c.cursor.is_(None),
        )
    )
    if waiting is not None:
        return int(waiting)
    leaves = connection.left_audience_id is not None and kind not in ("walk", "preview")
    numbers = (
        "customers customers_done members members_done to_send failed "
        "boxes_on boxes_off removals asks"
    )
    return tx.insert(
        insert(table).values(
            connection_id=connection.id,
            kind=kind,
            state=RUNNING,
            phase=LEAVING if leaves else "customers",
            epoch=connection.epoch,
            started_at=at,
            **dict.fromkeys(numbers.split(), 0),
        )
    )


def advance(tx: Transaction, services: Services, run: Row[Any], cursor: Any, **counts: Any) -> None:
    """Write a run's new cursor and counts."""
    change(tx, services, run.id, cursor=json.dumps(cursor), **counts)


def next_phase(tx: Transaction, services: Services, run: Row[Any], **counts: Any) -> None:
    """Go on with the next phase; a walk has only one."""
    if run.kind == "walk":
        close(tx, services, run, DONE, **counts)
        return
    following = dict(pairwise((LEAVING, *PHASES)))[run.phase]
    at = services.now()
    change(tx, services, run.id, phase=following, cursor="{}", phase_at=at, **counts)


def close(tx: Transaction, services: Services, run: Row[Any], state: str, **values: Any) -> None:
    """Bring a run to its end."""
    change(tx, services, run.id, state=state, finished_at=services.now(), **values)


def current(tx: Transaction, services: Services, connection_id: int) -> Row[Any] | None:
    """The run to work on next: the oldest that is running."""
    table = services.tables.sync_run
    return tx.row(
        select(table)
        .where(table.c.connection_id == connection_id, table.c.state == RUNNING)
        .order_by(table.c.id)
        .limit(1)
    )


def lock(tx: Transaction, services: Services, run_id: int) -> Row[Any]:
    """A run as it is now; nobody else writes to it until the end."""
    table = services.tables.sync_run
    query = select(table).where(table.c.id == run_id).with_for_update()
    return tx.connection.execute(query).one()


def change(tx: Transaction, services: Services, run_id: int, **values: Any) -> None:
    """Write a run's new cursor, counts or state."""
    table = services.tables.sync_run
    tx.execute(update(table).where(table.c.id == run_id).values(**values))


def count_sent(tx: Transaction, services: Services, run_id: int, number: int) -> None:
    """So many more were to be sent, and have been."""
    sent = services.tables.sync_run.c.to_send
    change(tx, services, run_id, to_send=sent + number)


def cancel_all(tx: Transaction, services: Services, connection_id: int, message: str) -> None:
    """Cancel what is planned, running or waiting for a person."""
    table = services.tables.sync_run
    tx.execute(
        update(table)
        .where(table.c.connection_id == connection_id, table.c.state.in_([RUNNING, WAITING]))
        .values(state=CANCELLED, finished_at=services.now(), message=message)
    )


def first(tx: Transaction, services: Services, connection_id: int) -> Row[Any] | None:
    """The first sync that counts, or waits for a person's word; None if there is none."""
    table = services.tables.sync_run
    return _open(tx, services, connection_id, table.c.kind == "first", table.c.phase != "send")


def sending(tx: Transaction, services: Services, connection_id: int) -> Row[Any] | None:
    """The run, paused or not, whose contacts are being told to Mailchimp; None if there is none."""
    return _open(tx, services, connection_id, services.tables.sync_run.c.phase == "send")


def _open(tx: Transaction, services: Services, connection_id: int, *which: Any) -> Row[Any] | None:
    table = services.tables.sync_run
    is_open = table.c.connection_id == connection_id, table.c.state.in_([RUNNING, WAITING])
    return tx.row(select(table).where(*is_open, *which).limit(1))


def pause(tx: Transaction, services: Services, connection_id: int) -> bool:
    """Have what is planned or running wait for whoever paused it; whether there was anything."""
    table = services.tables.sync_run
    return (
        tx.execute(
            update(table)
            .where(
                table.c.connection_id == connection_id,
                table.c.state == RUNNING,
                table.c.kind != "walk",
            )
            .values(state=WAITING, message=None, finished_at=services.now())
        )
        > 0
    )


def paused(tx: Transaction, services: Services, connection_id: int) -> list[Row[Any]]:
    """The runs that a person paused."""
    table = services.tables.sync_run
    return tx.rows(
        select(table).where(
            table.c.connection_id == connection_id,
            table.c.state == WAITING,
            table.c.message.is_(None),
        )
    )


def unpause(tx: Transaction, services: Services, connection_id: int) -> bool:
    """What was paused goes on where it was; whether there was anything."""
    found = paused(tx, services, connection_id)
    for run in found:
        values: dict[str, Any] = {"state": RUNNING, "finished_at": None}
        if run.phase_at and run.finished_at:  # as if the pause had not been
            values["phase_at"] = utc(run.phase_at) + (services.now() - utc(run.finished_at))
        change(tx, services, run.id, **values)
    return bool(found)


def progress(
    tx: Transaction, services: Services, connection_id: int, *, before: int | None = None
) -> list[Progress]:
    """The last ten syncs of a connection, newest first; walks are our own affair and left out.

    :param before: a run's id: the ten before it.
    """
    table = services.tables.sync_run
    query = select(table).where(table.c.connection_id == connection_id, table.c.kind != "walk")
    if before is not None:
        query = query.where(table.c.id < before)
    rows = tx.rows(query.order_by(table.c.id.desc()).limit(PAGE))
    return [_progress(tx, services, row) for row in rows]


def subscribed(tx: Transaction, services: Services, connection_id: int) -> int:
    """How many contacts are subscribed, as Mailchimp showed them last."""
    table = services.tables.contact
    query = select(func.count()).where(
        table.c.connection_id == connection_id, table.c.seen_status == Status.SUBSCRIBED.value
    )
    return int(tx.value(query) or 0)


def left_to_send(tx: Transaction, services: Services, run_id: int) -> int:
    """How many contacts of a run still wait to be told to Mailchimp."""
    table = services.tables.contact
    return int(
        tx.value(
            select(func.count()).where(
                table.c.run_id == run_id,
                table.c.acked_version < table.c.version,
                table.c.refusal.is_(None),
                table.c.attempts < 3,
            )
        )
        or 0
    )


def refused(tx: Transaction, services: Services, run_id: int) -> int:
    """How many contacts of a run Mailchimp refused."""
    table = services.tables.contact
    query = select(func.count()).where(table.c.run_id == run_id, table.c.refusal.isnot(None))
    return int(tx.value(query) or 0)


def _progress(tx: Transaction, services: Services, row: Row[Any]) -> Progress:
    sent, failed = row.to_send, row.failed
    if row.state == RUNNING:
        failed = refused(tx, services, row.id)
    if row.state in (RUNNING, WAITING):
        sent = max(0, row.to_send - left_to_send(tx, services, row.id))
    per_minute, seconds_left = _pace(row, sent, services.now())
    return Progress(
        run_id=row.id,
        kind=row.kind,
        state=row.state,
        phase=row.phase,
        percent=_percent(row, sent),
        customers=row.customers,
        customers_done=row.customers_done,
        members=row.members,
        members_done=row.members_done,
        to_send=row.to_send,
        sent=sent,
        failed=failed,
        boxes_on=row.boxes_on,
        boxes_off=row.boxes_off,
        removals=row.removals,
        asks=row.asks,
        started_at=utc(row.started_at),
        finished_at=None if row.state == WAITING else utc(row.finished_at),
        message=row.message,
        begun=row.cursor is not None or row.phase not in (LEAVING, "customers"),
        per_minute=per_minute,
        seconds_left=seconds_left,
    )


def _pace(row: Row[Any], sent: int, now: datetime) -> tuple[float | None, float | None]:
    """How many in a minute, and the seconds that this phase still takes; None where nobody knows."""
    done, of = {
        LEAVING: (0, 0),
        "customers": (row.customers_done, row.customers),
        "members": (row.members_done, row.members),
        "plan": (0, 0),
        "send": (sent, row.to_send),
    }[row.phase]
    if row.state != RUNNING or row.phase_at is None or not done:
        return None, None
    seconds = (now - utc(row.phase_at)).total_seconds()
    if seconds < _RATED_AFTER_S:
        return None, None
    return done / seconds * 60, max(0, of - done) * seconds / done


def _percent(row: Row[Any], sent: int) -> int:
    """A third each for looking at the customers, reading Mailchimp, and sending."""
    if row.state in (DONE, PREVIEWED):
        return 100
    parts = ((row.customers_done, row.customers), (row.members_done, row.members))
    steps = {LEAVING: 0, "customers": 0, "members": 1, "plan": 2, "send": 2}[row.phase]
    share = float(steps)
    if row.phase in ("customers", "members"):
        done, of = parts[steps]
        share += min(1.0, done / of) if of else 0.0
    elif row.phase == "send":
        share += sent / row.to_send if row.to_send else 0.0
    return min(99, int(share / 3 * 100))
