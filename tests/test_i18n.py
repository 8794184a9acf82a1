"""Texts in the reader's language: what was written in English is found again, whoever stored it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask, render_template_string
from flask_babel import Babel, force_locale

from flask_mailchimp_optin import i18n
from flask_mailchimp_optin.errors import RefusedInput
from flask_mailchimp_optin.texts import N_, Text

GERMAN = """
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

msgid "Subscribed"
msgstr "Angemeldet"

msgid "Hello, <b>%(name)s</b>"
msgstr "Guten Tag, <b>%(name)s</b>"

msgid "The list %(name)s is gone."
msgstr "Die Liste %(name)s gibt es nicht mehr."

msgid "%(what)s is gone."
msgstr "%(what)s gibt es nicht mehr."

msgid "Please note: %(what)s"
msgstr "Hinweis: %(what)s"

msgid "%(n)s list"
msgid_plural "%(n)s lists"
msgstr[0] "%(n)s Liste"
msgstr[1] "%(n)s Listen"
"""


@pytest.fixture
def german(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """An application with Flask-Babel, whose reader reads German."""
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "flask_mailchimp_optin.po").write_text(GERMAN)
    monkeypatch.setattr(i18n, "TRANSLATIONS", tmp_path)
    app = Flask("shop")
    Babel(app, default_locale="de_AT", default_timezone="Europe/Vienna")
    with app.test_request_context():
        yield app


@pytest.fixture
def plain() -> Iterator[None]:
    """An application without Flask-Babel."""
    with Flask("shop").test_request_context():
        yield


@pytest.mark.usefixtures("plain")
class TestWithoutFlaskBabel:
    def test_texts_are_english(self) -> None:
        assert i18n.gettext("Subscribed") == "Subscribed"
        assert i18n.gettext("%(n)s of 100 %%", n=1234) == "1,234 of 100 %"
        assert i18n.ngettext("%(n)s list", "%(n)s lists", 1) == "1 list"
        assert i18n.ngettext("%(n)s list", "%(n)s lists", 1200) == "1,200 lists"
        assert i18n.language() == "en"

    def test_times_are_utc(self) -> None:
        assert i18n.moment(datetime(2026, 7, 1, 12, 5, 9, tzinfo=UTC)) == "2026-07-01 12:05 UTC"

    def test_a_percent_sign_is_one_where_nothing_is_filled_in(self) -> None:
        assert i18n.gettext("100 %") == "100 %"


def test_outside_an_application_texts_are_english() -> None:
    assert i18n.said(Text("The list %(name)s is gone.", name="News")) == "The list News is gone."


@pytest.mark.usefixtures("german")
class TestInGerman:
    def test_texts_numbers_and_times_are_the_readers(self) -> None:
        assert i18n.gettext("Subscribed") == "Angemeldet"
        assert i18n.ngettext("%(n)s list", "%(n)s lists", 1200) == "1.200 Listen"
        assert i18n.number(1234567) == "1.234.567"
        noon = datetime(2026, 7, 1, 12, 5, tzinfo=UTC)
        assert i18n.moment(noon) == "01.07.2026 14:05 CEST"
        assert i18n.language() == "de-AT"

    def test_a_text_without_a_translation_stays_english(self) -> None:
        assert i18n.gettext("Bounced") == "Bounced"
        with force_locale("ja"):
            assert i18n.gettext("Subscribed") == "Subscribed"

    def test_a_text_of_our_modules_and_of_an_error(self) -> None:
        gone = Text("The list %(name)s is gone.", name="News")
        assert gone == "The list News is gone."
        assert i18n.said(gone) == "Die Liste News gibt es nicht mehr."
        assert i18n.said(RefusedInput(gone)) == "Die Liste News gibt es nicht mehr."
        assert i18n.said(N_("Subscribed")) == "Angemeldet"

    @pytest.mark.parametrize(
        ("stored", "shown"),
        [
            ("Subscribed", "Angemeldet"),
            ("The list News is gone.", "Die Liste News gibt es nicht mehr."),
            ("The webhook is gone.", "The webhook gibt es nicht mehr."),
            ("The list Subscribed is gone.", "Die Liste Subscribed gibt es nicht mehr."),
            ("Please note: The list News is gone.", "Hinweis: Die Liste News gibt es nicht mehr."),
            ("Something else", "Something else"),
            ("The list a\nb is gone.", "Die Liste a\nb gibt es nicht mehr."),
            ("", ""),
        ],
    )
    def test_a_stored_text_is_recognised(self, stored: str, shown: str) -> None:
        assert i18n.said(stored) == shown

    def test_in_a_page_a_text_is_markup_and_its_values_are_not(self) -> None:
        page = render_template_string(
            "{{ _('Hello, <b>%(name)s</b>', name=name) }} {{ said(name) }}",
            name="<script>",
            **i18n.for_templates(),
        )
        assert page == "Guten Tag, <b>&lt;script&gt;</b> &lt;script&gt;"
