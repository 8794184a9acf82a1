"""Every answer of the sandbox is one that Mailchimp's own description allows."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox
from flask_mailchimp_optin.testing.sandbox.calls import ENDPOINTS
from flask_mailchimp_optin.testing.sandbox.members import subscriber_hash
from tests.contract.openapi import Description

ADA = "ada@example.com"
ADA_PATH = f"members/{subscriber_hash(ADA)}"
ROW = {"email_address": ADA, "status_if_new": "subscribed", "merge_fields": {"FNAME": "Ada"}}
NEW_LIST = {
    "name": "Customers",
    "permission_reminder": "You are our customer.",
    "email_type_option": False,
    "contact": {"company": "A", "address1": "B", "city": "C", "country": "DE"},
    "campaign_defaults": {
        "from_name": "A",
        "from_email": "a@example.com",
        "subject": "",
        "language": "en",
    },
}
EVENTS = dict.fromkeys(("subscribe", "unsubscribe", "profile", "cleaned", "upemail"), True)
HOOK = {
    "url": "https://host.example/hook",
    "events": {**EVENTS, "campaign": False},
    "sources": {"user": True, "admin": True, "api": False},
}

# Method, path ({list} is the audience), query, body, expected status.
CALLS: list[tuple[str, str, dict[str, str], Any, int]] = [
    ("GET", "/", {}, None, 200),
    ("GET", "/", {"fields": "account_name,role"}, None, 200),
    ("GET", "/ping", {}, None, 200),
    ("GET", "/lists", {"count": "1000"}, None, 200),
    ("POST", "/lists", {}, NEW_LIST, 200),
    ("GET", "/lists/{list}", {}, None, 200),
    ("PATCH", "/lists/{list}", {}, {"double_optin": True}, 200),
    ("POST", "/lists/{list}", {}, {"members": [ROW], "update_existing": True}, 200),
    ("POST", "/lists/{list}", {"skip_merge_validation": "true"}, {"members": [ROW]}, 200),
    ("GET", "/lists/{list}/members", {"status": "unsubscribed"}, None, 200),
    ("GET", "/lists/{list}/members", {"count": "1001"}, None, 400),
    ("POST", "/lists/{list}/members", {}, {"email_address": ADA, "status": "pending"}, 400),
    ("POST", "/lists/{list}/members", {}, {"email_address": "b@x.org", "status": "pending"}, 200),
    ("GET", f"/lists/{{list}}/{ADA_PATH}", {}, None, 200),
    ("GET", "/lists/{list}/members/0123", {}, None, 404),
    ("PUT", f"/lists/{{list}}/{ADA_PATH}", {}, ROW, 200),
    ("PATCH", f"/lists/{{list}}/{ADA_PATH}", {}, {"status": "subscribed"}, 400),
    ("PATCH", f"/lists/{{list}}/{ADA_PATH}", {}, {"status": "pending"}, 200),
    (
        "POST",
        f"/lists/{{list}}/{ADA_PATH}/tags",
        {},
        {"tags": [{"name": "Customers", "status": "active"}]},
        204,
    ),
    ("GET", f"/lists/{{list}}/{ADA_PATH}/tags", {}, None, 200),
    ("DELETE", f"/lists/{{list}}/{ADA_PATH}", {}, None, 204),
    ("POST", f"/lists/{{list}}/{ADA_PATH}/actions/delete-permanent", {}, None, 204),
    ("GET", "/lists/{list}/growth-history", {}, None, 200),
    ("GET", "/lists/{list}/merge-fields", {}, None, 200),
    ("POST", "/lists/{list}/merge-fields", {}, {"name": "Size", "type": "number"}, 200),
    ("GET", "/lists/{list}/merge-fields/1", {}, None, 200),
    ("PATCH", "/lists/{list}/merge-fields/2", {}, {"required": True}, 200),
    ("DELETE", "/lists/{list}/merge-fields/5", {}, None, 204),
    ("GET", "/lists/{list}/interest-categories", {}, None, 200),
    ("GET", "/lists/{list}/interest-categories/{category}", {}, None, 200),
    ("GET", "/lists/{list}/interest-categories/{category}/interests", {}, None, 200),
    ("GET", "/search-members", {"query": "ada"}, None, 200),
    ("POST", "/lists/{list}/webhooks", {}, HOOK, 200),
    ("POST", "/lists/{list}/webhooks", {}, HOOK | {"url": "ftp://x"}, 400),
    ("GET", "/lists/{list}/webhooks", {}, None, 200),
    ("GET", "/lists/{list}/webhooks/{hook}", {}, None, 200),
    ("PATCH", "/lists/{list}/webhooks/{hook}", {}, {"sources": {"api": True}}, 200),
    ("DELETE", "/lists/{list}/webhooks/{hook}", {}, None, 204),
    ("DELETE", "/lists/{list}", {}, None, 204),
]


class _Prepared:
    """A sandbox with a member in every state, and one of everything else."""

    def __init__(self) -> None:
        self.sandbox = MailchimpSandbox()
        self.list_id = next(iter(self.sandbox.audiences))
        self.sandbox.add_interests(self.list_id, "Topics", ["Cats", "Dogs"])
        self.sandbox.subscribe(self.list_id, ADA, FNAME="Ada")
        self.sandbox.subscribe(self.list_id, "bounced@example.com")
        self.sandbox.clean(self.list_id, "bounced@example.com")
        self.sandbox.deliver_to(_accepting)

    def register(self, session: requests.Session, url: str, path: str, body: Any) -> str:
        """The hook's id: that of an existing one, unless the call itself makes the first."""
        if body is HOOK and path.endswith("/webhooks"):
            return ""
        answer = session.post(f"{url}lists/{self.list_id}/webhooks", json=HOOK)
        return str(answer.json()["id"])


def _accepting(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "status"),
    CALLS,
    ids=[f"{c[0]} {c[1].replace(ADA_PATH, 'members/ada')} {c[4]} {n}" for n, c in enumerate(CALLS)],
)
def test_the_answer_is_as_described(
    description: Description,
    method: str,
    path: str,
    query: dict[str, str],
    body: Any,
    status: int,
) -> None:
    here = _Prepared()
    if method == "PATCH" and ADA_PATH in path:
        here.sandbox.unsubscribe(here.list_id, ADA)
    session = requests.Session()
    session.auth = ("any", here.sandbox.api_key)
    with here.sandbox.serve() as url:
        hook = here.register(session, url, path, body)
        category = f"c0{here.list_id}"[:10]
        path = path.format(list=here.list_id, hook=hook, category=category)
        answer = session.request(
            method, f"{url.rstrip('/')}{path}", params=query, json=body, timeout=5
        )
    parsed = answer.json() if answer.content else None
    assert answer.status_code == status, answer.text
    # `fields` trims an answer below what the description requires.
    assert description.check_answer(method, path, answer.status_code, parsed) == []


def test_every_endpoint_of_the_sandbox_is_tried() -> None:
    def plain(rule: str) -> str:
        for name in ("<list_id>", "<key>", "<merge_id>", "<category_id>", "<webhook_id>"):
            rule = rule.replace(name, "*")
        return rule

    def tried(path: str) -> str:
        path = path.replace("{list}", "*").replace(ADA_PATH, "members/*")
        path = path.replace("{hook}", "*").replace("{category}", "*")
        parts = ["*" if part.isdigit() else part for part in path.split("/")]
        return "/".join(parts)

    known = {(method, plain(rule)) for method, rule in ENDPOINTS}
    assert known == {(call[0], tried(call[1])) for call in CALLS}


def test_every_endpoint_of_the_sandbox_is_one_of_mailchimps(description: Description) -> None:
    unknown = [
        (method, rule)
        for method, rule in ENDPOINTS
        if description.check_request(method, rule.replace("<", "").replace(">", ""), {}, None)
        == [f"{method} {rule.replace('<', '').replace('>', '')}: the description has no such call"]
    ]
    assert unknown == []


@pytest.mark.parametrize(("method", "path", "query", "body", "status"), CALLS)
def test_the_requests_of_these_tests_are_as_described(
    description: Description,
    method: str,
    path: str,
    query: dict[str, str],
    body: Any,
    status: int,
) -> None:
    wrong = query.get("count") == "1001"
    path = path.format(list="abc", hook="def", category="ghi")
    assert bool(description.check_request(method, path, query, body)) == wrong
