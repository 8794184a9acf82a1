"""The settings page before something changes much: another master list, the first sync."""

from __future__ import annotations

import re

import pytest

from tests.house import Host
from tests.views.admin import Admin


def with_members(host: Host, admin: Admin) -> tuple[int, int]:
    """Connected and not enabled; of two customers one is ticked and said no at Mailchimp, one is not
    ticked and said yes; a third is ticked and new."""
    admin.connect(host.sandbox.api_key)
    host.list_id = next(iter(host.sandbox.audiences))
    left = host.add("left@example.com", wants_news=True)
    joined = host.add("joined@example.com", wants_news=None)
    host.add("new@example.com", wants_news=True)
    for name in ("left", "joined"):
        host.sandbox.subscribe(host.list_id, f"{name}@example.com")
    host.sandbox.unsubscribe(host.list_id, "left@example.com")
    return left, joined


class TestTheMasterList:
    def test_another_one_is_changed_only_after_its_numbers_were_shown(
        self, connected: Host, admin: Admin
    ) -> None:
        for name in ("ada", "bob"):
            connected.add(f"{name}@example.com", wants_news=True)
        connected.work()
        connected.sandbox.subscribe(connected.list_id, "stranger@example.com")
        other = connected.another_list("Other")
        answer = admin.save(enabled="y", master_list=other, daily_at="04:30", on_delete="archive")
        assert answer.status_code == 200
        assert "Nothing was changed yet: make “Other” the master list?" in admin.text
        assert "its 2 subscribers that are your customers stay there" in admin.text
        assert "not in it, as far as is known 2" in admin.text
        assert connected.overview().master == connected.overview().lists[0]
        # What was filled in is still there.
        assert 'value="04:30"' in admin.page
        assert 'name="on_delete" value="archive" checked' in admin.page
        assert f'<option value="{other}" selected>' in admin.page

    @pytest.mark.parametrize("how", ["now", "preview"])
    def test_a_button_of_the_answer_changes_it(
        self, connected: Host, admin: Admin, how: str
    ) -> None:
        connected.add("ada@example.com", wants_news=True)
        connected.work()
        other = connected.another_list("Other")
        admin.save(enabled="y", master_list=other)
        assert f'name="go" value="{how}:{other}"' in admin.page
        admin.save(enabled="y", master_list=other, go=f"{how}:{other}")
        connected.work()
        assert connected.overview().settings.master_list == other
        there = connected.status("ada@example.com", other)
        assert there == ("subscribed" if how == "now" else None)

    def test_a_word_about_one_list_is_none_about_another(
        self, connected: Host, admin: Admin
    ) -> None:
        other, third = connected.another_list("Other"), connected.another_list("Third")
        admin.save(enabled="y", master_list=third, go=f"now:{other}")
        assert "make “Third” the master list?" in admin.text
        assert connected.overview().settings.master_list == connected.list_id

    def test_while_it_is_off_and_nobody_is_in_a_list_there_is_nothing_to_ask(
        self, host: Host, admin: Admin
    ) -> None:
        admin.connect(host.sandbox.api_key)
        other = host.another_list("Other")
        admin.save(master_list=other)
        assert "Settings saved." in admin.text
        admin.save(enabled="y")
        assert "The initial sync has begun" in admin.text

    def test_enabling_with_another_list_than_people_were_added_to_is_asked_about(
        self, connected: Host, admin: Admin
    ) -> None:
        connected.add("ada@example.com", wants_news=True)
        connected.work()
        other = connected.another_list("Other")
        admin.save()
        admin.save(enabled="y", master_list=other)
        assert "make “Other” the master list?" in admin.text
        assert not connected.overview().settings.enabled


class TestTheFirstSync:
    def test_a_preview_counts_exactly_and_changes_nothing_anywhere(
        self, host: Host, admin: Admin
    ) -> None:
        left, joined = with_members(host, admin)
        before = host.sandbox.members(host.list_id)
        admin.save(enabled="y", go="preview:")
        assert "nothing is changed before you say so" in admin.text
        host.work()
        admin.open()
        assert "The sync is counted, and waits for your word" in admin.text
        assert "would tick 1 checkboxes and untick 1" in admin.text
        assert "add or update 1 people, unsubscribe 0 and mail 0" in admin.text
        assert (host.box(left), host.box(joined)) == (True, None)
        assert host.sandbox.members(host.list_id) == before

    def test_its_counts_come_true_when_it_continues(self, host: Host, admin: Admin) -> None:
        left, joined = with_members(host, admin)
        admin.save(enabled="y", go="preview:")
        host.work()
        admin.send("/activity/resume")
        host.work()
        assert (host.box(left), host.box(joined)) == (False, True)
        assert host.status("new@example.com") == "subscribed"
        assert "waits for your word" not in admin.open()

    def test_cancelled_it_leaves_the_integration_off_and_everybody_as_they_are(
        self, host: Host, admin: Admin
    ) -> None:
        left, joined = with_members(host, admin)
        admin.save(enabled="y", go="preview:")
        host.work()
        admin.send("/activity/cancel")
        host.clock.turn(days=2)
        host.work()
        assert not host.overview().settings.enabled
        assert (host.box(left), host.box(joined)) == (True, None)
        assert host.status("new@example.com") is None
        # And another time it begins anew.
        admin.save(enabled="y")
        host.work()
        assert (host.box(left), host.box(joined)) == (False, True)
        assert host.status("new@example.com") == "subscribed"

    def test_what_was_ticked_while_it_was_off_waits_for_the_word_too(
        self, host: Host, admin: Admin
    ) -> None:
        admin.connect(host.sandbox.api_key)
        host.list_id = next(iter(host.sandbox.audiences))
        ada = host.add("ada@example.com", wants_news=True)
        host.work()
        admin.save(enabled="y", go="preview:")
        host.work()
        assert host.status("ada@example.com") is None
        assert host.state(ada) == "waiting"

    def test_no_daily_and_no_other_sync_goes_ahead_of_the_answer(
        self, host: Host, admin: Admin
    ) -> None:
        left, _ = with_members(host, admin)
        admin.save(enabled="y", go="preview:")
        host.work()
        host.clock.turn(days=3)
        host.work()
        admin.send("/activity/sync", kind="manual")
        assert "The first sync waits for you" in admin.text
        host.work()
        assert host.box(left) is True
        assert host.status("new@example.com") is None

    def test_a_no_said_meanwhile_is_told_at_once(self, connected: Host, admin: Admin) -> None:
        ada = connected.add("ada@example.com", wants_news=True)
        connected.work()
        admin.save()
        admin.save(enabled="y", go="preview:")
        connected.work()
        connected.change(ada, wants_news=False)
        connected.work()
        assert connected.status("ada@example.com") == "unsubscribed"

    def test_without_a_preview_it_takes_one_click(self, host: Host, admin: Admin) -> None:
        left, joined = with_members(host, admin)
        assert "starts the first sync at once" in admin.open()
        assert "preview:" in admin.page
        admin.save(enabled="y")
        host.work()
        assert (host.box(left), host.box(joined)) == (False, True)


class TestWhileASyncIsPaused:
    def test_it_says_so_and_enabling_lets_it_go_on(self, connected: Host, admin: Admin) -> None:
        ada = connected.add("ada@example.com", wants_news=True)
        admin.send("/activity/sync", kind="manual")
        admin.send("/activity/pause")
        assert "A sync is paused, and the integration with it." in admin.open()
        admin.save(enabled="y")
        assert "Settings saved. The sync that was paused goes on." in admin.text
        assert "A sync is paused" not in admin.text
        connected.work()
        assert connected.state(ada) == "subscribed"
        assert [run.kind for run in connected.rows("sync_run")].count("initial") == 1


class TestUntilTheListBeforeIsRead:
    def test_it_says_where_customers_are(self, connected: Host, admin: Admin) -> None:
        connected.add("ada@example.com", wants_news=True)
        connected.work()
        other = connected.another_list("Other")
        assert "Customers are still in" not in admin.open()
        connected.settings(master_list=other)
        admin.open()
        assert "Customers are still in “Newsletter”:" in admin.text
        admin.send("/activity/cancel")
        admin.open()
        assert "Customers are still in “Newsletter”:" in admin.text
        connected.clock.turn(days=1)
        connected.work()
        assert "Customers are still in" not in admin.open()
        assert connected.status("ada@example.com", other) == "subscribed"


class TestTheDailyTime:
    def test_it_is_said_when_the_next_sync_is_in_its_zone_and_exactly(
        self, connected: Host, admin: Admin
    ) -> None:
        assert "Next daily sync" in " ".join(admin.open().split())
        admin.save(enabled="y", daily_at="03:15", daily_zone="Asia/Kathmandu")
        found = re.search(r"(\d{4}-\d\d-\d\d) 03:15 in Asia/Kathmandu", admin.text)
        assert found is not None
        assert "21:30 UTC" in admin.text

    def test_while_it_is_off_there_is_none(self, connected: Host, admin: Admin) -> None:
        admin.save()
        assert "Next daily sync" not in admin.text
        assert "Paused" in admin.text
        assert "opt-outs are still told to Mailchimp" in admin.text


class TestDisconnecting:
    def test_it_says_in_numbers_what_goes_and_what_stays(
        self, connected: Host, admin: Admin
    ) -> None:
        for name in ("ada", "bob"):
            connected.add(f"{name}@example.com", wants_news=True)
        connected.work()
        admin.open()
        assert "our webhooks at Mailchimp (1)" in admin.text
        assert "of syncs and of addresses (2)" in admin.text
        assert "the history of their decisions (2)" in admin.text
        assert "not been told" not in admin.text

    def test_what_nobody_told_mailchimp_is_a_warning(self, connected: Host, admin: Admin) -> None:
        connected.add("ada@example.com", wants_news=True)
        admin.open()
        assert "1 change has not been told to Mailchimp yet" in admin.text


class TestWebhooks:
    def test_it_is_said_when_they_were_checked_and_when_one_rang(
        self, connected: Host, admin: Admin
    ) -> None:
        connected.add("ada@example.com", wants_news=True)
        connected.work()
        admin.open()
        assert "Checked at" in admin.text
        assert "No ring yet." in admin.text
        connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
        connected.work()
        admin.open()
        assert "Last ring at" in admin.text

    def test_new_addresses_take_the_place_of_the_old(self, connected: Host, admin: Admin) -> None:
        (before,) = connected.sandbox.webhooks(connected.list_id)
        admin.send("/webhooks/rotate")
        assert "new secret addresses" in admin.text
        connected.work()
        (after,) = connected.sandbox.webhooks(connected.list_id)
        assert before["url"] != after["url"]
        assert "Registered" in admin.open()
