"""Every way in which one answer may go wrong, at every endpoint: in the end both sides agree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from flask_mailchimp_optin import connect, overviews
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.faults.behaviours import ANYWHERE, BEHAVIOURS, PATIENCE_S, SLOW
from tests.faults.journeys import JOURNEYS, Journey, Scene, never_daily
from tests.faults.processes import until
from tests.house import Clock, Host, hosting
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
        for lie in ("204", "null")
    ),
}

#: All of the table takes minutes; without FAULTS=all every seventh cell is tried, each behaviour and
#: each journey among them.
_SHARE = 1 if os.environ.get("FAULTS") == "all" else 7

_ALL = [
    pytest.param(journey, behaviour, id=f"{journey}-{behaviour}")
    for journey in JOURNEYS
    for behaviour in BEHAVIOURS
    if behaviour in ANYWHERE or JOURNEYS[journey].endpoint not in _BODILESS
    if (journey, behaviour) not in _PERFECT_LIES
]
_CELLS = [cell for number, cell in enumerate(_ALL) if number % _SHARE == 0]
_numbers = count()


class Stage:
    """A host for the cells of one journey; another one after a cell that went wrong."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._journey, self._good = folder, "", False
        self._open = ExitStack()
        self._host: Host | None = None

    def host_for(self, journey: str) -> Host:
        """A connected host, in whose customers nobody else is interested any more."""
        if self._host is None or self._journey != journey or not self._good:
            self.close()
            clock = Clock()
            sandbox = MailchimpSandbox(clock=clock)
            self._host = self._open.enter_context(hosting(self._folder, sandbox, clock))
            self._host.app.config["WTF_CSRF_ENABLED"] = False
            self._host.connect(**JOURNEYS[journey].settings)
            never_daily(self._host)
            self._journey = journey
        self._good = False
        return self._host

    def good(self) -> None:
        """The cell went well: its host may be used again."""
        self._good = True

    def close(self) -> None:
        """Give the host up."""
        self._open.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("stage"))
    yield made
    made.close()


def until_quiet(host: Host) -> None:
    """Work off, let the pauses pass that Mailchimp was given, and late requests land."""
    for _ in range(8):
        host.work()
        until(lambda: host.sandbox.connections == 0)
        (connection,), contacts = host.rows("connection"), host.rows("contact")
        if connection.paused_until is None and not any(row.due_at for row in contacts):
            return
        host.clock.turn(minutes=3)
    host.work()


def take_the_way_out(host: Host) -> None:
    """What the pages tell an administrator to do: a key again, lists again, "Try again"."""
    with host.app.app_context():
        overview = overviews.read(host.services, "")
        if overview.suspended or any(row.gone for row in overview.lists):
            connect.connect(host.services, "", host.sandbox.api_key)
        connect.retry(host.services, "")
        if any(row.webhook_problem for row in overview.lists):
            connect.repair_webhooks(host.services, "")
    until_quiet(host)


def pages_answer(host: Host, scene: Scene) -> None:
    client = host.app.test_client()
    for page in ("", "activity", *(f"customers/{id_}" for id_ in scene.ids[:1])):
        assert client.get(f"/integrations/mailchimp/{page}").status_code in (200, 404), page


@pytest.mark.parametrize(("name", "behaviour"), _CELLS)
def test_whatever_one_answer_is_both_sides_agree_in_the_end(
    stage: Stage, name: str, behaviour: str
) -> None:
    journey, host = JOURNEYS[name], stage.host_for(name)
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
        object.__setattr__(host.services.config, "TIMEOUT_S", PATIENCE_S)
    try:
        journey.act(scene)
        host.work()
    finally:
        object.__setattr__(host.services.config, "TIMEOUT_S", patience)
    assert met
