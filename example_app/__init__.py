"""An example host: a small job-management application that uses Flask-Mailchimp-Optin.

Everything the extension needs is in ``extensions.py`` (one call of ``init_app``), ``models.py`` (an
ordinary checkbox) and ``customers.py`` (who decides, and the customer's real state).
Run it with ``flask --app example_app run``, or all of it with ``make demo``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, render_template
from werkzeug.exceptions import HTTPException

from . import auth, commands, customers, jobs, main
from .config import from_environment
from .extensions import init_extensions


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The application.

    :param config: overrides what the environment says; for tests.
    """
    app = Flask(__name__)
    app.config.update(from_environment())
    app.config.update(config or {})
    init_extensions(app)
    for module in (main, auth, customers, jobs):
        app.register_blueprint(module.blueprint)
    commands.register(app)
    app.register_error_handler(HTTPException, _error_page)
    app.after_request(_content_security_policy)
    return app


def _error_page(error: HTTPException) -> tuple[str, int]:
    return render_template("error.html", error=error), error.code or 500


def _content_security_policy(response: Response) -> Response:
    """Nothing from elsewhere, nothing inline. The extension's pages need no exception from it."""
    response.headers.setdefault(
        "Content-Security-Policy", "default-src 'self'; img-src 'self' data:; object-src 'none'"
    )
    return response
