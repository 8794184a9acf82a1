"""The pages in other languages: no text is forgotten, and the catalogues are complete."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from flask_babel import Babel

from flask_mailchimp_optin import acts, drain, i18n
from tests.house import Host
from tests.views.admin import Admin

ROOT = Path(__file__).parents[2]
LANGUAGES = sorted(path.parts[-3] for path in i18n.TRANSLATIONS.glob("*/LC_MESSAGES/*.po"))
PLACES = re.compile(r"%\(\w+\)s|</?\w+")

#: What is no text of ours: names of people, lists, commands, and what stands in <code>.
DATA = re.compile(
    r"[\w.+-]+@[\w.-]+|https?://\S+|Mailchimp|Newsletter|Trade|Sandbox|FNAME|LNAME|given_name|family_name"
    r"|[A-Z][a-z]+/[\w/-]+|UTC|JSON|CSV|us6|clerk|text|\w*\d\w*|[^\w]+"
)


def catalogue(language: str) -> Catalog:
    path = i18n.TRANSLATIONS / language / "LC_MESSAGES" / "flask_mailchimp_optin.po"
    with path.open("rb") as file:
        return read_po(file, locale=language)


def strings(text: str | list[str] | tuple[str, ...] | None) -> list[str]:
    return [text] if isinstance(text, str) else list(text or ())


def test_the_catalogues_have_every_text_and_every_text_is_translated() -> None:
    script = ROOT / ".ci" / "messages.py"
    if not (ROOT / "flask_mailchimp_optin").exists():
        pytest.skip("it is about the checkout: whether make messages would write something else")
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_filled_in_and_marked_up_is_the_same_in_every_language(language: str) -> None:
    wrong = []
    for text in catalogue(language):
        ids = strings(text.id)
        if not ids[0]:
            continue
        expected = {frozenset(PLACES.findall(one)) for one in ids}
        for string in strings(text.string):
            if frozenset(PLACES.findall(string)) not in expected:
                wrong.append((ids[0], string))
    assert LANGUAGES == ["de", "fr"]
    assert not wrong


@pytest.fixture
def pseudo(connected: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose reader reads a language in which every text stands between ⟦ and ⟧."""
    with (i18n.TRANSLATIONS / "flask_mailchimp_optin.pot").open("rb") as file:
        template = read_po(file)
    made = Catalog(locale="eo")
    for text in template:
        if text.id:
            ids = strings(text.id)
            shown = [f"⟦{one}⟧" for one in ids]
            made.add(text.id, shown[0] if isinstance(text.id, str) else tuple(shown))
    path = tmp_path / "languages" / "eo" / "LC_MESSAGES" / "flask_mailchimp_optin.po"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_po(file, made)
    monkeypatch.setattr(i18n, "TRANSLATIONS", tmp_path / "languages")
    Babel(connected.app, default_locale="eo")
    return connected


def unmarked(page: str) -> list[str]:
    """The texts of a page, its labels included, that did not come from the catalogue."""
    body = re.sub(r'<span lang="en">.*?</span>', " ", page, flags=re.S)  # as it is stored
    body = re.sub(r"<(script|style|code|time|svg)\b.*?</\1>", " ", body, flags=re.S)
    body = re.sub(r"<option\b[^>]*>[^<⟦]*</option>|<option\b[^>]*>[^<⟦]*(?=<)", " ", body)
    labels = re.findall(r'(?:aria-label|data-label|title|alt|placeholder)="([^"]*)"', page)
    texts = re.sub(r"<[^>]+>", " ", body) + "\n" + "\n".join(labels)
    left = html.unescape(texts)
    while True:
        less = re.sub(r"⟦[^⟦⟧]*⟧", " ", left)
        if less == left:
            return [word for word in DATA.split(left) if word and word.strip()]
        left = less


def everything(host: Host, admin: Admin) -> Iterator[str]:
    """The pages, with something on each."""
    ada = host.add("ada@example.com", wants_news=True)
    host.add("fake@example.com", wants_news=True)
    host.add("nobody", wants_news=True)
    host.sandbox.refuse("fake@example.com", "Invalid Resource", "looks fake or invalid")
    host.work()
    host.sandbox.unsubscribe(host.list_id, "ada@example.com")
    host.sandbox.add_audience("Trade")
    host.work()
    for path in (
        "/",
        "/activity",
        "/activity/attention",
        "/activity/webhooks",
        f"/customers/{ada}",
        f"/erase/{ada}",
    ):
        yield admin.open(path)
    admin.send("/lists/refresh")
    yield admin.page
    admin.send("/lists/store")
    yield admin.page
    admin.send("/", mode="never", daily_at="99", daily_zone="Nowhere", master_list="none")
    yield admin.page
    admin.send("/", api_key="nonsense")
    yield admin.page
    admin.send("/activity/sync", kind="preview")
    yield admin.page
    with host.app.app_context():
        acts.cancel_sync(host.services, "")
        acts.start_sync(host.services, "")
        (connection,) = host.rows("connection")
        drain.drain(host.services, connection.id, "a worker", budget_s=0.0)
    yield admin.open("/activity")
    admin.send("/activity/pause", open_first="/activity")
    yield admin.page
    admin.send("/disconnect", confirm="y")
    yield admin.page
    yield admin.open("/activity")


def test_no_text_of_the_pages_is_forgotten(pseudo: Host) -> None:
    admin = Admin(pseudo.app.test_client())
    forgotten: dict[str, None] = {}
    seen = 0
    for page in everything(pseudo, admin):
        seen += page.count("⟦")
        forgotten |= dict.fromkeys(unmarked(page))
    assert not list(forgotten), " ".join(forgotten)
    assert seen > 500


def test_an_unmarked_text_is_found() -> None:
    assert unmarked('<p>⟦a ⟦b⟧⟧ c</p><i title="Delete">⟦x⟧</i> <time>5 May</time>') == [
        "c",
        "Delete",
    ]


def test_the_pages_say_which_language_they_are_in(connected: Host) -> None:
    Babel(connected.app, locale_selector=lambda: "de")
    admin = Admin(connected.app.test_client())
    admin.open()
    assert '<html lang="de">' in admin.page
    assert "Einstellungen" in admin.text
    assert "Update" not in admin.text
