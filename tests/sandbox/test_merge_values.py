"""What merge fields take, by type."""

from __future__ import annotations

from typing import Any

import pytest

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox
from tests.sandbox.conftest import Api

ADA = "ada@example.com"
HOME = {"addr1": "1 Main St", "city": "Town", "state": "CA", "zip": "94000"}


def add_field(api: Api, kind: str, **more: Any) -> str:
    body = {"name": kind, "type": kind, "tag": "X", **more}
    answer = api.call("POST", "lists/{list}/merge-fields", json=body)
    assert answer.status_code == 200, answer.text
    return "X"


@pytest.mark.parametrize(
    ("kind", "more", "value", "stored"),
    [
        ("text", {}, "x" * 255, "x" * 255),
        ("text", {}, 5, "5"),
        ("number", {}, "12", 12),
        ("number", {}, 1.5, 1.5),
        ("date", {}, "2026-02-03", "2026-02-03"),
        ("date", {}, "02/03/2026", "2026-02-03"),
        ("birthday", {}, "2/29", "02/29"),
        ("phone", {}, "+49 30 1234567", "+49 30 1234567"),
        ("phone", {"options": {"phone_format": "US"}}, "555-123-4567", "555-123-4567"),
        ("url", {}, "https://example.com/a", "https://example.com/a"),
        ("zip", {}, "94000", "94000"),
        ("dropdown", {"options": {"choices": ["A", "B"]}}, "B", "B"),
        ("address", {}, HOME, {**HOME, "addr2": "", "country": "US"}),
    ],
)
def test_a_fitting_value_is_stored(
    api: Api, kind: str, more: dict[str, Any], value: Any, stored: Any
) -> None:
    tag = add_field(api, kind, **more)
    assert api.add(ADA, merge_fields={tag: value}).json()["merge_fields"][tag] == stored


@pytest.mark.parametrize(
    ("kind", "more", "value", "message"),
    [
        ("text", {}, "x" * 256, "255 characters"),
        ("number", {}, "AAAAA", "Please enter a number"),
        ("number", {}, "nan", "Please enter a number"),
        ("date", {}, "31 May", "Please enter the date"),
        ("birthday", {}, "31/12", "MM/DD"),
        ("birthday", {}, "02/30", "MM/DD"),
        ("phone", {"options": {"phone_format": "US"}}, "0049", "###"),
        ("url", {}, "example", "Please enter a complete URL"),
        ("imageurl", {}, "example", "Please enter a complete URL"),
        ("zip", {}, "SW1A", "zip code"),
        ("radio", {"options": {"choices": ["m", "w"]}}, "z", "Value must be one of: m, w (not z)"),
        ("address", {}, {"addr1": "1 Main St"}, "Please enter a complete address"),
        ("address", {}, "1 Main St", "Please enter a complete address"),
        ("address", {}, {**HOME, "zip": ""}, "Please enter a complete address"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_named(
    api: Api, kind: str, more: dict[str, Any], value: Any, message: str
) -> None:
    tag = add_field(api, kind, **more)
    answer = api.add(ADA, merge_fields={tag: value})
    assert (answer.status_code, answer.json()["title"]) == (400, "Invalid Resource")
    (error,) = answer.json()["errors"]
    assert error["field"] == tag
    assert message in error["message"]


def test_null_is_no_value(api: Api) -> None:
    answer = api.add(ADA, merge_fields={"FNAME": None})
    assert answer.json()["errors"][0]["field"] == "merge_fields.FNAME"


def test_blank_clears_and_absent_keeps(api: Api) -> None:
    api.add(ADA, merge_fields={"FNAME": "Ada", "LNAME": "L."})
    merges = api.change(ADA, merge_fields={"FNAME": ""}).json()["merge_fields"]
    assert (merges["FNAME"], merges["LNAME"]) == ("", "L.")


def test_a_tag_that_the_audience_lacks_is_ignored(api: Api) -> None:
    found = api.add(ADA, merge_fields={"NONSENSE": "x"})
    assert found.status_code == 200
    assert "NONSENSE" not in found.json()["merge_fields"]


def test_a_required_field_blocks_unless_validation_is_skipped(api: Api) -> None:
    tag = add_field(api, "text", required=True)
    assert api.add(ADA).json()["errors"] == [{"field": tag, "message": "Please enter a value"}]
    answer = api.put(ADA, query={"skip_merge_validation": "true"}, status_if_new="subscribed")
    assert answer.status_code == 200


def test_skipping_validation_does_not_excuse_a_wrong_type(
    api: Api, sandbox: MailchimpSandbox
) -> None:
    query = {"skip_merge_validation": "true"}
    body = {"status_if_new": "subscribed", "merge_fields": {"BIRTHDAY": "x"}}
    assert api.put(ADA, query=query, **body).status_code == 400
    sandbox.quirks.skip_merge_validation_skips_types = True
    assert api.put(ADA, query=query, **body).status_code == 200


def test_a_status_change_alone_is_not_held_up_by_a_required_field(
    api: Api, sandbox: MailchimpSandbox, list_id: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    add_field(api, "text", required=True)
    assert api.change(ADA, status="unsubscribed").status_code == 200


def test_a_merge_field_is_changed_and_deleted(api: Api) -> None:
    fields = {f["tag"]: f for f in api.get("lists/{list}/merge-fields")["merge_fields"]}
    path = f"lists/{{list}}/merge-fields/{fields['PHONE']['merge_id']}"
    assert api.call("PATCH", path, json={"tag": "TEL"}).json()["tag"] == "TEL"
    assert api.call("DELETE", path).status_code == 204
    assert api.get(path)["status"] == 404
    assert "TEL" not in api.add(ADA).json()["merge_fields"]


def test_a_tag_exists_once(api: Api) -> None:
    body = {"name": "First", "type": "text", "tag": "FNAME"}
    assert api.call("POST", "lists/{list}/merge-fields", json=body).status_code == 400
