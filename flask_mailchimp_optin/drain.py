"""One connection's work, most urgent first, under its lease: what an RQ job and a test both run.

Every piece is a transaction or a request of its own, so whoever dies leaves the rest to the next. Very
many contacts are shared out among all workers that have nothing else to do. Here, too, trouble with
Mailchimp that is about a connection as a whole (too many requests, a refused key) becomes a pause or a
stop.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, and_, literal, or_, select, update

from . import hooks, newcomers, reconcile, runs, settle, shards, signals, waiting
from . import lease as leases
from .client import Client
from .errors import (
    KeyRefused,
    LeaseLost,
    MailchimpError,
    OutcomeUnknown,
    PermissionDenied,
    TryLater,
)
from .inbound import answer_rings
from .lease import Lease
from .outbound import absorb
from .recent import Recent
from .services import Services, Transaction
from .shards import Shards
from .vault import CannotDecrypt

logger: logging.Logger = logging.getLogger("flask_mailchimp_optin")

_WAIT_S = 0.05  # between two looks whether others are through
_LONG = timedelta(seconds=60)  # what can't be shared out waits for no more than that


class _Turn:
    """The time that a connection has, before others have theirs."""

    def __init__(
        self, services: Services, connection_id: int, budget_s: float, longest_s: float
    ) -> None:
        self._services, self._connection_id, self._budget_s = services, connection_id, budget_s
        self._ends_at = time.monotonic() + budget_s
        self._longest_at = time.monotonic() + longest_s

    def is_over(self) -> bool:
        """Not as long as nobody else has anything to do, up to the longest time."""
        now = time.monotonic()
        if now < self._ends_at:
            return False
        if now >= self._longest_at:
            return True
        if set(waiting.connections_with_work(self._services)) - {self._connection_id}:
            self._longest_at = now
            return True
        self._ends_at = now + self._budget_s
        return False


def drain(
    services: Services,
    connection_id: int,
    owner: str,
    *,
    budget_s: float = 30.0,
    longest_s: float = 0.0,
) -> bool:
    """Work a connection off until nothing is due or the time is up; whether more is left.

    :param owner: names the process, for the lease.
    :param budget_s: seconds, after which others get their turn.
    :param longest_s: seconds that it may take if nobody else has anything to do.
    """
    turn = _Turn(services, connection_id, budget_s, longest_s)
    while True:
        lease = leases.take(services, connection_id, owner)
        if lease is None:
            # Somebody else is at it, and looks again after giving the lease back.
            return _help(services, connection_id, owner, turn)
        try:
            pieces = _work_off(services, lease, turn)
        except LeaseLost:
            logger.info("a lease was lost", extra={"connection": connection_id})
            pieces = 1
        finally:
            leases.release(services, lease)
        # Who came while we held the lease went away again: look once more. What could not be done
        # in a whole round waits for the next sweep.
        if not pieces or not waiting.has_work(services, connection_id):
            return False
        if turn.is_over():
            return True


def _work_off(services: Services, lease: Lease, turn: _Turn) -> int:
    """Pieces of work until nothing is due or the time is up; how many, at least one if it can be."""
    holder: _Holder | None = None
    pieces = 0
    try:
        while not pieces or not turn.is_over():
            with services.begin() as tx:
                connection = services.connection(tx, lease.connection_id)
                run = runs.current(tx, services, lease.connection_id)
                may_send = connection is not None and waiting.may_send(tx, services, connection)
            if connection is None:
                return 0
            hold = reconcile.is_reading_first(run)
            more = absorb(services, lease, connection, hold_yeses=hold) or answer_rings(
                services, lease
            )
            pieces += more
            if may_send:
                holder = holder or _Holder(services, lease, services.client(connection), turn)
                # While there is more to absorb, only a no goes out: it goes ahead of everything.
                spoken = holder.speak(connection, only_nos=more)
                pieces += spoken
                more = more or spoken
            if not more:
                break
    except CannotDecrypt as error:
        _suspend(services, lease, str(error))
    finally:
        if holder is not None:
            holder.close()
    return pieces


class _Holder:
    """Whoever holds a connection's lease, and what it says to Mailchimp: alone, or among others."""

    def __init__(self, services: Services, lease: Lease, client: Client, turn: _Turn) -> None:
        self._services, self._lease, self._client = services, lease, client
        self._turn = turn
        self._recent = Recent(client, services.now)
        self._shards: Shards | None = None
        self._alone = False  # nobody helps any more

    def close(self) -> None:
        """Give everything back."""
        if self._shards is not None:
            shards.give_back(self._services, self._shards)
        self._client.close()

    def speak(self, connection: Row[Any], *, only_nos: bool) -> bool:
        """One piece that needs Mailchimp; whether there was one. Its errors stop the connection."""
        with _trouble(self._services, self._lease):
            if connection.shards:
                return self._among_others(connection, only_nos=only_nos)
            self._alone = self._alone or not shards.held(self._services, connection.id)
            if not self._alone:
                time.sleep(_WAIT_S)  # until whoever helps is through with what they are at
                return True
            return self._by_itself(connection, only_nos=only_nos)
        return False

    def _by_itself(self, connection: Row[Any], *, only_nos: bool) -> bool:
        services, lease, client = self._services, self._lease, self._client
        if only_nos:
            return self._settle(lease, connection, only_nos=True) > 0
        # A list's webhook comes before its first member: what people answer there must be heard.
        if connection.enabled and hooks.check(services, lease, connection, client):
            return True
        if lease.at_a_time > 1 and _is_much(services, connection):
            shards.share_out(services, lease)
            # All are ours at first. Who is idle asks by then, and no round has to end for them.
            self._shards = shards.turn(services, connection.id, lease.owner)
            time.sleep(2 * _WAIT_S)
            return True
        if self._settle(lease, connection):
            return True
        goes_on = _goes_on(services, connection, self._turn)
        self._recent.forget()
        return connection.enabled and (
            reconcile.step(services, lease, connection, client, goes_on)
            or reconcile.plan_daily(services, lease, connection)
        )

    def _among_others(self, connection: Row[Any], *, only_nos: bool) -> bool:
        """A round with the shards that are ours; until they are empty, or something can't be shared."""
        services, lease = self._services, self._lease
        self._shards = shards.turn(services, connection.id, lease.owner, self._shards)
        if self._shards is None or self._shards.are_new:
            self._recent.forget()
        with services.begin() as tx:
            goes_on = self._shards is not None and not _needs_one(tx, services, connection)
        if goes_on and self._shards is not None:
            if not self._shards.fences:
                time.sleep(_WAIT_S)  # until somebody gives one back
                return True
            if self._settle(self._shards, connection, only_nos=only_nos) or only_nos:
                return True
            if _introduce(services, self._shards, connection, self._client, self._turn):
                return True
        if self._shards is not None:
            shards.give_back(services, self._shards)
        self._shards, self._alone = None, False
        self._recent.forget()
        shards.call_in(services, lease)
        return True

    def _settle(
        self, lease: Lease | Shards, connection: Row[Any], *, only_nos: bool = False
    ) -> int:
        client, recent, turn = self._client, self._recent, self._turn
        return _settle(self._services, lease, connection, client, recent, turn, only_nos=only_nos)


def _settle(
    services: Services,
    lease: Lease | Shards,
    connection: Row[Any],
    client: Client,
    recent: Recent,
    turn: _Turn,
    *,
    only_nos: bool = False,
) -> int:
    """A round with the contacts that may be settled with this lease; how many."""
    condition = _due(services, connection, lease, only_nos=only_nos)
    goes_on = _goes_on(services, connection, turn)
    return settle.settle(services, lease, connection, client, recent, condition, goes_on)


def _introduce(
    services: Services, mine: Shards, connection: Row[Any], client: Client, turn: _Turn
) -> bool:
    """A round with the newcomers whose parts of a first sync are ours; whether there were any."""
    goes_on = _goes_on(services, connection, turn)
    return bool(connection.enabled) and newcomers.step(services, mine, connection, client, goes_on)


def _due(services: Services, connection: Row[Any], lease: Lease | Shards, *, only_nos: bool) -> Any:
    """The condition for the contacts that may be settled with this lease."""
    if only_nos:
        turn = settle.due(services, enabled=False, daily=connection.daily, run_id=None)
    else:
        with services.begin() as tx:
            turn = waiting.condition(tx, services, connection)
    if isinstance(lease, Lease):
        return turn
    return and_(turn, lease.theirs(services), settle.is_plain(services))


def _is_much(services: Services, connection: Row[Any]) -> bool:
    """Whether so many contacts are due, or newcomers found, that others should help, and they can."""
    plain = settle.is_plain(services)
    with services.begin() as tx:
        due = waiting.is_due(tx, services, connection, plain, at_least=shards.SHARED_FROM)
        return (due or newcomers.are_many(tx, services, connection)) and not _needs_one(
            tx, services, connection
        )


def _goes_on(services: Services, connection: Row[Any], turn: _Turn) -> Callable[[], bool]:
    """Whether a round may take longer: there is time, and nothing else has turned up."""

    def goes_on() -> bool:
        if turn.is_over():
            return False
        with services.begin() as tx:
            return not waiting.turned_up(tx, services, connection)

    return goes_on


def _needs_one(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    """Whether something waits that can't be shared out: a no, or anything else for long."""
    if hooks.due(tx, services, connection):
        return True
    table, now = services.tables.contact, services.now()
    for wanted in settle.WANTED:
        since = now if wanted is False else now - _LONG
        # Who can be settled by others soon leaves the front of the queue to those who can't.
        first = (
            select(table.c.orphan, table.c.moved_from)
            .where(table.c.connection_id == connection.id, table.c.wanted.is_(wanted))
            .where(table.c.due_at <= since)
            .order_by(table.c.due_at)
            .limit(shards.SHARED_FROM)
            .subquery()
        )
        others = or_(first.c.orphan.isnot(None), first.c.moved_from.isnot(None))
        if tx.value(select(literal(1)).select_from(first).where(others).limit(1)) is not None:
            return True
    return False


def _help(services: Services, connection_id: int, owner: str, turn: _Turn) -> bool:
    """Settle shards of a connection that somebody else works off; whether more is left."""
    mine: Shards | None = None
    client: Client | None = None
    try:
        while not turn.is_over():
            following = shards.turn(services, connection_id, owner, mine)
            if following is None:
                return False  # called in: what we hold is given back
            mine = following
            if not mine.fences:
                time.sleep(_WAIT_S)
                continue
            with services.begin() as tx:
                connection = services.connection(tx, connection_id)
                may_send = connection is not None and waiting.may_send(tx, services, connection)
            if connection is None or not connection.shards or not may_send:
                return False
            if client is None:
                client = services.client(connection)
                recent = Recent(client, services.now)
            elif mine.are_new:
                recent.forget()
            if mine.at_a_time > 1:
                services.wake()  # there is room for another
            done = False
            with _trouble(services, mine):
                done = _settle(services, mine, connection, client, recent, turn) > 0
                done = done or _introduce(services, mine, connection, client, turn)
            if not done:
                return False
        return True
    except (LeaseLost, CannotDecrypt):
        return False  # of the key, whoever holds the connection's lease says so
    finally:
        if mine is not None:
            shards.give_back(services, mine)
        if client is not None:
            client.close()


@contextmanager
def _trouble(services: Services, lease: Lease | Shards) -> Iterator[None]:
    """Mailchimp's errors about the connection as a whole stop it, for a while or until somebody acts."""
    try:
        yield
    except (KeyRefused, PermissionDenied) as error:
        logger.error("the connection stops until somebody acts", extra=_told(error))
        _suspend(services, lease, str(error))
    except (TryLater, OutcomeUnknown) as error:
        logger.warning("Mailchimp is not asked for a while", extra=_told(error))
        _pause(services, lease, 10.0 if error.status == 429 else 30.0)
    except MailchimpError as error:
        logger.error("Mailchimp refused a request", extra=_told(error))
        _pause(services, lease, 60.0)


def _told(error: MailchimpError) -> dict[str, Any]:
    """What the log says of it: nothing that Mailchimp wrote, but for the request's id."""
    return {
        "error": type(error).__name__,
        "status": error.status,
        "why": str(error),
        "request_id": error.request_id,
    }


def _pause(services: Services, lease: Lease | Shards, seconds: float) -> None:
    """Nobody speaks to this account for a while; the jitter keeps workers from coming back as one."""
    until = services.now() + timedelta(seconds=seconds * random.uniform(0.5, 1.5))  # nosec B311  # jitter
    _write(services, lease, paused_until=until)


def _suspend(services: Services, lease: Lease | Shards, reason: str) -> None:
    """Stop until an administrator acts; all work is kept."""
    _write(services, lease, suspended=reason)
    with services.begin() as tx:
        row = services.connection(tx, lease.connection_id)
    if row is not None:
        services.tell(signals.disconnected, tenant=row.tenant, reason=reason)


def _write(services: Services, lease: Lease | Shards, **values: Any) -> None:
    table = services.tables.connection

    def work(tx: Transaction) -> None:
        lease.hold(tx, services)
        tx.execute(update(table).where(table.c.id == lease.connection_id).values(**values))

    services.transact(work)
