"""Serving a host to a browser, and looking at a page: what it complains about, whether it fits."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from playwright.sync_api import Browser, ConsoleMessage, Page
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from tests.house import Host

WIDE, MIDDLE, NARROW, SMALLEST = (1280, 900), (768, 1024), (360, 740), (320, 640)

#: What a host may demand at most, beside our own policy: both hold.
STRICTEST = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Requests are not worth a line each."""


@contextmanager
def served(app: Flask, policy: str = STRICTEST) -> Iterator[str]:
    """The pages' address, while the application is served under the strictest policy, or this one."""

    @app.after_request
    def _strict(response: Response) -> Response:
        response.headers.add("Content-Security-Policy", policy)
        return response

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/integrations/mailchimp"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def offer_login(host: Host, address: str) -> None:
    """Logging in at Mailchimp becomes possible, and leads back to the pages at this address."""
    host.configure(PUBLIC_URL=address.removesuffix(host.services.config.URL_PREFIX))
    app = host.sandbox.register_app(host.services.config.oauth_redirect)
    host.configure(OAUTH_CLIENT_ID=app.client_id, OAUTH_CLIENT_SECRET=app.client_secret)


def opened(browser: Browser, complaints: list[str], **options: Any) -> Page:
    """A page in a context of its own, whose complaints are heard.

    :param complaints: gets errors, refused resources, and violations of the policy.
    """
    context = browser.new_context(**options)
    context.set_default_timeout(10_000)
    context.add_init_script(_TELL_VIOLATIONS)
    page = context.new_page()

    def said(message: ConsoleMessage) -> None:
        if not _IS_MEANT.match(message.text):
            complaints.append(message.text)

    page.on("console", said)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    return page


#: What the browser notes although it is meant: a form that was refused comes back as 422; and a page
#: that opens at one of its sections leaves the focus there, instead of giving it to the message.
_IS_MEANT = re.compile(
    "Failed to load resource: the server responded with a status of [45]"
    "|Autofocus processing was blocked because a document's URL has a fragment"
)
_TELL_VIOLATIONS = """document.addEventListener("securitypolicyviolation", event =>
  console.error(`violation: ${event.effectiveDirective} by ${event.blockedURI}`));"""


def fits(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways."""
    page.wait_for_load_state()  # texts may be there before the stylesheet is
    wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    return not page.evaluate(wider)


def size(width: int, height: int) -> dict[str, Any]:
    """Options for :func:`opened`."""
    return {"viewport": {"width": width, "height": height}}
