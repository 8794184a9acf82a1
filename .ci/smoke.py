"""The installed wheel, from nothing to a served page: ``python -I smoke.py`` in its own environment."""

# ruff: noqa: S101  # asserting is what it is for

from __future__ import annotations

import re
from importlib.metadata import distributions, requires
from pathlib import Path

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

import flask_mailchimp_optin
from flask_mailchimp_optin import CustomerMapping, MailchimpOptin
from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.vault import new_key

# Whoever installs the package gets what it needs, and nothing of what its extras name.
named = [
    (re.split(r"[^\w.-]", line)[0].lower(), "extra ==" in line)
    for line in requires("Flask-Mailchimp-Optin") or ()
]
extra = {name for name, is_extra in named if is_extra} - {name for name, is_x in named if not is_x}
assert {"pytest", "mypy", "sphinx"} <= extra, named
installed = {one.name.lower() for one in distributions()}
assert not extra & installed, extra & installed

db = SQLAlchemy()


class Customer(db.Model):  # type: ignore[name-defined,misc]  # db.Model is made at run time
    id = db.Column(db.Integer, primary_key=True)
    email = db.Column(db.String(254))
    opted_in = db.Column(db.Boolean)


app = Flask(__name__)
app.config.update(
    SECRET_KEY="smoke",  # noqa: S106  # signs nothing that lasts
    SQLALCHEMY_DATABASE_URI="sqlite://",
    MAILCHIMP_OPTIN_ENCRYPTION_KEYS=[new_key()],
    MAILCHIMP_OPTIN_REDIS_URL="redis://127.0.0.1:1/0",
)
db.init_app(app)
mapping = CustomerMapping(email="email", opt_in="opted_in")
MailchimpOptin(app, db, Customer, mapping=mapping, authorize=lambda: True)

with app.app_context():
    db.create_all()
client = app.test_client()
for path in ("", "activity", "static/mailchimp_optin.css"):
    answer = client.get(f"/integrations/mailchimp/{path}")
    assert answer.status_code == 200, (path, answer.status_code)
    answer.close()
with MailchimpSandbox().serve():
    pass
result = app.test_cli_runner().invoke(args=["mailchimp", "--help"])
assert result.exit_code == 0, result.output
assert "worker" in result.output
assert (Path(flask_mailchimp_optin.__file__).parent / "py.typed").is_file()
print("the wheel works on its own, version", flask_mailchimp_optin.__version__)
