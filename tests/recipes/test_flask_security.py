"""The recipe for Flask-Security."""

from __future__ import annotations

import pytest
from flask_security import hash_password

from tests.recipes.conftest import Make

ROOT = "/integrations/mailchimp/"
PASSWORD = "correct horse battery staple"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_role_opens_the_pages(make: Make) -> None:
    app = make(
        "with_flask_security",
        SECURITY_PASSWORD_SALT="salt",
        SECURITY_PASSWORD_HASH="pbkdf2_sha512",
        SECURITY_PASSWORD_SCHEMES=["pbkdf2_sha512"],
    )
    with app.app_context():
        store = app.security.datastore  # type: ignore[attr-defined]
        role = store.create_role(name="marketing")
        for name, roles in (("ada", [role]), ("bob", [])):
            password = hash_password(PASSWORD)
            store.create_user(email=f"{name}@example.com", password=password, roles=roles)
        store.commit()
    for name, status in (("ada", 200), ("bob", 403)):
        client = app.test_client()
        assert client.get(ROOT).status_code == 403
        data = {"email": f"{name}@example.com", "password": PASSWORD}
        assert client.post("/login", data=data).status_code == 302
        assert client.get(ROOT).status_code == status
