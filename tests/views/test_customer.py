"""A customer's history: every decision, the state now, and nobody else's customers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, url_for
from sqlalchemy import insert

from flask_mailchimp_optin import CustomerMapping, MailchimpOptin, overviews
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import KEY, Clock, Customer, Host, database_url, db
from tests.views.admin import ROOT, Admin


@pytest.fixture
def admin(host: Host) -> Admin:
    return Admin(host.app.test_client())


def record(host: Host, key: str, **values: Any) -> None:
    """A row in the ledger."""
    row = {
        "tenant": "",
        "customer_key": key,
        "value": True,
        "decided_at": host.clock(),
        "recorded_at": host.clock(),
        "source": "code",
        **values,
    }
    table = host.services.tables.decision
    with host.app.app_context():
        host.services.transact(lambda tx: tx.execute(insert(table), [row]))


def test_every_decision_with_who_when_how_and_mailchimps_answer(
    connected: Host, admin: Admin
) -> None:
    with connected.app.app_context():
        decided = connected.mailchimp.decided_by(
            actor="clerk 7", source="checkout", wording="Send me news", ip="192.0.2.77"
        )
        with decided:
            customer = Customer(mail="ada@example.com", wants_news=True)
            db.session.add(customer)
            db.session.commit()
        key = customer.id
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    admin.open(f"/customers/{key}")
    assert "Not subscribed at Mailchimp." in admin.text
    assert "ada@example.com" in admin.text
    for words in ("clerk 7", "checkout", "Send me news", "the person, at Mailchimp", "undecided"):
        assert words in admin.text
    assert "(subscribed, changed there" in admin.text
    assert admin.text.index("No 20") < admin.text.index("Yes 20")


def test_a_customer_without_a_decision_has_a_page(connected: Host, admin: Admin) -> None:
    key = connected.add("ada@example.com")
    connected.work()
    admin.open(f"/customers/{key}")
    assert "Has not decided yet." in admin.text
    assert "No decision yet" in admin.text


def test_a_deleted_customer_keeps_their_decisions(connected: Host, admin: Admin) -> None:
    key = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.delete(key)
    connected.work()
    admin.open(f"/customers/{key}")
    assert "no longer exists" in admin.text
    assert "Yes" in admin.text


@pytest.mark.parametrize(
    "key",
    [
        "999",
        "01",
        "abc",
        "9" * 30,
        "-1",
        "a/b",
        "%00",
        "%FF",
        "[1",
        "..%2f..%2fetc",
        "%0a",
        "é" * 500,
    ],
)
def test_an_unknown_customer_is_not_found(connected: Host, admin: Admin, key: str) -> None:
    connected.add("ada@example.com", wants_news=True)
    assert admin.client.get(f"{ROOT}/customers/{key}").status_code == 404


@pytest.mark.parametrize(
    "key",
    [
        "plain",
        "with/slash",
        "//double//",
        "/leading",
        "trailing/",
        '["a", "b"]',
        "question?mark#hash",
        "per%cent",
        "new\nline",
        "ünï çødé",
        '"><script>alert(1)</script>',
    ],
)
def test_a_key_may_hold_any_characters(connected: Host, admin: Admin, key: str) -> None:
    record(connected, key)
    with connected.app.test_request_context():
        url = url_for("mailchimp_optin.customer", key=key)
    answer = admin.client.get(url)
    assert answer.status_code == 200, url
    page = answer.get_data(as_text=True)
    assert "<script>" not in page
    assert "Yes" in page


def test_what_mailchimp_said_is_asked_for_again(connected: Host, admin: Admin) -> None:
    key = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.sandbox.hold_rings()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    admin.send(f"/look-again/{key}", open_first=f"/customers/{key}")
    assert "A worker looks at Mailchimp now." in admin.text
    assert "Mailchimp is about to be asked" in admin.text
    connected.work()
    admin.open(f"/customers/{key}")
    assert "Not subscribed at Mailchimp." in admin.text
    assert "not ticked" in admin.text


def test_who_is_gone_is_not_looked_for(connected: Host, admin: Admin) -> None:
    record(connected, "gone")
    admin.open("/customers/gone")
    assert "Look again now" not in admin.text
    assert admin.client.post(f"{ROOT}/look-again/nobody", data={}).status_code == 400


def test_an_export_is_a_file_that_nobody_keeps(connected: Host, admin: Admin) -> None:
    key = connected.add("ada@example.com", wants_news=True)
    connected.work()
    admin.open(f"/customers/{key}")
    assert f'href="{ROOT}/export/{key}"' in admin.page
    answer = admin.client.get(f"{ROOT}/export/{key}")
    assert answer.mimetype == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    disposition = answer.headers["Content-Disposition"]
    assert disposition == f'attachment; filename="customer-{key}.json"'
    assert answer.get_json()["customer"] == {"address": "ada@example.com", "opt_in": True}


def test_a_files_name_is_harmless(connected: Host, admin: Admin) -> None:
    record(connected, 'a/"b\r\n..')
    with connected.app.test_request_context():
        url = url_for("mailchimp_optin.export", key='a/"b\r\n..')
    disposition = admin.client.get(url).headers["Content-Disposition"]
    assert disposition == 'attachment; filename="customer-a_b_...json"'


@pytest.mark.parametrize("page", ["export", "erase"])
def test_nobody_has_no_export_and_no_erasing(connected: Host, admin: Admin, page: str) -> None:
    assert admin.client.get(f"{ROOT}/{page}/999").status_code == 404
    assert admin.client.get(f"{ROOT}/{page}/%00").status_code == 404


def test_erasing_says_what_goes_and_what_stays_and_does_it(connected: Host, admin: Admin) -> None:
    key = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.change(key, wants_news=False)
    connected.work()
    admin.open(f"/erase/{key}")
    for words in ("ada@example.com, in Newsletter", "keyed hash", "can’t be undone", "2 decisions"):
        assert words in admin.text
    admin.send(f"/erase/{key}", open_first=f"/erase/{key}")
    assert "Erased, here and at Mailchimp." in admin.text
    assert connected.status("ada@example.com") is None


def test_a_ticked_customer_has_no_button_to_erase(connected: Host, admin: Admin) -> None:
    key = connected.add("ada@example.com", wants_news=True)
    connected.work()
    admin.open(f"/erase/{key}")
    assert "Untick it and save the customer first" in admin.text
    assert "Erase for good" not in admin.text
    admin.send(f"/erase/{key}", open_first=f"/erase/{key}")
    assert connected.status("ada@example.com") == "subscribed"


def test_erasing_that_mailchimp_refuses_says_so(connected: Host, admin: Admin) -> None:
    key = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.change(key, wants_news=False)
    connected.work()
    connected.sandbox.fail_next(503, times=20, path="delete-permanent")
    answer = admin.send(f"/erase/{key}", open_first=f"/erase/{key}")
    assert answer.status_code == 200
    assert 'class="mco-note mco-error"' in admin.page
    assert connected.status("ada@example.com") == "unsubscribed"


def test_a_hostile_wording_is_escaped(connected: Host, admin: Admin) -> None:
    evil = '"><script>alert(1)</script>'
    record(connected, "x", wording=evil, actor=evil, receipt=evil, page=evil, source=evil)
    assert "<script>" not in admin.open("/customers/x")


class TestTenants:
    """Two tenants; the customer's ``notes`` name theirs, the test says whose administrator asks."""

    @pytest.fixture
    def shared(self, tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
        with sandbox.serve() as url:
            app = Flask("shared")
            app.config.update(
                SECRET_KEY="a test's secret",
                TESTING=True,
                SQLALCHEMY_DATABASE_URI=database_url(tmp_path),
                MAILCHIMP_OPTIN_ENCRYPTION_KEYS=[KEY],
                MAILCHIMP_OPTIN_API_URL=url,
                MAILCHIMP_OPTIN_REDIS_URL="redis://127.0.0.1:1/0",
                WHOSE="one",
            )
            db.init_app(app)
            app.config["TEST_MAILCHIMP"] = mailchimp = MailchimpOptin()
            mailchimp.init_app(
                app,
                db,
                Customer,
                mapping=CustomerMapping(email="mail", opt_in="wants_news", tenant="notes"),
                authorize=lambda: True,
                tenant=lambda: app.config["WHOSE"],
                clock=clock,
            )
            with app.app_context():
                db.drop_all()
                db.create_all()
            yield Host(app, sandbox, clock, Customer)
            with app.app_context():
                db.session.remove()
                db.drop_all()
                for engine in db.engines.values():
                    engine.dispose()

    def test_a_customer_of_another_tenant_is_not_found(self, shared: Host) -> None:
        admin = Admin(shared.app.test_client())
        mine = shared.add("ada@example.com", wants_news=True, notes="one")
        theirs = shared.add("bob@example.com", wants_news=True, notes="two")
        admin.open(f"/customers/{mine}")
        for page in ("customers", "export", "erase"):
            assert admin.client.get(f"{ROOT}/{page}/{theirs}").status_code == 404
        for act in ("look-again", "erase"):
            answer = admin.send(f"/{act}/{theirs}")
            assert answer.status_code == 404
        admin.open("/activity")
        assert "bob@example.com" not in admin.page

    def test_each_administrator_has_their_own_connection(self, shared: Host) -> None:
        admin = Admin(shared.app.test_client())
        admin.connect(shared.sandbox.api_key)
        assert "Mailchimp is connected" in admin.text
        shared.app.config["WHOSE"] = "two"
        admin.open()
        assert "Connect Mailchimp" in admin.text
        with shared.app.app_context():
            assert overviews.tenants(shared.services) == ["one"]

    def test_the_request_cannot_choose_the_tenant(self, shared: Host) -> None:
        admin = Admin(shared.app.test_client())
        admin.connect(shared.sandbox.api_key)
        shared.app.config["WHOSE"] = "two"
        admin.open("/?tenant=one")
        assert "Connect Mailchimp" in admin.text

    def test_a_contact_of_another_tenant_is_not_retried(self, shared: Host) -> None:
        admin = Admin(shared.app.test_client())
        admin.connect(shared.sandbox.api_key)
        admin.save(enabled="y")
        shared.add("ada@example.com", wants_news=True, notes="one")
        shared.work()
        shared.sandbox.clean(next(iter(shared.sandbox.audiences)), "ada@example.com")
        admin.send("/activity/sync", open_first="/activity")
        shared.work()
        contact = shared.rows("contact")[0]
        assert contact.refusal == "bounced"
        shared.app.config["WHOSE"] = "two"
        admin.connect(shared.sandbox.api_key)
        admin.send("/activity/retry", contact_id=contact.id)
        assert "nothing to try again" in admin.text
        assert shared.rows("contact")[0].refusal == "bounced"
