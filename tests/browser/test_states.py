"""Every page in every state: accessible, strict, and readable in every size and colour scheme.

``PICTURES_DIR`` names a folder for pictures of all of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from tests.browser.looks import MIDDLE, SMALLEST, WIDE, fits
from tests.browser.states import Scene

pytestmark = pytest.mark.browser

LOOKS: dict[str, dict[str, Any]] = {
    "wide": {"size": WIDE},
    "dark": {"size": WIDE, "color_scheme": "dark"},
    "narrow": {"size": SMALLEST},
    "narrow-dark": {"size": SMALLEST, "color_scheme": "dark"},
    "forced-colours": {"size": WIDE, "forced_colors": "active"},
}

#: What axe-core checks: everything of WCAG 2.2 A and AA, and what is good practice beside it.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def look(page: Page, name: str) -> None:
    """Show the page in one of its looks."""
    wanted = {"color_scheme": "light", "forced_colors": "none", **LOOKS[name]}
    width, height = wanted.pop("size")
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(**wanted)


def axe(page: Page) -> dict[str, list[str]]:
    """What axe-core says: rules and where, of what is wrong and of what it can't tell."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    options = {
        "runOnly": {"type": "tag", "values": TAGS},
        "resultTypes": ["violations", "incomplete"],
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


def test_nothing_breaks_the_strictest_policy_and_nothing_is_complained_about(scene: Scene) -> None:
    assert scene.complaints == []
    assert scene.policies
    for policy in scene.policies:
        assert "default-src 'self'" in policy, "our own"
        assert "default-src 'none'" in policy, "the strictest"
        assert "unsafe" not in policy


@pytest.mark.parametrize("name", LOOKS)
def test_axe_finds_nothing(scene: Scene, name: str) -> None:
    look(scene.page, name)
    found = axe(scene.page)
    assert found["violations"] == []
    assert found["incomplete"] == []


@pytest.mark.parametrize("width", [SMALLEST, MIDDLE, WIDE], ids=["320", "768", "1280"])
def test_nothing_has_to_be_scrolled_sideways(scene: Scene, width: tuple[int, int]) -> None:
    scene.page.set_viewport_size({"width": width[0], "height": width[1]})
    assert fits(scene.page)


@pytest.mark.skipif("PICTURES_DIR" not in os.environ, reason="takes pictures only when asked to")
def test_pictures_are_taken(scene: Scene) -> None:
    folder = Path(os.environ["PICTURES_DIR"])
    for name in LOOKS:
        look(scene.page, name)
        scene.page.screenshot(path=folder / f"{scene.name}-{name}.png", full_page=True)
