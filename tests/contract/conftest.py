"""Fixtures of the contract tests: Mailchimp's description, and a sandbox that is served."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox
from tests.contract.openapi import Description


@pytest.fixture
def _nobody_is_named_in_a_log() -> None:
    """Instead of the one for all tests: here others than we ask."""


@pytest.fixture(scope="session")
def description() -> Description:
    path = os.environ.get("MAILCHIMP_OPENAPI")
    if not path:
        pytest.skip(
            "MAILCHIMP_OPENAPI is not set: it names Mailchimp's OpenAPI file (marketing.json of "
            "github.com/mailchimp/mailchimp-client-lib-codegen, as OpenAPI 3.0)."
        )
    return Description(path)


@pytest.fixture
def sandbox() -> MailchimpSandbox:
    return MailchimpSandbox()


@pytest.fixture
def list_id(sandbox: MailchimpSandbox) -> str:
    return next(iter(sandbox.audiences))


@pytest.fixture
def url(sandbox: MailchimpSandbox) -> Iterator[str]:
    with sandbox.serve() as address:
        yield address
