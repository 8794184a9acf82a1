"""POST /lists/{id}: up to 500 members in one call, answered 200 even when every one failed."""

from __future__ import annotations

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox
from tests.sandbox.conftest import Api

ADA, BOB = "ada@example.com", "bob@example.com"


def row(email: str, **more: object) -> dict[str, object]:
    return {"email_address": email, "status_if_new": "subscribed", **more}


def test_new_and_existing_members_are_told_apart(api: Api) -> None:
    api.add(ADA, "unsubscribed")
    answer = api.batch(row(ADA), row(BOB)).json()
    assert [(m["email_address"], m["status"]) for m in answer["new_members"]] == [
        (BOB, "subscribed")
    ]
    assert [(m["email_address"], m["status"]) for m in answer["updated_members"]] == [
        (ADA, "unsubscribed")
    ]
    assert (answer["total_created"], answer["total_updated"], answer["error_count"]) == (1, 1, 0)


def test_existing_members_are_error_rows_unless_updates_are_wanted(api: Api) -> None:
    api.add(ADA)
    answer = api.batch(row(ADA), update_existing=False)
    assert answer.status_code == 200
    (error,) = answer.json()["errors"]
    assert (error["email_address"], error["error_code"]) == (ADA, "ERROR_CONTACT_EXISTS")
    assert "please provide update_existing:true" in error["error"]


def test_an_address_twice_is_an_error_row_whatever_its_case(api: Api) -> None:
    answer = api.batch(row(ADA), row(ADA.upper()), row(ADA)).json()
    assert (answer["total_created"], answer["error_count"]) == (1, 2)
    assert answer["errors"][0]["error_code"] == "ERROR_GENERIC"
    forgiving = api.batch(row(BOB), row(BOB), query={"skip_duplicate_check": "true"}).json()
    assert (forgiving["total_created"], forgiving["error_count"]) == (1, 0)


def test_one_bad_row_fails_alone(api: Api) -> None:
    answer = api.batch(row(ADA, merge_fields={"BIRTHDAY": "x"}), row("none"), row(BOB)).json()
    assert [m["email_address"] for m in answer["new_members"]] == [BOB]
    first, second = answer["errors"]
    assert (first["field"], first["error_code"]) == ("BIRTHDAY", "ERROR_GENERIC")
    assert second["error"] == "Please provide a valid email address."


def test_all_rows_bad_is_still_200(api: Api) -> None:
    answer = api.batch(row("none"), row("nobody"))
    assert (answer.status_code, answer.json()["error_count"]) == (200, 2)


def test_a_status_of_the_wrong_kind_fails_the_whole_call(
    api: Api, sandbox: MailchimpSandbox, list_id: str
) -> None:
    answer = api.batch(row(ADA), row(BOB, status="archived"))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "members.item:1.status"
    assert sandbox.members(list_id) == {}


def test_at_most_500_members(api: Api) -> None:
    rows = [row(f"p{n}@example.com") for n in range(501)]
    assert api.batch(*rows).status_code == 400
    assert api.batch(*rows[:500]).json()["total_created"] == 500


def test_tags_are_added_or_synced(api: Api) -> None:
    api.batch(row(ADA, tags=["Customers", "VIP"]))
    api.batch(row(ADA, tags=["Old"]))
    assert [t["name"] for t in api.member(ADA)["tags"]] == ["Customers", "VIP", "Old"]
    api.batch(row(ADA, tags=["VIP"]), sync_tags=True)
    assert [t["name"] for t in api.member(ADA)["tags"]] == ["VIP"]


def test_a_status_is_a_stated_change(api: Api) -> None:
    api.add(ADA)
    answer = api.batch({"email_address": ADA, "status": "unsubscribed"}).json()
    assert answer["updated_members"][0]["status"] == "unsubscribed"


def test_a_new_member_needs_a_status(api: Api) -> None:
    answer = api.batch({"email_address": ADA}).json()
    assert (answer["error_count"], answer["errors"][0]["field"]) == (1, "status")
