"""Two pieces of work in turns, and the row of the table that comes of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 7
Work = Callable[[], None]


def seconds(work: Work) -> float:
    """How long it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(name: str, ours: Work, baseline: Work, n: int, note: str) -> dict[str, Any]:
    """One row: both in turns, after one of each that does not count."""
    ours()
    baseline()
    return row(name, "s", [(seconds(ours), seconds(baseline)) for _ in range(ROUNDS)], n, note)


def row(
    name: str, unit: str, pairs: list[tuple[float, float]], n: int, note: str
) -> dict[str, Any]:
    """The medians of what was measured of both, and of their ratios."""
    return {
        "name": name,
        "unit": unit,
        "value": statistics.median(ours for ours, _ in pairs),
        "baseline": statistics.median(baseline for _, baseline in pairs),
        "ratio": statistics.median(ours / baseline for ours, baseline in pairs),
        "n": n,
        "note": note,
    }
