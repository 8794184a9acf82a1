"""The recipe for several tenants."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from flask_mailchimp_optin import signals
from flask_mailchimp_optin.testing import MailchimpSandbox, connect, run_jobs
from tests.recipes.conftest import RECIPES
from tests.recipes.test_flask_login import ROOT, log_in

RED, BLUE = "1", "2"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(RECIPES))
    module = importlib.import_module("with_tenants")
    yield module
    signals.sync_stopped.disconnect(module.tell_the_company)  # other tests have no companies
    del sys.modules["with_tenants"]


def test_each_company_has_its_own_connection_list_settings_and_pages(
    module: ModuleType,
    config: dict[str, Any],
    sandbox: MailchimpSandbox,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = module.create_app(**config, MAILCHIMP_OPTIN_STOP_COUNT=0, MAILCHIMP_OPTIN_STOP_SHARE=0)
    red, blue = next(iter(sandbox.audiences)), sandbox.add_audience("Blue news")
    with app.app_context():
        module.db.create_all()
        module.db.session.add_all([module.Company(name="Red"), module.Company(name="Blue")])
        module.db.session.flush()
        for company in (1, 2):
            module.db.session.add(module.User(company_id=company, is_admin=True))
            ada = module.Client(company_id=company, mail="ada@example.com", wants_news=True)
            module.db.session.add(ada)
        module.db.session.commit()
    connect(app, sandbox, tenant=RED, master_list=red)
    run_jobs(app)
    assert (list(sandbox.members(red)), list(sandbox.members(blue))) == (["ada@example.com"], [])

    of_red, of_blue = app.test_client(), app.test_client()
    log_in(of_red, 1)
    log_in(of_blue, 2)
    assert "Blue news" in of_red.get(ROOT).text
    assert "Blue news" not in of_blue.get(ROOT).text  # its company is not connected yet

    run = app.test_cli_runner().invoke
    assert "Not connected" in run(args=["mailchimp", "status", "--tenant", BLUE]).output
    key = ["--api-key", sandbox.api_key, "--list", blue, "--enable"]
    assert run(args=["mailchimp", "connect", "--tenant", BLUE, *key]).exit_code == 0
    run_jobs(app)
    assert list(sandbox.members(blue)) == ["ada@example.com"]

    sandbox.unsubscribe(blue, "ada@example.com")  # nobody rings: the sync finds it, and asks
    with caplog.at_level(logging.WARNING, "with_tenants"):
        assert run(args=["mailchimp", "sync", "--tenant", BLUE]).exit_code == 0
        run_jobs(app)
    assert "the Mailchimp sync of Blue waits" in caplog.text
    with app.app_context():
        module.db.engine.dispose()
