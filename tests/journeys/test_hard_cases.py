"""Cases that users of comparable systems reported, as far as no other journey tells them."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import pytest
from flask import Response

from flask_mailchimp_optin import connect, overviews, signals
from tests.house import Host
from tests.views.admin import Admin

ADA = "ada@example.com"


def ada(host: Host) -> int:
    """A customer who is subscribed, a while ago."""
    key = host.add(ADA, wants_news=True)
    host.work()
    host.clock.turn(minutes=30)
    return key


def test_who_comes_back_is_found_though_only_a_profile_ring_tells_it(connected: Host) -> None:
    key = ada(connected)
    connected.sandbox.unsubscribe(connected.list_id, ADA)
    connected.work()
    assert connected.box(key) is False
    connected.clock.turn(minutes=30)
    connected.sandbox.drop_rings(1)
    connected.sandbox.subscribe(connected.list_id, ADA)
    connected.sandbox.edit_profile(connected.list_id, ADA, FNAME="Ada")
    connected.work()
    assert connected.box(key) is True


def test_a_ring_that_comes_an_hour_late_says_nothing_about_now(connected: Host) -> None:
    key = ada(connected)
    connected.sandbox.hold_rings()
    connected.sandbox.unsubscribe(connected.list_id, ADA)
    connected.clock.turn(minutes=30)
    connected.sandbox.subscribe(connected.list_id, ADA)
    connected.clock.turn(minutes=60)
    connected.sandbox.release_rings("reversed")
    connected.work()
    assert (connected.box(key), connected.state(key)) == (True, "subscribed")


def test_a_forged_ring_makes_us_look_and_nothing_else(connected: Host) -> None:
    key = ada(connected)
    table = connected.services.tables.audience
    with connected.app.app_context():  # as with a webhook made before Mailchimp signed
        connected.services.transact(
            lambda tx: tx.execute(table.update().values(sealed_secret=None))
        )
    (hook,) = connected.sandbox.webhooks(connected.list_id)
    forged = {
        "type": "unsubscribe",
        "fired_at": "2030-01-01 00:00:00",
        "data[list_id]": connected.list_id,
        "data[email]": ADA,
        "data[action]": "unsub",
    }
    answer = connected.app.test_client().post(
        urlsplit(hook["url"]).path,
        data=urlencode(forged),
        content_type="application/x-www-form-urlencoded",
    )
    assert answer.status_code == 200
    connected.work()
    assert connected.rows("webhook_event")[-1].outcome == "looked at"
    assert (connected.box(key), connected.status(ADA)) == (True, "subscribed")


@pytest.mark.parametrize("when", ["before_answer", "after_effect"])
@pytest.mark.parametrize("last", [True, False])
def test_who_changes_their_mind_twice_while_a_request_is_under_way_has_the_last_word(
    connected: Host, when: str, last: bool
) -> None:
    key = connected.add(ADA, wants_news=True)

    def change_twice() -> None:
        for box in (False, True) if last else (False, True, False):
            connected.change(key, wants_news=box)

    getattr(connected.sandbox, when)(change_twice, k=1)
    connected.work()
    connected.clock.turn(minutes=10)
    connected.work()
    assert connected.box(key) is last
    assert (connected.status(ADA) in ("subscribed", "pending")) is last


def test_a_member_in_compliance_state_is_asked_once_and_never_in_a_loop(connected: Host) -> None:
    key = ada(connected)
    connected.sandbox.unsubscribe(connected.list_id, ADA)
    connected.work()
    connected.sandbox.refuse(ADA, "Member In Compliance State", "{} is in a compliance state")
    connected.change(key, wants_news=True)
    before = len(connected.calls("PATCH"))
    for _ in range(5):
        connected.work()
        connected.clock.turn(days=1)
    assert len(connected.calls("PATCH")) == before + 1
    assert connected.state(key) == "refused"
    (shown,) = connected.attention()
    assert (shown.reason, shown.link is not None) == ("compliance", True)


def test_who_never_confirms_waits_for_ever_and_is_mailed_once(host: Host) -> None:
    careful = host.sandbox.add_audience("Careful", double_optin=True)
    host.connect(master_list=careful)
    key = host.add(ADA, wants_news=True)
    for _ in range(4):
        host.work()
        host.clock.turn(days=30)
    host.change(key, given_name="Ada")
    host.work()
    assert host.state(key) == "asked"
    assert host.box(key) is True
    assert host.status(ADA, careful) == "pending"
    assert len(host.sandbox.mails) == 1


def _another_master_list(host: Host) -> None:
    host.settings(master_list=list(host.sandbox.audiences)[1])


def _a_new_key(host: Host) -> None:
    with host.app.app_context():
        connect.connect(host.services, "", host.sandbox.new_key())


def _off_and_on(host: Host) -> None:
    host.settings(enabled=False)
    host.settings(enabled=True)


@pytest.mark.parametrize("change", [_another_master_list, _a_new_key, _off_and_on])
@pytest.mark.parametrize("when", ["before_answer", "after_effect"])
def test_settings_changed_in_the_middle_of_a_sync_lose_nobody(
    host: Host, change: Callable[[Host], None], when: str
) -> None:
    host.sandbox.add_audience("Second")
    first = next(iter(host.sandbox.audiences))
    host.sandbox.add_members(first, ["left@example.com"], status="unsubscribed")
    keys = [host.add(f"c{n}@example.com", wants_news=True) for n in range(3)]
    left = host.add("left@example.com", wants_news=True)
    getattr(host.sandbox, when)(lambda: change(host), k=1, path=f"/lists/{first}/members")
    host.connect()
    for _ in range(3):
        host.clock.turn(minutes=10)
        host.work()
    with host.app.app_context():
        master = overviews.read(host.services, "").settings.master_list
    assert master is not None
    assert {host.status(f"c{n}@example.com", master) for n in range(3)} == {"subscribed"}
    assert {host.state(key) for key in keys} == {"subscribed"}
    assert host.status("left@example.com", first) == "unsubscribed"
    assert host.box(left) is (master != first)  # in the second list they never said no


def test_more_than_ten_lists_appear(host: Host) -> None:
    for number in range(25):
        host.sandbox.add_audience(f"List {number}")
    with host.app.app_context():
        assert len(connect.connect(host.services, "", host.sandbox.api_key).lists) == 26


def test_an_administrator_is_told_once_that_the_key_is_refused(connected: Host) -> None:
    told: list[str] = []

    def note(_sender: object, *, reason: str, **_facts: object) -> None:
        told.append(reason)

    with signals.disconnected.connected_to(note, connected.app):
        connected.sandbox.revoke_key()
        for number in range(3):
            connected.add(f"c{number}@example.com", wants_news=True)
            connected.work()
            connected.clock.turn(hours=1)
    assert len(told) == 1
    assert "Make a new key" in told[0]


@pytest.mark.parametrize(
    "address",
    [
        "jörg@exämple.de",
        "o'brien+news@example.com",
        '"quoted local"@example.com',
        f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 57}.de",
        "İpek@example.com",
    ],
    ids=["non-ascii", "plus", "quoted", "254", "dotted-i"],
)
def test_an_unusual_address_arrives_or_needs_attention(connected: Host, address: str) -> None:
    key = connected.add(address, wants_news=True)
    good = connected.add("good@example.com", wants_news=True)
    connected.work()
    connected.clock.turn(minutes=5)
    connected.work()
    assert connected.state(good) == "subscribed"
    assert connected.state(key) in ("subscribed", "refused", "bad_address")
    assert (connected.state(key) == "subscribed") is (connected.attention() == [])


def test_a_webhook_changed_at_mailchimp_is_made_anew_the_next_day(connected: Host) -> None:
    (before,) = connected.sandbox.webhooks(connected.list_id)
    audience = connected.sandbox._audience(connected.list_id)
    audience.webhooks[before["id"]].events["unsubscribe"] = False
    connected.clock.turn(days=1, minutes=1)
    connected.work()
    (after,) = connected.sandbox.webhooks(connected.list_id)
    assert after["id"] != before["id"]
    assert after["events"]["unsubscribe"] is True


def test_an_address_that_mailchimp_cannot_reach_is_said_on_the_page(host: Host) -> None:
    host.sandbox.deliver_to(Response("a login page", 403))
    host.connect()
    assert host.sandbox.webhooks(host.list_id) == []
    admin = Admin(host.app.test_client())
    admin.open()
    assert "Make sure that it can be reached from the internet" in admin.text
    host.sandbox.deliver_to(host.app)
    host.clock.turn(days=1, minutes=1)
    host.work()
    assert len(host.sandbox.webhooks(host.list_id)) == 1


def test_a_no_that_finds_nobody_left_to_remove_needs_nobodys_attention(connected: Host) -> None:
    key = ada(connected)
    sandbox, list_id = connected.sandbox, connected.list_id
    sandbox.drop_rings(9)
    sandbox.before_answer(
        lambda: sandbox.delete_permanently(list_id, ADA), 2
    )  # read, and then gone
    connected.change(key, wants_news=False)
    connected.work()
    assert connected.status(ADA) is None
    for _ in range(4):
        connected.clock.turn(minutes=1)
        connected.work()
    assert connected.state(key) == "unsubscribed"
    assert connected.rows("contact")[0].due_at is None


def test_who_came_back_and_left_again_unheard_is_not_asked_after_two_nos(connected: Host) -> None:
    key = ada(connected)
    connected.change(key, wants_news=False)
    connected.work()
    connected.clock.turn(hours=1)
    connected.settings(enabled=False)
    connected.sandbox.drop_rings(2)
    connected.sandbox.subscribe(connected.list_id, ADA)
    connected.sandbox.unsubscribe(connected.list_id, ADA)
    connected.settings(enabled=True)
    connected.work()
    connected.clock.turn(hours=1)
    connected.sandbox.ring(connected.list_id, ADA)
    connected.work()
    assert (connected.status(ADA), connected.box(key)) == ("unsubscribed", False)
    assert connected.sandbox.mails == []
