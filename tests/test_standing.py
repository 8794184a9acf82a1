"""What a customer's state says: the word, why it is so, and the way out; the pages say the same."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from flask_mailchimp_optin import connect, reasons
from flask_mailchimp_optin.standing import CustomerState
from tests.house import Customer, Host, db
from tests.views.admin import Admin

ADA = "ada@example.com"


def state_of(host: Host, key: int) -> CustomerState:
    with host.app.app_context():
        return host.mailchimp.state_of(db.session.get_one(Customer, key))


def subscribed(host: Host) -> int:
    host.connect()
    key = host.add(ADA, wants_news=True, given_name="Ada")
    host.work()
    assert host.state(key) == "subscribed"
    return key


def _not_connected(host: Host) -> int:
    return host.add(ADA, wants_news=True)


def _never_asked(host: Host) -> int:
    host.connect()
    key = host.add(ADA, wants_news=False)
    host.work()
    return key


def _just_ticked(host: Host) -> int:
    host.connect()
    return host.add(ADA, wants_news=True)


def _ticked_while_off(host: Host) -> int:
    host.connect(enabled=False)
    key = host.add(ADA, wants_news=True)
    host.work()
    return key


def _ticked_in_daily_mode(host: Host) -> int:
    host.connect(daily=True)
    key = host.add(ADA, wants_news=True)
    host.work()
    return key


def _unticked_in_daily_mode(host: Host) -> int:
    key = subscribed(host)
    host.settings(daily=True, enabled=False)
    host.change(key, wants_news=False)
    return key


def _ticked_with_a_revoked_key(host: Host) -> int:
    host.connect()
    host.sandbox.revoke_key()
    key = host.add(ADA, wants_news=True)
    host.work()
    return key


def _held_by_a_sync(host: Host) -> int:
    host.configure(STOP_COUNT=0)
    host.configure(STOP_SHARE=0.0)
    list_id = next(iter(host.sandbox.audiences))
    host.sandbox.add_members(list_id, ["left@example.com"], status="unsubscribed")
    host.add("left@example.com", wants_news=True)
    key = host.add(ADA, wants_news=True)
    host.connect()
    return key


def _not_taken_yet(host: Host) -> int:
    host.connect()
    key = host.add(ADA, wants_news=True)
    host.sandbox.fail_next(500, times=2)
    host.work()
    return key


def _list_gone(host: Host) -> int:
    key = subscribed(host)
    host.sandbox.delete_audience(host.list_id)
    with host.app.app_context():
        connect.refresh(host.services, "")
        connect.store_lists(host.services, "")
    host.change(key, given_name="Augusta")
    host.work()
    return key


def _asked(host: Host) -> int:
    key = subscribed(host)
    host.sandbox.unsubscribe(host.list_id, ADA)
    host.work()
    host.change(key, wants_news=True)
    host.work()
    return key


def _details_refused(host: Host) -> int:
    list_id = host.sandbox.add_audience(
        "Strict", merge_fields=[{"tag": "FNAME", "name": "First", "type": "number"}]
    )
    host.connect(master_list=list_id)
    key = host.add(ADA, wants_news=True, given_name="not a number")
    host.work()
    return key


def _unticked(host: Host) -> int:
    key = subscribed(host)
    host.change(key, wants_news=False)
    host.work()
    return key


def _archived(host: Host) -> int:
    key = subscribed(host)
    host.sandbox.archive(host.list_id, ADA)
    host.work()
    return key


def _bounced(host: Host) -> int:
    key = subscribed(host)
    host.sandbox.clean(host.list_id, ADA)
    host.work()
    return key


def _forgotten(host: Host) -> int:
    host.connect()
    host.sandbox.subscribe(host.list_id, ADA)
    host.sandbox.delete_permanently(host.list_id, ADA)
    key = host.add(ADA, wants_news=True)
    host.work()
    return key


def _refused(detail: str) -> Callable[[Host], int]:
    def prepare(host: Host) -> int:
        host.connect()
        host.sandbox.refuse(ADA, "Invalid Resource", detail)
        key = host.add(ADA, wants_news=True)
        host.work()
        return key

    return prepare


def _parked(host: Host) -> int:
    host.connect()
    key = host.add(ADA, wants_news=True)
    for _ in range(12):
        host.sandbox.fail_next(500, times=9, path=re.compile(r"/lists/\w+(\?.*)?$"))
        host.work()
        host.clock.turn(hours=2)
    return key


def _bad_address(host: Host) -> int:
    host.connect()
    key = host.add("not an address", wants_news=True)
    host.work()
    return key


#: How it comes to be, the word, a few words of why, and of the way out ("" for: nothing to do).
SITUATIONS: dict[str, tuple[Callable[[Host], int], str, str, str]] = {
    "not connected": (_not_connected, "not_connected", "not connected", ""),
    "never asked": (_never_asked, "never_asked", "not decided", ""),
    "just ticked": (_just_ticked, "waiting", "Waiting to be sent", ""),
    "ticked while off": (_ticked_while_off, "waiting", "not enabled", "enables it"),
    "ticked in daily mode": (_ticked_in_daily_mode, "waiting", "daily sync", ""),
    "a no never waits": (_unticked_in_daily_mode, "waiting", "Waiting to be sent", ""),
    "key revoked": (_ticked_with_a_revoked_key, "waiting", "is stopped", "good API key"),
    "held by a sync": (_held_by_a_sync, "waiting", "a sync stopped", "lets it go on"),
    "not taken yet": (_not_taken_yet, "waiting", "tried again by itself", ""),
    "list gone": (_list_gone, "waiting", "list is gone", "chooses another"),
    "asked": (_asked, "asked", "confirmation by mail", "follow the link"),
    "details refused": (_details_refused, "subscribed", "details", "merge fields"),
    "unticked": (_unticked, "unsubscribed", "Not subscribed", ""),
    "archived": (_archived, "archived", "archived", "ntick and tick"),
    "bounced": (_bounced, "bounced", "bounced", "Correct the customer's address"),
    "forgotten": (_forgotten, "refused", "permanently deleted", "sign-up form"),
    "fake": (_refused("looks fake or invalid"), "refused", "fake", "Correct"),
    "too many lists": (
        _refused("has signed up to a lot of lists very recently"),
        "refused",
        "many lists",
        "by itself",
    ),
    "parked": (_parked, "refused", "not tried again by itself", "Try again"),
    "bad address": (_bad_address, "bad_address", "", "Correct"),
}


@pytest.mark.parametrize("case", SITUATIONS)
def test_a_state_says_why_and_what_to_do(host: Host, case: str) -> None:
    prepare, word, why, way_out = SITUATIONS[case]
    state = state_of(host, prepare(host))
    assert state.state == word
    assert why in state.text
    assert way_out in (state.way_out or "")
    assert bool(state.way_out) == bool(way_out)
    assert (state.link is not None) == (case in ("asked", "forgotten"))
    assert "again by itself" not in state.text or "will be tried again" not in state.text


@pytest.mark.parametrize(
    ("case", "heading"),
    [
        ("archived", "Archived at Mailchimp"),
        ("bounced", "Mail bounces"),
        ("forgotten", "Deleted permanently at Mailchimp"),
        ("fake", "Address taken for fake"),
        ("too many lists", "Signed up to many lists lately"),
        ("details refused", "Details refused"),
        ("parked", "Failed again and again"),
        ("bad address", "Can’t be sent"),
    ],
)
def test_the_activity_page_and_the_history_say_it_too(host: Host, case: str, heading: str) -> None:
    prepare, _, why, _ = SITUATIONS[case]
    key = prepare(host)
    admin = Admin(host.app.test_client())
    admin.open("/activity")
    assert heading in admin.text
    assert why in admin.text
    admin.open(f"/customers/{key}")
    assert state_of(host, key).text in admin.text


def test_a_conflict_is_told_in_the_history(host: Host) -> None:
    key = subscribed(host)
    host.clock.turn(minutes=10)
    host.sandbox.hold_rings()
    host.sandbox.unsubscribe(host.list_id, ADA)
    host.change(key, wants_news=False)
    host.change(key, wants_news=True)
    host.sandbox.release_rings()
    host.work()
    assert host.state(key) == "asked"
    admin = Admin(host.app.test_client())
    admin.open(f"/customers/{key}")
    assert "asked to confirm by mail: both sides changed at about the same time" in admin.text


def test_every_reason_has_a_way_out_and_a_heading() -> None:
    from flask_mailchimp_optin.problems import _REFUSALS
    from flask_mailchimp_optin.reasons import REASONS
    from flask_mailchimp_optin.verdicts import FINAL

    ours = {"archived", "bounced", "parked", "renamed", "too_many_lists"}
    known = {reason for _, reason, _ in _REFUSALS} | set(FINAL) | ours
    assert known - {"merge_fields"} <= set(reasons.WAYS_OUT)  # with refused details people are in
    assert known | {"erased", "customer"} == set(REASONS)
