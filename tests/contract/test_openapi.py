"""The judge itself: it must find what is wrong, or its silence means nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.openapi import Description

MEMBER = "/3.0/lists/abc/members/0123456789abcdef0123456789abcdef"
GOOD = {"email_address": "ada@example.com", "status_if_new": "subscribed"}


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        pytest.param("PUT", MEMBER, {}, GOOD | {"colour": "red"}, id="unknown property"),
        pytest.param("PUT", MEMBER, {}, GOOD | {"status": "archived"}, id="status not writable"),
        pytest.param("PUT", MEMBER, {}, GOOD | {"vip": "yes"}, id="wrong type"),
        pytest.param("PUT", MEMBER, {}, GOOD | {"timestamp_opt": "now"}, id="not a time"),
        pytest.param("PUT", MEMBER, {}, GOOD | {"email_address": None}, id="null"),
        pytest.param("PUT", MEMBER, {}, {"status": "pending"}, id="address missing"),
        pytest.param("PUT", MEMBER, {}, None, id="body missing"),
        pytest.param("PUT", MEMBER, {"skip": "true"}, GOOD, id="unknown parameter"),
        pytest.param(
            "PUT", MEMBER, {"skip_merge_validation": "True"}, GOOD, id="boolean not in lower case"
        ),
        pytest.param("GET", "/3.0/lists", {"count": "1001"}, None, id="page too large"),
        pytest.param("GET", "/3.0/lists", {"count": "ten"}, None, id="count not a number"),
        pytest.param("GET", "/3.0/lists", {}, {"a": 1}, id="body on a GET"),
        pytest.param(
            "GET", "/3.0/lists/a/members", {"sort_dir": "asc"}, None, id="value not in the list"
        ),
        pytest.param(
            "GET",
            "/3.0/lists/a/members",
            {"since_last_changed": "2026-01-01 10:00:00"},
            None,
            id="time without zone",
        ),
        pytest.param("GET", "/3.0/audiences", {}, None, id="unknown path"),
        pytest.param("POST", "/3.0/ping", {}, None, id="unknown method"),
        pytest.param(
            "POST", "/3.0/lists/a", {}, {"members": [GOOD | {"x": 1}]}, id="deep unknown property"
        ),
        pytest.param(
            "POST",
            "/3.0/lists/a",
            {},
            {"members": [GOOD | {"status_if_new": "archived"}]},
            id="newer property, wrong value",
        ),
    ],
)
def test_a_wrong_request_is_reported(
    description: Description, method: str, path: str, query: dict[str, str], body: Any
) -> None:
    assert description.check_request(method, path, query, body) != []


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        pytest.param("GET", "/3.0/", {}, None, id="root"),
        pytest.param("PUT", MEMBER, {"skip_merge_validation": "true"}, GOOD, id="upsert of one"),
        pytest.param("PUT", MEMBER, {}, {"email_address": "a@b.org"}, id="status no longer needed"),
        pytest.param("PATCH", MEMBER, {}, {"status": "unsubscribed"}, id="a part of a member"),
        pytest.param(
            "POST",
            "/3.0/lists/a",
            {},
            {
                "members": [GOOD | {"tags": ["Customers"], "merge_fields": {"FNAME": "Ada"}}],
                "update_existing": True,
                "sync_tags": False,
            },
            id="batch that leaves consent alone",
        ),
        pytest.param(
            "GET",
            "/3.0/lists/a/members",
            {"since_last_changed": "2026-01-01T10:00:00+00:00", "fields": "members.status"},
            None,
            id="what changed",
        ),
    ],
)
def test_a_right_request_passes(
    description: Description, method: str, path: str, query: dict[str, str], body: Any
) -> None:
    assert description.check_request(method, path, query, body) == []


@pytest.mark.parametrize(
    ("method", "path", "status", "answer"),
    [
        pytest.param("GET", "/3.0/ping", 200, {"health_status": 1}, id="wrong type"),
        pytest.param("GET", "/3.0/ping", 200, {"health": "good"}, id="unknown property"),
        pytest.param("GET", "/3.0/lists", 200, {"total_items": 0}, id="required one missing"),
        pytest.param("GET", "/3.0/ping", 404, {"title": "Gone"}, id="incomplete problem"),
        pytest.param("GET", "/3.0/ping", 302, {}, id="status not described"),
        pytest.param("DELETE", MEMBER, 204, {}, id="204 with a body"),
        pytest.param(
            "GET", MEMBER, 200, {"last_changed": "2026-01-01 10:00"}, id="time without zone"
        ),
    ],
)
def test_a_wrong_answer_is_reported(
    description: Description, method: str, path: str, status: int, answer: Any
) -> None:
    assert description.check_answer(method, path, status, answer) != []
