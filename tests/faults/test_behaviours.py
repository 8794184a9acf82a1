"""Every way in which one answer may go wrong, at every endpoint: in the end both sides agree."""

from __future__ import annotations

import os
from itertools import count

import pytest

from tests.faults.behaviours import ANYWHERE, BEHAVIOURS, PATIENCE_S, SLOW
from tests.faults.journeys import JOURNEYS, Journey, Scene
from tests.faults.stage import Stage, take_the_way_out, until_quiet
from tests.house import Host
from tests.invariants import Promises

#: No journey may need more calls than this, whatever is answered: nothing goes round in circles.
_MOST_CALLS = 60
#: These answers have no body.
_BODILESS = ("archive", "delete for good", "old webhook")

#: Nobody can tell: the answer is just what it would be, had it been done.
_PERFECT_LIES = {
    ("edit", "the answer of another request"),
    ("connecting: lists", "rows of strangers"),
    ("burst of rings", "rows of strangers"),
    *(
        (journey, lie)
        for journey in JOURNEYS
        if JOURNEYS[journey].endpoint in _BODILESS
        for lie in ("204", "null", "the answer of another request")
    ),
}

#: All of the table takes minutes; without TEST_FAULTS=all every seventh cell is tried, each behaviour
#: and each journey among them.
_SHARE = 1 if os.environ.get("TEST_FAULTS") == "all" else 7

_ALL = [
    pytest.param(journey, behaviour, id=f"{journey}-{behaviour}")
    for journey in JOURNEYS
    for behaviour in BEHAVIOURS
    if behaviour in ANYWHERE or JOURNEYS[journey].endpoint not in _BODILESS
    if (journey, behaviour) not in _PERFECT_LIES
]
_CELLS = [cell for number, cell in enumerate(_ALL) if number % _SHARE == 0]
_numbers = count()


def pages_answer(host: Host, scene: Scene) -> None:
    client = host.app.test_client()
    for page in ("", "activity", *(f"customers/{id_}" for id_ in scene.ids[:1])):
        assert client.get(f"/integrations/mailchimp/{page}").status_code in (200, 404), page


@pytest.mark.parametrize(("name", "behaviour"), _CELLS)
def test_whatever_one_answer_is_both_sides_agree_in_the_end(
    stage: Stage, name: str, behaviour: str
) -> None:
    journey, host = JOURNEYS[name], stage.host_for(name, **JOURNEYS[name].settings)
    with Promises(host).from_now().watching() as promises:
        scene = Scene(host, promises, next(_numbers))
        journey.prepare(scene)
        host.work()
        before = (len(host.sandbox.requests), len(host.sandbox.mails))
        _disturb(host, journey, behaviour, scene)
        pages_answer(host, scene)
        until_quiet(host)
        take_the_way_out(host)
        calls, mails = len(host.sandbox.requests), len(host.sandbox.mails)
        assert calls - before[0] <= _MOST_CALLS
        asked = 1 if behaviour == "compliance" and name == "opt-in again: rejoin" else journey.mails
        assert mails - before[1] <= asked
        if asked == journey.mails:
            journey.check(scene)
        promises.check()
    stage.good()


def _disturb(host: Host, journey: Journey, behaviour: str, scene: Scene) -> None:
    met: list[bool] = []
    host.sandbox.before_answer(lambda: met.append(True), path=journey.path)
    BEHAVIOURS[behaviour](host.sandbox, journey.path)
    patience = host.services.config.TIMEOUT_S
    if behaviour in SLOW:
        host.configure(TIMEOUT_S=PATIENCE_S)
    try:
        journey.act(scene)
        host.work()
    finally:
        host.configure(TIMEOUT_S=patience)
    assert met
