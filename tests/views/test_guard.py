"""Who may open the pages and act on them, and what every page keeps to."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import abort, redirect
from flask_wtf import CSRFProtect
from jinja2 import DictLoader
from sqlalchemy import select

from flask_mailchimp_optin import connect
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import MAPPING, Clock, Host, db, hosting
from tests.views.admin import ROOT, Admin

PAGES = [
    "/",
    "/activity",
    "/activity/progress",
    "/activity/attention",
    "/activity/attention.csv",
    "/activity/webhooks",
    "/login/done",
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
    "/login",
    "/moved",
    "/activity/sync",
    "/activity/resume",
    "/activity/cancel",
    "/activity/pause",
    "/activity/attention",
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


#: Every route and method behind the host's ``authorize``.
DOORS = [
    *((method, path) for path in PAGES for method in ("GET", "HEAD", "OPTIONS")),
    *(("POST", path) for path in ACTS),
    ("GET", "/static/mailchimp_optin.css"),
]


def _raises() -> bool:
    raise RuntimeError("the session's store is down")


def _aborts() -> bool:
    abort(404)


async def _later() -> bool:
    return True


def _unawaited() -> Any:
    waits = _later()
    waits.close()  # nobody will await it, which Python would complain about
    return waits


NOS: dict[str, Callable[[], Any]] = {
    "False": lambda: False,
    "None": lambda: None,
    "0": lambda: 0,
    "nothing": str,
}
#: What counts as true in Python, and isn't a host's yes.
NO_ANSWERS: dict[str, Callable[[], Any]] = {
    "raises": _raises,
    "aborts": _aborts,
    "redirects": lambda: redirect("/login"),
    "async": _unawaited,
    "1": lambda: 1,
    "text": lambda: "no",
    "somebody": object,
}


def everything(host: Host) -> list[Any]:
    """All that the database holds of ours and of the customers."""
    names = [field.name for field in fields(host.services.tables)]
    with host.app.app_context():
        theirs = db.session.execute(select(host.model.__table__)).all()
    return [theirs, *(host.rows(name) for name in names)]


class TestWhoMay:
    def test_these_are_all_the_routes(self, host: Host) -> None:
        rules = [
            r for r in host.app.url_map.iter_rules() if r.endpoint.startswith("mailchimp_optin.")
        ]
        acts = {_path(r.rule) for r in rules if "POST" in (r.methods or ())}
        pages = {_path(r.rule) for r in rules if "GET" in (r.methods or ())}
        assert acts == set(ACTS)
        assert {p for p in pages if "<" not in p} == set(PAGES)

    @pytest.mark.parametrize("answer", [*NOS, *NO_ANSWERS])
    def test_every_door_is_closed_unless_the_host_says_true(
        self, connected: Host, caplog: pytest.LogCaptureFixture, answer: str
    ) -> None:
        client = connected.app.test_client()
        admin = Admin(client)
        admin.open()
        before, asked = everything(connected), len(connected.sandbox.requests)
        connected.app.config["TEST_MAY"] = (NOS | NO_ANSWERS)[answer]
        form = {"csrf_token": admin.token(), "confirm": "y", "all": "yes", "on_delete": "leave"}
        for method, path in DOORS:
            data = form if method == "POST" else None
            refused = client.open(ROOT + path, method=method, data=data)
            assert refused.status_code == 403, (method, path)
            assert "Location" not in refused.headers
        assert everything(connected) == before
        assert len(connected.sandbox.requests) == asked
        told = "authorize" in caplog.text
        assert told is (answer in NO_ANSWERS), "a host's mistake is told in its log"

    def test_the_webhooks_door_asks_nobody(self, connected: Host) -> None:
        connected.app.config["TEST_MAY"] = NOS["False"]
        customer = connected.add("ada@example.com", wants_news=True)
        connected.work()
        connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
        connected.work()
        assert connected.box(customer) is False

    def test_who_did_what_is_told_in_the_log(
        self, connected: Host, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "flask_mailchimp_optin")
        key = connected.add("ada@example.com", wants_news=False)
        connected.work()
        vars(connected.app)["login_manager"] = object()  # as Flask-Login leaves its mark
        admin = Admin(connected.app.test_client())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("flask_login.utils._get_user", lambda: SimpleNamespace(get_id=lambda: 7))
            for path in ("/activity/sync", f"/erase/{key}", "/disconnect"):
                admin.send(path, confirm="y", on_delete="leave")
            admin.client.get(f"{ROOT}/export/{key}").close()
            admin.client.get(f"{ROOT}/activity/attention.csv").close()
            admin.open("/activity")
        told = [r for r in caplog.records if r.message == "an administrator acted"]
        assert [vars(one)["endpoint"].partition(".")[2] for one in told] == [
            "sync_now",
            "erase",
            "disconnect",
            "export",
            "download",
        ]
        assert {(vars(one)["actor"], vars(one)["tenant"]) for one in told} == {("7", "")}

    def test_who_was_not_let_in_is_told_in_the_log(
        self, connected: Host, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "flask_mailchimp_optin")
        client = connected.app.test_client()
        client.post(f"{ROOT}/disconnect", data={"confirm": "y"})
        connected.app.config["TEST_MAY"] = NOS["False"]
        client.get(f"{ROOT}/activity")
        client.post(f"{ROOT}/webhook/guessed", data={"type": "unsubscribe"})
        assert [r.message for r in caplog.records] == [
            "a form without a good token was refused",
            "somebody was not let in",
            "a webhook was refused",
        ]

    @pytest.mark.parametrize("token", ["none", "forged", "of another session"])
    @pytest.mark.parametrize("path", ACTS)
    def test_acts_without_a_good_token_do_nothing(
        self, connected: Host, path: str, token: str
    ) -> None:
        other = Admin(connected.app.test_client())
        other.open()
        given = {"none": None, "forged": "forged", "of another session": other.token()}[token]
        before = everything(connected)
        client = connected.app.test_client()
        client.get(f"{ROOT}/")
        data = {"confirm": "y", "all": "yes", "on_delete": "leave"}
        data |= {} if given is None else {"csrf_token": given}
        answer = client.post(ROOT + path, data=data)
        assert answer.status_code == 400
        assert "Nothing was changed" in answer.get_data(as_text=True)
        assert everything(connected) == before

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
            assert host.overview() == before

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

    @pytest.mark.parametrize("may", [True, False], ids=["allowed", "denied"])
    def test_what_is_shown_stays_with_whom_it_is_shown_to(self, connected: Host, may: bool) -> None:
        connected.add("ada@example.com", wants_news=True)
        connected.work()
        connected.app.config["TEST_MAY"] = lambda: may
        client, statuses = connected.app.test_client(), set()
        for method, path in [*DOORS, ("GET", "/customers/none"), ("GET", "/static/none.css")]:
            answer = client.open(ROOT + path, method=method)
            answer.close()
            statuses.add(answer.status_code)
            assert answer.headers["X-Frame-Options"] == "DENY", (method, path)
            assert answer.headers["X-Content-Type-Options"] == "nosniff", (method, path)
            assert answer.headers["Referrer-Policy"] == "same-origin", (method, path)
            policy = answer.headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in policy, (method, path)
            assert "unsafe" not in policy, (method, path)
            if "static" not in path:
                assert "no-store" in answer.headers["Cache-Control"], (method, path)
        assert statuses == ({200, 400, 404} if may else {403})

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


class TestAnotherTenant:
    """Red's administrator, who knows every number of Blue's, at every door."""

    @pytest.fixture
    def both(self, tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
        """Blue is connected, has people, somebody who needs attention, a ring and syncs."""
        whose = {"tenant": "blue"}
        mapping = replace(MAPPING, tenant="notes", audience=None)
        tenant = partial(whose.__getitem__, "tenant")
        with hosting(tmp_path, sandbox, clock, mapping=mapping, tenant=tenant) as host:
            admin = Admin(host.app.test_client())
            admin.connect(sandbox.api_key)
            admin.save(enabled="y")
            host.list_id = next(iter(sandbox.audiences))
            for name in ("blue.one", "blue.two"):
                host.add(f"{name}@example.com", wants_news=True, given_name="Blue", notes="blue")
            host.work()
            sandbox.unsubscribe(host.list_id, "blue.one@example.com")
            sandbox.clean(host.list_id, "blue.two@example.com")
            host.work()
            whose["tenant"] = "red"
            yield host

    @pytest.mark.parametrize("connects", [False, True], ids=["not-connected", "connected"])
    def test_nothing_is_seen_changed_or_asked_for(self, both: Host, connects: bool) -> None:
        admin = Admin(both.app.test_client())
        admin.open()
        if connects:
            admin.connect(both.sandbox.api_key)
            assert "Mailchimp is connected" in admin.text
        before, numbers = self._of_blue(both), self._numbers(both)
        assert all(numbers.values())
        keys = [str(row.customer_key) for row in both.rows("customer")]
        for method, path in DOORS:
            for turn in range(2):
                key = keys[turn]
                form = {name: ids[turn % len(ids)] for name, ids in numbers.items()}
                form |= {"tenant": "blue", "customer_key": key, "confirm": "y", "all": "yes"}
                form |= {"csrf_token": admin.token(), "list_id": both.list_id}
                address = ROOT + path.removesuffix("/1") + (f"/{key}" if "/1" in path else "")
                send: Any = {"data": form} if method == "POST" else {"query_string": form}
                answer = admin.client.open(address, method=method, follow_redirects=True, **send)
                page = answer.get_data(as_text=True)
                answer.close()
                assert answer.status_code in (200, 400, 404, 422), (method, path)
                assert "blue." not in page, (method, path)
                assert "static" in path or "Blue" not in page, (method, path)
        assert self._of_blue(both) == before

    def _numbers(self, host: Host) -> dict[str, list[Any]]:
        """What forms and addresses name rows by."""
        contacts, rings = ([r.id for r in host.rows(t)] for t in ("contact", "webhook_event"))
        runs = [row.id for row in host.rows("sync_run")]
        return {"contact_id": contacts, "ring_id": rings, "run": runs, "after": contacts}

    def _of_blue(self, host: Host) -> list[Any]:
        """Everything that is Blue's in the database."""
        (blue,) = [row for row in host.rows("connection") if row.tenant == "blue"]
        owners = {"tenant": "blue", "connection_id": blue.id}
        account = host.sandbox
        return [
            blue,
            account.members(host.list_id),
            account.webhooks(host.list_id),
            [
                row
                for field in fields(host.services.tables)
                for row in host.rows(field.name)
                if any(row._mapping.get(name) == owner for name, owner in owners.items())
            ],
            everything(host)[0],
        ]
