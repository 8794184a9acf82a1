"""The settings page where the key comes from the configuration, and where it is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_mailchimp_optin import CustomerMapping, health, state
from flask_mailchimp_optin.errors import ConfigError
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import MAPPING, Clock, Host, hosting, make_app
from tests.views.admin import Admin

OTHER = "fedcba9876543210fedcba9876543210-us6"


@pytest.fixture
def host(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
    with hosting(tmp_path, sandbox, clock, MAILCHIMP_OPTIN_API_KEY=sandbox.api_key) as made:
        yield made


class TestAConfiguredKey:
    def test_there_is_a_button_and_no_field(self, host: Host, admin: Admin) -> None:
        admin.open()
        assert "The key comes from the application’s configuration" in admin.text
        assert 'type="password"' not in admin.page
        assert not host.overview().connected

    def test_the_button_connects(self, host: Host, admin: Admin) -> None:
        admin.send(connect="yes")
        assert "Mailchimp is connected" in admin.text
        assert f"…{host.sandbox.api_key[28:]}" in admin.page
        assert host.sandbox.api_key[:28] not in admin.page
        assert 'type="password"' not in admin.page
        admin.save(enabled="y")
        host.add("ada@example.com", wants_news=True)
        host.work()
        assert host.status("ada@example.com", next(iter(host.sandbox.audiences))) == "subscribed"

    def test_no_other_key_can_be_entered(self, host: Host, admin: Admin) -> None:
        answer = admin.send(api_key=OTHER)
        assert answer.status_code == 422
        assert "The key comes from the application’s configuration" in admin.text
        assert not host.sandbox.requests

    def test_one_that_mailchimp_refuses_is_said(self, host: Host, admin: Admin) -> None:
        host.sandbox.revoke_key()
        assert admin.send(connect="yes").status_code == 422
        assert "Mailchimp refused the API key" in admin.text

    def test_another_one_is_noticed_and_taken_when_somebody_says_so(
        self, host: Host, admin: Admin
    ) -> None:
        host.configure(API_KEY=None)
        host.connect()
        host.configure(API_KEY=OTHER)
        assert "There is another key in the configuration" in admin.open()
        with host.app.app_context():
            found = {c.code: c for c in health.checks(state.of(host.app), "")}
        assert "is another key" in found["connection"].text
        assert OTHER[:28] not in admin.page
        host.configure(API_KEY=host.sandbox.api_key)
        assert "There is another key in the configuration" not in admin.open()

    def test_a_refresh_takes_it(self, host: Host, admin: Admin) -> None:
        host.connect()
        host.configure(API_KEY=OTHER)
        admin.send("/lists/refresh")
        assert "Mailchimp refused the API key" in admin.text  # the new one: it was used
        host.configure(API_KEY=host.sandbox.api_key)
        admin.send("/lists/refresh")
        assert "Lists fetched." in admin.text

    @pytest.mark.parametrize("key", ["nonsense", OTHER + "\n", "", f"{OTHER}.evil.example/"])
    def test_a_text_that_is_no_key_is_refused_at_start_and_not_shown(
        self, tmp_path: Path, clock: Clock, key: str
    ) -> None:
        with pytest.raises(ConfigError, match="API_KEY is not a Mailchimp API key") as refused:
            make_app(tmp_path, "http://127.0.0.1/3.0/", clock, MAILCHIMP_OPTIN_API_KEY=key)
        assert not key.strip() or key.strip() not in str(refused.value)

    def test_it_is_refused_where_there_are_tenants(self, tmp_path: Path, clock: Clock) -> None:
        tenants = CustomerMapping(**{**vars(MAPPING), "tenant": "given_name"})
        with pytest.raises(ConfigError, match="is one key, and the mapping has tenants"):
            make_app(
                tmp_path,
                "http://127.0.0.1/3.0/",
                clock,
                mapping=tenants,
                tenant=lambda: "a",
                MAILCHIMP_OPTIN_API_KEY=OTHER,
            )


class TestReplacingTheKey:
    @pytest.fixture
    def host(self, tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
        with hosting(tmp_path, sandbox, clock) as made:
            yield made

    def test_before_it_is_said_what_another_key_changes(
        self, connected: Host, admin: Admin
    ) -> None:
        admin.open()
        assert "Another key of the same account: nothing else." in admin.text
        assert "A key of another account: its lists take the place of these" in admin.text

    def test_one_of_the_same_account_changes_nothing_else(
        self, connected: Host, admin: Admin
    ) -> None:
        before = connected.overview().settings
        admin.connect(connected.sandbox.api_key)
        assert "The key was replaced. Everything else stays as it was." in admin.text
        assert connected.overview().settings == before

    def test_one_of_another_account_is_pointed_out(self, connected: Host, admin: Admin) -> None:
        connected.sandbox._account.audiences.clear()
        connected.sandbox.add_audience("Theirs")
        admin.connect(connected.sandbox.api_key)
        assert "This key belongs to another account" in admin.text
        master = connected.overview().master
        assert master is not None
        assert master.name == "Theirs"
