"""Connecting by Mailchimp's login in a real browser, which asks the policy at every step of the way."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.looks import STRICTEST, WIDE, offer_login, opened, served, size
from tests.house import Host

pytestmark = pytest.mark.browser


@pytest.fixture
def address(host: Host) -> Iterator[str]:
    """The pages' address, as it is registered at Mailchimp."""
    there = host.sandbox.page_url.rstrip("/")
    policy = STRICTEST.replace("form-action 'self'", f"form-action 'self' {there}")
    with served(host.app, policy) as url:
        offer_login(host, url)
        yield url


@pytest.fixture
def page(browser: Browser, complaints: list[str], script: bool) -> Page:
    return opened(browser, complaints, java_script_enabled=script, **size(*WIDE))


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_there_and_back(host: Host, address: str, page: Page) -> None:
    page.goto(f"{address}/")
    press(page, "Connect with Mailchimp")
    expect(page).to_have_url(re.compile(re.escape(f"{host.sandbox.page_url}oauth2/authorize?")))
    press(page, "Allow")
    expect(page).to_have_url(f"{address}/?connected=yes")
    expect(page.get_by_role("heading", name="Mailchimp is connected")).to_be_visible()


def test_who_declines_is_told_so(address: str, page: Page) -> None:
    page.goto(f"{address}/")
    press(page, "Connect with Mailchimp")
    press(page, "Decline")
    expect(page).to_have_url(f"{address}/#connect-title")
    expect(page.get_by_text("Nothing was changed: access was declined")).to_be_visible()
