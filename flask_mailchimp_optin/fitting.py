"""A customer's value as the type of a list's merge field wants it. Pure.

Mailchimp refuses a member's details for one value that doesn't fit, so what can't be made to fit is left
out, and a person is told which it was. Nothing is guessed: of 03/04/2026 nobody knows
whether the day or the month comes first, so it is no date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from .texts import N_, Text

_ADDRESS_NEEDS = ("addr1", "city", "state", "zip")
_ADDRESS_PARTS = ("addr1", "addr2", "city", "state", "zip", "country")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})([T ].*)?", re.ASCII)  # of a time, its day
_MONTH_DAY = re.compile(r"(\d{1,2})[/-](\d{1,2})", re.ASCII)
_US_ZIP = re.compile(r"\d{5}(-\d{4})?", re.ASCII)
_HOST = re.compile(r"[^\s/@:]+\.[^\s/@:.]{2,}(:\d+)?([/?#]\S*)?")
_WEB = re.compile(r"https?://", re.IGNORECASE)


#: Beside these, Mailchimp knows languages without their countries only.
_LANGUAGES = {"fr_ca": "fr_CA", "es_es": "es_ES", "pt_pt": "pt_PT"}


class Unfit(ValueError):
    """A value that can't be made to fit; the text says what would."""


def fit(
    kind: str, value: Any, *, choices: Sequence[str] = (), phone_format: str = ""
) -> str | int | float | dict[str, str]:
    """The value as a merge field of this type takes it; "" clears a field of any type.

    :param kind: Mailchimp's word, such as ``birthday``; of one that is not known every value is good.
    :param value: a text, a number or the parts of an address; dates as ISO texts.
    :param choices: of a ``dropdown`` or ``radio`` field.
    :param phone_format: of a ``phone`` field; ``US`` takes ten digits only.
    :raises Unfit: it has to be left out.
    """
    if value in ("", {}):
        return ""
    if kind == "address":
        return _address(value)
    if kind == "number" and isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        raise Unfit(N_("It has several parts; only an address may."))
    text = str(value).strip()
    if kind in ("dropdown", "radio"):
        return _choice(text, choices)
    if kind == "phone" and phone_format == "US":
        return _us_phone(text)
    check = _CHECKS.get(kind)
    fitting: str | int | float = value if check is None else check(text)
    return fitting


def _number(text: str) -> int | float:
    if not _NUMBER.fullmatch(text):
        raise Unfit(N_("It is not a number."))
    return float(text) if "." in text else int(text)


def _address(value: Any) -> dict[str, str]:
    given = value if isinstance(value, Mapping) else {}
    parts = {part: str(given.get(part) or "").strip() for part in _ADDRESS_PARTS}
    if not all(parts[part] for part in _ADDRESS_NEEDS):
        raise Unfit(N_("A postal address needs addr1 (the street), city, state and zip."))
    return {part: text for part, text in parts.items() if text}


def _date(text: str) -> str:
    found = _DATE.fullmatch(text)
    try:
        return date.fromisoformat(found[1] if found else "").isoformat()
    except ValueError:
        raise Unfit(N_("It is not a date, such as 2026-03-01.")) from None


def _birthday(text: str) -> str:
    found = _MONTH_DAY.fullmatch(text)
    try:
        # A leap year, in which every day is one.
        day = date(2000, int(found[1]), int(found[2])) if found else date.fromisoformat(_date(text))
    except ValueError:
        raise Unfit(N_("It is neither a date nor a month and a day, such as 03/01.")) from None
    return f"{day:%m/%d}"


def _us_phone(text: str) -> str:
    digits = re.sub(r"\D", "", text, flags=re.ASCII)
    digits = digits[1:] if len(digits) == 11 and digits.startswith("1") else digits
    if len(digits) != 10:
        raise Unfit(N_("The list takes telephone numbers of the United States only: ten digits."))
    return f"{digits[:3]}-{digits[3:6]}-{digits[6:]}"


def _url(text: str) -> str:
    web = _WEB.match(text)
    if not _HOST.fullmatch(text[web.end() :] if web else text):
        raise Unfit(N_("It is not a web address, such as https://www.example.com."))
    return text if web else f"http://{text}"


def _zip(text: str) -> str:
    # A number has lost the zeros that it began with.
    filled = text.zfill(5) if text.isascii() and text.isdigit() else text
    if not _US_ZIP.fullmatch(filled):
        raise Unfit(N_("It is not a ZIP code of the United States, such as 02134."))
    return filled


def _choice(text: str, choices: Sequence[str]) -> str:
    if text in choices:
        return text
    alike = [choice for choice in choices if choice.strip().casefold() == text.casefold()]
    if len(alike) != 1:
        raise Unfit(N_("It is none of the choices that the list has."))
    return alike[0]


_CHECKS: dict[str, Callable[[str], Any]] = {
    "number": _number,
    "date": _date,
    "birthday": _birthday,
    "url": _url,
    "imageurl": _url,
    "zip": _zip,
}


def fit_all(
    values: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], str | None]:
    """Values by their merge tags, each as its field takes it; and what to tell of those left out.

    :param fields: by tag: ``type``, ``choices``, ``phone_format``; of another tag every value is good.
    """
    good: dict[str, Any] = {}
    bad: dict[str, str] = {}
    for tag, value in values.items():
        field = fields.get(tag)
        try:
            good[tag] = value if field is None else _fit_field(field, value)
        except Unfit as error:
            bad[tag] = str(error)
    if len(bad) > 1:
        tags = ", ".join(bad)
        return good, Text("%(tags)s were not sent: the list’s fields don’t take them.", tags=tags)
    for tag, why in bad.items():
        return good, Text("%(tag)s was not sent. %(why)s", tag=tag, why=why)
    return good, None


def _fit_field(field: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, str) and field.get("type") == "text":
        return value  # as nearly always
    choices, phone_format = field.get("choices") or (), field.get("phone_format") or ""
    return fit(str(field.get("type")), value, choices=choices, phone_format=phone_format)


def language(value: object) -> str | None:
    """A language as Mailchimp names it, such as ``de`` for ``de-AT``; None for no language."""
    text = "" if value is None else str(value).strip().replace("-", "_").lower()
    found = re.fullmatch(r"([a-z]{2,3})(_[a-z0-9_]+)?", text, re.ASCII)
    return _LANGUAGES.get(text, found[1]) if found else None
