"""Answers API calls: who asks, what for, and the answer in Mailchimp's form.

Knows Werkzeug's routing, the account and the table of endpoints; nothing of faults or sockets.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import uuid
from typing import Any

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

# These modules enter their endpoints into the table.
from . import api_audiences as _audiences  # noqa: F401
from . import api_members as _members  # noqa: F401
from . import api_webhooks as _webhooks  # noqa: F401
from .account import Account
from .asking import trimmed
from .calls import ENDPOINTS, UNLOCKED, Answer, Call, Endpoint, UrlCheck
from .problems import GLOSSARY, ProblemError, named, not_found

ROOT = "/3.0"
_READ_ONLY_ROLES = ("viewer", "author")


@functools.cache
def _routes() -> Map:
    rules = [
        Rule(rule, endpoint=function, methods=[method])
        for (method, rule), function in ENDPOINTS.items()
    ]
    return Map(rules, strict_slashes=False, merge_slashes=False)


class Api:
    """Mailchimp's Marketing API over one account.

    :param answers: whether a URL passes the check of a new webhook.
    :param signing: whether new webhooks get a signing secret.
    """

    def __init__(self, account: Account, answers: UrlCheck, *, signing: bool) -> None:
        self.account = account
        self.signing = signing
        self._answers = answers
        self._routes = _routes()

    def answer(self, request: Request, raw: bytes, index: int) -> Response:
        """The answer to one call; ``index`` is its place in the record of requests."""
        response = self._answered(request, raw, index)
        response.date = self.account.clock()
        return response

    def _answered(self, request: Request, raw: bytes, index: int) -> Response:
        instance = str(uuid.uuid4())
        try:
            status, body = self._handled(request, raw, index)
        except ProblemError as problem:
            return problem_response(problem, instance)
        headers = {"X-Request-Id": instance}
        kind = "application/json; charset=utf-8"
        if body is None:
            return Response(b"", status, content_type=kind, headers=headers)
        text = json.dumps(trimmed(body, request.args), separators=(",", ":"))
        return Response(text, status, content_type=kind, headers=headers)

    def _handled(self, request: Request, raw: bytes, index: int) -> Answer:
        self._authenticate(request)
        trigger = request.headers.get("X-Trigger-Error", "")
        if trigger in GLOSSARY:
            raise named(trigger)
        function, args = self._matched(request)
        if request.method != "GET" and self.account.role in _READ_ONLY_ROLES:
            raise named("Forbidden")
        call = Call(
            account=self.account,
            actor=self.account.actor("api", request=index, ip=request.remote_addr or ""),
            args=args,
            query=request.args,
            body=_parsed(raw) if request.method != "GET" else None,
            answers=self._answers,
            signing=self.signing,
        )
        if function in UNLOCKED:
            return function(call)
        with self.account.lock:
            return function(call)

    def _authenticate(self, request: Request) -> None:
        key = _sent_key(request.headers.get("Authorization", ""))
        if key is None:
            raise named("APIKeyMissing")
        if key != self.account.api_key and not self._is_token(request, key):
            raise named("APIKeyInvalid")
        if not self.account.active:
            raise named("UserDisabled")

    def _is_token(self, request: Request, key: str) -> bool:
        """An access token goes in a header of its own kind, never as a password."""
        is_basic = request.headers["Authorization"].lower().startswith("basic")
        return not is_basic and key in self.account.access_tokens

    def _matched(self, request: Request) -> tuple[Endpoint, dict[str, str]]:
        path = request.path.removeprefix(ROOT) or "/"
        routes = self._routes.bind("api.mailchimp.com", path_info=path)
        try:
            function, args = routes.match(method=request.method)
        except MethodNotAllowed as error:
            problem = named("MethodNotAllowed")
            problem.allow = ", ".join(error.valid_methods or ())
            raise problem from None
        except NotFound:
            raise not_found() from None
        return function, dict(args)


def problem_response(problem: ProblemError, instance: str) -> Response:
    """A refusal as Mailchimp sends it."""
    headers = {
        "X-Request-Id": instance,
        "Link": "<https://us6.api.mailchimp.com/schema/3.0/Definitions/"
        'ProblemDetailDocument.json>; rel="describedBy"',
    }
    if problem.allow:
        headers["Allow"] = problem.allow
    return Response(
        json.dumps(problem.document(instance), separators=(",", ":")),
        problem.status,
        content_type="application/problem+json; charset=utf-8",
        headers=headers,
    )


def parsed_or_none(raw: bytes) -> Any:
    """The JSON, or None if it is none: for the record of requests."""
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return None


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        raise named("JSONParseError") from None


def _sent_key(header: str) -> str | None:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() in ("bearer", "oauth", "apikey"):
        return rest.strip()
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(rest, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return ""
    return pair.partition(":")[2]
