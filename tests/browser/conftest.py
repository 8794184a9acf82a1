"""A host served to a real browser, with a Redis of its own so that everything can be in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.redis_server import embedded_redis
from tests.house import Clock, Host, hosting

CHROMIUM = "/usr/bin/chromium"


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Requests are not worth a line each."""


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
    server = make_server("127.0.0.1", 0, host.app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/integrations/mailchimp"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
