"""Flask-Security: a role opens the pages."""

from __future__ import annotations

from flask import Flask
from flask_security import Security, SQLAlchemyUserDatastore, current_user
from flask_security.models import fsqla_v3 as fsqla
from shop import MAPPING, Customer, db, mailchimp

fsqla.FsModels.set_db_info(db, user_table_name="account", role_table_name="account_role")


class Role(db.Model, fsqla.FsRoleMixin):
    __tablename__ = "account_role"


class Account(db.Model, fsqla.FsUserMixin):
    __tablename__ = "account"


def may_see_mailchimp():
    return current_user.is_authenticated and current_user.has_role("marketing")


def create_app(**config):
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config)
    db.init_app(app)
    app.security = Security(app, SQLAlchemyUserDatastore(db, Account, Role))
    mailchimp.init_app(app, db, Customer, mapping=MAPPING, authorize=may_see_mailchimp)
    return app
