"""Fixtures: a sandbox whose time stands still until told, served over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox
from flask_mailchimp_optin.testing.sandbox.members import subscriber_hash

ALL_EVENTS = dict.fromkeys(
    ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign"), True
)


@pytest.fixture
def _nobody_is_named_in_a_log() -> None:
    """Instead of the one for all tests: here others than we ask."""


class Clock:
    """A time that moves only when a test says so."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)


class Api:
    """An API client that hides nothing."""

    def __init__(self, url: str, key: str, list_id: str) -> None:
        self.url = url
        self.list_id = list_id
        self.session = requests.Session()
        self.session.auth = ("anybody", key)

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        path = path.replace("{list}", self.list_id)
        return self.session.request(
            method, self.url + path, timeout=more.pop("timeout", 10), allow_redirects=False, **more
        )

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, params=query).json()

    def member(self, email: str) -> Any:
        return self.get(f"lists/{{list}}/members/{subscriber_hash(email)}")

    def change(self, email: str, **body: Any) -> requests.Response:
        return self.call("PATCH", f"lists/{{list}}/members/{subscriber_hash(email)}", json=body)

    def put(self, email: str, query: dict[str, str] | None = None, **body: Any) -> Any:
        path = f"lists/{{list}}/members/{subscriber_hash(email)}"
        sent = {"email_address": email, **body}
        return self.call("PUT", path, json=sent, params=query)

    def add(self, email: str, status: str = "subscribed", **body: Any) -> requests.Response:
        sent = {"email_address": email, "status": status, **body}
        return self.call("POST", "lists/{list}/members", json=sent)

    def batch(self, *rows: Any, query: dict[str, str] | None = None, **body: Any) -> Any:
        sent = {"members": list(rows), "update_existing": True, **body}
        return self.call("POST", "lists/{list}", json=sent, params=query)

    def hook(self, url: str, **body: Any) -> requests.Response:
        sources = {"user": True, "admin": True, "api": False}
        sent = {"url": url, "events": ALL_EVENTS, "sources": sources, **body}
        return self.call("POST", "lists/{list}/webhooks", json=sent)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> MailchimpSandbox:
    return MailchimpSandbox(clock=clock)


@pytest.fixture
def list_id(sandbox: MailchimpSandbox) -> str:
    return next(iter(sandbox.audiences))


@pytest.fixture
def url(sandbox: MailchimpSandbox) -> Iterator[str]:
    with sandbox.serve() as address:
        yield address


@pytest.fixture
def api(sandbox: MailchimpSandbox, url: str, list_id: str) -> Iterator[Api]:
    client = Api(url, sandbox.api_key, list_id)
    yield client
    client.session.close()
