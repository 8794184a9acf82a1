"""An administrator at the pages: reads them, fills forms in and presses buttons, as a browser would."""

from __future__ import annotations

import html
import re
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

ROOT = "/integrations/mailchimp"


class Admin:
    """A test client with a memory for the page it is on."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.page = ""

    def open(self, path: str = "/") -> str:
        """Open a page that has to be there."""
        answer = self.client.get(ROOT + path, follow_redirects=True)
        assert answer.status_code == 200, answer.status
        return self._seen(answer)

    def _seen(self, answer: TestResponse) -> str:
        self.page = answer.get_data(as_text=True)
        return self.page

    @property
    def text(self) -> str:
        """What the page says, without its markup."""
        bare = re.sub(r"<(script|style|option)\b.*?</\1>", " ", self.page, flags=re.S)
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", bare)).split())

    def token(self) -> str:
        """The CSRF token of the page."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.page)
        assert found, "the page has no CSRF token"
        return found[1]

    def send(self, path: str = "/", *, open_first: str = "/", **fields: Any) -> TestResponse:
        """Send a form from a freshly opened page, and follow to where it leads."""
        self.open(open_first)
        fields = {"csrf_token": self.token(), **fields}
        answer = self.client.post(ROOT + path, data=fields, follow_redirects=True)
        self._seen(answer)
        return answer

    def search(self, text: str, reason: str = "") -> str:
        """Look for somebody who needs attention; the address of the page that shows them."""
        answer = self.send("/activity/attention", q=text, reason=reason)
        assert answer.status_code == 200
        return answer.request.full_path.removeprefix(ROOT)

    def connect(self, key: str) -> TestResponse:
        """Enter an API key and press "Update"."""
        return self.send(api_key=key)

    def save(self, **fields: Any) -> TestResponse:
        """Press "Update" below the settings, with these fields filled in."""
        return self.send(mode=fields.pop("mode", "at_once"), **fields)
