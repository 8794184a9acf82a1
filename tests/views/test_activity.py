"""The activity page: health, the sync and its progress, who needs attention, figures, the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from flask_mailchimp_optin import connect
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import Clock, Host, db, hosting
from tests.views.admin import ROOT, Admin


@pytest.fixture
def admin(host: Host) -> Admin:
    return Admin(host.app.test_client())


def change_runs(host: Host, **values: Any) -> None:
    table = host.services.tables.sync_run
    with host.app.app_context():
        host.services.transact(lambda tx: tx.execute(update(table).values(**values)))


def stop(host: Host) -> None:
    """As the stop rule leaves a sync."""
    with host.app.app_context():
        connect.start_sync(host.services, "")
    change_runs(host, state="waiting", phase="plan", message="It would untick 240 customers.")


class TestHealth:
    def test_before_connecting_it_says_what_will_be_here(self, admin: Admin) -> None:
        admin.open("/activity")
        assert "Mailchimp is not connected" in admin.text
        assert "When Mailchimp is connected, this page shows" in admin.text
        assert "Try all again" not in admin.text

    def test_the_worst_comes_first_with_what_to_do(self, connected: Host, admin: Admin) -> None:
        admin.open("/activity")
        assert "Problem: Redis can't be reached." in admin.text
        assert "Start Redis" in admin.text
        assert "In order: The master list is Newsletter." in admin.text

    def test_missing_tables_are_said_instead_of_an_error(self, host: Host, admin: Admin) -> None:
        with host.app.app_context():
            db.drop_all()
        admin.open("/activity")
        assert "tables named mailchimp_optin_* are missing" in admin.text
        assert "<code>flask db migrate</code>" in admin.page

    def test_so_does_any_other_page(self, host: Host, admin: Admin) -> None:
        with host.app.app_context():
            db.drop_all()
        answer = admin.client.get(f"{ROOT}/")
        assert answer.status_code == 503
        assert "tables named mailchimp_optin_* are missing" in answer.get_data(as_text=True)

    def test_a_stopped_connection_leads_to_the_settings(
        self, connected: Host, admin: Admin
    ) -> None:
        connected.sandbox.revoke_key()
        connected.add("ada@example.com", wants_news=True)
        connected.work()
        admin.open("/activity")
        assert "Enter a good API key" in admin.text
        assert "Open the settings" in admin.text


class TestSync:
    def test_no_sync_yet(self, host: Host, admin: Admin) -> None:
        admin.connect(host.sandbox.api_key)
        admin.open("/activity")
        assert "No sync yet" in admin.text
        assert "Sync now" not in admin.text

    def test_a_running_sync_shows_how_far_it_is(self, connected: Host, admin: Admin) -> None:
        admin.send("/activity/sync", open_first="/activity")
        assert "The sync has begun" in admin.text
        change_runs(
            connected, phase="members", customers=9, customers_done=9, members=90, members_done=45
        )
        admin.open("/activity")
        assert '<progress max="100" value="50"' in admin.page
        assert "Reading the list at Mailchimp: 45 of 90" in admin.text
        assert "progress.js" in admin.page
        assert '<meta http-equiv="refresh"' in admin.page

    def test_reloading_by_itself_can_be_stopped(self, connected: Host, admin: Admin) -> None:
        admin.send("/activity/sync", open_first="/activity")
        admin.open("/activity?refresh=off")
        assert "http-equiv" not in admin.page
        assert "progress.js" not in admin.page
        assert "Update this page by itself" in admin.text

    def test_the_script_gets_the_same_figures(self, connected: Host, admin: Admin) -> None:
        admin.send("/activity/sync", open_first="/activity")
        change_runs(
            connected, phase="members", customers=9, customers_done=9, members=90, members_done=45
        )
        answer = admin.client.get(f"{ROOT}/activity/progress").get_json()
        assert answer["percent"] == 50
        assert answer["step"] == "Step 2 of 4"
        assert answer["phase"] == "Reading the list at Mailchimp: 45 of 90"
        assert answer["said"] == "Sync by hand: 50 % done"

    def test_the_script_is_told_when_nothing_runs(self, connected: Host, admin: Admin) -> None:
        answer = admin.client.get(f"{ROOT}/activity/progress").get_json()
        assert answer == {"run": None, "said": ""}
        admin.open("/activity")
        assert "progress.js" not in admin.page
        assert "http-equiv" not in admin.page

    def test_past_syncs_say_what_they_did(self, connected: Host, admin: Admin) -> None:
        admin.send("/activity/sync", open_first="/activity")
        connected.work()
        admin.open("/activity")
        assert "Initial sync" in admin.text
        assert "Sync by hand" in admin.text
        assert "Done" in admin.text

    def test_a_preview_changes_nothing(self, connected: Host, admin: Admin) -> None:
        connected.settings(daily=True)
        ada = connected.add("ada@example.com", wants_news=True)
        admin.send("/activity/sync", kind="preview", open_first="/activity")
        connected.work()
        admin.open("/activity")
        assert "Counted, nothing changed" in admin.text
        assert connected.status("ada@example.com") is None
        assert connected.box(ada) is True

    def test_a_stopped_sync_says_why_and_can_go_on(self, connected: Host, admin: Admin) -> None:
        stop(connected)
        admin.open("/activity")
        assert "stopped, waits for you" in admin.text
        assert "It would untick 240 customers." in admin.text
        admin.send("/activity/resume", open_first="/activity")
        assert "The sync goes on" in admin.text

    def test_a_stopped_sync_can_be_cancelled(self, connected: Host, admin: Admin) -> None:
        stop(connected)
        admin.send("/activity/cancel", open_first="/activity")
        assert "The sync is cancelled" in admin.text
        assert "Cancelled by an administrator." in admin.text

    def test_nothing_to_continue_is_said(self, connected: Host, admin: Admin) -> None:
        admin.send("/activity/resume", open_first="/activity")
        assert "No sync is waiting for you." in admin.text

    def test_a_sync_while_it_is_off_is_refused(self, connected: Host, admin: Admin) -> None:
        connected.settings(enabled=False)
        assert "Sync now" not in admin.open("/activity")
        admin.send("/activity/sync")
        assert "Enable it in the settings first" in admin.text


class TestAttention:
    def test_nobody(self, connected: Host, admin: Admin) -> None:
        admin.open("/activity")
        assert "Nobody. Customers whose wish could not be carried out appear here" in admin.text

    @pytest.fixture
    def bounced(self, connected: Host) -> int:
        ada = connected.add("ada@example.com", wants_news=True)
        connected.work()
        connected.sandbox.clean(connected.list_id, "ada@example.com")
        connected.work()
        return ada

    def test_it_says_who_why_and_what_to_do(self, bounced: int, admin: Admin) -> None:
        admin.open("/activity")
        assert "Mail bounces" in admin.text
        assert "Correct the customer's address" in admin.text
        assert "ada@example.com" in admin.text
        assert f'href="{ROOT}/customers/{bounced}"' in admin.page

    def test_one_can_be_tried_again(self, connected: Host, bounced: int, admin: Admin) -> None:
        contact_id = connected.rows("contact")[0].id
        admin.open("/activity")
        assert f'name="contact_id" value="{contact_id}"' in admin.page
        admin.send("/activity/retry", contact_id=contact_id, open_first="/activity")
        assert "1 is tried again" in admin.text
        assert "ada@example.com" not in admin.text.split("Try all again")[0]

    def test_all_can_be_tried_again(self, connected: Host, bounced: int, admin: Admin) -> None:
        connected.add("not an address", wants_news=True)
        connected.work()
        admin.open("/activity")
        assert "correct the customer’s details" in admin.text
        admin.send("/activity/retry", all="yes", open_first="/activity")
        assert "2 are tried again" in admin.text

    @pytest.mark.parametrize("contact_id", ["999999", "x", ""])
    def test_trying_an_unknown_one_does_nothing(
        self, connected: Host, bounced: int, admin: Admin, contact_id: str
    ) -> None:
        admin.send("/activity/retry", contact_id=contact_id, open_first="/activity")
        assert connected.rows("contact")[0].refusal == "bounced"

    def test_a_deleted_member_gets_the_way_out_as_a_link(
        self, connected: Host, admin: Admin
    ) -> None:
        ada = connected.add("ada@example.com", wants_news=True)
        connected.work()
        connected.sandbox.delete_permanently(connected.list_id, "ada@example.com")
        connected.change(ada, wants_news=False)
        connected.work()
        connected.change(ada, wants_news=True)
        connected.work()
        admin.open("/activity")
        assert "Sign-up form" in admin.text
        assert 'rel="noopener noreferrer"' in admin.page


class TestFigures:
    def test_decisions_by_day_are_drawn_and_listed(
        self, connected: Host, admin: Admin, clock: Clock
    ) -> None:
        ada = connected.add("ada@example.com", wants_news=True)
        connected.add("bob@example.com", wants_news=True)
        clock.turn(days=2)
        connected.change(ada, wants_news=False)
        connected.work()
        admin.open("/activity")
        assert 'aria-label="2 times yes and 1 times no in 30 days' in admin.page
        assert admin.page.count("<time datetime=") > 2
        assert "2 yes (upwards) and 1 no (downwards)" in admin.text

    def test_the_status_of_customers_in_the_list(self, connected: Host, admin: Admin) -> None:
        connected.add("ada@example.com", wants_news=True)
        connected.add("bob@example.com", wants_news=True)
        connected.work()
        connected.sandbox.unsubscribe(connected.list_id, "bob@example.com")
        connected.work()
        admin.open("/activity")
        assert "Subscribed 1" in admin.text
        assert "Unsubscribed 1" in admin.text

    def test_too_many_to_count(
        self, connected: Host, admin: Admin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flask_mailchimp_optin.figures._COUNTED", 1)
        connected.add("ada@example.com", wants_news=True)
        connected.work()
        admin.open("/activity")
        assert "too many contacts to count here" in admin.text

    def test_webhooks_are_listed_without_addresses(self, connected: Host, admin: Admin) -> None:
        connected.add("ada@example.com", wants_news=True)
        connected.work()
        connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
        connected.work()
        admin.open("/activity")
        assert "Unsubscribed (proved by its signature)" in admin.text
        assert "ada@example.com" not in admin.text

    def test_other_tenants_are_not_counted(
        self, tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
    ) -> None:
        with hosting(tmp_path, sandbox, clock) as host:
            host.connect()
            table = host.services.tables.decision
            foreign = {
                "tenant": "other",
                "customer_key": "secret-key",
                "value": True,
                "decided_at": clock(),
                "recorded_at": clock(),
                "source": "code",
            }
            with host.app.app_context():
                host.services.transact(lambda tx: tx.execute(insert(table), [foreign]))
            page = Admin(host.app.test_client()).open("/activity")
            assert "secret-key" not in page
            assert "No decisions yet" in page
