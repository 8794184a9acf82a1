"""Takes the documentation's pictures: ``python docs/pictures.py [folder]``.

Starts the demo (example application, worker, Redis, Mailchimp sandbox) on free ports and drives it with
Chromium as an administrator would. Needs the extras ``demo`` and ``dev``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from example_app.demo.check import free_ports
from example_app.demo.people import Administrator, AtMailchimp
from example_app.demo.stage import ADMIN, Plan, Stage, staged

CHROMIUM = Path("/usr/bin/chromium")
PAGES = "/integrations/mailchimp/"
#: What is taken: the picture's name, and the page's address.
PICTURES = {"settings": PAGES, "activity": f"{PAGES}activity"}
SIZE = {"width": 1040, "height": 1180}


def main(folder: Path) -> None:
    """Take all pictures into this folder."""
    app_port, sandbox_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="pictures-") as files:
        plan = Plan(folder=Path(files), port=app_port, sandbox_port=sandbox_port)
        with staged(plan) as stage, sync_playwright() as playwright:
            own = str(CHROMIUM) if CHROMIUM.exists() else None
            browser = playwright.chromium.launch(executable_path=own, args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE, device_scale_factor=1.25)  # type: ignore[arg-type]
            try:
                _prepare(page, stage)
                _live_a_little(page, stage)
                _take(page, stage, folder)
            finally:
                browser.close()


def _prepare(page: Page, stage: Stage) -> None:
    """Log in, connect, import customers, enable, and wait until everybody is there."""
    page.goto(f"{stage.plan.app_url}/login")
    page.get_by_label("Email").fill(ADMIN)
    page.get_by_label("Password").fill(stage.password)
    page.get_by_role("button", name="Log in").click()
    page.goto(f"{stage.plan.app_url}/customers/")
    page.get_by_role("button", name="Import").click()
    page.goto(f"{stage.plan.app_url}{PAGES}")
    page.get_by_label("API key", exact=True).fill(stage.api_key)
    page.get_by_role("button", name="Update").click()
    page.get_by_label("Enable the integration").check()
    page.get_by_role("button", name="Update", exact=True).click()
    page.goto(f"{stage.plan.app_url}{PAGES}activity")
    for _ in range(60):
        page.reload()
        if page.get_by_role("rowheader", name="Done").count():
            return
        page.wait_for_timeout(500)
    raise SystemExit("The initial sync does not come to its end.")


def _live_a_little(page: Page, stage: Stage) -> None:
    """Some people leave at Mailchimp, and one signs up there."""
    page.goto(f"{stage.plan.app_url}{PAGES}")
    list_id = page.locator("select[name=master_list]").input_value()
    admin, mailchimp = Administrator(stage.plan.app_url), AtMailchimp(stage.plan.sandbox_url)
    admin.log_in(ADMIN, stage.password)
    people = list(admin.customers())
    for address in [address for _, address, ticked in people if ticked][:5]:
        mailchimp.act(list_id, address, "Unsubscribe")
    mailchimp.sign_up(list_id, next(address for _, address, ticked in people if not ticked))
    page.wait_for_timeout(5000)  # the rings come in, and the boxes follow
    page.get_by_role("button", name="Refresh lists").click()
    page.get_by_role("button", name="Store lists").click()
    page.get_by_text("Lists stored.").wait_for()


def _take(page: Page, stage: Stage, folder: Path) -> None:
    for name, address in PICTURES.items():
        page.goto(f"{stage.plan.app_url}{address}")
        page.screenshot(path=folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "_static")
