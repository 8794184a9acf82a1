"""Bad behaviour on order: each is what a client meets on a bad day."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
import requests

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox
from tests.sandbox.conftest import Api, Clock

ADA = "ada@example.com"


def test_a_status_is_answered_with_mailchimps_document(sandbox: MailchimpSandbox, api: Api) -> None:
    sandbox.fail_next(429, times=2)
    answers = [api.call("GET", "ping") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].json()["title"] == "TooManyRequests"


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (502, "<html>Bad Gateway</html>", "text/html", "<html>Bad Gateway</html>"),
        (403, b"", "application/json", ""),
        (200, b"", "application/json", ""),
        (200, '{"members": [', "application/json", '{"members": ['),
        (200, {"lists": []}, "application/json", '{"lists": []}'),
    ],
)
def test_any_body_can_be_answered(
    sandbox: MailchimpSandbox, api: Api, status: int, body: object, kind: str, text: str
) -> None:
    sandbox.fail_next(status, body=body)  # type: ignore[arg-type]
    answer = api.call("GET", "lists")
    assert (answer.status_code, answer.text) == (status, text)
    assert answer.headers["Content-Type"].startswith(kind)


@pytest.mark.parametrize("path", ["POST /3.0/lists", re.compile(r"lists/\w+$")])
def test_only_matching_calls_fail(sandbox: MailchimpSandbox, api: Api, path: object) -> None:
    sandbox.fail_next(500, path=path)  # type: ignore[arg-type]
    assert api.call("GET", "ping").status_code == 200
    assert api.batch().status_code == 500
    assert api.batch().status_code == 200


def test_an_order_can_be_taken_back(sandbox: MailchimpSandbox, api: Api) -> None:
    sandbox.fail_next(500)
    sandbox.stop_failing()
    assert api.call("GET", "ping").status_code == 200


def test_a_failure_has_no_effect_unless_it_is_said_to(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.fail_next(502, body="<html>")
    api.add(ADA)
    assert sandbox.members(list_id) == {}
    sandbox.fail_next(502, body="<html>", applied=True)
    assert api.add(ADA).status_code == 502
    assert sandbox.members(list_id)[ADA]["status"] == "subscribed"


def test_a_redirect_leads_elsewhere(sandbox: MailchimpSandbox, api: Api) -> None:
    sandbox.fail_next(location="http://elsewhere.example/3.0/")
    answer = api.call("GET", "lists")
    assert (answer.status_code, answer.headers["Location"]) == (
        302,
        "http://elsewhere.example/3.0/",
    )


@pytest.mark.parametrize("applied", [False, True])
def test_a_connection_is_reset(
    sandbox: MailchimpSandbox, api: Api, list_id: str, applied: bool
) -> None:
    sandbox.fail_next(how="reset", applied=applied)
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        api.add(ADA)
    assert (ADA in sandbox.members(list_id)) is applied
    assert sandbox.requests[0].status == 0
    assert api.call("GET", "ping").status_code == 200
    assert sandbox.connections == 0


def test_half_an_answer_arrives(sandbox: MailchimpSandbox, api: Api, list_id: str) -> None:
    sandbox.fail_next(how="half")
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        api.add(ADA)
    assert ADA in sandbox.members(list_id)


def test_an_answer_drips(sandbox: MailchimpSandbox, api: Api) -> None:
    sandbox.fail_next(200, body={"a": 1}, how="drip", delay_s=0.001)
    assert api.get("lists") == {"a": 1}


def test_a_drip_keeps_its_connection_until_it_ends(sandbox: MailchimpSandbox, api: Api) -> None:
    sandbox.fail_next(200, body={"a": 1}, how="drip", delay_s=0.001)
    with api.call("GET", "lists", stream=True) as answer:
        assert sandbox.connections == 1
        assert answer.json() == {"a": 1}


def test_a_huge_body_comes(sandbox: MailchimpSandbox, api: Api) -> None:
    sandbox.fail_next(how="huge", size=3_000_000)
    answer = api.call("GET", "lists")
    assert len(answer.content) == int(answer.headers["Content-Length"]) == 3_000_000
    assert answer.json() == {}


def test_nothing_comes_until_the_client_gives_up(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.fail_next(how="hang", delay_s=30, applied=True)
    with pytest.raises(requests.Timeout):
        api.call("POST", "lists/{list}/members", json=_body(), timeout=0.1)
    assert ADA in sandbox.members(list_id)


def _body() -> dict[str, str]:
    return {"email_address": ADA, "status": "subscribed"}


def test_a_request_takes_effect_after_the_client_gave_up(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    landed = threading.Event()

    def webhook(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            landed.set()
        start_response("200 OK", [])
        return [b""]

    sandbox.deliver_to(webhook)
    api.hook("https://host.example/hook", sources={"user": False, "admin": False, "api": True})
    sandbox.fail_next(how="slow", delay_s=0.6)
    with pytest.raises(requests.Timeout):
        api.call("POST", "lists/{list}/members", json=_body(), timeout=0.05)
    assert ADA not in sandbox.members(list_id)
    assert landed.wait(5)
    assert ADA in sandbox.members(list_id)


def test_something_happens_just_before_an_answer(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    sandbox.before_answer(lambda: sandbox.unsubscribe(list_id, ADA), k=2, path="GET")
    assert [api.member(ADA)["status"] for _ in range(3)] == [
        "subscribed",
        "unsubscribed",
        "unsubscribed",
    ]


def test_calls_can_be_slow(sandbox: MailchimpSandbox, api: Api) -> None:
    sandbox.latency_s = 0.1
    with pytest.raises(requests.Timeout):
        api.call("GET", "ping", timeout=0.05)
    assert api.call("GET", "ping").elapsed.total_seconds() >= 0.1


def test_an_answer_can_be_rewritten_on_its_way(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.rewrite_next(lambda answer: {**answer, "new_members": []}, path="POST")
    answer = api.batch({"email_address": ADA, "status_if_new": "subscribed"}).json()
    assert (answer["new_members"], answer["total_created"]) == ([], 1)
    assert ADA in sandbox.members(list_id)


def test_something_happens_once_a_request_took_effect_and_before_it_is_answered(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    sandbox.after_effect(lambda: sandbox.unsubscribe(list_id, ADA), path="POST")
    answer = api.add(ADA).json()
    assert answer["status"] == "subscribed"
    assert api.member(ADA)["status"] == "unsubscribed"


@pytest.mark.parametrize(
    ("fault", "there"),
    [({"status": 500}, False), ({"status": 500, "applied": True}, True), ({"how": "half"}, True)],
)
def test_an_act_after_the_effect_comes_with_every_fault(
    sandbox: MailchimpSandbox, api: Api, list_id: str, fault: dict[str, Any], there: bool
) -> None:
    seen: list[bool] = []
    sandbox.after_effect(lambda: seen.append(ADA in sandbox.members(list_id)))
    sandbox.fail_next(**fault)
    with suppress(requests.RequestException):
        api.add(ADA)
    assert seen == [there]


def test_a_request_is_done_twice(sandbox: MailchimpSandbox, api: Api, list_id: str) -> None:
    sandbox.fail_next(how="twice")
    answer = api.call("POST", "lists/{list}/members", json=_body())
    assert (answer.status_code, answer.json()["title"]) == (400, "Member Exists")
    assert ADA in sandbox.members(list_id)


@pytest.mark.parametrize("applied", [False, True])
def test_the_answer_is_that_of_another_request(
    sandbox: MailchimpSandbox, api: Api, list_id: str, applied: bool
) -> None:
    bob = api.add("bob@example.com").json()
    sandbox.fail_next(how="other", applied=applied)
    assert api.add(ADA).json() == bob
    assert (ADA in sandbox.members(list_id)) is applied


def test_the_answer_of_another_request_is_empty_if_there_was_none(
    sandbox: MailchimpSandbox, api: Api
) -> None:
    sandbox.fail_next(how="other")
    assert api.get("lists") == {}


def test_a_late_request_is_not_answered_and_takes_effect_in_its_time(
    sandbox: MailchimpSandbox, api: Api, list_id: str, clock: Clock
) -> None:
    sandbox.fail_next(how="late", delay_s=120, path="POST")
    with pytest.raises(requests.ConnectionError):
        api.add(ADA)
    clock.advance(119)
    assert api.call("GET", "ping").status_code == 200
    assert sandbox.members(list_id) == {}
    clock.advance(1)
    assert api.call("GET", "ping").status_code == 200
    assert list(sandbox.members(list_id)) == [ADA]


def test_a_late_request_can_be_made_to_land(sandbox: MailchimpSandbox, api: Api) -> None:
    sandbox.fail_next(how="late", delay_s=120)
    with pytest.raises(requests.ConnectionError):
        api.add(ADA)
    assert (sandbox.land_late(everything=False), sandbox.land_late(), sandbox.land_late()) == (
        0,
        1,
        0,
    )


def test_a_watcher_sees_a_call_before_it_takes_effect(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    seen: list[tuple[str, int]] = []
    sandbox.watchers.append(lambda call: seen.append((call.method, len(sandbox.members(list_id)))))
    api.add(ADA)
    assert seen == [("POST", 0)]
