"""Who may open the pages and act on them, and what every page keeps to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask_wtf import CSRFProtect
from jinja2 import DictLoader

from flask_mailchimp_optin import connect, overviews
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import Clock, Host, hosting
from tests.views.admin import ROOT, Admin


@pytest.fixture
def admin(host: Host) -> Admin:
    return Admin(host.app.test_client())


def overview(host: Host) -> overviews.Overview:
    with host.app.app_context():
        return overviews.read(host.services, "")


PAGES = [
    "/",
    "/activity",
    "/activity/progress",
    "/activity/attention",
    "/activity/attention.csv",
    "/activity/webhooks",
    "/customers/1",
    "/export/1",
    "/erase/1",
]
ACTS = [
    "/",
    "/lists/refresh",
    "/lists/store",
    "/webhooks/repair",
    "/disconnect",
    "/moved",
    "/activity/sync",
    "/activity/resume",
    "/activity/cancel",
    "/activity/pause",
    "/activity/retry",
    "/activity/webhooks/replay",
    "/fields/create",
    "/fields/read",
    "/webhooks/rotate",
    "/look-again/1",
    "/erase/1",
]


def _path(rule: str) -> str:
    return rule.removeprefix(ROOT).replace("<mailchimp_optin_key:key>", "1")


class TestWhoMay:
    def test_these_are_all_the_routes(self, host: Host) -> None:
        rules = [
            r for r in host.app.url_map.iter_rules() if r.endpoint.startswith("mailchimp_optin.")
        ]
        acts = {_path(r.rule) for r in rules if "POST" in (r.methods or ())}
        pages = {_path(r.rule) for r in rules if "GET" in (r.methods or ())}
        assert acts == set(ACTS)
        assert {p for p in pages if "<" not in p} == set(PAGES)

    @pytest.mark.parametrize("path", PAGES)
    def test_pages_are_closed_to_whom_the_host_denies(self, connected: Host, path: str) -> None:
        connected.app.config["TEST_DENY"] = True
        assert connected.app.test_client().get(ROOT + path).status_code == 403

    @pytest.mark.parametrize("path", ACTS)
    def test_acts_are_closed_to_whom_the_host_denies(self, connected: Host, path: str) -> None:
        client = connected.app.test_client()
        admin = Admin(client)
        admin.open()
        connected.app.config["TEST_DENY"] = True
        answer = client.post(ROOT + path, data={"csrf_token": admin.token(), "confirm": "y"})
        assert answer.status_code == 403

    @pytest.mark.parametrize("token", [{}, {"csrf_token": "forged"}], ids=["none", "forged"])
    @pytest.mark.parametrize("path", ACTS)
    def test_acts_without_a_good_token_do_nothing(
        self, connected: Host, path: str, token: dict[str, str]
    ) -> None:
        before = overview(connected)
        client = connected.app.test_client()
        client.get(f"{ROOT}/")
        data = {"confirm": "y", "all": "yes", "on_delete": "leave"} | token
        answer = client.post(ROOT + path, data=data)
        assert answer.status_code == 400
        assert "Nothing was changed" in answer.get_data(as_text=True)
        assert overview(connected) == before

    def test_the_same_where_the_host_has_csrfprotect(
        self, tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
    ) -> None:
        with hosting(tmp_path, sandbox, clock) as host:
            CSRFProtect(host.app)
            with host.app.app_context():
                before = connect.connect(host.services, "", sandbox.api_key)
            for path in ACTS:
                answer = host.app.test_client().post(ROOT + path, data={"confirm": "y"})
                assert answer.status_code == 400, path
                assert "Nothing was changed" in answer.get_data(as_text=True)
            assert overview(host) == before

    def test_it_works_when_the_host_has_csrfprotect(
        self, tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
    ) -> None:
        with hosting(tmp_path, sandbox, clock) as host:
            CSRFProtect(host.app)
            admin = Admin(host.app.test_client())
            admin.connect(sandbox.api_key)
            admin.save(enabled="y")
            assert "The initial sync has begun" in admin.text
            host.work()
            assert sandbox.webhooks(next(iter(sandbox.audiences)))

    def test_a_host_that_turned_csrf_off_for_its_tests_may(self, host: Host) -> None:
        host.app.config["WTF_CSRF_ENABLED"] = False
        data = {"api_key": host.sandbox.api_key}
        answer = host.app.test_client().post(f"{ROOT}/", data=data, follow_redirects=True)
        assert "Mailchimp is connected" in answer.get_data(as_text=True)

    def test_nothing_inline_and_nothing_from_elsewhere(self, connected: Host, admin: Admin) -> None:
        for path in ("/", "/activity"):
            page = admin.open(path)
            assert "<style" not in page
            assert " style=" not in page
            assert " onclick" not in page
            assert "<script>" not in page
            assert 'src="http' not in page
        answer = connected.app.test_client().get(f"{ROOT}/")
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"

    def test_ids_are_unique(self, connected: Host, admin: Admin) -> None:
        for path in ("/", "/activity"):
            ids = re.findall(r' id="([^"]+)"', admin.open(path))
            assert len(ids) == len(set(ids))

    def test_the_host_can_give_the_pages_its_own_frame(self, host: Host) -> None:
        blocks = "{% block nav %}{% endblock %}{% block content %}{% endblock %}"
        frame = "<title>{% block title %}{% endblock %}</title>OURS" + blocks
        host.app.jinja_loader = DictLoader({"mailchimp_optin/base.html": frame})
        page = host.app.test_client().get(f"{ROOT}/").get_data(as_text=True)
        assert page.startswith("<title>Settings")
        assert "OURS" in page
        assert "API key" in page
        assert ">Activity</a>" in page
