"""Endpoints about webhooks.

Importing this module enters them into the table of endpoints.
"""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlsplit

from .audiences import EVENTS, SOURCES, Webhook
from .calls import Answer, Call, endpoint
from .problems import invalid, not_found
from .records import JSON

# Mailchimp's words, which integrations recognize.
_SAME_URL = "Sorry, you can't set up multiple WebHooks for one URL"
_UNREACHABLE = (
    "The URL you provided could not be validated: it must answer a GET request with status 200."
)


@endpoint("GET", "/lists/<list_id>/webhooks")
def webhooks(call: Call) -> Answer:
    audience = call.audience
    found = [hook.as_json(audience.id) for hook in audience.webhooks.values()]
    return 200, {
        "webhooks": found,
        "list_id": audience.id,
        "total_items": len(found),
        "_links": [],
    }


@endpoint("POST", "/lists/<list_id>/webhooks", locked=False)
def add_webhook(call: Call) -> Answer:
    with call.account.lock:
        audience, body = call.audience, call.object("url")
        url = _url(body["url"])
        _require_new(call, url, None)
        events, sources = _flags(body, "events", EVENTS), _flags(body, "sources", SOURCES)
    # Not under the lock: the URL is the integration's, which may call the API while it answers.
    if not call.answers(url):
        raise invalid("url", _UNREACHABLE)
    with call.account.lock:
        _require_new(call, url, None)
        hook = Webhook(id=secrets.token_hex(5), url=url, events=events, sources=sources)
        if call.signing:
            hook.secrets = [secrets.token_hex(32)]
        audience.webhooks[hook.id] = hook
        answer = hook.as_json(audience.id)
        if call.signing:
            answer["signing_secret"] = hook.secrets[0]
        return 200, answer


@endpoint("GET", "/lists/<list_id>/webhooks/<webhook_id>")
def one_webhook(call: Call) -> Answer:
    return 200, _hook(call).as_json(call.audience.id)


@endpoint("PATCH", "/lists/<list_id>/webhooks/<webhook_id>", locked=False)
def change_webhook(call: Call) -> Answer:
    with call.account.lock:
        hook, body = _hook(call), call.object()
        url = _url(body["url"]) if "url" in body else hook.url
        _require_new(call, url, hook)
    if url != hook.url and not call.answers(url):
        raise invalid("url", _UNREACHABLE)
    with call.account.lock:
        hook.url, hook.enabled = url, True
        hook.events |= _given(body, "events", EVENTS)
        hook.sources |= _given(body, "sources", SOURCES)
        return 200, hook.as_json(call.audience.id)


@endpoint("DELETE", "/lists/<list_id>/webhooks/<webhook_id>")
def delete_webhook(call: Call) -> Answer:
    del call.audience.webhooks[_hook(call).id]
    return 204, None


def _hook(call: Call) -> Webhook:
    found = call.audience.webhooks.get(call.args["webhook_id"])
    if found is None:
        raise not_found()
    return found


def _require_new(call: Call, url: str, own: Webhook | None) -> None:
    if any(hook.url == url and hook is not own for hook in call.audience.webhooks.values()):
        raise invalid("url", _SAME_URL)


def _url(value: Any) -> str:
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise invalid("url", "Please provide a valid URL.")
    return str(value)


def _flags(body: JSON, name: str, known: tuple[str, ...]) -> dict[str, bool]:
    """What is not named is off, which is why an integration should name all of them."""
    return dict.fromkeys(known, False) | _given(body, name, known)


def _given(body: JSON, name: str, known: tuple[str, ...]) -> dict[str, bool]:
    given = body.get(name, {})
    if not isinstance(given, dict) or not all(isinstance(v, bool) for v in given.values()):
        raise invalid(name, "Schema describes object of booleans")
    return {key: value for key, value in given.items() if key in known}
