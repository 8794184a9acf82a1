"""That a strict policy is really watched: what breaks it is counted."""

from __future__ import annotations

import pytest
from jinja2 import DictLoader
from playwright.sync_api import Browser, Page, Route

from tests.browser.looks import STRICTEST, opened
from tests.house import Host

pytestmark = pytest.mark.browser

NAME = "content-security-policy"


def comes(page: Page, complaints: list[str], words: str) -> bool:
    """Whether a complaint with these words does, within some seconds: the browser tells it later."""
    for _ in range(100):
        if any(one.startswith(words) for one in complaints):
            return True
        page.wait_for_timeout(50)
    return False


@pytest.mark.parametrize(
    ("part", "directive"),
    [
        pytest.param("<script>window.ran = true</script>", "script-src", id="script"),
        pytest.param("<p onclick='window.ran = true'>x</p>", "script-src", id="handler"),
        pytest.param("<p style='color: red'>x</p>", "style-src", id="style attribute"),
        pytest.param("<style>p { color: red }</style>", "style-src", id="style element"),
        pytest.param("<img alt='' src='http://127.0.0.1:9/x.png'>", "img-src", id="foreign image"),
        pytest.param("<iframe src='/'></iframe>", "frame-src", id="frame"),
    ],
)
def test_a_page_that_breaks_the_policy_is_noticed(
    host: Host, address: str, browser: Browser, part: str, directive: str
) -> None:
    frame = "{% block head %}{% endblock %}{% block content %}{% endblock %}" + part
    host.app.jinja_loader = DictLoader({"mailchimp_optin/base.html": frame})
    complaints: list[str] = []
    page = opened(browser, complaints)
    page.goto(f"{address}/")
    assert comes(page, complaints, f"violation: {directive}")
    assert page.evaluate("window.ran") is None


def test_our_own_policy_alone_lets_no_inline_script_run(
    host: Host, address: str, browser: Browser
) -> None:
    frame = "{% block content %}{% endblock %}<script>window.ran = true</script>"
    host.app.jinja_loader = DictLoader({"mailchimp_optin/base.html": frame})
    complaints: list[str] = []
    page = opened(browser, complaints)

    def ours_only(route: Route) -> None:
        answer = route.fetch()
        found = [h["value"] for h in answer.headers_array if h["name"].lower() == NAME]
        (policy,) = [one for one in found if one != STRICTEST]
        route.fulfill(response=answer, headers={**answer.headers, NAME: policy})

    page.route("**/*", ours_only)
    page.goto(f"{address}/")
    assert page.evaluate("window.ran") is None
    assert comes(page, complaints, "violation: script-src")
