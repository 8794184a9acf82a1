"""Reading many: pages, order, filters, fields."""

from __future__ import annotations

from typing import Any

import pytest

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox
from tests.sandbox.conftest import Api, Clock


def addresses(answer: Any) -> list[str]:
    return [m["email_address"].split("@")[0] for m in answer["members"]]


@pytest.fixture
def crowd(sandbox: MailchimpSandbox, list_id: str, clock: Clock) -> MailchimpSandbox:
    """p0 … p24, one every ten seconds."""
    for number in range(25):
        sandbox.subscribe(list_id, f"p{number}@example.com")
        clock.advance(10)
    return sandbox


@pytest.mark.usefixtures("crowd")
def test_ten_come_unless_more_are_asked_for(api: Api) -> None:
    path = "lists/{list}/members"
    assert len(api.get(path)["members"]) == 10
    assert len(api.get(path, count=1000)["members"]) == 25
    assert addresses(api.get(path, count=3, offset=23)) == ["p23", "p24"]


@pytest.mark.usefixtures("crowd")
def test_a_page_past_the_end_is_empty_and_tells_the_total(api: Api) -> None:
    answer = api.get("lists/{list}/members", offset=100)
    assert (answer["members"], answer["total_items"]) == ([], 25)


@pytest.mark.parametrize("query", [{"count": 1001}, {"count": "ten"}, {"offset": -1}])
def test_a_page_that_makes_no_sense_is_refused(api: Api, query: dict[str, Any]) -> None:
    answer = api.call("GET", "lists/{list}/members", params=query)
    assert (answer.status_code, answer.json()["title"]) == (400, "Invalid Resource")


def test_members_are_read_in_the_order_of_their_last_change(
    crowd: MailchimpSandbox, api: Api, list_id: str
) -> None:
    crowd.edit_profile(list_id, "p3@example.com", FNAME="New")
    path = "lists/{list}/members"
    ascending = addresses(api.get(path, sort_field="last_changed", sort_dir="ASC", count=100))
    assert ascending == [f"p{n}" for n in range(25) if n != 3] + ["p3"]
    descending = addresses(api.get(path, sort_field="last_changed", sort_dir="DESC", count=100))
    assert descending == ascending[::-1]
    assert addresses(api.get(path, count=4)) == ["p0", "p1", "p2", "p3"]


def test_what_changed_since_is_found(crowd: MailchimpSandbox, api: Api, list_id: str) -> None:
    crowd.unsubscribe(list_id, "p1@example.com")
    path, since = "lists/{list}/members", "2026-01-02T03:08:05+00:00"
    assert addresses(api.get(path, since_last_changed=since)) == ["p1", "p24"]
    before = addresses(api.get(path, before_last_changed=since, count=100))
    assert before == [f"p{n}" for n in range(24) if n != 1]
    assert addresses(api.get(path, since_last_changed="2026-01-02T04:08:05+01:00")) == ["p1", "p24"]


def test_archived_members_are_listed_only_when_asked_for(
    crowd: MailchimpSandbox, api: Api, list_id: str
) -> None:
    crowd.archive(list_id, "p1@example.com")
    path = "lists/{list}/members"
    assert api.get(path)["total_items"] == 24
    assert addresses(api.get(path, status="archived")) == ["p1"]
    assert crowd.members(list_id)["p1@example.com"]["status"] == "archived"


def test_the_order_knows_who_is_archived_and_who_came_back(
    crowd: MailchimpSandbox, api: Api, list_id: str
) -> None:
    query = {"sort_field": "last_changed", "count": 3, "offset": 0}
    path = "lists/{list}/members"
    assert addresses(api.get(path, **query)) == ["p0", "p1", "p2"]
    crowd.archive(list_id, "p1@example.com")
    assert addresses(api.get(path, **query)) == ["p0", "p2", "p3"]
    assert api.get(path, **query)["total_items"] == 24
    crowd.subscribe(list_id, "p1@example.com")
    assert addresses(api.get(path, **query)) == ["p0", "p2", "p3"]
    assert addresses(api.get(path, sort_field="last_changed", offset=24)) == ["p1"]


def test_members_are_filtered(crowd: MailchimpSandbox, api: Api, list_id: str) -> None:
    crowd.unsubscribe(list_id, "p7@example.com")
    path = "lists/{list}/members"
    assert addresses(api.get(path, status="unsubscribed")) == ["p7"]
    gone = {"status": "unsubscribed", "unsubscribed_since": "2026-01-02T03:08:15+00:00"}
    assert addresses(api.get(path, **gone)) == ["p7"]
    assert addresses(api.get(path, **{**gone, "unsubscribed_since": "2026-01-03T00:00:00Z"})) == []
    assert addresses(api.get(path, since_timestamp_opt="2026-01-02T03:08:05Z")) == ["p24"]
    assert addresses(api.get(path, before_timestamp_opt="2026-01-02T03:04:06Z")) == ["p0"]
    assert api.get(path, email_type="text")["total_items"] == 0
    one = api.member("p9@example.com")["unique_email_id"]
    assert addresses(api.get(path, unique_email_id=one)) == ["p9"]
    assert api.get(path, vip_only="true")["total_items"] == 0


@pytest.mark.parametrize(
    "query",
    [{"status": "gone"}, {"sort_field": "email"}, {"sort_dir": "up"}, {"since_last_changed": "x"}],
)
def test_a_filter_that_makes_no_sense_is_refused(api: Api, query: dict[str, str]) -> None:
    assert api.call("GET", "lists/{list}/members", params=query).status_code == 400


def test_pages_stay_right_while_others_write(
    crowd: MailchimpSandbox, api: Api, list_id: str
) -> None:
    query = {"sort_field": "last_changed", "count": 10}
    first = addresses(api.get("lists/{list}/members", **query))
    crowd.edit_profile(list_id, f"{first[0]}@example.com", FNAME="New")
    crowd.delete_permanently(list_id, f"{first[1]}@example.com")
    second = addresses(api.get("lists/{list}/members", **query))
    assert second == [f"p{n}" for n in range(2, 12)]


def test_many_changes_keep_the_order(
    sandbox: MailchimpSandbox, api: Api, list_id: str, clock: Clock
) -> None:
    emails = [f"p{n}@example.com" for n in range(300)]
    sandbox.add_members(list_id, emails)
    api.get("lists/{list}/members", sort_field="last_changed")
    clock.advance(5)
    for email in emails[::2]:
        sandbox.edit_profile(list_id, email, FNAME="New")
    answer = api.get("lists/{list}/members", sort_field="last_changed", count=1000)
    assert addresses(answer) == [f"p{n}" for n in range(1, 300, 2)] + [
        f"p{n}" for n in range(0, 300, 2)
    ]


def test_a_clock_that_is_set_back_confuses_no_page(
    sandbox: MailchimpSandbox, api: Api, list_id: str, clock: Clock
) -> None:
    sandbox.add_members(list_id, ["a@example.com", "b@example.com"])
    query = {"sort_field": "last_changed"}
    assert addresses(api.get("lists/{list}/members", **query)) == ["a", "b"]
    for seconds in (10, -10):
        clock.advance(seconds)
        sandbox.edit_profile(list_id, "a@example.com", FNAME=str(seconds))
    assert addresses(api.get("lists/{list}/members", **query)) == ["a", "b"]


@pytest.mark.usefixtures("crowd")
def test_fields_trim_an_answer(api: Api) -> None:
    answer = api.get(
        "lists/{list}/members", count=1, fields="members.email_address,members.merge_fields.FNAME"
    )
    assert answer == {
        "members": [{"email_address": "p0@example.com", "merge_fields": {"FNAME": ""}}]
    }
    answer = api.get("lists/{list}/members", count=1, exclude_fields="members,_links")
    assert set(answer) == {"list_id", "total_items"}


@pytest.mark.usefixtures("crowd")
def test_members_are_searched(api: Api) -> None:
    answer = api.get("search-members", query="P7@example.com")
    assert answer["exact_matches"]["total_items"] == answer["full_search"]["total_items"] == 1
    assert api.get("search-members", query="p1@")["full_search"]["total_items"] == 1


def test_only_ten_audiences_come_unless_more_are_asked_for(
    sandbox: MailchimpSandbox, api: Api
) -> None:
    for number in range(14):
        sandbox.add_audience(f"A{number}")
    answer = api.get("lists")
    assert (len(answer["lists"]), answer["total_items"]) == (10, 15)
    assert len(api.get("lists", count=1000)["lists"]) == 15
