"""The client: every way in which Mailchimp, or the way to it, can misbehave, over real connections."""

from __future__ import annotations

import gzip
import json
import logging
import re
import socket
import ssl
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from flask_mailchimp_optin.addresses import subscriber_hash
from flask_mailchimp_optin.client import Client, Write, is_whole, pages, parse_time
from flask_mailchimp_optin.errors import (
    KeyRefused,
    MailchimpError,
    MemberRefused,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RequestRefused,
    TryLater,
)
from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.webhook import TYPES
from tests.wire import Script, Wire, answer, drips, hangs, resets, says, wire

KEY = "fedcba9876543210fedcba9876543210-us6"  # the canary
ADDRESS = "canary.address@example.com"
LIST = "a6b5da1054"
CANARIES = (KEY, KEY[:32], ADDRESS, "canary", "Zm4tY2FuYXJ5")
SHORT_S = 0.4  # a timeout that a test can wait for


def read(client: Client) -> object:
    return client.account()


def change(client: Client) -> object:
    return client.set_status(LIST, ADDRESS, "pending")


def batch(client: Client) -> object:
    return client.write(LIST, [Write(address=ADDRESS, status_if_new="subscribed")])


def archive(client: Client) -> object:
    client.archive(LIST, ADDRESS)
    return None


WRITES = [
    pytest.param(change, id="patch"),
    pytest.param(batch, id="post"),
    pytest.param(archive, id="delete"),
]


def raised(call: Callable[[Client], object], url: str, timeout_s: float = 5.0) -> MailchimpError:
    """The error of one call, which nothing else may be, and which tells no secret."""
    made = Client(KEY, api_url=url, timeout_s=timeout_s)
    with made as client, pytest.raises(MailchimpError) as caught:
        call(client)
    _tells_nothing(caught.value)
    return caught.value


def _tells_nothing(error: BaseException) -> None:
    """No canary in the error, its causes, its contexts, or any way of printing them."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is None or found in seen:
            continue
        seen.append(found)
        waiting += [found.__cause__, found.__context__]
    printed = "".join(traceback.format_exception(error))
    texts = [printed, *(f"{e} {e!r} {e.args!r} {vars(e)!r}" for e in seen)]
    for canary in CANARIES:
        assert not any(canary in _without_source(text) for text in texts), canary
    # requests' exceptions hold the prepared request: header with the key, body with the address.
    assert not any(hasattr(e, "request") or hasattr(e, "response") for e in seen)


def _without_source(printed: str) -> str:
    """A traceback without the lines of this test's own source, which name the canaries."""
    own = re.compile(rf'  File "{re.escape(__file__)}".*?(?=\n  File|\n\S|\Z)', re.DOTALL)
    return own.sub("", printed)


def problem(status: int, title: str, detail: str = f"{ADDRESS} canary", **more: Any) -> bytes:
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    body = json.dumps({**document, "instance": "canary", **more}).encode()
    return answer(body, f"{status} X", "application/problem+json")


HTML = f"<html>canary {ADDRESS}</html>".encode()


# What Mailchimp's answers are to us


@pytest.mark.parametrize(
    ("whole", "on_read", "on_write", "status"),
    [
        pytest.param(problem(401, "API Key Invalid"), KeyRefused, KeyRefused, 401, id="401"),
        pytest.param(answer(b"", "401 X"), KeyRefused, KeyRefused, 401, id="401-empty"),
        pytest.param(
            problem(403, "User Disabled"), KeyRefused, KeyRefused, 403, id="403-deactivated"
        ),
        pytest.param(
            problem(403, "Wrong Datacenter"), KeyRefused, KeyRefused, 403, id="403-wrong-centre"
        ),
        pytest.param(
            problem(403, "Forbidden"), PermissionDenied, PermissionDenied, 403, id="403-role"
        ),
        pytest.param(answer(b"", "403 X"), TryLater, TryLater, 403, id="403-empty"),
        pytest.param(answer(HTML, "403 X", "text/html"), TryLater, TryLater, 403, id="403-html"),
        pytest.param(problem(429, "TooManyRequests"), TryLater, TryLater, 429, id="429"),
        pytest.param(answer(b"", "429 X"), TryLater, TryLater, 429, id="429-empty"),
        pytest.param(answer(HTML, "429 X", "text/html"), TryLater, TryLater, 429, id="429-html"),
        pytest.param(problem(404, "Resource Not Found"), NotFound, NotFound, 404, id="404"),
        pytest.param(
            answer(HTML, "404 X", "text/html"), TryLater, OutcomeUnknown, 404, id="404-html"
        ),
        pytest.param(answer(b"", "404 X"), TryLater, OutcomeUnknown, 404, id="404-empty"),
        pytest.param(
            problem(405, "Method Not Allowed"), RequestRefused, RequestRefused, 405, id="405"
        ),
        pytest.param(problem(414, "Too Deep"), RequestRefused, RequestRefused, 414, id="414"),
        pytest.param(
            problem(422, "Fields Invalid"), RequestRefused, RequestRefused, 422, id="422"
        ),
        pytest.param(answer(HTML, "400 X"), TryLater, OutcomeUnknown, 400, id="400-html"),
        pytest.param(
            problem(500, "InternalServerError"), TryLater, OutcomeUnknown, 500, id="500"
        ),
        pytest.param(answer(b"", "500 X"), TryLater, OutcomeUnknown, 500, id="500-empty"),
        pytest.param(
            answer(HTML, "502 X", "text/html"), TryLater, OutcomeUnknown, 502, id="502-html"
        ),
        pytest.param(
            problem(503, "Compliance Related"), TryLater, OutcomeUnknown, 503, id="503"
        ),
        pytest.param(answer(b"", "504 X"), TryLater, OutcomeUnknown, 504, id="504-empty"),
        pytest.param(answer(b"", "599 X"), TryLater, OutcomeUnknown, 599, id="599"),
        pytest.param(answer(b"[1, 2]", "500 X"), TryLater, OutcomeUnknown, 500, id="500-list"),
        pytest.param(answer(b"5", "500 X"), TryLater, OutcomeUnknown, 500, id="500-number"),
        pytest.param(answer(b"null", "400 X"), TryLater, OutcomeUnknown, 400, id="400-null"),
        pytest.param(answer(b'"no"', "400 X"), TryLater, OutcomeUnknown, 400, id="400-text"),
        pytest.param(
            answer(b'{"response": {"canary": 1}}', "500 X"),
            TryLater,
            OutcomeUnknown,
            500,
            id="500-confusing",
        ),
        pytest.param(
            answer(b"[" * 200_000, "500 X"), TryLater, OutcomeUnknown, 500, id="500-deep"
        ),
        pytest.param(answer(b"\xff\xfe{", "503 X"), TryLater, OutcomeUnknown, 503, id="503-junk"),
        pytest.param(problem(451, ADDRESS), RequestRefused, RequestRefused, 451, id="title-tells"),
    ],
)  # fmt: skip
def test_a_refusal_is_of_the_class_that_says_what_to_do_next(
    whole: bytes, on_read: type[MailchimpError], on_write: type[MailchimpError], status: int
) -> None:
    with wire(says(whole)) as server:
        for call, expected in ((read, on_read), (change, on_write), (batch, on_write)):
            error = raised(call, server.url)
            assert (type(error), error.status) == (expected, status)
            assert str(error).endswith(".")
        assert server.connections == 3
        assert len(server.requests) == 3  # nothing is tried again by itself


DEEP = b'{"a":' * 200_000


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(answer(b""), id="empty"),
        pytest.param(answer(b"canary"), id="no-json"),
        pytest.param(answer(b'{"account_id": "1", "stat'), id="half-json"),
        pytest.param(answer(HTML, kind="text/html"), id="html"),
        pytest.param(answer(b"[]"), id="list"),
        pytest.param(answer(b"7"), id="number"),
        pytest.param(answer(b"null"), id="null"),
        pytest.param(answer(b'"canary"'), id="text"),
        pytest.param(answer(DEEP), id="deep"),
        pytest.param(answer(b"\xff\xff\xff\xff"), id="bytes"),
        pytest.param(answer(b'{"status": ' + b"9" * 5000 + b"}"), id="huge-number"),
        pytest.param(answer(b"", "204 No Content"), id="204"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", id="half-the-bytes"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad-chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{", id="half-chunk"),
        pytest.param(
            answer(b"no gzip", "200 OK", "application/json", "Content-Encoding: gzip"), id="gzip"
        ),
        pytest.param(b"canary is no HTTP\r\n\r\n", id="no-http"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: canary\r\n" * 200 + b"\r\n", id="200-headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", id="long-header"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", id="two-lengths"
        ),
        pytest.param(b"", id="closed-without-a-word"),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_read_is_unknown_and_never_a_success(whole: bytes) -> None:
    with wire(says(whole, close=True)) as server:
        assert type(raised(read, server.url)) is TryLater  # reading changed nothing
        assert type(raised(change, server.url)) is OutcomeUnknown
        assert type(raised(batch, server.url)) is OutcomeUnknown
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("body", "call"),
    [
        pytest.param({}, read, id="account"),
        pytest.param({}, Client.audiences, id="lists"),
        pytest.param({"lists": None}, Client.audiences, id="lists-null"),
        pytest.param({"lists": {"id": "1"}}, Client.audiences, id="lists-object"),
        pytest.param({"lists": [{"name": "no id"}]}, Client.audiences, id="list-without-id"),
        pytest.param({}, lambda c: c.audience(LIST), id="list"),
        pytest.param({}, lambda c: c.member(LIST, ADDRESS), id="member"),
        pytest.param({"status": None}, lambda c: c.member(LIST, ADDRESS), id="member-null"),
        pytest.param({"status": 5}, lambda c: c.member(LIST, ADDRESS), id="member-number"),
        pytest.param({"total_items": 0}, lambda c: c.members(LIST), id="members"),
        pytest.param({}, lambda c: c.webhooks(LIST), id="webhooks"),
        pytest.param({}, lambda c: c.register_webhook(LIST, "https://x.org"), id="webhook"),
        pytest.param({}, change, id="status"),
        pytest.param({"new_members": "canary"}, batch, id="batch"),
    ],
)
def test_json_without_what_was_asked_for_is_unknown(
    body: object, call: Callable[[Client], object]
) -> None:
    with wire(says(answer(json.dumps(body).encode()))) as server:
        assert type(raised(call, server.url)) in (TryLater, OutcomeUnknown)


# The way to Mailchimp


def _refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("call", [pytest.param(read, id="get"), *WRITES])
def test_a_refused_connection_took_no_effect(call: Callable[[Client], object]) -> None:
    error = raised(call, f"http://127.0.0.1:{_refused_port()}/3.0/")
    assert (type(error), error.status) == (TryLater, None)
    assert "could not be reached" in str(error)


def test_a_server_that_accepts_nobody_took_no_effect() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:  # they fill the queue; a further SYN is dropped
                one.setblocking(False)
                one.connect_ex(listener.getsockname())
            started = time.monotonic()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/3.0/"
            assert type(raised(change, url, SHORT_S)) is TryLater
            assert time.monotonic() - started < SHORT_S + 1
        finally:
            for one in waiting:
                one.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(resets(), id="before-the-answer"),
        pytest.param(resets(HEAD), id="within-headers"),
        pytest.param(resets(HEAD + b'Content-Length: 99\r\n\r\n{"status"'), id="within-body"),
    ],
)
def test_a_reset_after_sending_is_unknown(script: Script, call: Callable[[Client], object]) -> None:
    with wire(script) as server:
        assert type(raised(call, server.url)) is OutcomeUnknown
        assert type(raised(read, server.url)) is TryLater
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(hangs(), id="silence"),
        pytest.param(hangs(HEAD), id="silence-after-headers"),
        pytest.param(hangs(HEAD + b"Content-Length: 99\r\n\r\n{"), id="silence-within-body"),
        pytest.param(drips(b"", b"HTTP/1.1 200 OK\r\n" * 99, 0.05), id="dripping-status-line"),
        pytest.param(drips(HEAD, b"X: y\r\n" * 99, 0.05), id="dripping-headers"),
        pytest.param(
            drips(HEAD + b"Content-Length: 999\r\n\r\n", b" " * 999, 0.05), id="dripping-body"
        ),
        pytest.param(
            drips(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 200, 0.02),
            id="dripping-chunks",
        ),
        pytest.param(
            drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0.02), id="dripping-interim-answers"
        ),
        pytest.param(
            drips(HEAD + b"\r\n", b" " * 999, 0.05), id="dripping-without-length"
        ),
    ],
)  # fmt: skip
def test_the_deadline_is_for_the_whole_answer(script: Script) -> None:
    with wire(script) as server:
        started = time.monotonic()
        error = raised(change, server.url, SHORT_S)
        took_s = time.monotonic() - started
    assert type(error) is OutcomeUnknown
    assert SHORT_S * 0.9 <= took_s < SHORT_S + 0.4


def test_a_slow_answer_within_the_deadline_is_taken() -> None:
    whole = answer(b'{"account_id": "1", "account_name": "Acme"}')
    script = drips(whole[:-40], whole[-40:], 0.01)
    with wire(script) as server, Client(KEY, api_url=server.url, timeout_s=5.0) as client:
        assert client.account().name == "Acme"


def test_the_connection_is_closed_after_a_deadline_and_the_next_call_works() -> None:
    good = answer(b'{"account_id": "1", "account_name": "Acme"}')

    def script(connection: socket.socket, request: bytes, over: Any) -> object:
        if len(server.requests) == 1:
            return hangs(HEAD + b"Content-Length: 99\r\n\r\n")(connection, request, over)
        return says(good)(connection, request, over)

    with wire(script) as server, Client(KEY, api_url=server.url, timeout_s=SHORT_S) as client:
        with pytest.raises(TryLater):
            client.account()
        assert client.account().name == "Acme"
        assert server.connections == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", [pytest.param(read, id="get"), *WRITES])
def test_a_redirect_is_never_followed(status: int, call: Callable[[Client], object]) -> None:
    with wire(says(answer())) as trap:
        moved = answer(b"", f"{status} X", "text/html", f"Location: {trap.url}")
        with wire(says(moved)) as server:
            error = raised(call, server.url)
            assert len(server.requests) == 1
        assert trap.connections == 0
    assert type(error) is (TryLater if call is read else OutcomeUnknown)
    assert error.status == status
    assert "redirect" in str(error)


@pytest.fixture
def served(sandbox: MailchimpSandbox) -> Iterator[Client]:
    """A client of the sandbox, whose first list is ``list_of(sandbox)``."""
    with sandbox.serve() as url, Client(sandbox.api_key, api_url=url, timeout_s=5.0) as client:
        yield client


def list_of(sandbox: MailchimpSandbox) -> str:
    return next(iter(sandbox.audiences))


def test_proxies_and_passwords_from_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password eve\n")
    netrc.chmod(0o600)
    good = answer(b'{"account_id": "1", "account_name": "Acme"}')
    with wire(says(good)) as trap, wire(says(good)) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{trap.port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NETRC", str(netrc))
        with Client(KEY, api_url=server.url, timeout_s=5.0) as client:
            assert client.account().name == "Acme"
        hosts: list[object] = []

        def resolve(host: object, *_: object, **__: object) -> object:
            hosts.append(host)
            raise socket.gaierror("a test resolves no names")

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with Client(KEY) as client, pytest.raises(TryLater):
            client.account()
        assert hosts == ["us6.api.mailchimp.com"]
        assert trap.connections == 0
        sent = server.requests[0]
    assert sent.startswith(b"GET /3.0/?fields=")
    assert b"ZXZl" not in sent  # "eve"
    assert b"Authorization: Basic " in sent


def _endless(sent: list[int], *, packed: bool) -> Script:
    chunk = gzip.compress(b" " * 50_000_000) if packed else b" " * 1_000_000

    def script(connection: socket.socket, _request: bytes, over: Any) -> object:
        kind = b"Content-Encoding: gzip\r\n" if packed else b""
        connection.sendall(HEAD + kind + b"Content-Length: 999999999999\r\n\r\n")
        while not over.is_set() and sum(sent) < 200_000_000:
            connection.sendall(chunk)
            sent.append(len(chunk))
        return "close"

    return script


@pytest.mark.parametrize("packed", [pytest.param(False, id="plain"), pytest.param(True, id="gzip")])
def test_an_endless_body_is_cut_off_at_the_limit(packed: bool) -> None:
    sent: list[int] = []
    with wire(_endless(sent, packed=packed)) as server:
        started = time.monotonic()
        assert type(raised(change, server.url, 10.0)) is OutcomeUnknown
        assert time.monotonic() - started < 5
    assert sum(sent) < 60_000_000


def test_one_connection_carries_all_calls_whatever_is_answered() -> None:
    good = answer(b'{"account_id": "1", "account_name": "Acme"}')
    others = [
        problem(404, "Resource Not Found"),
        problem(401, "API Key Invalid"),
        answer(HTML, "502 X"),
        answer(b"", "204 No Content"),
        answer(b"", "302 X", "text/html", "Location: http://127.0.0.1:1/"),
        answer(b"canary"),
    ]

    def script(connection: socket.socket, _request: bytes, _over: Any) -> None:
        turn = len(server.requests)
        connection.sendall(others[turn // 2 % len(others)] if turn % 2 else good)

    with wire(script) as server, Client(KEY, api_url=server.url, timeout_s=5.0) as client:
        for turn in range(1, 25):
            if turn % 2:
                with pytest.raises(MailchimpError):
                    client.account()
            else:
                assert client.account().name == "Acme"
        assert (len(server.requests), server.connections) == (24, 1)


# TLS


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Trusted, instead of those that certificates are usually from; by who asks, not by the machine."""
    made, file = trustme.CA(), tmp_path / "authority.pem"
    made.cert_pem.write_to_path(file)
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(file))
    return made


def _certified(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def test_a_certificate_that_holds_is_accepted(authority: trustme.CA) -> None:
    good = _certified(authority.issue_cert("127.0.0.1"))
    body = b'{"account_id": "1", "account_name": "Acme"}'
    with (
        wire(says(answer(body)), good) as server,
        Client(KEY, api_url=server.url, timeout_s=5.0) as c,
    ):
        assert c.account().name == "Acme"


@pytest.mark.parametrize("call", [read, change, batch])
@pytest.mark.parametrize("what", ["another-authority", "another-host", "expired"])
def test_nothing_is_sent_to_whose_certificate_does_not_hold(
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    what: str,
    call: Callable[[Client], object],
) -> None:
    others, past = trustme.CA(), datetime.now(UTC) - timedelta(days=1)
    certificate = {
        "another-authority": lambda: others.issue_cert("127.0.0.1"),
        "another-host": lambda: authority.issue_cert("127.0.0.2", "us6.api.mailchimp.com"),
        "expired": lambda: authority.issue_cert("127.0.0.1", not_after=past),
    }[what]()
    file = tmp_path / "others.pem"
    others.cert_pem.write_to_path(file)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(file))
    with (
        wire(says(answer()), _certified(certificate)) as server,
        Client(KEY, api_url=server.url, timeout_s=5.0) as client,
        pytest.raises(TryLater, match="certificate"),
    ):
        call(client)
    assert server.requests == []


# Secrets


def test_no_key_address_or_body_gets_into_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "urllib3.connectionpool", "requests", "mailchimp3.client"):
        caplog.set_level(logging.DEBUG, name)
    body = json.dumps({"status": "pending", "email_address": ADDRESS, "canary": KEY}).encode()
    scripts: list[Script] = [
        says(answer(body)),
        says(problem(400, "Member Exists")),
        says(problem(401, "API Key Invalid")),
        says(answer(b"canary", "500 X")),
        says(answer(b"canary")),
        says(b"canary\r\n\r\n", close=True),
        says(HEAD + b"no colon\r\nContent-Length: 2\r\n\r\n{}", close=True),
        resets(),
    ]
    for script in scripts:
        with wire(script) as server, Client(KEY, api_url=server.url, timeout_s=5.0) as client:
            for call in (read, change, batch, lambda c: c.member(LIST, ADDRESS)):
                try:
                    call(client)
                except MailchimpError as error:
                    _tells_nothing(error)
    assert any(record.name.startswith("urllib3") for record in caplog.records)  # it was listening
    for record in caplog.records:
        text = f"{record.getMessage()} {record.args!r} {record.__dict__!r} {record.exc_text}"
        assert not any(canary in text for canary in CANARIES), record.name


def test_nothing_that_may_be_printed_shows_a_secret(
    served: Client, sandbox: MailchimpSandbox
) -> None:
    sandbox.deliver_to(lambda _environ, start: (start("200 OK", []), [b""])[1])
    hook = served.register_webhook(list_of(sandbox), "https://host.example.com/hook/canary")
    assert hook.signing_secret
    for shown in (repr(hook), repr(served), str(served), repr(vars(served))):
        assert "canary" not in shown
        assert hook.signing_secret not in shown
    assert sandbox.api_key not in repr(served)


# The endpoints, against the sandbox


def test_the_account_is_named(served: Client, sandbox: MailchimpSandbox) -> None:
    assert served.account().name
    sandbox.revoke_key()
    with pytest.raises(KeyRefused):
        served.account()


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2005])
def test_all_lists_are_found_however_many(count: int) -> None:
    names = tuple(f"List {n}" for n in range(count))
    sandbox = MailchimpSandbox(audiences=names)
    with sandbox.serve() as url, Client(sandbox.api_key, api_url=url, timeout_s=5.0) as client:
        found = client.audiences()
    assert sorted(a.name for a in found) == sorted(names)
    assert len({a.list_id for a in found}) == count
    assert [int(r.query["offset"]) for r in sandbox.requests] == list(range(0, count + 1, 1000))


def test_a_server_that_repeats_a_page_for_ever_ends_the_paging() -> None:
    rows = [{"id": f"{n:010}", "name": "x"} for n in range(1000)]
    whole = answer(json.dumps({"lists": rows, "total_items": 10**9}).encode())
    with wire(says(whole)) as server, Client(KEY, api_url=server.url) as client:
        with pytest.raises(TryLater):  # not all of them were there
            client.audiences()
        assert len(server.requests) == 2


def test_a_list_that_is_there_twice_is_one() -> None:
    rows = [{"id": LIST, "name": "x"}] * 2
    with (
        wire(says(answer(json.dumps({"lists": rows}).encode()))) as server,
        Client(KEY, api_url=server.url) as client,
    ):
        assert [audience.list_id for audience in client.audiences()] == [LIST]


def test_lists_that_are_missing_from_an_answer_are_not_taken_for_gone() -> None:
    whole = answer(json.dumps({"lists": [], "total_items": 1}).encode())
    with (
        wire(says(whole)) as server,
        Client(KEY, api_url=server.url) as client,
        pytest.raises(TryLater),
    ):
        client.audiences()


@pytest.mark.parametrize("name", ["bob@example.com", None, 7])
def test_somebody_elses_status_is_never_taken_for_theirs(name: object) -> None:
    row = {"email_address": name, "status": "subscribed"}
    whole = answer(json.dumps(row).encode())
    with wire(says(whole)) as server, Client(KEY, api_url=server.url) as client:
        with pytest.raises(OutcomeUnknown):
            client.member(LIST, "ada@example.com")
        with pytest.raises(OutcomeUnknown):
            client.set_status(LIST, "ada@example.com", "pending")
        with pytest.raises(OutcomeUnknown):
            client.change_address(LIST, "ada@example.com", "new@example.com")


def test_where_no_answer_is_due_another_answer_is_none() -> None:
    with wire(says(answer(b"{}"))) as server, Client(KEY, api_url=server.url) as client:
        with pytest.raises(OutcomeUnknown):
            client.archive(LIST, ADDRESS)
        with pytest.raises(OutcomeUnknown):
            client.delete_permanently(LIST, ADDRESS)


def test_a_list_is_read_as_it_is(served: Client, sandbox: MailchimpSandbox) -> None:
    list_id = sandbox.add_audience('News "><script>', double_optin=True)
    sandbox.subscribe(list_id, ADDRESS)
    sandbox.confirm(list_id, ADDRESS)
    found = served.audience(list_id)
    assert (found.list_id, found.name, found.double_optin) == (list_id, 'News "><script>', True)
    assert found.member_count == 1
    assert found.subscribe_url.startswith("http")
    assert found.web_id
    with pytest.raises(NotFound):
        served.audience("0000000000")


@pytest.mark.parametrize(
    ("row", "name", "value"),
    [
        pytest.param({"subscribe_url_long": "javascript:alert(1)"}, "subscribe_url", "", id="js"),
        pytest.param({"subscribe_url_long": "http://[::1"}, "subscribe_url", "", id="bad-url"),
        pytest.param({"subscribe_url_long": None}, "subscribe_url", "", id="no-url"),
        pytest.param({"name": "a\x00b"}, "name", "ab", id="nul"),
        pytest.param({"name": "a\ud800b"}, "name", "a?b", id="half-a-surrogate"),
        pytest.param({"name": "n" * 999}, "name", "n" * 255, id="long-name"),
        pytest.param({"double_optin": "true"}, "double_optin", False, id="text-for-a-yes"),
        pytest.param({"stats": None}, "member_count", 0, id="no-stats"),
        pytest.param({"stats": {"member_count": "7"}}, "member_count", 0, id="text-for-a-count"),
        pytest.param({"web_id": 123}, "web_id", "123", id="number-for-an-id"),
    ],
)
def test_a_lists_odd_values_do_no_harm(row: dict[str, Any], name: str, value: object) -> None:
    whole = answer(json.dumps({"id": LIST, "name": "News", **row}).encode())
    with wire(says(whole)) as server, Client(KEY, api_url=server.url) as client:
        assert getattr(client.audience(LIST), name) == value


def test_a_member_is_read_by_any_form_of_the_address(
    served: Client, sandbox: MailchimpSandbox
) -> None:
    list_id = list_of(sandbox)
    sandbox.subscribe(list_id, "Ada.Lovelace@Example.com", FNAME="Ada")
    found = served.member(list_id, "ada.lovelace@example.com")
    assert found is not None
    assert (found.address, found.status) == ("ada.lovelace@example.com", "subscribed")
    assert found.last_changed is not None
    assert found.timestamp_opt is not None
    assert found.last_changed.tzinfo is UTC
    assert served.member(list_id, "nobody@example.com") is None
    with pytest.raises(NotFound):
        served.audience("0000000000")
    query = sandbox.requests[0].query
    assert set(query["fields"].split(",")) >= {"status", "last_changed", "timestamp_opt"}


def test_members_come_with_their_total_and_oldest_change_first(
    served: Client, sandbox: MailchimpSandbox, clock: Any
) -> None:
    list_id = list_of(sandbox)
    sandbox.subscribe(list_id, "first@example.com")
    clock.turn(hours=1)
    since = clock() - timedelta(minutes=1)
    sandbox.subscribe(list_id, "second@example.com")
    sandbox.subscribe(list_id, "third@example.com")
    sandbox.unsubscribe(list_id, "third@example.com")
    rows, total = served.members(list_id)
    assert (rows[0].address, total) == ("first@example.com", 3)
    assert len(served.members(list_id, offset=2)[0]) == 1
    assert {m.address for m in served.members(list_id, since=since)[0]} == {
        "second@example.com",
        "third@example.com",
    }
    assert [m.status for m in served.members(list_id, status="unsubscribed")[0]] == ["unsubscribed"]
    assert served.members(list_id, offset=99) == ([], 3)
    assert {r.query["count"] for r in sandbox.requests} == {"1000"}
    assert all("email_address" in r.query["fields"] for r in sandbox.requests)


def _paging(rows: list[dict[str, Any]]) -> Script:
    def script(connection: socket.socket, request: bytes, _over: Any) -> None:
        found = re.search(rb"offset=(\d+)", request)
        start = int(found[1]) if found else 0
        page = {"members": rows[start : start + 1000], "total_items": len(rows)}
        connection.sendall(answer(json.dumps(page).encode()))

    return script


@pytest.mark.parametrize("count", [0, 1, 995, 1000, 1001, 1995, 2500])
def test_all_pages_are_read_although_some_rows_cannot_be(count: int) -> None:
    rows: list[dict[str, Any]] = [
        {"email_address": f"c{n}@example.com", "status": "subscribed"} for n in range(count)
    ]
    odd: list[dict[str, Any]] = [
        {"email_address": "", "status": "archived"},
        {"email_address": "x\x00@example.com", "status": "subscribed"},
    ]
    rows[3:3] = odd
    with wire(_paging(rows)) as server, Client(KEY, api_url=server.url) as client:
        found = {m.address for page in pages(client, LIST, None) for m in page if m.address}
    assert found == {f"c{n}@example.com" for n in range(count)}


@pytest.mark.parametrize(
    "page",
    [
        {"members": [], "total_items": 1},
        {"members": [{"email_address": "ada@example.com"}]},
        {"members": [{"email_address": None, "status": "subscribed"}]},
        {"members": ["ada@example.com"], "total_items": 1},
    ],
    ids=["a row is missing", "no status", "no address", "no row"],
)
def test_a_page_that_is_not_whole_is_no_reading(page: dict[str, Any]) -> None:
    whole = answer(json.dumps(page).encode())
    with wire(says(whole)) as server, Client(KEY, api_url=server.url) as client:
        with pytest.raises(OutcomeUnknown):
            list(pages(client, LIST, None))
        rows, total = client.members(LIST)
        assert not is_whole(rows, 0, total)


# Batches


def test_a_batch_creates_updates_and_never_touches_a_status(
    served: Client, sandbox: MailchimpSandbox
) -> None:
    list_id = list_of(sandbox)
    sandbox.subscribe(list_id, "left@example.com")
    sandbox.unsubscribe(list_id, "left@example.com")
    told = served.write(
        list_id,
        [
            Write(address="new@example.com", status_if_new="subscribed", tags=("Customers",)),
            Write(
                address="left@example.com",
                status_if_new="subscribed",
                merge_fields={"FNAME": "Lefty"},
            ),
        ],
    )
    assert {a: m.status for a, m in told.members.items()} == {
        "new@example.com": "subscribed",
        "left@example.com": "unsubscribed",
    }
    assert told.refused == {}
    asked = sandbox.requests[-1]
    assert asked.query["skip_merge_validation"] == "true"
    assert asked.body["update_existing"] is True
    assert "status" not in asked.body["members"][0]
    assert sandbox.members(list_id)["left@example.com"]["merge_fields"]["FNAME"] == "Lefty"


ERROR = {"email_address": ADDRESS, "error": "", "error_code": "ERROR_GENERIC"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param(
            {"error": f"{ADDRESS} is in a compliance state due to unsubscribe, bounce, or "
                      "compliance review and cannot be subscribed."},
            "compliance", id="compliance"),
        pytest.param(
            {"error": f"{ADDRESS} was permanently deleted and cannot be re-imported. The contact "
                      "must re-subscribe to get back on the list."},
            "forgotten", id="forgotten"),
        pytest.param(
            {"error": f"{ADDRESS} has signed up to a lot of lists very recently; we're not "
                      "allowing more signups for now"},
            "too_many_lists", id="too-many-lists"),
        pytest.param(
            {"error": f"{ADDRESS} looks fake or invalid, please enter a real email address."},
            "fake", id="fake"),
        pytest.param(
            {"error": f"{ADDRESS} is already a list member.", "error_code": "ERROR_CONTACT_EXISTS"},
            "exists", id="exists"),
        pytest.param({"error_code": "ERROR_CONTACT_EXISTS"}, "exists", id="exists-by-code"),
        pytest.param(
            {"error": "Your merge fields were invalid.", "field": "PHONE",
             "field_message": "canary"},
            "merge_fields", id="merge-fields"),
        pytest.param({"field": "MMERGE6"}, "merge_fields", id="merge-field-by-field"),
        pytest.param({"error": "Something new."}, "invalid", id="unheard-of"),
        pytest.param({"error": None}, "invalid", id="null"),
        pytest.param(
            {"email_address": "compliance@example.com",
             "error": "compliance@example.com looks fake or invalid, please enter a real one."},
            "fake", id="address-that-reads-like-a-reason"),
        pytest.param(
            {"email_address": "forgotten@example.com", "error": "forgotten@example.com: no."},
            "invalid", id="address-that-reads-like-another"),
    ],
)  # fmt: skip
def test_an_error_row_is_of_the_class_that_its_words_say(row: dict[str, Any], reason: str) -> None:
    row = {**ERROR, **row}
    body = {"new_members": [], "updated_members": [], "errors": [row], "error_count": 1}
    script = says(answer(json.dumps(body).encode()))
    with wire(script) as server, Client(KEY, api_url=server.url) as client:
        told = client.write(LIST, [Write(address=row["email_address"], status_if_new="x")])
    refusal = told.refused[row["email_address"]]
    assert (refusal.reason, told.members) == (reason, {})
    _tells_nothing(refusal)
    assert row["email_address"] not in repr(refusal)


@pytest.mark.parametrize(
    ("title", "more", "reason"),
    [
        pytest.param("Member In Compliance State", {}, "compliance", id="compliance"),
        pytest.param("Forgotten Email Not Subscribed", {}, "forgotten", id="forgotten"),
        pytest.param("Member Exists", {}, "exists", id="exists"),
        pytest.param(
            "Invalid Resource",
            {"detail": f"{ADDRESS} looks fake or invalid, please enter a real email address."},
            "fake",
            id="fake",
        ),
        pytest.param(
            "Invalid Resource",
            {"detail": "Your merge fields were invalid.", "errors": [{"field": "PHONE"}]},
            "merge_fields",
            id="merge-fields",
        ),
        pytest.param(
            "Invalid Resource",
            {"errors": [{"field": "email_address", "message": "canary"}]},
            "invalid",
            id="the-address-itself",
        ),
        pytest.param("Invalid Resource", {"errors": "canary"}, "invalid", id="odd-errors"),
        pytest.param("Invalid Resource", {"errors": [None, 5]}, "invalid", id="odd-error-rows"),
        pytest.param(None, {"detail": None}, "invalid", id="null"),
    ],
)
def test_a_400_is_of_the_class_that_its_words_say(
    title: Any, more: dict[str, Any], reason: str
) -> None:
    with wire(says(problem(400, title, **{"detail": "No.", **more}))) as server:
        error = raised(change, server.url)
    assert isinstance(error, MemberRefused)
    assert (error.reason, error.status) == (reason, 400)


def _answered(rewrite: Callable[[dict[str, Any]], object]) -> Any:
    sandbox = MailchimpSandbox()
    with sandbox.serve() as url, Client(sandbox.api_key, api_url=url, timeout_s=5.0) as client:
        sandbox.rewrite_next(rewrite)
        writes = [Write(address=f"c{n}@example.com", status_if_new="subscribed") for n in range(4)]
        return client.write(list_of(sandbox), writes)


def test_rows_of_a_batch_may_be_missing_in_any_order_and_case() -> None:
    def shuffle(told: dict[str, Any]) -> object:
        rows = told["new_members"]
        rows[0]["email_address"] = "C0@EXAMPLE.com"
        told["new_members"] = [rows[3], None, "x", rows[0]]
        odd = {**rows[1], "email_address": "\x00"}
        told["updated_members"] = [odd, {"email_address": "c2@example.com"}]
        del told["errors"]
        return told

    told = _answered(shuffle)
    assert {a: m.status for a, m in told.members.items()} == {
        "c0@example.com": "subscribed",
        "c3@example.com": "subscribed",
    }
    assert told.refused == {}  # the others are unknown, neither done nor refused


def test_an_address_that_was_also_written_is_not_refused() -> None:
    def twice(told: dict[str, Any]) -> object:
        odd = {**ERROR, "email_address": None}
        told["errors"] = [{**ERROR, "email_address": "C1@example.com"}, odd, 7]
        return told

    told = _answered(twice)
    assert len(told.members) == 4
    assert told.refused == {}


# Single members and webhooks


def test_one_status_is_set_and_answered(served: Client, sandbox: MailchimpSandbox) -> None:
    list_id = list_of(sandbox)
    sandbox.subscribe(list_id, ADDRESS)
    sandbox.unsubscribe(list_id, ADDRESS)
    asked = served.set_status(list_id, ADDRESS, "pending")
    assert asked is not None
    assert (asked.address, asked.status) == (ADDRESS, "pending")
    assert sandbox.requests[-1].path.endswith(subscriber_hash(ADDRESS))
    with pytest.raises(MemberRefused) as refused:
        served.set_status(list_id, ADDRESS, "subscribed")
    assert refused.value.reason == "compliance"
    with pytest.raises(NotFound):
        served.set_status(list_id, "nobody@example.com", "pending")


def test_an_address_changes_and_the_member_stays(served: Client, sandbox: MailchimpSandbox) -> None:
    list_id = list_of(sandbox)
    sandbox.subscribe(list_id, "old@example.com")
    sandbox.subscribe(list_id, "taken@example.com")
    before = sandbox.members(list_id)["old@example.com"]["web_id"]
    moved = served.change_address(list_id, "old@example.com", "new@example.com")
    assert moved is not None
    assert (moved.address, moved.status) == ("new@example.com", "subscribed")
    assert sandbox.members(list_id)["new@example.com"]["web_id"] == before
    with pytest.raises(MemberRefused) as refused:
        served.change_address(list_id, "new@example.com", "taken@example.com")
    assert refused.value.reason == "exists"


def test_a_member_is_archived_once_and_erased_for_good(
    served: Client, sandbox: MailchimpSandbox
) -> None:
    list_id = list_of(sandbox)
    sandbox.subscribe(list_id, ADDRESS)
    served.archive(list_id, ADDRESS)
    assert sandbox.members(list_id)[ADDRESS]["status"] == "archived"
    with pytest.raises(RequestRefused) as refused:
        served.archive(list_id, ADDRESS)
    assert refused.value.status == 405
    served.delete_permanently(list_id, ADDRESS)
    assert served.member(list_id, ADDRESS) is None
    told = served.write(list_id, [Write(address=ADDRESS, status_if_new="subscribed")])
    assert told.refused[ADDRESS].reason == "forgotten"


def test_a_webhook_is_registered_shown_and_removed(
    served: Client, sandbox: MailchimpSandbox
) -> None:
    sandbox.deliver_to(lambda _environ, start: (start("200 OK", []), [b""])[1])
    list_id, url = list_of(sandbox), "https://host.example.com/hook/token"
    made = served.register_webhook(list_id, url)
    assert made.signing_secret
    (shown,) = served.webhooks(list_id)
    assert (shown.id, shown.url, shown.signing_secret) == (made.id, url, None)
    assert shown.events == dict.fromkeys(TYPES, True)
    assert shown.sources == {"user": True, "admin": True, "api": False}
    with pytest.raises(MemberRefused):
        served.register_webhook(list_id, url)
    served.remove_webhook(list_id, made.id)
    served.remove_webhook(list_id, made.id)  # gone already
    assert served.webhooks(list_id) == []


# Times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2026-01-02T03:04:05+00:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), id="utc"),
        pytest.param("2026-01-02T03:04:05-05:00", datetime(2026, 1, 2, 8, 4, 5, tzinfo=UTC), id="zone"),
        pytest.param("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), id="z"),
        pytest.param("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), id="naive"),
        pytest.param("", None, id="blank"),
        pytest.param(None, None, id="null"),
        pytest.param(1767323045, None, id="number"),
        pytest.param("yesterday", None, id="word"),
        pytest.param("0000-00-00 00:00:00", None, id="zeros"),
        pytest.param("9999-12-31T23:59:59-01:00", None, id="after-the-last-day"),
        pytest.param("0001-01-01T00:00:00+01:00", None, id="before-the-first-day"),
    ],
)  # fmt: skip
def test_times_are_aware_utc_or_none(text: object, expected: datetime | None) -> None:
    assert parse_time(text) == expected


@given(st.one_of(st.text(max_size=40), st.datetimes().map(str), st.none(), st.integers()))
def test_any_time_is_read_or_left_out(text: object) -> None:
    found = parse_time(text)
    assert found is None or found.tzinfo is UTC


def test_the_wire_itself_counts_connections() -> None:
    with wire(says(answer(), close=True)) as server:
        assert isinstance(server, Wire)
        for _ in range(3):
            raised(read, server.url)
        assert server.connections == 3
