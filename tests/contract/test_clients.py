"""Mailchimp's official client, and mailchimp3, work against the sandbox as against Mailchimp."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox
from flask_mailchimp_optin.testing.sandbox.members import subscriber_hash

mailchimp_marketing = pytest.importorskip(
    "mailchimp_marketing", reason="Mailchimp's official client is not installed."
)
mailchimp3 = pytest.importorskip("mailchimp3")

ADA = "ada@example.com"


@pytest.fixture
def official(sandbox: MailchimpSandbox, url: str) -> Any:
    client = mailchimp_marketing.Client({"api_key": sandbox.api_key, "server": "us6", "timeout": 5})
    client.api_client.host = url.rstrip("/")
    return client


@pytest.fixture
def older(sandbox: MailchimpSandbox, url: str) -> Any:
    client = mailchimp3.MailChimp(mc_api=sandbox.api_key, timeout=5)
    client.base_url = url
    return client


def test_the_official_client_pings(official: Any) -> None:
    assert official.ping.get() == {"health_status": "Everything's Chimpy!"}


def test_the_official_client_lists_audiences(official: Any, list_id: str) -> None:
    answer = official.lists.get_all_lists(count=1000)
    assert [found["id"] for found in answer["lists"]] == [list_id]


def test_the_official_client_adds_changes_and_archives_a_member(
    official: Any, sandbox: MailchimpSandbox, list_id: str
) -> None:
    lists, key = official.lists, subscriber_hash(ADA)
    lists.add_list_member(list_id, {"email_address": ADA, "status": "subscribed"})
    lists.update_list_member(list_id, key, {"merge_fields": {"FNAME": "Ada"}})
    lists.set_list_member(list_id, key, {"email_address": ADA, "status_if_new": "pending"})
    found = lists.get_list_member(list_id, key)
    assert (found["status"], found["merge_fields"]["FNAME"]) == ("subscribed", "Ada")
    lists.delete_list_member(list_id, key)
    assert sandbox.members(list_id)[ADA]["status"] == "archived"


def test_the_official_client_adds_a_batch(official: Any, list_id: str) -> None:
    rows = [{"email_address": ADA, "status": "subscribed"}, {"email_address": "no", "status": "x"}]
    with pytest.raises(mailchimp_marketing.api_client.ApiClientError) as caught:
        official.lists.batch_list_members(list_id, {"members": rows})
    assert json.loads(caught.value.text)["title"] == "Invalid Resource"
    rows[1]["status"] = "subscribed"
    answer = official.lists.batch_list_members(list_id, {"members": rows, "update_existing": True})
    assert (answer["total_created"], answer["error_count"]) == (1, 1)


def test_the_official_client_registers_a_webhook(
    official: Any, sandbox: MailchimpSandbox, list_id: str
) -> None:
    def accepting(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b""]

    sandbox.deliver_to(accepting)
    body = {"url": "https://host.example/hook", "events": {"subscribe": True}}
    made = official.lists.create_list_webhook(list_id, body)
    assert made["signing_enabled"] is True
    assert len(made["signing_secret"]) == 64
    assert sandbox.webhooks(list_id)[0]["url"] == body["url"]


def test_the_official_client_reads_merge_fields(official: Any, list_id: str) -> None:
    answer = official.lists.get_list_merge_fields(list_id, count=100)
    tags = {found["tag"]: found["type"] for found in answer["merge_fields"]}
    assert tags == {
        "ADDRESS": "address",
        "FNAME": "text",
        "LNAME": "text",
        "PHONE": "phone",
        "BIRTHDAY": "birthday",
    }


def test_mailchimp3_reads_and_writes(older: Any, sandbox: MailchimpSandbox, list_id: str) -> None:
    assert older.ping.get()["health_status"]
    assert older.lists.all(get_all=True)["total_items"] == 1
    row = {"email_address": ADA, "status_if_new": "subscribed", "status": "subscribed"}
    older.lists.update_members(list_id, {"members": [row], "update_existing": True})
    older.lists.members.update(list_id, ADA, {"status": "unsubscribed"})
    assert sandbox.members(list_id)[ADA]["status"] == "unsubscribed"
    older.lists.members.delete_permanent(list_id, ADA)
    assert sandbox.members(list_id) == {}


def test_mailchimp3_reports_a_refusal(older: Any, sandbox: MailchimpSandbox, list_id: str) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.unsubscribe(list_id, ADA)
    with pytest.raises(mailchimp3.mailchimpclient.MailChimpError) as caught:
        older.lists.members.update(list_id, ADA, {"status": "subscribed"})
    assert caught.value.args[0]["title"] == "Member In Compliance State"
