"""What the recipes have in common: a model with a checkbox, and how it is mapped."""

from __future__ import annotations

from flask_sqlalchemy import SQLAlchemy

from flask_mailchimp_optin import CustomerMapping, MailchimpOptin

db = SQLAlchemy()
mailchimp = MailchimpOptin()


class Customer(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    email = db.Column(db.String(254))
    wants_news = db.Column(db.Boolean)


MAPPING = CustomerMapping(email="email", opt_in="wants_news")
