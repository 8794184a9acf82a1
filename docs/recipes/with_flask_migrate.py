"""Flask-Migrate sees our tables, since they are on your model's metadata."""

from __future__ import annotations

from flask import Flask
from flask_migrate import Migrate
from shop import MAPPING, Customer, db, mailchimp


def create_app(**config):
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config)
    db.init_app(app)
    mailchimp.init_app(app, db, Customer, mapping=MAPPING, authorize=lambda: True)
    Migrate(app, db)  # after init_app, which makes the tables known
    return app
