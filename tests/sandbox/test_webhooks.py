"""Webhooks: how they are registered, what they are sent, and how deliveries go wrong."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox
from flask_mailchimp_optin.testing.sandbox.server import served
from tests.sandbox.conftest import ALL_EVENTS, Api, Clock
from tests.sandbox.hooked import Receiver

ADA, NEW = "ada@example.com", "lovelace@example.com"
URL = "https://host.example/hook/secret?token=a%20b"


@pytest.fixture
def receiver(sandbox: MailchimpSandbox) -> Receiver:
    found = Receiver()
    sandbox.deliver_to(found)
    sandbox.ringer.retries_s = (0.01, 0.02)
    return found


@pytest.fixture
def hooked(api: Api, receiver: Receiver) -> Receiver:
    assert api.hook(URL).status_code == 200
    receiver.received.clear()
    return receiver


def test_a_new_webhook_is_checked_with_a_get(api: Api, receiver: Receiver) -> None:
    answer = api.hook(URL)
    assert answer.status_code == 200
    (check,) = receiver.received
    assert (check.method, check.url) == ("GET", URL)
    assert check.headers["User-Agent"] == "MailChimp.com WebHook Validator"


def test_a_new_webhook_may_be_checked_with_an_empty_post_too(
    sandbox: MailchimpSandbox, api: Api, receiver: Receiver
) -> None:
    sandbox.quirks.checks_url_by_post_too = True
    receiver.statuses = [200, 400]
    assert api.hook(URL).status_code == 400
    assert api.hook(URL).status_code == 200
    assert [(one.method, one.body) for one in receiver.received[2:]] == [
        ("GET", b""),
        ("POST", b""),
    ]


@pytest.mark.parametrize("status", [404, 500, 302, 204])
def test_a_url_that_does_not_answer_200_is_refused(
    api: Api, receiver: Receiver, status: int
) -> None:
    receiver.statuses = [status]
    answer = api.hook(URL)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "url")
    assert api.get("lists/{list}/webhooks")["webhooks"] == []


@pytest.mark.usefixtures("receiver")
@pytest.mark.parametrize("target", ["ftp://host.example/", "no url", "https://", "http://[x/"])
def test_what_is_no_web_address_is_refused(api: Api, target: str) -> None:
    assert api.hook(target).status_code == 400


@pytest.mark.usefixtures("hooked")
def test_one_url_is_registered_once(api: Api) -> None:
    answer = api.hook(URL)
    assert answer.status_code == 400
    message = answer.json()["errors"][0]["message"]
    assert message == "Sorry, you can't set up multiple WebHooks for one URL"


@pytest.mark.usefixtures("receiver")
def test_the_signing_secret_is_told_once(api: Api) -> None:
    made = api.hook(URL).json()
    assert made["signing_enabled"] is True
    assert len(made["signing_secret"]) == 64
    again = api.get(f"lists/{{list}}/webhooks/{made['id']}")
    assert "signing_secret" not in again
    assert again["signing_enabled"] is True


def test_accounts_without_signing_know_nothing_of_it() -> None:
    sandbox = MailchimpSandbox(signing=False)
    receiver = Receiver()
    sandbox.deliver_to(receiver)
    with sandbox.serve() as url:
        api = Api(url, sandbox.api_key, next(iter(sandbox.audiences)))
        assert "signing_secret" not in api.hook(URL).json()
        sandbox.subscribe(api.list_id, ADA)
        assert sandbox.wait_for_rings(5)
    assert "X-Mailchimp-Signature" not in receiver.received[-1].headers


def _expected(secret: str, at: int, body: bytes) -> str:
    return hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()


def test_a_delivery_is_signed_over_its_raw_body(
    api: Api, receiver: Receiver, sandbox: MailchimpSandbox, list_id: str, clock: Clock
) -> None:
    made = api.hook(URL).json()
    sandbox.subscribe(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    ring, at = receiver.received[-1], int(clock.now.timestamp())
    mark = _expected(made["signing_secret"], at, ring.body)
    assert ring.headers["X-Mailchimp-Signature"] == f"t={at},v1={mark}"


def test_during_a_rotation_a_delivery_is_signed_twice(
    api: Api, receiver: Receiver, sandbox: MailchimpSandbox, list_id: str, clock: Clock
) -> None:
    made = api.hook(URL).json()
    fresh = sandbox.rotate_signing_secret(list_id, made["id"])
    sandbox.subscribe(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    ring, at = receiver.received[-1], int(clock.now.timestamp())
    marks = [_expected(secret, at, ring.body) for secret in (fresh, made["signing_secret"])]
    assert ring.headers["X-Mailchimp-Signature"] == f"t={at},v1={marks[0]},v1={marks[1]}"


def test_a_subscribe_ring_has_mailchimps_shape(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str
) -> None:
    home = {"addr1": "1 Main St", "city": "Town", "state": "CA", "zip": "94000"}
    sandbox.subscribe(list_id, ADA, FNAME="Ada", ADDRESS=home)
    assert sandbox.wait_for_rings(5)
    member = sandbox.members(list_id)[ADA]
    assert hooked.rings == [
        {
            "type": "subscribe",
            "fired_at": "2026-01-02 03:04:05",
            "data[id]": member["unique_email_id"],
            "data[email]": ADA,
            "data[email_type]": "html",
            "data[ip_opt]": "203.0.113.7",
            "data[web_id]": str(member["web_id"]),
            "data[merges][EMAIL]": ADA,
            "data[merges][ADDRESS][addr1]": "1 Main St",
            "data[merges][ADDRESS][addr2]": "",
            "data[merges][ADDRESS][city]": "Town",
            "data[merges][ADDRESS][state]": "CA",
            "data[merges][ADDRESS][zip]": "94000",
            "data[merges][ADDRESS][country]": "US",
            "data[merges][FNAME]": "Ada",
            "data[merges][LNAME]": "",
            "data[merges][PHONE]": "",
            "data[merges][BIRTHDAY]": "",
            "data[list_id]": list_id,
        }
    ]
    assert hooked.received[0].headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert hooked.received[0].url == URL


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        ("unsubscribe", {"type": "unsubscribe", "data[action]": "unsub", "data[reason]": "manual"}),
        ("complain", {"type": "unsubscribe", "data[action]": "unsub", "data[reason]": "abuse"}),
        ("archive", {"type": "unsubscribe", "data[action]": "delete", "data[reason]": "manual"}),
        ("delete", {"type": "unsubscribe", "data[action]": "delete"}),
        ("clean", {"type": "cleaned", "data[reason]": "hard", "data[campaign_id]": ""}),
        ("edit", {"type": "profile", "data[merges][FNAME]": "New"}),
    ],
)
def test_each_act_rings_its_event(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str, act: str, expected: Any
) -> None:
    sandbox.add_members(list_id, [ADA])
    {
        "unsubscribe": lambda: sandbox.unsubscribe(list_id, ADA),
        "complain": lambda: sandbox.unsubscribe(list_id, ADA, reason="abuse"),
        "archive": lambda: sandbox.archive(list_id, ADA),
        "delete": lambda: sandbox.delete_permanently(list_id, ADA),
        "clean": lambda: sandbox.clean(list_id, ADA),
        "edit": lambda: sandbox.edit_profile(list_id, ADA, FNAME="New"),
    }[act]()
    assert sandbox.wait_for_rings(5)
    (ring,) = hooked.rings
    assert ring | expected == ring
    assert ring["data[email]"] == ADA


def test_a_bounce_has_no_id(sandbox: MailchimpSandbox, hooked: Receiver, list_id: str) -> None:
    sandbox.add_members(list_id, [ADA])
    sandbox.clean(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    assert "data[id]" not in hooked.rings[0]


@pytest.mark.parametrize("profile_first", [False, True])
def test_a_change_of_address_rings_twice(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str, profile_first: bool
) -> None:
    sandbox.quirks.profile_before_upemail = profile_first
    sandbox.add_members(list_id, [ADA])
    sandbox.change_email(list_id, ADA, NEW)
    assert sandbox.wait_for_rings(5)
    rings = {ring["type"]: ring for ring in hooked.rings}
    assert hooked.kinds == (["profile", "upemail"] if profile_first else ["upemail", "profile"])
    assert {k: v for k, v in rings["upemail"].items() if k.startswith("data")} == {
        "data[new_id]": sandbox.members(list_id)[NEW]["unique_email_id"],
        "data[new_email]": NEW,
        "data[old_email]": ADA,
        "data[list_id]": list_id,
    }
    assert rings["profile"]["data[email]"] == NEW


def test_editing_an_unsubscribed_member_rings_profile(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str
) -> None:
    sandbox.add_members(list_id, [ADA], status="unsubscribed")
    sandbox.edit_profile(list_id, ADA, FNAME="New")
    assert sandbox.wait_for_rings(5)
    assert hooked.kinds == ["profile"]
    assert sandbox.members(list_id)[ADA]["status"] == "unsubscribed"


def test_waiting_for_confirmation_rings_nobody_and_confirming_does(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str
) -> None:
    sandbox.set_double_optin(list_id, True)
    sandbox.subscribe(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    assert hooked.kinds == []
    sandbox.confirm(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    assert hooked.kinds == ["subscribe"]


def test_a_campaign_is_about_nobody(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str
) -> None:
    sandbox.send_campaign(list_id, "Hello")
    assert sandbox.wait_for_rings(5)
    assert hooked.rings[0]["data[subject]"] == "Hello"
    assert "data[email]" not in hooked.rings[0]


def test_what_the_api_does_rings_only_who_wants_to_hear_it(
    sandbox: MailchimpSandbox, api: Api, hooked: Receiver, list_id: str
) -> None:
    api.add(ADA)
    assert sandbox.wait_for_rings(5)
    assert hooked.kinds == []
    (hook,) = sandbox.webhooks(list_id)
    path = f"lists/{{list}}/webhooks/{hook['id']}"
    assert api.call("PATCH", path, json={"sources": {"api": True}}).status_code == 200
    api.change(ADA, status="unsubscribed")
    assert sandbox.wait_for_rings(5)
    assert hooked.kinds == ["unsubscribe"]


def test_sources_and_events_that_are_off_are_silent(
    sandbox: MailchimpSandbox, api: Api, receiver: Receiver, list_id: str
) -> None:
    only = {"user": False, "admin": True, "api": False}
    api.hook(URL, sources=only, events={**ALL_EVENTS, "unsubscribe": False})
    receiver.received.clear()
    sandbox.subscribe(list_id, ADA)
    sandbox.archive(list_id, ADA)
    sandbox.subscribe(list_id, ADA, by="admin")
    assert sandbox.wait_for_rings(5)
    assert receiver.kinds == ["subscribe"]


@pytest.mark.parametrize(
    ("quirk", "gone", "there"),
    [
        ("without_fired_at", "fired_at", "type"),
        ("empty_merges", "data[merges][FNAME]", "data[merges]"),
        ("without_action", "data[action]", "data[reason]"),
        ("without_ip_opt", "data[ip_opt]", "data[email]"),
        ("with_ip_signup", "", "data[ip_signup]"),
        ("flat_address", "data[merges][ADDRESS][addr1]", "data[merges][ADDRESS]"),
    ],
)
def test_quirks_of_real_deliveries_can_be_had(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str, quirk: str, gone: str, there: str
) -> None:
    setattr(sandbox.quirks, quirk, True)
    home = {"addr1": "1 Main St", "city": "Town", "state": "CA", "zip": "94000"}
    sandbox.add_members(list_id, [ADA], ADDRESS=home)
    sandbox.unsubscribe(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    (ring,) = hooked.rings
    assert gone not in ring
    assert there in ring


def test_a_resubscription_may_ring_only_profile(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str
) -> None:
    sandbox.quirks.resubscription_rings_profile = True
    sandbox.add_members(list_id, [ADA], status="unsubscribed")
    sandbox.subscribe(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    assert hooked.kinds == ["profile"]


def test_groups_come_as_groupings(sandbox: MailchimpSandbox, api: Api, hooked: Receiver) -> None:
    ids = sandbox.add_interests(api.list_id, "Pets", ["Cats", "Dogs"])
    api.add(ADA, interests={ids["Dogs"]: True})
    sandbox.unsubscribe(api.list_id, ADA)
    assert sandbox.wait_for_rings(5)
    ring = hooked.rings[0]
    assert ring["data[merges][INTERESTS]"] == "Dogs"
    assert ring["data[merges][GROUPINGS][0][name]"] == "Pets"
    assert ring["data[merges][GROUPINGS][0][groups]"] == "Dogs"


# Deliveries that go wrong.


def subscribe_three(sandbox: MailchimpSandbox, list_id: str) -> list[str]:
    emails = [f"p{n}@example.com" for n in range(3)]
    for email in emails:
        sandbox.subscribe(list_id, email)
    return emails


def rung(receiver: Receiver) -> list[str]:
    return [ring["data[email]"] for ring in receiver.rings]


def test_rings_come_in_order_when_nothing_is_wrong(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str
) -> None:
    emails = subscribe_three(sandbox, list_id)
    assert sandbox.wait_for_rings(5)
    assert rung(hooked) == emails


@pytest.mark.parametrize("order", ["fifo", "reversed", "shuffled"])
def test_held_rings_are_released_in_any_order(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str, order: Any
) -> None:
    sandbox.hold_rings()
    emails = subscribe_three(sandbox, list_id)
    assert sandbox.wait_for_rings(5)
    assert rung(hooked) == []
    assert sandbox.release_rings(order=order, seed=3) == 3
    assert sandbox.wait_for_rings(5)
    if order == "shuffled":
        assert sorted(rung(hooked)) == emails
    else:
        assert rung(hooked) == (emails if order == "fifo" else emails[::-1])


def test_rings_are_dropped_and_repeated(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str
) -> None:
    sandbox.drop_rings(1)
    sandbox.repeat_rings(2)
    emails = subscribe_three(sandbox, list_id)
    assert sandbox.wait_for_rings(5)
    assert rung(hooked) == [emails[1], emails[1], emails[2], emails[2]]


def test_a_refused_ring_is_tried_again(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str
) -> None:
    hooked.statuses = [500, 302]
    sandbox.subscribe(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    (ring,) = sandbox.rings
    assert (ring.status, ring.attempts, ring.type) == (200, 3, "subscribe")
    assert len({hooked.received[n].body for n in range(3)}) == 1


def test_a_ring_that_is_never_taken_is_lost(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str
) -> None:
    hooked.statuses = [500] * 10
    sandbox.subscribe(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    assert (sandbox.rings[0].status, sandbox.rings[0].attempts) == (500, 3)


def test_a_410_disables_the_webhook_at_once(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str
) -> None:
    hooked.statuses = [410]
    sandbox.subscribe(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    sandbox.unsubscribe(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    assert hooked.kinds == ["subscribe"]
    assert sandbox.webhooks(list_id)[0]["enabled"] is False


def test_a_deleted_webhook_is_silent(
    sandbox: MailchimpSandbox, api: Api, hooked: Receiver, list_id: str
) -> None:
    (hook,) = sandbox.webhooks(list_id)
    assert api.call("DELETE", f"lists/{{list}}/webhooks/{hook['id']}").status_code == 204
    sandbox.subscribe(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    assert hooked.rings == []


def test_a_disabled_webhook_is_silent(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str
) -> None:
    sandbox.disable_webhooks(list_id)
    sandbox.subscribe(list_id, ADA)
    assert sandbox.wait_for_rings(5)
    assert hooked.rings == []


def test_rings_go_over_http_too(sandbox: MailchimpSandbox, api: Api, list_id: str) -> None:
    receiver = Receiver()
    with served(receiver, "127.0.0.1", 0, lambda: None) as base:
        assert api.hook(f"{base}hook").status_code == 200
        sandbox.subscribe(list_id, ADA)
        assert sandbox.wait_for_rings(5)
    assert [one.method for one in receiver.received] == ["GET", "POST"]
    assert receiver.kinds == ["subscribe"]


def test_a_url_that_nobody_serves_is_refused(api: Api) -> None:
    assert api.hook("http://127.0.0.1:9/hook").status_code == 400


def test_archiving_many_rings_for_each(
    sandbox: MailchimpSandbox, hooked: Receiver, list_id: str
) -> None:
    sandbox.add_members(list_id, [f"p{n}@example.com" for n in range(200)])
    assert sandbox.archive_many(list_id) == 200
    assert sandbox.wait_for_rings(10)
    assert {ring["data[action]"] for ring in hooked.rings} == {"delete"}
    assert len(hooked.rings) == 200
