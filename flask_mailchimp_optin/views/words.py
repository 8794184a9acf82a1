"""Plain words for the pages: what a phase, a state, a reason or a source is called. Edge."""

from __future__ import annotations

from markupsafe import Markup, escape

from ..runs import Progress

KINDS = {
    "initial": "Initial sync",
    "manual": "Sync by hand",
    "preview": "Preview",
    "daily": "Daily sync",
}
STATES = {
    "running": "Running",
    "waiting": "Stopped, waits for you",
    "done": "Done",
    "cancelled": "Cancelled",
    "previewed": "Counted, nothing changed",
}
LEVELS = {"ok": "In order", "warning": "Warning", "error": "Problem"}
STATUSES = {
    "subscribed": "Subscribed",
    "pending": "Waiting for confirmation",
    "unsubscribed": "Unsubscribed",
    "cleaned": "Bounced",
    "archived": "Archived",
    "transactional": "Not subscribed",
    "absent": "Not in the list",
    "unknown": "Not looked at yet",
}
RINGS = {
    "subscribe": "Subscribed",
    "unsubscribe": "Unsubscribed",
    "profile": "Profile edited",
    "cleaned": "Address bounced",
    "upemail": "Address changed",
    "campaign": "Campaign sent",
}
VERIFIED = {"signature": "by its signature", "token": "by its secret address"}
SOURCES = {
    "request": "on a page of this site",
    "mailchimp": "at Mailchimp",
    "code": "by a program of this site",
    "shared address": "with another customer who has the same address",
    "found in the database": "found changed in the database",
}
#: Reason of an :class:`~..standing.Attention`: heading, and what to do about it.
REASONS = {
    "compliance": (
        "Unsubscribed themselves",
        "Mailchimp lets only the person subscribe again. Send them the list’s sign-up form.",
    ),
    "forgotten": (
        "Deleted permanently at Mailchimp",
        "Only the person can come back. Send them the list’s sign-up form.",
    ),
    "bounced": (
        "Mail bounces",
        "Correct the customer’s email address here; the new one is sent by itself.",
    ),
    "archived": (
        "Archived at Mailchimp",
        "Unarchive the contact at Mailchimp, or untick and tick the customer’s checkbox.",
    ),
    "fake": (
        "Address taken for fake",
        "Correct the customer’s email address here; the new one is sent by itself.",
    ),
    "invalid": (
        "Refused by Mailchimp",
        "Check the customer’s email address and details, then try again.",
    ),
    "exists": ("Already at Mailchimp", "Look at the contact at Mailchimp, then try again."),
    "too_many_lists": (
        "Signed up to many lists lately",
        "Nothing to do: Mailchimp asks for some days’ patience, and it is tried again by itself.",
    ),
    "merge_fields": (
        "Subscribed, but some details refused",
        "Check the customer’s details against the list’s fields at Mailchimp, then try again.",
    ),
    "parked": (
        "Failed again and again",
        "Try again. If it fails once more, see the log of the worker.",
    ),
    "customer": (
        "Can’t be sent",
        "Correct the customer’s details here; the change is sent by itself.",
    ),
}
_OTHER = ("Needs a look", "Check the customer’s details, then try again.")


def reason(word: str) -> tuple[str, str]:
    """A heading and what to do, for a reason of attention."""
    return REASONS.get(word, _OTHER)


def source(word: str) -> str:
    """How a decision came about, to follow a verb."""
    return SOURCES.get(word, word)


def phase(run: Progress) -> str:
    """What a running sync is doing, with figures."""
    if run.phase == "customers":
        return f"Looking at the customers: {run.customers_done:,} of {run.customers:,}"
    if run.phase == "members":
        return f"Reading the list at Mailchimp: {run.members_done:,} of {run.members:,}"
    if run.phase == "plan":
        return "Comparing both sides"
    return f"Telling Mailchimp: {run.sent:,} of {run.to_send:,} done, {run.failed:,} refused"


def outcome(run: Progress) -> str:
    """What a sync did, or would do."""
    parts = [
        (run.to_send, "sent to Mailchimp"),
        (run.failed, "refused"),
        (run.boxes_on, "checkboxes ticked"),
        (run.boxes_off, "checkboxes unticked"),
        (run.removals, "unsubscribed"),
        (run.asks, "asked to confirm"),
    ]
    said = [f"{number:,} {words}" for number, words in parts if number]
    return ", ".join(said) or "nothing to change"


def coded(text: str) -> Markup:
    """A text with `backticks` as HTML, everything else escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(  # noqa: S704  # every part is escaped
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part)
        for i, part in enumerate(parts)
    )
