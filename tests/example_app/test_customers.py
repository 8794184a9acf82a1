"""A host's own tests of its use of the extension, with the fixtures that come with it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from example_app.extensions import mailchimp
from example_app.models import Customer, db
from flask_mailchimp_optin.testing import Clock, Connected, MailchimpSandbox, Ring

ADA = {"first_name": "Ada", "last_name": "Abbott", "email": "ada@example.com", "phone": ""}
TICKED = ADA | {"marketing_opt_in": "y"}
RunJobs = Callable[[], None]


def state_beside_the_box(client: FlaskClient) -> str:
    found = re.search(r'data-state="(\w+)"', client.get("/customers/1").text)
    assert found
    return found[1]


def test_an_administrator_connects_on_the_settings_page(
    mailchimp_app: Flask,
    admin: FlaskClient,
    mailchimp_sandbox: MailchimpSandbox,
    mailchimp_run_jobs: RunJobs,
) -> None:
    [master] = mailchimp_sandbox.audiences
    with mailchimp_app.app_context():
        db.session.add(Customer(**ADA, marketing_opt_in=True))
        db.session.commit()
    admin.post("/integrations/mailchimp/", data={"api_key": mailchimp_sandbox.api_key})
    answer = admin.post("/integrations/mailchimp/", data={"enabled": "y", "master_list": master})
    assert answer.status_code == 303
    mailchimp_run_jobs()
    assert list(mailchimp_sandbox.members(master)) == ["ada@example.com"]


def test_a_ticked_customer_is_subscribed_and_an_unticked_one_unsubscribed(
    admin: FlaskClient, mailchimp_connected: Connected, mailchimp_run_jobs: RunJobs
) -> None:
    assert admin.post("/customers/new", data=TICKED).location == "/customers/1"
    assert state_beside_the_box(admin) == "waiting"
    mailchimp_run_jobs()
    assert mailchimp_connected.status("ada@example.com") == "subscribed"
    assert state_beside_the_box(admin) == "subscribed"

    admin.post("/customers/1", data=ADA)
    mailchimp_run_jobs()
    assert mailchimp_connected.status("ada@example.com") == "unsubscribed"
    assert state_beside_the_box(admin) == "unsubscribed"


def test_mailchimp_knows_a_customers_name(
    admin: FlaskClient,
    mailchimp_sandbox: MailchimpSandbox,
    mailchimp_connected: Connected,
    mailchimp_run_jobs: RunJobs,
) -> None:
    admin.post("/customers/new", data=TICKED)
    mailchimp_run_jobs()
    [member] = mailchimp_sandbox.members(mailchimp_connected.list_id).values()
    assert member["merge_fields"]["FNAME"] == "Ada"


def test_who_corrects_their_name_at_mailchimp_has_it_corrected_here(
    mailchimp_app: Flask,
    admin: FlaskClient,
    mailchimp_sandbox: MailchimpSandbox,
    mailchimp_connected: Connected,
    mailchimp_clock: Clock,
    mailchimp_run_jobs: RunJobs,
) -> None:
    admin.post("/customers/new", data=TICKED)
    mailchimp_run_jobs()
    mailchimp_clock.turn(minutes=1)
    mailchimp_sandbox.edit_profile(mailchimp_connected.list_id, "ada@example.com", LNAME="Lovelace")
    mailchimp_run_jobs()
    with mailchimp_app.app_context():
        assert db.session.get_one(Customer, 1).last_name == "Lovelace"


def test_an_unticked_customer_is_unknown_to_mailchimp(
    admin: FlaskClient, mailchimp_connected: Connected, mailchimp_run_jobs: RunJobs
) -> None:
    admin.post("/customers/new", data=ADA)
    mailchimp_run_jobs()
    assert mailchimp_connected.status("ada@example.com") is None
    assert state_beside_the_box(admin) == "never_asked"


def test_who_unsubscribes_at_mailchimp_is_unticked(
    app: Flask,
    admin: FlaskClient,
    mailchimp_sandbox: MailchimpSandbox,
    mailchimp_connected: Connected,
    mailchimp_run_jobs: RunJobs,
) -> None:
    admin.post("/customers/new", data=TICKED)
    mailchimp_run_jobs()
    mailchimp_sandbox.unsubscribe(mailchimp_connected.list_id, "ada@example.com")
    mailchimp_run_jobs()
    with app.app_context():
        assert db.session.get_one(Customer, 1).marketing_opt_in is False


def test_who_signs_up_at_mailchimp_is_ticked(
    app: Flask,
    admin: FlaskClient,
    mailchimp_sandbox: MailchimpSandbox,
    mailchimp_connected: Connected,
    mailchimp_ring: Ring,
) -> None:
    admin.post("/customers/new", data=ADA)
    mailchimp_sandbox.drop_rings(1)
    mailchimp_sandbox.subscribe(mailchimp_connected.list_id, "ada@example.com")
    mailchimp_ring("ada@example.com")  # the first one got lost
    with app.app_context():
        assert db.session.get_one(Customer, 1).marketing_opt_in is True


def test_a_lost_ring_is_made_up_for_by_the_daily_sync(
    app: Flask,
    admin: FlaskClient,
    mailchimp_sandbox: MailchimpSandbox,
    mailchimp_connected: Connected,
    mailchimp_run_jobs: RunJobs,
    mailchimp_clock: Clock,
) -> None:
    admin.post("/customers/new", data=TICKED)
    mailchimp_run_jobs()
    mailchimp_sandbox.drop_rings(1)
    mailchimp_sandbox.unsubscribe(mailchimp_connected.list_id, "ada@example.com")
    mailchimp_clock.turn(days=1)
    mailchimp_run_jobs()
    with app.app_context():
        assert db.session.get_one(Customer, 1).marketing_opt_in is False


@pytest.mark.usefixtures("mailchimp_connected")
def test_the_ledger_knows_who_ticked_the_box_and_what_they_read(
    app: Flask, admin: FlaskClient
) -> None:
    page = admin.get("/customers/new").text
    [shown] = re.findall(r'name="mailchimp_optin_wording" value="([^"]+)"', page)
    admin.post("/customers/new", data=TICKED | {"mailchimp_optin_wording": shown})
    page = admin.get("/customers/1").text
    assert "What they decided" in page
    assert (
        page.count("Opt into marketing communications") == 2
    )  # beside the box, and in the history
    with app.app_context():
        [decision] = mailchimp.history_of(db.session.get_one(Customer, 1))
    assert (decision.value, decision.actor, decision.source, decision.wording) == (
        True,
        "admin",
        "customer form",
        "Opt into marketing communications",
    )


def test_a_customer_may_have_a_list_of_their_own(
    admin: FlaskClient,
    mailchimp_sandbox: MailchimpSandbox,
    mailchimp_connected: Connected,
    mailchimp_run_jobs: RunJobs,
) -> None:
    own = mailchimp_sandbox.add_audience("Trade news")
    assert "Trade news" not in admin.get("/customers/new").text
    admin.post("/integrations/mailchimp/lists/refresh")
    admin.post("/integrations/mailchimp/lists/store")
    assert "Trade news" in admin.get("/customers/new").text
    admin.post("/customers/new", data=TICKED | {"mailchimp_list_id": own})
    mailchimp_run_jobs()
    assert list(mailchimp_sandbox.members(own)) == ["ada@example.com"]
    assert mailchimp_sandbox.members(mailchimp_connected.list_id) == {}


def test_a_list_that_is_no_longer_stored_can_be_kept(app: Flask, admin: FlaskClient) -> None:
    with app.app_context():
        db.session.add(Customer(**ADA, mailchimp_list_id="abc"))
        db.session.commit()
    assert "abc (not stored)" in admin.get("/customers/1").text
    assert admin.post("/customers/1", data=ADA | {"mailchimp_list_id": "abc"}).status_code == 302


@pytest.mark.parametrize("wrong", [{"email": "ada"}, {"email": ""}, {"mailchimp_list_id": "no"}])
def test_a_form_that_is_wrong_comes_back(admin: FlaskClient, wrong: dict[str, str]) -> None:
    answer = admin.post("/customers/new", data=TICKED | wrong)
    assert answer.status_code == 200
    assert "is-invalid" in answer.text
    assert "There are no customers yet." in admin.get("/customers/").text


def test_importing_300_subscribes_those_who_are_ticked(
    app: Flask,
    admin: FlaskClient,
    mailchimp_sandbox: MailchimpSandbox,
    mailchimp_connected: Connected,
    mailchimp_run_jobs: RunJobs,
) -> None:
    admin.post("/customers/import")
    mailchimp_run_jobs()
    with app.app_context():
        everybody = db.session.scalars(db.select(Customer)).all()
        ticked = {customer.email for customer in everybody if customer.marketing_opt_in}
    assert len(everybody) == 300
    assert set(mailchimp_sandbox.members(mailchimp_connected.list_id)) == ticked
    assert len(ticked) > 50


def test_who_is_no_administrator_may_not_import(clerk: FlaskClient) -> None:
    assert clerk.post("/customers/import").status_code == 403


def test_customers_are_found_by_name_address_and_page(admin: FlaskClient) -> None:
    admin.post("/customers/import")
    admin.post("/customers/new", data=ADA | {"last_name": "Zyx", "email": "a_b@example.com"})
    for text in ("ada zyx", "A_B@"):
        found = admin.get("/customers/", query_string={"q": text}).text
        assert found.count('<th scope="row">') == 1, text
    assert "Ada Zyx" in admin.get("/customers/?page=16").text
    assert "Nobody was found." in admin.get("/customers/?q=qqq").text


def test_deleting_a_customer_unsubscribes_them(
    admin: FlaskClient, mailchimp_connected: Connected, mailchimp_run_jobs: RunJobs
) -> None:
    admin.post("/customers/new", data=TICKED)
    mailchimp_run_jobs()
    admin.post("/customers/1/delete")
    mailchimp_run_jobs()
    assert mailchimp_connected.status("ada@example.com") == "unsubscribed"
    assert admin.get("/customers/1").status_code == 404
