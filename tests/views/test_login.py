"""Connecting by Mailchimp's login: there and back over real HTTP, and every answer that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from flask.testing import FlaskClient

from flask_mailchimp_optin import health, state
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import MAPPING, Clock, Host, hosting
from tests.views.admin import ROOT, Admin

BACK = f"https://host.example.com{ROOT}/login/done"
NOT_AWAITED = "this answer of Mailchimp is too old, was used already"


@contextmanager
def with_login(
    folder: Path, sandbox: MailchimpSandbox, clock: Clock, **more: Any
) -> Iterator[Host]:
    app = sandbox.register_app(BACK)
    given = {"OAUTH_CLIENT_ID": app.client_id, "OAUTH_CLIENT_SECRET": app.client_secret}
    config = {f"MAILCHIMP_OPTIN_{name}": value for name, value in given.items()}
    with hosting(folder, sandbox, clock, **config, **more) as made:
        yield made


@pytest.fixture
def host(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
    with with_login(tmp_path, sandbox, clock) as made:
        yield made


def asked(admin: Admin) -> str:
    """Press the button; where at Mailchimp one is sent."""
    admin.open()
    answer = admin.client.post(f"{ROOT}/login", data={"csrf_token": admin.token()})
    assert answer.status_code == 303
    return answer.headers["Location"]


def answered(address: str, agree: str = "yes") -> str:
    """Press a button at Mailchimp; where one is sent back, as path and query."""
    assert requests.get(address, timeout=5).status_code == 200
    answer = requests.post(address, data={"agree": agree}, allow_redirects=False, timeout=5)
    assert answer.status_code == 303
    back = answer.headers["Location"]
    assert back.startswith(f"{BACK}?")
    return back.removeprefix("https://host.example.com")


def returned(client: FlaskClient, path: str) -> Admin:
    """Back at the settings page, by that address."""
    admin = Admin(client)
    answer = client.get(path, follow_redirects=True)
    assert answer.status_code == 200
    admin.page = answer.text
    return admin


def log_in(admin: Admin) -> None:
    admin.page = returned(admin.client, answered(asked(admin))).page


class TestThereAndBack:
    def test_who_agrees_is_connected_and_customers_go_there(self, host: Host, admin: Admin) -> None:
        log_in(admin)
        assert (
            "The login works: it belongs to the account Sandbox Ltd , which has 1 list"
            in admin.text
        )
        assert "by a login at Mailchimp" in admin.text
        assert "What was agreed to at Mailchimp holds there until it is revoked there" in admin.text
        admin.save(enabled="y")
        key = host.add("ada@example.com", wants_news=True)
        host.work()
        host.list_id = next(iter(host.sandbox.audiences))
        assert host.status("ada@example.com") == "subscribed"
        host.sandbox.unsubscribe(host.list_id, "ada@example.com")
        host.work()
        assert host.box(key) is False

    def test_mailchimp_is_asked_as_it_wants_to_be(self, host: Host, admin: Admin) -> None:
        found = parse_qs(urlsplit(asked(admin)).query)
        assert found.keys() == {"response_type", "client_id", "redirect_uri", "state"}
        assert (found["response_type"], found["redirect_uri"]) == (["code"], [BACK])
        assert len(found["state"][0]) == 43
        assert parse_qs(urlsplit(asked(admin)).query)["state"] != found["state"]

    def test_the_requests_host_does_not_decide_where_one_comes_back(self, admin: Admin) -> None:
        there = {"base_url": "https://evil.example.com"}
        admin.page = admin.client.get(f"{ROOT}/", **there).text
        answer = admin.client.post(f"{ROOT}/login", data={"csrf_token": admin.token()}, **there)
        assert parse_qs(urlsplit(answer.headers["Location"]).query)["redirect_uri"] == [BACK]

    def test_the_token_is_sealed_and_shown_nowhere(self, host: Host, admin: Admin) -> None:
        log_in(admin)
        (token,) = host.sandbox.access_tokens
        (row,) = host.rows("connection")
        assert token not in admin.page + str(row)
        assert token[28:] not in row.key_hint
        assert host.services.vault.open(row.sealed_key, "api-key:") == f"oauth:us6:{token}"

    def test_a_list_leads_to_its_settings_at_mailchimp(self, host: Host, admin: Admin) -> None:
        log_in(admin)
        assert host.overview().lists[0].settings_url.startswith("https://us6.admin.mailchimp.com/")

    def test_the_policy_lets_the_button_lead_there(self, host: Host, admin: Admin) -> None:
        policy = admin.client.get(f"{ROOT}/").headers["Content-Security-Policy"]
        assert f"form-action 'self' {host.sandbox.page_url.rstrip('/')};" in policy

    def test_a_key_and_a_login_take_each_others_place(self, host: Host, admin: Admin) -> None:
        host.connect()
        before = host.overview().settings
        log_in(admin)
        assert "Mailchimp is connected anew. Everything else stays as it was." in admin.text
        assert host.overview().by_login
        assert host.overview().settings == before
        admin.connect(host.sandbox.api_key)
        assert "The key was replaced." in admin.text
        assert not host.overview().by_login

    def test_another_account_is_pointed_out(self, host: Host, admin: Admin) -> None:
        host.connect()
        host.sandbox._account.audiences.clear()
        host.sandbox.add_audience("Theirs")
        log_in(admin)
        assert "You logged in to another account" in admin.text

    def test_the_commands_say_how_it_is_connected(self, host: Host, admin: Admin) -> None:
        log_in(admin)
        admin.save(enabled="y")
        host.work()
        told = host.app.test_cli_runner().invoke(args=["mailchimp", "status"]).output
        assert "Connected with Sandbox Ltd (by OAuth OAuth-us6), enabled." in told
        with host.app.app_context():
            found = {check.code: check for check in health.checks(state.of(host.app), "")}
        assert found["connection"].text == (
            "Connected with Sandbox Ltd by its login (OAuth) and enabled."
        )


class TestARevokedToken:
    def test_stops_the_connection_and_keeps_the_work(self, host: Host, admin: Admin) -> None:
        log_in(admin)
        admin.save(enabled="y")
        host.work()
        host.list_id = next(iter(host.sandbox.audiences))
        host.sandbox.revoke_tokens()
        host.add("ada@example.com", wants_news=True)
        host.work()
        admin.open()
        assert "Mailchimp no longer lets this application in" in admin.text
        assert "Press “Connect with Mailchimp” below" in admin.text
        assert "API key: it is wrong" not in admin.text
        log_in(admin)
        host.clock.turn(minutes=1)
        host.work()
        assert host.status("ada@example.com") == "subscribed"


class TestWhatIsRefused:
    def refused(self, host: Host, admin: Admin, words: str = NOT_AWAITED) -> None:
        assert words in admin.text
        assert not host.overview().connected

    def untouched(self, host: Host) -> bool:
        """Whether Mailchimp was not even asked."""
        return not [r for r in host.sandbox.requests if r.path.startswith("/oauth2/")]

    def test_to_decline_changes_nothing(self, host: Host, admin: Admin) -> None:
        back = answered(asked(admin), agree="no")
        self.refused(host, returned(admin.client, back), "access was declined at Mailchimp")

    def test_another_error_is_said_in_words_of_ours(self, host: Host, admin: Admin) -> None:
        sent = parse_qs(urlsplit(asked(admin)).query)["state"][0]
        query = urlencode({"state": sent, "error": "<evil>", "error_description": "<evil>"})
        page = returned(admin.client, f"{ROOT}/login/done?{query}")
        self.refused(host, page, "Mailchimp did not let this application ask")
        assert "evil" not in page.page

    def test_an_answer_that_nobody_asked_for(self, host: Host, admin: Admin) -> None:
        back = answered(asked(admin))
        self.refused(host, returned(host.app.test_client(), back))
        assert self.untouched(host)

    @pytest.mark.parametrize("sent", ["", "x" * 43, "\u00e9", None])
    def test_another_state_or_none(self, host: Host, admin: Admin, sent: str | None) -> None:
        good = parse_qs(urlsplit(answered(asked(admin))).query)
        query = {"code": good["code"][0]} | ({} if sent is None else {"state": sent})
        self.refused(host, returned(admin.client, f"{ROOT}/login/done?{urlencode(query)}"))
        assert self.untouched(host)
        again = {"code": good["code"][0], "state": good["state"][0]}  # one try is all there is
        self.refused(host, returned(admin.client, f"{ROOT}/login/done?{urlencode(again)}"))

    def test_a_state_is_good_for_once(self, host: Host, admin: Admin) -> None:
        back = answered(asked(admin))
        assert "Mailchimp is connected" in returned(admin.client, back).text
        calls = len(host.sandbox.requests)
        assert NOT_AWAITED in returned(admin.client, back).text
        assert len(host.sandbox.requests) == calls
        assert host.overview().connected

    def test_the_state_of_an_earlier_try(self, host: Host, admin: Admin) -> None:
        first = answered(asked(admin))
        asked(admin)
        self.refused(host, returned(admin.client, first))

    def test_a_state_lasts_ten_minutes(self, host: Host, admin: Admin) -> None:
        address = asked(admin)
        host.clock.turn(minutes=10, seconds=1)
        self.refused(host, returned(admin.client, answered(address)))
        address = asked(admin)
        host.clock.turn(minutes=9, seconds=50)
        assert "Mailchimp is connected" in returned(admin.client, answered(address)).text

    def test_a_code_that_mailchimp_does_not_take(self, host: Host, admin: Admin) -> None:
        sent = parse_qs(urlsplit(asked(admin)).query)["state"][0]
        query = urlencode({"state": sent, "code": "made-up"})
        page = returned(admin.client, f"{ROOT}/login/done?{query}")
        self.refused(host, page, "Mailchimp did not take back what it had answered with")

    def test_a_wrong_client_secret(self, host: Host, admin: Admin) -> None:
        host.configure(OAUTH_CLIENT_SECRET="f" * 50)
        page = returned(admin.client, answered(asked(admin)))
        self.refused(host, page, "Mailchimp does not know this application")

    def test_a_forged_form(self, host: Host, admin: Admin) -> None:
        assert admin.client.post(f"{ROOT}/login").status_code == 400
        assert admin.client.get(f"{ROOT}/login").status_code == 405

    @pytest.mark.parametrize("path", ["/login", "/login/done"])
    def test_a_stranger(self, host: Host, path: str) -> None:
        host.app.config["TEST_MAY"] = lambda: False
        client = host.app.test_client()
        answer = client.post(ROOT + path) if path == "/login" else client.get(ROOT + path)
        assert answer.status_code == 403

    def test_where_it_is_not_configured_there_is_none(
        self, tmp_path: Path, clock: Clock, sandbox: MailchimpSandbox
    ) -> None:
        with hosting(tmp_path, sandbox, clock) as plain:
            admin = Admin(plain.app.test_client())
            assert "Connect with Mailchimp" not in admin.open()
            answer = admin.client.post(f"{ROOT}/login", data={"csrf_token": admin.token()})
            assert answer.status_code == 404
            assert admin.client.get(f"{ROOT}/login/done?code=x&state=y").status_code == 404
            policy = admin.client.get(f"{ROOT}/").headers["Content-Security-Policy"]
            assert "form-action 'self';" in policy


class TestWhatMailchimpMayAnswer:
    @pytest.mark.parametrize(
        ("path", "fault"),
        [
            pytest.param("/oauth2/token", {"location": "https://evil.example/"}, id="redirect"),
            pytest.param("/oauth2/token", {"how": "reset"}, id="broken off"),
            pytest.param("/oauth2/token", {"status": 200, "body": "[]"}, id="a list"),
            pytest.param("/oauth2/token", {"status": 200, "body": "<p>"}, id="a page"),
            pytest.param(
                "/oauth2/token", {"status": 200, "body": {"access_token": 1}}, id="number"
            ),
            pytest.param("/oauth2/token", {"status": 503, "body": "<p>"}, id="down"),
            pytest.param("/oauth2/metadata", {"location": "https://evil.example/"}, id="moved"),
            pytest.param("/oauth2/metadata", {"status": 200, "body": {}}, id="no data centre"),
        ],
    )
    def test_what_is_no_answer_changes_nothing(
        self, host: Host, admin: Admin, path: str, fault: dict[str, Any]
    ) -> None:
        host.sandbox.fail_next(path=path, **fault)
        log_in(admin)
        assert "Mailchimp’s login did not answer as it should." in admin.text
        assert not host.overview().connected
        assert not host.calls(path="/3.0/")

    @pytest.mark.parametrize(
        "centre",
        ["evil.example/", "us6.evil.example", "us6@evil.example", "US6", "us6\n", "us6-us7", "", 6],
    )
    def test_a_data_centre_that_is_none_is_never_asked(
        self, host: Host, admin: Admin, centre: object
    ) -> None:
        body = {"dc": centre, "api_endpoint": "https://us6.api.mailchimp.com"}
        host.sandbox.fail_next(200, path="/oauth2/metadata", body=body)
        log_in(admin)
        assert "Mailchimp’s login did not answer as it should." in admin.text
        assert not host.overview().connected
        assert not host.calls(path="/3.0/")

    @pytest.mark.parametrize("token", ["short", "two words" * 4, "line\r\nend" * 4, "é" * 32])
    def test_a_token_that_fits_no_header_is_never_sent(
        self, host: Host, admin: Admin, token: str
    ) -> None:
        host.sandbox.fail_next(200, path="/oauth2/token", body={"access_token": token})
        log_in(admin)
        assert "Mailchimp’s login did not answer as it should." in admin.text
        assert not host.overview().connected
        assert not host.calls(path="metadata")

    def test_an_endless_answer_is_cut_off(self, host: Host, admin: Admin) -> None:
        host.sandbox.fail_next(path="/oauth2/token", how="huge")
        log_in(admin)
        assert not host.overview().connected


class TestTenants:
    @pytest.fixture
    def who(self) -> list[str]:
        return ["red"]

    @pytest.fixture
    def host(
        self, tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock, who: list[str]
    ) -> Iterator[Host]:
        mapping = replace(MAPPING, tenant="notes", audience=None)
        more: dict[str, Any] = {"mapping": mapping, "tenant": lambda: who[0]}
        with with_login(tmp_path, sandbox, clock, **more) as made:
            yield made

    def test_each_is_connected_by_itself(self, host: Host, admin: Admin, who: list[str]) -> None:
        log_in(admin)
        assert (host.overview("red").connected, host.overview("blue").connected) == (True, False)
        who[0] = "blue"
        log_in(admin)
        sealed = {row.tenant: row.sealed_key for row in host.rows("connection")}
        red, blue = (host.services.vault.open(sealed[t], f"api-key:{t}") for t in ("red", "blue"))
        assert red != blue

    def test_what_one_began_no_other_ends(self, host: Host, admin: Admin, who: list[str]) -> None:
        back = answered(asked(admin))
        who[0] = "blue"
        assert NOT_AWAITED in returned(admin.client, back).text
        assert not host.overview("red").connected
        assert not host.overview("blue").connected
