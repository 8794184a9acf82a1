"""Every page in every state: accessible, strict, and readable in every size and colour scheme.

``PICTURES_DIR`` names a folder for pictures of all of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page

from tests.browser.looks import MIDDLE, SMALLEST, WIDE, fits
from tests.browser.states import Scene

pytestmark = pytest.mark.browser

LOOKS: dict[str, dict[str, Any]] = {
    "wide": {"size": WIDE},
    "dark": {"size": WIDE, "color_scheme": "dark"},
    "narrow": {"size": SMALLEST},
    "narrow-dark": {"size": SMALLEST, "color_scheme": "dark"},
    "forced-colours": {"size": WIDE, "forced_colors": "active"},
    "printed": {"size": (794, 1123), "media": "print", "color_scheme": "dark"},
}

#: What axe-core checks: everything of WCAG 2.2 A and AA, and what is good practice beside it.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


#: Left out where colours are the system's own and not ours: axe-core measures some of those that
#: the stylesheet asked for.
NOT_WITH_FORCED_COLOURS = {"color-contrast": {"enabled": False}}


def look(page: Page, name: str) -> None:
    """Show the page in one of its looks."""
    wanted = {"color_scheme": "light", "forced_colors": "none", "media": "screen", **LOOKS[name]}
    resize(page, wanted.pop("size"))
    page.emulate_media(**wanted)


def resize(page: Page, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})


def axe(page: Page, rules: dict[str, Any]) -> dict[str, list[str]]:
    """What axe-core says is wrong, and what it can't tell: rules and where."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    page.evaluate("scrollTo(0, 0)")  # nothing is in front of anything there
    options = {
        "runOnly": {"type": "tag", "values": TAGS},
        "resultTypes": ["violations", "incomplete"],
        "rules": rules,
    }
    found = page.evaluate("options => axe.run(options)", options)
    return {
        kind: [
            f"{rule['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
            for rule in found[kind]
            for node in rule["nodes"]
        ]
        for kind in ("violations", "incomplete")
    }


def test_axe_notices_what_is_wrong(browser: Browser) -> None:
    page = browser.new_page()
    small = "display:inline-block; width:10px; height:10px; overflow:hidden"
    page.set_content(
        f"<html><title>x</title><main><h1>x</h1><img src='data:,'><p style='color:#ccc'>faint</p>"
        f"<button style='{small}'>a</button><button style='{small}'>b</button></main></html>"
    )
    found = {one.split(":")[0] for one in axe(page, {})["violations"]}
    page.close()
    assert {"html-has-lang", "image-alt", "color-contrast", "target-size"} <= found


def test_nothing_breaks_the_strictest_policy_and_nothing_is_complained_about(scene: Scene) -> None:
    assert scene.complaints == []
    assert scene.policies
    for policy in scene.policies:
        assert "default-src 'self'" in policy, "our own"
        assert "default-src 'none'" in policy, "the strictest"
        assert "unsafe" not in policy


@pytest.mark.parametrize("name", ["wide", "narrow-dark", "forced-colours"])
def test_axe_finds_nothing(scene: Scene, name: str) -> None:
    look(scene.page, name)
    found = axe(scene.page, NOT_WITH_FORCED_COLOURS if "forced" in name else {})
    assert found["violations"] == []
    # Marks such as a tick are measured below: axe-core doesn't take them for text.
    assert [one for one in found["incomplete"] if "only non-text characters" not in one] == []


@pytest.mark.parametrize("name", ["wide", "dark", "printed"])
def test_text_stands_out_from_its_background(scene: Scene, name: str) -> None:
    look(scene.page, name)
    assert scene.page.evaluate(TOO_FAINT) == []


def test_nothing_has_to_be_scrolled_sideways_at_any_width_or_zoom(scene: Scene) -> None:
    look(scene.page, "wide")
    # 640 and 320 are also 1280 at 200 % and 400 %.
    for size in (SMALLEST, (320, 256), (640, 450), MIDDLE, WIDE):
        resize(scene.page, size)
        assert scene.page.evaluate(CUT_OFF) == [], size
        assert fits(scene.page), size


def test_nothing_is_lost_when_text_is_spaced(scene: Scene) -> None:
    look(scene.page, "wide")
    scene.page.evaluate(ADD_STYLES, SPACED)
    try:
        for size in (SMALLEST, MIDDLE, WIDE):
            resize(scene.page, size)
            assert scene.page.evaluate(CUT_OFF) == [], size
            assert fits(scene.page), size
    finally:
        scene.page.evaluate("document.adoptedStyleSheets = []")


def test_nothing_is_lost_when_the_browsers_text_is_twice_as_large(scene: Scene) -> None:
    look(scene.page, "wide")
    browser = scene.page.context.new_cdp_session(scene.page)
    browser.send("Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}})
    try:
        for size in (MIDDLE, WIDE):
            resize(scene.page, size)
            assert scene.page.evaluate(CUT_OFF) == [], size
            assert fits(scene.page), size
        assert "32px" in scene.page.evaluate("getComputedStyle(document.body).fontSize")
    finally:
        browser.send("Page.setFontSizes", {"fontSizes": {"standard": 16, "fixed": 13}})


@pytest.mark.parametrize("name", ["wide", "narrow"])
def test_targets_are_large_enough(scene: Scene, name: str) -> None:
    look(scene.page, name)
    assert scene.page.evaluate(TOO_SMALL) == []


def test_nothing_moves(scene: Scene) -> None:
    look(scene.page, "wide")
    assert scene.page.evaluate("document.getAnimations().length") == 0
    assert scene.page.evaluate(MOVES) == []


@pytest.mark.skipif("PICTURES_DIR" not in os.environ, reason="takes pictures only when asked to")
def test_pictures_are_taken(scene: Scene) -> None:
    folder = Path(os.environ["PICTURES_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    for name in LOOKS:
        look(scene.page, name)
        scene.page.evaluate("scrollTo(0, 0)")
        scene.page.screenshot(path=folder / f"{scene.name}-{name}.png", full_page=True)


#: Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3). Paper is white.
TOO_FAINT = """() => {
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const parts = text => text.match(/[0-9.]+/g).map(Number);
  const behind = node => { if (matchMedia("print").matches) return [255, 255, 255];
    for (; node; node = node.parentElement) {
    const c = parts(getComputedStyle(node).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest("option, select, noscript")) continue;
    const [a, b] = [light(parts(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push([node.className || node.tagName, node.textContent.trim().slice(0, 40),
      Math.round(ratio * 100) / 100]);
  }
  return faint;
}"""

#: Texts and controls that reach beyond the page, or beyond a box that hides what is outside of it.
CUT_OFF = """() => {
  const lost = [], wide = document.documentElement.clientWidth + 0.5;
  for (const node of document.querySelectorAll("body *")) {
    if (!node.checkVisibility() || node.closest(".mco-hidden, .mco-skip, thead, svg, option")) continue;
    const box = node.getBoundingClientRect(), hides = getComputedStyle(node).overflow !== "visible";
    const beyond = box.left < -0.5 || box.right > wide;
    const within = hides && node.tagName !== "SELECT" && node.tagName !== "INPUT"
      && (node.scrollWidth > node.clientWidth + 1 || node.scrollHeight > node.clientHeight + 1);
    if (beyond || within)
      lost.push([node.className || node.tagName, node.textContent.trim().slice(0, 40)]);
  }
  return lost;
}"""

#: What a person may make of our text (WCAG 2.2, 1.4.12).
SPACED = (
    "* { line-height: 1.5 !important; letter-spacing: .12em !important; "
    "word-spacing: .16em !important } p { margin-bottom: 2em !important }"
)
ADD_STYLES = """text => {
  const sheet = new CSSStyleSheet(); sheet.replaceSync(text); document.adoptedStyleSheets = [sheet]; }"""

#: Controls smaller than 24 by 24 (WCAG 2.2, 2.5.8); links within texts are exempt, and axe-core looks
#: at the other links and the space around them.
TOO_SMALL = """() => [...document.querySelectorAll(
    "button, input:not([type=hidden]), select, textarea, summary, nav a, a.mco-button")]
  .filter(node => node.checkVisibility())
  .map(node => [node.id || node.textContent.trim(), node.getBoundingClientRect()])
  .filter(([, box]) => box.width < 24 || box.height < 24)
  .map(([name, box]) => [name, box.width, box.height])"""

MOVES = """() => [...document.querySelectorAll("body *")].filter(node => {
    const style = getComputedStyle(node);
    return style.animationName !== "none" || !/^0s(, 0s)*$/.test(style.transitionDuration)
      || style.scrollBehavior === "smooth";
  }).map(node => node.className || node.tagName)"""
