"""What happens to the soak: the other side's acts, and the faults, each chosen at random."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis as redis_py
from sqlalchemy.exc import SQLAlchemyError

from flask_mailchimp_optin.errors import MailchimpOptinError
from flask_mailchimp_optin.testing.sandbox.acts import ImpossibleActError
from tests.faults.soak_actor import ADDRESSES
from tests.faults.soak_world import TIMEOUT_S, World

#: How an answer of Mailchimp's may go wrong: keyword arguments of ``sandbox.fail_next``.
BEHAVIOURS: dict[str, dict[str, Any]] = {
    "429": {"status": 429},
    "403 of the firewall": {"status": 403, "body": "<html>blocked</html>"},
    "500": {"status": 500},
    "500 after it took effect": {"status": 500, "applied": True},
    "502 of the CDN": {"status": 502, "body": "<html>bad gateway</html>"},
    "an empty 200": {"status": 200, "body": ""},
    "an empty 200 after it took effect": {"status": 200, "body": "", "applied": True},
    "broken JSON": {"status": 200, "body": '{"members": ['},
    "a reset before": {"how": "reset"},
    "a reset after it took effect": {"how": "reset", "applied": True},
    "half an answer": {"how": "half", "applied": True},
    "a hang": {"how": "hang", "delay_s": 1.5 * TIMEOUT_S},
    "a hang after it took effect": {"how": "hang", "delay_s": 1.5 * TIMEOUT_S, "applied": True},
    "an answer after we gave up": {"how": "slow", "delay_s": 2 * TIMEOUT_S},
}


def person_acts(world: World) -> None:
    """A person or an administrator does something at Mailchimp."""
    sandbox, chance = world.sandbox, world.random
    list_id, mail = chance.choice(world.lists), chance.choice(ADDRESSES)
    by: Any = chance.choice(["contact", "contact", "admin"])
    acts: list[tuple[str, Callable[[], object], int]] = [
        ("subscribe", lambda: sandbox.subscribe(list_id, mail, by=by), 6),
        ("unsubscribe", lambda: sandbox.unsubscribe(list_id, mail, by=by), 6),
        ("confirm", lambda: sandbox.confirm(list_id, mail), 6),
        ("edit", lambda: sandbox.edit_profile(list_id, mail, FNAME=f"M{chance.random()}"), 2),
        ("clean", lambda: sandbox.clean(list_id, mail), 1),
        ("archive", lambda: sandbox.archive(list_id, mail), 1),
        ("delete", lambda: sandbox.delete_permanently(list_id, mail), 1),
        ("move", lambda: sandbox.change_email(list_id, mail, chance.choice(ADDRESSES)), 1),
    ]
    name, act, _ = chance.choices(acts, [weight for _, _, weight in acts])[0]
    with suppress(ImpossibleActError):
        act()
        world.counts["acts at Mailchimp"] += 1
        world.note(f"mailchimp {name} {list_id} {mail} by {by}")


def befall(world: World) -> None:
    """One fault."""
    weights = [weight for _, weight in _FAULTS.values()]
    name = world.random.choices(list(_FAULTS), weights)[0]
    told = _FAULTS[name][0](world)
    world.counts[name] += 1
    world.note(f"fault {name}: {told}")


def _kill_worker(world: World) -> str:
    name = world.random.choice(["worker-0", "worker-1"])
    world.processes[name].kill()
    return f"{name}, its child goes on"


def _kill_child(world: World) -> str:
    name = world.random.choice(["worker-0", "worker-1"])
    children = world.children(name)
    world.signal(signal.SIGKILL, *children)
    return f"{name} {len(children)}"


def _kill_both(world: World) -> str:
    name = world.random.choice(["worker-0", "worker-1"])
    world.signal(signal.SIGKILL, *world.children(name), world.processes[name].pid)
    return name


def _kill_other(world: World) -> str:
    name = world.random.choice(["web", "actor-0", "actor-1"])
    world.processes[name].kill()
    return name


def _stop_worker(world: World) -> str:
    """Past its lease, which is twice the time limit of a request."""
    name = world.random.choice(["worker-0", "worker-1"])
    pids = world.children(name) or [world.processes[name].pid]
    world.signal(signal.SIGSTOP, *pids)
    world.later(3 * TIMEOUT_S, lambda: world.signal(signal.SIGCONT, *pids))
    return f"{name} {len(pids)}"


def _kill_redis(world: World) -> str:
    world.redis.kill()
    world.later(world.random.uniform(0, 3), world.redis.restart)
    return "and started again, empty"


def _flush_redis(world: World) -> str:
    with suppress(redis_py.RedisError):
        world.redis.flush()
    return ""


def _stop_redis(world: World) -> str:
    world.redis.stop()
    world.later(world.random.uniform(0.1, 3), world.redis.go_on)
    return ""


def _pause_redis(world: World) -> str:
    with suppress(redis_py.RedisError):
        world.redis.pause(world.random.uniform(0.1, 3))
    return ""


def _fail_mailchimp(world: World) -> str:
    behaviour = world.random.choice(list(BEHAVIOURS))
    path = world.random.choice([None, None, "GET", "POST", "PATCH"])
    times = world.random.randint(1, 4)
    values = {"status": 200, **BEHAVIOURS[behaviour]}
    world.sandbox.fail_next(times=times, path=path, **values)
    return f"{behaviour} {times} times, {path}"


def _drop_rings(world: World) -> str:
    world.sandbox.drop_rings(world.random.randint(1, 5))
    return ""


def _repeat_rings(world: World) -> str:
    world.sandbox.repeat_rings(world.random.choice([1, 2, 3]))
    return ""


def _hold_rings(world: World) -> str:
    world.sandbox.hold_rings()
    seed = world.random.randrange(1000)

    def release() -> None:
        world.sandbox.release_rings("shuffled", seed)

    world.later(world.random.uniform(0.5, 4), release)
    return ""


def _settings(world: World) -> str:
    change: dict[str, Any] = world.random.choice(
        [{"enabled": False}, {"daily": True}, *2 * [{"enabled": True}, {"daily": False}]]
    )
    with suppress(MailchimpOptinError, SQLAlchemyError):  # locked by a stopped process
        world.host.settings(**change)
    return str(change)


_FAULTS: dict[str, tuple[Callable[[World], str], int]] = {
    "worker killed": (_kill_worker, 2),
    "child killed": (_kill_child, 4),
    "worker and child killed": (_kill_both, 2),
    "web or script killed": (_kill_other, 2),
    "worker stopped past its lease": (_stop_worker, 2),
    "Redis killed": (_kill_redis, 1),
    "Redis flushed": (_flush_redis, 2),
    "Redis stopped": (_stop_redis, 2),
    "Redis paused": (_pause_redis, 2),
    "Mailchimp's answer spoiled": (_fail_mailchimp, 16),
    "rings dropped": (_drop_rings, 3),
    "rings repeated": (_repeat_rings, 2),
    "rings late and shuffled": (_hold_rings, 3),
    "settings changed": (_settings, 3),
}
