"""The forms."""

from __future__ import annotations

from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, DateField, PasswordField, SelectField, StringField, SubmitField
from wtforms.validators import DataRequired, Email, Length, Optional

from .models import JobStatus

#: The text beside the checkbox; the ledger keeps what was shown with every decision made in the form.
MARKETING_WORDING = "Opt into marketing communications"


def stripped(text: str | None) -> str | None:
    """What was entered without the blanks around it; None for nothing."""
    return (text or "").strip() or None


def text_field(label: str, *validators: Any, **options: Any) -> StringField:
    """A text field that strips what is entered."""
    return StringField(label, validators=validators, filters=[stripped], **options)


class LoginForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """Log in."""

    email = text_field("Email", DataRequired(), render_kw={"autocomplete": "username"})
    password = PasswordField(
        "Password", validators=[DataRequired()], render_kw={"autocomplete": "current-password"}
    )
    submit = SubmitField("Log in")


class CustomerForm(FlaskForm):  # type: ignore[misc]
    """Create or edit a customer."""

    first_name = text_field("First name", DataRequired(), Length(max=100))
    last_name = text_field("Last name", DataRequired(), Length(max=100))
    email = text_field("Email", DataRequired(), Email(), Length(max=254))
    phone = text_field("Phone", Optional(), Length(max=40))
    marketing_opt_in = BooleanField(MARKETING_WORDING)
    mailchimp_list_id = SelectField("Mailchimp list", coerce=stripped)
    submit = SubmitField("Save customer")


class JobForm(FlaskForm):  # type: ignore[misc]
    """Create or edit a job."""

    customer_id = SelectField("Customer", coerce=int)
    title = text_field("Title", DataRequired(), Length(max=200))
    status = SelectField("Status", choices=list(JobStatus), coerce=JobStatus)
    due_on = DateField("Due date", validators=[Optional()])
    submit = SubmitField("Save job")
