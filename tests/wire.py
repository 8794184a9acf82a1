"""A server that answers with whatever bytes a test says, and counts what comes in."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Takes the connection, the request's raw bytes, and an event that is set when the test is over.
Script = Callable[[socket.socket, bytes, threading.Event], object]


class Wire:
    """What happened: every connection is counted, every request kept as raw bytes."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script, self._tls = script, tls
        self.connections = 0
        self.requests: list[bytes] = []
        self.over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/3.0/"

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            if self._tls:
                secured = self._tls.wrap_socket(connection, server_side=True)
                connection = stack.enter_context(secured)
                self._open.append(connection)
            while (request := _request(connection)) is not None:
                self.requests.append(request)
                if self.script(connection, request, self.over) == "close":
                    return

    def close(self) -> None:
        self.over.set()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


@contextmanager
def wire(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[Wire]:
    """Serve a script on this machine while the block lasts.

    :param tls: the server's certificate, if it is to speak TLS.
    """
    made = Wire(script, tls)
    try:
        yield made
    finally:
        made.close()


def _request(connection: socket.socket) -> bytes | None:
    raw = b""
    while b"\r\n\r\n" not in raw:
        more = connection.recv(65_536)
        if not more:
            return None
        raw += more
    head, _, body = raw.partition(b"\r\n\r\n")
    wanted = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            wanted = int(value)
    while len(body) < wanted:
        more = connection.recv(65_536)
        if not more:
            return None
        raw, body = raw + more, body + more
    return raw


def answer(
    body: bytes = b"{}", status: str = "200 OK", kind: str = "application/json", *headers: str
) -> bytes:
    """A whole HTTP answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def says(whole: bytes, *, close: bool = False) -> Script:
    """Answers every request with these bytes."""

    def script(connection: socket.socket, _request: bytes, _over: threading.Event) -> object:
        connection.sendall(whole)
        return "close" if close else None

    return script


def drips(head: bytes, rest: bytes, every_s: float) -> Script:
    """Sends the head at once and the rest byte by byte."""

    def script(connection: socket.socket, _request: bytes, over: threading.Event) -> object:
        connection.sendall(head)
        for place in range(len(rest)):
            if over.wait(every_s):
                break
            connection.sendall(rest[place : place + 1])
        return "close"

    return script


def hangs(head: bytes = b"") -> Script:
    """Sends the head, then nothing for as long as the test lasts."""

    def script(connection: socket.socket, _request: bytes, over: threading.Event) -> object:
        connection.sendall(head)
        over.wait(30)
        return "close"

    return script


def resets(head: bytes = b"") -> Script:
    """Sends the head, then breaks the connection with RST."""

    def script(connection: socket.socket, _request: bytes, _over: threading.Event) -> object:
        connection.sendall(head)
        # Closing a socket that lingers for zero seconds sends RST instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return "close"

    return script
