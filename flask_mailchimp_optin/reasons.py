"""Why somebody waits, was asked or was refused, and the way out: plain words for pages and hosts.

Pure, reads nothing. What Mailchimp's own refusals mean is told by ``problems``, once they come.
"""

from __future__ import annotations

import re

from .texts import N_, Text

#: Reasons that lie with the customer's row and not with Mailchimp: see ``attention``.
CUSTOMER, ERASED = OURS = ("customer", "erased")

TEXTS = {
    "not_connected": N_("Mailchimp is not connected."),
    "copied": N_("Nothing is sent to Mailchimp from here: this may be a copy of another site."),
    "never_asked": N_("Has not decided yet."),
    "waiting": N_("Waiting to be sent to Mailchimp."),
    "looking": N_("Mailchimp is about to be asked how this person is there."),
    "subscribed": N_("Subscribed at Mailchimp."),
    "asked": N_("Waiting for the person's confirmation by mail."),
    "unsubscribed": N_("Not subscribed at Mailchimp."),
    "bare": N_("Subscribed at Mailchimp, which did not accept all of their details."),
    "left": N_("Ticked here, but not subscribed at Mailchimp: only the person can come back."),
    "erased": N_(
        "This address was erased when a customer was deleted, and came back ticked without a "
        "decision: nothing was sent."
    ),
}

_SIGN_UP = N_("Send the person the list's sign-up form.")

#: By a state, or by the class of a refusal.
WAYS_OUT = {
    "copied": N_("An administrator says on the settings page what this site is."),
    "asked": N_(
        "They follow the link in Mailchimp's mail. If it got lost, send them the sign-up form."
    ),
    "bare": N_(
        "Correct the details; or look at the list's merge fields at Mailchimp, and try again."
    ),
    "left": _SIGN_UP,
    "erased": N_(
        "If the person agreed anew, untick and tick the box, or send them the sign-up form."
    ),
    "bad_address": N_("Correct the customer's details."),
    "archived": N_(
        "Untick and tick the box to bring them back, or unarchive the contact at Mailchimp."
    ),
    "bounced": N_("Correct the customer's address."),
    "compliance": _SIGN_UP,
    "forgotten": _SIGN_UP,
    "fake": N_("Correct the customer's address."),
    "invalid": N_("Correct the customer's address, or try again."),
    "exists": N_("Look for the address at Mailchimp, then try again."),
    "too_many_lists": N_("Nothing has to be done: it is tried again by itself."),
    "parked": N_("Try again on the activity page, once Mailchimp answers."),
    "renamed": N_("Correct the customer's address; or untick and tick the box."),
}

#: Where the list's sign-up form helps.
BY_FORM = ("asked", "left", "erased", "compliance", "forgotten")

#: Reasons whose way out is that of a state.
ALSO = {"merge_fields": "bare"}

#: Why somebody needs attention, as a heading; the text that goes with it says more.
REASONS = {
    "compliance": N_("Unsubscribed themselves"),
    "forgotten": N_("Deleted permanently at Mailchimp"),
    "bounced": N_("Mail bounces"),
    "archived": N_("Archived at Mailchimp"),
    "fake": N_("Address taken for fake"),
    "invalid": N_("Refused by Mailchimp"),
    "exists": N_("Already at Mailchimp"),
    "too_many_lists": N_("Signed up to many lists lately"),
    "merge_fields": N_("Details refused"),
    "parked": N_("Failed again and again"),
    "renamed": N_("Changed their address at Mailchimp"),
    ERASED: N_("Erased, and ticked again by an import"),
    CUSTOMER: N_("Can’t be sent: correct the customer’s details"),
}

#: How the errors begin after which somebody is parked; see ``problems``.
_LAST = (
    N_("Mailchimp could not be reached"),
    N_("Mailchimp did not answer in time, or the answer broke off"),
    N_("Mailchimp asks us to slow down"),
    N_("Mailchimp doesn't have this any more"),
    N_("Mailchimp did not accept a request (%(status)s)"),
    N_("Mailchimp has a problem of its own (%(status)s)"),
)
_STATUS = re.compile(r"\((\d{3})\)")


def link(reason: str, subscribe_url: str | None) -> str | None:
    """The list's sign-up form, where it helps."""
    return subscribe_url or None if reason in BY_FORM else None


def refused(reason: str, text: str | None) -> str:
    """Why Mailchimp refused somebody.

    :param text: what was stored with the refusal. Of a last failure only its first sentence counts:
        the next promises that it is tried again.
    """
    if reason != "parked":
        return text or N_("Refused by Mailchimp.")
    return Text(
        "Tried many times in vain, and not tried again by itself. The last time: %(what)s.",
        what=_last(text or ""),
    )


def _last(text: str) -> Text:
    what = text.split(". ")[0].split("; ")[0].rstrip(".")
    status = _STATUS.search(what)
    msgid = _STATUS.sub("(%(status)s)", what)
    if status is None or msgid not in _LAST:
        return Text(what)
    return Text(msgid, status=status[1])


def waiting(
    *,
    stopped: bool = False,
    gone: bool = False,
    disabled: bool = False,
    held: bool = False,
    daily: bool = False,
    failed: bool = False,
) -> tuple[str, str | None]:
    """Why something is not at Mailchimp yet, and who can do something about it.

    :param stopped: the whole connection.
    :param gone: the list, at Mailchimp; or there is none.
    :param disabled: the integration is off.
    :param held: a sync stopped for an administrator before it sent this.
    :param daily: it is sent once a day.
    :param failed: it was tried.
    """
    if stopped:
        return (
            N_("Waiting: the connection with Mailchimp is stopped."),
            N_("An administrator enters a good API key on the settings page."),
        )
    if gone:
        return (
            N_("Waiting: the list is gone at Mailchimp, or none is chosen."),
            N_("An administrator refreshes the lists on the settings page, and chooses another."),
        )
    if disabled:
        return (
            N_("Waiting: the integration is not enabled."),
            N_("An administrator enables it on the settings page."),
        )
    if held:
        return (
            N_("Waiting: a sync stopped before it changed anything."),
            N_("An administrator lets it go on, or cancels it, on the activity page."),
        )
    if daily:
        return N_("Waiting for the daily sync."), None
    if failed:
        return N_("Mailchimp has not taken it yet: it is tried again by itself."), None
    return TEXTS["waiting"], None
