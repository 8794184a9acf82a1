"""All the way with nothing but a keyboard: where the focus is can always be seen, and after an act it
is, or its message stands, where one looks for it.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.looks import WIDE, opened, size
from tests.house import Host

pytestmark = pytest.mark.browser


class Keyboard:
    """Somebody who has no mouse. Every stop of the focus is looked at."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, *keys: str) -> None:
        """Press these keys, each once, as soon as the page is there."""
        self.page.evaluate(SETTLED)
        for key in keys:
            self.page.keyboard.press(key)

    def go_to(self, where: Locator, *, key: str = "Tab", within: int = 60) -> None:
        """Press Tab until this has the focus."""
        for _ in range(within):
            self.press(key)
            self.look()
            if where.evaluate("node => node === document.activeElement"):
                return
        raise AssertionError(f"{within} times {key} do not lead to {where}")

    def look(self) -> None:
        """The focus is on something, which is in sight, marked, and covered by nothing."""
        found = self.page.evaluate(FOCUS)
        assert found["tag"] != "BODY", "the focus is lost"
        assert found["style"] != "none", found
        assert found["width"] >= 2, found
        assert found["contrast"] >= 3, found
        assert found["in_sight"], found
        assert not found["covered"], found


#: A page that opens at one of its sections takes the focus away for it, once its stylesheet is there:
#: a Tab before that is answered, but not to be looked at.
SETTLED = """async () => {
  if (document.readyState !== "complete") await new Promise(done => addEventListener("load", done));
  for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
}"""

FOCUS = """() => {
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const parts = text => text.match(/[0-9.]+/g).map(Number);
  const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
  let behind = [255, 255, 255];
  for (let node = at.parentElement; node; node = node.parentElement) {
    const c = parts(getComputedStyle(node).backgroundColor);
    if (c.length < 4 || c[3] > 0) { behind = c; break; } }
  const [a, b] = [light(parts(style.outlineColor)), light(behind)];
  const x = box.x + box.width / 2, y = box.y + Math.min(box.height / 2, 20);
  const top = document.elementFromPoint(x, y);
  return { tag: at.tagName, name: (at.id || at.textContent).trim().slice(0, 40),
    style: style.outlineStyle, width: parseFloat(style.outlineWidth),
    contrast: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05),
    in_sight: box.top >= 0 && box.top < innerHeight && box.left >= 0 && box.right <= innerWidth,
    covered: !!top && !at.contains(top) && !top.contains(at) };
}"""


def test_from_a_key_to_a_customer_that_is_tried_again(
    host: Host, address: str, browser: Browser
) -> None:
    complaints: list[str] = []
    page = opened(browser, complaints, **size(*WIDE))
    hands = Keyboard(page)
    button, label = page.get_by_role, page.get_by_label
    page.goto(f"{address}/")

    # Past the navigation, to the key.
    hands.press("Tab")
    hands.look()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    hands.press("Enter")
    hands.go_to(label("API key"), within=3)
    page.keyboard.type("no key at all")
    hands.press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    hands.look()
    hands.press("Tab", "Enter")  # its link leads to the field
    expect(label("API key")).to_be_focused()
    hands.look()
    page.keyboard.type(host.sandbox.api_key)
    hands.press("Enter")
    expect(page.get_by_text("Mailchimp is connected")).to_be_in_viewport()

    # Lists that are new at Mailchimp.
    host.sandbox.add_audience("Trade customers")
    hands.go_to(button("button", name="Refresh lists"))
    hands.press("Enter")
    expect(page.get_by_text("Lists fetched.")).to_be_in_viewport()
    hands.go_to(button("button", name="Store lists"), within=6)
    hands.press("Space")
    expect(page.get_by_text("Lists stored.")).to_be_in_viewport()

    # The settings.
    hands.go_to(label("Enable the integration"))
    hands.press("Space")
    expect(label("Enable the integration")).to_be_checked()
    hands.go_to(label("Master list"))
    first = label("Master list").input_value()
    hands.press("ArrowDown")
    assert label("Master list").input_value() != first
    hands.press("ArrowUp")
    hands.go_to(label("At once"))
    hands.press("ArrowDown")
    expect(label("Once a day")).to_be_checked()
    hands.look()
    hands.press("ArrowUp")
    hands.go_to(button("button", name="Update", exact=True))
    hands.press("Enter")
    message = page.get_by_role("status").filter(has_text="The initial sync has begun")
    expect(message).to_be_in_viewport()
    assert message.evaluate("node => document.activeElement.contains(node)")
    hands.look()

    # A customer who can't be reached, tried again.
    host.list_id = first
    host.add("ada@example.com", wants_news=True)
    host.work()
    host.sandbox.clean(first, "ada@example.com")
    host.work()
    hands.go_to(page.get_by_role("link", name="Activity", exact=True), key="Shift+Tab")
    hands.press("Enter")
    expect(page.get_by_role("heading", name="Activity", exact=True)).to_be_visible()
    hands.go_to(page.locator("summary").first)
    shown = page.locator("details").first.get_attribute("open") is not None
    hands.press("Enter")
    assert (page.locator("details").first.get_attribute("open") is not None) is not shown
    hands.look()
    hands.go_to(button("button", name="Try again with ada@example.com"))
    hands.press("Enter")
    expect(page.get_by_text("tried again")).to_be_in_viewport()
    hands.press("Tab")
    hands.look()
    assert [one for one in complaints if "violation" in one] == []


def test_to_the_end_and_back_the_focus_is_never_lost_or_covered(
    host: Host, address: str, browser: Browser
) -> None:
    host.connect()
    page = opened(browser, [], color_scheme="dark", **size(*WIDE))
    hands = Keyboard(page)
    page.goto(f"{address}/")
    button = page.get_by_role("button", name="Refresh lists")
    hands.go_to(button)
    hands.press("Enter")
    expect(page.get_by_text("Lists fetched.")).to_be_in_viewport()
    last = page.get_by_role("button", name="Disconnect", exact=True)
    hands.go_to(last)
    hands.go_to(page.get_by_role("link", name="Skip to the content"), key="Shift+Tab")
