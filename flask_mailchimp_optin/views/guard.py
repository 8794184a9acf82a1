"""The pages' blueprint, its guard, and the headers of every page. Edge."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, abort, current_app, g, render_template, request
from flask_wtf.csrf import CSRFError, validate_csrf
from wtforms import ValidationError

from .. import i18n, state

logger: logging.Logger = logging.getLogger("flask_mailchimp_optin")

pages: Blueprint = Blueprint(
    "mailchimp_optin",
    "flask_mailchimp_optin",
    template_folder="templates",
    static_folder="static",
    static_url_path="/static",
)
pages.context_processor(i18n.for_templates)


@pages.before_request
def _authorize() -> None:
    """Only whom the host's ``authorize`` answers with ``True``.

    Not what only counts as true: a redirect to the login page does, and what an ``async def`` returns.
    """
    try:
        answer = state.current().authorize()
    except Exception:
        logger.exception("authorize raised; the page was denied")
        abort(403)
    if answer is True:
        return
    logger.info("somebody was not let in", extra={"endpoint": request.endpoint})
    if answer:
        logger.error(
            "authorize answered with something that is not True; the page was denied",
            extra={"type": type(answer).__name__},
        )
    abort(403)


@pages.before_request
def _no_forgery() -> None:
    """Every POST carries a CSRF token, whether the host set up CSRFProtect or not."""
    checked = g.get("csrf_valid", False) or not current_app.config.get("WTF_CSRF_ENABLED", True)
    if request.method in ("GET", "HEAD", "OPTIONS") or checked:
        return
    name = current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token")
    try:
        validate_csrf(request.form.get(name) or request.headers.get("X-CSRFToken"))
    except ValidationError:
        logger.info("a form without a good token was refused", extra={"endpoint": request.endpoint})
        raise CSRFError from None


@pages.errorhandler(CSRFError)
def _expired(_: CSRFError) -> tuple[str, int]:
    """Mostly a page that was left open too long: nothing was done, and that is what it says."""
    return render_template("mailchimp_optin/expired.html"), 400


@pages.after_request
def _told(response: Response) -> Response:
    """Who did what, or took data along, is told in the log: what they had to pass is checked by now."""
    taken_along = "attachment" in response.headers.get("Content-Disposition", "")
    is_act = request.method == "POST" or request.endpoint == "mailchimp_optin.logged_in"
    if response.status_code < 400 and (is_act or taken_along):
        here = state.current()
        who = {"actor": here.services.facts().actor, "tenant": here.tenant()}
        logger.info("an administrator acted", extra={"endpoint": request.endpoint, **who})
    return response


@pages.after_request
def _headers(response: Response) -> Response:
    """Headers that keep the pages to themselves; the host may have set stricter ones."""
    config = state.current().config
    login_too = ""
    if config.OAUTH_CLIENT_ID is not None:
        from .. import login  # with all that it takes to speak to Mailchimp

        # Browsers ask this of where a form's answer leads, too.
        login_too = f" {login.origins(config)}"
    response.headers.setdefault(
        "Content-Security-Policy",
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        f"form-action 'self'{login_too}; frame-ancestors 'none'",
    )
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if not response.headers.get("Cache-Control") or response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
    return response
