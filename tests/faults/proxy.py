"""A TCP proxy between us and Redis or a database, which loses what a network loses.

An exchange is a request (what the client sends until the server answers) with its answer. The proxy
counts the exchanges of all its connections, so that a test can name the k-th, and does one of four
things to it: ``before`` cuts the connection instead of delivering the request, ``lost`` delivers it
and cuts instead of answering, ``half`` sends half of the answer and cuts, ``late`` waits first.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

How = Literal["before", "lost", "half", "late"]
HOWS: tuple[How, ...] = ("before", "lost", "half", "late")
_LATE_S = 0.2


class Proxy:
    """Listens on a port of its own while it is open.

    :ivar slow_s: how long every answer is kept back.
    :ivar exchanges: how many there were since the last :meth:`harm`.
    :ivar harmed: whether the harm has come to pass.
    """

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._at = 0
        self._how: How | Callable[[], object] = HOWS[0]
        self.exchanges, self.harmed, self.slow_s = 0, False, 0.0
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def harm(self, how: How | Callable[[], object] = "lost", at: int = 0) -> None:
        """Count anew, and do this to one exchange from now on.

        :param how: or what to do before it is delivered.
        :param at: which, the first being 1; 0 harms none.
        """
        with self._lock:
            self._how, self._at, self.exchanges, self.harmed = how, at, 0, False

    def close(self) -> None:
        """End the listener and every connection."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            left = list(self._open)
        for connection in left:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), name="proxy", daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._there) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            try:
                _Line(self, client, server).run()
            finally:
                with self._lock:
                    self._open -= {client, server}

    def next(self) -> How | None:
        """Another exchange begins: what is to be done to it."""
        with self._lock:
            self.exchanges += 1
            if self.exchanges != self._at:
                return None
            how = self._how
        if callable(how):
            how()
        self.harmed = True
        return None if callable(how) else how


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._asking = False  # what the client sends next belongs to the request that is under way
        self._harm: How | None = None

    def run(self) -> None:
        while True:
            ready, _, _ = select.select([self._client, self._server], [], [])
            # Answers first: what the client says after an answer is another request.
            for end in sorted(ready, key=lambda one: one is self._client):
                data = end.recv(65536)
                if not data or not (self._up(data) if end is self._client else self._down(data)):
                    return

    def _up(self, data: bytes) -> bool:
        if not self._asking:
            self._asking, self._harm = True, self._proxy.next()
        if self._harm == "before":
            return False
        self._server.sendall(data)
        return True

    def _down(self, data: bytes) -> bool:
        self._asking = False
        if self._harm == "lost":
            return False
        if self._harm == "half":
            self._client.sendall(data[: len(data) // 2])
            return False
        wait_s = _LATE_S if self._harm == "late" else self._proxy.slow_s
        if wait_s:
            threading.Event().wait(wait_s)
        self._harm = None
        self._client.sendall(data)
        return True


@contextmanager
def proxied(host: str, port: int) -> Iterator[Proxy]:
    """A proxy to this server while the block lasts."""
    proxy = Proxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
