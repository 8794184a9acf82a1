"""The example application beside a sandbox, as a developer would test an application of their own.

The fixtures ``mailchimp_…`` come with the package; nothing here is needed but a configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash

from example_app import create_app
from example_app.models import User, db

PASSWORD = "correct horse battery staple"
PASSWORD_HASH = generate_password_hash(PASSWORD, "pbkdf2:sha256:1")  # quick, for tests


@pytest.fixture
def app(tmp_path: Path, mailchimp_config: dict[str, Any]) -> Iterator[Flask]:
    """The application with an empty database; pytest-flask's ``client`` talks to it."""
    made = create_app(
        {
            "TESTING": True,
            "SECRET_KEY": "a test's secret",
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'example.db'}",
            "WTF_CSRF_ENABLED": False,
            **mailchimp_config,
        }
    )
    with made.app_context():
        db.create_all()
        db.session.add_all([_user("admin", is_admin=True), _user("clerk", is_admin=False)])
        db.session.commit()
    yield made
    with made.app_context():
        db.engine.dispose()


def _user(name: str, *, is_admin: bool) -> User:
    return User(
        name=name, email=f"{name}@example.com", is_admin=is_admin, password_hash=PASSWORD_HASH
    )


@pytest.fixture
def admin(client: FlaskClient) -> FlaskClient:
    """The client, logged in as an administrator."""
    return log_in(client, "admin")


@pytest.fixture
def clerk(client: FlaskClient) -> FlaskClient:
    """The client, logged in as somebody who is no administrator."""
    return log_in(client, "clerk")


def log_in(client: FlaskClient, name: str) -> FlaskClient:
    data = {"email": f"{name}@example.com", "password": PASSWORD}
    assert client.post("/login", data=data).status_code == 302
    return client
