"""Delivers webhook rings in the background, as Mailchimp does: at least once, in any order.

Tests hold, drop, repeat and reorder them. A ring that is not answered with 2xx is tried again at
growing intervals, scaled down from Mailchimp's 75 minutes; a 410 disables the webhook at once.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import requests
from werkzeug.test import Client

from .audiences import Webhook
from .records import RingRecord
from .rings import signature

Order = Literal["fifo", "reversed", "shuffled"]
Wsgi = Callable[..., object]

_CHECK_AGENT = "MailChimp.com WebHook Validator"
_RING_AGENT = "MailChimp"
_GONE = 410


@dataclass(order=True)
class _Ring:
    due_s: float
    number: int
    hook: Webhook = field(compare=False)
    kind: str = field(compare=False)
    body: bytes = field(compare=False)
    attempts: int = field(default=0, compare=False)


class Ringer:
    """The queue of rings and the thread that works it off.

    :ivar retries_s: seconds before the second, third, … attempt; after the last one a ring is lost.
    :ivar timeout_s: how long a webhook may take to answer.
    """

    def __init__(self, unix_time: Callable[[], float]) -> None:
        self.retries_s: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8)
        self.timeout_s: float = 10.0
        self.delivered: list[RingRecord] = []
        self.target: Wsgi | None = None
        self._unix_time = unix_time
        self._changed = threading.Condition()
        self._queue: list[_Ring] = []
        self._held: list[_Ring] = []
        self._holding = False
        self._to_drop = 0
        self._copies = 1
        self._busy = 0
        self._number = 0
        self._thread: threading.Thread | None = None

    def put(self, hook: Webhook, kind: str, body: bytes) -> None:
        with self._changed:
            if self._to_drop > 0:
                self._to_drop -= 1
                return
            for _ in range(self._copies):
                self._number += 1
                ring = _Ring(time.monotonic(), self._number, hook, kind, body)
                self._held.append(ring) if self._holding else self._push(ring)

    def _push(self, ring: _Ring) -> None:
        heapq.heappush(self._queue, ring)
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, name="mailchimp-sandbox-rings", daemon=True
            )
            self._thread.start()
        self._changed.notify_all()

    def hold(self) -> None:
        with self._changed:
            self._holding = True

    def release(self, order: Order, seed: int | None) -> int:
        with self._changed:
            rings, self._held, self._holding = self._held, [], False
            if order == "reversed":
                rings.reverse()
            elif order == "shuffled":
                random.Random(seed).shuffle(rings)  # nosec B311  # an order for tests
            for ring in rings:
                self._number += 1
                ring.due_s, ring.number = time.monotonic(), self._number
                self._push(ring)
            return len(rings)

    def drop(self, count: int) -> None:
        with self._changed:
            self._to_drop += count

    def repeat(self, times: int) -> None:
        with self._changed:
            self._copies = times

    def held(self) -> int:
        with self._changed:
            return len(self._held)

    def wait(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not (self._queue or self._busy), timeout_s)

    def close(self) -> None:
        """Forget what waits and let the thread end."""
        with self._changed:
            self._thread = None
            self._queue.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while (ring := self._next()) is not None:
                try:
                    self._deliver(ring, session)
                finally:
                    with self._changed:
                        self._busy -= 1
                        self._changed.notify_all()

    def _next(self) -> _Ring | None:
        with self._changed:
            while self._thread is threading.current_thread():
                if not self._queue:
                    self._changed.wait()
                    continue
                wait_s = self._queue[0].due_s - time.monotonic()
                if wait_s <= 0:
                    self._busy += 1
                    return heapq.heappop(self._queue)
                self._changed.wait(wait_s)
            return None

    def _deliver(self, ring: _Ring, session: requests.Session) -> None:
        ring.attempts += 1
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": _RING_AGENT,
        }
        if ring.hook.secrets:
            mark = signature(ring.body, ring.hook.secrets, int(self._unix_time()))
            headers["X-Mailchimp-Signature"] = mark
        status = self._send("POST", ring.hook.url, headers, ring.body, session)
        if status == _GONE:
            ring.hook.enabled = False
        again = not 200 <= status < 300 and ring.hook.enabled
        with self._changed:
            if again and ring.attempts <= len(self.retries_s) and self._thread:
                ring.due_s = time.monotonic() + self.retries_s[ring.attempts - 1]
                heapq.heappush(self._queue, ring)
                return
            self.delivered.append(
                RingRecord(
                    url=ring.hook.url,
                    type=ring.kind,
                    body=ring.body,
                    headers=headers,
                    status=status,
                    attempts=ring.attempts,
                )
            )

    def answers(self, url: str, *, by_post_too: bool = False) -> bool:
        """Whether the URL passes Mailchimp's check at registration: a GET answered with 200.

        :param by_post_too: check it with an empty POST as well, as some have seen.
        """
        methods = ("GET", "POST") if by_post_too else ("GET",)
        with requests.Session() as session:
            session.trust_env = False
            headers = {"User-Agent": _CHECK_AGENT}
            return all(self._send(m, url, headers, b"", session) == 200 for m in methods)

    def _send(
        self, method: str, url: str, headers: dict[str, str], body: bytes, session: requests.Session
    ) -> int:
        try:
            if self.target is not None:
                return self._send_in_process(self.target, method, url, headers, body)
            answer = session.request(
                method,
                url,
                headers=headers,
                data=body or None,
                timeout=self.timeout_s,
                allow_redirects=False,
            )
            return answer.status_code
        except Exception:  # whatever goes wrong at the other end is a ring without an answer
            return 0

    def _send_in_process(
        self, target: Wsgi, method: str, url: str, headers: dict[str, str], body: bytes
    ) -> int:
        parts = urlsplit(url)
        answer = Client(target).open(  # type: ignore[arg-type]
            path=parts.path or "/",
            query_string=parts.query,
            base_url=f"{parts.scheme}://{parts.netloc}/",
            method=method,
            headers=headers,
            data=body,
        )
        with answer:
            return answer.status_code
