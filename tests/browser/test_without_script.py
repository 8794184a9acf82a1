"""Everything an administrator can do, in a browser without JavaScript, at three widths."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.looks import MIDDLE, SMALLEST, WIDE, fits, opened, size
from tests.browser.states import attention
from tests.house import Host

pytestmark = pytest.mark.browser


class Hands:
    """Presses what can be seen, and looks at every page that comes of it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address

    def open(self, path: str = "/") -> None:
        """Go to a page."""
        self.page.goto(self.address + path)
        assert fits(self.page)

    def press(self, name: str, then: str) -> None:
        """Press a button, and see this text afterwards."""
        self.page.get_by_role("button", name=name, exact=True).first.click()
        expect(self.page.get_by_text(then).first).to_be_visible()
        assert fits(self.page)


@pytest.fixture(params=[SMALLEST, MIDDLE, WIDE], ids=["320", "768", "1280"])
def hands(request: pytest.FixtureRequest, address: str, browser: Browser) -> Hands:
    page = opened(browser, [], java_script_enabled=False, **size(*request.param))
    return Hands(page, address)


def test_connecting_lists_settings_and_disconnecting(host: Host, hands: Hands) -> None:
    page = hands.page
    hands.open()
    page.get_by_label("API key").fill("no key at all")
    hands.press("Update", "Nothing was changed")
    page.get_by_label("API key").fill(host.sandbox.api_key)
    hands.press("Update", "Mailchimp is connected")

    host.sandbox.add_audience("Trade customers")
    hands.press("Refresh lists", "Trade customers")
    hands.press("Store lists", "Lists stored.")

    page.get_by_label("Enable the integration").check()
    page.get_by_label("Once a day").check()
    page.get_by_label("Master list").select_option(index=1)
    page.get_by_label("Archive them").check()
    hands.press("Update", "The initial sync has begun")
    expect(page.get_by_label("Once a day")).to_be_checked()
    host.work()

    hands.open()
    hands.press("Repair webhooks", "webhooks are checked")
    page.get_by_label("Yes, disconnect Mailchimp").check()
    hands.press("Disconnect", "Mailchimp is disconnected")


def test_a_sync_is_followed_stopped_and_continued(host: Host, hands: Hands) -> None:
    page = hands.page
    host.configure(STOP_COUNT=2)
    list_id = next(iter(host.sandbox.audiences))
    names = [f"person{n}@example.com" for n in range(6)]
    host.sandbox.add_members(list_id, names, status="unsubscribed")
    ids = [host.add(name, wants_news=True) for name in names]
    host.connect()
    hands.open("/activity")
    hands.press("Cancel this sync", "is cancelled")
    hands.press("Preview", "The preview has begun")
    host.work()
    hands.open("/activity")
    hands.press("Sync now", "has begun")
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.get_by_role("link", name="Stop updating this page").click()
    page.get_by_role("link", name="Update this page by itself").click()
    host.work()
    # The page finds out by itself.
    expect(page.get_by_role("button", name="Continue with this sync")).to_be_visible(timeout=15_000)
    hands.press("Continue with this sync", "goes on")
    host.work()
    assert [host.box(key) for key in ids] == [False] * 6


def test_customers_that_need_attention_are_tried_again(host: Host, hands: Hands) -> None:
    attention(host)
    hands.open("/activity")
    hands.page.locator("summary").first.click()
    before = len(host.attention())
    hands.page.get_by_role("button", name="Try again").first.click()
    expect(hands.page.get_by_text("tried again").first).to_be_visible()
    assert len(host.attention()) == before - 1
    hands.press("Try all again", "tried again")
    hands.page.get_by_role("link", name="customer").first.click()
    expect(hands.page.get_by_role("heading", name="Decisions")).to_be_visible()
    assert fits(hands.page)


def test_a_page_that_was_open_too_long_leads_back(host: Host, hands: Hands) -> None:
    host.connect()
    hands.open()
    hands.page.context.clear_cookies()
    hands.press("Refresh lists", "This page was open too long")
    hands.page.get_by_role("link", name="Open the settings").click()
    hands.press("Refresh lists", "Lists fetched.")


def test_a_copy_says_what_it_is(host: Host, hands: Hands) -> None:
    host.connect()
    host.configure(PUBLIC_URL="https://staging.example.com")
    hands.open()
    hands.page.get_by_label("no longer runs").check()
    hands.press("Go on from here", "goes on from here")
    host.configure(PUBLIC_URL="https://another.example.com")
    hands.open()
    hands.page.get_by_label("Yes, disconnect this copy").check()
    hands.press("Disconnect the copy", "Mailchimp is disconnected here")
