"""``python -m tests.faults.chaos``: the kill sweep over all scenarios and databases, as a table.

A process for each database; SQLite has a file of our own in memory. Ends with 1 unless nothing was
lost, wrong or stuck.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import queue
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from flask_mailchimp_optin.testing.redis_server import embedded_redis
from tests.faults.chaos import calls
from tests.faults.chaos.calls import Fault
from tests.faults.chaos.controls import CONTROLS, Control
from tests.faults.chaos.forker import told
from tests.faults.chaos.parts import House
from tests.faults.chaos.points import Point, Verdict
from tests.faults.chaos.scenarios import BY_NAME, SCENARIOS
from tests.faults.chaos.sweep import Sweep

_COLUMNS = ("kills", "errors", "lost", "wrong", "stuck", "not met")


def main() -> int:
    """Sweep, print, and say whether all is well."""
    args = _arguments()
    why_not = calls.missing()
    if why_not is not None:
        print(f"No kill sweep here: {why_not}.", file=sys.stderr)
        return 2
    begin = time.monotonic()
    context = multiprocessing.get_context("fork")
    if args.controls:
        return _controls(context)
    names = args.scenario or [scenario.name for scenario in SCENARIOS]
    if args.only:
        names = [args.only.split(" | ")[0]]
    urls = args.databases or ["sqlite", "sqlite"]
    results: Any = context.Queue()
    kinds = Counter(_kind(url) for url in urls)
    share = -(-args.sample // (len(kinds) * len(names))) if args.sample else None
    lanes, seen = [], Counter[str]()
    for url in urls:
        mine = names[seen[_kind(url)] :: kinds[_kind(url)]]
        seen[_kind(url)] += 1
        lane = context.Process(target=_lane, args=(url, mine, share, args.seed, args.only, results))
        lane.start()
        lanes.append(lane)
    table = _collect(results, lanes)
    for lane in lanes:
        lane.join()
    good = _print(table, time.monotonic() - begin)
    return 0 if good and not any(lane.exitcode for lane in lanes) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    add = parser.add_argument
    add("databases", nargs="*", help="'sqlite', or addresses of empty databases (default: sqlite)")
    add("--scenario", action="append", help="only this one; may be repeated")
    add("--sample", type=int, help="about so many points, instead of all")
    add("--seed", type=int, default=1, help="chooses the sample")
    add("--controls", action="store_true", help="whether it notices what is broken on purpose")
    add("--only", help="one point, as a failure names it")
    return parser.parse_args()


def _controls(context: Any) -> int:
    """Every broken variant must be noticed."""
    results = context.Queue()
    for control in CONTROLS:
        process = context.Process(target=_control, args=(control, results))
        process.start()
        process.join()
    told_of = [results.get(timeout=5) for _ in CONTROLS]
    print("\n".join(text for _, text in told_of))
    return 0 if all(caught for caught, _ in told_of) else 1


def _control(control: Control, results: Any) -> None:
    control.apply()
    try:
        with _house("sqlite") as house:
            sweep = Sweep(house)
            with sweep.running():
                course = sweep.course(BY_NAME[control.scenario])
                points = [p for p in sweep.points(course) if control.concerns(p)]
                for number, point in enumerate(points, 1):
                    if not sweep.strike(course, point).good:
                        text = f"caught   {control.name}: at point {number}, {point}"
                        results.put((True, text))
                        return
        results.put((False, f"MISSED   {control.name}: {len(points)} points"))
    except BaseException as error:
        results.put((False, f"FAILED   {control.name}: {told(error)}"))


@contextmanager
def _house(url: str) -> Iterator[House]:
    """A host with this database, and a Redis of its own; SQLite's file is in memory."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)  # the dead hang up in mid-request
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        embedded_redis() as redis_url,
    ):
        file = f"sqlite:///{folder}/host.sqlite3"
        yield House(Path(folder), file if url == "sqlite" else url, redis_url)


def _kind(url: str) -> str:
    return "sqlite" if url == "sqlite" else make_url(url).get_backend_name()


def _lane(
    url: str, names: list[str], share: int | None, seed: int, only: str | None, results: Any
) -> None:
    """One database's share of the scenarios, in a process of its own."""
    try:
        with _house(url) as house:
            sweep = Sweep(house)
            with sweep.running():
                for scenario in (s for s in SCENARIOS if s.name in names):
                    rng = random.Random(f"{seed} {_kind(url)} {scenario.name}")
                    _scenario(sweep, scenario, share, rng, only, _kind(url), results)
    except BaseException as error:
        results.put(("failed", _kind(url), told(error)))
        sys.exit(1)


def _scenario(
    sweep: Sweep,
    scenario: Any,
    share: int | None,
    rng: random.Random,
    only: str | None,
    kind: str,
    results: Any,
) -> None:
    begin = time.monotonic()
    course = sweep.course(scenario)
    points = sweep.points(course)
    if share is not None:
        points = rng.sample(points, min(share, len(points)))
    if only is not None:
        points = [_named(only)]
    counts = Counter[str]()
    for point in points:
        verdict = sweep.strike(course, point)
        if _may_be_slow(verdict):
            # Told, and struck again: what is stuck is stuck twice more.
            results.put(("bad", kind, f"{point}, once more\n{_story(verdict)}"))
            again = [sweep.strike(course, point) for _ in range(2)]
            verdict = next((one for one in again if not one.good), again[-1])
        counts[
            "not met" if not verdict.struck else "kills" if point.fault.is_kill else "errors"
        ] += 1
        for word in ("lost", "wrong", "stuck"):
            counts[word] += bool(getattr(verdict, word))
        if not verdict.good:
            results.put(("bad", kind, f"{point}\n{_story(verdict)}"))
    results.put(("done", kind, (scenario.name, counts, time.monotonic() - begin)))


def _may_be_slow(verdict: Verdict) -> bool:
    """Nothing is lost or wrong, but not all was done in time: perhaps for want of time alone."""
    return bool(verdict.stuck) and not (verdict.lost or verdict.wrong)


def _named(text: str) -> Point:
    scenario, actor, fault = text.split(" | ")
    found = re.fullmatch(r"(\w+):(.+):when=(\d+)(\+?)(?: late=(\d+))?", fault)
    if found is None:
        raise SystemExit(f"{text} is no point.")
    call, how, number, plus, late = found.groups()
    return Point(
        scenario=scenario,
        actor=actor,
        fault=Fault(
            call=call, number=int(number), how=how, lasting=bool(plus), late=int(late or 0)
        ),
    )


def _story(verdict: Verdict) -> str:
    lines = []
    for word in ("lost", "wrong", "stuck"):
        lines += [f"    {word}: {what}" for what in getattr(verdict, word)]
    return "\n".join([*lines, f"    ({verdict.other.strip()})"])


def _collect(results: Any, lanes: list[Any]) -> dict[tuple[str, str], Counter[str]]:
    table: dict[tuple[str, str], Counter[str]] = {}
    while True:
        try:
            what, kind, more = results.get(timeout=0.5)
        except queue.Empty:
            if not any(lane.is_alive() for lane in lanes):
                return table
            continue
        if what == "done":
            name, counts, took_s = more
            table[name, kind] = counts
            number = counts["kills"] + counts["errors"]
            print(f"{kind:<12} {name:<24} {number:>6} points in {took_s:.0f} s", flush=True)
        else:
            print(f"{what.upper()} {kind}: {more}", flush=True)


def _print(table: dict[tuple[str, str], Counter[str]], took_s: float) -> bool:
    """The table; whether nothing was lost, wrong or stuck."""
    print(f"\n{'scenario':<24} {'database':<12}" + "".join(f"{c:>9}" for c in _COLUMNS))
    total = Counter[str]()
    for (name, kind), counts in sorted(table.items()):
        print(f"{name:<24} {kind:<12}" + "".join(f"{counts[c]:>9}" for c in _COLUMNS))
        total += counts
    print(f"{'all':<24} {'':<12}" + "".join(f"{total[c]:>9}" for c in _COLUMNS))
    points = total["kills"] + total["errors"]
    print(
        f"\n{points} points ({total['kills']} kills, {total['errors']} errors): "
        f"{total['lost']} lost, {total['wrong']} wrong, {total['stuck']} stuck, in {took_s:.0f} s"
    )
    return points > 0 and not (total["lost"] or total["wrong"] or total["stuck"])


if __name__ == "__main__":
    sys.exit(main())
