"""The log of webhooks: what was received, what came of it, and looking again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from flask_mailchimp_optin import connect
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import Clock, Host, hosting
from tests.views.admin import ROOT, Admin


@pytest.fixture
def admin(connected: Host) -> Admin:
    return Admin(connected.app.test_client())


def store(host: Host, number: int, outcome: str | None = "looked at", **values: Any) -> None:
    """So many webhooks of the first list, as if they had been received."""
    table, audience = host.services.tables.webhook_event, host.rows("audience")[0]
    so_far = len(host.rows("webhook_event"))
    rows = [
        {
            "audience_id": audience.id,
            "digest": f"{so_far + i:064}",
            "type": "profile",
            "address": "ada@example.com",
            "fired_at": host.clock(),
            "received_at": host.clock(),
            "verified": "token",
            "outcome": outcome,
            **values,
        }
        for i in range(number)
    ]
    with host.app.app_context():
        host.services.transact(lambda tx: tx.execute(insert(table), rows))


def test_none_yet(admin: Admin) -> None:
    admin.open("/activity/webhooks")
    assert "None yet." in admin.text
    assert "refused and not kept here" in admin.text


def test_before_connecting_it_leads_to_the_settings(host: Host) -> None:
    admin = Admin(host.app.test_client())
    admin.open("/activity/webhooks")
    assert "Mailchimp is not connected." in admin.text


def test_a_ring_is_told_with_all_its_values_but_no_address(connected: Host, admin: Admin) -> None:
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    admin.open("/activity/webhooks")
    assert "Unsubscribed Proved by its signature" in admin.text
    assert "Proof signature" in admin.text
    assert "Type unsubscribe" in admin.text
    assert "Outcome looked at" in admin.text
    assert f'href="{ROOT}/customers/{ada}"' in admin.page
    ring = connected.rows("webhook_event")[-1]
    assert f"Number {ring.id}" in admin.text
    assert f"Received {ring.received_at.isoformat(' ', 'milliseconds')[:23]}" in admin.text
    assert "Address last read at Mailchimp never" not in admin.text
    assert "ada@example.com" not in admin.page


def test_one_that_waits_says_for_how_long(connected: Host, admin: Admin) -> None:
    store(connected, 1, None, received_at=connected.clock() - timedelta(minutes=7))
    admin.open("/activity/webhooks")
    assert "Waiting for 7 minutes" in admin.text
    assert "Look again" not in admin.text.split("“Look again”")[0]
    admin.open("/activity")
    assert "Waiting for 7 minutes" in admin.text


def test_they_can_be_narrowed_down(connected: Host, admin: Admin) -> None:
    store(connected, 2)
    store(connected, 1, None, type="cleaned")
    store(connected, 1, "nobody here has this address", type="upemail")
    store(connected, 1, "not about a person", type="campaign", address=None)
    all_of_them = {
        "waiting": ["Address bounced"],
        "done": ["Profile edited"],
        "nobody": ["Address changed", "Campaign sent"],
    }
    for state, shown in all_of_them.items():
        admin.open(f"/activity/webhooks?state={state}")
        hidden = {word for words in all_of_them.values() for word in words} - set(shown)
        assert all(word in admin.text for word in shown)
        assert not any(word in admin.text for word in hidden)
    admin.open("/activity/webhooks?kind=cleaned")
    assert admin.page.count("<details>") == 1
    admin.open("/activity/webhooks?kind=cleaned&state=done")
    assert "There is none such." in admin.text
    admin.open("/activity/webhooks?before=1&state=done")
    assert "There is none such." in admin.text


@pytest.mark.parametrize("query", ["state=<odd>", "kind=done", "day=tomorrow", "day=9999-12-31"])
def test_what_makes_no_sense_narrows_nothing_down(
    connected: Host, admin: Admin, query: str
) -> None:
    store(connected, 5)
    admin.open(f"/activity/webhooks?{query}")
    assert admin.page.count("<details>") == 5


def test_a_day_is_the_last_that_is_shown(connected: Host, admin: Admin) -> None:
    for days in range(4):
        store(connected, 1, received_at=connected.clock() - timedelta(days=days))
    day = (connected.clock() - timedelta(days=2)).date()
    admin.open(f"/activity/webhooks?day={day}")
    assert admin.page.count("<details>") == 2
    assert f'value="{day}"' in admin.page


def test_it_says_how_long_one_waited(connected: Host, admin: Admin) -> None:
    connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    assert connected.sandbox.wait_for_rings(10)
    connected.clock.turn(minutes=4)
    connected.work()
    admin.open("/activity/webhooks")
    assert "Looked at after 4 minutes" in admin.text
    done = connected.app.test_cli_runner().invoke(args=["mailchimp", "webhook", "log"])
    assert "looked at, after 240." in done.output


def test_older_ones_are_a_page_away(connected: Host, admin: Admin) -> None:
    store(connected, 10_000)
    admin.open("/activity/webhooks")
    assert admin.page.count("<details>") == 25
    last = connected.rows("webhook_event")[-1].id
    assert f"before={last - 24}" in admin.page
    store(connected, 3)  # meanwhile; nobody moves to another page
    admin.open(f"/activity/webhooks?before={last - 24}")
    assert f"Number {last - 25} " in admin.text
    assert f"Number {last - 24} " not in admin.text
    assert "Newest" in admin.text


@pytest.mark.parametrize("before", ["x", "-1", "9" * 40, "\0"])
def test_a_place_without_sense_is_the_beginning(connected: Host, admin: Admin, before: str) -> None:
    store(connected, 1)
    admin.client.get(f"{ROOT}/activity/webhooks", query_string={"before": before})
    answer = admin.client.get(f"{ROOT}/activity/webhooks", query_string={"before": before})
    assert b"<details>" in answer.get_data()


def test_looking_again_asks_mailchimp_anew(connected: Host, admin: Admin) -> None:
    connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    ring = connected.rows("webhook_event")[-1]
    before = len(connected.calls("GET", "/members"))
    admin.send(
        "/activity/webhooks/replay?state=done", ring_id=ring.id, open_first="/activity/webhooks"
    )
    assert "This address is looked at again" in admin.text
    assert '<option value="done" selected>' in admin.page
    assert connected.rows("webhook_event")[-1].outcome is None
    connected.work()
    assert connected.rows("webhook_event")[-1].outcome == "looked at"
    assert len(connected.calls("GET", "/members")) > before


@pytest.mark.parametrize("ring_id", ["0", "x", "", "9" * 40, "4711"])
def test_what_is_not_in_the_log_is_not_looked_at(admin: Admin, ring_id: str) -> None:
    admin.send("/activity/webhooks/replay", ring_id=ring_id, open_first="/activity")
    assert "This webhook is no longer in the log." in admin.text


def test_a_campaign_names_nobody(connected: Host, admin: Admin) -> None:
    store(connected, 1, "not about a person", type="campaign", address=None)
    ring = connected.rows("webhook_event")[-1]
    assert f'name="ring_id" value="{ring.id}"' not in admin.open("/activity/webhooks")
    admin.send("/activity/webhooks/replay", ring_id=ring.id, open_first="/activity")
    assert "names nobody" in admin.text
    assert connected.rows("webhook_event")[-1].outcome == "not about a person"


def test_only_this_tenants(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> None:
    with hosting(tmp_path, sandbox, clock, tenant=lambda: "a") as host:
        with host.app.app_context():
            connect.connect(host.services, "b", sandbox.api_key)
            connect.connect(host.services, "a", sandbox.api_key)
        store(host, 1)  # the first list is b's
        admin = Admin(host.app.test_client())
        admin.open("/activity/webhooks")
        assert "None yet." in admin.text
        ring = host.rows("webhook_event")[-1]
        admin.send("/activity/webhooks/replay", ring_id=ring.id)
        assert "no longer in the log" in admin.text
        assert host.rows("webhook_event")[-1].outcome == "looked at"
