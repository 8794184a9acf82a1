"""The sandbox's own pages: act as a subscriber or as an administrator, without an account.

Server-rendered, no script. An act is a POST that redirects to where it came from, with a message.
Talks to the sandbox through its public methods; reads the account for what it shows.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

from jinja2 import Environment, FileSystemLoader
from werkzeug.exceptions import Forbidden, HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from .account import Account
from .acts import ImpossibleActError
from .asking import matches
from .audiences import Audience
from .login import Login, LoginError
from .members import Member
from .page_acts import ACTS, Asked, subscribe

if TYPE_CHECKING:
    from .sandbox import MailchimpSandbox

PAGE_SIZE = 50
_HERE = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_RULES = (
    ("GET", "/", "overview"),
    ("GET", "/sandbox.css", "stylesheet"),
    ("POST", "/audiences", "add_audience"),
    ("GET", "/audiences/<list_id>", "audience"),
    ("POST", "/audiences/<list_id>/acts", "act"),
    ("GET", "/audiences/<list_id>/members/<path:email>", "member"),
    ("GET", "/subscribe", "form"),
    ("POST", "/subscribe", "sign_up"),
    ("GET", "/oauth2/authorize", "authorize"),
    ("POST", "/oauth2/authorize", "authorized"),
)


@functools.cache
def _routes() -> Map:
    return Map([Rule(rule, endpoint=name, methods=[method]) for method, rule, name in _RULES])


@functools.cache
def _templates() -> Environment:
    found = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, trim_blocks=True
    )
    found.filters["pathquoted"] = lambda text: quote(text, safe="")
    return found


class Page:
    """The WSGI application behind everything that is not the API."""

    def __init__(self, sandbox: MailchimpSandbox, account: Account, login: Login) -> None:
        self.sandbox = sandbox
        self.account = account
        self.login = login
        self._notes: dict[str, tuple[str, str]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = 100_000
        response: Response | HTTPException
        try:
            name, args = _routes().bind_to_environ(environ).match()
            _require_same_site(request)
            response = getattr(self, f"_{name}")(request, **args)
        except ImpossibleActError as error:
            response = self._shown(request, "message.html", 404, text=str(error))
        except LoginError as error:
            response = self._shown(request, "message.html", 400, text=str(error))
        except HTTPException as error:
            response = error
        return response(environ, start_response)

    def _shown(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        kind, note = self._notes.pop(request.args.get("note", ""), ("", ""))
        text = (
            _templates()
            .get_template(template)
            .render(api_key=self.sandbox.api_key, note=note, note_kind=kind, **values)
        )
        return Response(text, status, content_type="text/html; charset=utf-8", headers=_HEADERS)

    def _back(self, path: str, note: str, *, kind: str = "done", **query: str) -> Response:
        number = secrets.token_hex(4)
        with self.account.lock:
            self._notes[number] = (kind, note)
            while len(self._notes) > PAGE_SIZE:
                del self._notes[next(iter(self._notes))]
        return redirect(f"{path}?{urlencode({**query, 'note': number})}", 303)

    def _stylesheet(self, request: Request) -> Response:
        return Response((_HERE / "static" / "sandbox.css").read_bytes(), content_type="text/css")

    def _overview(self, request: Request) -> Response:
        with self.account.lock:
            audiences = [
                {"audience": a, "counts": dict(a.members.counts), "waiting": len(_waiting(a))}
                for a in self.account.audiences.values()
            ]
        return self._shown(
            request,
            "overview.html",
            audiences=audiences,
            api_url=f"{request.host_url}3.0/",
            calls=list(reversed(self.sandbox.requests[-8:])),
            rings=list(reversed(self.sandbox.rings[-8:])),
        )

    def _add_audience(self, request: Request) -> Response:
        name = request.form.get("name", "").strip()
        if not name:
            return self._back("/", "An audience needs a name.", kind="failed")
        self.sandbox.add_audience(name, double_optin="double_optin" in request.form)
        return self._back("/", f"“{name}” was added. Integrations see it when they look again.")

    def _found(self, list_id: str) -> Audience:
        found = self.account.audiences.get(list_id)
        if found is None:
            raise ImpossibleActError("There is no such audience (any more).")
        return found

    def _audience(self, request: Request, list_id: str) -> Response:
        text = request.args.get("q", "").strip()
        number = max(1, request.args.get("page", 1, type=int))
        with self.account.lock:
            audience = self._found(list_id)
            found = [m for m in audience.members if not text or matches(m, text.lower())]
            found.sort(key=lambda m: m.order_key, reverse=True)
            shown = found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
            return self._shown(
                request,
                "audience.html",
                audience=audience,
                members=shown,
                total=len(found),
                everybody=len(audience.members),
                page=number,
                pages=max(1, -(-len(found) // PAGE_SIZE)),
                q=text,
                waiting=_waiting(audience)[:PAGE_SIZE],
                form_url=f"/subscribe?id={audience.id}",
                webhooks=list(audience.webhooks.values()),
            )

    def _member(self, request: Request, list_id: str, email: str) -> Response:
        with self.account.lock:
            audience = self._found(list_id)
            member = audience.members.find(email)
            if member is None:
                raise ImpossibleActError(f"{email} is no member of “{audience.name}” (any more).")
            changes = [
                change
                for change in self.account.status_changes[-5000:]
                if change.list_id == list_id and change.address == member.email_address
            ]
            return self._shown(
                request,
                "member.html",
                audience=audience,
                member=member,
                merges={**audience.blank_merges, **member.merge_fields},
                changes=changes[-10:],
            )

    def _act(self, request: Request, list_id: str) -> Response:
        audience = self._found(list_id)
        act = ACTS.get(request.form.get("act", ""))
        if act is None:
            raise NotFound
        home = f"/audiences/{list_id}"
        try:
            done = act(self._asked(request, audience))
        except ImpossibleActError as error:
            return self._back(home, str(error), kind="failed")
        if done.member:
            return self._back(f"{home}/members/{quote(done.member, safe='')}", done.note)
        return self._back(home if list_id in self.account.audiences else "/", done.note)

    def _asked(self, request: Request, audience: Audience) -> Asked:
        email = request.form.get("email", "").strip()
        return Asked(sandbox=self.sandbox, audience=audience, email=email, form=request.form)

    def _form(self, request: Request) -> Response:
        with self.account.lock:
            audience = self._found(request.args.get("id", ""))
            return self._shown(request, "form.html", audience=audience)

    def _sign_up(self, request: Request) -> Response:
        audience = self._found(request.form.get("id", ""))
        try:
            done = subscribe(self._asked(request, audience))
        except ImpossibleActError as error:
            return self._back("/subscribe", str(error), kind="failed", id=audience.id)
        return self._back("/subscribe", done.note, id=audience.id)

    def _authorize(self, request: Request) -> Response:
        app = self.login.asked(request.args)
        name = self.account.name
        response = self._shown(request, "authorize.html", app=app, account_name=name)
        # Browsers ask the policy about where the form's answer leads, too.
        parts = urlsplit(app.redirect_uri)
        policy = response.headers["Content-Security-Policy"]
        there = f"form-action 'self' {parts.scheme}://{parts.netloc}"
        response.headers["Content-Security-Policy"] = policy.replace("form-action 'self'", there)
        return response

    def _authorized(self, request: Request) -> Response:
        agreed = request.form.get("agree") == "yes"
        return redirect(self.login.answer(request.args, agreed=agreed), 303)


def _require_same_site(request: Request) -> None:
    """No other site may act here through a visitor's browser."""
    origin = request.headers.get("Origin")
    if request.method == "POST" and origin and urlsplit(origin).netloc != request.host:
        raise Forbidden


def _waiting(audience: Audience) -> list[Member]:
    if not audience.members.counts["pending"]:
        return []
    return [m for m in audience.members if m.status == "pending"]
