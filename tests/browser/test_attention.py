"""Who needs attention, in a real browser without JavaScript: found, paged through, tried again."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.house import Host
from tests.views.test_attention import fill
from tests.views.test_rings import store

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1280, 320])
def test_found_paged_through_and_tried_again(
    host: Host, address: str, browser: Browser, width: int
) -> None:
    host.connect()
    fill(host, 60)
    fill(host, 60, "fake", name="f{:05}" + "-" * 40)
    complaints: list[str] = []
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": width, "height": 700}
    )
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text))
    page.goto(f"{address}/activity")
    page.get_by_role("link", name="See, search and download all 120").click()
    expect(page.get_by_role("heading", name="1 to 50 of 120")).to_be_visible()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("heading", name="51 to 100 of 120")).to_be_visible()

    page.get_by_role("searchbox", name="Search").fill("f0000")
    page.get_by_label("Reason").select_option(label="Address taken for fake (60)")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name="1 to 10 of 10")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert len(download.value.path().read_text("utf-8-sig").splitlines()) == 11

    page.get_by_role("button", name="Try again with f00003").click()
    expect(page.get_by_role("status")).to_contain_text("1 is tried again.")
    expect(page.get_by_role("heading", name="1 to 9 of 9")).to_be_visible()
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("f0000")
    assert context.pages == [page]
    assert complaints == []


def test_a_webhook_is_opened_and_looked_at_again(
    host: Host, address: str, browser: Browser
) -> None:
    host.connect()
    store(host, 30)
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{address}/activity/webhooks")
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("row")).to_have_count(6)
    page.get_by_text("Details of 5").click()
    page.get_by_role("button", name="Look again because of 5").click()
    expect(page.get_by_role("status")).to_contain_text("This address is looked at again.")
    page.get_by_label("What came of it").select_option("Waiting")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_text("Details of 5").click()
