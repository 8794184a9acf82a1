"""A sync that a person pauses, resumes or cancels, in business words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from flask_mailchimp_optin import acts, drain, overviews, runs
from flask_mailchimp_optin.errors import RefusedInput
from tests.house import Customer, Host, db

STRANGER = "stranger@example.com"


def add_many(host: Host, first: int, number: int) -> None:
    """Ticked customers c0@example.com and so on, written past the listeners."""
    with host.app.app_context(), db.engine.begin() as connection:
        rows = [
            {"mail": f"c{n}@example.com", "wants_news": True} for n in range(first, first + number)
        ]
        connection.execute(sa.insert(Customer.__table__), rows)


def progress(host: Host) -> runs.Progress:
    with host.app.app_context(), host.services.begin() as tx:
        connection = overviews.find(tx, host.services, "")
        assert connection is not None
        return runs.progress(tx, host.services, connection.id)[0]


def do(host: Host, act: Callable[..., object]) -> None:
    with host.app.app_context():
        act(host.services, "")


def told(host: Host) -> int:
    """How many members there are, but for the stranger."""
    return len(host.sandbox.members(host.list_id).keys() - {STRANGER})


def begin(host: Host, phase: str, *, alone: bool = False) -> None:
    """A first sync with 1,200 customers, which has just come to this phase and done something there.

    :param alone: nobody is in the list, so that customers are told as they are found.
    """
    host.configure(CONNECTIONS=1)  # 500 customers a piece
    add_many(host, 0, 1200)
    if not alone:
        host.sandbox.add_members(next(iter(host.sandbox.audiences)), [STRANGER])
    host.enable()
    with host.app.app_context():
        for _ in range(40):
            drain.drain(host.services, 1, "a worker", budget_s=0.0)
            run = progress(host)
            if run.phase == phase and (run.sent or not (alone or phase == "send")):
                return
    raise AssertionError(f"never came to {phase}")


@pytest.mark.parametrize(
    ("phase", "alone"),
    [*((phase, False) for phase in runs.PHASES), ("customers", True)],
)
def test_a_paused_sync_tells_nobody_and_goes_on_where_it_was(
    host: Host, phase: str, alone: bool
) -> None:
    begin(host, phase, alone=alone)
    before = progress(host)
    do(host, acts.pause_sync)
    by_then = told(host)
    host.add("late@example.com", wants_news=True)
    host.clock.turn(days=2)
    host.work()
    assert told(host) == by_then < 1200
    paused = progress(host)
    assert paused.paused
    assert (paused.phase, paused.percent, paused.sent) == (phase, before.percent, before.sent)
    assert (paused.customers_done, paused.members_done) == (
        before.customers_done,
        before.members_done,
    )

    do(host, acts.resume_sync)
    assert progress(host).percent == before.percent
    host.work()
    assert told(host) == 1201
    with host.app.app_context():
        assert {run.state for run in host.rows("sync_run")} == {"done"}


def test_an_opt_out_still_goes_out_while_a_sync_is_paused(connected: Host) -> None:
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    do(connected, acts.start_sync)
    do(connected, acts.pause_sync)
    connected.change(ada, wants_news=False)
    connected.add("bob@example.com", wants_news=True)
    connected.work()
    assert connected.status("ada@example.com") == "unsubscribed"
    assert connected.status("bob@example.com") is None
    do(connected, acts.resume_sync)
    connected.work()
    assert connected.status("bob@example.com") == "subscribed"


def test_whoever_is_at_the_sync_when_it_is_paused_sends_nothing_more(host: Host) -> None:
    begin(host, "plan")

    def pause(body: dict[str, object]) -> dict[str, object]:
        do(host, acts.pause_sync)
        return body

    host.sandbox.rewrite_next(pause, path=f"POST /3.0/lists/{host.list_id}?")
    host.work()
    assert progress(host).paused
    assert 500 <= told(host) < 1200


def test_a_paused_sync_that_is_resumed_still_stops_if_it_would_change_too_much(host: Host) -> None:
    host.configure(STOP_COUNT=5)
    list_id = next(iter(host.sandbox.audiences))
    gone = [f"c{n}@example.com" for n in range(100)]
    host.sandbox.add_members(list_id, gone, status="unsubscribed")
    begin(host, "plan")
    do(host, acts.pause_sync)
    do(host, acts.resume_sync)
    host.work()
    stopped = progress(host)
    assert (stopped.state, stopped.paused, stopped.boxes_off) == ("waiting", False, 100)


def test_enabling_again_in_the_settings_resumes_it(host: Host) -> None:
    begin(host, "members")
    do(host, acts.pause_sync)
    host.settings(daily_at="04:00")
    assert progress(host).paused
    host.settings(enabled=True)
    host.work()
    with host.app.app_context():
        assert [run.kind for run in host.rows("sync_run")] == ["initial"]
    assert told(host) == 1200


def test_a_cancelled_pause_is_over_and_changes_go_out_again(host: Host) -> None:
    begin(host, "members")
    do(host, acts.pause_sync)
    do(host, acts.cancel_sync)
    assert progress(host).state == "cancelled"
    host.add("late@example.com", wants_news=True)
    host.work()
    assert host.status("late@example.com") == "subscribed"


def test_a_sync_that_is_cancelled_while_it_sends_sends_no_more(host: Host) -> None:
    begin(host, "send")
    by_then = told(host)
    do(host, acts.cancel_sync)
    host.work()
    assert told(host) == by_then < 1200


def test_pausing_and_resuming_nothing_is_refused(connected: Host) -> None:
    for act, text in (
        (acts.pause_sync, "No sync is running"),
        (acts.resume_sync, "No sync is waiting"),
    ):
        with pytest.raises(RefusedInput, match=text):
            do(connected, act)
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    assert connected.state(ada) == "subscribed"  # the refused pause switched nothing off


def test_no_other_sync_begins_while_one_is_paused(connected: Host) -> None:
    do(connected, acts.start_sync)
    do(connected, acts.pause_sync)
    with pytest.raises(RefusedInput, match="Resume or cancel it first"):
        do(connected, acts.start_sync)
