"""A small world around the real code: a host with a real database, the sandbox, people, workers, time.

Every act is a method in business words, so that the state machine, the positive controls and a single
test can tell the same stories. Time stands still but for what an act takes. Host and sandbox may have
clocks that are wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_mailchimp_optin import (
    acts,
    connect,
    drain,
    newcomers,
    overviews,
    send,
    settle,
    shards,
    waiting,
)
from flask_mailchimp_optin.errors import MailchimpOptinError
from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.sandbox import ImpossibleActError
from flask_mailchimp_optin.testing.sandbox.server import served
from tests.house import Clock, Customer, Host, db, make_app
from tests.invariants import Breach, Promises
from tests.model.killer import Killer

ADDRESSES = ("ada@example.com", "bob@example.com", "cyd@example.com", "dan@example.com")
LISTS = ("list-a", "list-b")
KEY = "0123456789abcdef0123456789abcdef-us6"

#: How answers go wrong: keyword arguments of ``sandbox.fail_next``.
FAULTS: dict[str, dict[str, Any]] = {
    "429": {"status": 429},
    "403 of the firewall": {"status": 403, "body": "<html>blocked</html>"},
    "500": {"status": 500},
    "502 of the CDN": {"status": 502, "body": "<html>bad gateway</html>"},
    "an empty 200": {"status": 200, "body": ""},
    "reset": {"how": "reset"},
    "reset after it took effect": {"how": "reset", "applied": True},
    "half an answer": {"how": "half", "applied": True},
    "500 after it took effect": {"status": 500, "applied": True},
    "late by 5 s": {"how": "late", "delay_s": 5},
    "late by 60 s": {"how": "late", "delay_s": 60},
    "late by 120 s": {"how": "late", "delay_s": 120},
}


class Stage:
    """One application, one server and one database for many worlds, one after the other."""

    def __init__(self, folder: Path, url: str, killer: Killer) -> None:
        self.killer = killer
        self.sandbox: MailchimpSandbox
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.app = make_app(
            folder,
            url,
            lambda: self.clock(),
            MAILCHIMP_OPTIN_CONNECTIONS=1,  # one read after the other: the same story each time
            MAILCHIMP_OPTIN_STOP_SHARE=0.0,
            MAILCHIMP_OPTIN_STOP_COUNT=1,
        )

    @contextmanager
    def world(self, *, host_ahead_s: int = 0, sandbox_ahead_s: int = 0, **settings: Any) -> Any:
        """A fresh world: nobody there, connected, with two lists of which the first is the master."""
        now = _Now()
        ahead = timedelta(seconds=sandbox_ahead_s)
        self.sandbox = MailchimpSandbox(KEY, audiences=(), clock=lambda: now() + ahead)
        self.sandbox.ringer.retries_s = ()
        for list_id in LISTS:
            self.sandbox.add_audience(list_id, id=list_id)
        self.sandbox.deliver_to(self.app)
        self.clock = lambda: now() + timedelta(seconds=host_ahead_s)
        with self.app.app_context():
            db.session.remove()
            with db.engine.begin() as connection:
                for table in reversed(db.metadata.sorted_tables):
                    connection.execute(table.delete())
        host = Host(self.app, self.sandbox, now, Customer)
        promises = Promises(host, now=now, skew=ahead)
        with promises.watching():
            try:
                host.connect(**settings)
                yield World(self, host, promises, now)
            finally:
                self.sandbox.ringer.close()


@contextmanager
def as_very_many() -> Iterator[None]:
    """A few customers are dealt with as very many: read in bulk, told in several calls, shared out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settle, "_SINGLE_READS", 1)  # who is alone is read alone
        patch.setattr(shards, "SHARED_FROM", 2)
        for module in (settle, send, newcomers):
            patch.setattr(module, "LARGEST_BATCH", 2)
        yield


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A stage, served while the block lasts."""
    with ExitStack() as stack:
        here: Stage
        url = stack.enter_context(served(lambda *a: here.sandbox(*a), "127.0.0.1", 0, lambda: None))
        killer = stack.enter_context(Killer.installed())
        here = Stage(folder, f"{url}3.0/", killer)
        with here.app.app_context():
            db.drop_all()
            db.create_all()
        yield here
        with here.app.app_context():
            db.drop_all()
            db.engine.dispose()


class _Now(Clock):
    """The true time: it stands still until it is turned."""

    def __init__(self) -> None:
        super().__init__()
        self._now = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)

    def __call__(self) -> datetime:
        return self._now

    def turn(self, **by: float) -> None:
        self._now += timedelta(**by)


class World:
    """One history."""

    def __init__(self, stage: Stage, host: Host, promises: Promises, now: _Now) -> None:
        self.stage, self.host, self.promises, self.now = stage, host, promises, now
        self.sandbox = host.sandbox
        self.races: list[Breach] = []

    @property
    def customers(self) -> list[int]:
        return list(self.promises.words.customers)

    # Customers and clerks

    def add(
        self, address: str, box: bool | None, *, named: bool = False, own: str | None = None
    ) -> int:
        names = self.host.mailchimp.decided_by(actor="clerk", source="form") if named else None
        with names or ExitStack():
            return self.promises.add(address, named=named, wants_news=box, own_list=own)

    def found(self, address: str, box: bool | None) -> None:
        """A customer from before the extension was there: no listener saw them come."""
        with self.host.app.app_context(), db.engine.begin() as connection:
            statement = sa.insert(Customer.__table__).values(mail=address, wants_news=box)
            key = connection.execute(statement.returning(Customer.id)).scalar_one()
        self.promises.words.wrote(key, None, self.promises.row(key), self.promises.now())

    def change(self, key: int, **values: Any) -> None:
        self.promises.change(key, **values)

    def still(self, key: int, **values: Any) -> None:
        """Change a customer, if there still is one."""
        if key in self.promises.words.customers:
            self.promises.change(key, **values)

    def delete(self, key: int) -> None:
        self.promises.delete(key)

    def bulk(self, keys: list[int], **values: Any) -> None:
        """One ``update()`` on the model."""
        with self.promises.writing(*keys), self.host.app.app_context():
            db.session.execute(sa.update(Customer).where(Customer.id.in_(keys)).values(**values))
            db.session.commit()

    def raw(self, key: int, box: bool | None) -> None:
        """Past every listener."""
        with self.promises.writing(key, raw=True), self.host.app.app_context():
            statement = sa.text("UPDATE customer SET wants_news = :box WHERE id = :id")
            with db.engine.begin() as connection:
                connection.execute(statement, {"box": box, "id": key})

    # People and administrators at Mailchimp

    def at_mailchimp(self, act: str, address: str, list_id: str, **more: Any) -> None:
        with suppress(ImpossibleActError):
            getattr(self.sandbox, act)(list_id, address, **more)
        self._heard()

    def double_optin(self, list_id: str, on: bool) -> None:
        """Switched at Mailchimp, and noticed by a refresh."""
        self.sandbox.set_double_optin(list_id, on)
        self._try(connect.refresh)
        self._try(connect.store_lists)

    def _heard(self) -> None:
        self.promises.observe()
        assert self.sandbox.wait_for_rings(10)
        broken = [ring for ring in self.sandbox.rings if ring.attempts and not ring.status]
        assert not broken, "a ring was not answered: the webhook itself is broken"

    def release(self, order: Any, seed: int) -> None:
        self.sandbox.release_rings(order, seed)
        self._heard()

    # Administrators of the host

    def settings(self, **values: Any) -> None:
        self.promises.settings(**values)

    def new_key(self) -> None:
        self.sandbox.new_key()
        self._try(connect.connect, self.sandbox.api_key)

    def sync(self, act: str) -> None:
        """``start``, ``resume`` or ``cancel``."""
        self._try(getattr(acts, f"{act}_sync"))

    def retry(self) -> None:
        self._try(acts.retry)

    def _try(self, act: Callable[..., object], *more: Any) -> None:
        with self.host.app.app_context(), suppress(MailchimpOptinError):
            act(self.host.services, "", *more)

    # Workers

    def work(self) -> None:
        """Everything that is due."""
        self.host.work()

    def piece(self, *, killed_at: int | None = None, budget_s: float = 0.0) -> None:
        """A drain, of one piece or until it dies.

        :param killed_at: the worker dies at this point: a request that was or was not sent, a
            transaction that was or was not committed. Its lease runs out.
        """
        with self.host.app.app_context():
            for connection in waiting.connections_with_work(self.host.services):
                with self.stage.killer.at(killed_at):
                    drain.drain(self.host.services, connection, "first", budget_s=budget_s)
        self.lease_runs_out()
        self._heard()

    def lease_runs_out(self) -> None:
        table = self.host.services.tables.connection
        with self.host.app.app_context(), self.host.services.begin() as tx:
            tx.execute(sa.update(table).values(lease_until=None, lease_owner=None))

    def overtaken(self, k: int) -> None:
        """At its k-th request the next worker stalls past its lease while another does all the work."""
        self.meanwhile(k, self.second_worker)

    def second_worker(self) -> None:
        """The lease of whoever works has run out; another does all there is to do."""
        self.lease_runs_out()
        with self.host.app.app_context():
            for connection in waiting.connections_with_work(self.host.services):
                drain.drain(self.host.services, connection, "second")

    def meanwhile(
        self, k: int, act: Callable[[], object], *, after: bool = False, path: str | None = None
    ) -> None:
        """Something happens while the k-th request from now is on its way, or its answer is."""
        hook = self.sandbox.after_effect if after else self.sandbox.before_answer
        hook(act, k, path)

    # Faults and time

    def fault(self, name: str, times: int = 1, path: str | None = None) -> None:
        self.sandbox.fail_next(**{"status": 200, **FAULTS[name]}, times=times, path=path)

    def wait(self, seconds: float) -> None:
        self.now.turn(seconds=seconds)
        self.sandbox.land_late(everything=False)

    # What must hold

    def check_always(self) -> None:
        breaches = self.promises.always()
        self.races += [breach for breach in breaches if breach.race]
        require([breach for breach in breaches if not breach.race])

    def settle_down(self) -> None:
        """Faults stop, everything lands, administrators agree; a daily sync finds what no ring told."""
        self.sandbox.stop_failing()
        self.sandbox.repeat_rings(1)
        self.release("fifo", 0)
        self.wait(121)
        for hours in (0, 1, 1, 200, 1, 1):  # a week and more: one of the syncs reads all members
            self.work()
            self._administrators_agree()
            self.work()
            self.wait(hours * 3600)
        self.work()

    def _administrators_agree(self) -> None:
        with self.host.app.app_context():
            overview = overviews.read(self.host.services, "")
        if overview.suspended:
            self._try(connect.connect, self.sandbox.api_key)
        if not overview.settings.enabled:
            self.settings(enabled=True)
        self.sync("resume")

    def check_settled(self) -> None:
        self.check_always()
        breaches = self.promises.settled()
        require([] if self.races else breaches)


def require(breaches: list[Breach]) -> None:
    assert not breaches, "\n" + "\n".join(f"{b.promise}: {b.text}" for b in breaches)
