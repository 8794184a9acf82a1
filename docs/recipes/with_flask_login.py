"""Flask-Login says who may open the pages, and who decided."""

from __future__ import annotations

from flask import Flask, request
from flask_login import LoginManager, UserMixin, current_user, login_required
from shop import MAPPING, Customer, db, mailchimp

login_manager = LoginManager()


class User(UserMixin, db.Model):
    id = db.Column(db.Integer, primary_key=True)
    is_admin = db.Column(db.Boolean, default=False)


@login_manager.user_loader
def load_user(user_id):
    return db.session.get(User, int(user_id))


def may_see_mailchimp():
    return current_user.is_authenticated and current_user.is_admin


@login_required
def subscribe(customer_id):
    # Without `decided_by` the ledger takes the id of Flask-Login's user; better is to say it.
    with mailchimp.decided_by(actor=f"user {current_user.id}", source="customer form"):
        db.get_or_404(Customer, customer_id).wants_news = "wants_news" in request.form
        db.session.commit()
    return "Saved."


def create_app(**config):
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config)
    db.init_app(app)
    login_manager.init_app(app)
    mailchimp.init_app(app, db, Customer, mapping=MAPPING, authorize=may_see_mailchimp)
    app.add_url_rule("/customers/<int:customer_id>", view_func=subscribe, methods=["POST"])
    return app
