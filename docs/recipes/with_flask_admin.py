"""Flask-Admin: its menu leads to the pages, and what it saves is noticed."""

from __future__ import annotations

from flask import Flask
from flask_admin import Admin
from flask_admin.contrib.sqla import ModelView
from flask_admin.menu import MenuLink
from shop import MAPPING, Customer, db, mailchimp


def is_admin():
    """Your own answer; the same for Flask-Admin's pages and for ours."""
    return True


class CustomerView(ModelView):
    column_list = ("email", "wants_news")
    form_columns = ("email", "wants_news")

    def is_accessible(self):
        return is_admin()

    # Saved inside `decided_by`: a tick on a new customer is a decision, with a time.

    def create_model(self, form):
        with mailchimp.decided_by(source="Flask-Admin"):
            return super().create_model(form)

    def update_model(self, form, model):
        with mailchimp.decided_by(source="Flask-Admin"):
            return super().update_model(form, model)


def create_app(**config):
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config)
    db.init_app(app)
    mailchimp.init_app(app, db, Customer, mapping=MAPPING, authorize=is_admin)
    admin = Admin(app, name="Shop")
    admin.add_view(CustomerView(Customer, db, name="Customers"))
    admin.add_link(MenuLink(name="Mailchimp", endpoint="mailchimp_optin.settings"))
    return app
