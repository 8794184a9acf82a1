"""Plain words for the pages: what a phase, a state, a reason or a source is called. Edge."""

from __future__ import annotations

from datetime import timedelta

from markupsafe import Markup, escape

from ..i18n import gettext as _
from ..i18n import ngettext
from ..reasons import REASONS
from ..runs import LEAVING, PHASES, Progress
from ..texts import N_

KINDS = {
    "initial": N_("Initial sync"),
    "first": N_("Initial sync, with your consent"),
    "manual": N_("Sync by hand"),
    "preview": N_("Preview"),
    "daily": N_("Daily sync"),
}
STATES = {
    "running": N_("Planned"),  # the one at work is shown on its own
    "waiting": N_("Stopped, waits for you"),
    "done": N_("Done"),
    "cancelled": N_("Cancelled"),
    "previewed": N_("Counted, nothing changed"),
}
#: How a sync that is followed on the page came to its end, for who can't see the page.
ENDS = {
    "running": N_("Another sync has begun."),
    "waiting": N_("The sync has stopped and waits for you."),
    "done": N_("The sync is done."),
    "cancelled": N_("The sync is cancelled."),
    "previewed": N_("The preview is done."),
}
LEVELS = {"ok": N_("In order"), "warning": N_("Warning"), "error": N_("Problem")}
#: Where something is done about a finding of health: what to press, the page's end point, the place on
#: it, and what is sent; None: a link.
WAYS: dict[str, tuple[str, str, str | None, dict[str, str] | None]] = {
    "connection": (N_("Open the settings"), "settings", None, None),
    "site": (N_("Open the settings"), "settings", None, None),
    "lists": (N_("Open the settings"), "settings", None, None),
    "webhook": (N_("Repair the webhooks"), "repair_webhooks", None, {}),
    "paused": (N_("Resume the sync"), "resume_sync", None, {}),
    "stopped": (N_("Look at the sync"), "activity", "sync", None),
    "sync": (N_("Sync now"), "sync_now", None, {"kind": "manual"}),
    "attention": (N_("See who and why"), "activity", "attention", None),
    "public_url": (N_("Check again"), "activity", None, None),
    "redis": (N_("Check again"), "activity", None, None),
    "worker": (N_("Check again"), "activity", None, None),
    "changes": (N_("Check again"), "activity", None, None),
}
STATUSES = {
    "subscribed": N_("Subscribed"),
    "pending": N_("Waiting for confirmation"),
    "unsubscribed": N_("Unsubscribed"),
    "cleaned": N_("Bounced"),
    "archived": N_("Archived"),
    "transactional": N_("Not subscribed"),
    "absent": N_("Not in the list"),
    "unknown": N_("Not looked at yet"),
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
    "request": N_("on a page of this site"),
    "mailchimp": N_("at Mailchimp"),
    "code": N_("by a program of this site"),
    "shared address": N_("with another customer who has the same address"),
    "found in the database": N_("found changed in the database"),
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


def after(time: timedelta) -> str:
    """How long something waited, to follow what came of it."""
    return (
        _("after %(time)s", time=duration(time)) if time >= timedelta(seconds=1) else _("at once")
    )


def source(word: str) -> str:
    """How a decision came about, to follow a verb."""
    return SOURCES.get(word, word)


def kind(run: Progress) -> str:
    """What kind of sync it is."""
    return _(KINDS.get(run.kind, "Sync"))


def state(run: Progress) -> str:
    """How a sync stands."""
    return _("Paused") if run.paused else _(STATES.get(run.state, run.state))


def step(run: Progress) -> str:
    """Which part of its way a sync is on."""
    at = 1 if run.phase == LEAVING else PHASES.index(run.phase) + 1
    return _("Step %(step)s of %(steps)s", step=at, steps=len(PHASES))


def phase(run: Progress) -> str:
    """What a running sync is doing, with figures."""
    if not run.begun:
        return _("Waiting for a worker to begin")
    if run.phase == LEAVING:
        return _("Reading what was said in the list before")
    if run.phase == "customers" and not run.customers:
        return _("Looking at the customers")
    if run.phase == "customers":
        done, of = run.customers_done, run.customers
        return _("Looking at the customers: %(done)s of %(of)s", done=done, of=of)
    if run.phase == "members" and not run.members:
        return _("Reading the list at Mailchimp")
    if run.phase == "members":
        done, of = run.members_done, run.members
        return _("Reading the list at Mailchimp: %(done)s of %(of)s", done=done, of=of)
    if run.phase == "plan":
        return _("Comparing both sides")
    return _(
        "Telling Mailchimp: %(done)s of %(of)s done, %(failed)s refused",
        done=run.sent,
        of=run.to_send,
        failed=run.failed,
    )


def pace(run: Progress) -> str:
    """How fast it is, and how long it still takes; "" if nobody knows."""
    parts = []
    if run.per_minute is not None and run.per_minute >= 120:
        parts.append(_("%(n)s per second", n=round(run.per_minute / 60)))
    elif run.per_minute is not None and run.per_minute >= 1:
        parts.append(_("%(n)s per minute", n=round(run.per_minute)))
    left = run.seconds_left
    if left is not None and run.phase == PHASES[-1]:
        parts.append(_left(left))
    elif left is not None:
        parts.append(_left_of_step(left))
    return " · ".join(parts)


def _left(seconds: float) -> str:
    if seconds < 50:
        return _("less than a minute left")
    if seconds < 5400:
        return ngettext("about %(n)s minute left", "about %(n)s minutes left", _minutes(seconds))
    return ngettext("about %(n)s hour left", "about %(n)s hours left", round(seconds / 3600))


def _left_of_step(seconds: float) -> str:
    if seconds < 50:
        return _("less than a minute left of this step")
    if seconds < 5400:
        return ngettext(
            "about %(n)s minute left of this step",
            "about %(n)s minutes left of this step",
            _minutes(seconds),
        )
    return ngettext(
        "about %(n)s hour left of this step",
        "about %(n)s hours left of this step",
        round(seconds / 3600),
    )


def _minutes(seconds: float) -> int:
    return max(1, round(seconds / 60))


def spoken(run: Progress) -> str:
    """How far it is, in one sentence, for who can't see the page."""
    text = _("%(sync)s: %(percent)s %% done", sync=kind(run), percent=run.percent)
    return " · ".join(filter(None, [text, pace(run)]))


def end(run: Progress) -> str:
    """How a sync that was followed came to its end."""
    return _("The sync is paused.") if run.paused else _(ENDS[run.state])


def took(run: Progress) -> str:
    """How long a sync took."""
    return "–" if run.took_s is None else duration(timedelta(seconds=max(1, run.took_s)))


def looked_at(run: Progress) -> list[str]:
    """What a sync compared."""
    n, m = run.customers_done, run.members_done
    return [
        ngettext("%(n)s customer", "%(n)s customers", n),
        ngettext("%(n)s member", "%(n)s members", m),
    ]


def changed_here(run: Progress) -> list[str]:
    """What a sync changed in the host, or would."""
    on, off = run.boxes_on, run.boxes_off
    said = [
        (on, ngettext("%(n)s ticked", "%(n)s ticked", on)),
        (off, ngettext("%(n)s unticked", "%(n)s unticked", off)),
    ]
    return [text for number, text in said if number]


def changed_there(run: Progress) -> list[str]:
    """What a sync changed at Mailchimp, or would."""
    counted = run.boxes_on + run.boxes_off + run.removals + run.asks
    rest = max(0, run.to_send - counted - run.failed)
    said = [
        (rest, ngettext("%(n)s added or updated", "%(n)s added or updated", rest)),
        (run.removals, ngettext("%(n)s unsubscribed", "%(n)s unsubscribed", run.removals)),
        (run.asks, ngettext("%(n)s asked to confirm", "%(n)s asked to confirm", run.asks)),
    ]
    return [text for number, text in said if number]


def coded(text: str) -> Markup:
    """A text with `backticks` as HTML, everything else escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(  # every part is escaped
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part)
        for i, part in enumerate(parts)
    )
