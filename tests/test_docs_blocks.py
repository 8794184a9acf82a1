"""The code blocks of the documentation: each is run, or it is said why it is not."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, request

import flask_mailchimp_optin
from flask_mailchimp_optin.config import Config
from tests.blocks import ROOT, blocks
from tests.house import Customer, Host, db

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.rst"))
NAMES = [page.name for page in PAGES]

#: Where the blocks of a page are run, or why they are not.
BLOCKS = {
    ("api.rst", "python"): "here",
    ("architecture.rst", "text"): "a picture, compared with the layers in tests/test_docs.py",
    ("configuration.rst", "python"): "here",
    ("configuration.rst", "sh"): "here",
    ("contributing.rst", "text"): "targets of make, which must exist",
    ("developers.rst", "css"): "two values of a host's stylesheet",
    ("developers.rst", "html"): "one line; tests/example_app runs a frame of its own",
    ("developers.rst", "jinja"): "tests/test_docs.py",
    ("developers.rst", "python"): "here",
    ("developers.rst", "sh"): "a login for the sandbox, which tests/sandbox/test_login.py tries",
    ("developers.rst", "text"): "an address",
    ("monitoring.rst", "ini"): "a unit around doctor, which tests/test_doctor.py runs",
    ("monitoring.rst", "python"): "tests/test_metrics.py",
    ("monitoring.rst", "yaml"): "tests/test_metrics.py: the gauges are there; and two paths",
    ("operators.rst", "python"): "tests/faults/test_sentinel.py",
    ("operators.rst", "sh"): "tests/faults/test_sentinel.py",
    (
        "operators.rst",
        "text",
    ): "a crontab, an address, and what tests/journeys/test_copies.py does",
    ("quickstart.rst", "python"): "tests/test_quickstart.py",
    ("quickstart.rst", "sh"): "tests/test_quickstart.py, but for pip",
    ("quickstart.rst", "text"): "the processes: test_quickstart runs their work without Redis",
    ("recipes.rst", "sh"): "tests/recipes",
    ("recipes.rst", "text"): "tests/recipes/test_tenants.py",
    ("testing.rst", "python"): "tests/test_docs.py",
    ("upgrading.rst", "sh"): "tests/upgrades and tests/recipes/test_flask_migrate.py do the same",
}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_is_run_or_has_a_reason(page: Path) -> None:
    found = re.findall(
        r"^ *\.\. code-block:: (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {(page.name, language) for language in found} <= set(BLOCKS)


def test_the_environment_of_the_page_on_configuration_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for line in blocks(DOCS / "configuration.rst", "sh")[0].splitlines():
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, shlex.split(value)[0])
    names = {"app": Flask("a_host")}
    exec(blocks(DOCS / "configuration.rst", "python")[0], names)
    config = Config.read(names["app"].config)
    assert (len(config.ENCRYPTION_KEYS), config.CONNECTIONS) == (2, 4)


@pytest.mark.parametrize("name", ["developers.rst", "api.rst"])
def test_the_python_of_the_pages_for_developers_runs(host: Host, name: str) -> None:
    """One block after the other, as somebody who is signed in and sends a form."""
    key = host.add("grace@example.com")
    with host.app.test_request_context(method="POST", data={"wants_news": "y"}):
        names: dict[str, Any] = {
            "CustomerMapping": flask_mailchimp_optin.CustomerMapping,
            "Client": Customer,
            "db": db,
            "mailchimp": host.mailchimp,
            "request": request,
            "current_user": SimpleNamespace(name="Grace", is_admin=True),
            "customer": db.session.get(Customer, key),
        }
        for block in blocks(DOCS / name, "python"):
            exec(compile(block, name, "exec"), names)
            names["mailchimp"] = host.mailchimp  # a block may make one that no application has
        decisions = host.mailchimp.history_of(names["customer"])
    assert {decision.actor for decision in decisions} == {"Grace"}
