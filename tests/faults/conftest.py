"""Real parts: a Redis server, and worker processes that may be killed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.redis_server import embedded_redis
from tests.faults.processes import Parts
from tests.faults.stage import Stage
from tests.house import Clock, hosting


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """``REDIS_URL``, or a server of our own."""
    if os.environ.get("REDIS_URL"):
        yield os.environ["REDIS_URL"]
        return
    with embedded_redis() as url:
        yield url


@pytest.fixture
def parts(tmp_path: Path, redis_url: str) -> Iterator[Parts]:
    """A connected host with a queue of its own; workers are started by the test."""
    queue = f"test-{uuid.uuid4().hex}"
    sandbox = MailchimpSandbox()
    config: dict[str, Any] = {
        "MAILCHIMP_OPTIN_QUEUE": queue,
        "MAILCHIMP_OPTIN_REDIS_URL": redis_url,
        "MAILCHIMP_OPTIN_TIMEOUT_S": 2.0,
    }
    with hosting(tmp_path, sandbox, Clock(real=True), **config) as host:
        host.connect()
        made = Parts(host, tmp_path, redis_url, queue)
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A host for many cells of a table."""
    made = Stage(tmp_path_factory.mktemp("stage"))
    yield made
    made.close()
