"""The recipe for Sentry: an error inside our code tells nothing of anybody, and no key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import sentry_sdk
from flask import Flask, request
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from flask_mailchimp_optin.testing import MailchimpSandbox, run_jobs
from tests.recipes.conftest import Make, connect_with

ADA, BOB = "ada@example.com", "bob@example.com"
DSN = "https://public@sentry.example.com/1"


class Kept(Transport):
    """Keeps what would be sent."""

    texts: list[str] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.texts.append(envelope.serialize().decode())


@pytest.fixture(autouse=True)
def _no_sentry_afterwards() -> Iterator[None]:
    Kept.texts = []
    yield
    sentry_sdk.init()  # without an address: off


def break_down(app: Flask, shop: Any, sandbox: MailchimpSandbox) -> str:
    """Three errors inside our code, with a key, a customer and a request at hand. What Sentry got."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    connect_with(app, sandbox)

    @app.post("/sign-up")
    def sign_up() -> str:
        # Not written out here: Sentry shows the lines of the code, too.
        with shop.mailchimp.decided_by(actor="visitor", ip=request.form["ip"]):
            shop.db.session.add(shop.Customer(email=request.form["email"], wants_news=True))
            shop.db.session.commit()
        return ""

    with app.app_context():
        shop.db.session.add(shop.Customer(email=BOB, wants_news=False))
        shop.db.session.commit()
    run_jobs(app)
    sandbox.add_audience("Another")  # to be stored
    with app.app_context():
        for table in ("audience", "outbox", "erasure"):
            shop.db.session.execute(
                shop.db.text(
                    f"CREATE TRIGGER broken_{table} BEFORE INSERT ON mailchimp_optin_{table} "
                    "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
                )
            )
        shop.db.session.commit()
    client = app.test_client()
    form = {"api_key": sandbox.api_key}
    assert client.post("/integrations/mailchimp/", data=form).status_code == 500
    form = {"email": ADA, "ip": "192.0.2.7"}
    assert client.post("/sign-up", data=form).status_code == 500
    assert client.post("/integrations/mailchimp/erase/1").status_code == 500
    sentry_sdk.flush()
    return "\n".join(Kept.texts)


def test_it_learns_of_the_error_and_of_nobody(
    make: Make,
    recipe: Callable[[str], ModuleType],
    sandbox: MailchimpSandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = recipe("with_sentry")
    monkeypatch.setitem(module.SENTRY, "transport", Kept)
    text = break_down(make("with_sentry", SENTRY_DSN=DSN), recipe("shop"), sandbox)
    assert text.count("the disk is full") >= 3
    assert "flask_mailchimp_optin" in text
    for secret in (sandbox.api_key, ADA, BOB, "192.0.2", "/members/"):
        assert secret not in text


def test_without_the_recipe_it_would(
    make: Make,
    recipe: Callable[[str], ModuleType],
    sandbox: MailchimpSandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = recipe("with_sentry")
    monkeypatch.setattr(module, "SENTRY", {"transport": Kept})
    app = make("with_sentry", SENTRY_DSN=DSN, SQLALCHEMY_ENGINE_OPTIONS={})
    text = break_down(app, recipe("shop"), sandbox)
    for secret in (ADA, BOB, "/members/"):
        assert secret in text
    assert sandbox.api_key not in text  # it is always in variables whose names Sentry hides
