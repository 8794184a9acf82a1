"""Two answers for whoever starts and stops processes: this one lives; this one is ready. Edge.

Nowhere, unless the configuration says where. They need no login, and tell nothing but that.
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from sqlalchemy.exc import SQLAlchemyError

from .. import state
from ..models import all_there

probes: Blueprint = Blueprint("mailchimp_optin_probes", "flask_mailchimp_optin")


@probes.get("/live")
def live() -> Response:
    """This process answers. Nothing else is asked: a restart mends no database."""
    return jsonify(status="ok")


@probes.get("/ready")
def ready() -> tuple[Response, int]:
    """The database answers, and has our tables. Redis may be down: the web works without it."""
    services = state.current().services
    try:
        with services.begin(of_one_row=True) as tx:
            tx.value(all_there(services.tables))
    except SQLAlchemyError:
        return jsonify(status="not ready"), 503
    return jsonify(status="ok"), 200


@probes.after_request
def _never_kept(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
