"""The settings page: connecting, lists, the integration's settings, disconnecting."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from flask_mailchimp_optin import overviews
from flask_mailchimp_optin.forms import zones
from tests.house import Host
from tests.views.admin import Admin

EVIL = '"><script>alert(1)</script>'


class TestConnecting:
    def test_at_first_there_is_only_the_key_to_enter(self, admin: Admin) -> None:
        admin.open()
        assert 'type="password"' in admin.page
        assert 'autocomplete="off"' in admin.page
        assert "API keys" in admin.text
        assert "Master list" not in admin.text
        assert "Disconnect" not in admin.text

    def test_with_a_good_key_the_lists_appear_and_the_first_is_chosen(
        self, host: Host, admin: Admin
    ) -> None:
        host.sandbox.add_audience("Trade")
        answer = admin.connect(host.sandbox.api_key)
        assert answer.status_code == 200
        assert "Mailchimp is connected" in admin.text
        first = next(iter(host.sandbox.audiences))
        assert f'<option value="{first}" selected>' in admin.page
        assert "Trade" in admin.page

    def test_success_says_what_to_edit_at_mailchimp_and_links_there(
        self, host: Host, admin: Admin
    ) -> None:
        admin.connect(host.sandbox.api_key)
        assert "Required email footer content" in admin.text
        assert "Remind people how they signed up to your audience" in admin.text
        assert 'href="https://us6.admin.mailchimp.com/lists/settings?id=' in admin.page

    @pytest.mark.parametrize(
        ("key", "words"),
        [
            ("", "Enter an API key"),
            ("nonsense", "This is not a Mailchimp API key"),
            ("0123456789abcdef0123456789abcdef-evil.example/", "not a Mailchimp API key"),
            ("0123456789abcdef0123456789abcdef-us1@x", "not a Mailchimp API key"),
        ],
        ids=["empty", "malformed", "another host", "credentials"],
    )
    def test_a_text_that_is_no_key_is_refused_before_anything_is_sent(
        self, host: Host, admin: Admin, key: str, words: str
    ) -> None:
        answer = admin.connect(key)
        assert answer.status_code == 422
        assert words in admin.text
        assert 'href="#api_key"' in admin.page
        assert not host.sandbox.requests
        assert not host.overview().connected

    def test_a_key_that_mailchimp_refuses_is_said_plainly_and_never_shown(
        self, host: Host, admin: Admin
    ) -> None:
        key = "fedcba9876543210fedcba9876543210-us6"
        answer = admin.connect(key)
        assert answer.status_code == 422
        assert "API key" in admin.text
        assert key[:32] not in admin.page
        assert not host.overview().connected

    def test_mailchimp_out_of_reach_changes_nothing(self, host: Host, admin: Admin) -> None:
        host.sandbox.fail_next(503, times=5)
        assert admin.connect(host.sandbox.api_key).status_code == 422
        assert not host.overview().connected

    def test_the_key_is_in_no_page_and_no_log(
        self, host: Host, admin: Admin, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        key = host.sandbox.api_key
        admin.connect(key)
        pages = admin.page + admin.open() + admin.open("/activity")
        assert key not in pages
        assert key[:28] not in pages
        assert key[:28] not in caplog.text
        assert f"…{key[28:]}" in pages

    def test_an_account_without_lists_says_what_to_do(self, host: Host, admin: Admin) -> None:
        host.sandbox._account.audiences.clear()
        admin.connect(host.sandbox.api_key)
        assert "has no list (audience) yet" in admin.text
        assert "Create one in Mailchimp" in admin.text
        assert admin.save(enabled="y").status_code == 422
        assert "Choose a master list before enabling" in admin.text

    def test_a_revoked_key_stands_out_until_a_good_one_is_entered(
        self, connected: Host, admin: Admin
    ) -> None:
        connected.sandbox.revoke_key()
        connected.add("ada@example.com", wants_news=True)
        connected.work()
        admin.open()
        assert "The connection is stopped" in admin.text
        assert "enter it below" in admin.text

    def test_a_new_key_takes_the_place_of_the_old_one(self, connected: Host, admin: Admin) -> None:
        admin.connect(connected.sandbox.api_key)
        assert "Mailchimp is connected" in admin.text
        assert connected.overview().settings.enabled

    def test_a_mistyped_new_key_leaves_the_old_one(self, connected: Host, admin: Admin) -> None:
        before = connected.overview()
        assert admin.connect("mistyped").status_code == 422
        assert connected.overview() == before


class TestLists:
    def test_a_new_list_appears_only_after_a_refresh(self, connected: Host, admin: Admin) -> None:
        connected.sandbox.add_audience("Brand new")
        assert "Brand new" not in admin.open()
        admin.send("/lists/refresh")
        assert "Brand new – new" in admin.text
        assert [row.name for row in connected.overview().lists] == ["Newsletter"]

    def test_store_keeps_what_was_fetched(self, connected: Host, admin: Admin) -> None:
        assert "Store lists</button>" not in admin.open()
        connected.sandbox.add_audience("Brand new", double_optin=True)
        admin.send("/lists/refresh")
        assert "Store lists</button>" in admin.page
        admin.send("/lists/store")
        assert "Lists stored." in admin.text
        assert [row.name for row in connected.overview().lists] == ["Newsletter", "Brand new"]
        assert "not stored yet" not in admin.text

    def test_a_refresh_shows_what_else_changed(self, connected: Host, admin: Admin) -> None:
        audience = connected.sandbox._account.audiences[connected.list_id]
        connected.sandbox.subscribe(connected.list_id, "ada@example.com")
        audience.name, audience.double_optin = "Renamed", True
        admin.send("/lists/refresh")
        assert "was named Newsletter" in admin.text
        assert "double opt-in is now on" in admin.text
        assert "1 subscribers, were 0" in admin.text

    def test_a_refresh_without_a_difference_says_so(self, connected: Host, admin: Admin) -> None:
        admin.send("/lists/refresh")
        assert "Nothing changed since they were stored" in admin.text

    def test_a_list_that_is_gone_is_named(self, connected: Host, admin: Admin) -> None:
        connected.add("ada@example.com", wants_news=True)
        connected.work()
        connected.sandbox._account.audiences.clear()
        admin.send("/lists/refresh")
        assert "Newsletter – no longer at Mailchimp" in admin.text
        admin.send("/lists/store")
        assert "gone at Mailchimp" in admin.text

    def test_storing_without_a_refresh_is_refused(self, connected: Host, admin: Admin) -> None:
        admin.send("/lists/store")
        assert "Refresh the lists first" in admin.text

    def test_a_refresh_that_fails_says_why(self, connected: Host, admin: Admin) -> None:
        connected.sandbox.fail_next(503, times=5)
        admin.send("/lists/refresh")
        assert 'role="alert"' in admin.page

    def test_a_hostile_name_is_escaped_wherever_it_shows(self, host: Host, admin: Admin) -> None:
        host.sandbox._account.audiences.clear()
        host.sandbox.add_audience(EVIL, double_optin=True)
        admin.connect(host.sandbox.api_key)
        host.sandbox.add_audience(EVIL + "2")
        admin.send("/lists/refresh")
        pages = admin.page
        admin.save(enabled="y")
        host.work()
        pages += admin.page + admin.open("/activity")
        assert EVIL not in pages
        assert "&lt;script&gt;alert(1)" in pages

    def test_webhooks_can_be_repaired(self, connected: Host, admin: Admin) -> None:
        connected.sandbox.remove_webhooks(connected.list_id)
        admin.send("/webhooks/repair")
        connected.work()
        assert len(connected.sandbox.webhooks(connected.list_id)) == 1
        assert "Registered" in Admin(connected.app.test_client()).open()


class TestSettings:
    def test_enabling_starts_the_initial_sync(self, host: Host, admin: Admin) -> None:
        host.add("ada@example.com", wants_news=True)
        admin.connect(host.sandbox.api_key)
        admin.save(enabled="y")
        assert "The initial sync has begun" in admin.text
        host.work()
        assert host.status("ada@example.com", next(iter(host.sandbox.audiences))) == "subscribed"

    def test_everything_chosen_is_kept(self, host: Host, admin: Admin) -> None:
        second = host.sandbox.add_audience("Trade")
        admin.connect(host.sandbox.api_key)
        admin.save(
            enabled="y",
            master_list=second,
            mode="daily",
            daily_at="21:45",
            daily_zone="Europe/Berlin",
            on_delete="archive",
            always_confirm="y",
        )
        assert host.overview().settings == overviews.Settings(
            enabled=True,
            master_list=second,
            daily=True,
            daily_at="21:45",
            daily_zone="Europe/Berlin",
            on_delete="archive",
            always_confirm=True,
        )
        assert f'<option value="{second}" selected>' in admin.page
        assert "<option selected>Europe/Berlin</option>" in admin.page

    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("master_list", "nosuchlist", "This list is not stored"),
            ("mode", "hourly", "Choose when to send"),
            ("daily_at", "25:00", "Enter a time of day"),
            ("daily_at", "3:00", "Enter a time of day"),
            ("daily_zone", "Mars/Olympus", "This time zone is not known"),
            ("daily_zone", "../../etc/passwd", "This time zone is not known"),
            ("on_delete", "explode", "Choose what happens"),
        ],
    )
    def test_a_wrong_value_changes_nothing_and_keeps_what_was_filled_in(
        self, connected: Host, admin: Admin, field: str, value: str, words: str
    ) -> None:
        before = connected.overview()
        fields = {"enabled": "y", "always_confirm": "y", field: value}
        assert admin.save(**fields).status_code == 422
        assert words in admin.text
        assert f'href="#{field}"' in admin.page
        assert f'id="{field}"' in admin.page
        assert 'name="always_confirm" value="y" checked' in admin.page
        assert connected.overview() == before

    def test_a_field_that_is_left_out_stays_as_it_is(self, connected: Host, admin: Admin) -> None:
        connected.settings(on_delete="archive", daily_at="05:00")
        admin.save(enabled="y")
        now = connected.overview().settings
        assert (now.on_delete, now.daily_at) == ("archive", "05:00")

    def test_it_says_before_what_another_master_list_means(
        self, connected: Host, admin: Admin
    ) -> None:
        admin.open()
        assert "members of the old one stay there until they say no" in admin.text

    def test_the_double_optin_advice_shows_the_present_setting(
        self, host: Host, admin: Admin
    ) -> None:
        second = host.sandbox.add_audience("Careful", double_optin=True)
        admin.connect(host.sandbox.api_key)
        assert "“Newsletter” has double opt-in off" in admin.text
        admin.save(master_list=second)
        assert "“Careful” has double opt-in on" in admin.text
        assert "Enable double opt-in" in admin.text

    def test_turning_it_off_is_confirmed(self, connected: Host, admin: Admin) -> None:
        admin.save()
        assert "The integration is off" in admin.text
        assert not connected.overview().settings.enabled

    def test_utc_is_the_first_of_many_zones(self) -> None:
        assert zones()[0] == "UTC"
        assert {"Europe/Berlin", "Australia/Sydney", "America/New_York"} < set(zones())

    def test_a_pause_that_mailchimp_asked_for_is_shown(self, connected: Host, admin: Admin) -> None:
        table = connected.services.tables.connection
        until = connected.clock() + timedelta(minutes=3)
        with connected.app.app_context():
            connected.services.transact(
                lambda tx: tx.execute(table.update().values(paused_until=until))
            )
        admin.open()
        assert "Mailchimp asked for a pause" in admin.text


class TestDisconnecting:
    def test_it_needs_a_tick(self, connected: Host, admin: Admin) -> None:
        assert admin.send("/disconnect").status_code == 422
        assert "Tick the box to confirm" in admin.text
        assert connected.overview().connected

    def test_it_removes_the_webhook_and_keeps_the_customers(
        self, connected: Host, admin: Admin
    ) -> None:
        ada = connected.add("ada@example.com", wants_news=True)
        connected.work()
        assert connected.sandbox.webhooks(connected.list_id)
        admin.send("/disconnect", confirm="y")
        assert "Mailchimp is disconnected" in admin.text
        assert not connected.sandbox.webhooks(connected.list_id)
        assert connected.box(ada) is True
        assert connected.status("ada@example.com") == "subscribed"
        assert "Master list" not in admin.text

    def test_a_webhook_that_could_not_be_removed_is_named(
        self, connected: Host, admin: Admin
    ) -> None:
        connected.sandbox.fail_next(503, times=5)
        admin.send("/disconnect", confirm="y")
        assert "could not be removed at Mailchimp" in admin.text
        assert "Newsletter" in admin.text
