"""The blueprints: the pages, behind the host's ``authorize``; the webhook, for Mailchimp; the probes.

Apart, because exempting a shared blueprint from CSRF would strip the settings of it too. Edge.
"""

from __future__ import annotations

from flask import Flask

from .. import i18n
from ..config import Config
from . import (  # noqa: F401  # they add their routes
    activity,
    attention,
    customer,
    guard,
    login,
    rings,
    settings,
    webhook,
    words,
)
from .guard import pages
from .probes import probes
from .webhook import hook


def register(app: Flask, config: Config) -> None:
    """Register the blueprints below the configured prefixes."""
    app.register_blueprint(pages, url_prefix=config.URL_PREFIX)
    app.register_blueprint(hook, url_prefix=f"{config.URL_PREFIX}/webhook")
    if config.PROBES_PREFIX is not None:
        app.register_blueprint(probes, url_prefix=config.PROBES_PREFIX)
    # For macros.html on the host's pages, where "_" may be the host's own.
    ours = i18n.for_templates() | {"source": words.source}
    app.jinja_env.globals["mailchimp_optin_words"] = ours
