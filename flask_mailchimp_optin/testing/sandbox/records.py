"""What the sandbox remembers for tests: requests, status changes, mails and rings.

Plain values without behaviour. Imports nothing of the sandbox, so that every other module may
use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

By = Literal["contact", "admin", "api"]
"""Who acts: the person themselves, an administrator in Mailchimp's pages, or an API client."""

JSON = dict[str, Any]
"""A JSON object, as it goes over the wire."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who does something at Mailchimp, and when.

    :param at: ISO 8601 with zone, one second resolution, as Mailchimp writes times.
    :param request: index into ``MailchimpSandbox.requests``; None unless an API call acts.
    :param ip: the caller's address, which Mailchimp notes as opt-in address.
    """

    by: By
    at: str
    request: int | None = None
    ip: str = ""


@dataclass(frozen=True, kw_only=True)
class RequestRecord:
    """One API call, for tests to look at.

    :param body: the parsed JSON; None if there was none or it was not JSON.
    :param status: the answered status; 0 while unanswered and for a connection that was reset.
    :param headers: the request's headers, without ``Authorization``.
    """

    index: int
    at: datetime
    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StatusChange:
    """A member's status moved; for tests that prove whose decision it was.

    :param old: None for an address that was no member.
    :param new: None for a member that was deleted permanently.
    :param moment: ``at``, exactly.
    :param moved_from: the member's address before, which is no member any more; None for no move.
    """

    list_id: str
    address: str
    old: str | None
    new: str | None
    by: By
    at: str
    request: int | None
    moment: datetime
    moved_from: str | None = None


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A mail that Mailchimp would have sent to a person."""

    kind: Literal["confirmation", "welcome"]
    to: str
    at: str
    list_id: str


@dataclass(frozen=True, kw_only=True)
class RingRecord:
    """A webhook delivery that came to an end: answered with 2xx, given up, or disabled by a 410.

    :param body: the raw form-encoded body.
    :param status: the last answered status; 0 if there was no answer.
    """

    url: str
    type: str
    body: bytes
    headers: Mapping[str, str]
    status: int
    attempts: int


@dataclass
class Quirks:
    """Ways in which real deliveries and answers differ from Mailchimp's samples; off by default.

    Set an attribute of ``sandbox.quirks`` to see whether an integration stands it.
    """

    without_fired_at: bool = False
    empty_merges: bool = False  # data[merges]= instead of one key per tag
    flat_address: bool = False  # merges[ADDRESS]= although the member has an address
    with_ip_signup: bool = False
    without_action: bool = False
    without_ip_opt: bool = False
    profile_before_upemail: bool = False
    resubscription_rings_profile: bool = False
    checks_url_by_post_too: bool = False  # a new webhook's URL gets an empty POST after the GET
    # Unverified against a real account, hence selectable:
    cleaned_may_be_asked: bool = False  # `pending` for a bounced address is accepted
    archived_returns_by_upsert: bool = True
    unchanged_write_moves_last_changed: bool = False
    skip_merge_validation_skips_types: bool = False
