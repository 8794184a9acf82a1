"""The pages' blueprint, its guard, and the headers of every page. Edge."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, abort

from .. import state

logger = logging.getLogger("flask_mailchimp_optin")

pages = Blueprint(
    "mailchimp_optin",
    "flask_mailchimp_optin",
    template_folder="templates",
    static_folder="static",
    static_url_path="/static",
)


@pages.before_request
def _authorize() -> None:
    """Only whom the host's ``authorize`` answers with yes. Raising or returning None denies."""
    try:
        allowed = state.current().authorize()
    except Exception:
        logger.exception("authorize raised; the page was denied")
        allowed = False
    if not allowed:
        abort(403)


@pages.after_request
def _headers(response: Response) -> Response:
    """Headers that keep the pages to themselves; the host may have set stricter ones."""
    response.headers.setdefault(
        "Content-Security-Policy",
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'",
    )
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if not response.headers.get("Cache-Control") or response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
    return response
