"""Markup and scripts wherever a text comes from somebody: shown as they are, and never run.

The pages' policy would stop most of it; here the browser is told to ignore that.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from sqlalchemy import update

from tests.browser.looks import size
from tests.browser.states import attention
from tests.house import Host

pytestmark = pytest.mark.browser

#: ``{n}`` makes each of them another one.
EVIL = [
    "\"><script>ran('{n}')</script><img src=x onerror=ran('{n}')>",
    "'); ran('{n}'); //' onmouseover='ran()' autofocus onfocus='ran()",
    "</title></script></textarea></style><svg onload=ran('{n}')>{{{{ ran('{n}') }}}}{{% raw %}}",
    "javascript:ran('{n}')//http://",
]
RAN = "window.executed = []; window.ran = what => window.executed.push(what);"
POINT_AT_EVERYTHING = """for (const one of document.querySelectorAll("*"))
  for (const name of ["mouseover", "focus", "error"]) one.dispatchEvent(new Event(name));"""
#: Columns whose words are ours, and whose form the code relies on.
OURS = {
    "site",
    "daily_at",
    "daily_zone",
    "on_delete",
    "sealed_key",
    "sealed_secret",
    "fetched_lists",
    "merge_fields",
    "agreed",
    "seen_status",
    "refusal",
    "orphan",
    "verified",
    "kind",
    "state",
    "phase",
    "cursor",
    "tenant",
    "customer_key",
    "list_id",
    "subscribe_url",  # taken over only if it is an address of the web: tests/test_client.py
    "lease_owner",
    "open_verb",
    "late",
    "changes",
    "last_daily_on",
    "digest",
}


def spoil(host: Host, evil: str) -> list[str]:
    """Write it into every other column of texts; what was written."""
    written: list[str] = []

    def a_new_one() -> str:
        written.append(evil.format(n=len(written)))
        return written[-1]

    with host.app.app_context(), host.services.begin() as tx:
        for table in vars(host.services.tables).values():
            for column in table.c:
                if not issubclass(column.type.python_type, str) or column.name in OURS:
                    continue
                for row in tx.rows(table.select().where(column.isnot(None))):
                    values = {column: a_new_one()}
                    tx.execute(update(table).where(table.c.id == row.id).values(values))
        fields = [{"tag": a_new_one(), "name": a_new_one(), "type": "text", "required": True}]
        audience = host.services.tables.audience
        tx.execute(update(audience).values(merge_fields=json.dumps(fields)))
    return written


def look_around(page: Page, address: str, keys: list[Any]) -> str:
    """Every page, everything opened and pointed at; all that was on them."""
    seen = ""
    paths = ["/", "/activity", "/activity/attention", "/activity/webhooks", "/activity/progress"]
    for path in [*paths, *(f"/{one}/{key}" for key in keys for one in ("customers", "erase"))]:
        page.goto(address + path)
        for summary in page.locator("summary").all():
            summary.click()
        page.evaluate(POINT_AT_EVERYTHING)
        assert page.evaluate("window.executed") == [], path
        links = page.evaluate("[...document.links].map(a => a.protocol)")
        assert set(links) <= {"http:", "https:", ":"}, path  # the last is for what is no address
        seen += page.evaluate("document.body.innerText + document.body.innerHTML")
    return seen


@pytest.mark.parametrize("evil", EVIL, ids=["markup", "attributes", "ends and templates", "links"])
def test_nothing_that_somebody_wrote_is_run(
    host: Host, address: str, browser: Browser, evil: str
) -> None:
    keys = attention(host)[:2]
    context = browser.new_context(bypass_csp=True, **size(1280, 900))
    context.add_init_script(RAN)
    page = context.new_page()
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))
    written = spoil(host, evil)
    assert len(written) > 40
    seen = look_around(page, address, keys)
    context.close()
    shown = [text for text in written if text in seen]
    assert len(shown) > 15, "texts are shown as they are"


def test_what_would_be_run_is_noticed(browser: Browser) -> None:
    context = browser.new_context(bypass_csp=True)
    context.add_init_script(RAN)
    page = context.new_page()
    page.goto("about:blank")
    page.set_content("".join(one.format(n=number) for number, one in enumerate(EVIL[:3])))
    page.wait_for_function("window.executed.length >= 2")
    context.close()
