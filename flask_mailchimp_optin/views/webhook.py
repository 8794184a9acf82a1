"""The webhook route: journey in, first step. A doorbell: verify, store, 200. Edge.

The status is a message to Mailchimp: 404 wrong address, 400 or 413 never again like this, 503 later
again. Never 410, which would disable the webhook, and never a 5xx for what a stranger sends.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from flask import Blueprint, Response, current_app, request
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from .. import state
from ..services import Services
from ..webhook import MAX_BODY, Door, Malformed, Ring, parse, signature_holds

logger: logging.Logger = logging.getLogger("flask_mailchimp_optin")

hook: Blueprint = Blueprint("mailchimp_optin_webhook", "flask_mailchimp_optin")
_ATTEMPTS = 5


@hook.url_value_preprocessor
def _before_the_host_looks(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Runs before any ``before_request``, CSRFProtect's and the host's, whoever was set up first.

    Mailchimp has no CSRF token. The raw bytes are read here, because they are gone once somebody has
    touched ``request.form``; and only here a limit still counts: forms have none of their own.
    """
    protect = current_app.extensions.get("csrf")
    if protect is not None:
        protect.exempt(hook)
    # One more than is taken: a body without a length is cut off at the limit, and not refused.
    request.max_content_length = MAX_BODY + 1
    with suppress(HTTPException, OSError):  # the view meets the same error, and answers it
        request.get_data(cache=True)


def _answer(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, mimetype="text/plain")


@hook.get("/<token>")
def check(token: str) -> Response:
    """Mailchimp checks the address with a GET when the webhook is registered; ``doctor`` knocks."""
    from .. import hooks

    services = state.current().services
    if hooks.is_knock(services, token):
        return _answer(200, hooks.AT_HOME)
    with services.begin() as tx:
        known = hooks.by_token(tx, services, token) is not None
    return _answer(200, "ok") if known else _answer(404, "not found")


@hook.post("/<token>")
def ring(token: str) -> Response:
    """Somebody did something at Mailchimp: remember to look."""
    from .. import hooks

    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        return _answer(413, "too large")
    except ClientDisconnected:
        return _answer(400, "cut off")
    if len(body) > MAX_BODY:
        return _answer(413, "too large")
    if not body and "Transfer-Encoding" in request.headers:
        # Some servers hand over no body that has no length; 200 would lose the ring.
        return _answer(411, "length required")
    services = state.current().services
    for attempt in range(_ATTEMPTS):
        # As it is remembered, at first; what would be refused by that is looked up anew.
        door = hooks.door(services, token, anew=attempt > 0)
        answer, told = _read(services, door, body)
        if door is not None and told is not None:
            if _stored(services, door, *told):
                return answer
        elif attempt:
            return answer
    return _answer(503, "try again later")  # its secrets were changed again and again


def _stored(services: Services, door: Door, ring: Ring, verified: str) -> bool:
    from .. import inbound

    try:
        with services.begin(of_one_row=True) as tx:  # one statement: rings come in thousands
            stored = inbound.record(tx, services, door, ring, verified)
    except IntegrityError:
        inbound.ring_again(services, door.audience_id, ring)
        stored = True
    if stored:
        services.wake()
    return stored


def _read(
    services: Services, door: Door | None, body: bytes
) -> tuple[Response, tuple[Ring, str] | None]:
    """The answer; and the ring with how it was verified, if it is one of this audience."""
    if door is None:
        return _answer(404, "not found"), None
    if not body:
        return _answer(200, "ok"), None  # some validators check with an empty POST
    verified = _verified(services, door, body)
    if verified is None:
        return _answer(404, "not found"), None
    try:
        ring = parse(body)
    except Malformed:
        return _answer(400, "not a Mailchimp webhook"), None
    return _answer(200, "ok"), (ring, verified) if ring.list_id == door.list_id else None


@hook.after_request
def _answered(response: Response) -> Response:
    """The answers are for a machine: nothing of them is to be run, framed or kept."""
    if response.status_code >= 400:
        logger.info("a webhook was refused", extra={"status": response.status_code})
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response


@hook.errorhandler(SQLAlchemyError)
def _database_is_away(_error: SQLAlchemyError) -> Response:
    return _answer(503, "try again later")


def _verified(services: Services, door: Door, body: bytes) -> str | None:
    """How a ring was verified; None if it wasn't. Where the hook signs, the token is not enough."""
    if door.sealed is None:
        return "token"
    header = request.headers.get("X-Mailchimp-Signature", "")
    return "signature" if signature_holds(header, body, door.secrets, services.now()) else None
