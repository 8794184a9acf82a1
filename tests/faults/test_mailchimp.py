"""Mailchimp misbehaves, refuses, or has lost what we knew: nothing is lost, nothing is wrong."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest

from flask_mailchimp_optin import acts, connect, health, overviews, state
from tests.house import Host

#: How a single answer may go wrong: keyword arguments of ``sandbox.fail_next``.
BEHAVIOURS: dict[str, dict[str, Any]] = {
    "429": {"status": 429},
    "429 without a body": {"status": 429, "body": ""},
    "403 of the firewall": {"status": 403, "body": "<html>blocked</html>"},
    "500": {"status": 500},
    "502 of the CDN": {"status": 502, "body": "<html>bad gateway</html>"},
    "503": {"status": 503},
    "an empty 200": {"status": 200, "body": ""},
    "HTML in a 200": {"status": 200, "body": "<html>hello</html>"},
    "broken JSON": {"status": 200, "body": '{"members": ['},
    "a list instead of an object": {"status": 200, "body": "[]"},
    "a redirect": {"status": 302, "location": "http://127.0.0.1:9/"},
    "a reset before": {"how": "reset"},
    "a reset after it took effect": {"how": "reset", "applied": True},
    "half an answer": {"how": "half", "applied": True},
    "500 after it took effect": {"status": 500, "applied": True},
}


def until_quiet(host: Host) -> None:
    """Work off, and let the pauses pass that Mailchimp was given."""
    for _ in range(6):
        host.work()
        host.clock.turn(minutes=3)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("act", ["yes", "no", "ring", "ask"])
def test_whatever_one_answer_is_both_sides_agree_in_the_end(
    connected: Host, behaviour: str, act: str
) -> None:
    ada = connected.add(wants_news=act != "yes")
    connected.work()
    if act == "ask":
        connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
        connected.work()
    connected.sandbox.fail_next(**{"status": 200, **BEHAVIOURS[behaviour]})
    if act == "ring":
        connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    else:
        connected.change(ada, wants_news=act != "no")
    until_quiet(connected)
    expected = {"yes": "subscribed", "no": "unsubscribed", "ring": "unsubscribed", "ask": "pending"}
    assert connected.status("ada@example.com") == expected[act]
    assert connected.box(ada) is (act in ("yes", "ask"))
    assert len(connected.sandbox.mails) <= (1 if act == "ask" else 0)
    for change in connected.sandbox.status_changes:  # V: nobody is pulled back
        if change.by == "api" and change.new == "subscribed":
            assert change.old in (None, "absent"), change


def test_a_revoked_key_stops_the_connection_keeps_the_work_and_says_so(connected: Host) -> None:
    connected.sandbox.revoke_key()
    ada = connected.add(wants_news=True)
    connected.work()
    with connected.app.app_context():
        overview = overviews.read(connected.services, "")
        assert overview.suspended is not None
        assert "Make a new key" in overview.suspended
        worst = health.worst(health.checks(state.of(connected.app), ""))
    assert worst is not None
    assert worst.code == "connection"
    calls = len(connected.sandbox.requests)
    connected.change(ada, given_name="Ada")
    connected.work()
    assert len(connected.sandbox.requests) == calls
    with connected.app.app_context():
        connect.connect(connected.services, "", connected.sandbox.new_key())
    connected.work()
    assert connected.status("ada@example.com") == "subscribed"


def test_a_deleted_audience_changes_no_box_and_is_shown(connected: Host) -> None:
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.sandbox.delete_audience(connected.list_id)
    bob = connected.add("bob@example.com", wants_news=True)
    connected.change(ada, given_name="Ada")
    until_quiet(connected)
    assert (connected.box(ada), connected.box(bob)) == (True, True)
    with connected.app.app_context():
        found = {c.code: c for c in health.checks(state.of(connected.app), "")}
    assert "gone at Mailchimp" in found["lists"].text


def test_an_account_without_lists_says_what_to_do(host: Host) -> None:
    for list_id in list(host.sandbox.audiences):
        host.sandbox.delete_audience(list_id)
    with host.app.app_context():
        overview = connect.connect(host.services, "", host.sandbox.api_key)
        assert overview.connected
        assert overview.lists == ()
        assert overview.master is None


@pytest.mark.parametrize(
    ("title", "detail", "reason"),
    [
        ("Invalid Resource", "ada@example.com looks fake or invalid, please enter", "fake"),
        ("Forgotten Email Not Subscribed", "was permanently deleted and cannot be", "forgotten"),
        ("Invalid Resource", "has signed up to a lot of lists very recently", "too_many_lists"),
    ],
    ids=["fake", "forgotten", "too-many-lists"],
)
def test_a_refused_member_is_shown_with_the_reason_and_stops_nobody_else(
    connected: Host, title: str, detail: str, reason: str
) -> None:
    connected.sandbox.refuse("ada@example.com", title, detail)
    ada = connected.add("ada@example.com", wants_news=True)
    bob = connected.add("bob@example.com", wants_news=True)
    connected.work()
    assert connected.state(bob) == "subscribed"
    assert (connected.state(ada), connected.box(ada)) == ("refused", True)
    with connected.app.app_context():
        (shown,) = connected.attention()
    assert shown.reason == reason
    calls = len(connected.sandbox.requests)
    connected.clock.turn(hours=1)
    connected.work()
    assert len(connected.sandbox.requests) == calls  # never in a loop
    connected.sandbox.accept("ada@example.com")
    with connected.app.app_context():
        assert acts.retry(connected.services, "") == 1
    connected.work()
    assert connected.state(ada) == "subscribed"


def test_too_many_lists_is_tried_again_days_later_by_itself(connected: Host) -> None:
    connected.sandbox.refuse(
        "ada@example.com", "Invalid Resource", "has signed up to a lot of lists very recently"
    )
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.sandbox.accept("ada@example.com")
    connected.clock.turn(days=4)
    connected.work()
    assert connected.state(ada) == "subscribed"


def test_one_bad_row_that_refuses_a_whole_call_is_found_and_parked(connected: Host) -> None:
    ids = [connected.add(f"c{n}@example.com", wants_news=True) for n in range(8)]
    refusal = {"title": "Invalid Resource", "status": 400, "detail": "Your request is no good."}
    # All eight, then four, then two, then the one that is to blame.
    connected.sandbox.fail_next(400, times=4, path="skip_merge_validation", body=refusal)
    until_quiet(connected)
    states = [connected.state(i) for i in ids]
    assert states.count("subscribed") == 7
    assert states.count("refused") == 1


def test_details_that_mailchimp_refuses_do_not_stand_in_the_way_of_consent(host: Host) -> None:
    list_id = host.sandbox.add_audience(
        "Strict", merge_fields=[{"tag": "FNAME", "name": "First", "type": "number"}]
    )
    host.connect(master_list=list_id)
    ada = host.add("ada@example.com", wants_news=True, given_name="not a number")
    host.work()
    assert host.status("ada@example.com", list_id) == "subscribed"
    assert host.state(ada) == "subscribed"
    with host.app.app_context():
        (shown,) = host.attention()
    assert shown.reason == "merge_fields"


def test_a_batch_answer_with_missing_rows_is_looked_into(connected: Host) -> None:
    def drop_a_row(body: dict[str, Any]) -> dict[str, Any]:
        body["new_members"] = body["new_members"][:-1]
        return body

    connected.sandbox.rewrite_next(drop_a_row, path="skip_merge_validation")
    ids = [connected.add(f"c{n}@example.com", wants_news=True) for n in range(3)]
    until_quiet(connected)
    assert [connected.state(i) for i in ids] == ["subscribed"] * 3


@pytest.mark.parametrize(("later_s", "status"), [(0, "unsubscribed"), (5, "pending")])
def test_a_request_that_lands_late_is_seen(connected: Host, later_s: int, status: str) -> None:
    """The answer to a yes is lost, a no follows, and then the yes lands after all."""
    ada = connected.add(wants_news=True)
    connected.sandbox.fail_next(500, path="skip_merge_validation")
    connected.work()
    connected.change(ada, wants_news=False)
    connected.work()
    # As Mailchimp would, had it taken the first request up only now. If the opt-in has not the time
    # that the request carried, it may as well have been the person, just after the no: they are asked.
    connected.clock.turn(seconds=later_s)
    connected.sandbox.subscribe(connected.list_id, "ada@example.com", by="api")
    until_quiet(connected)
    assert connected.status("ada@example.com") == status
    assert connected.box(ada) is False


_MEMBER = re.compile(r"^GET .*/members/\w+")
_BATCH = "skip_merge_validation"


def test_a_moments_404_does_not_pass_for_not_subscribed(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.fail_next(404, path=_MEMBER)
    connected.change(ada, wants_news=False)
    until_quiet(connected)
    assert connected.status("ada@example.com") == "unsubscribed"
    assert connected.box(ada) is False


@pytest.mark.parametrize("policy", ["unsubscribe", "archive", "delete"])
@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_refusal_of_a_moment_does_not_keep_a_deleted_customer_in_the_list(
    connected: Host, policy: str, status: int
) -> None:
    connected.settings(on_delete=policy)
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.fail_next(status, path=re.compile("^(POST|DELETE) "))
    connected.delete(ada)
    until_quiet(connected)
    left = {"unsubscribe": "unsubscribed", "archive": "archived", "delete": None}
    assert connected.status("ada@example.com") == left[policy]


def test_a_list_that_is_not_found_for_a_moment_is_not_gone(connected: Host) -> None:
    connected.sandbox.fail_next(404, path=_BATCH)
    connected.add(wants_news=True)
    until_quiet(connected)
    assert connected.status("ada@example.com") == "subscribed"


def test_one_member_who_cannot_be_read_stops_nobody_else(connected: Host) -> None:
    ids = [connected.add(f"c{n}@example.com", wants_news=True) for n in range(3)]
    connected.work()
    first = hashlib.md5(b"c0@example.com").hexdigest()
    connected.sandbox.fail_next(500, times=1000, path=re.compile(f"^GET .*/members/{first}"))
    for id_ in ids:
        connected.change(id_, wants_news=False)
    until_quiet(connected)
    assert connected.status("c1@example.com") == "unsubscribed"
    assert connected.status("c2@example.com") == "unsubscribed"
    connected.add("bob@example.com", wants_news=True)
    until_quiet(connected)
    assert connected.status("bob@example.com") == "subscribed"
    connected.sandbox.stop_failing()
    connected.clock.turn(hours=1)
    until_quiet(connected)
    assert connected.status("c0@example.com") == "unsubscribed"


@pytest.mark.parametrize("status", [401, 403])
def test_a_question_that_was_refused_with_the_key_is_put_later(
    connected: Host, status: int
) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    connected.clock.turn(minutes=10)
    connected.sandbox.fail_next(status, path="PATCH")
    connected.change(ada, wants_news=True)
    connected.work()
    with connected.app.app_context():
        connect.connect(connected.services, "", connected.sandbox.api_key)
    until_quiet(connected)
    assert connected.status("ada@example.com") == "pending"


@pytest.mark.parametrize("how", [{"how": "other"}, {"status": 400}, {"status": 413}])
def test_a_no_is_told_again_until_it_is_true(connected: Host, how: dict[str, Any]) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.fail_next(times=5, path=_BATCH, **how)
    connected.change(ada, wants_news=False)
    for _ in range(8):
        until_quiet(connected)
        connected.clock.turn(hours=1)
    assert connected.status("ada@example.com") == "unsubscribed"


def test_a_member_who_is_shown_but_not_found_is_not_asked_for_ever(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    connected.clock.turn(minutes=10)
    connected.sandbox.fail_next(404, times=1000, path="PATCH")
    connected.change(ada, wants_news=True)
    for _ in range(5):
        connected.work()
        connected.clock.turn(hours=1)
    assert len(connected.calls("PATCH")) <= 8
    for _ in range(5):
        connected.work()
        connected.clock.turn(hours=1)
    assert connected.state(ada) == "refused"
