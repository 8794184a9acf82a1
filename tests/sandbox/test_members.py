"""One member: how they look, how they change, how their address moves."""

from __future__ import annotations

from typing import Any

import pytest

from flask_mailchimp_optin.testing.sandbox import ImpossibleActError, MailchimpSandbox
from flask_mailchimp_optin.testing.sandbox.members import subscriber_hash
from tests.sandbox.conftest import Api, Clock

ADA = "Ada@example.com"
NEW = "lovelace@example.com"


def test_a_member_looks_as_mailchimp_shows_one(api: Api, list_id: str) -> None:
    found = api.add(ADA, merge_fields={"FNAME": "Ada", "LNAME": "Lovelace"}).json()
    assert found["id"] == "3e3417d7ef77d5932a6734b916515ed5"
    assert found["email_address"] == ADA
    assert found["full_name"] == "Ada Lovelace"
    assert found["merge_fields"] == {
        "ADDRESS": "",
        "FNAME": "Ada",
        "LNAME": "Lovelace",
        "PHONE": "",
        "BIRTHDAY": "",
    }
    assert found["timestamp_opt"] == found["last_changed"] == "2026-01-02T03:04:05+00:00"
    assert found["timestamp_signup"] == ""
    assert found["ip_opt"] == "127.0.0.1"
    assert found["list_id"] == list_id
    assert "unsubscribe_reason" not in found


def test_only_an_unsubscribed_member_has_a_reason(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.unsubscribe(list_id, ADA, reason="abuse")
    assert api.member(ADA)["unsubscribe_reason"]
    api.change(ADA, status="pending")
    sandbox.confirm(list_id, ADA)
    assert "unsubscribe_reason" not in api.member(ADA)


def test_the_integrations_word_on_the_optin_wins(api: Api) -> None:
    sent = {"timestamp_opt": "2025-06-01T12:00:00+02:00", "ip_opt": "198.51.100.4"}
    found = api.add(ADA, **sent).json()
    assert found["timestamp_opt"] == "2025-06-01T10:00:00+00:00"
    assert found["ip_opt"] == "198.51.100.4"


def test_last_changed_moves_with_any_edit_and_not_without(api: Api, clock: Clock) -> None:
    first = api.add(ADA, merge_fields={"FNAME": "Ada"}).json()["last_changed"]
    clock.advance(10)
    assert api.change(ADA, merge_fields={"FNAME": "Ada"}).json()["last_changed"] == first
    second = api.change(ADA, merge_fields={"FNAME": "A."}).json()["last_changed"]
    assert second == "2026-01-02T03:04:15+00:00"
    clock.advance(10)
    tags = {"tags": [{"name": "Customers", "status": "active"}]}
    api.call("POST", f"lists/{{list}}/members/{subscriber_hash(ADA)}/tags", json=tags)
    assert api.member(ADA)["last_changed"] == "2026-01-02T03:04:25+00:00"


def test_a_second_member_with_one_address_is_refused_whatever_the_case(api: Api) -> None:
    api.add(ADA)
    answer = api.add(ADA.upper())
    assert (answer.status_code, answer.json()["title"]) == (400, "Member Exists")


@pytest.mark.parametrize("key", [subscriber_hash(ADA), "ADA@example.com", "contact id"])
def test_a_member_is_found_by_hash_address_or_contact_id(api: Api, key: str) -> None:
    made = api.add(ADA).json()
    key = made["contact_id"] if key == "contact id" else key
    assert api.get(f"lists/{{list}}/members/{key}")["web_id"] == made["web_id"]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_an_address_moves_and_the_contact_stays(api: Api, method: str) -> None:
    made = api.add(ADA).json()
    body = {"email_address": NEW}
    moved = api.call(method, f"lists/{{list}}/members/{subscriber_hash(ADA)}", json=body).json()
    assert moved["id"] == subscriber_hash(NEW)
    stays = ("web_id", "contact_id", "unique_email_id", "status")
    assert [moved[name] for name in stays] == [made[name] for name in stays]
    assert api.member(ADA)["status"] == 404


def test_an_address_cannot_move_to_another_member(api: Api) -> None:
    api.add(ADA)
    api.add(NEW)
    answer = api.change(ADA, email_address=NEW)
    assert (answer.status_code, answer.json()["title"]) == (400, "Member Exists")
    assert api.member(ADA)["email_address"] == ADA


def test_an_address_cannot_move_to_a_forgotten_one(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.subscribe(list_id, NEW)
    sandbox.delete_permanently(list_id, NEW)
    api.add(ADA)
    answer = api.change(ADA, email_address=NEW)
    assert answer.json()["title"] == "Forgotten Email Not Subscribed"


def test_a_bounced_members_address_does_not_move(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.clean(list_id, ADA)
    assert api.change(ADA, email_address=NEW).status_code == 400
    assert ADA in sandbox.members(list_id)


@pytest.mark.parametrize("status", ["archived", "cleaned", "pending"])
def test_who_is_archived_bounced_or_waiting_cannot_be_archived(
    sandbox: MailchimpSandbox, api: Api, list_id: str, status: str
) -> None:
    sandbox.add_members(list_id, [ADA], status=status)
    answer = api.call("DELETE", f"lists/{{list}}/members/{subscriber_hash(ADA)}")
    assert (answer.status_code, answer.json()["title"]) == (405, "Method Not Allowed")
    assert answer.headers["Allow"] == "GET, PUT"


@pytest.mark.parametrize("status", ["subscribed", "unsubscribed"])
def test_others_can_be_archived(
    sandbox: MailchimpSandbox, api: Api, list_id: str, status: str
) -> None:
    sandbox.add_members(list_id, [ADA], status=status)
    answer = api.call("DELETE", f"lists/{{list}}/members/{subscriber_hash(ADA)}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.member(ADA)["status"] == "archived"


def test_deleting_permanently_leaves_nothing(api: Api, sandbox: MailchimpSandbox) -> None:
    api.add(ADA)
    path = f"lists/{{list}}/members/{subscriber_hash(ADA)}/actions/delete-permanent"
    assert api.call("POST", path).status_code == 204
    assert api.member(ADA)["status"] == 404
    assert sandbox.status_changes[-1].new is None


def test_tags_are_added_and_taken_away(api: Api) -> None:
    api.add(ADA, tags=["Customers", "VIP"])
    path = f"lists/{{list}}/members/{subscriber_hash(ADA)}/tags"
    rows = [{"name": "VIP", "status": "inactive"}, {"name": "Old", "status": "active"}]
    assert api.call("POST", path, json={"tags": rows}).status_code == 204
    assert [row["name"] for row in api.get(path)["tags"]] == ["Customers", "Old"]
    assert api.member(ADA)["tags_count"] == 2


def test_interests_are_those_of_the_audience(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    ids = sandbox.add_interests(list_id, "Pets", ["Cats", "Dogs"])
    found = api.add(ADA, interests={ids["Cats"]: True}).json()
    assert found["interests"] == {ids["Cats"]: True, ids["Dogs"]: False}
    assert api.add(NEW, interests={"nonsense": True}).json()["title"] == "Invalid Resource"


def test_marketing_permissions_are_those_of_the_audience(
    sandbox: MailchimpSandbox, api: Api
) -> None:
    api.list_id = sandbox.add_audience("GDPR", marketing_permissions=True)
    first = api.add(ADA).json()["marketing_permissions"][0]
    assert first["enabled"] is False
    key = first["marketing_permission_id"]
    wish = [{"marketing_permission_id": key, "enabled": True}]
    found = api.change(ADA, marketing_permissions=wish).json()["marketing_permissions"]
    assert [row["enabled"] for row in found] == [True, False, False]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("merge_fields", [], "Schema describes object, array found instead"),
        ("email_type", None, "Schema describes string, NULL found instead"),
        ("vip", "yes", "Schema describes boolean, string found instead"),
        ("timestamp_opt", "yesterday", "not a valid ISO 8601"),
    ],
)
def test_a_wrong_type_is_refused_and_named(api: Api, field: str, value: Any, message: str) -> None:
    wrong: dict[str, Any] = {field: value}
    problem = api.add(ADA, **wrong).json()
    assert problem["title"] == "Invalid Resource"
    assert problem["errors"][0]["field"] == field
    assert message in problem["errors"][0]["message"]


def test_a_refused_write_changes_nothing(api: Api) -> None:
    api.add(ADA)
    answer = api.change(ADA, email_address=NEW, merge_fields={"BIRTHDAY": "13/45"})
    assert answer.status_code == 400
    assert api.member(ADA)["email_address"] == ADA


def test_an_act_on_nobody_says_so(sandbox: MailchimpSandbox, list_id: str) -> None:
    with pytest.raises(ImpossibleActError, match="no member"):
        sandbox.confirm(list_id, "nobody@example.com")
    with pytest.raises(ImpossibleActError, match="no audience"):
        sandbox.subscribe("nowhere", ADA)
