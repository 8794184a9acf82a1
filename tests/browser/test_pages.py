"""The pages in a real browser: the way from a key to a finished sync, wide and narrow, light and
dark, with a keyboard, and without JavaScript.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from rq import Worker

from flask_mailchimp_optin import connect, jobs, state
from tests.house import Host

pytestmark = pytest.mark.browser

WIDE, NARROW, SMALLEST = (1200, 800), (360, 740), (320, 600)


@pytest.fixture(params=["with JavaScript", "without JavaScript"])
def script(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "with JavaScript")


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser complains about: errors, refused resources, violations of the policy."""
    heard: list[str] = []
    yield heard
    assert heard == []


def opened(browser: Browser, complaints: list[str], **options: Any) -> Page:
    page = browser.new_context(**options).new_page()
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    return page


def fits(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways."""
    wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    return not page.evaluate(wider)


def size(width: int, height: int) -> dict[str, Any]:
    return {"viewport": {"width": width, "height": height}}


@pytest.fixture
def worker(host: Host) -> Iterator[None]:
    """A worker that is known to Redis; the work itself is done by the test."""
    here = state.of(host.app)
    queue = jobs.queue(here.config.QUEUE, here.redis)
    registered = Worker([queue], connection=here.redis)
    registered.register_birth()  # type: ignore[no-untyped-call]  # of RQ
    yield
    registered.register_death()  # type: ignore[no-untyped-call]  # of RQ


@pytest.mark.parametrize("width", [WIDE, NARROW], ids=["wide", "narrow"])
def test_from_a_key_to_a_finished_sync(
    host: Host,
    worker: None,
    address: str,
    browser: Browser,
    complaints: list[str],
    script: bool,
    width: tuple[int, int],
) -> None:
    host.add("ada@example.com", wants_news=True)
    page = opened(browser, complaints, java_script_enabled=script, **size(*width))
    page.goto(f"{address}/")
    page.get_by_label("API key").fill(host.sandbox.api_key)
    page.get_by_role("button", name="Update").click()
    expect(page.get_by_role("heading", name="Mailchimp is connected")).to_be_visible()
    if script:
        assert fits(page)

    page.get_by_label("Enable the integration").check()
    page.get_by_role("button", name="Update", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("The initial sync has begun")

    page.get_by_role("link", name="Activity", exact=True).click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    if script:
        assert fits(page)

    host.list_id = next(iter(host.sandbox.audiences))
    host.work()
    # The page finds out by itself: by the script, or by reloading.
    expect(page.get_by_role("progressbar")).to_have_count(0, timeout=15_000)
    expect(page.get_by_text("Everything is in order.")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("Initial sync.*Done"))).to_be_visible()
    assert host.status("ada@example.com") == "subscribed"

    page.get_by_role("link", name="Customer 1").click()
    expect(page.get_by_text("Subscribed at Mailchimp.")).to_be_visible()
    if script:
        assert fits(page)


def troubled(host: Host) -> None:
    """A connection with something in every part of every page."""
    host.connect()
    for name in ("a" * 60 + "@example.com", "bob@example.com", "cyd@example.com"):
        host.add(name, wants_news=True)
    host.add("x" * 200, wants_news=True)
    host.work()
    host.sandbox.clean(host.list_id, "a" * 60 + "@example.com")
    host.sandbox.unsubscribe(host.list_id, "bob@example.com")
    host.work()
    host.sandbox.add_audience("W" * 100)
    with host.app.app_context():
        connect.refresh(host.services, "")
        connect.store_lists(host.services, "")
        host.sandbox.add_audience('"><script>alert(1)</script>')
        connect.refresh(host.services, "")
        connect.start_sync(host.services, "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW, SMALLEST], ids=["1200", "360", "320"])
def test_nothing_has_to_be_scrolled_sideways_and_nothing_is_complained_about(
    host: Host,
    address: str,
    browser: Browser,
    complaints: list[str],
    width: tuple[int, int],
    scheme: Any,
) -> None:
    page = opened(browser, complaints, color_scheme=scheme, **size(*width))
    page.goto(f"{address}/")
    assert fits(page)
    troubled(host)
    for path in ("/", "/?connected=yes", "/activity", "/customers/1", "/customers/4"):
        page.goto(address + path)
        assert fits(page), path


def test_a_refused_key_leads_the_keyboard_to_the_field(
    host: Host, address: str, browser: Browser
) -> None:
    page = opened(browser, [], **size(*WIDE))
    page.goto(f"{address}/")
    page.get_by_label("API key").fill("no key at all")
    page.keyboard.press("Enter")
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("API key")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("API key")).to_have_value("")
    expect(page).to_have_title(re.compile("^Error: "))


def test_everything_can_be_reached_with_a_keyboard(
    host: Host, address: str, browser: Browser, complaints: list[str]
) -> None:
    host.connect()
    page = opened(browser, complaints, **size(*WIDE))
    page.goto(f"{address}/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        tag, name, outline = page.evaluate(
            "(at => [at.tagName, at.id || at.textContent.trim(), getComputedStyle(at).outlineStyle])"
            "(document.activeElement)"
        )
        if tag == "BODY":  # past the end
            break
        reached.add(name)
        assert outline != "none", name
    assert {"enabled", "master_list", "mode", "daily_zone", "confirm", "Disconnect"} <= reached


def test_text_stands_out_from_its_background(
    host: Host, address: str, browser: Browser, complaints: list[str]
) -> None:
    troubled(host)
    for scheme in ("light", "dark"):
        page = opened(browser, complaints, color_scheme=scheme, **size(*WIDE))
        for path in ("/?connected=yes", "/activity", "/customers/1"):
            page.goto(address + path)
            assert page.evaluate(_TOO_FAINT) == [], (scheme, path)


#: Every text whose contrast with what is behind it is below 4.5 (WCAG 2.2, 1.4.3).
_TOO_FAINT = """() => {
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const parts = text => text.match(/[0-9.]+/g).map(Number);
  const behind = node => { for (; node; node = node.parentElement) {
    const c = parts(getComputedStyle(node).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !node.offsetParent || node.closest("option, select, noscript")) continue;
    const [a, b] = [light(parts(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push([node.className || node.tagName, node.textContent.trim().slice(0, 40),
      Math.round(ratio * 100) / 100]);
  }
  return faint;
}"""
