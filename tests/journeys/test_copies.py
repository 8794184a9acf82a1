"""A production database copied to staging sends nothing until a person says what the copy is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flask_mailchimp_optin import acts, connect, overviews
from flask_mailchimp_optin.errors import CopiedSite
from flask_mailchimp_optin.site import named
from flask_mailchimp_optin.testing import MailchimpSandbox, run_jobs
from tests.house import Clock, Customer, Host, db, hosting, make_app
from tests.views.admin import ROOT, Admin

STAGING = "https://staging.example.com"


@pytest.fixture
def production(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Host]:
    """A connected site with one subscribed customer, in a database that a test can copy."""
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    with hosting(tmp_path, sandbox, clock) as host:
        host.connect()
        host.add("ada@example.com", wants_news=True)
        host.work()
        yield host


@pytest.fixture
def copy(production: Host, tmp_path: Path) -> Iterator[Host]:
    """The copy: the same tables and keys, another public address, a database of the same name."""
    folder = tmp_path / "staging"
    folder.mkdir()
    dump(tmp_path / "host.sqlite3", folder / "host.sqlite3")
    url = production.app.config["MAILCHIMP_OPTIN_API_URL"]
    app = make_app(folder, url, production.clock, MAILCHIMP_OPTIN_PUBLIC_URL=STAGING)
    host = Host(app, production.sandbox, production.clock, Customer)
    host.list_id = production.list_id
    yield host
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def dump(database: Path, copy: Path) -> None:
    """As an operator would copy it, whatever its journal."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def live_a_little(copy: Host) -> None:
    """What testers do: say no for somebody, say yes for somebody else, change, delete, import."""
    copy.change(1, wants_news=False)
    copy.add("tester@example.com", wants_news=True)
    copy.delete(copy.add("gone@example.com", wants_news=True))
    copy.clock.turn(days=2)
    copy.work()


def webhooks(host: Host) -> list[str]:
    return [hook["url"] for hook in host.sandbox.webhooks(host.list_id)]


def test_nothing_is_sent_from_a_copy_and_production_goes_on(production: Host, copy: Host) -> None:
    before, hooks = len(copy.sandbox.requests), webhooks(production)
    live_a_little(copy)
    assert len(copy.sandbox.requests) == before
    assert copy.status("ada@example.com") == "subscribed"
    assert copy.state(1) == "copied"
    bob = production.add("bob@example.com", wants_news=True)
    production.work()
    assert production.state(bob) == "subscribed"
    assert webhooks(production) == hooks


def test_an_incoming_ring_changes_nothing_in_a_copy(production: Host, copy: Host) -> None:
    token = urlsplit(webhooks(production)[0]).path
    before = len(copy.sandbox.requests)
    copy.sandbox.deliver_to(copy.app)
    copy.sandbox.unsubscribe(copy.list_id, "ada@example.com")
    assert copy.sandbox.wait_for_rings(10)
    assert copy.app.test_client().get(token).status_code == 200
    copy.work()
    assert len(copy.rows("webhook_event")) == 1  # kept, should this be the same site after all
    assert copy.box(1) is True
    assert len(copy.sandbox.requests) == before


def test_who_says_that_it_is_a_copy_leaves_production_unharmed(
    production: Host, copy: Host
) -> None:
    before, hooks = len(copy.sandbox.requests), webhooks(production)
    admin = Admin(copy.app.test_client())
    admin.open()
    assert "Is this a copy of your site?" in admin.text
    assert "connected from host.example.com, and this site is staging.example.com" in admin.text
    assert "Master list" not in admin.text
    admin.send("/disconnect", confirm="y")
    assert "disconnected here. The other site was left as it is" in admin.text
    assert len(copy.sandbox.requests) == before
    assert webhooks(production) == hooks
    assert copy.state(1) == "not_connected"


def test_a_disconnected_copy_can_be_connected_for_its_own_trials(
    production: Host, copy: Host
) -> None:
    with copy.app.app_context():
        connect.disconnect(copy.services, "")
    copy.sandbox.deliver_to(copy.app)
    copy.connect()
    assert copy.state(1) == "subscribed"
    hosts = {urlsplit(url).hostname for url in webhooks(copy)}
    assert hosts == {"host.example.com", "staging.example.com"}  # each has its own


def test_a_site_that_moved_goes_on_once_somebody_says_so(production: Host, copy: Host) -> None:
    live_a_little(copy)
    production.sandbox.drop_rings(10)
    production.sandbox.subscribe(copy.list_id, "later@example.com")
    later = copy.add("later@example.com", wants_news=None)
    copy.sandbox.deliver_to(copy.app)
    admin = Admin(copy.app.test_client())
    admin.send("/moved", same_site="y")
    assert "The integration goes on from here" in admin.text
    assert "Master list" in admin.text
    copy.work()
    assert copy.status("ada@example.com") == "unsubscribed"
    assert copy.status("tester@example.com") == "subscribed"
    assert copy.box(later) is True
    (url,) = webhooks(copy)  # the old one is gone: it was this connection's
    assert url.startswith(STAGING)
    assert [run.kind for run in copy.rows("sync_run")][-1] == "daily"


def test_moving_needs_a_tick(copy: Host) -> None:
    admin = Admin(copy.app.test_client())
    answer = admin.send("/moved")
    assert answer.status_code == 422
    assert "Tick the box to confirm that this is the same site" in admin.text
    assert copy.state(1) == "copied"


@pytest.mark.parametrize(
    "act",
    [
        lambda s: connect.connect(s, "", "0123456789abcdef0123456789abcdef-us6"),
        lambda s: connect.refresh(s, ""),
        lambda s: connect.save_settings(s, "", overviews.read(s, "").settings),
        lambda s: acts.start_sync(s, "", "preview"),
        lambda s: acts.start_sync(s, ""),
        lambda s: acts.retry(s, ""),
        lambda s: acts.repair_webhooks(s, "", anew=True),
    ],
    ids=["new key", "refresh", "settings", "preview", "sync", "retry", "webhooks"],
)
def test_every_other_act_waits_for_the_answer(copy: Host, act: Any) -> None:
    before = len(copy.sandbox.requests)
    with copy.app.app_context(), pytest.raises(CopiedSite, match="the same one, moved, or a copy"):
        act(copy.services)
    copy.work()
    assert len(copy.sandbox.requests) == before


def test_the_commands_say_so_and_answer_too(production: Host, copy: Host) -> None:
    run = copy.app.test_cli_runner().invoke
    (found,) = [
        check
        for check in json.loads(run(args=["mailchimp", "doctor", "--json"]).output)
        if check["code"] == "site"
    ]
    assert found["level"] == "error"
    assert "flask mailchimp moved" in found["hint"]
    assert "this site is staging.example.com" in run(args=["mailchimp", "status"]).output
    assert "1 of 1 connections" in run(args=["mailchimp", "moved"]).output
    assert "0 of 1 connections" in run(args=["mailchimp", "moved"]).output
    copy.work()
    assert copy.state(1) == "subscribed"


def test_a_copy_is_disconnected_by_a_command_too(production: Host, copy: Host) -> None:
    hooks = webhooks(production)
    result = copy.app.test_cli_runner().invoke(args=["mailchimp", "disconnect", "--yes"])
    assert "they are the other site's" in result.output
    assert webhooks(production) == hooks


def test_the_activity_page_leads_to_the_answer(copy: Host) -> None:
    admin = Admin(copy.app.test_client())
    admin.open("/activity")
    assert "connected from host.example.com" in admin.text
    assert f'href="{ROOT}/">Open the settings' in admin.page
    assert "Sync now" not in admin.text


def test_a_worker_with_another_configuration_sends_nothing_and_is_noticed(
    production: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = production.app.config["MAILCHIMP_OPTIN_API_URL"]
    worker = make_app(tmp_path, url, production.clock, MAILCHIMP_OPTIN_PUBLIC_URL=None)
    production.change(1, wants_news=False)
    run_jobs(worker)
    assert production.status("ada@example.com") == "subscribed"
    assert "belongs to another site" in caplog.text
    production.clock.turn(minutes=11)
    doctor = production.app.test_cli_runner().invoke(args=["mailchimp", "doctor", "--offline"])
    assert "worker is running, with the same configuration as this site" in doctor.output
    production.work()
    assert production.status("ada@example.com") == "unsubscribed"
    with worker.app_context():
        db.engine.dispose()


def test_without_public_addresses_the_databases_name_tells_a_copy(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    with hosting(tmp_path, sandbox, clock, MAILCHIMP_OPTIN_PUBLIC_URL=None) as host:
        host.connect()
        dump(tmp_path / "host.sqlite3", tmp_path / "staging.sqlite3")
        app = make_app(
            tmp_path,
            host.app.config["MAILCHIMP_OPTIN_API_URL"],
            clock,
            MAILCHIMP_OPTIN_PUBLIC_URL=None,
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'staging.sqlite3'}",
        )
        with app.app_context():
            there = Host(app, sandbox, clock, Customer)
            assert "another name" in (overviews.read(there.services, "").other_site or "")
            db.session.remove()
            db.engine.dispose()


def test_what_ordinary_deployments_change_is_the_same_site() -> None:
    site = named("https://crm.example.com/", "/srv/releases/41/app.sqlite3")
    assert site == named("https://CRM.example.com:443", "/srv/releases/42/app.sqlite3")
    assert named("https://crm.example.com/eu/", "crm") == named("https://crm.example.com/eu", "crm")


@pytest.mark.parametrize(
    ("public_url", "database"),
    [
        (None, "crm"),
        ("https://staging.example.com", "crm"),
        ("https://crm.example.com:8443", "crm"),
        ("https://crm.example.com/staging", "crm"),
        ("https://crm.example.com", "crm_staging"),
        ("https://crm.example.com", None),
    ],
)
def test_what_a_copy_has_of_its_own_is_another_site(
    public_url: str | None, database: str | None
) -> None:
    assert named(public_url, database) != named("https://crm.example.com", "crm")
