"""The blueprints: the pages, behind the host's ``authorize``; the webhook, for Mailchimp; the probes.

Apart, because exempting a shared blueprint from CSRF would strip the settings of it too. The pages'
addresses stand here, and the modules behind them are imported when the first is asked for: they need
most of the package, and most processes of a host never show one. Edge.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from flask import Flask
from sqlalchemy.exc import OperationalError, ProgrammingError
from werkzeug.routing import BaseConverter

from .. import i18n
from ..config import Config
from .guard import pages
from .probes import probes
from .webhook import hook

#: Methods, address, and the view: its name is the end point's.
PAGES = (
    ("GET POST", "/", "settings.settings"),
    ("POST", "/lists/refresh", "settings.refresh_lists"),
    ("POST", "/lists/store", "settings.store_lists"),
    ("POST", "/webhooks/repair", "settings.repair_webhooks"),
    ("POST", "/webhooks/rotate", "settings.rotate_webhooks"),
    ("POST", "/fields/read", "settings.read_fields"),
    ("POST", "/fields/create", "settings.create_fields"),
    ("POST", "/moved", "settings.moved"),
    ("POST", "/disconnect", "settings.disconnect"),
    ("POST", "/login", "login.log_in"),
    ("GET", "/login/done", "login.logged_in"),
    ("GET", "/activity", "activity.activity"),
    ("GET", "/activity/progress", "activity.progress"),
    ("POST", "/activity/sync", "activity.sync_now"),
    ("POST", "/activity/pause", "activity.pause_sync"),
    ("POST", "/activity/resume", "activity.resume_sync"),
    ("POST", "/activity/cancel", "activity.cancel_sync"),
    ("GET", "/activity/webhooks", "rings.rings"),
    ("POST", "/activity/webhooks/replay", "rings.replay"),
    ("GET", "/activity/attention", "attention.everybody"),
    ("POST", "/activity/attention", "attention.search"),
    ("GET", "/activity/attention.csv", "attention.download"),
    ("POST", "/activity/retry", "attention.retry"),
    # The key comes last in each address, for it may hold anything.
    ("GET", "/customers/<mailchimp_optin_key:key>", "customer.customer"),
    ("POST", "/look-again/<mailchimp_optin_key:key>", "customer.look_again"),
    ("GET", "/export/<mailchimp_optin_key:key>", "customer.export"),
    ("GET", "/erase/<mailchimp_optin_key:key>", "customer.confirm_erasing"),
    ("POST", "/erase/<mailchimp_optin_key:key>", "customer.erase"),
)


class KeyConverter(BaseConverter):
    """A primary key as text: any characters, slashes and brackets too."""

    regex = "(?s:.+)"
    part_isolating = False


def _later(name: str) -> Callable[..., Any]:
    """A function of a module in this folder, which is imported when it is called."""
    module, _, function = name.partition(".")

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(f"{__name__}.{module}"), function)(*args, **kwargs)

    return call


for _methods, _address, _name in PAGES:
    pages.add_url_rule(
        _address,
        _name.partition(".")[2],
        _later(_name),
        methods=_methods.split(),
        merge_slashes=":key>" not in _address,
    )
for _error in (OperationalError, ProgrammingError):
    pages.register_error_handler(_error, _later("activity.without_tables"))


def register(app: Flask, config: Config) -> None:
    """Register the blueprints below the configured prefixes."""
    app.url_map.converters["mailchimp_optin_key"] = KeyConverter
    app.register_blueprint(pages, url_prefix=config.URL_PREFIX)
    app.register_blueprint(hook, url_prefix=f"{config.URL_PREFIX}/webhook")
    if config.PROBES_PREFIX is not None:
        app.register_blueprint(probes, url_prefix=config.PROBES_PREFIX)
    # For macros.html on the host's pages, where "_" may be the host's own.
    ours = i18n.for_templates() | {"source": _later("words.source")}
    app.jinja_env.globals["mailchimp_optin_words"] = ours
