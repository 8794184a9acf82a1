"""Explores the reference model: millions of random histories, and every short one.

``python -m tests.model.search --histories N [--rejoin]`` prints what it ran and what it found; a history
is named by its seed, and ``--seed`` tells one again, act by act. ``--breadth SECONDS`` instead takes
every act after every other, from one beginning, as deep as the time allows: two histories that come to
the same state are one.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.model.reference import GOOD, Machinery, World

_PAUSES_S = (0, 0, 1, 20, 70, 130, 500, 4000, 90_000)
_FAULTS = ("", "", "", "", "lost", "late", "refused")

Step = Callable[[World, random.Random], None]


def _address(dice: random.Random) -> int:
    return 0 if dice.random() < 0.75 else 1


def _works(world: World, dice: random.Random) -> None:
    for _ in range(dice.choice((1, 1, 1, 2, 4, 8))):
        world.works(dice.choice(_FAULTS))


def _moves(world: World, dice: random.Random) -> None:
    world.moves(dice.randrange(2), dice.choice((0, 1, 1, None)))


def _switches(world: World, dice: random.Random) -> None:
    what = dice.randrange(4)
    if what == 0:
        world.paused = not world.paused
    elif what == 1:
        world.daily = not world.daily
    elif what == 2:
        world.dies(speaking=True)  # another key or master list: the worker's lease is void
    else:
        world.double_optin = not world.double_optin


#: What may happen, and how often in comparison.
STEPS: tuple[tuple[str, int, Step], ...] = (
    ("a worker goes on", 30, _works),
    ("a box is ticked", 9, lambda w, d: w.sets(d.randrange(2), True)),
    ("a box is unticked", 9, lambda w, d: w.sets(d.randrange(2), False)),
    ("a customer is edited", 3, lambda w, d: w.edits(d.randrange(2))),
    ("a customer moves or goes", 2, _moves),
    ("a person subscribes", 8, lambda w, d: w.subscribes(_address(d))),
    ("a person unsubscribes", 8, lambda w, d: w.unsubscribes(_address(d))),
    ("a person confirms", 6, lambda w, d: w.confirms(_address(d))),
    ("an administrator subscribes", 2, lambda w, d: w.subscribes(_address(d), by_person=False)),
    ("an administrator unsubscribes", 2, lambda w, d: w.unsubscribes(_address(d), by_person=False)),
    ("an administrator archives", 3, lambda w, d: w.archives(_address(d))),
    ("a profile is edited there", 2, lambda w, d: w.retouches(_address(d))),
    ("a mail bounces", 1, lambda w, d: w.bounces(_address(d))),
    ("an address is erased there", 1, lambda w, d: w.erases(_address(d))),
    ("rings are lost", 5, lambda w, d: w.drops_rings()),
    ("a late request lands", 6, lambda w, d: w.lands(d.randrange(4))),
    ("a worker dies", 3, lambda w, d: w.dies(speaking=d.random() < 0.7)),
    ("a daily sync", 3, lambda w, d: w.syncs()),
    ("settings change", 2, _switches),
    ("time passes", 14, lambda w, d: w.passes(d.choice(_PAUSES_S))),
)
_NAMES = [name for name, _, _ in STEPS]
_BY_NAME = {name: step for name, _, step in STEPS}
_WEIGHTS: list[int] = []
for _name, _weight, _ in STEPS:
    _WEIGHTS.append(_weight + (_WEIGHTS[-1] if _WEIGHTS else 0))


def world_of(dice: random.Random, *, rejoin: bool, machinery: Machinery = GOOD) -> World:
    """A world at its beginning, with clocks that are wrong and rows that were there before."""
    world = World(
        always_confirm=not rejoin,
        double_optin=dice.random() < 0.2,
        host_off_s=dice.choice((-60, 0, 0, 60)),
        mailchimp_off_s=dice.choice((-60, 0, 0, 60)),
        machinery=machinery,
    )
    shared = dice.random() < 0.3
    world.starts(0, 0, dice.choice((None, False, True)))
    world.starts(1, 0 if shared else 1, dice.choice((None, False, True)))
    return world


@dataclass(frozen=True)
class Broken:
    """A history that broke a promise.

    :param race: what no client of Mailchimp can rule out, since it has no conditional requests: somebody
        acted between our reading and the moment when our request took effect. "REJOIN"; "archived":
        an UPSERT brought back somebody archived meanwhile; "overwritten": a REJOIN hid an opt-in's time;
        "same second": somebody signed up in the very second whose time a lost request of ours carried.
    """

    seed: int
    breaches: tuple[str, ...]
    race: str


def history(
    seed: int, *, rejoin: bool = False, machinery: Machinery = GOOD, told: list[str] | None = None
) -> Broken | None:
    """One random history; what it broke."""
    dice = random.Random(seed)
    world = world_of(dice, rejoin=rejoin, machinery=machinery)
    for name in dice.choices(_NAMES, cum_weights=_WEIGHTS, k=dice.randint(4, 26)):
        _BY_NAME[name](world, dice)
        if told is not None:
            told.append(f"{name:32} {_summary(world)}")
    world.calms_down(dice)
    breaches = world.judge()
    if told is not None:
        told.append(f"{'all calms down':32} {_summary(world)}")
    races = {
        "REJOIN": world.rejoined,
        "archived": world.raced,
        "overwritten": world.overwrote,
        "same second": world.coincided,
    }
    race = next((name for name, addresses in races.items() if addresses), "")
    return Broken(seed, tuple(breaches), race) if breaches else None


def _summary(world: World) -> str:
    members = {a: f"{m.status.value}" for a, m in world.members.items()}
    rows = {
        a: f"wants {r.wanted} v{r.decided_version}/{r.settled_version} {r.agreed} "
        f"open {r.open_verb} late {[v for v, _, _ in r.late]} {r.refusal or ''}"
        for a, r in world.contacts.items()
    }
    boxes = [(c.address, c.box) for c in world.customers]
    work = world.work.phase if world.work else "-"
    return f"{world.now_s:>6} s {boxes} there {members} rows {rows} worker {work}"


def _some(seeds: range, rejoin: bool) -> list[Broken]:
    return [found for seed in seeds if (found := history(seed, rejoin=rejoin)) is not None]


def explore(
    number: int, *, rejoin: bool, first_seed: int = 0, processes: int = 1
) -> tuple[int, list[Broken]]:
    """Run this many histories; how many were run, and what was broken."""
    size = 20_000
    parts = [
        range(first_seed + start, first_seed + min(start + size, number))
        for start in range(0, number, size)
    ]
    if processes == 1:
        return number, [found for part in parts for found in _some(part, rejoin)]
    with ProcessPoolExecutor(processes) as pool:
        results = pool.map(_some, parts, [rejoin] * len(parts))
        return number, [found for some in results for found in some]


#: What may come next in the exhaustive search: no chance is left in it. One address, one customer.
ACTS: dict[str, Callable[[World], None]] = {
    "works": lambda w: w.works(),
    "works, its answer lost": lambda w: w.works("lost"),
    "works, its request late": lambda w: w.works("late"),
    "works, told to wait": lambda w: w.works("refused"),
    "ticked": lambda w: w.sets(0, True),
    "unticked": lambda w: w.sets(0, False),
    "subscribes": lambda w: w.subscribes(0),
    "unsubscribes": lambda w: w.unsubscribes(0),
    "confirms": lambda w: w.confirms(0),
    "archived": lambda w: w.archives(0),
    "late one lands": lambda w: w.lands(),
    "worker dies": lambda w: w.dies(speaking=True),
    "rings lost": lambda w: w.drops_rings(),
    "a minute": lambda w: w.passes(60),
    "a day": lambda w: w.passes(90_000),
}


@dataclass(frozen=True, kw_only=True)
class Breadth:
    """What an exhaustive search came to.

    :param depth: acts, of which every sequence was tried.
    :param histories: sequences of at most that many acts that this stands for.
    :param states: different states among them.
    """

    depth: int
    histories: int
    states: int
    broken: list[tuple[tuple[str, ...], tuple[str, ...]]]


def everything(seconds: float, *, box: bool | None, most: int = 99) -> Breadth:
    """Every sequence of acts, each state once, until the time is up.

    :param box: of the customer, before anybody looked.
    """
    start = World()
    start.starts(0, 0, box)
    known = {start.key()}
    layer: list[tuple[World, tuple[str, ...]]] = [(start, ())]
    broken: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    depth, ends_at = 0, time.monotonic() + seconds
    while layer and depth < most:
        following: list[tuple[World, tuple[str, ...]]] = []
        for world, told in layer:
            if time.monotonic() > ends_at:
                return Breadth(
                    depth=depth,
                    histories=sum(len(ACTS) ** n for n in range(depth + 1)),
                    states=len(known),
                    broken=broken,
                )
            for name, act in ACTS.items():
                reached = copy.deepcopy(world)
                act(reached)
                key = reached.key()
                if key in known:
                    continue
                known.add(key)
                following.append((reached, (*told, name)))
                end = copy.deepcopy(reached)
                end.calms_down(random.Random(0))
                races = end.raced | end.overwrote | end.rejoined | end.coincided
                if (breaches := end.judge()) and not races:
                    broken.append(((*told, name), tuple(breaches)))
        layer, depth = following, depth + 1
    histories = sum(len(ACTS) ** n for n in range(depth + 1))
    return Breadth(depth=depth, histories=histories, states=len(known), broken=broken)


def kinds(found: list[Broken]) -> Counter[str]:
    """The broken histories by promise and race."""
    return Counter(f"{one.breaches[0][:1]} {one.race}".strip() for one in found)


def _tell_breadth(seconds: float) -> int:
    wrong = 0
    for box in (None, True):
        found = everything(seconds / 2, box=box)
        wrong += len(found.broken)
        print(
            f"box {box}: every sequence of {found.depth} of {len(ACTS)} acts "
            f"({found.histories:,} histories, {found.states:,} states), {len(found.broken)} broken"
        )
        for told, breaches in found.broken[:5]:
            print("  ", " > ".join(told), breaches)
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=1_000_000)
    parser.add_argument("--rejoin", action="store_true", help="without “always ask”")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, help="tell this one history")
    parser.add_argument("--breadth", type=float, metavar="SECONDS", help="every short history")
    asked = parser.parse_args()
    if asked.breadth is not None:
        return _tell_breadth(asked.breadth)
    if asked.seed is not None:
        told: list[str] = []
        broken = history(asked.seed, rejoin=asked.rejoin, told=told)
        print("\n".join(told), broken, sep="\n")
        return 0
    begin = time.monotonic()
    number, found = explore(
        asked.histories, rejoin=asked.rejoin, first_seed=asked.first, processes=asked.processes
    )
    passed_s = time.monotonic() - begin
    for one in sorted(found, key=lambda one: one.race)[:20]:
        print(one)
    print(f"{number:,} histories in {passed_s:.0f} s, {len(found)} broken: {dict(kinds(found))}")
    return 1 if any(not one.race for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
