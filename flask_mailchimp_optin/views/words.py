"""Plain words for the pages: what a phase, a state, a reason or a source is called. Edge."""

from __future__ import annotations

from markupsafe import Markup, escape

from ..runs import Progress

KINDS = {
    "initial": "Initial sync",
    "first": "First sync",
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
#: Reason of an :class:`~..standing.Attention`; its text says why and what to do.
REASONS = {
    "compliance": "Unsubscribed themselves",
    "forgotten": "Deleted permanently at Mailchimp",
    "bounced": "Mail bounces",
    "archived": "Archived at Mailchimp",
    "fake": "Address taken for fake",
    "invalid": "Refused by Mailchimp",
    "exists": "Already at Mailchimp",
    "too_many_lists": "Signed up to many lists lately",
    "merge_fields": "Details refused",
    "parked": "Failed again and again",
    "renamed": "Changed their address at Mailchimp",
    "erased": "Erased, and ticked again by an import",
    "customer": "Can’t be sent: correct the customer’s details",
}


def reason(word: str) -> str:
    """A heading for a reason of attention."""
    return REASONS.get(word, "Needs a look")


def source(word: str) -> str:
    """How a decision came about, to follow a verb."""
    return SOURCES.get(word, word)


def phase(run: Progress) -> str:
    """What a running sync is doing, with figures."""
    if run.phase == "customers" and not run.customers:
        return "Looking at the customers"
    if run.phase == "customers":
        return f"Looking at the customers: {run.customers_done:,} of {run.customers:,}"
    if run.phase == "members" and not run.members:
        return "Reading the list at Mailchimp"
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
    return Markup("").join(  # every part is escaped
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part)
        for i, part in enumerate(parts)
    )
