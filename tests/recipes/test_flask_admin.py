"""The recipe for Flask-Admin."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from flask_babel import Babel

from flask_mailchimp_optin.testing import MailchimpSandbox, run_jobs
from tests.recipes.conftest import Make, connect_with


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_its_menu_leads_to_our_pages_and_what_it_saves_is_noticed(
    make: Make, recipe: Callable[[str], ModuleType], sandbox: MailchimpSandbox
) -> None:
    app, shop = make("with_flask_admin"), recipe("shop")
    Babel(app)  # Flask-Admin asks for it wherever it is installed, as it is here
    list_id = connect_with(app, sandbox)
    client = app.test_client()
    assert 'href="/integrations/mailchimp/"' in client.get("/admin/customer/").text
    new = {"email": "ada@example.com", "wants_news": "y"}
    assert client.post("/admin/customer/new/", data=new).status_code == 302
    run_jobs(app)
    assert sandbox.members(list_id)["ada@example.com"]["status"] == "subscribed"
    changed = client.post("/admin/customer/edit/?id=1", data={"email": "ada@example.com"})
    assert changed.status_code == 302
    run_jobs(app)
    assert sandbox.members(list_id)["ada@example.com"]["status"] == "unsubscribed"
    with app.app_context():
        history = shop.mailchimp.history_of(shop.db.session.get(shop.Customer, 1))
    assert [(one.value, one.source) for one in history] == [
        (False, "Flask-Admin"),
        (True, "Flask-Admin"),
    ]
