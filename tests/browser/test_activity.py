"""The activity page's live part in a real browser: what moves, what is said, and what stays put."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update

from flask_mailchimp_optin import acts
from tests.house import Host

pytestmark = pytest.mark.browser


def at(host: Host, done: int) -> None:
    """The running sync has read so many of 90 members."""
    table = host.services.tables.sync_run
    counts = {"members": 90, "members_done": done, "customers": 9, "customers_done": 9}
    where = table.c.state == "running"
    with host.app.app_context():
        values: dict[str, Any] = {"phase": "members", "cursor": "{}", **counts}
        host.services.transact(lambda tx: tx.execute(update(table).where(where).values(values)))


@pytest.fixture
def page(host: Host, address: str, browser: Browser) -> Iterator[Page]:
    """The page while a sync runs; it is never loaded again."""
    host.connect()
    with host.app.app_context():
        acts.start_sync(host.services, "")
    at(host, 0)
    page = browser.new_context().new_page()
    page.goto(f"{address}/activity")
    page.evaluate("window.sameAsEver = true")
    yield page
    assert page.evaluate("window.sameAsEver")


def test_the_figures_follow_and_only_quarters_are_spoken(host: Host, page: Page) -> None:
    said = page.locator("[data-said]")
    expect(page.locator("[data-percent]")).to_have_text("33 %")
    expect(page.locator("[data-at]")).to_have_text(re.compile(r"\d:\d\d:\d\d"))
    at(host, 9)
    expect(page.locator("[data-percent]")).to_have_text("36 %", timeout=15_000)
    expect(page.get_by_role("progressbar")).to_have_js_property("value", 36)
    expect(page.locator("[data-phase]")).to_contain_text("9 of 90")
    expect(said).to_be_empty()
    at(host, 60)
    expect(said).to_have_text("Sync by hand: 55 % done", timeout=15_000)


def test_the_end_is_spoken_and_takes_nobody_away_from_where_they_are(
    host: Host, page: Page
) -> None:
    page.get_by_role("button", name="Pause").focus()
    with host.app.app_context():
        acts.pause_sync(host.services, "")
    expect(page.locator("[data-said]")).to_have_text("The sync is paused.", timeout=15_000)
    expect(page.get_by_role("heading", name="Sync", exact=True)).to_be_focused()
    expect(page.get_by_role("button", name="Resume this sync")).to_have_count(1)


def test_after_the_end_the_page_says_what_was_done(host: Host, page: Page) -> None:
    page.get_by_text("All checks").click()
    page.get_by_role("link", name="7 days", exact=True).focus()
    host.add("ada@example.com", wants_news=True)
    host.work()
    expect(page.locator("[data-said]")).to_have_text("The sync is done.", timeout=15_000)
    expect(page.get_by_role("row", name=re.compile("Sync by hand *Done"))).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_count(0)
    expect(page.get_by_role("link", name="Customer 1")).to_be_visible()
    expect(page.get_by_text("All tables are there.")).to_be_visible()
    expect(page.get_by_role("link", name="7 days", exact=True)).to_be_focused()


def test_a_site_that_does_not_answer_is_said_and_asked_again(host: Host, page: Page) -> None:
    lost = page.get_by_text("This site does not answer just now.")
    expect(lost).to_be_hidden()
    page.route("**/progress?*", lambda route: route.abort())
    expect(lost).to_be_visible(timeout=15_000)
    page.unroute("**/progress?*")
    expect(lost).to_be_hidden(timeout=15_000)


def test_updates_can_be_stopped(host: Host, page: Page) -> None:
    page.get_by_role("link", name="Stop updating this page").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("window.sameAsEver = true")
    page.wait_for_timeout(3000)
    assert asked == []
