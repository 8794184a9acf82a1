"""The recipe for Flask-Login."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from flask.testing import FlaskClient

from tests.recipes.conftest import Make

ROOT = "/integrations/mailchimp/"


def log_in(client: FlaskClient, user_id: int) -> None:
    with client.session_transaction() as session:
        session["_user_id"], session["_fresh"] = str(user_id), True


def test_an_administrator_opens_the_pages_and_the_ledger_knows_who_decided(
    make: Make, recipe: Callable[[str], ModuleType]
) -> None:
    app, shop, module = make("with_flask_login"), recipe("shop"), recipe("with_flask_login")
    with app.app_context():
        shop.db.session.add_all([module.User(is_admin=True), module.User(), shop.Customer()])
        shop.db.session.commit()
    nobody, admin, clerk = app.test_client(), app.test_client(), app.test_client()
    log_in(admin, 1)
    log_in(clerk, 2)
    assert [c.get(ROOT).status_code for c in (nobody, admin, clerk)] == [403, 200, 403]
    assert nobody.post("/customers/1", data={"wants_news": "y"}).status_code == 401
    assert clerk.post("/customers/1", data={"wants_news": "y"}).status_code == 200
    with app.app_context():
        [decision] = shop.mailchimp.history_of(shop.db.session.get(shop.Customer, 1))
    assert (decision.value, decision.actor) == (True, "user 2")
