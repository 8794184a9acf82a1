"""Whether what a client sent about a member has the right types, before anything is done with it.

Mailchimp checks a body against its JSON schema first and refuses the whole call, a batch too.
Imports the record types, members and problems.
"""

from __future__ import annotations

import re
from typing import Any

from .members import parsed_time
from .problems import INVALID_ADDRESS, NOT_VALIDATED, ProblemError, refused
from .records import JSON

WRITABLE = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")

_TYPES: dict[str, type] = {
    "email_address": str,
    "email_type": str,
    "status": str,
    "status_if_new": str,
    "merge_fields": dict,
    "interests": dict,
    "language": str,
    "vip": bool,
    "location": dict,
    "marketing_permissions": list,
    "ip_signup": str,
    "timestamp_signup": str,
    "ip_opt": str,
    "timestamp_opt": str,
    "tags": list,
}
_NAMES = {
    str: "string",
    dict: "object",
    list: "array",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "NULL",
}
_ADDRESS = re.compile(r"[!-?A-~]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{2,63}")

Errors = list[tuple[str, str]]


def require_schema(body: Any, *, needs: tuple[str, ...] = ()) -> JSON:
    """A member's body, if its types are right.

    :raises ProblemError: 400, with a row for each wrong field.
    """
    errors = schema_errors(body, "", needs)
    if errors:
        raise ProblemError(400, "Invalid Resource", NOT_VALIDATED, errors)
    found: JSON = body
    return found


def schema_errors(body: Any, prefix: str, needs: tuple[str, ...] = ()) -> Errors:
    """What is wrong with the types of one member.

    :param prefix: where the member stands in the body, such as ``members.item:0.``.
    """
    if not isinstance(body, dict):
        return [(prefix.rstrip("."), _mismatch(dict, body))]
    errors = [
        (f"{prefix}{name}", "This value should not be blank.") for name in needs if name not in body
    ]
    for name, value in body.items():
        wanted = _TYPES.get(name)
        if wanted and not isinstance(value, wanted):
            errors.append((f"{prefix}{name}", _mismatch(wanted, value)))
        elif wanted:
            errors += _value_errors(name, value, prefix)
    return errors


def _mismatch(wanted: type, value: Any) -> str:
    found = _NAMES.get(type(value), "string")
    return f"Schema describes {_NAMES[wanted]}, {found} found instead"


def _value_errors(name: str, value: Any, prefix: str) -> Errors:
    field = f"{prefix}{name}"
    if name in ("status", "status_if_new") and value not in WRITABLE:
        accepted = ", ".join(WRITABLE)
        return [(field, f"Data presented is not one of the accepted values: {accepted}.")]
    if name.startswith("timestamp_") and value:
        return _time_errors(field, value)
    if name == "merge_fields":
        message = "Data did not match any of the schemas described in anyOf."
        return [
            (f"{field}.{tag}", message)
            for tag, v in value.items()
            if v is None or isinstance(v, bool | list)
        ]
    if name == "interests":
        return [
            (f"{field}.{key}", _mismatch(bool, v))
            for key, v in value.items()
            if not isinstance(v, bool)
        ]
    return []


def _time_errors(field: str, value: str) -> Errors:
    try:
        parsed_time(value)
    except ValueError:
        return [(field, "Data presented is not a valid ISO 8601 date and time.")]
    return []


def require_address(address: str, *, fake: bool, refusal: tuple[str, str] | None) -> None:
    """Refuse what Mailchimp would not take as an address.

    :param fake: it looks made up.
    :param refusal: title and detail that a test ordered for this address.
    :raises ProblemError: 400.
    """
    if len(address) > 254 or not _ADDRESS.fullmatch(address):
        raise refused("Please provide a valid email address.")
    if fake:
        raise refused(INVALID_ADDRESS.format(address))
    if refusal:
        raise ProblemError(400, refusal[0], refusal[1].replace("{}", address))
