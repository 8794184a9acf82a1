"""What Mailchimp's refusals mean: status and problem document to an error of ``errors.py``.

Pure, both journeys. The words are ours: Mailchimp's own sentences hold addresses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .errors import (
    KeyRefused,
    MailchimpError,
    MemberRefused,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RequestRefused,
    TryLater,
)
from .texts import N_, Text

UNREACHABLE = N_(
    "Mailchimp could not be reached. Check the server's internet connection and firewall; "
    "it will be tried again."
)
CERTIFICATE = N_(
    "The server that answered for Mailchimp has no certificate that is trusted here, so nothing was "
    "sent. Does a proxy or a firewall on the way read along? Leave api.mailchimp.com out of that."
)
CUT_OFF = N_(
    "Mailchimp did not answer in time, or the answer broke off. Whether the request took effect is "
    "checked before it is sent again."
)
KEY_REFUSED = N_(
    "Mailchimp refused the API key: it is wrong, was revoked, belongs to another data "
    "centre, or its account is deactivated. Make a new key in Mailchimp (Profile → Extras → "
    "API keys) and enter it here."
)
TOKEN_REFUSED = N_(
    "Mailchimp no longer lets this application in: what was agreed to there was revoked, or the "
    "account is deactivated. Connect again."
)
NOT_KEYS_USER = N_(
    "The API key's user may not do this at Mailchimp. Use a key of an owner, an admin or a manager."
)
NOT_TOKENS_USER = N_(
    "Whoever agreed at Mailchimp may not do this there. Connect again as an owner, an admin or a "
    "manager."
)


def classified(
    status: int, problem: Mapping[str, Any], *, by_token: bool = False
) -> MailchimpError:
    """The error of ours that a problem document, or an answer without one, stands for.

    :param by_token: an access token was sent, and not an API key: there is another way out.
    """
    title = _ADDRESS.sub("", str(problem.get("title") or ""))[:100]
    has_document = "title" in problem or "detail" in problem
    if status == 401 or (status == 403 and title in ("User Disabled", "Wrong Datacenter")):
        return KeyRefused(TOKEN_REFUSED if by_token else KEY_REFUSED, status=status, title=title)
    if status == 429 or (status == 403 and not has_document):
        # A body-less 403 is the firewall in front of the API, not a revoked key.
        return TryLater(
            N_("Mailchimp asks us to slow down. It will be tried again in a little while."),
            status=status,
            title=title,
        )
    if status == 403:
        return PermissionDenied(
            NOT_TOKENS_USER if by_token else NOT_KEYS_USER, status=status, title=title
        )
    if status == 404 and has_document:
        return NotFound(N_("Mailchimp doesn't have this any more."), status=404, title=title)
    if status == 400 and has_document:
        return refusal(str(problem.get("detail", "")), title, problem)
    if 400 <= status < 500 and has_document:
        return RequestRefused(
            Text("Mailchimp did not accept a request (%(status)s).", status=status),
            status=status,
            title=title,
        )
    return OutcomeUnknown(
        Text(
            "Mailchimp has a problem of its own (%(status)s). It will be tried again.",
            status=status,
        ),
        status=status,
        title=title,
    )


_FORGOTTEN = N_("This address was permanently deleted at Mailchimp. Only the person can come back.")
_EXISTS = N_("Mailchimp has this address already.")
_DETAILS = N_("Mailchimp did not accept the customer's details. Check the merge fields.")

#: What a 400 says, by a word in its title or detail: our class of it and the words for people.
_REFUSALS: tuple[tuple[str, str, str], ...] = (
    ("forgotten", "forgotten", _FORGOTTEN),
    ("permanently deleted", "forgotten", _FORGOTTEN),
    (
        "compliance",
        "compliance",
        N_(
            "The person unsubscribed at Mailchimp, bounced, or is under review. Only they can come "
            "back, by a confirmation or through the list's sign-up form."
        ),
    ),
    (
        "signed up to a lot of lists",
        "too_many_lists",
        N_(
            "Mailchimp says that this address signed up to many lists very recently. It is tried "
            "again in a few days."
        ),
    ),
    (
        "fake or invalid",
        "fake",
        N_("Mailchimp takes this address for fake or invalid. Correct the customer's address."),
    ),
    ("member exists", "exists", _EXISTS),
    ("already a list member", "exists", _EXISTS),
    ("merge field", "merge_fields", _DETAILS),
)


#: Mailchimp's sentences name the address, which may hold any of the words above.
_ADDRESS = re.compile(r"\S+@\S+")


def refusal(detail: str, title: str, row: Mapping[str, Any]) -> MemberRefused:
    text = _ADDRESS.sub("", f"{title} {detail}").lower()
    for words, reason, message in _REFUSALS:
        if words in text:
            return MemberRefused(message, reason=reason, title=title)
    if row.get("error_code") == "ERROR_CONTACT_EXISTS":
        return MemberRefused(_EXISTS, reason="exists", title=title)
    if _names_details(row):
        return MemberRefused(_DETAILS, reason="merge_fields", title=title)
    return MemberRefused(
        N_("Mailchimp refused this address. Check whether it is written correctly."),
        reason="invalid",
        title=title,
    )


def _names_details(row: Mapping[str, Any]) -> bool:
    """Whether the problem is with a merge field, and not with the address itself."""
    errors = row.get("errors")
    rows = [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
    fields = {str(found.get("field") or "") for found in (row, *rows)} - {""}
    return bool(fields) and "email_address" not in fields
