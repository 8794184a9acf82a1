"""Serving over HTTP: a free port, a clear error, a quick end."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import requests

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox


def test_the_address_is_the_apis(sandbox: MailchimpSandbox) -> None:
    with sandbox.serve() as url:
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/3.0/")
        assert requests.get(url, auth=("x", sandbox.api_key), timeout=5).status_code == 200


def test_a_busy_port_is_said_at_once(sandbox: MailchimpSandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(OSError, match=f"Port {port} on 127.0.0.1 is in use"),
            sandbox.serve(port),
        ):
            pytest.fail("The port was taken.")


def test_a_chosen_port_is_free_again_afterwards(sandbox: MailchimpSandbox) -> None:
    with sandbox.serve() as url:
        port = int(url.split(":")[2].split("/")[0])
        requests.get(url, timeout=5)
    with sandbox.serve(port) as again:
        assert again == url


def test_the_server_ends_when_the_block_fails(sandbox: MailchimpSandbox) -> None:
    with pytest.raises(ZeroDivisionError), sandbox.serve() as url:
        raise ZeroDivisionError
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_the_end_is_quick_even_while_a_call_hangs(sandbox: MailchimpSandbox) -> None:
    sandbox.fail_next(how="hang", delay_s=60)
    begun = threading.Event()
    sandbox.before_answer(begun.set)

    def call(url: str) -> None:
        with pytest.raises(requests.RequestException):
            requests.get(url + "ping", timeout=60)

    with sandbox.serve() as url:
        caller = threading.Thread(target=call, args=(url,))
        caller.start()
        assert begun.wait(5)
        before = time.monotonic()
    assert time.monotonic() - before < 1
    caller.join(5)
    assert not caller.is_alive()


def test_the_sandbox_serves_twice(sandbox: MailchimpSandbox) -> None:
    for _ in range(2):
        with sandbox.serve() as url:
            assert requests.get(url, auth=("x", sandbox.api_key), timeout=5).status_code == 200
