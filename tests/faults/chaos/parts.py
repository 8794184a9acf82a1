"""A host with its database, its Redis and its Mailchimp, all of which can be put back as they were."""

from __future__ import annotations

import copy
import os
import signal
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from redis import Redis
from sqlalchemy.pool import Pool

from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.sandbox.members import EMPTY
from tests.faults.chaos.forker import state_of_process
from tests.faults.chaos.town import Town
from tests.house import Clock, Customer, db, make_app
from tests.last_words import LastWords


@dataclass(frozen=True, kw_only=True)
class Picture:
    """How everything is at a moment, to be put back."""

    at: datetime
    list_id: str
    database: Any
    mailchimp: Any
    said: LastWords


class House:
    """A host whose database and whose Mailchimp can be put back as they were."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.folder = folder
        self.redis = Redis.from_url(redis_url)
        self.clock = Clock()
        self.sandbox = MailchimpSandbox(clock=self.clock, audiences=("Newsletter", "Other"))
        self.port = free_port()
        self.queue = "chaos"
        self.app = make_app(
            folder,
            f"http://127.0.0.1:{self.port}/3.0/",
            self.clock,
            SQLALCHEMY_DATABASE_URI=database_url,
            MAILCHIMP_OPTIN_REDIS_URL=redis_url,
            MAILCHIMP_OPTIN_QUEUE=self.queue,
        )
        self.host = Town(self.app, self.sandbox, self.clock, Customer)
        self.ours: set[int] = set()
        with self.app.app_context():
            self.engine = db.engine
        sa.event.listen(self.engine, "connect", self._connected)
        sa.event.listen(Pool, "connect", self._ours)
        self._empty = self._mailchimp()

    def _connected(self, connection: Any, _record: Any) -> None:
        if self.engine.dialect.name == "sqlite":
            # Our own files are in memory; the calls that wait for a disk must be there to be hit.
            connection.execute("PRAGMA synchronous = FULL")

    def _ours(self, connection: Any, _record: Any) -> None:
        if self.engine.dialect.name == "postgresql":
            self.ours.add(connection.info.backend_pid)
        elif self.engine.dialect.name != "sqlite":
            self.ours.add(connection.thread_id())

    def reset(self) -> None:
        """Nothing has ever happened."""
        self.engine.dispose()
        with self.app.app_context():
            db.drop_all()
            db.create_all()
        self._put_mailchimp(self._empty)
        self.redis.flushdb()
        self.clock.ahead = Clock().ahead
        self.host.list_id = ""
        self.host.begin()

    # Pictures

    def picture(self) -> Picture:
        """How everything is now."""
        return Picture(
            at=self.clock(),
            list_id=self.host.list_id,
            database=self._database(),
            mailchimp=self._mailchimp(),
            said=copy.deepcopy(self.host.promises.words),
        )

    def put_back(self, picture: Picture) -> None:
        """Everything as it was, the time too."""
        self.sandbox.stop_failing()
        self._put_database(picture.database)
        self._put_mailchimp(picture.mailchimp)
        self.redis.flushdb()
        self.host.list_id = picture.list_id
        self.clock.ahead += picture.at - self.clock()
        self.host.begin(picture.said)

    def _mailchimp(self) -> Any:
        account = self.sandbox._account
        with account.lock:
            return (
                _copy(account.audiences),
                list(account.mails),
                list(account.status_changes),
                list(self.sandbox.requests),
            )

    def _put_mailchimp(self, state: Any) -> None:
        account = self.sandbox._account
        with account.lock:
            audiences, mails, changes, requests = state
            account.audiences = _copy(audiences)
            account.mails, account.status_changes = list(mails), list(changes)
            self.sandbox.requests = list(requests)

    def _database(self) -> Any:
        self.engine.dispose()
        if self.engine.dialect.name == "sqlite":
            return self._file().read_bytes()
        with self.engine.connect() as connection:
            return [
                (table, [dict(row._mapping) for row in connection.execute(table.select())])
                for table in db.metadata.sorted_tables
            ]

    def _put_database(self, state: Any) -> None:
        if self.engine.dialect.name == "sqlite":
            self.engine.dispose()
            for path in self.folder.glob(f"{self._file().name}*"):
                path.unlink()
            self._file().write_bytes(state)
            return
        with self.engine.begin() as connection:
            for table, _ in reversed(state):
                connection.execute(table.delete())
            for table, rows in state:
                if rows:
                    connection.execute(table.insert(), rows)

    def _file(self) -> Path:
        return Path(str(self.engine.url.database))

    # What a restart waits for

    def wait_for_the_dead(self, pids: Iterable[int], within_s: float = 10.0) -> None:
        """Until these processes are gone, and whatever they asked for has been done or dropped."""
        deadline = time.monotonic() + within_s
        for pid in pids:
            while state_of_process(pid) not in ("", "Z"):
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.001)
        while self._strangers() or self.sandbox.connections:
            assert time.monotonic() < deadline + 5, "what a dead one asked for is still being done"
            time.sleep(0.002)

    def _strangers(self) -> int:
        kind = self.engine.dialect.name
        if kind == "sqlite":
            return 0
        query = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend'"
            if kind == "postgresql"
            else "SELECT id FROM information_schema.processlist WHERE db = database()"
        )
        with self.engine.connect() as connection:
            return sum(row[0] not in self.ours for row in connection.execute(sa.text(query)))


def _copy(audiences: Any) -> Any:
    # The one empty mapping of all members can't be copied, and need not be.
    return copy.deepcopy(audiences, {id(EMPTY): EMPTY})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
