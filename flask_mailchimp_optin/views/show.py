"""What every page needs: rendering, the tenant's own services, acts whose refusals become messages.
Edge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import current_app, flash, render_template
from flask_wtf.csrf import generate_csrf

from .. import state
from ..errors import MailchimpError, RefusedInput
from ..i18n import said
from ..services import Services
from . import words

T = TypeVar("T")


def render(template: str, **context: object) -> str:
    """One of our templates; hosts override them in their own folder of the same name."""
    return render_template(
        f"mailchimp_optin/{template}",
        words=words,
        csrf_name=current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token"),
        csrf_value=generate_csrf(),
        **context,
    )


def row_id(text: str | None) -> int | None:
    """An id that a request names; None for what can't be one."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def here() -> tuple[Services, str]:
    """Services and tenant of this request; the tenant is the host's answer, never the request's."""
    now = state.current()
    return now.services, now.tenant()


def attempt(act: Callable[..., T], *args: object) -> T | None:
    """Do what an administrator asked for; a refusal becomes a message and None."""
    services, tenant = here()
    try:
        return act(services, tenant, *args)
    except (RefusedInput, MailchimpError) as error:
        flash(said(error), "error")
        return None
