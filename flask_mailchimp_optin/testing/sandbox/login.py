"""Mailchimp's login: the page where one agrees, and the access token for the code that it gives.

Imports the account and Werkzeug; the sandbox's own page shows what this decides.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Request, Response

from .account import Account

ROOT = "/oauth2"
CODE_LASTS = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class App:
    """An application that is registered at Mailchimp."""

    client_id: str
    client_secret: str
    redirect_uri: str


@dataclass(frozen=True, kw_only=True)
class _Code:
    client_id: str
    redirect_uri: str
    until: datetime


class LoginError(Exception):
    """A request to log in that Mailchimp shows a page about; the person is sent nowhere."""


class Login:
    """Registered applications, and codes that wait to be exchanged."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._apps: dict[str, App] = {}
        self._codes: dict[str, _Code] = {}

    def register(self, redirect_uri: str) -> App:
        """A new application, as its developer registers it.

        :raises ValueError: Mailchimp would not take this address.
        """
        parts = urlsplit(redirect_uri)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.fragment:
            raise ValueError("A redirect address begins with http:// or https://.")
        if parts.hostname == "localhost":
            raise ValueError("Mailchimp takes 127.0.0.1, not localhost.")
        number = str(100_000_000_000 + secrets.randbelow(900_000_000_000))
        app = App(client_id=number, client_secret=secrets.token_hex(25), redirect_uri=redirect_uri)
        self._apps[number] = app
        return app

    def asked(self, query: MultiDict[str, str]) -> App:
        """Who asks to be let in.

        :raises LoginError: nobody who is registered, or not as they are.
        """
        app = self._apps.get(query.get("client_id", ""))
        if app is None:
            raise LoginError("No application is registered with this client id.")
        if query.get("redirect_uri") != app.redirect_uri:
            raise LoginError("The application is registered with another redirect address.")
        if query.get("response_type") != "code":
            raise LoginError("An application asks for a code.")
        return app

    def answer(self, query: MultiDict[str, str], *, agreed: bool) -> str:
        """Where a person is sent who agreed or declined.

        :raises LoginError: as :meth:`asked`.
        """
        app = self.asked(query)
        told = {"error": "access_denied"}
        if agreed:
            code = secrets.token_hex(16)
            self._codes[code] = _Code(
                client_id=app.client_id,
                redirect_uri=app.redirect_uri,
                until=self._account.clock() + CODE_LASTS,
            )
            told = {"code": code}
        if "state" in query:
            told["state"] = query["state"]
        return f"{app.redirect_uri}{'&' if '?' in app.redirect_uri else '?'}{urlencode(told)}"

    def call(self, request: Request) -> Response:
        """The two addresses that applications themselves ask."""
        known = {("POST", "token"): self._token, ("GET", "metadata"): self._metadata}
        found = known.get((request.method, request.path.removeprefix(f"{ROOT}/")))
        if found is None:
            return _json({"error": "not_found"}, 404)
        with self._account.lock:
            return found(request)

    def _token(self, request: Request) -> Response:
        form = request.form
        app = self._apps.get(form.get("client_id", ""))
        if form.get("grant_type") != "authorization_code":
            return _json({"error": "unsupported_grant_type"}, 400)
        if app is None or not _same(app.client_secret, form.get("client_secret", "")):
            return _json({"error": "invalid_client"}, 400)
        code = self._codes.pop(form.get("code", ""), None)
        is_good = (
            code is not None
            and code.client_id == app.client_id
            and code.redirect_uri == form.get("redirect_uri")
            and self._account.clock() < code.until
        )
        if not is_good:
            return _json({"error": "invalid_grant"}, 400)
        return _json(
            {"access_token": self._account.new_token(), "expires_in": 0, "scope": None}, 200
        )

    def _metadata(self, request: Request) -> Response:
        found = re.fullmatch(r"OAuth (\S+)", request.headers.get("Authorization", ""))
        if not found or found[1] not in self._account.access_tokens or not self._account.active:
            return _json({"error": "invalid_token"}, 401)
        return _json(
            {
                "dc": self._account.datacentre,
                "role": self._account.role,
                "accountname": self._account.name,
                "user_id": self._account.user_id,
                "login": {"email": "owner@sandbox.example", "login_name": "owner"},
                "login_url": "https://login.mailchimp.com",
                "api_endpoint": f"https://{self._account.datacentre}.api.mailchimp.com",
            },
            200,
        )


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "replace"))


def _json(body: dict[str, Any], status: int) -> Response:
    return Response(json.dumps(body), status, content_type="application/json; charset=utf-8")
