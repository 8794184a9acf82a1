"""Fixtures that every test may use: a turnable clock, a sandbox, a host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_mailchimp_optin.testing import MailchimpSandbox
from tests import canary
from tests.house import Clock, Host, hosting

#: As an installation brings it, for checkouts that are run without one.
pytest_plugins = ["flask_mailchimp_optin.testing.plugin"]


@pytest.fixture(autouse=True)
def _push_request_context() -> None:
    """Instead of pytest-flask's: one context around a test would make its requests share a session."""


@pytest.fixture(autouse=True)
def _nobody_is_named_in_a_log() -> Iterator[None]:
    with canary.listening() as told:
        yield
    assert told == []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> MailchimpSandbox:
    return MailchimpSandbox(clock=clock)


@pytest.fixture
def host(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
    """A host that is not connected yet."""
    with hosting(tmp_path, sandbox, clock) as made:
        yield made


@pytest.fixture
def connected(host: Host) -> Host:
    """A host that is connected and enabled, its initial sync done."""
    host.connect()
    return host


@pytest.fixture
def app(request: Any) -> Flask:
    """pytest-flask's name for the application."""
    host: Host = request.getfixturevalue("host")
    return host.app
