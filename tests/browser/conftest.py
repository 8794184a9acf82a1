"""Hosts served to a real browser, with a Redis of its own so that everything can be in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.redis_server import embedded_redis
from tests.browser.looks import served
from tests.browser.states import STATES, Scene, settle, staged
from tests.house import Clock, Host, hosting

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The machine's own Chromium, where there is one; in a container it has no sandbox of its own."""
    own = {"executable_path": CHROMIUM} if Path(CHROMIUM).exists() else {}
    return {**browser_type_launch_args, **own, "args": ["--no-sandbox"]}


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with embedded_redis() as url:
        yield url


@pytest.fixture
def host(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock, redis_url: str) -> Iterator[Host]:
    with hosting(tmp_path, sandbox, clock, MAILCHIMP_OPTIN_REDIS_URL=redis_url) as made:
        yield made


@pytest.fixture
def address(host: Host) -> Iterator[str]:
    """The pages' address."""
    with served(host.app) as url:
        yield url


@pytest.fixture(scope="module", params=STATES)
def scene(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    browser: Browser,
    redis_url: str,
) -> Iterator[Scene]:
    """A page in one of its states, made once for all that is checked about it."""
    with staged(tmp_path_factory.mktemp("host"), browser, redis_url) as made:
        settle(made, request.param)
        yield made


@pytest.fixture(params=["with JavaScript", "without JavaScript"])
def script(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "with JavaScript")


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser complains about: errors, refused resources, violations of the policy."""
    heard: list[str] = []
    yield heard
    assert heard == []
