"""The activity page: health, the sync and its progress, who needs attention, figures, the log."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from flask_mailchimp_optin import acts
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import Clock, Host, db, hosting
from tests.views.admin import ROOT, Admin


def change_runs(host: Host, **values: Any) -> None:
    table = host.services.tables.sync_run
    with host.app.app_context():
        host.services.transact(lambda tx: tx.execute(update(table).values(**values)))


def stop(host: Host) -> None:
    """As the stop rule leaves a sync."""
    with host.app.app_context():
        acts.start_sync(host.services, "")
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

    def test_webhooks_that_can_be_read_on_the_way_are_warned_of(
        self, tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
    ) -> None:
        for address, warned in (
            ("http://crm.example.com", True),
            ("https://crm.example.com", False),
            ("http://127.0.0.1:5000", False),
        ):
            with hosting(tmp_path, sandbox, clock, MAILCHIMP_OPTIN_PUBLIC_URL=address) as host:
                admin = Admin(host.app.test_client())
                admin.open("/activity")
                assert ("webhooks can be read on the way" in admin.text) is warned

    @pytest.mark.parametrize("number", ["9" * 30, "-9" * 15, "-1", "nan", "", "１"])
    def test_a_number_that_is_none_is_nothing(
        self, connected: Host, admin: Admin, number: str
    ) -> None:
        for path in ("/activity", "/activity/progress"):
            values = {"before": number, "run": number, "days": number}
            assert admin.client.get(ROOT + path, query_string=values).status_code == 200

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

    def test_a_sync_to_another_master_list_begins_with_the_one_before(
        self, connected: Host, admin: Admin
    ) -> None:
        connected.add("ada@example.com", wants_news=True)
        connected.work()
        connected.settings(master_list=connected.another_list("Other"))
        admin.open("/activity")
        assert "Waiting for a worker to begin" in admin.text
        change_runs(connected, cursor="{}")
        admin.open("/activity")
        assert "Initial sync" in admin.text
        assert "Step 1 of 4 · Reading what was said in the list before" in admin.text

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

    def test_how_fast_it_is_and_how_long_it_still_takes(
        self, connected: Host, admin: Admin, clock: Clock
    ) -> None:
        admin.send("/activity/sync", open_first="/activity")
        assert "Waiting for a worker to begin" in admin.text
        counts = {"customers": 9, "customers_done": 9, "members": 900_000, "members_done": 300_000}
        change_runs(connected, phase="members", phase_at=clock(), cursor="{}", **counts)
        clock.turn(minutes=10)  # a busy machine adds some seconds
        admin.open("/activity")
        assert "Step 2 of 4 · Reading the list at Mailchimp: 300,000 of 900,000" in admin.text
        assert re.search("(4..|500) per second · about 2. minutes left of this step", admin.text)
        change_runs(connected, phase="plan")
        admin.open("/activity")
        assert (
            "Step 3 of 4 · Comparing both sides Last update" in admin.text
        )  # nobody knows how long

    def test_a_sync_can_be_paused_and_resumed(self, connected: Host, admin: Admin) -> None:
        admin.send("/activity/sync", open_first="/activity")
        assert "While a sync is paused, opt-outs still go out" in admin.text
        admin.send("/activity/pause", open_first="/activity")
        assert "The sync is paused. Opt-outs still go out." in admin.text
        assert "Sync by hand – Paused" in admin.text
        assert "Until you resume it, only opt-outs go out" in admin.text
        assert "progress.js" not in admin.page
        admin.send("/activity/resume", open_first="/activity")
        assert "The sync goes on" in admin.text
        connected.work()
        assert connected.rows("sync_run")[-1].state == "done"

    def test_past_syncs_say_what_they_changed_and_how_long_they_took(
        self, connected: Host, admin: Admin, clock: Clock
    ) -> None:
        counts = {"customers_done": 1200, "members_done": 1, "to_send": 30, "failed": 2}
        counts |= {"boxes_on": 3, "boxes_off": 5, "removals": 4, "asks": 1}
        ended = {"started_at": clock(), "finished_at": clock() + timedelta(minutes=7)}
        change_runs(connected, **ended, **counts)
        admin.open("/activity")
        assert "Initial sync Done" in admin.text
        assert (
            "7 minutes 1,200 customers, 1 member 3 ticked, 5 unticked "
            "15 added or updated, 4 unsubscribed, 1 asked to confirm 2" in admin.text
        )

    def test_earlier_syncs_are_some_pages_away(
        self, connected: Host, admin: Admin, clock: Clock
    ) -> None:
        table = connected.services.tables.sync_run
        (first,) = connected.rows("sync_run")
        rows = [{**first._asdict(), "id": first.id + n, "kind": "daily"} for n in range(1, 15)]
        with connected.app.app_context():
            connected.services.transact(lambda tx: tx.execute(insert(table), rows))
        admin.open("/activity")
        assert "Initial sync" not in admin.text
        (link,) = re.findall(r'href="[^"]+(/activity\?before=[0-9]+)#sync"', admin.page)
        admin.open(link)
        assert "Initial sync" in admin.text
        assert "Still earlier syncs" not in admin.text

    @pytest.mark.parametrize(
        ("state", "text"),
        [
            ("done", "The sync is done."),
            ("cancelled", "The sync is cancelled."),
            ("waiting", "The sync is paused."),
        ],
    )
    def test_the_script_is_told_how_the_sync_ended(
        self, connected: Host, admin: Admin, state: str, text: str
    ) -> None:
        run = connected.rows("sync_run")[-1].id
        change_runs(connected, state=state)
        answer = admin.client.get(f"{ROOT}/activity/progress?run={run}").get_json()
        assert answer == {"run": None, "said": text}


class TestWays:
    """Each finding has a button or a link to where something is done about it."""

    def test_a_worker_that_is_not_running_is_looked_for_again(
        self, connected: Host, admin: Admin
    ) -> None:
        admin.open("/activity")
        assert f'<a class="mco-button mco-primary" href="{ROOT}/activity">Check again' in admin.page

    def test_a_refused_key_leads_to_the_settings(self, connected: Host, admin: Admin) -> None:
        connected.sandbox.revoke_key()
        connected.add("ada@example.com", wants_news=True)
        connected.work()
        admin.open("/activity")
        assert f'<a class="mco-button mco-primary" href="{ROOT}/">Open the settings' in admin.page

    def test_a_stopped_sync_leads_to_what_it_would_change(
        self, connected: Host, admin: Admin
    ) -> None:
        stop(connected)
        admin.open("/activity")
        assert "Warning: A sync has stopped before it changed anything" in admin.text
        assert f'href="{ROOT}/activity#sync">Look at the sync' in admin.page

    def test_a_paused_sync_is_resumed_there(self, connected: Host, admin: Admin) -> None:
        admin.send("/activity/sync", open_first="/activity")
        admin.send("/activity/pause", open_first="/activity")
        assert "Warning: The sync is paused: only opt-outs go out" in admin.text
        assert "Connected with" not in admin.text  # and not that it is off
        assert admin.page.count(f'action="{ROOT}/activity/resume"') == 2

    def test_an_overdue_daily_sync_is_begun_there(
        self, connected: Host, admin: Admin, clock: Clock
    ) -> None:
        clock.turn(hours=30)
        admin.open("/activity")
        assert "Warning: The daily sync is overdue: the last complete one was at" in admin.text
        checks = admin.page.split("All checks")[1].split("</section>")[0]
        assert 'value="manual"' in checks

    def test_a_webhook_that_fails_is_repaired_there(self, connected: Host, admin: Admin) -> None:
        table = connected.services.tables.audience
        problem = update(table).values(webhook_problem="Mailchimp could not reach it.")
        with connected.app.app_context():
            connected.services.transact(lambda tx: tx.execute(problem))
        admin.open("/activity")
        assert "Newsletter: Mailchimp could not reach it." in admin.text
        assert f'action="{ROOT}/webhooks/repair"' in admin.page


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

    def decided(self, host: Host, **sources: tuple[int, int]) -> None:
        """Yeses and nos, just now."""
        now = host.clock()
        row = {"tenant": "", "customer_key": "1", "decided_at": now, "recorded_at": now}
        rows = [
            {**row, "source": source, "value": value}
            for source, numbers in sources.items()
            for value, number in zip((True, False), numbers, strict=True)
            for _ in range(number)
        ]
        with host.app.app_context():
            table = host.services.tables.decision
            host.services.transact(lambda tx: tx.execute(insert(table), rows))

    def test_sources_are_told_apart_by_pattern_order_and_number(
        self, connected: Host, admin: Admin, clock: Clock
    ) -> None:
        self.decided(connected, request=(5, 2), mailchimp=(1, 3))
        clock.turn(days=40)
        admin.open("/activity")
        assert "No decisions yet" in admin.text
        self.decided(connected, mailchimp=(1, 0))
        admin.open("/activity?days=90")
        assert "6 yes" not in admin.text
        assert "7 yes (upwards) and 5 no (downwards)" in admin.text
        order = "on a page of this site 5 yes, 2 no at Mailchimp 2 yes, 3 no"
        assert order in admin.text
        for pattern in ("subscribed", "unsubscribed"):
            assert f'fill="url(#mco-{pattern}-1)"' in admin.page
        assert "at Mailchimp 1 3" in admin.text  # the table, of the first day
        assert admin.open("/activity?days=7").count('fill="url(#mco-') == 0  # one source only

    def test_many_sources_are_summed_up(self, connected: Host, admin: Admin) -> None:
        self.decided(connected, **{f"form {n}": (9 - n, 0) for n in range(7)})
        admin.open("/activity")
        assert "form 3 6 yes, 0 no in other ways 12 yes, 0 no" in admin.text

    def test_too_many_decisions_to_count_leave_the_oldest_days_out(
        self, connected: Host, admin: Admin, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flask_mailchimp_optin.figures._DECISIONS", 4)
        self.decided(connected, request=(3, 0))
        clock.turn(days=1)
        self.decided(connected, request=(2, 1))
        admin.open("/activity")
        assert f"what was before {clock().date()} is left out" in admin.text

    @pytest.mark.parametrize("days", ["0", "-1", "100000", "x", ""])
    def test_other_periods_are_thirty_days(self, connected: Host, admin: Admin, days: str) -> None:
        admin.open(f"/activity?days={days}")
        assert "Yes and no in the last 30 days" in admin.text

    def test_subscribers_over_time_are_drawn_and_listed(
        self, connected: Host, admin: Admin, clock: Clock
    ) -> None:
        admin.open("/activity")
        assert "Subscribers over time" not in admin.text  # a day alone is no curve
        connected.add("ada@example.com", wants_news=True)
        connected.add("bob@example.com", wants_news=True)
        clock.turn(days=1)
        connected.work()
        clock.turn(days=3)
        connected.sandbox.unsubscribe(connected.list_id, "bob@example.com")
        connected.work()
        admin.open("/activity?days=7")
        end, begin = clock().date(), (clock() - timedelta(days=4)).date()
        assert f"Subscribers: 1 on {end}, 0 on {begin}." in admin.text
        assert f"{end} 1 {end - timedelta(days=3)} 2 {begin} 0" in admin.text
        points = re.findall(r'points="([^"]+)"', admin.page)
        assert points == ["200.0,121 200.0,121.0 300.0,2.0 600.0,61.5 600.0,121"]

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
        assert "Unsubscribed Proved by its signature" in admin.text
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
