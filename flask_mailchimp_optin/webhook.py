"""Rings: verify and parse what Mailchimp posts to the webhook. Journey in, first step.

The only place that knows the form's shape. Pure; the raw bytes are verified before anything is read
from them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from .addresses import canonical_or_none
from .errors import MailchimpOptinError

MAX_BODY = 64 * 1024  # bytes
_MAX_FIELDS = 1000
#: How old a signed ring may be; Mailchimp's own recommendation.
TOLERANCE = timedelta(seconds=300)
TYPES = ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign")
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Malformed(MailchimpOptinError):
    """The body is not a Mailchimp webhook's form."""


@dataclass(frozen=True, kw_only=True)
class Ring:
    """ "Look at this address": all that a webhook is trusted for.

    :param type: one of :data:`TYPES`, or another word that Mailchimp may invent.
    :param address: canonical; None for a campaign, or where it can't be one.
    :param new_address: of an ``upemail``.
    :param fired_at: when Mailchimp says it happened; decides nothing.
    :param digest: names the delivery; the same body twice is the same ring.
    """

    type: str
    list_id: str
    address: str | None
    new_address: str | None
    fired_at: datetime | None
    digest: str


@dataclass(frozen=True, kw_only=True)
class Door:
    """What is known of a webhook's address: enough to verify a ring that comes there.

    A process remembers it, so a ring is stored only where the audience still says the same.

    :param hashed: the token's hash.
    :param sealed: the signing secrets as they are stored; None for a webhook that doesn't sign.
    :param secrets: newest first, two during rotation; none if they can't be decrypted.
    """

    audience_id: int
    list_id: str
    hashed: str
    sealed: str | None = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


def signature_holds(header: str, body: bytes, secrets: Iterable[str], now: datetime) -> bool:
    """Whether ``X-Mailchimp-Signature: t=<seconds>,v1=<hex>`` signs this body with one of the secrets.

    :param body: the raw bytes, before any parsing.
    :param now: aware UTC; signatures older or newer than :data:`TOLERANCE` don't hold.
    """
    parts = [part.strip().partition("=") for part in header.split(",")[:10]]
    times = [value for name, _, value in parts if name == "t"]
    signatures = [v for name, _, v in parts if name == "v1" and _SIGNATURE.fullmatch(v)]
    if len(times) != 1 or not re.fullmatch(r"[0-9]{1,11}", times[0], re.ASCII):
        return False
    signed_at = datetime.fromtimestamp(int(times[0]), UTC)
    message = times[0].encode() + b"." + body
    holds = False
    for secret in secrets:
        expected = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
        for signature in signatures:
            holds |= hmac.compare_digest(expected, signature)
    return holds and abs(now - signed_at) <= TOLERANCE


def parse(body: bytes) -> Ring:
    """The ring in a webhook's form body, in every shape that Mailchimp is known to send.

    :raises Malformed: it is not such a form.
    """
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            max_num_fields=_MAX_FIELDS,
            errors="replace",
        )
    except ValueError:
        raise Malformed("The body is not a form.") from None
    form: dict[str, str] = {}
    for name, value in pairs:
        form.setdefault(name, value)
    kind, list_id = form.get("type", ""), form.get("data[list_id]", "")
    if not re.fullmatch(r"[a-z_]{1,20}", kind) or not re.fullmatch(r"[\w-]{1,40}", list_id, re.A):
        raise Malformed("The form has no type or no list.")
    # upemail names its addresses otherwise, and holds neither id nor email.
    address = form.get("data[old_email]") if kind == "upemail" else form.get("data[email]")
    new_address = form.get("data[new_email]") if kind == "upemail" else None
    return Ring(
        type=kind,
        list_id=list_id,
        address=canonical_or_none(address),
        new_address=canonical_or_none(new_address),
        fired_at=_fired_at(form.get("fired_at", "")),
        digest=hashlib.sha256(body).hexdigest(),
    )


def _fired_at(text: str) -> datetime | None:
    """``YYYY-MM-DD HH:MM:SS`` without a zone: UTC in practice."""
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
