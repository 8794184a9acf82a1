"""Gauges for Prometheus: read when they are scraped, of all tenants together, and naming nobody."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_mailchimp_optin import MailchimpOptin, connect, metrics, overviews, state
from flask_mailchimp_optin.errors import ConfigError
from flask_mailchimp_optin.reasons import REASONS
from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.redis_server import embedded_redis
from tests.blocks import ROOT, blocks
from tests.canary import found_in
from tests.faults.processes import Parts
from tests.house import Clock, Host, db, hosting, make_app

PAGE = ROOT / "docs/monitoring.rst"


def read(host: Host) -> dict[str, float]:
    """What is measured, as ``name`` or ``name{value}``."""
    with host.app.app_context():
        return {
            f"{gauge.name}{{{value}}}" if gauge.label else gauge.name: number
            for gauge in metrics.gauges(state.of(host.app))
            for value, number in gauge.values.items()
        }


def changed(host: Host, before: dict[str, float]) -> dict[str, float]:
    """What is other than before, but for what only grows older."""
    now = read(host)
    return {name: now[name] for name in now if now[name] != before[name] and "age" not in name}


def test_a_site_where_all_is_well(connected: Host) -> None:
    found = read(connected)
    assert {name for name, number in found.items() if number} - {"last_sync_age_seconds"} == {
        "database_up",
        "connections{working}",
    }
    assert found["redis_up"] == 0
    assert "workers" not in found
    assert found["last_sync_age_seconds"] < 60
    assert {f"attention{{{reason}}}" for reason in REASONS} < set(found)


def test_changes_that_wait_and_grow_old(connected: Host, clock: Clock) -> None:
    before = read(connected)
    connected.add("ada@example.com", wants_news=True)
    connected.add("bob@example.com", wants_news=True)
    assert changed(connected, before) == {"changes_waiting": 2}
    clock.turn(minutes=20)
    found = read(connected)
    assert 1190 < found["oldest_change_age_seconds"] < 1260
    assert found["last_sync_age_seconds"] > 1190
    connected.work()
    assert read(connected)["oldest_change_age_seconds"] == 0


def test_an_opt_out_that_mailchimp_was_not_told(connected: Host, clock: Clock) -> None:
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    before = read(connected)
    connected.sandbox.fail_next(503, times=20)
    connected.change(ada, wants_news=False)
    connected.work()
    clock.turn(minutes=20)
    found = changed(connected, before)
    assert (found["optouts_due"], found["contacts_due"]) == (1, 1)
    assert read(connected)["oldest_optout_age_seconds"] > 1100
    connected.sandbox.fail_next(503, times=0)


def test_a_webhook_that_nobody_has_looked_at(connected: Host, clock: Clock) -> None:
    connected.add("ada@example.com", wants_news=True)
    connected.work()
    before = read(connected)
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.sandbox.wait_for_rings(10)
    assert changed(connected, before)["rings_waiting"] == 1
    clock.turn(minutes=3)
    assert 170 < read(connected)["oldest_ring_age_seconds"] < 240


def test_customers_who_need_attention_by_reason(connected: Host) -> None:
    before = read(connected)
    connected.sandbox.refuse("ada@example.com", "Invalid Resource", "looks fake or invalid")
    connected.add("ada@example.com", wants_news=True)
    connected.add("not an address", wants_news=True)
    connected.work()
    assert changed(connected, before) == {"attention{fake}": 1, "attention{customer}": 1}


def _revoked(host: Host) -> None:
    host.sandbox.revoke_key()
    host.add("ada@example.com", wants_news=True)
    host.work()


def _slowed_down(host: Host) -> None:
    host.sandbox.fail_next(429, times=1)
    host.add("ada@example.com", wants_news=True)
    host.work()


def _paused(host: Host) -> None:
    for options in ((), ("--pause",)):
        done = host.app.test_cli_runner().invoke(args=["mailchimp", "sync", *options])
        assert done.exit_code == 0


@pytest.mark.parametrize(
    ("act", "word"),
    [
        pytest.param(_revoked, "stopped", id="revoked"),
        pytest.param(_slowed_down, "slowed_down", id="slowed-down"),
        pytest.param(_paused, "paused", id="paused"),
        pytest.param(lambda host: host.settings(enabled=False), "off", id="off"),
    ],
)
def test_what_a_connection_is_at(connected: Host, act: Any, word: str) -> None:
    act(connected)
    found = read(connected)
    assert {one: found[f"connections{{{one}}}"] for one in metrics.STATES} == {
        one: float(one == word) for one in metrics.STATES
    }


def test_a_copy_is_at_another_site(connected: Host, tmp_path: Path, clock: Clock) -> None:
    config: dict[str, Any] = {
        "MAILCHIMP_OPTIN_PUBLIC_URL": "https://staging.example.com",
        "SQLALCHEMY_DATABASE_URI": connected.app.config["SQLALCHEMY_DATABASE_URI"],
    }
    app = make_app(tmp_path, connected.app.config["MAILCHIMP_OPTIN_API_URL"], clock, **config)
    assert read(Host(app, connected.sandbox, clock, Any))["connections{other_site}"] == 1
    with app.app_context():
        db.engine.dispose()


def test_without_the_database_it_says_so(tmp_path: Path, sandbox: Any, clock: Clock) -> None:
    nowhere: dict[str, Any] = {
        "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'no folder' / 'host.sqlite3'}"
    }
    app = make_app(tmp_path, "http://127.0.0.1:1/3.0/", clock, **nowhere)
    assert read(Host(app, sandbox, clock, Any)) == {"database_up": 0, "redis_up": 0}


def test_workers_and_their_jobs(tmp_path: Path, sandbox: MailchimpSandbox) -> None:
    queue = f"test-{uuid.uuid4().hex}"
    with embedded_redis() as url:
        config = {"MAILCHIMP_OPTIN_QUEUE": queue, "MAILCHIMP_OPTIN_REDIS_URL": url}
        with hosting(tmp_path, sandbox, Clock(real=True), **config) as host:
            parts = Parts(host, tmp_path, url, queue)
            found = read(host)
            assert (found["redis_up"], found["workers"], found["jobs_waiting"]) == (1, 0, 0)
            try:
                parts.worker()
                assert read(host)["workers"] == 1
            finally:
                parts.stop()


def test_every_gauge_is_explained(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> None:
    table = PAGE.read_text(encoding="utf-8").split("\nGauge ")[1].split("Calls to")[0]
    explained = set(re.findall(r"^``(\w+(?:\{\w+\})?)``", table, re.MULTILINE))
    with (
        embedded_redis() as url,
        hosting(tmp_path, sandbox, clock, MAILCHIMP_OPTIN_REDIS_URL=url) as host,
        host.app.app_context(),
    ):
        found = metrics.gauges(state.of(host.app))
    named = {f"{g.name}{{{g.label}}}" if g.label else g.name for g in found}
    assert explained == named
    asked = set(re.findall(r"mailchimp_optin_(\w+)", PAGE.read_text(encoding="utf-8")))
    assert asked - {"probes"} <= {gauge.name for gauge in found}
    states = re.findall(r"``(\w+)``", table.split("the first holds:")[1].split("last_sync")[0])
    assert states == list(metrics.STATES)


# With prometheus_client, if it is there


@pytest.fixture
def scraped(host: Host) -> FlaskClient:
    """The page's example, as a host has it."""
    pytest.importorskip("prometheus_client")
    host.app.config["METRICS_TOKEN"] = "for tests"
    exec(blocks(PAGE, "python")[0], {"mailchimp": host.mailchimp, "app": host.app})
    host.connect()
    return host.app.test_client()


def test_the_pages_example_is_scraped_by_who_may(host: Host, scraped: FlaskClient) -> None:
    host.add("ada@example.com", wants_news=True)
    assert scraped.get("/metrics").status_code == 403
    answer = scraped.get("/metrics", headers={"Authorization": "Bearer for tests"})
    assert answer.status_code == 200
    assert "mailchimp_optin_changes_waiting 1.0\n" in answer.text
    assert 'mailchimp_optin_connections{state="working"} 1.0\n' in answer.text
    assert found_in(answer.text) == []


def test_tenants_make_no_labels(host: Host, scraped: FlaskClient) -> None:
    with host.app.app_context():
        for tenant in ("acme", "umbrella"):
            made = connect.connect(host.services, tenant, host.sandbox.api_key)
            on = replace(overviews.read(host.services, tenant).settings, enabled=True)
            connect.save_settings(
                host.services, tenant, replace(on, master_list=made.lists[0].list_id)
            )
    text = scraped.get("/metrics", headers={"Authorization": "Bearer for tests"}).text
    assert 'mailchimp_optin_connections{state="working"} 3.0\n' in text
    assert "acme" not in text


def test_registering_reads_nothing(tmp_path: Path, clock: Clock) -> None:
    client = pytest.importorskip("prometheus_client")
    app = make_app(tmp_path, "http://127.0.0.1:1/3.0/", clock)
    mailchimp: MailchimpOptin = app.config["TEST_MAILCHIMP"]
    client.CollectorRegistry(auto_describe=True).register(mailchimp.metrics_collector(app))
    assert not (tmp_path / "host.sqlite3").exists()


_WITHOUT = """
import sys
sys.modules["prometheus_client"] = None  # as if it were not installed
from pathlib import Path
from tests.house import Clock, make_app
app = make_app(Path({folder!r}), "http://127.0.0.1:1/3.0/", Clock())
try:
    app.config["TEST_MAILCHIMP"].metrics_collector(app)
except Exception as error:
    print(type(error).__name__, error)
"""


def test_without_the_library_nothing_is_missing_until_it_is_asked_for(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(folder=str(tmp_path))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(ConfigError.__name__)
    assert "Flask-Mailchimp-Optin[metrics]" in done.stdout
