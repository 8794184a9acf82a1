"""Our texts, numbers and times in the reader's language. Edge.

Through Flask-Babel, where the host has set it up: its locale and its time zone. Plain English and UTC
without. The translations are our own domain, beside the host's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from flask import current_app, has_app_context
from markupsafe import Markup

from .texts import Text

DOMAIN = "flask_mailchimp_optin"
TRANSLATIONS = Path(__file__).parent / "translations"


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
    """A text or an error's text in the reader's language, whoever made it."""
    if isinstance(text, Exception):
        text = text.args[0] if text.args else str(text)
    if isinstance(text, Text):
        return gettext(text.msgid, **text.values)
    return gettext(str(text))


def number(value: float) -> str:
    """A number, as the reader's language writes it."""
    if _domain() is None:
        return f"{value:,}"
    from flask_babel import format_decimal

    written: str = format_decimal(value)
    return written


def moment(at: datetime) -> str:
    """A time to the minute, with its zone.

    :param at: aware.
    """
    if _domain() is None:
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    from flask_babel import format_datetime, get_timezone

    zone = at.astimezone(get_timezone()).tzname()
    return f"{format_datetime(at, 'short')} {zone}"


def language() -> str:
    """The reader's language, for ``lang=``."""
    if _domain() is None:
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
    text = Markup(_found(msgid))  # noqa: S704  # our own text; the values are escaped
    return text % _shown(values) if values else text


def _marked_number(one: str, many: str, n: int, **values: Any) -> Markup:
    return Markup(_found(one, many, n)) % _shown({"n": n, **values})  # noqa: S704  # as above


def _found(one: str, many: str | None = None, n: int = 1) -> str:
    """The translation, or the English text itself."""
    domain = _domain()
    if domain is None:
        return one if many is None or n == 1 else many
    found = domain.get_translations()
    return str(found.ugettext(one) if many is None else found.ungettext(one, many, n))


def _shown(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in values.items()}


def _value(value: Any) -> Any:
    if type(value) is int:
        return number(value)
    return said(value) if isinstance(value, Text) else value


def _domain() -> Any:
    """Our translations; None where the host has no Flask-Babel."""
    if not has_app_context() or "babel" not in current_app.extensions:
        return None
    return _our_domain()


@cache
def _our_domain() -> Any:
    from flask_babel import Domain  # the host's dependency, not ours

    return Domain([str(TRANSLATIONS)], DOMAIN)
