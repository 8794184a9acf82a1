"""The settings page in a real browser, with and without JavaScript: what can go wrong, and what is
asked before something changes much.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.looks import NARROW, SMALLEST, WIDE, fits, opened, size
from tests.house import Host

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, complaints: list[str], script: bool) -> Page:
    return opened(browser, complaints, java_script_enabled=script, **size(*WIDE))


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def enter_key(page: Page, address: str, key: str) -> None:
    page.goto(f"{address}/")
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")


def test_a_bad_key_is_said_beside_the_field(host: Host, address: str, browser: Browser) -> None:
    # The answer's status is no success, and the browser says so: that is no complaint here.
    page = opened(browser, [], **size(*WIDE))
    enter_key(page, address, "fedcba9876543210fedcba9876543210-us6")
    expect(page.get_by_role("alert")).to_contain_text("Mailchimp refused the API key")
    expect(page.get_by_label("API key")).to_have_value("")


def test_an_account_without_lists_leads_to_one(host: Host, address: str, page: Page) -> None:
    host.sandbox._account.audiences.clear()
    enter_key(page, address, host.sandbox.api_key)
    expect(page.get_by_text("This Mailchimp account has no list (audience) yet.")).to_be_visible()
    host.sandbox.add_audience("Made meanwhile")
    press(page, "Refresh lists")
    press(page, "Store lists")
    expect(page.get_by_label("Master list")).to_contain_text("Made meanwhile (0 subscribers)")


def test_a_revoked_key_leads_to_the_field_for_a_new_one(
    host: Host, address: str, page: Page
) -> None:
    host.connect()
    host.sandbox.revoke_key()
    host.add("ada@example.com", wants_news=True)
    host.work()
    page.goto(f"{address}/")
    expect(page.get_by_role("alert")).to_contain_text("The connection is stopped")
    page.get_by_role("link", name="enter it below").click()
    expect(page).to_have_url(re.compile("#api_key$"))


def test_another_master_list_is_asked_about_with_its_numbers(
    host: Host, address: str, page: Page, script: bool
) -> None:
    host.connect()
    host.add("ada@example.com", wants_news=True)
    host.work()
    other = host.another_list("Other")
    page.goto(f"{address}/")
    page.get_by_label("Master list").select_option(other)
    press(page, "Update")
    question = page.get_by_role("alert")
    expect(question).to_contain_text("make “Other” the master list?")
    expect(question).to_contain_text("its 1 subscribers that are your customers stay there")
    expect(question).to_be_focused()
    if script:
        for width in (NARROW, SMALLEST):
            page.set_viewport_size(size(*width)["viewport"])
            assert fits(page)
    press(page, "Change it at once")
    expect(page.get_by_role("status")).to_contain_text("The initial sync has begun")
    host.work()
    assert host.status("ada@example.com", other) == "subscribed"


def test_a_first_sync_is_previewed_and_continues(host: Host, address: str, page: Page) -> None:
    ada = host.add("ada@example.com", wants_news=True)
    host.list_id = next(iter(host.sandbox.audiences))
    host.sandbox.subscribe(host.list_id, "ada@example.com")
    host.sandbox.unsubscribe(host.list_id, "ada@example.com")
    enter_key(page, address, host.sandbox.api_key)
    page.get_by_label("Enable the integration").check()
    press(page, "Update and preview")
    expect(page).to_have_url(re.compile("/activity"))
    host.work()
    page.goto(f"{address}/")
    expect(page.get_by_role("alert")).to_contain_text("would tick 0 checkboxes and untick 1")
    assert host.box(ada) is True
    page.get_by_role("button", name="Continue").click()
    host.work()
    assert host.box(ada) is False


def test_missing_fields_are_made(host: Host, address: str, page: Page) -> None:
    host.connect()
    audience = host.sandbox._account.audiences[host.list_id]
    audience.merge_fields = [field for field in audience.merge_fields if field.tag != "LNAME"]
    audience.fields_changed()
    page.goto(f"{address}/")
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_role("row", name=re.compile("LNAME.*Missing"))).to_be_visible()
    press(page, "Create missing fields")
    expect(page.get_by_role("status")).to_contain_text("Made at Mailchimp: LNAME.")
    expect(page.get_by_role("row", name=re.compile("LNAME.*There"))).to_be_visible()
