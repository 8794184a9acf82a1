"""Sentry, without customers' addresses and without the API key."""

from __future__ import annotations

import sentry_sdk
from flask import Flask
from sentry_sdk.integrations.flask import FlaskIntegration
from shop import MAPPING, Customer, db, mailchimp


def not_to_mailchimp(breadcrumb, hint):
    """The addresses of requests to Mailchimp hold hashes of people's addresses."""
    return None if breadcrumb.get("category") == "httplib" else breadcrumb


SENTRY = {
    "integrations": [FlaskIntegration()],
    "include_local_variables": False,  # they hold whoever is just worked on
    "max_request_body_size": "never",  # so do forms
    "before_breadcrumb": not_to_mailchimp,
}


def create_app(**config):
    app = Flask(__name__)
    app.config.from_prefixed_env()
    # A database's error otherwise tells the values that were to be written.
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"hide_parameters": True}
    app.config.update(config)
    sentry_sdk.init(dsn=app.config.get("SENTRY_DSN"), **SENTRY)
    db.init_app(app)
    mailchimp.init_app(app, db, Customer, mapping=MAPPING, authorize=lambda: True)
    return app
