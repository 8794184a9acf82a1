"""Plain words for the pages: what a phase, a state, a reason or a source is called. Edge."""

from __future__ import annotations

from datetime import timedelta

from markupsafe import Markup, escape

from ..i18n import ngettext
from ..reasons import REASONS
from ..runs import Progress
from ..texts import N_

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
    "subscribe": N_("Subscribed"),
    "unsubscribe": N_("Unsubscribed"),
    "profile": N_("Profile edited"),
    "cleaned": N_("Address bounced"),
    "upemail": N_("Address changed"),
    "campaign": N_("Campaign sent"),
}
VERIFIED = {
    "signature": N_("Proved by its signature"),
    "token": N_("Proved by its secret address"),
}
OUTCOMES = {
    "looked at": N_("Looked at"),
    "nobody here has this address": N_("Nobody here has this address"),
    "not about a person": N_("Not about a person"),
}
RING_STATES = {
    "waiting": N_("Waiting"),
    "done": N_("Looked at"),
    "nobody": N_("About nobody here"),
}
SOURCES = {
    "request": "on a page of this site",
    "mailchimp": "at Mailchimp",
    "code": "by a program of this site",
    "shared address": "with another customer who has the same address",
    "found in the database": "found changed in the database",
}


def reason(word: str) -> str:
    """A heading for a reason of attention."""
    return REASONS.get(word, N_("Needs a look"))


def duration(time: timedelta) -> str:
    """How long something takes or took, in the one unit that tells most."""
    seconds = max(0, round(time.total_seconds()))
    if seconds < 120:
        return ngettext("%(n)s second", "%(n)s seconds", seconds)
    if seconds < 120 * 60:
        return ngettext("%(n)s minute", "%(n)s minutes", seconds // 60)
    if seconds < 48 * 3600:
        return ngettext("%(n)s hour", "%(n)s hours", seconds // 3600)
    return ngettext("%(n)s day", "%(n)s days", seconds // 86400)


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
