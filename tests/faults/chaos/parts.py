"""The real parts of the kill sweep: a host with its database, Redis and sandbox, all of which can be
put back, and a process with the application loaded that forks the processes to be killed.

Imports the test host; knows no scenario.
"""

from __future__ import annotations

import copy
import ctypes
import http.client
import json
import logging
import mmap
import os
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import sqlalchemy as sa
from redis import Redis

from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.sandbox.members import EMPTY
from tests.house import Clock, Customer, Host, db, make_app

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


class Marks:
    """What a process that may be killed at any call tells without making one: shared memory."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 4096)

    def clear(self) -> None:
        self._memory[:] = bytes(4096)

    @property
    def returned(self) -> bool:
        """The act came back to its caller."""
        return self._memory[0] == 1

    def has_returned(self) -> None:
        self._memory[0] = 1

    @property
    def number(self) -> int:
        """The pid of RQ's forked child, or the port of the web process."""
        return int(struct.unpack_from("<I", self._memory, 4)[0])

    @number.setter
    def number(self, value: int) -> None:
        struct.pack_into("<I", self._memory, 4, value)

    @property
    def error(self) -> str:
        return self._memory[8:].rstrip(b"\0").decode("utf-8", "replace")

    @error.setter
    def error(self, text: str) -> None:
        raw = text.encode("utf-8", "replace")[-4000:]
        self._memory[8 : 8 + len(raw)] = raw


class Forker:
    """A process without threads or connections, the application loaded: forks what is to be killed.

    A child stops itself before it begins, so that it can be traced from its first call on.
    """

    def __init__(self, child: Callable[[dict[str, Any]], None]) -> None:
        here, there = socket.socketpair()
        self._child = child
        self.pid = os.fork()
        if self.pid == 0:
            here.close()
            self._serve(there)
        there.close()
        self._file = here.makefile("rw")
        here.close()

    def start(self, command: dict[str, Any]) -> int:
        """Fork a child for this command; its pid."""
        return int(self._ask(command))

    def wait(self) -> int:
        """Wait for the end of the child; its status as ``waitpid`` gives it."""
        return int(self._ask("wait"))

    def close(self) -> None:
        self._file.close()
        os.waitpid(self.pid, 0)

    def _ask(self, what: Any) -> Any:
        self._file.write(json.dumps(what) + "\n")
        self._file.flush()
        return json.loads(self._file.readline())

    def _serve(self, connection: socket.socket) -> NoReturn:
        # What outlives its parent comes here instead of to a process that may never wait for it.
        ctypes.CDLL(None).prctl(_SUBREAPER, 1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logging.disable(logging.CRITICAL)
        file, pid = connection.makefile("rw"), 0
        for line in file:
            asked = json.loads(line)
            if asked == "wait":
                answer = os.waitpid(pid, 0)[1]
            else:
                answer = pid = self._fork(asked, connection)
            file.write(json.dumps(answer) + "\n")
            file.flush()
        os._exit(0)

    def _fork(self, command: dict[str, Any], connection: socket.socket) -> int:
        while _reap():
            pass
        pid = os.fork()
        if pid == 0:
            connection.close()
            try:
                self._child(command)
            finally:
                os._exit(0)
        return pid


def _reap() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def state_of_process(pid: int) -> str:
    """The kernel's letter for a process: ``T`` stopped, ``t`` traced, ``Z`` or "" ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """How everything is at a moment, to be put back."""

    at: datetime
    list_id: str
    database: Any
    mailchimp: Any


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
        self.host = Host(self.app, self.sandbox, self.clock, Customer)
        self.ours: set[int] = set()
        with self.app.app_context():
            self.engine = db.engine
        sa.event.listen(self.engine, "connect", self._connected)
        self._empty = self._mailchimp()

    def _connected(self, connection: Any, _record: Any) -> None:
        kind = self.engine.dialect.name
        if kind == "sqlite":
            # Our own files are in memory; the calls that wait for a disk must be there to be hit.
            connection.execute("PRAGMA synchronous = FULL")
        elif kind == "postgresql":
            self.ours.add(connection.info.backend_pid)
        else:
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

    # Pictures

    def picture(self) -> Picture:
        """How everything is now."""
        return Picture(
            at=self.clock(),
            list_id=self.host.list_id,
            database=self._database(),
            mailchimp=self._mailchimp(),
        )

    def put_back(self, picture: Picture) -> None:
        """Everything as it was, the time too."""
        self.sandbox.stop_failing()
        self._put_database(picture.database)
        self._put_mailchimp(picture.mailchimp)
        self.redis.flushdb()
        self.host.list_id = picture.list_id
        self.clock.ahead += picture.at - self.clock()

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
        """Until these processes are gone, and the database has noticed: it ends what they had open."""
        deadline = time.monotonic() + within_s
        for pid in pids:
            while state_of_process(pid) not in ("", "Z"):
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.001)
        while self._strangers():
            assert time.monotonic() < deadline + 5, "the database still holds a dead one's session"
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


class Forward:
    """A WSGI application that hands a ring to a web process over HTTP."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = {
            name[5:].replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        } | {"Content-Type": environ.get("CONTENT_TYPE", "")}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        start_response(f"{answer.status} {answer.reason}", [("Content-Type", "text/plain")])
        return [text]


def _copy(audiences: Any) -> Any:
    # The one empty mapping of all members can't be copied, and need not be.
    return copy.deepcopy(audiences, {id(EMPTY): EMPTY})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def told(error: BaseException) -> str:
    """An error with its trace, as text."""
    return "".join(traceback.format_exception(error))


def seconds(ahead: timedelta) -> float:
    return ahead.total_seconds()
