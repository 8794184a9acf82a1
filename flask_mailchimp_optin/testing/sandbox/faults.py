"""Bad behaviour on order: what a network, a CDN or an overloaded Mailchimp does to a client.

A fault takes the place of an answer, or spoils a real one. Imports only problems.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from wsgiref.types import WSGIEnvironment

from werkzeug.wrappers import Response

from .problems import of_status
from .records import JSON

How = Literal["status", "reset", "half", "drip", "hang", "huge", "slow", "twice", "other", "late"]
Rewrite = Callable[[JSON], object]
Act = Callable[[], object]
Body = str | bytes | JSON | list[Any] | None

_CHUNK = b" " * 65_536
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


@dataclass(kw_only=True)
class Fault:
    """What to do to the next matching requests; see ``MailchimpSandbox.fail_next``."""

    status: int
    times: int
    path: str | re.Pattern[str] | None
    body: Body
    delay_s: float
    how: How
    applied: bool
    location: str | None
    size: int
    rewrite: Rewrite | None = None

    @property
    def takes_effect(self) -> bool:
        """Whether the request does what it asks for, whatever is answered."""
        answers_it = self.how in ("half", "drip") and self.body is None
        return self.applied or answers_it or self.how in ("twice", "slow")


@dataclass(kw_only=True)
class _Hook:
    act: Act
    left: int
    path: str | re.Pattern[str] | None
    after: bool


class Faults:
    """The faults and hooks that wait for a request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._hooks: list[_Hook] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def add_hook(
        self,
        act: Act,
        k: int,
        path: str | re.Pattern[str] | None,
        *,
        after: bool = False,
    ) -> None:
        with self._lock:
            self._hooks.append(_Hook(act=act, left=k, path=path, after=after))

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
            self._hooks.clear()

    def take(self, target: str) -> Fault | None:
        """The first fault that this request meets, used up by one."""
        with self._lock:
            for fault in self._faults:
                if _matches(fault.path, target):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                    return fault
        return None

    def due_hooks(self, target: str, *, after: bool = False) -> list[Act]:
        """The acts whose call this is, before or after it has taken effect."""
        with self._lock:
            met = [h for h in self._hooks if h.after is after and _matches(h.path, target)]
            for hook in met:
                hook.left -= 1
            due = [hook for hook in met if hook.left <= 0]
            self._hooks = [hook for hook in self._hooks if hook not in due]
        return [hook.act for hook in due]


class Late:
    """Requests that take effect long after their client gave up, in the order of their times."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[tuple[datetime, Callable[[], object]]] = []

    def put(self, delay_s: float, act: Callable[[], object]) -> None:
        with self._lock:
            self._waiting.append((self._clock() + timedelta(seconds=delay_s), act))
            self._waiting.sort(key=lambda late: late[0])

    def land(self, *, everything: bool) -> int:
        with self._lock:
            now = self._clock()
            due = [late for late in self._waiting if everything or late[0] <= now]
            self._waiting = [late for late in self._waiting if late not in due]
        for _, act in due:
            act()
        return len(due)


def _matches(path: str | re.Pattern[str] | None, target: str) -> bool:
    if path is None:
        return True
    if isinstance(path, re.Pattern):
        return path.search(target) is not None
    return path in target


def ordered_answer(fault: Fault) -> Response:
    """The answer that a fault orders by status and body."""
    if fault.location is not None:
        return Response(b"", fault.status, headers={"Location": fault.location})
    if fault.body is None:
        instance = str(uuid.uuid4())
        return Response(
            json.dumps(of_status(fault.status).document(instance)),
            fault.status,
            headers={"X-Request-Id": instance},
            content_type="application/problem+json; charset=utf-8",
        )
    if isinstance(fault.body, dict | list):
        kind = "application/json" if fault.status < 400 else "application/problem+json"
        return Response(json.dumps(fault.body), fault.status, content_type=kind)
    raw = fault.body.encode() if isinstance(fault.body, str) else fault.body
    html = raw.lstrip().startswith(b"<")
    kind = "text/html; charset=utf-8" if html else "application/json; charset=utf-8"
    return Response(raw, fault.status, content_type=kind)


def rewritten(response: Response, rewrite: Rewrite) -> Response:
    """The real answer, changed on its way by a test."""
    changed = rewrite(json.loads(response.get_data()))
    return Response(json.dumps(changed), response.status, content_type=response.content_type)


def copied(response: Response | None) -> Response:
    """An answer once more; an empty object if there was none."""
    if response is None:
        return Response("{}", 200, content_type="application/json; charset=utf-8")
    return Response(response.get_data(), response.status, content_type=response.content_type)


def huge_answer(size: int) -> Response:
    """A JSON body of this many bytes, made while it is sent."""

    def pieces() -> Iterator[bytes]:
        left = size - 2
        yield b"{"
        while left > 0:
            yield _CHUNK[:left]
            left -= len(_CHUNK)
        yield b"}"

    return Response(
        pieces(), 200, content_type="application/json", headers={"Content-Length": str(size)}
    )


def dripping(response: Response, gap_s: float, stopping: threading.Event) -> Response:
    """The same answer, one byte at a time."""
    raw = response.get_data()

    def drops() -> Iterator[bytes]:
        for number in range(len(raw)):
            yield raw[number : number + 1]
            if stopping.wait(gap_s):
                raise ConnectionResetError("The sandbox is closing.")

    length = {"Content-Length": str(len(raw))}
    kind = response.content_type
    return Response(drops(), response.status, content_type=kind, headers=length)


def halved(response: Response, environ: WSGIEnvironment) -> Response:
    """The same answer with its full length promised, and a connection that ends half-way."""
    raw = response.get_data()

    def half() -> Iterator[bytes]:
        yield raw[: len(raw) // 2]
        reset(environ, abruptly=False)

    length = {"Content-Length": str(len(raw))}
    kind = response.content_type
    return Response(half(), response.status, content_type=kind, headers=length)


def reset(environ: WSGIEnvironment, *, abruptly: bool = True) -> None:
    """End the connection: with RST, or after what was sent has arrived.

    :raises ConnectionResetError: always; it ends the request in the server too.
    """
    connection = environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket) and connection.fileno() >= 0:
        if abruptly:
            # Closing a socket that lingers for zero seconds sends RST instead of FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            os.close(connection.detach())
        else:
            connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError("The sandbox was told to break this connection.")
