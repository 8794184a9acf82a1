"""Whatever somebody does while a request is under way: before Mailchimp takes it up, and after.

Every act at every request of every journey; in the end all promises hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count

import pytest

from flask_mailchimp_optin import connect
from flask_mailchimp_optin.testing import run_jobs
from tests.faults.journeys import JOURNEYS, Journey, Scene
from tests.faults.stage import Stage, expire_lease, take_the_way_out, until_quiet
from tests.house import Host
from tests.invariants import Promises

Act = Callable[[Scene], None]

_MOST_CALLS = 80


def _still_there(scene: Scene) -> bool:
    return bool(scene.ids) and scene.promises.row(scene.ada) is not None


def _writes(**values: object) -> Act:
    def act(scene: Scene) -> None:
        if _still_there(scene):
            scene.promises.change(scene.ada, **values)

    return act


def _another_address(scene: Scene) -> None:
    if _still_there(scene):
        scene.promises.change(scene.ada, mail=scene.mail("elsewhere"))


def _deleted(scene: Scene) -> None:
    if _still_there(scene):
        scene.promises.delete(scene.ada)


def _a_namesake(scene: Scene) -> None:
    scene.promises.add(scene.mail(), wants_news=False)


def _person_leaves(scene: Scene) -> None:
    if scene.host.status(scene.mail()) in ("subscribed", "pending"):
        scene.host.sandbox.unsubscribe(scene.host.list_id, scene.mail())


def _person_comes(scene: Scene) -> None:
    if scene.host.status(scene.mail()) != "subscribed":
        scene.host.sandbox.subscribe(scene.host.list_id, scene.mail())


def _forgotten(scene: Scene) -> None:
    if scene.host.status(scene.mail()) is not None:
        scene.host.sandbox.delete_permanently(scene.host.list_id, scene.mail())


def _a_second_worker(scene: Scene) -> None:
    run_jobs(scene.host.app)


def _a_worker_takes_over(scene: Scene) -> None:
    expire_lease(scene.host)
    run_jobs(scene.host.app)


def _paused(scene: Scene) -> None:
    scene.promises.settings(enabled=False)


def _another_list(scene: Scene) -> None:
    host = scene.host
    other = next((i for i in host.sandbox.audiences if i != host.list_id), None)
    if other is None:
        other = host.sandbox.add_audience("Another")
    with host.app.app_context():
        connect.refresh(host.services, "")
        connect.store_lists(host.services, "")
    scene.promises.settings(master_list=other)


def _always_ask(scene: Scene) -> None:
    scene.promises.settings(always_confirm=True)


def _a_new_key(scene: Scene) -> None:
    with scene.host.app.app_context():
        connect.connect(scene.host.services, "", scene.host.sandbox.new_key())


def _disconnected(scene: Scene) -> None:
    with scene.host.app.app_context():
        connect.disconnect(scene.host.services, "")


ACTS: dict[str, Act] = {
    "a yes": _writes(wants_news=True),
    "a no": _writes(wants_news=False),
    "an edit": _writes(given_name="Grace"),
    "another address": _another_address,
    "deleted": _deleted,
    "a namesake who says no": _a_namesake,
    "the person leaves": _person_leaves,
    "the person comes": _person_comes,
    "deleted permanently at Mailchimp": _forgotten,
    "a second worker": _a_second_worker,
    "a worker takes over": _a_worker_takes_over,
    "paused": _paused,
    "another list": _another_list,
    "always ask": _always_ask,
    "a new key": _a_new_key,
    "disconnected": _disconnected,
}

#: How many requests each journey has, at each of which all acts are tried.
REQUESTS = {
    "first save": 2,
    "opt-out: sending": 2,
    "opt-in again: rejoin": 3,
    "opt-in again: ask": 2,
    "ring": 1,
    "address change": 3,
    "delete: archive": 2,
    "initial sync": 3,
    "daily sync": 3,
}

#: A person leaves with the address that is just being changed: their no, and not the host's yes.
_NOT_TO_JUDGE = {("address change", "the person leaves", "before", 1)}

_ALL = [
    pytest.param(journey, act, k, when, id=f"{journey}-{act}-{when} {k}")
    for journey, number in REQUESTS.items()
    for k in range(1, number + 1)
    for when in ("before", "after")
    for act in ACTS
    if (journey, act, when, k) not in _NOT_TO_JUDGE
]
#: All of the table takes minutes; without TEST_FAULTS=all every seventh cell is tried.
_SHARE = 1 if os.environ.get("TEST_FAULTS") == "all" else 7
_numbers = count()


@pytest.mark.parametrize(("name", "act", "k", "when"), _ALL[::_SHARE])
def test_whatever_happens_while_a_request_is_under_way_the_promises_hold(
    stage: Stage, name: str, act: str, k: int, when: str
) -> None:
    journey = JOURNEYS[name]
    host = stage.host_for(name, **journey.settings)
    with Promises(host).from_now().watching() as promises:
        scene = Scene(host, promises, next(_numbers))
        journey.prepare(scene)
        host.work()
        calls, mails = len(host.sandbox.requests), len(host.sandbox.mails)
        _meanwhile(host, journey, scene, ACTS[act], k, when)
        _as_before(scene)
        until_quiet(host)
        take_the_way_out(host)
        assert len(host.sandbox.requests) - calls <= _MOST_CALLS
        assert len(host.sandbox.mails) - mails <= 2
        breaches = [b for b in promises.always() + promises.settled() if not b.race]
        assert not breaches, "\n".join(f"{b.promise}: {b.text}" for b in breaches)
    if act not in ("another list", "always ask", "disconnected"):
        stage.good()


def _meanwhile(host: Host, journey: Journey, scene: Scene, act: Act, k: int, when: str) -> None:
    met: list[bool] = []

    def happens() -> None:
        met.append(True)
        act(scene)

    order = host.sandbox.before_answer if when == "before" else host.sandbox.after_effect
    order(happens, k)
    journey.act(scene)
    host.work()
    host.sandbox.stop_failing()
    assert met


def _as_before(scene: Scene) -> None:
    """Enabled and connected again, whatever happened."""
    host = scene.host
    if not host.rows("connection"):
        master = host.list_id
        host.connect(master_list=master)
        host.list_id = master
    elif not host.rows("connection")[0].enabled:
        scene.promises.settings(enabled=True)
