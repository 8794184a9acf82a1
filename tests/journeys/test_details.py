"""What is sent beside the status: merge fields of every type, tags, interests, permissions, language."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flask_mailchimp_optin import acts, connect
from flask_mailchimp_optin.ledger import decided_by
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import MAPPING, Clock, Host, hosting

ADA = "ada@example.com"
FIELDS: list[dict[str, Any]] = [
    {"tag": "AGE", "name": "Age", "type": "number"},
    {"tag": "SINCE", "name": "Customer since", "type": "date"},
    {"tag": "SITE", "name": "Web site", "type": "url"},
    {"tag": "COLOUR", "name": "Colour", "type": "radio", "options": {"choices": ["Red", "Blue"]}},
    {"tag": "TEA", "name": "Tea", "type": "dropdown", "options": {"choices": ["Green", "Black"]}},
    {"tag": "POSTCODE", "name": "Postcode", "type": "zip"},
    {"tag": "MOBILE", "name": "Mobile", "type": "phone", "options": {"phone_format": "US"}},
]
GOOD: dict[str, Any] = {
    "AGE": "36",
    "SINCE": "2026-03-01T09:30",
    "SITE": "example.com",
    "COLOUR": "red",
    "TEA": "Green",
    "POSTCODE": 2134,
    "MOBILE": "(617) 555-0123",
    "BIRTHDAY": "1815-12-10",
    "ADDRESS": {"addr1": "1 Main Street", "city": "Boston", "state": "MA", "zip": "02134"},
}


def _detail(name: str) -> Any:
    return lambda customer: json.loads(customer.notes or "{}").get(name)


@pytest.fixture
def host(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
    """Its customers' details are in ``notes``; the list has a field of each type."""
    (list_id,) = sandbox.audiences
    audience = sandbox._account.audiences[list_id]
    for field in FIELDS:
        audience.add_field(**field)
    audience.marketing_permissions, audience.permissions = True, {"perm1": "Email", "perm2": "Post"}
    ids = sandbox.add_interests(list_id, "Drinks", ["Wine", "Beer"])
    mapping = replace(
        MAPPING,
        merge_fields={tag: _detail(tag) for tag in GOOD} | {"FNAME": "given_name"},
        interests={ids["Wine"]: _detail("wine"), ids["Beer"]: _detail("beer")},
        permissions={"perm1": _detail("email"), "perm2": _detail("post")},
        language=_detail("language"),
        depends_on=("notes",),
    )
    with hosting(tmp_path, sandbox, clock, mapping=mapping) as host:
        yield host


def member(host: Host) -> dict[str, Any]:
    return host.sandbox.members(host.list_id)[ADA]


def test_each_type_gets_its_value_as_it_takes_it(connected: Host) -> None:
    connected.add(ADA, wants_news=True, notes=json.dumps(GOOD))
    connected.work()
    fields = member(connected)["merge_fields"]
    assert fields["BIRTHDAY"] == "12/10"
    assert (fields["AGE"], fields["SINCE"], fields["SITE"]) == (
        36,
        "2026-03-01",
        "http://example.com",
    )
    assert (fields["COLOUR"], fields["TEA"]) == ("Red", "Green")
    assert (fields["POSTCODE"], fields["MOBILE"]) == ("02134", "617-555-0123")
    assert fields["ADDRESS"]["city"] == "Boston"
    assert connected.attention() == []


def test_one_value_that_does_not_fit_holds_up_neither_the_others_nor_consent(
    connected: Host,
) -> None:
    ada = connected.add(ADA, wants_news=True, notes=json.dumps(GOOD | {"AGE": "a lady's secret"}))
    connected.work()
    assert member(connected)["status"] == "subscribed"
    assert member(connected)["merge_fields"]["COLOUR"] == "Red"
    assert member(connected)["merge_fields"]["AGE"] == ""
    (found,) = connected.attention()
    assert (found.reason, found.text) == ("merge_fields", "AGE was not sent. It is not a number.")
    assert connected.state(ada) == "subscribed"
    connected.change(ada, notes=json.dumps(GOOD))
    connected.work()
    assert member(connected)["merge_fields"]["AGE"] == 36
    assert connected.attention() == []


def test_a_value_that_does_not_fit_any_more_leaves_the_one_before(connected: Host) -> None:
    ada = connected.add(ADA, wants_news=True, notes=json.dumps(GOOD))
    connected.work()
    connected.change(ada, notes=json.dumps(GOOD | {"TEA": "Earl Grey"}))
    connected.work()
    assert member(connected)["merge_fields"]["TEA"] == "Green"
    connected.change(ada, notes=json.dumps(GOOD | {"TEA": None}))
    connected.work()
    assert member(connected)["merge_fields"]["TEA"] == ""


def test_what_the_list_takes_by_now_is_sent_by_a_retry(connected: Host) -> None:
    connected.add(ADA, wants_news=True, notes=json.dumps(GOOD | {"TEA": "White"}))
    connected.work()
    audience = connected.sandbox._account.audiences[connected.list_id]
    tea = next(field for field in audience.merge_fields if field.tag == "TEA")
    tea.options["choices"].append("White")
    with connected.app.app_context():
        connect.refresh(connected.services, "")
        connect.store_lists(connected.services, "")
        assert acts.retry(connected.services, "", reason="merge_fields") == 1
    connected.work()
    assert member(connected)["merge_fields"]["TEA"] == "White"
    assert connected.attention() == []


def test_interests_permissions_and_language_follow_and_unset_leaves_them(connected: Host) -> None:
    said = {"wine": True, "beer": False, "email": True, "post": False, "language": "de-AT"}
    ada = connected.add(ADA, wants_news=True, notes=json.dumps(said))
    connected.work()
    wine, beer = list(connected.services.mapping.mapping.interests)
    assert member(connected)["interests"] == {wine: True, beer: False}
    assert member(connected)["language"] == "de"
    allowed = {
        row["marketing_permission_id"]: row["enabled"]
        for row in member(connected)["marketing_permissions"]
    }
    assert allowed == {"perm1": True, "perm2": False}
    before = len(connected.sandbox.requests)
    connected.change(ada, notes=json.dumps(said | {"unrelated": 1}))
    connected.work()
    assert len(connected.sandbox.requests) == before
    connected.change(ada, notes=json.dumps({"beer": True}))
    connected.work()
    assert member(connected)["interests"] == {wine: True, beer: True}
    assert member(connected)["language"] == "de"


def test_an_interest_that_mailchimp_does_not_know_stops_nobody(connected: Host) -> None:
    mapping = connected.services.mapping
    mapping.mapping = replace(mapping.mapping, interests={"gone": _detail("wine")})
    connected.add(ADA, wants_news=True, notes=json.dumps({"wine": True}))
    connected.work()
    assert member(connected)["status"] == "subscribed"
    assert [found.reason for found in connected.attention()] == ["merge_fields"]


def test_where_a_yes_came_from_goes_along_as_evidence(connected: Host) -> None:
    with decided_by(ip="203.0.113.77"):
        connected.add(ADA, wants_news=True)
    connected.work()
    assert member(connected)["ip_opt"] == "203.0.113.0"  # as the ledger keeps it
    assert member(connected)["timestamp_opt"]


def test_evidence_that_is_not_kept_is_not_sent(tmp_path: Path, sandbox: MailchimpSandbox) -> None:
    off: dict[str, Any] = {"MAILCHIMP_OPTIN_EVIDENCE_IP": "off"}
    with hosting(tmp_path, sandbox, Clock(), **off) as host:
        host.connect()
        with decided_by(ip="203.0.113.77"):
            host.add(ADA, wants_news=True)
        host.work()
        assert member(host)["status"] == "subscribed"
        assert not any("ip_opt" in str(request.body) for request in sandbox.requests)
