"""MailchimpSandbox: Mailchimp's Marketing API 3.0 as a WSGI application, for tests and the demo.

Puts the account, the API, the faults, the rings and the sandbox's own page together.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import ClosingIterator

from .account import Account, Clock
from .api import ROOT, Api, parsed_or_none, problem_response
from .controls import Controls
from .faults import (
    Fault,
    Faults,
    Late,
    copied,
    dripping,
    halved,
    huge_answer,
    ordered_answer,
    reset,
    rewritten,
)
from .login import ROOT as LOGIN_ROOT
from .login import App, Login
from .members import subscriber_hash
from .page import Page
from .problems import named
from .records import JSON, Mail, Quirks, RequestRecord, StatusChange
from .ringer import Ringer
from .server import hangs_up, served


class MailchimpSandbox(Controls):
    """A Mailchimp account that lives in this process.

    It is a WSGI application: ``/3.0/`` is the API, ``/oauth2/`` Mailchimp's login, ``/`` a page where
    one acts as a subscriber or administrator. Everything that happened can be read from
    ``requests``, ``status_changes``, ``mails`` and ``rings``. Each of ``watchers`` is shown every
    API call as it arrives, before it takes effect or goes wrong.

    :param api_key: 32 hex digits, ``-`` and the data centre; made up if None.
    :param audiences: names of the audiences that exist at the start.
    :param double_optin: whether those are double opt-in.
    :param clock: gives the time, aware and in UTC, for everything that is written.
    :param latency_s: how long every API call takes at least.
    :param signing: whether new webhooks are signed, as in accounts since 2026.
    :param connection_limit: how many calls may run at once; one more is answered 429.
    """

    def __init__(
        self,
        api_key: str | None = None,
        audiences: Sequence[str] = ("Newsletter",),
        double_optin: bool = False,
        clock: Clock | None = None,
        latency_s: float = 0.0,
        signing: bool = True,
        connection_limit: int = 10,
        datacentre: str = "us6",
    ) -> None:
        self._account = Account(api_key, datacentre, clock)
        self._ringer = Ringer(lambda: self._account.clock().timestamp())
        self._account.bell = lambda audience, hook, kind, body: self._ringer.put(hook, kind, body)
        self._api = Api(self._account, self._url_answers, signing=signing)
        self._faults = Faults()
        self._answered: dict[str, Response] = {}
        self._login = Login(self._account)
        self._page = Page(self, self._account, self._login)
        self._stopping = threading.Event()
        self._slots = threading.Lock()
        self._late = Late(lambda: self._account.clock())
        self.latency_s = latency_s
        self.connection_limit = connection_limit
        self.connections: int = 0
        self.peak_connections: int = 0
        self.requests: list[RequestRecord] = []
        self.keep_bodies = True
        self.watchers: list[Callable[[RequestRecord], object]] = []
        for name in audiences:
            self.add_audience(name, double_optin)

    def land_late(self, *, everything: bool = True) -> int:
        """Let late requests take effect; how many did.

        :param everything: also those whose time has not come.
        """
        return self._late.land(everything=everything)

    def _url_answers(self, url: str) -> bool:
        return self._ringer.answers(url, by_post_too=self.quirks.checks_url_by_post_too)

    # What the sandbox knows.

    @property
    def api_key(self) -> str:
        """The key that is accepted now; empty after ``revoke_key``."""
        return self._account.api_key or ""

    @property
    def access_tokens(self) -> list[str]:
        """What applications were let in with, and still are; see ``revoke_tokens``."""
        return list(self._account.access_tokens)

    def register_app(self, redirect_uri: str) -> App:
        """Register an application for Mailchimp's login.

        :param redirect_uri: where people are sent back to who agreed or declined.
        :returns: with ``client_id`` and ``client_secret``.
        :raises ValueError: Mailchimp would not take this address.
        """
        return self._login.register(redirect_uri)

    @property
    def page_url(self) -> str:
        """The sandbox's own page, while it is served; else empty."""
        return self._account.base_url

    @property
    def api_url(self) -> str:
        """The API's address, for ``MAILCHIMP_OPTIN_API_URL``, while it is served; else empty."""
        base_url = self._account.base_url.rstrip("/")
        return f"{base_url}{ROOT}/" if base_url else ""

    @property
    def audiences(self) -> dict[str, str]:
        """Id to name, oldest first."""
        with self._account.lock:
            return {key: audience.name for key, audience in self._account.audiences.items()}

    def members(self, list_id: str) -> dict[str, JSON]:
        """All members by address as written, archived ones too, each as the API shows it."""
        with self._account.lock:
            audience = self._audience(list_id)
            return {m.email_address: audience.member_json(m) for m in audience.members}

    def member(self, list_id: str, email: str) -> JSON | None:
        with self._account.lock:
            audience = self._audience(list_id)
            found = audience.members.by_hash.get(subscriber_hash(email))
            return audience.member_json(found) if found else None

    @property
    def mails(self) -> list[Mail]:
        return self._account.mails

    @property
    def status_changes(self) -> list[StatusChange]:
        return self._account.status_changes

    @property
    def quirks(self) -> Quirks:
        return self._account.quirks

    # Serving.

    @contextmanager
    def serve(self, port: int = 0, host: str = "127.0.0.1") -> Iterator[str]:
        """Serve over HTTP while the block lasts; yields the API's address.

        :param port: 0 for any free one.
        :raises OSError: the port is taken.
        """
        self._stopping.clear()
        with served(self, host, port, self._stopping.set) as base_url:
            self._account.base_url = base_url
            try:
                yield self.api_url
            finally:
                self._account.base_url = ""
                self._ringer.close()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == ROOT:
            # As Mailchimp answered it: to plain http, which would show the key to everybody.
            target = f"http://{environ.get('HTTP_HOST', '')}{ROOT}/"
            return Response(b"", 301, headers={"Location": target})(environ, start_response)
        if path.startswith((f"{ROOT}/", f"{LOGIN_ROOT}/")) and path != f"{LOGIN_ROOT}/authorize":
            return self._api_call(environ, start_response)
        return self._page(environ, start_response)

    def _api_call(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._slots:
            self.connections += 1
            self.peak_connections = max(self.peak_connections, self.connections)
            crowded = self.connections > self.connection_limit
        held, gone = False, threading.Event()

        def leave() -> None:
            if not gone.is_set():
                gone.set()
                self._leave()

        try:
            response = self._answer(Request(environ), crowded, leave)
            held = response.is_streamed
            sent = response(environ, start_response)
            # An answer that takes its time keeps its place until it is sent.
            return ClosingIterator(sent, [leave]) if held else sent
        finally:
            if not held:
                leave()

    def _leave(self) -> None:
        with self._slots:
            self.connections -= 1

    def _answer(self, request: Request, crowded: bool, leave: Callable[[], None]) -> Response:
        raw = request.get_data()
        index = self._record(request, raw)
        self.land_late(everything=False)
        for watcher in self.watchers:
            watcher(self.requests[index])
        if crowded:
            response = problem_response(named("TooManyRequests"), str(uuid.uuid4()))
        else:
            self._take_time(request, leave)
            response = self._behaved(request, raw, index)
        self.requests[index] = replace(self.requests[index], status=response.status_code)
        return response

    def _take_time(self, request: Request, leave: Callable[[], None]) -> None:
        """As long as Mailchimp takes; a client that is gone meanwhile has no connection any more."""
        until = time.monotonic() + self.latency_s
        while (left_s := until - time.monotonic()) > 0 and not self._stopping.is_set():
            if hangs_up(request.environ, min(left_s, 0.1)):
                leave()
                self._stopping.wait(max(0.0, until - time.monotonic()))
                return

    def _behaved(self, request: Request, raw: bytes, index: int) -> Response:
        target = f"{request.method} {request.full_path.rstrip('?')}"
        for act in self._faults.due_hooks(target):
            act()
        after = self._faults.due_hooks(target, after=True)

        def real() -> Response:
            if request.path.startswith(f"{LOGIN_ROOT}/"):
                response = self._login.call(request)
            else:
                response = self._api.answer(request, raw, index)
            while after:
                after.pop(0)()
            return response

        fault = self._faults.take(target)
        if fault is None:
            self._answered[request.method] = response = real()
            return response
        while after and not fault.takes_effect:
            after.pop(0)()
        if fault.how == "late":
            self._late.put(fault.delay_s, real)
            reset(request.environ)
        return self._spoiled(fault, request, real)

    def _spoiled(self, fault: Fault, request: Request, real: Callable[[], Response]) -> Response:
        if fault.how in ("half", "drip"):
            whole = real() if fault.body is None else ordered_answer(fault)
            if fault.how == "half":
                return halved(whole, request.environ)
            return dripping(whole, fault.delay_s or 0.01, self._stopping)
        if fault.rewrite:
            return rewritten(real(), fault.rewrite)
        if fault.how == "twice":
            real()
            return real()
        if fault.applied:
            real()
        if fault.delay_s:
            self._stopping.wait(fault.delay_s)
        if fault.how == "slow":
            return real()
        return self._instead(fault, request)

    def _instead(self, fault: Fault, request: Request) -> Response:
        """What comes in place of the real answer."""
        if fault.how == "huge":
            return huge_answer(fault.size)
        if fault.how == "other":
            return copied(self._answered.get(request.method))
        if fault.how == "status":
            return ordered_answer(fault)
        reset(request.environ)
        raise AssertionError("not reached")

    def _record(self, request: Request, raw: bytes) -> int:
        headers: dict[str, Any] = {n: v for n, v in request.headers if n != "Authorization"}
        record = RequestRecord(
            index=0,
            at=self._account.clock(),
            method=request.method,
            path=request.path,
            query=request.args.to_dict(),
            body=parsed_or_none(raw) if self.keep_bodies else None,
            headers=headers,
        )
        with self._slots:
            self.requests.append(replace(record, index=len(self.requests)))
            return len(self.requests) - 1
