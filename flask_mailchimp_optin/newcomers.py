"""A first sync to a list where nobody is: found, told and remembered in one go. Journey out.

A sync counts before it sends, and a person is asked if it would take too much away. Where nobody is,
nothing can be taken away, and there is nothing to be read: who is new and says yes is told as soon as
they are found. Workers share the customers out in parts, by ranges of their keys; how far each part is,
is kept in the run's cursor. Who is not plain is left to the sync's other phases: see ``introduce``.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from sqlalchemy import Row, or_, select

from . import contacts, introduce, runs, shards, walk
from .client import LARGEST_BATCH, BatchAnswer, Client
from .consent import EPSILON, Status
from .errors import MailchimpError, MemberRefused, NotFound, OutcomeUnknown, RequestRefused
from .introduce import Call, Introductions
from .lease import Lease
from .mapping import Snapshot
from .recent import GOOD_FOR, Recent
from .round import Round
from .services import Services, Transaction
from .shards import Shards


def nobody_at(
    services: Services, lease: Lease, connection: Row[Any], run: Row[Any], client: Client
) -> str | None:
    """When a first sync met nobody: no member in the master list, nobody who was ever told; else None.

    Looked at when it begins, and then kept in the run's cursor.
    """
    if run.cursor is not None or run.kind != "initial":
        since: str | None = _cursor(run).get("nobody_at")
        return since if "parts" in _cursor(run) else None
    contact = services.tables.contact
    with services.begin() as tx:
        here = contact.c.connection_id == connection.id
        seen = contact.c.seen_status != Status.ABSENT.value
        told = or_(seen, contacts.is_told(contact))
        known = tx.value(select(contact.c.id).where(here, told).limit(1)) is not None
        audience = _audience(tx, services, connection)
    if known or audience is None:
        return None
    at = services.now().isoformat()
    list_id = audience.list_id
    try:
        # The archived are listed only if they are asked for.
        with ThreadPoolExecutor(min(2, lease.at_a_time)) as pool:
            looks = pool.map(lambda s: client.members(list_id, status=s), (None, Status.ARCHIVED))
            if any(rows or total for rows, total in looks):
                return None
    except NotFound:
        return None  # the list is: the sync's second phase finds out

    def work(tx: Transaction) -> None:
        lease.hold(tx, services)
        customers = services.mapping.count(tx.session, connection.tenant)
        cursor = walk.begin(tx, services, run, customers)
        parts = _parts(tx, services, connection, customers)
        runs.advance(tx, services, run, {"nobody_at": at, "parts": parts} | cursor)

    services.transact(work)
    return at


def _parts(
    tx: Transaction, services: Services, connection: Row[Any], customers: int
) -> list[list[str | None]]:
    """The customers in parts of about one size, each with the key before its first and its last one.

    The last one takes whoever comes to be meanwhile.
    """
    mapping, tenant, number = services.mapping, connection.tenant, services.config.CONNECTIONS
    bounds: list[str] = []
    if customers >= shards.SHARED_FROM:
        each = LARGEST_BATCH * math.ceil(customers / number / LARGEST_BATCH)  # whole calls
        bounds = mapping.bounds(tx.session, tenant, each)[: number - 1]
    return [[after, until] for after, until in zip([None, *bounds], [*bounds, None], strict=True)]


def are_many(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    """Whether so many are still to be told that others should help."""
    run = runs.current(tx, services, connection.id)
    left = 0 if run is None else run.customers - run.customers_done
    return left >= shards.SHARED_FROM and sum(map(bool, _cursor(run).get("parts", ()))) > 1


def step(
    services: Services,
    lease: Lease | Shards,
    connection: Row[Any],
    client: Client,
    goes_on: Callable[[], bool],
) -> bool:
    """Tell the next customers, some hundred in each call, as long as there is time; whether any were.

    Who was written down and got no usable answer is looked at in the last phase, as after a crash.

    :param lease: of the whole connection, or of some shards: then those are told whose part it is.
    :raises MailchimpError: about the connection as a whole.
    """
    with services.begin() as tx:
        run = runs.current(tx, services, connection.id)
        audience = _audience(tx, services, connection)
    parts = _cursor(run).get("parts")
    if run is None or audience is None or parts is None:
        return False
    # From the end: who asks for shards gets the first ones, which nobody has begun with.
    mine = [number for number in reversed(range(len(parts))) if _is_mine(lease, number)]
    left = {number: parts[number] for number in mine if parts[number]}
    if left:
        here = Round(services, lease, connection, client, Recent(client, services.now), audience)
        since = datetime.fromisoformat(_cursor(run)["nobody_at"])
        calls = _calls(here, run.id, left, since, goes_on)
        _tell(here, calls, run.id, few=run.customers <= LARGEST_BATCH)
    elif isinstance(lease, Lease):
        _end(services, lease, connection, run.id)
    return bool(left)


def _is_mine(lease: Lease | Shards, number: int) -> bool:
    return isinstance(lease, Lease) or number % lease.of in lease.fences


def _audience(tx: Transaction, services: Services, connection: Row[Any]) -> Row[Any] | None:
    table = services.tables.audience
    return tx.row(select(table).where(table.c.id == connection.master_audience_id))


def _cursor(run: Row[Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.cursor if run is not None else None) or "{}")
    return found


def _calls(
    here: Round,
    run_id: int,
    left: dict[int, list[str | None]],
    since: datetime,
    goes_on: Callable[[], bool],
) -> Iterator[Call]:
    """The calls of these parts, each written down as it comes; until the time is up."""
    introductions = None
    if not (here.audience.gone_at or here.audience.double_optin):  # else: by now
        introductions = Introductions(here, _archived_since(here, since))
    for number, (after, until) in left.items():
        while True:
            begin = time.monotonic()
            page = _write_down(here, run_id, number, (after, until), introductions)
            if page is None:
                return
            here.client.until = begin + here.services.config.TIMEOUT_S
            if introductions is not None and introductions.call.writes:
                yield introductions.call
            if not goes_on():
                return
            if len(page) < LARGEST_BATCH:
                break
            after = page[-1].key


def _write_down(
    here: Round,
    run_id: int,
    number: int,
    between: tuple[str | None, str | None],
    introductions: Introductions | None,
) -> list[Snapshot] | None:
    """The next customers of a part, written down; None if the sync is not at it any more."""
    services = here.services
    # Others wait for whoever writes: what can be done before is.
    with services.begin() as tx:
        made = _next(tx, here, *between, introductions)
    is_first = True

    def work(tx: Transaction) -> list[Snapshot] | None:
        nonlocal made, is_first
        here.lease.hold(tx, services)
        if not is_first:  # somebody may have been quicker to write one of them down
            made = _next(tx, here, *between, introductions)
        is_first = False
        run = runs.current(tx, services, here.connection.id)
        if run is None or run.id != run_id:
            return None  # paused or cancelled meanwhile
        page, found = made
        taken = introductions.take(tx) if introductions is not None else set[str]()
        others = services.mapping.snapshots(tx.session, sorted(found.others - taken))
        walk.look(tx, services, run, found, others)
        locked = runs.lock(tx, services, run_id)  # others are at other parts
        cursor = _cursor(locked)
        cursor["parts"][number][0] = page[-1].key if page else None
        if len(page) < LARGEST_BATCH:
            cursor["parts"][number] = None
        walk.count(cursor, found.ids)
        done = locked.customers_done + len(page)
        runs.advance(tx, services, run, cursor, customers_done=done)
        return page

    return services.transact(work)


def _next(
    tx: Transaction,
    here: Round,
    after: str | None,
    until: str | None,
    introductions: Introductions | None,
) -> tuple[list[Snapshot], walk.Found]:
    mapping, tenant = here.services.mapping, here.connection.tenant
    page = mapping.page(tx.session, tenant, after, LARGEST_BATCH, until)
    found = walk.find(tx, here.services, here.connection, page)
    if introductions is not None:
        introductions.make_ready(tx, found)
    return page, found


def _end(services: Services, lease: Lease, connection: Row[Any], run_id: int) -> None:
    """All parts are done."""

    def work(tx: Transaction) -> None:
        lease.hold(tx, services)
        run = runs.current(tx, services, connection.id)
        if run is not None and run.id == run_id:
            runs.change(tx, services, run_id, customers=run.customers_done)
            walk.end(tx, services, connection, run, _cursor(run))

    services.transact(work)


def _archived_since(here: Round, at: datetime) -> set[str]:
    """Who was archived since nobody was there: an UPSERT would bring them back."""
    if here.services.now() - at < GOOD_FOR:
        return set()
    reading = here.recent.read(here.audience.list_id, None, at - EPSILON, (), None)
    return set(reading.members)


def _tell(here: Round, calls: Iterator[Call], run_id: int, *, few: bool) -> None:
    """Make the calls, several at a time, and write down what was answered.

    :param few: there is one.
    """
    stopped: MailchimpError | None = None
    gone = False

    def as_long_as_it_can() -> Iterator[Call]:
        while not (stopped or gone) and (call := next(calls, None)) is not None:
            yield call

    given = list(calls) if few else as_long_as_it_can()
    try:
        for call, answer in here.at_once(lambda c: introduce.post(here, c), given):
            if isinstance(answer, BatchAnswer):
                introduce.remember(here, run_id, call, answer)
                continue
            if isinstance(answer, OutcomeUnknown):
                continue
            introduce.remember(here, run_id, call, None)
            gone = gone or (isinstance(answer, NotFound) and here.audience_gone())
            if not (gone or isinstance(answer, MemberRefused | RequestRefused)):
                stopped = answer
    finally:
        here.client.until = None
    if stopped is not None:
        raise stopped
