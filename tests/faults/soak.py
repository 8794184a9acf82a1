"""``make soak``: real processes under random faults for a while; nothing may be lost, wrong or stuck.

``python -m tests.faults.soak [SECONDS] [SEED]``. Several stretches of faults, each followed by a time
without, in which everything has to settle; then what was promised is checked. On a failure the seed
and the history are printed, and it ends with 1. The database is SQLite unless ``TEST_DATABASE_URL``
names another.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.soak_checks import Overheard, Stuck, Truth, connect_world, left, settle
from tests.faults.soak_faults import befall, person_acts
from tests.faults.soak_world import World, world

_STRETCH_S = 8.0
_TAIL = 150  # lines of history


def soak(made: World, seconds: float) -> list[str]:
    """Faults, peace, checks, and again; what is wrong, in words."""
    with Overheard(made.host).watching() as promises:
        connect_world(made)
        return _stretches(made, Truth(made, promises), time.monotonic() + seconds)


def _stretches(made: World, truth: Truth, end: float) -> list[str]:
    truth.check()
    while time.monotonic() < end:
        made.note("faults begin")
        _faults(made, min(_STRETCH_S, end - time.monotonic()))
        made.note("faults end")
        quiet_from = time.monotonic()
        with made.nobody_acts():
            try:
                wrong = settle(made, truth)
            except Stuck as error:
                return [f"stuck: {error}"]
            wrong += truth.check()
        made.counts["decisions"] = truth.decisions
        made.counts["stretches"] += 1
        made.note(f"settled in {time.monotonic() - quiet_from:.1f} s, {len(wrong)} wrong")
        if wrong:
            return wrong
    return []


def _faults(made: World, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(made.random.expovariate(1 / 0.15))
        made.undo()
        made.ensure()
        # Ten times as fast as real: pauses and retries of minutes come to pass. What lands late does
        # so two seconds after we gave up, which is well within what the rule allows for.
        made.host.clock.turn(seconds=made.random.uniform(0, 3))
        if made.random.random() < 0.6:
            person_acts(made)
        else:
            befall(made)


def report(made: World, wrong: list[str], seconds: float) -> None:
    """What was done, and what came of it."""
    made.counts["requests"] = len(made.sandbox.requests)
    made.counts["rings"] = len(made.sandbox.rings)
    for name, number in sorted(made.counts.items()):
        print(f"{number:8} {name}")
    print(f"{len(wrong):8} violations")
    print(f"{seconds:8.0f} s, seed {made.seed}")
    if wrong:
        lines = made.history.read_text().splitlines()
        print(
            "\n".join(["", "History:", *lines[-_TAIL:], "", "Wrong:", *wrong, "", str(left(made))])
        )


def main(seconds: float, seed: int) -> int:
    """Soak and report; the exit status."""
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    begin = time.monotonic()
    with world(folder, seed) as made:
        wrong = soak(made, seconds)
        report(made, wrong, time.monotonic() - begin)
        if wrong:
            print(f"\nKept: {folder}. Again: make soak SECONDS={seconds:.0f} SEED={seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(
        main(
            float(arguments[0]) if arguments else 600.0,
            int(arguments[1]) if len(arguments) > 1 else random.randrange(10_000),
        )
    )
