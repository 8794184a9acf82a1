"""Several companies in one application, each with a Mailchimp account of its own."""

from __future__ import annotations

from flask import Flask
from flask_login import LoginManager, UserMixin, current_user
from flask_sqlalchemy import SQLAlchemy

from flask_mailchimp_optin import CustomerMapping, MailchimpOptin, signals

db = SQLAlchemy()
login_manager = LoginManager()
mailchimp = MailchimpOptin()


class Company(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(100))


class User(UserMixin, db.Model):
    id = db.Column(db.Integer, primary_key=True)
    company_id = db.Column(db.ForeignKey(Company.id), nullable=False)
    is_admin = db.Column(db.Boolean, default=False)


class Client(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    company_id = db.Column(db.ForeignKey(Company.id), index=True)  # each sync reads its own
    mail = db.Column(db.String(254))
    wants_news = db.Column(db.Boolean)


MAPPING = CustomerMapping(email="mail", opt_in="wants_news", tenant="company_id")


@login_manager.user_loader
def load_user(user_id):
    return db.session.get(User, int(user_id))


@signals.sync_stopped.connect
def tell_the_company(app, tenant, run_id, **more):
    company = db.session.get(Company, int(tenant))  # a tenant is told as text
    app.logger.warning("the Mailchimp sync of %s waits for its administrator", company.name)


def create_app(**config):
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config)
    db.init_app(app)
    login_manager.init_app(app)
    mailchimp.init_app(
        app,
        db,
        Client,
        mapping=MAPPING,
        authorize=lambda: current_user.is_authenticated and current_user.is_admin,
        tenant=lambda: current_user.company_id,
    )
    return app
