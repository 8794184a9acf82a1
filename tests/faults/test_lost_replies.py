"""Replies that get lost between us and the database: every exchange of every scenario, each way.

The hard one is COMMIT: whether it took effect is not known then, neither to the host nor to us.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from flask_mailchimp_optin import acts, connect, drain, waiting
from flask_mailchimp_optin.errors import MailchimpOptinError
from flask_mailchimp_optin.models import utc
from flask_mailchimp_optin.services import database_now
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.faults.proxy import HOWS, How, Proxy, proxied
from tests.house import Clock, Host, hosting

URL = os.environ.get("TEST_DATABASE_URL", "")
#: Every exchange in every way, instead of one in thirteen, the ways by turns.
EVERYTHING = os.environ.get("TEST_FAULTS") == "all"
_LEASE_S = 2.0

needs_server = pytest.mark.skipif(
    not URL, reason="SQLite has no connection that could break: set TEST_DATABASE_URL"
)


@dataclass
class Harmed:
    """A host whose database is behind a proxy, and an engine that is not."""

    host: Host
    proxy: Proxy
    engine: sa.Engine
    number: int = 0
    ids: dict[str, int] = field(default_factory=dict)

    def fresh(self) -> str:
        """An address that nobody has had."""
        self.number += 1
        return f"c{self.number}@example.com"

    def rows(self, address: str) -> list[Any]:
        """The host's rows of an address, as they are committed."""
        with self.engine.connect() as connection:
            model = self.host.model
            return list(connection.execute(sa.select(model).where(model.mail == address)))

    def decisions(self, key: int) -> list[bool]:
        """The ledger of a customer."""
        table = self.host.services.tables.decision
        query = sa.select(table.c.value).where(table.c.customer_key == str(key))
        with self.engine.connect() as connection:
            return [bool(v) for v in connection.scalars(query.order_by(table.c.id))]

    def settings(self) -> tuple[int, int, int]:
        """The master list's id here, the epoch, and how many syncs were planned."""
        tables = self.host.services.tables
        one = sa.select(tables.connection.c.master_audience_id, tables.connection.c.epoch)
        syncs = sa.select(sa.func.count()).select_from(tables.sync_run)
        with self.engine.connect() as connection:
            master, epoch = connection.execute(one).one()
            return master, epoch, connection.execute(syncs).scalar_one()

    def works(self) -> None:
        """A worker's job; one that fails is over."""
        services = self.host.services
        with suppress(SQLAlchemyError, MailchimpOptinError), self.host.app.app_context():
            for connection_id in waiting.connections_with_work(services):
                drain.drain(services, connection_id, "worker")

    def heal(self) -> None:
        """No harm any more; all leases are short, and run out; then sweeps until all is quiet."""
        self.proxy.harm()
        table = self.host.services.tables.connection
        with self.host.app.app_context(), self.host.services.begin() as tx:
            now, until = database_now(tx), tx.value(sa.select(table.c.lease_until))
            assert until is None or (utc(until) - now).total_seconds() <= _LEASE_S
            tx.execute(sa.update(table).values(lease_until=None))
        for _ in range(10):
            self.host.work()
            if not self.host.rows("outbox") and not any(map(_open, self.host.rows("contact"))):
                return
            self.host.clock.turn(minutes=3)
        raise AssertionError(f"stuck: {list(filter(_open, self.host.rows('contact')))}")


def _open(contact: Any) -> bool:
    return bool(contact.open_verb or contact.late or contact.look or contact.due_at)


@pytest.fixture
def harmed(tmp_path: Path) -> Iterator[Harmed]:
    """One connected host for all points: each has customers of its own."""
    url = sa.make_url(URL)
    clock, folder = Clock(), tmp_path
    sandbox = MailchimpSandbox(clock=clock)
    engine = sa.create_engine(url)
    with proxied(url.host or "", url.port or 0) as proxy:
        near = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        config = {"SQLALCHEMY_DATABASE_URI": near, "MAILCHIMP_OPTIN_TIMEOUT_S": _LEASE_S / 2}
        with hosting(folder, sandbox, clock, **config) as host:
            sandbox.ringer.retries_s = (0.01, 0.02, 0.05)
            host.connect()
            yield Harmed(host, proxy, engine)
            proxy.harm()
    engine.dispose()


# Scenarios: make ready, then what is harmed, then what must hold once all is well again.


def save(it: Harmed) -> Callable[[], None]:
    address = it.fresh()
    raised = _raises(lambda: it.host.add(address, wants_news=True))

    def holds() -> None:
        rows = it.rows(address)
        assert len(rows) == 1 or (raised and not rows)
        assert it.host.status(address) == ("subscribed" if rows else None)
        assert [it.decisions(row.id) for row in rows] == [[True]] * len(rows)

    return holds


def untick(it: Harmed) -> Callable[[], None]:
    address, key = it.ids.popitem()
    raised = _raises(lambda: it.host.change(key, wants_news=False))

    def holds() -> None:
        (row,) = it.rows(address)
        assert row.wants_news is False or raised
        assert it.host.status(address) == ("subscribed" if row.wants_news else "unsubscribed")
        assert it.decisions(key) == ([True] if row.wants_news else [True, False])

    return holds


def drain_of_a_yes(it: Harmed) -> Callable[[], None]:
    address, key = it.ids.popitem()
    it.works()

    def holds() -> None:
        assert (it.host.status(address), it.host.box(key)) == ("subscribed", True)
        assert it.decisions(key) == [True]
        calls = [r for r in it.host.calls("POST") if address in str(r.body)]
        assert len(calls) <= 2

    return holds


def drain_of_a_no(it: Harmed) -> Callable[[], None]:
    address, key = it.ids.popitem()
    it.works()

    def holds() -> None:
        assert (it.host.status(address), it.host.box(key)) == ("unsubscribed", False)
        assert it.decisions(key) == [True, False]

    return holds


def ring(it: Harmed) -> Callable[[], None]:
    address, key = it.ids.popitem()
    it.host.sandbox.unsubscribe(it.host.list_id, address)
    it.host.sandbox.wait_for_rings(10)
    it.works()

    def holds() -> None:
        assert (it.host.status(address), it.host.box(key)) == ("unsubscribed", False)
        assert it.decisions(key) == [True, False]

    return holds


def sync(it: Harmed) -> Callable[[], None]:
    address, key = it.ids.popitem()
    with suppress(SQLAlchemyError), it.host.app.app_context():
        acts.start_sync(it.host.services, "")
    it.works()

    def holds() -> None:
        with it.host.app.app_context():
            acts.start_sync(it.host.services, "")  # as the administrator does who saw an error
        it.host.work()
        assert (it.host.status(address), it.host.box(key)) == ("unsubscribed", False)
        assert it.decisions(key) == [True, False]

    return holds


def settings(it: Harmed) -> Callable[[], None]:
    lists = set(it.host.sandbox.audiences)
    (other,) = lists - {it.host.list_id}
    before = it.settings()
    with suppress(SQLAlchemyError):
        it.host.settings(master_list=other)

    def holds() -> None:
        master, epoch, syncs = it.settings()
        saved = master != before[0]
        assert (epoch - before[1], syncs - before[2]) == (saved, saved)
        if saved:
            it.host.list_id = other

    return holds


def _raises(act: Callable[[], object]) -> bool:
    try:
        act()
    except SQLAlchemyError:
        return True
    return False


def _nothing(it: Harmed) -> None:
    """Nothing has to be there before."""


def _ticked(it: Harmed) -> None:
    address = it.fresh()
    it.ids[address] = it.host.add(address, wants_news=True)


def _subscribed(it: Harmed) -> None:
    _ticked(it)
    it.host.work()


def _two_lists(it: Harmed) -> None:
    if len(it.host.rows("audience")) == 1:
        it.host.sandbox.add_audience("Other")
        with it.host.app.app_context():
            connect.refresh(it.host.services, "")
            connect.store_lists(it.host.services, "")
    it.host.work()


def _unticked(it: Harmed) -> None:
    _subscribed(it)
    it.host.change(next(iter(it.ids.values())), wants_news=False)


def _left_unheard(it: Harmed) -> None:
    _subscribed(it)
    it.host.sandbox.drop_rings(1)
    it.host.sandbox.unsubscribe(it.host.list_id, next(iter(it.ids)))


SCENARIOS: dict[str, tuple[Callable[[Harmed], None], Callable[[Harmed], Callable[[], None]]]] = {
    "a host's save": (_nothing, save),
    "a host's untick": (_subscribed, untick),
    "a drain of a yes": (_ticked, drain_of_a_yes),
    "a drain of a no": (_unticked, drain_of_a_no),
    "a ring": (_subscribed, ring),
    "a sync": (_left_unheard, sync),
    "settings": (_two_lists, settings),
}


@needs_server
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.timeout(900)
def test_whatever_exchange_is_lost_nothing_is_lost_doubled_or_stuck(
    harmed: Harmed, scenario: str
) -> None:
    ready, act = SCENARIOS[scenario]
    points = 0
    for how in HOWS if EVERYTHING else ("by turns",):
        exchange = 1
        while _point(harmed, ready, act, how, exchange):
            exchange += 1 if EVERYTHING or exchange < 6 else 13
            points += 1
    print(f"{scenario}: {points} points")
    assert points >= 5


def _point(it: Harmed, ready: Any, act: Any, how: str, exchange: int) -> bool:
    """Harm one exchange; False if there are not that many."""
    ready(it)
    way: How = HOWS[exchange % 3] if how == "by turns" else how  # type: ignore[assignment]
    it.proxy.harm(way, exchange)
    holds = act(it)
    met = it.proxy.harmed
    it.heal()
    try:
        holds()
    except AssertionError as error:
        raise AssertionError(f"{way} at exchange {exchange}: {error}") from error
    return met
