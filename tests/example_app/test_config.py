"""The configuration from the environment, and the command that makes the database."""

from __future__ import annotations

import pytest
from flask import Flask

from example_app import create_app
from example_app.config import from_environment
from example_app.models import Customer, User, db
from flask_mailchimp_optin import ConfigError


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("ENCRYPTION_KEYS", "new, old", ["new", "old"]),
        ("CONNECTIONS", "4", 4),
        ("STOP_SHARE", "0.05", 0.05),
        ("PUBLIC_URL", "https://crm.example.com", "https://crm.example.com"),
    ],
)
def test_what_the_extension_needs_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, key: str, text: str, value: object
) -> None:
    monkeypatch.setenv(f"MAILCHIMP_OPTIN_{key}", text)
    assert from_environment()[f"MAILCHIMP_OPTIN_{key}"] == value


def test_no_secret_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXAMPLE_SECRET_KEY", raising=False)
    monkeypatch.delenv("MAILCHIMP_OPTIN_ENCRYPTION_KEYS", raising=False)
    with pytest.raises(RuntimeError, match="EXAMPLE_SECRET_KEY"):
        create_app()
    with pytest.raises(ConfigError, match="ENCRYPTION_KEYS"):
        create_app({"SECRET_KEY": "given"})


def test_the_database_is_made_once(app: Flask) -> None:
    with app.app_context():
        db.drop_all()
    command = ["init-db", "--admin-email", "Me@example.com", "--admin-password", "secret"]
    for _ in range(2):
        assert app.test_cli_runner().invoke(args=command).exit_code == 0
    with app.app_context():
        [admin] = db.session.scalars(db.select(User))
        assert admin.is_admin
        assert admin.email == "me@example.com"
        assert admin.check_password("secret")
        assert len(db.session.scalars(db.select(Customer)).all()) == 12
