"""Waking: after a commit a thread of this process asks for a worker. Edge.

Only a hint, and all of Redis that a web process needs: it is imported when there is something to say.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING

from .config import Config

if TYPE_CHECKING:
    from redis import Redis
    from rq import Queue

logger: logging.Logger = logging.getLogger("flask_mailchimp_optin")

PREFIX = f"{__package__}.jobs."  # of our functions' names, in jobs
FLAG_S = 60  # how long "somebody is on the way" holds, should the job be lost
_BREAK_S = 5.0  # how long Redis is left alone after it failed
_LULL_S = 0.05  # between two talks with Redis: commits that come meanwhile are one
_LAST_S = 1.0  # how long a process that ends waits for Redis


# A child whose parent forked in the middle of an import waits for the module for ever: so forks wait.
_importing = threading.Lock()
os.register_at_fork(
    before=_importing.acquire,
    after_in_parent=_importing.release,
    after_in_child=_importing.release,
)


def flag(queue_name: str, connection_id: int | None = None) -> str:
    """The Redis key that says a worker has been woken, or a job asked for that connection."""
    return f"{queue_name}:woken" if connection_id is None else f"{queue_name}:woken:{connection_id}"


def enqueue(on: Queue, name: str, *ids: int, front: bool = False) -> None:
    """Enqueue one of our functions; nothing about anybody gets into Redis.

    :param ids: opaque ids.
    """
    on.enqueue_call(
        f"{PREFIX}{name}",
        args=ids,
        timeout=600,
        result_ttl=0,
        failure_ttl=3600,
        ttl=3600,
        description=name,
        at_front=front,
    )


def ask(config: Config, redis: Redis) -> None:
    """Have a worker look what is due, unless one is on the way."""
    from rq import Queue
    from rq.serializers import JSONSerializer

    # With a flag, not a unique job id: ids of running jobs strand what comes after.
    if redis.set(flag(config.QUEUE), b"1", nx=True, ex=FLAG_S):
        on = Queue(config.QUEUE, connection=redis, serializer=JSONSerializer)
        enqueue(on, "work", front=True)


class Waker:
    """Puts one job on the queue after a commit. Never raises, and no commit waits for Redis.

    Only inside an RQ job it waits, briefly: such a process ends without finishing what it was about.
    """

    def __init__(self, ask: Callable[[], object], patience_s: float) -> None:
        """
        :param ask: talks to Redis, and imports what it needs for that.
        :param patience_s: how long an RQ job waits for it.
        """
        self._ask = ask
        self._patience_s = patience_s
        self._broken_until = 0.0

    def __call__(self) -> None:
        if time.monotonic() < self._broken_until:
            return
        try:
            talker.ask(self)
        except RuntimeError as error:  # no more threads, or the interpreter is about to end
            self._give_up(error)
            return
        if _in_a_job():
            talker.wait(self, self._patience_s)

    def wake(self) -> None:
        """Talk to Redis: for the thread that does."""
        if time.monotonic() < self._broken_until:
            return
        try:
            with _importing:
                import rq  # noqa: F401

                from . import redis_clients  # noqa: F401
            self._ask()
        except Exception as error:  # whatever it is: a sweep makes up for it
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._broken_until = time.monotonic() + _BREAK_S
        logger.warning("redis is not reachable", extra={"error": type(error).__name__})


def _in_a_job() -> bool:
    # Who has not imported RQ is in none of its jobs; and no commit waits for an import, not even for one
    # that the thread has just begun.
    current = getattr(sys.modules.get("rq"), "get_current_job", None)
    return current is not None and current() is not None


class _Talker:
    """The one thread of this process that talks to Redis for commits; begun when first needed."""

    def __init__(self) -> None:
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)
        atexit.register(self._finish)

    def _begin_anew(self) -> None:
        self._starting = threading.Lock()
        self._queue: SimpleQueue[Waker | None] = SimpleQueue()
        self._asked: set[Waker] = set()
        self._at: Waker | None = None
        self._hurry = threading.Event()  # somebody waits: no lull
        self._thread: threading.Thread | None = None

    def ask(self, waker: Waker) -> None:
        """Have a worker woken, soon.

        :raises RuntimeError: no thread can be begun.
        """
        if waker in self._asked:
            return
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    name = "mailchimp-optin-wake"
                    thread = threading.Thread(target=self._talk, name=name, daemon=True)
                    thread.start()
                    self._thread = thread
        self._asked.add(waker)
        self._queue.put(waker)

    def wait(self, waker: Waker, seconds: float) -> None:
        """Until its worker was asked for, or in vain; at most so long."""
        deadline = time.monotonic() + seconds
        self._hurry.set()
        while (waker in self._asked or self._at is waker) and time.monotonic() < deadline:
            time.sleep(0.001)

    def _talk(self) -> None:
        while (waker := self._queue.get()) is not None:
            self._at = waker
            self._asked.discard(waker)  # whoever commits from now on asks again
            waker.wake()
            self._at = None
            self._hurry.wait(_LULL_S)
            self._hurry.clear()

    def _finish(self) -> None:
        """A script's last commit is worth a moment's patience at its end."""
        if self._thread is not None:
            self._queue.put(None)
            self._hurry.set()
            self._thread.join(_LAST_S)


talker: _Talker = _Talker()
