"""``make demo-check``: starts the demo, drives both journeys, prints what was seen, stops everything."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import requests

from .browser import NotThere
from .processes import session_members
from .stage import HOST, Plan, answers_ping, staged

T = TypeVar("T")

_DEADLINE_S = 15.0
_DEADLINE_AFTER_A_FAILURE_S = 3.0
_POLL_S = 0.02
_WIDTHS = (34, 34, 34, 7, 6)


class Report:
    """What was expected, what was seen, and how long it took: printed line by line as it comes."""

    def __init__(self) -> None:
        self.failed = 0
        self._line("step", "expected", "seen", "seconds", "ok")
        self._line(*("-" * width for width in _WIDTHS))

    def _line(self, *cells: str) -> None:
        columns = (f"{cell:{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
        print("  ".join(columns).rstrip(), flush=True)

    def see(
        self, step: str, expected: T, look: Callable[[], T], deadline_s: float = _DEADLINE_S
    ) -> float:
        """Look until the expected thing is seen, or the deadline has passed; the seconds it took."""
        began = time.monotonic()
        if self.failed:
            deadline_s = min(deadline_s, _DEADLINE_AFTER_A_FAILURE_S)
        seen: object = None
        while True:
            with suppress(NotThere, requests.RequestException):
                seen = look()
            seconds = time.monotonic() - began
            if seen == expected or seconds > deadline_s:
                break
            time.sleep(_POLL_S)
        self.add(step, str(expected), str(seen), seconds, ok=seen == expected)
        return seconds

    def says(self, step: str, expected: str, text: str) -> None:
        """A text must hold another one."""
        ok = expected.lower() in text.lower()
        self.add(step, f"“{expected}”", expected if ok else text[:120], 0.0, ok=ok)

    def add(self, step: str, expected: str, seen: str, seconds: float, *, ok: bool) -> None:
        """Print a line.

        :param seconds: from the act until it was seen.
        """
        self.failed += not ok
        self._line(step, expected, seen, f"{seconds:7.2f}", "ok" if ok else "FAILED")


def run(plan: Plan) -> bool:
    """Drive everything; whether something was not as expected."""
    from .journeys import drive

    report, began = Report(), time.monotonic()
    children: list[int] = []
    with staged(plan) as stage:
        children = stage.processes.ids
        report.add("start", "all runs", "all runs", time.monotonic() - began, ok=True)
        try:
            drive(report, stage)
        except (NotThere, requests.RequestException, StopIteration) as error:
            report.add("…", "goes on", f"{type(error).__name__}: {error}"[:200], 0.0, ok=False)
        finally:
            stopping = time.monotonic()
    left = [pid for child in children for pid in session_members(child)]
    seconds = time.monotonic() - stopping
    report.add("stop", "0 processes left", f"{len(left)} processes left", seconds, ok=not left)
    if plan.redis_url is None:
        report.see("… its Redis", "gone", lambda: "there" if answers_ping(stage.redis) else "gone")
    number, whole = report.failed, time.monotonic() - began
    print(f"\n{f'{number} FAILED' if number else 'All was seen as expected'}, in {whole:.1f} s.")
    return bool(number)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody uses."""
    listeners = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
