"""A worker that dies, in this process: at a request or a transaction, before or after it took effect.

What a SIGKILL does to a real one is the business of ``tests/faults``; this is quick enough for
thousands of histories.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from flask_mailchimp_optin.services import Services, Transaction
from flask_mailchimp_optin.transport import Transport


class Killed(BaseException):
    """Nothing may catch it: a dead process handles nothing."""


class Killer:
    """Counts the points at which a worker may die, and lets it."""

    def __init__(self) -> None:
        self._left: int | None = None
        self._dead = False
        self._victim: threading.Thread | None = None

    @classmethod
    @contextmanager
    def installed(cls) -> Iterator[Killer]:
        """Requests and transactions have a point before and after them while the block lasts."""
        killer = cls()
        ask, begin = Transport._make_request, Services.begin

        def asked(self: Transport, **kwargs: Any) -> Any:
            killer.point()
            answer = ask(self, **kwargs)
            killer.point()
            return answer

        @contextmanager
        def begun(self: Services, **more: bool) -> Iterator[Transaction]:
            killer.point(counts=False)
            with begin(self, **more) as tx:
                yield tx
                killer.point()
            killer.point()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Transport, "_make_request", asked)
            patch.setattr(Services, "begin", begun)
            yield killer

    @contextmanager
    def at(self, point: int | None) -> Iterator[None]:
        """Whoever works in the block dies at this point; None: they live."""
        self._left, self._dead, self._victim = point, False, threading.current_thread()
        try:
            with suppress(Killed):
                yield
        finally:
            self._left, self._dead, self._victim = None, False, None

    def point(self, *, counts: bool = True) -> None:
        """
        :raises Killed: this is where it dies, or it is dead already.
        """
        here = threading.current_thread()
        if self._left is None or not (here is self._victim or here.name.startswith("ThreadPool")):
            return
        if counts and not self._dead:
            self._left -= 1
            self._dead = self._left <= 0
        if self._dead:
            raise Killed
