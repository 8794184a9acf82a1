"""The account: keys, roles, audiences, limits."""

from __future__ import annotations

import re
import threading

import pytest
import requests

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox
from tests.sandbox.conftest import Api


def test_a_made_up_key_looks_like_a_real_one() -> None:
    sandbox = MailchimpSandbox(datacentre="us19")
    assert re.fullmatch(r"[0-9a-f]{32}-us19", sandbox.api_key)


def test_an_account_may_have_no_audience() -> None:
    assert MailchimpSandbox(audiences=()).audiences == {}


@pytest.mark.parametrize("scheme", ["Bearer", "OAuth", "apikey"])
def test_a_key_may_come_as_a_token(sandbox: MailchimpSandbox, url: str, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {sandbox.api_key}"}
    assert requests.get(url + "ping", headers=headers, timeout=5).status_code == 200


@pytest.mark.parametrize(
    ("headers", "title"),
    [
        ({}, "API Key Missing"),
        ({"Authorization": "Basic !!!"}, "API Key Invalid"),
        ({"Authorization": "Bearer 0123456789abcdef0123456789abcdef-us6"}, "API Key Invalid"),
    ],
)
def test_a_wrong_key_is_refused(url: str, headers: dict[str, str], title: str) -> None:
    answer = requests.get(url, headers=headers, timeout=5)
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json; charset=utf-8"
    assert answer.json()["title"] == title
    assert answer.json()["instance"] == answer.headers["X-Request-Id"]


def test_a_revoked_key_is_dead_and_a_new_one_works(sandbox: MailchimpSandbox, api: Api) -> None:
    sandbox.revoke_key()
    assert api.call("GET", "ping").status_code == 401
    api.session.auth = ("x", sandbox.new_key())
    assert api.call("GET", "ping").status_code == 200


def test_a_deactivated_account_answers_nobody(sandbox: MailchimpSandbox, api: Api) -> None:
    sandbox.deactivate_account()
    answer = api.call("GET", "lists")
    assert (answer.status_code, answer.json()["title"]) == (403, "User Disabled")


def test_a_viewer_only_reads(sandbox: MailchimpSandbox, api: Api) -> None:
    sandbox.set_role("viewer")
    assert api.get("")["role"] == "viewer"
    assert api.add("ada@example.com").json()["title"] == "Forbidden"


def test_the_root_tells_whose_account_it_is(api: Api) -> None:
    found = api.get("")
    assert found["account_name"] == "Sandbox Ltd"
    assert found["email"].endswith("@sandbox.example")


def test_without_its_last_slash_the_root_redirects_to_plain_http(api: Api) -> None:
    answer = api.session.get(api.url.rstrip("/"), timeout=5, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (301, api.url)


@pytest.mark.parametrize(
    ("name", "status"),
    [("TooManyRequests", 429), ("UserDisabled", 403), ("InternalServerError", 500)],
)
def test_an_error_can_be_asked_for_by_header(api: Api, name: str, status: int) -> None:
    answer = api.call("GET", "ping", headers={"X-Trigger-Error": name})
    assert answer.status_code == answer.json()["status"] == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "batches", 404),
        ("GET", "lists/nowhere", 404),
        ("GET", "lists/nowhere/members", 404),
        ("POST", "lists/nowhere", 404),
        ("DELETE", "ping", 405),
    ],
)
def test_what_is_not_there_is_not_found(api: Api, method: str, path: str, status: int) -> None:
    assert api.call(method, path, json={"members": []}).status_code == status


def test_broken_json_is_refused(api: Api) -> None:
    answer = api.call("POST", "lists/{list}", data=b'{"members": [')
    assert (answer.status_code, answer.json()["title"]) == (400, "JSON Parse Error")


def test_an_audience_is_made_changed_and_deleted(api: Api, sandbox: MailchimpSandbox) -> None:
    body = {
        "name": "Customers",
        "permission_reminder": "You are our customer.",
        "email_type_option": False,
        "contact": {"company": "A", "address1": "B", "city": "C", "country": "DE"},
        "campaign_defaults": {"from_name": "A", "from_email": "", "subject": "", "language": "de"},
        "double_optin": True,
    }
    made = api.call("POST", "lists", json=body).json()
    assert (made["double_optin"], made["contact"]["country"]) == (True, "DE")
    path = f"lists/{made['id']}"
    changed = api.call("PATCH", path, json={"name": "Clients", "double_optin": False}).json()
    assert (changed["name"], changed["double_optin"]) == ("Clients", False)
    assert changed["permission_reminder"] == "You are our customer."
    assert api.call("DELETE", path).status_code == 204
    assert list(sandbox.audiences.values()) == ["Newsletter"]
    assert api.get(path)["status"] == 404


def test_an_audience_counts_its_members(sandbox: MailchimpSandbox, api: Api, list_id: str) -> None:
    sandbox.add_members(list_id, ["a@x.org", "b@x.org", "c@x.org"])
    sandbox.unsubscribe(list_id, "a@x.org")
    sandbox.delete_permanently(list_id, "b@x.org")
    stats = api.get("lists/{list}")["stats"]
    assert (stats["member_count"], stats["unsubscribe_count"]) == (1, 1)


def test_the_hosted_form_is_on_the_sandboxs_own_page(api: Api, url: str) -> None:
    form = api.get("lists/{list}")["subscribe_url_long"]
    assert form.startswith(url.removesuffix("3.0/") + "subscribe?")
    assert "Sign up to Newsletter" in requests.get(form, timeout=5).text


def test_one_call_too_many_at_once_is_refused_at_once(sandbox: MailchimpSandbox, api: Api) -> None:
    all_in = threading.Barrier(11)
    go_on = threading.Event()

    def stay() -> None:
        all_in.wait(5)
        go_on.wait(5)

    for number in range(1, 11):
        sandbox.before_answer(stay, k=number)
    for _ in range(10):
        threading.Thread(target=api.call, args=("GET", "ping"), daemon=True).start()
    all_in.wait(5)
    answer = api.call("GET", "ping")
    go_on.set()
    assert (answer.status_code, answer.json()["title"]) == (429, "TooManyRequests")
    assert "Retry-After" not in answer.headers
    assert sandbox.peak_connections == 11


def test_every_request_is_recorded_without_the_key(sandbox: MailchimpSandbox, api: Api) -> None:
    api.get("lists", count=5)
    api.add("ada@example.com")
    first, second = sandbox.requests
    assert (first.method, first.path, first.query, first.status) == (
        "GET",
        "/3.0/lists",
        {"count": "5"},
        200,
    )
    assert second.body == {"email_address": "ada@example.com", "status": "subscribed"}
    assert first.headers["Accept"] == "*/*"
    assert all("Authorization" not in record.headers for record in sandbox.requests)
    assert sandbox.api_key not in repr(sandbox.requests)
