"""How a webhook ring looks: form-encoded, bracketed keys, and the quirks seen in real bodies.

Imports audiences, members and the record types.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlencode

from .audiences import Audience
from .members import Member
from .records import Actor, By, Quirks

Pairs = list[tuple[str, str]]

_ADDRESS_PARTS = ("addr1", "addr2", "city", "state", "zip", "country")


def bell_code(by: By) -> str:
    """The webhook source that an actor stands for."""
    return "user" if by == "contact" else by


def ring_body(
    kind: str, audience: Audience, member: Member, actor: Actor, quirks: Quirks, **more: str
) -> bytes:
    """The raw body of one delivery.

    :param more: ``action`` and ``reason`` of an unsubscribe or bounce, ``old_email`` of an
        address change.
    """
    pairs: Pairs = [("type", kind)]
    if not quirks.without_fired_at:
        pairs.append(("fired_at", actor.at[:19].replace("T", " ")))
    if kind == "upemail":
        pairs += _upemail(audience, member, more["old_email"])
    elif kind == "cleaned":
        pairs += _cleaned(audience, member, more["reason"])
    else:
        pairs += _about_member(kind, audience, member, quirks, more)
    return urlencode(pairs).encode()


def campaign_body(audience: Audience, campaign_id: str, subject: str, at: str) -> bytes:
    """The ring of a sent campaign, which is about no person."""
    return urlencode(
        [
            ("type", "campaign"),
            ("fired_at", at[:19].replace("T", " ")),
            ("data[id]", campaign_id),
            ("data[subject]", subject),
            ("data[status]", "sent"),
            ("data[reason]", ""),
            ("data[list_id]", audience.id),
        ]
    ).encode()


def signature(body: bytes, secrets: list[str], unix_s: int) -> str:
    """``X-Mailchimp-Signature``; several ``v1=`` while a secret is being rotated."""
    signed = b"%d." % unix_s + body
    marks = [hmac.new(s.encode(), signed, hashlib.sha256).hexdigest() for s in secrets]
    return ",".join([f"t={unix_s}", *(f"v1={mark}" for mark in marks)])


def _upemail(audience: Audience, member: Member, old: str) -> Pairs:
    return [
        ("data[new_id]", member.unique_email_id),
        ("data[new_email]", member.email_address),
        ("data[old_email]", old),
        ("data[list_id]", audience.id),
    ]


def _cleaned(audience: Audience, member: Member, reason: str) -> Pairs:
    return [
        ("data[list_id]", audience.id),
        ("data[campaign_id]", ""),
        ("data[reason]", reason),
        ("data[email]", member.email_address),
    ]


def _about_member(
    kind: str, audience: Audience, member: Member, quirks: Quirks, more: dict[str, str]
) -> Pairs:
    pairs: Pairs = []
    if kind == "unsubscribe":
        if not quirks.without_action:
            pairs.append(("data[action]", more["action"]))
        pairs.append(("data[reason]", more["reason"]))
    # `id` is the unique_email_id, not the hash that names a member in the API.
    pairs += [
        ("data[id]", member.unique_email_id),
        ("data[email]", member.email_address),
        ("data[email_type]", member.email_type),
    ]
    if not quirks.without_ip_opt:
        pairs.append(("data[ip_opt]", member.ip_opt))
    if quirks.with_ip_signup:
        pairs.append(("data[ip_signup]", member.ip_signup))
    pairs.append(("data[web_id]", str(member.web_id)))
    pairs += _merges(audience, member, quirks)
    if kind == "unsubscribe":
        pairs.append(("data[campaign_id]", ""))
    return [*pairs, ("data[list_id]", audience.id)]


def _merges(audience: Audience, member: Member, quirks: Quirks) -> Pairs:
    if quirks.empty_merges:
        return [("data[merges]", "")]
    pairs: Pairs = [("data[merges][EMAIL]", member.email_address)]
    for tag, blank in audience.blank_merges.items():
        value = member.merge_fields.get(tag, blank)
        key = f"data[merges][{tag}]"
        if isinstance(value, dict) and not quirks.flat_address:
            pairs += [(f"{key}[{part}]", str(value.get(part, ""))) for part in _ADDRESS_PARTS]
        else:
            pairs.append((key, "" if isinstance(value, dict) else str(value)))
    return pairs + _groups(audience, member)


def _groups(audience: Audience, member: Member) -> Pairs:
    pairs: Pairs = []
    chosen_of_all: list[str] = []
    for number, category in enumerate(audience.categories):
        chosen = [n for key, n in category.interests.items() if member.interests.get(key)]
        chosen_of_all += chosen
        key = f"data[merges][GROUPINGS][{number}]"
        pairs += [
            (f"{key}[id]", str(number + 1)),
            (f"{key}[unique_id]", category.id),
            (f"{key}[name]", category.title),
            (f"{key}[groups]", ", ".join(chosen)),
        ]
    if audience.categories:
        pairs.insert(0, ("data[merges][INTERESTS]", ", ".join(chosen_of_all)))
    return pairs
