"""Both journeys at once: the initial, the daily and the manual sync, a piece at a time.

When a run begins, which phase it is in, and how it ends. The phases are elsewhere: ``walk`` looks at all
customers, ``reading`` reads Mailchimp's members, ``foresee`` counts what would change and stops for a
person if that is too much; only then are the contacts settled. Its cursor is in the database: whatever
dies, the next piece goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, select, update

from . import foresee, newcomers, reading, runs, signals, walk
from .client import Client
from .lease import Lease
from .services import Services, Transaction


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


def next_daily(daily_at: str, zone: str, now: datetime) -> datetime:
    """When the next daily sync begins, aware UTC; one that is due already is not counted.

    :param daily_at: ``HH:MM``.
    :param now: aware UTC.
    """
    day = date.fromisoformat(scheduled_day(daily_at, zone, now)) + timedelta(days=1)
    local = datetime.combine(day, time.fromisoformat(daily_at), ZoneInfo(zone))
    at = local.astimezone(UTC)
    if at.astimezone(local.tzinfo).strftime("%H:%M") != daily_at:
        # The clock leaps over this time: the sync begins as soon as it has.
        at = local.replace(fold=1).astimezone(UTC)
        while scheduled_day(daily_at, zone, at) < day.isoformat():
            at += timedelta(minutes=1)
    return at


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
        if runs.first(tx, services, connection.id) is None:  # else nothing goes ahead of the answer
            runs.plan(tx, services, connection, "daily", now)
        return True

    return services.transact(work)


def is_reading_first(run: Row[Any] | None) -> bool:
    """Whether an initial sync has not yet read Mailchimp: until then only a no goes out."""
    return run is not None and run.kind in ("initial", "first") and run.phase != "send"


def step(
    services: Services,
    lease: Lease,
    connection: Row[Any],
    client: Client,
    goes_on: Callable[[], bool],
) -> bool:
    """One piece of the current run; whether there is more to do at once.

    :param goes_on: whether it may be a large one.
    """
    with services.begin() as tx:
        run = runs.current(tx, services, connection.id)
    if run is None:
        return False
    if run.phase == runs.LEAVING:
        heard = json.loads(run.cursor or "{}").get("heard")
        if not heard:
            return reading.read(services, lease, connection, run, client, goes_on)
        return _leave(services, lease, connection, run)
    if run.phase == "customers":
        if newcomers.nobody_at(services, lease, connection, run, client):
            if run.cursor is not None:  # else others may want to help from the first on
                newcomers.step(services, lease, connection, client, goes_on)
            return True
        while walk.step(services, lease, connection, run.id) and goes_on():
            pass
        return True
    if run.phase == "members":
        return reading.read(services, lease, connection, run, client, goes_on)
    if run.phase == "plan":
        return _plan(services, lease, connection, run, goes_on)
    return _finish_if_sent(services, lease, connection, run)


# 0. The list that customers leave for another master list


def _leave(services: Services, lease: Lease, connection: Row[Any], run: Row[Any]) -> bool:
    """What was said there has been heard: from now on, customers are in the new master list."""

    def work(tx: Transaction) -> bool:
        lease.hold(tx, services)
        table = services.tables.connection
        where = table.c.id == connection.id
        tx.execute(update(table).where(where).values(left_audience_id=None))
        runs.next_phase(tx, services, run)
        return True

    return services.transact(work)


# 3. Counted, some thousand at a time


def _plan(
    services: Services,
    lease: Lease,
    connection: Row[Any],
    run: Row[Any],
    goes_on: Callable[[], bool],
) -> bool:
    now: Row[Any] | None = run
    while now is not None and (now.id, now.phase) == (run.id, "plan"):
        if not foresee.plan(services, lease, connection, now):
            return False
        if not goes_on():
            break
        with services.begin() as tx:
            now = runs.current(tx, services, connection.id)
    return True


# 4. Sent


def _finish_if_sent(services: Services, lease: Lease, connection: Row[Any], run: Row[Any]) -> bool:
    def work(tx: Transaction) -> bool:
        lease.hold(tx, services)
        if runs.left_to_send(tx, services, run.id):
            return False  # settling goes on; what waits for a retry is shown on its own
        counts = {
            "failed": runs.refused(tx, services, run.id),
            "subscribed": runs.subscribed(tx, services, connection.id),
        }
        runs.close(tx, services, run, runs.DONE, **counts)
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
        counts = dict.fromkeys(runs.COUNTS, 0)
        cursor.pop("after", None)
        runs.change(tx, services, run.id, **values | counts | {"cursor": json.dumps(cursor)})
        return True

    return services.transact(work)


def waiting(tx: Transaction, services: Services, connection_id: int) -> Row[Any] | None:
    """The run that stopped by itself and waits for a person."""
    table = services.tables.sync_run
    return tx.row(
        select(table)
        .where(
            table.c.connection_id == connection_id,
            table.c.state == runs.WAITING,
            table.c.message.isnot(None),
        )
        .order_by(table.c.id.desc())
        .limit(1)
    )
