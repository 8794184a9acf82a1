"""Between two stretches of faults: everything is let settle, and what was promised is checked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from flask_mailchimp_optin import acts, connect, jobs, waiting, waking
from flask_mailchimp_optin.addresses import canonical
from flask_mailchimp_optin.errors import BadAddress, MailchimpOptinError
from flask_mailchimp_optin.models import utc
from flask_mailchimp_optin.testing.sandbox import StatusChange
from tests.faults.soak_world import World
from tests.house import Customer, db
from tests.invariants import REFUSED, Promises
from tests.last_words import Place

_ROUNDS = 12  # of three minutes of the turned clock
_ROUND_S = 40.0


class Stuck(AssertionError):
    """Something does not come to an end although nothing is in its way any more."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A customer as the host's row says, with what Mailchimp says of them."""

    key: int
    list_id: str
    address: str
    box: bool | None
    state: str
    status: str | None


# Settling


def settle(world: World, truth: Truth) -> list[str]:
    """Stop every fault, and wait until nothing is left to do. Nobody may act meanwhile.

    :returns: what was wrong before a sync made up for it.
    :raises Stuck: there is always something left.
    """
    world.redis.go_on()
    sandbox = world.sandbox
    sandbox.stop_failing()
    sandbox.repeat_rings(1)
    sandbox.drop_rings(-sandbox.ringer._to_drop)
    sandbox.release_rings()
    world.ensure()
    _until(world, "the web process", world.web_answers)
    world.host.settings(enabled=True, daily=False)
    _quiet(world)
    wrong = truth.without_a_sync()
    # What rings were lost for is found by the next sync; what was parked, when somebody looks at it.
    _manual_sync(world)
    with world.host.app.app_context():
        acts.retry(world.host.services, "")
    _quiet(world)
    return wrong


def _manual_sync(world: World) -> None:
    with world.host.app.app_context():
        acts.start_sync(world.host.services, "")


def _quiet(world: World) -> None:
    for _ in range(_ROUNDS):
        _until(world, "the rings", lambda: world.sandbox.wait_for_rings(0.1))
        _until(world, "requests under way", lambda: world.sandbox.connections == 0)
        _until(world, "the work", lambda: _idle(world))
        if not left(world):
            return
        world.host.clock.turn(minutes=3)
    raise Stuck(f"There is always something left to do: {left(world)}")


def _until(world: World, name: str, what: Any) -> None:
    deadline = time.monotonic() + _ROUND_S
    swept = 0.0
    while not what():
        world.ensure()
        if time.monotonic() > deadline:
            raise Stuck(f"{name} does not come to an end: {left(world)}")
        if time.monotonic() - swept > 1.0:
            swept = time.monotonic()
            sweep(world)
        time.sleep(0.05)


def sweep(world: World) -> None:
    """What the worker's maintenance, or cron, does every minute."""
    with world.redis.client() as client:
        waking.enqueue(jobs.queue("soak", client), "sweep")


def _idle(world: World) -> bool:
    services = world.host.services
    table = services.tables.connection
    with world.host.app.app_context():
        if waiting.connections_with_work(services):
            return False
        with services.begin() as tx:
            return tx.value(sa.select(table.c.id).where(table.c.lease_owner.isnot(None))) is None


def left(world: World) -> dict[str, list[Any]]:
    """What is still open in our tables, by table."""
    services, tables = world.host.services, world.host.services.tables
    soon = services.now() + timedelta(hours=2)
    contact = tables.contact
    queries = {
        "contact": sa.select(contact).where(
            sa.or_(
                contact.c.due_at < soon,
                contact.c.late.isnot(None),
                contact.c.open_verb.isnot(None),
                contact.c.look.is_(True),
                contact.c.orphan.isnot(None),
            )
        ),
        "outbox": sa.select(tables.outbox),
        "webhook_event": sa.select(tables.webhook_event.c.id).where(
            tables.webhook_event.c.outcome.is_(None)
        ),
        "sync_run": sa.select(tables.sync_run).where(
            tables.sync_run.c.state.in_(["running", "waiting"])
        ),
    }
    with world.host.app.app_context(), services.begin() as tx:
        found = {name: [dict(row._mapping) for row in tx.rows(q)] for name, q in queries.items()}
    return {name: rows for name, rows in found.items() if rows}


# Checking


class Overheard(Promises):
    """V and P where others write the customers: who said yes is in the ledger."""

    def _new_yes(self, place: Place, archived: StatusChange | None) -> bool:
        table = self.host.services.tables.decision
        if archived is None:
            return False
        query = sa.select(table.c.id).where(
            table.c.value.is_(True),
            table.c.decided_at > archived.moment,
            # A bulk update's decisions name the customer only.
            sa.or_(table.c.address == place[1], table.c.address.is_(None)),
        )
        with self.host.app.app_context(), self.host.services.begin() as tx:
            return tx.value(query.limit(1)) is not None


class Truth:
    """What held when everything was last settled, and what was decided since."""

    def __init__(self, world: World, promises: Promises) -> None:
        self.world, self.promises = world, promises
        self.owners: dict[Place, list[Owner]] = {}
        self.decisions = self.changes = self.lines = 0

    def check(self) -> list[str]:
        """What is wrong now, in words; then what holds now is the new truth."""
        now = owners(self.world)
        wrong = [*self._agreement(now), *self._decided(now)]
        wrong += [f"{breach.promise}: {breach.text}" for breach in self.promises.always()]
        self.owners = now
        self.decisions = self._last_decision()
        self.changes = len(self.world.sandbox.status_changes)
        self.lines = len(self.world.history.read_text().splitlines())
        return wrong

    def without_a_sync(self) -> list[str]:
        """What the host's people decided, and nobody at Mailchimp, needs no sync to get there."""
        ours, theirs, moved = self._ours(), self._theirs(), self._moved()
        return [
            f"only a sync would find: {owner}\n{facts(self.world, pair)}"
            for pair, people in owners(self.world).items()
            for owner in people
            if owner.key in ours and pair not in theirs and pair[1] not in moved
            if not _agrees(owner)
        ]

    def _agreement(self, now: dict[Place, list[Owner]]) -> list[str]:
        """S, L and C: box and member say the same, or the page says why not."""
        return [
            f"disagree: {owner}\n{facts(self.world, pair)}"
            for pair, people in now.items()
            for owner in people
            if not _agrees(owner)
        ]

    def _decided(self, now: dict[Place, list[Owner]]) -> list[str]:
        """S and L: where one side alone decided, it has won; where nobody did, nothing changed."""
        wrong = []
        ours, theirs, moved = self._ours(), self._theirs(), self._moved()
        for pair, people in now.items():
            before = self.owners.get(pair, [])
            if [o.key for o in before] != [o.key for o in people] or pair[1] in moved:
                continue  # who came or went brought a decision along
            made = [decision for owner in people for decision in ours.get(owner.key, [])]
            found = {owner.box for owner in people} - {None}  # unset is no decision
            if not found <= _possible(before, made, theirs.get(pair, ())):
                wrong.append(
                    f"{before} became {people}, decided here {made}, there {theirs.get(pair)}\n"
                    f"{facts(self.world, pair)}"
                )
        return wrong

    def _ours(self) -> dict[int, list[tuple[datetime, bool]]]:
        """The host's own decisions since the last check, by customer."""
        table = self.world.host.services.tables.decision
        query = sa.select(table).where(
            table.c.id > self.decisions, table.c.source.notin_(["mailchimp", "shared address"])
        )
        found: dict[int, list[tuple[datetime, bool]]] = {}
        with self.world.host.app.app_context(), self.world.host.services.begin() as tx:
            for row in tx.rows(query):
                made = (utc(row.decided_at), bool(row.value))
                found.setdefault(int(row.customer_key), []).append(made)
        return found

    def _theirs(self) -> dict[Place, list[str | None]]:
        """The statuses that people at Mailchimp chose since the last check."""
        found: dict[Place, list[str | None]] = {}
        for change in self.world.sandbox.status_changes[self.changes :]:
            if change.by != "api":
                found.setdefault((change.list_id, change.address), []).append(change.new)
        return found

    def _moved(self) -> set[str]:
        """Addresses that somebody took, left or tried to, here or there, since the last check."""
        lines = self.world.history.read_text().splitlines()[self.lines :]
        acts = (" add ", " address ", " delete ", " list ", " mailchimp move ")
        words = [line.split() for line in lines if any(act in line for act in acts)]
        return {word for line in words for word in line if "@" in word}

    def _last_decision(self) -> int:
        table = self.world.host.services.tables.decision
        with self.world.host.app.app_context(), self.world.host.services.begin() as tx:
            return int(tx.value(sa.select(sa.func.max(table.c.id))) or 0)


def _possible(
    before: list[Owner], made: list[tuple[datetime, bool]], theirs: Sequence[str | None]
) -> set[bool | None]:
    """What the boxes of an address may say now."""
    if made and theirs:
        return {True, False}  # both sides: the rule's business, and the reference model's
    if made:
        return {max((at, not value) for at, value in made)[1] is False}
    if theirs and theirs[-1] in ("subscribed", "unsubscribed"):
        return {theirs[-1] == "subscribed"}
    chosen = {
        status == "subscribed" for status in theirs if status in ("subscribed", "unsubscribed")
    }
    return {owner.box for owner in before} | chosen


def facts(world: World, pair: Place) -> str:
    """All that is known of an address, for whoever has to find out why."""
    services, tables = world.host.services, world.host.services.tables
    told = [f"  {c}" for c in world.sandbox.status_changes if (c.list_id, c.address) == pair]
    with world.host.app.app_context(), services.begin() as tx:
        for table in (tables.customer, tables.contact, tables.decision, tables.webhook_event):
            for row in tx.rows(sa.select(table).where(table.c.address == pair[1])):
                told.append(f"  {table.name}: {dict(row._mapping)}")
    return "\n".join(told)


def owners(world: World) -> dict[Place, list[Owner]]:
    """All customers by (list, address), in the order of their keys."""
    host = world.host
    found: dict[Place, list[Owner]] = {}
    with host.app.app_context():
        customers = list(db.session.scalars(sa.select(Customer).order_by(Customer.id)))
        states = host.mailchimp.states_of(customers)
        for customer in customers:
            list_id = customer.own_list or host.list_id
            try:
                address = canonical(customer.mail)
            except BadAddress:
                continue
            owner = Owner(
                key=customer.id,
                list_id=list_id,
                address=address,
                box=customer.wants_news,
                state=states[str(customer.id)].state,
                status=host.status(address, list_id),
            )
            found.setdefault((list_id, address), []).append(owner)
        db.session.remove()
    return found


def _agrees(owner: Owner) -> bool:
    if owner.box:
        return owner.status in ("subscribed", "pending") or owner.state in REFUSED
    if owner.box is False:
        return owner.status != "subscribed"
    # Unset does nothing: what was decided before stands, and an unticked box is no yes.
    return True


def connect_world(world: World) -> None:
    """Connect, and wait for the initial sync."""
    world.ensure()
    _until(world, "the web process", world.web_answers)
    host = world.host
    with host.app.app_context():
        overview = connect.connect(host.services, "", host.sandbox.api_key)
    host.list_id = overview.lists[0].list_id
    try:
        host.settings(enabled=True, master_list=host.list_id, always_confirm=world.seed % 2 == 0)
    except MailchimpOptinError as error:
        raise Stuck(str(error)) from error
    with world.nobody_acts():
        _quiet(world)
