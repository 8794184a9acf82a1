"""Merge-field values: what each type takes, what Mailchimp stores, what it says of a bad one.

Messages that were seen in recorded answers are Mailchimp's own ("Please enter a number", "Please
enter a complete address", "Please enter a value", "Value must be one of"); the rest are worded
alike. Imports audiences only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from .audiences import Audience, MergeField

LONGEST = 255
_ADDRESS_NEEDS = ("addr1", "city", "state", "zip")
_BIRTHDAY = re.compile(r"(\d{1,2})[/-](\d{1,2})")
_US_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_US_PHONE = re.compile(r"\D*\d{3}\D*\d{3}\D*\d{4}\D*")
_URL = re.compile(r"https?://[^\s/]+\.[^\s]+", re.IGNORECASE)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def checked_values(
    audience: Audience, given: Mapping[str, Any], *, types: bool = True
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The values as Mailchimp stores them, and what is wrong with the others.

    Tags that the audience does not have are ignored, as Mailchimp does; ``""`` clears a field.

    :param types: False to store unchecked what does not fit.
    """
    values: dict[str, Any] = {}
    errors: list[tuple[str, str]] = []
    for field in audience.merge_fields:
        if field.tag not in given:
            continue
        value = given[field.tag]
        if value == "":
            values[field.tag] = ""
            continue
        try:
            values[field.tag] = _CHECKS[field.type](field, value)
        except ValueError as error:
            if types:
                errors.append((field.tag, str(error)))
            else:
                values[field.tag] = value
    return values, errors


def missing_values(audience: Audience, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The required fields that would stay empty."""
    return [
        (field.tag, "Please enter a value")
        for field in audience.merge_fields
        if field.required and values.get(field.tag, field.default_value) in ("", None)
    ]


def _text(field: MergeField, value: Any) -> str:
    if isinstance(value, dict | list):
        raise ValueError("Please enter a value")
    text = str(value)
    if len(text) > LONGEST:
        raise ValueError(f"Please enter a value with {LONGEST} characters or fewer")
    return text


def _number(field: MergeField, value: Any) -> int | float:
    if isinstance(value, bool | dict | list):
        raise ValueError("Please enter a number")
    try:
        number = float(value)
    except ValueError:
        raise ValueError("Please enter a number") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("Please enter a number")
    return int(number) if number.is_integer() else number


def _address(field: MergeField, value: Any) -> dict[str, str]:
    complete = isinstance(value, dict) and all(
        str(value.get(part) or "").strip() for part in _ADDRESS_NEEDS
    )
    if not complete:
        raise ValueError("Please enter a complete address")
    parts = ("addr1", "addr2", "city", "state", "zip", "country")
    return {part: str(value.get(part) or ("US" if part == "country" else "")) for part in parts}


def _phone(field: MergeField, value: Any) -> str:
    text = _text(field, value)
    if field.options.get("phone_format") == "US" and not _US_PHONE.fullmatch(text):
        raise ValueError("Please enter a phone number as ###-###-####")
    return text


def _date(field: MergeField, value: Any) -> str:
    text = _text(field, value)
    american = _US_DATE.fullmatch(text)
    try:
        if american:
            month, day, year = map(int, american.groups())
            return date(year, month, day).isoformat()
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise ValueError("Please enter the date") from None


def _birthday(field: MergeField, value: Any) -> str:
    found = _BIRTHDAY.fullmatch(_text(field, value))
    month, day = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (1 <= month <= 12 and 1 <= day <= _DAYS[month - 1]):
        raise ValueError("Please enter the month and day as MM/DD")
    return f"{month:02}/{day:02}"


def _url(field: MergeField, value: Any) -> str:
    text = _text(field, value)
    if not _URL.fullmatch(text):
        raise ValueError("Please enter a complete URL")
    return text


def _choice(field: MergeField, value: Any) -> str:
    text = _text(field, value)
    choices = field.options.get("choices", [])
    if text not in choices:
        raise ValueError(f"Value must be one of: {', '.join(choices)} (not {text})")
    return text


def _zip(field: MergeField, value: Any) -> str:
    text = _text(field, value)
    if not re.fullmatch(r"\d{5}(-\d{4})?", text):
        raise ValueError("Please enter a zip code (5 digits)")
    return text


_CHECKS: dict[str, Callable[[MergeField, Any], Any]] = {
    "text": _text,
    "number": _number,
    "address": _address,
    "phone": _phone,
    "date": _date,
    "url": _url,
    "imageurl": _url,
    "radio": _choice,
    "dropdown": _choice,
    "birthday": _birthday,
    "zip": _zip,
}
TYPES = frozenset(_CHECKS)
