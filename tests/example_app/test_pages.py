"""Who may see what, and that every page is drawn."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from example_app.models import Customer, Job, db

PAGES = ["/", "/customers/", "/customers/new", "/customers/1", "/jobs/", "/jobs/new", "/jobs/1"]
ADMIN_PAGES = [
    "/settings",
    "/integrations/mailchimp/",
    "/integrations/mailchimp/activity",
    "/integrations/mailchimp/customers/1",
]


@pytest.fixture
def one_job(app: Flask) -> None:
    """Customer 1 and job 1."""
    with app.app_context():
        ada = Customer(first_name="Ada", last_name="Abbott", email="ada@example.com")
        db.session.add(Job(title="Inspect the roof", customer=ada))
        db.session.commit()


@pytest.mark.parametrize("page", [*PAGES, "/settings"])
def test_nothing_is_shown_before_somebody_logs_in(client: FlaskClient, page: str) -> None:
    answer = client.get(page)
    assert answer.status_code == 302
    assert answer.location.startswith("/login?")


@pytest.mark.parametrize("page", ADMIN_PAGES)
def test_who_is_no_administrator_may_not_open_the_settings(clerk: FlaskClient, page: str) -> None:
    answer = clerk.get(page)
    assert answer.status_code == 403
    assert "Dashboard" in answer.text, "the refusal is a page of the application"


@pytest.mark.usefixtures("one_job")
@pytest.mark.parametrize("page", PAGES)
def test_everybody_who_is_logged_in_may_work(clerk: FlaskClient, page: str) -> None:
    answer = clerk.get(page)
    assert answer.status_code == 200
    assert "/settings" not in answer.text


@pytest.mark.usefixtures("one_job")
@pytest.mark.parametrize("page", [*PAGES, *ADMIN_PAGES])
def test_every_page_is_inside_the_application_and_needs_nothing_from_elsewhere(
    admin: FlaskClient, page: str
) -> None:
    answer = admin.get(page)
    assert answer.status_code == 200
    assert 'aria-label="Main"' in answer.text
    assert re.findall(r'<(?:link|script|img)[^>]+(?:href|src)="(?!/)[^"]*', answer.text) == []
    assert re.findall(r"<script>|<style|\sstyle=|\son[a-z]+=", answer.text) == []
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_a_wrong_password_is_refused(client: FlaskClient) -> None:
    answer = client.post("/login", data={"email": "admin@example.com", "password": "wrong"})
    assert "don&#39;t match" in answer.text
    assert client.get("/").status_code == 302


@pytest.mark.parametrize(
    ("asked", "goes_to"),
    [
        ("/customers/?q=ada", "/customers/?q=ada"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("/\\elsewhere.example/", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_after_the_login_one_stays_on_this_site(
    client: FlaskClient, asked: str, goes_to: str
) -> None:
    data = {"email": "admin@example.com", "password": "correct horse battery staple"}
    assert client.post("/login", query_string={"next": asked}, data=data).location == goes_to


def test_a_post_without_the_token_is_refused(app: Flask, admin: FlaskClient) -> None:
    app.config["WTF_CSRF_ENABLED"] = True
    assert admin.post("/customers/import").status_code == 400
    assert admin.post("/logout").status_code == 400
    assert admin.get("/").status_code == 200


def test_logging_out(admin: FlaskClient) -> None:
    assert admin.post("/logout").location == "/login"
    assert admin.get("/").status_code == 302


@pytest.mark.usefixtures("one_job")
def test_a_job_is_created_and_changed(admin: FlaskClient) -> None:
    job = {"customer_id": 1, "title": "Paint the shed", "status": "Planned", "due_on": "2027-03-01"}
    assert admin.post("/jobs/new", data=job).status_code == 302
    assert admin.post("/jobs/2", data=job | {"status": "Done"}).status_code == 302
    assert "Paint the shed" in admin.get("/jobs/").text
    assert admin.post("/jobs/2", data=job | {"status": "Lost"}).status_code == 200
