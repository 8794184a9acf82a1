"""The pages in a real browser: the way from a key to a finished sync, wide and narrow, with and
without JavaScript.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from rq import Worker

from flask_mailchimp_optin import jobs, state
from tests.browser.looks import NARROW, WIDE, fits, opened, size
from tests.house import Host

pytestmark = pytest.mark.browser


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
    assert fits(page)

    page.get_by_label("Enable the integration").check()
    page.get_by_role("button", name="Update", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("The initial sync has begun")

    page.get_by_role("link", name="Activity", exact=True).click()
    expect(page.get_by_role("progressbar")).to_be_visible()
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
    assert fits(page)


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
