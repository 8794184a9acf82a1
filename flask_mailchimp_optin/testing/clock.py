"""Time that a test turns, for an application and the sandbox beside it. Imports nothing of ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """Aware UTC that a test can turn on; it goes on by itself as real time does.

    :param ahead: how far ahead of the real time it begins.
    """

    def __init__(self, ahead: timedelta = timedelta(0)) -> None:
        self.ahead: timedelta = ahead

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def turn(self, **by: float) -> None:
        """Let time pass, in ``timedelta``'s words: ``turn(days=1, minutes=2)``."""
        self.ahead += timedelta(**by)
