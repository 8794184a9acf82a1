"""The test host as a program of its own, for tests with real worker processes.

``flask --app tests.served:create_app …``; everything comes in by environment variables.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask

from tests.house import SharedClock, make_app


def create_app() -> Flask:
    """The same application as the test's own, in another process."""
    if level := os.environ.get("TEST_LOG"):
        logging.basicConfig(level=level)
    clock = os.environ.get("TEST_CLOCK")
    if batch := int(os.environ.get("TEST_BATCH", "0")):  # so that a few customers are very many
        from flask_mailchimp_optin import newcomers, send, settle, shards

        for module in (newcomers, send, settle):
            vars(module)["LARGEST_BATCH"] = batch
        shards.SHARED_FROM = 2 * batch
    return make_app(
        Path(os.environ["TEST_FOLDER"]),
        os.environ["TEST_SANDBOX_URL"],
        SharedClock(Path(clock)) if clock else lambda: datetime.now(UTC),
        MAILCHIMP_OPTIN_QUEUE=os.environ["TEST_QUEUE"],
        MAILCHIMP_OPTIN_REDIS_URL=os.environ["REDIS_URL"],
        MAILCHIMP_OPTIN_PUBLIC_URL=os.environ.get("TEST_PUBLIC_URL", "https://host.example.com"),
        MAILCHIMP_OPTIN_TIMEOUT_S=float(os.environ.get("TEST_TIMEOUT_S", "2")),
    )
