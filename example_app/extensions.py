"""The Flask extensions, and how Flask-Mailchimp-Optin is told about the customers."""

from __future__ import annotations

from flask import Flask
from flask_bootstrap import Bootstrap5
from flask_login import LoginManager, current_user
from flask_wtf import CSRFProtect

from flask_mailchimp_optin import CustomerMapping, MailchimpOptin

from .models import Customer, User, db

bootstrap = Bootstrap5()
csrf = CSRFProtect()
login_manager = LoginManager()
login_manager.login_view = "auth.login"
login_manager.login_message_category = "info"
mailchimp = MailchimpOptin()

MAPPING = CustomerMapping(
    email="email",
    opt_in="marketing_opt_in",
    merge_fields={"FNAME": "first_name", "LNAME": "last_name", "PHONE": "phone"},
    pull=("FNAME", "LNAME"),
    audience="mailchimp_list_id",
    tags=("Customers",),
)


def init_extensions(app: Flask) -> None:
    """Connect all extensions with the application."""
    if not app.config["SECRET_KEY"]:
        raise RuntimeError("Set EXAMPLE_SECRET_KEY to a long random text; it signs the sessions.")
    db.init_app(app)
    bootstrap.init_app(app)
    csrf.init_app(app)
    login_manager.init_app(app)
    mailchimp.init_app(app, db, Customer, mapping=MAPPING, authorize=_is_admin)


def _is_admin() -> bool:
    return bool(current_user.is_authenticated and current_user.is_admin)


@login_manager.user_loader  # type: ignore[untyped-decorator]
def _load_user(user_id: str) -> User | None:
    return db.session.get(User, int(user_id))
