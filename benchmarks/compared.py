"""Two pieces of work in turns, and the row of the table that comes of it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 7
Work = Callable[[], None]


def seconds(work: Work, times: int = 1) -> float:
    """How long it takes, each time on average; nobody begins with another's garbage."""
    gc.collect()
    begin = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - begin) / times


def compare(
    name: str, ours: Work, baseline: Work, n: int, note: str, times: int = 1
) -> dict[str, Any]:
    """One row: both in turns, after one of each that does not count.

    :param times: so many in a row, where a single one has a full garbage collection or has none.
    """
    ours()
    baseline()
    pairs = [(seconds(ours, times), seconds(baseline, times)) for _ in range(ROUNDS)]
    return row(name, "s", pairs, n, note)


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
