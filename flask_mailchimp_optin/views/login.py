"""To Mailchimp's login and back: the two addresses behind "Connect with Mailchimp". Edge.

What comes back is believed only if it is the answer to what the same administrator began in the same
session a short while ago: else somebody else's account could be slipped in.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from datetime import datetime, timedelta
from typing import Any

from flask import abort, flash, redirect, request, session, url_for
from werkzeug.wrappers import Response

from .. import connect, login, overviews
from ..i18n import gettext as _
from ..services import Services
from .settings import replaced
from .show import attempt, here

logger: logging.Logger = logging.getLogger("flask_mailchimp_optin")

_BEGUN = "mailchimp_optin_login"
_GOOD_FOR = timedelta(minutes=10)


def log_in() -> Response:
    """Off to Mailchimp, where an administrator agrees."""
    services = _configured()
    token = secrets.token_urlsafe(32)
    until = services.now() + _GOOD_FOR
    session[_BEGUN] = {"state": token, "until": until.isoformat(), "who": _who()}
    return redirect(login.address(services.config, token), 303)


def logged_in() -> Response:
    """Back from Mailchimp, with its answer."""
    services = _configured()
    if not _is_awaited(services, session.pop(_BEGUN, None)):
        logger.warning("an answer of Mailchimp's login was refused")
        flash(
            _(
                "Nothing was changed: this answer of Mailchimp is too old, was used already, or was "
                "asked for by somebody else or in another browser. Connect again."
            ),
            "error",
        )
    elif "error" in request.args:
        flash(_refused(request.args["error"]), "error")
    elif _connected(request.args.get("code", "")):
        return redirect(url_for(".settings", connected="yes"), 303)
    return redirect(url_for(".settings", _anchor="connect-title"), 303)


def _configured() -> Services:
    services, _tenant = here()
    if services.config.OAUTH_CLIENT_ID is None:
        abort(404)
    return services


def _who() -> list[str]:
    services, tenant = here()
    return [tenant, services.facts().actor or ""]


def _is_awaited(services: Services, token: Any) -> bool:
    """Whether the request answers what was begun; whatever it says, it was the only try."""
    if not isinstance(token, dict) or token.get("who") != _who():
        return False
    sent = request.args.get("state", "").encode("utf-8", "replace")
    is_same = hmac.compare_digest(str(token["state"]).encode(), sent)
    return is_same and services.now() < datetime.fromisoformat(token["until"])


def _refused(error: str) -> str:
    if error == "access_denied":
        return _("Nothing was changed: access was declined at Mailchimp.")
    return _(
        "Nothing was changed: Mailchimp did not let this application ask. Whoever runs it should look "
        "at how it is registered there."
    )


def _connected(authorization: str) -> bool:
    before = overviews.read(*here())
    # (Not as one of several arguments: these would show it.)
    after = attempt(lambda services, tenant: connect.log_in(services, tenant, authorization))
    if after is not None and before.connected:
        flash(*replaced(before, after))
    return after is not None
