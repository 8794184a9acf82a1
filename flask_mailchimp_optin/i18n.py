"""Our texts, numbers and times in the reader's language. Edge.

Through Flask-Babel, where the host has set it up: its locale and its time zone. Plain English and UTC
without. The catalogues are ours, beside the host's, and are read as translators write them: there is
nothing to compile and nothing to forget.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, tzinfo
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from flask import current_app, has_app_context
from markupsafe import Markup

from .texts import Text

#: A folder for each language, and the template that new ones begin with.
TRANSLATIONS = Path(__file__).parent / "translations"
_PLACE = re.compile(r"%\((\w+)\)s")


def gettext(msgid: str, **values: Any) -> str:
    """A text in the reader's language.

    :param values: for its ``%(name)s``: numbers, names, or other texts.
    """
    text = _found(msgid)
    return text % _shown(values) if values else text


def ngettext(one: str, many: str, n: int, **values: Any) -> str:
    """A text about a number of things; the number is also its ``%(n)s``."""
    return _found(one, many, n) % _shown({"n": n, **values})


def said(text: str | Exception) -> str:
    """A text or an error's text in the reader's language, whoever made it.

    Of a text that was stored only the English is left: it is recognised by what is around its values.
    """
    if isinstance(text, Exception):
        text = text.args[0] if text.args else str(text)
    if isinstance(text, Text):
        return gettext(text.msgid, **text.values)
    catalogue = _catalogue()
    return str(text) if catalogue is None or not text else catalogue.recognised(str(text))


def number(value: float) -> str:
    """A number, as the reader's language writes it."""
    if not _has_babel():
        return f"{value:,}"
    from flask_babel import format_decimal

    written: str = format_decimal(value)
    return written


def moment(at: datetime) -> str:
    """A time to the minute, with its zone.

    :param at: aware.
    """
    if not _has_babel():
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    from flask_babel import format_date, format_time, get_timezone

    zone = at.astimezone(get_timezone()).tzname()
    return f"{format_date(at, 'medium')} {format_time(at, 'short')} {zone}"


def midnight(day: date) -> datetime:
    """When a day begins, in the zone that :func:`moment` writes; aware."""
    zone: tzinfo = UTC
    if _has_babel():
        from flask_babel import get_timezone

        zone = get_timezone()
    return datetime.combine(day, time.min, zone)


def language() -> str:
    """The reader's language, for ``lang=``."""
    if not _has_babel():
        return "en"
    from flask_babel import get_locale

    return str(get_locale() or "en").replace("_", "-")


def for_templates() -> dict[str, Any]:
    """What our templates write texts with; there, texts are HTML and values are escaped."""
    return {
        "_": _marked,
        "ngettext": _marked_number,
        "said": said,
        "number": number,
        "moment": moment,
        "language": language,
    }


def _marked(msgid: str, **values: Any) -> Markup:
    text = _html(_found(msgid))
    return text % _shown(values) if values else text


def _marked_number(one: str, many: str, n: int, **values: Any) -> Markup:
    return _html(_found(one, many, n)) % _shown({"n": n, **values})


def _html(text: str) -> Markup:
    return Markup(text)  # noqa: S704  # nosec B704  # our own text; the values are escaped


def _found(one: str, many: str | None = None, n: int = 1) -> str:
    """The translation, or the English text itself."""
    catalogue = _catalogue()
    if catalogue is None or not one:  # for nothing, gettext has the catalogue's own heading
        return one if many is None or n == 1 else many
    found = catalogue.translations
    return str(found.gettext(one) if many is None else found.ngettext(one, many, n))


def _shown(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in values.items()}


def _value(value: Any) -> Any:
    if type(value) is int:
        return number(value)
    return said(value) if isinstance(value, Text) else value


def _has_babel() -> bool:
    return has_app_context() and "babel" in current_app.extensions


def _catalogue() -> _Catalogue | None:
    """What the reader's language has; None for English, and where the host has no Flask-Babel."""
    if not _has_babel():
        return None
    from flask_babel import get_locale  # the host's dependency, not ours

    locale = get_locale()
    return None if locale is None else _read(TRANSLATIONS, str(locale))


@cache
def _read(folder: Path, locale: str) -> _Catalogue | None:
    """A language's catalogue: the one of its country, or the language's own."""
    for name in (locale, locale.split("_", maxsplit=1)[0]):
        path = folder / name / "LC_MESSAGES" / "flask_mailchimp_optin.po"
        if path.is_file():
            return _Catalogue(path)
    return None


class _Catalogue:
    """One language's texts, and a way to find those whose values are filled in already."""

    def __init__(self, path: Path) -> None:
        from babel.messages.mofile import write_mo
        from babel.messages.pofile import read_po
        from babel.support import Translations

        with path.open("rb") as file:
            texts = read_po(file)
        compiled = BytesIO()
        write_mo(compiled, texts)
        compiled.seek(0)
        self.translations = Translations(compiled)
        with_values = (text.id for text in texts if isinstance(text.id, str))
        # The most telling first: what has the most text around its values.
        self._patterns = [
            (_pattern(msgid), msgid)
            for msgid in sorted(with_values, key=lambda one: -len(_PLACE.sub("", one)))
            if _PLACE.search(msgid) and len(_PLACE.sub("", msgid)) > 5
        ]
        self.recognised = lru_cache(maxsize=2048)(self._recognised)

    def _recognised(self, text: str) -> str:
        found = str(self.translations.gettext(text))
        if found != text:
            return found
        for pattern, msgid in self._patterns:
            match = pattern.fullmatch(text)
            if match:
                values = match.groupdict().items()  # a sentence may be ours, too; a name is not
                said = {n: self.recognised(v) if v.endswith(".") else v for n, v in values}
                return str(self.translations.gettext(msgid)) % said
        return text


def _pattern(msgid: str) -> re.Pattern[str]:
    """What a text looks like when its values are filled in; a value that comes again is the same."""
    parts = _PLACE.split(msgid)
    seen: set[str] = set()
    pattern = ""
    for i, part in enumerate(parts):
        if i % 2 == 0:
            pattern += re.escape(part)
        else:
            pattern += f"(?P={part})" if part in seen else f"(?P<{part}>.+?)"
            seen.add(part)
    return re.compile(pattern, re.DOTALL)
