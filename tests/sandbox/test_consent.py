"""Who may become subscribed, and how: the rules that an integration must live with."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox, StatusChange
from tests.sandbox.conftest import Api, Clock

ADA = "ada@example.com"


def refusal(answer: object) -> tuple[int, str]:
    status = answer.status_code  # type: ignore[attr-defined]
    return status, answer.json().get("title", "")  # type: ignore[attr-defined]


def test_who_unsubscribed_themselves_cannot_be_subscribed_by_the_api(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.unsubscribe(list_id, ADA)
    for answer in (api.change(ADA, status="subscribed"), api.put(ADA, status="subscribed")):
        assert refusal(answer) == (400, "Member In Compliance State")
    assert api.batch({"email_address": ADA, "status": "subscribed"}).json()["error_count"] == 1
    assert api.member(ADA)["status"] == "unsubscribed"


def test_who_unsubscribed_themselves_may_be_asked_and_only_they_can_answer(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.unsubscribe(list_id, ADA)
    assert api.change(ADA, status="pending").json()["status"] == "pending"
    assert [(mail.kind, mail.to) for mail in sandbox.mails] == [("confirmation", ADA)]
    assert refusal(api.change(ADA, status="subscribed")) == (400, "Member In Compliance State")
    sandbox.confirm(list_id, ADA)
    assert api.member(ADA)["status"] == "subscribed"


def test_asking_again_without_change_mails_nobody(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    for _ in range(3):
        api.put(ADA, status="pending")
    assert len(sandbox.mails) == 1


@pytest.mark.parametrize("by", ["api", "admin"])
def test_whom_somebody_else_unsubscribed_may_be_subscribed_again(
    sandbox: MailchimpSandbox, api: Api, list_id: str, by: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    if by == "api":
        api.change(ADA, status="unsubscribed")
    else:
        sandbox.unsubscribe(list_id, ADA, by="admin")
    assert api.member(ADA)["status"] == "unsubscribed"
    assert api.change(ADA, status="subscribed").status_code == 200


def test_unsubscribing_again_by_api_does_not_lift_the_persons_own_no(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.unsubscribe(list_id, ADA)
    api.change(ADA, status="pending")
    api.change(ADA, status="unsubscribed")
    assert refusal(api.change(ADA, status="subscribed")) == (400, "Member In Compliance State")


@pytest.mark.parametrize("status", ["subscribed", "pending"])
def test_a_bounced_address_is_refused(
    sandbox: MailchimpSandbox, api: Api, list_id: str, status: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.clean(list_id, ADA)
    assert refusal(api.change(ADA, status=status)) == (400, "Member In Compliance State")
    assert api.member(ADA)["status"] == "cleaned"


@pytest.mark.parametrize("status", ["subscribed", "pending", "unsubscribed"])
def test_a_forgotten_address_is_refused_whatever_the_status(
    sandbox: MailchimpSandbox, api: Api, list_id: str, status: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.delete_permanently(list_id, ADA)
    expected = (400, "Forgotten Email Not Subscribed")
    assert refusal(api.add(ADA, status)) == expected
    assert refusal(api.put(ADA, status_if_new=status)) == expected
    rows = api.batch({"email_address": ADA, "status_if_new": status}).json()["errors"]
    assert "permanently deleted" in rows[0]["error"]


def test_a_forgotten_person_comes_back_through_the_hosted_form(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.delete_permanently(list_id, ADA)
    sandbox.subscribe(list_id, ADA)
    assert api.member(ADA)["status"] == "subscribed"


@pytest.mark.parametrize("way", ["add", "put", "batch", "patch"])
def test_an_archived_member_comes_back(
    sandbox: MailchimpSandbox, api: Api, list_id: str, way: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.archive(list_id, ADA)
    if way == "add":
        api.add(ADA)
    elif way == "put":
        api.put(ADA, status_if_new="subscribed")
    elif way == "batch":
        api.batch({"email_address": ADA, "status_if_new": "subscribed"})
    else:
        api.change(ADA, status="subscribed")
    assert api.member(ADA)["status"] == "subscribed"


def test_archiving_does_not_lift_the_persons_own_no(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.unsubscribe(list_id, ADA)
    sandbox.archive(list_id, ADA)
    assert refusal(api.add(ADA)) == (400, "Member In Compliance State")


def test_an_upsert_never_touches_an_existing_status(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    for number, act in enumerate((sandbox.unsubscribe, sandbox.clean)):
        email = f"p{number}@example.com"
        sandbox.subscribe(list_id, email)
        act(list_id, email)
    before = {email: m["status"] for email, m in sandbox.members(list_id).items()}
    rows = [
        {"email_address": email, "status_if_new": "subscribed", "merge_fields": {"FNAME": "New"}}
        for email in before
    ]
    answer = api.batch(*rows).json()
    assert {m["email_address"]: m["status"] for m in answer["updated_members"]} == before
    assert {m["merge_fields"]["FNAME"] for m in answer["updated_members"]} == {"New"}


def test_subscribed_skips_the_confirmation_of_a_double_optin_audience(
    sandbox: MailchimpSandbox, api: Api
) -> None:
    api.list_id = sandbox.add_audience("Careful", double_optin=True)
    assert api.add(ADA).json()["status"] == "subscribed"
    assert sandbox.mails == []


def test_a_person_who_signs_up_to_a_double_optin_audience_must_confirm(
    sandbox: MailchimpSandbox,
) -> None:
    careful = sandbox.add_audience("Careful", double_optin=True)
    sandbox.subscribe(careful, ADA)
    assert sandbox.members(careful)[ADA]["status"] == "pending"
    assert sandbox.members(careful)[ADA]["timestamp_opt"] == ""
    sandbox.confirm(careful, ADA)
    assert sandbox.members(careful)[ADA]["timestamp_opt"] == "2026-01-02T03:04:05+00:00"


def test_welcome_mails_go_out_where_the_audience_has_them(
    sandbox: MailchimpSandbox, api: Api
) -> None:
    api.list_id = sandbox.add_audience("Warm", has_welcome=True)
    api.add(ADA)
    api.put(ADA, status="subscribed")
    assert [mail.kind for mail in sandbox.mails] == ["welcome"]


def test_every_status_change_tells_who_and_which_request(
    sandbox: MailchimpSandbox, api: Api, list_id: str, clock: Clock
) -> None:
    api.get("ping")
    api.add(ADA)
    clock.advance(60)
    sandbox.unsubscribe(list_id, ADA)
    first, second = sandbox.status_changes
    assert first == StatusChange(
        list_id=list_id,
        address=ADA,
        old=None,
        new="subscribed",
        by="api",
        at="2026-01-02T03:04:05+00:00",
        request=1,
        moment=clock() - timedelta(seconds=60),
    )
    assert (second.old, second.new, second.by, second.request) == (
        "subscribed",
        "unsubscribed",
        "contact",
        None,
    )
    assert sandbox.requests[1].body["email_address"] == ADA


@pytest.mark.parametrize(
    ("email", "detail"),
    [
        ("someone@example.invalid", "looks fake or invalid, please enter a real email address"),
        ("fake@example.com", "looks fake or invalid, please enter a real email address"),
        ("not an address", "Please provide a valid email address."),
        ("two@@example.com", "Please provide a valid email address."),
        ("jürgen@example.com", "Please provide a valid email address."),
        (f"{'x' * 65}@example.com", "Please provide a valid email address."),
    ],
)
def test_an_address_that_is_none_is_refused(api: Api, email: str, detail: str) -> None:
    answer = api.add(email)
    assert refusal(answer) == (400, "Invalid Resource")
    assert detail in answer.json()["detail"]


def test_an_address_can_be_refused_for_a_while(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.refuse("Ada@example.com")
    assert "a lot of lists very recently" in api.add(ADA).json()["detail"]
    sandbox.accept(ADA)
    assert api.add(ADA).status_code == 200


def test_archived_cannot_be_written(api: Api) -> None:
    answer = api.add(ADA, "archived")
    assert refusal(answer) == (400, "Invalid Resource")
    assert answer.json()["errors"][0]["field"] == "status"


def test_a_new_address_is_told_with_the_status_that_came_along(
    sandbox: MailchimpSandbox, list_id: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.change_email(list_id, ADA, "lovelace@example.com")
    change = sandbox.status_changes[-1]
    assert (change.address, change.moved_from) == ("lovelace@example.com", ADA)
    assert (change.old, change.new, change.by) == (None, "subscribed", "contact")
