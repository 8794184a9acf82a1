"""The configuration, from environment variables.

``EXAMPLE_SECRET_KEY`` (required), ``EXAMPLE_DATABASE_URL`` (a SQLite file in the instance folder
unless set), and every ``MAILCHIMP_OPTIN_*`` key of the extension. No secret is ever made up here.
"""

from __future__ import annotations

import json
import os
from typing import Any

PREFIX = "MAILCHIMP_OPTIN_"


def from_environment() -> dict[str, Any]:
    """What goes into ``app.config``."""
    return {
        "SECRET_KEY": os.environ.get("EXAMPLE_SECRET_KEY"),
        "SQLALCHEMY_DATABASE_URI": os.environ.get("EXAMPLE_DATABASE_URL", "sqlite:///example.db"),
        "SESSION_COOKIE_SAMESITE": "Lax",
        "BOOTSTRAP_SERVE_LOCAL": True,
        **{key: _value(key, text) for key, text in os.environ.items() if key.startswith(PREFIX)},
    }


def _value(key: str, text: str) -> Any:
    if key == f"{PREFIX}ENCRYPTION_KEYS":
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return json.loads(text)  # numbers; Flask reads its own FLASK_* variables the same way
    except ValueError:
        return text
