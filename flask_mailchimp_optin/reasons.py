"""Why somebody waits, was asked or was refused, and the way out: plain words for pages and hosts.

Pure, reads nothing. What Mailchimp's own refusals mean is told by ``problems``, once they come.
"""

from __future__ import annotations

TEXTS = {
    "not_connected": "Mailchimp is not connected.",
    "copied": "Nothing is sent to Mailchimp from here: this may be a copy of another site.",
    "never_asked": "Has not decided yet.",
    "waiting": "Waiting to be sent to Mailchimp.",
    "looking": "Mailchimp is about to be asked how this person is there.",
    "subscribed": "Subscribed at Mailchimp.",
    "asked": "Waiting for the person's confirmation by mail.",
    "unsubscribed": "Not subscribed at Mailchimp.",
    "bare": "Subscribed at Mailchimp, which did not accept all of their details.",
    "left": "Ticked here, but not subscribed at Mailchimp: only the person can come back.",
    "erased": "This address was erased when a customer was deleted, and came back ticked without a "
    "decision: nothing was sent.",
}

_SIGN_UP = "Send the person the list's sign-up form."

#: By a state, or by the class of a refusal.
WAYS_OUT = {
    "copied": "An administrator says on the settings page what this site is.",
    "asked": "They follow the link in Mailchimp's mail. If it got lost, send them the sign-up form.",
    "bare": "Correct the details; or look at the list's merge fields at Mailchimp, and try again.",
    "left": _SIGN_UP,
    "erased": "If the person agreed anew, untick and tick the box, or send them the sign-up form.",
    "bad_address": "Correct the customer's details.",
    "archived": "Untick and tick the box, or unarchive the contact at Mailchimp.",
    "bounced": "Correct the customer's address.",
    "compliance": _SIGN_UP,
    "forgotten": _SIGN_UP,
    "fake": "Correct the customer's address.",
    "invalid": "Correct the customer's address, or try again.",
    "exists": "Look for the address at Mailchimp, then try again.",
    "too_many_lists": "Nothing has to be done: it is tried again by itself.",
    "parked": "Try again on the activity page, once Mailchimp answers.",
    "renamed": "Correct the customer's address; or untick and tick the box.",
}

#: Where the list's sign-up form helps.
BY_FORM = ("asked", "left", "erased", "compliance", "forgotten")


def refused(reason: str, text: str | None) -> str:
    """Why Mailchimp refused somebody.

    :param text: what was stored with the refusal. Of a last failure only its first sentence counts:
        the next promises that it is tried again.
    """
    if reason != "parked":
        return text or "Refused by Mailchimp."
    what = (text or "").split(". ")[0].split("; ")[0].rstrip(".")
    return f"Tried many times in vain, and not tried again by itself. The last time: {what}."


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
            "Waiting: the connection with Mailchimp is stopped.",
            "An administrator enters a good API key on the settings page.",
        )
    if gone:
        return (
            "Waiting: the list is gone at Mailchimp, or none is chosen.",
            "An administrator refreshes the lists on the settings page, and chooses another.",
        )
    if disabled:
        return (
            "Waiting: the integration is not enabled.",
            "An administrator enables it on the settings page.",
        )
    if held:
        return (
            "Waiting: a sync stopped before it changed anything.",
            "An administrator lets it go on, or cancels it, on the activity page.",
        )
    if daily:
        return "Waiting for the daily sync.", None
    if failed:
        return "Mailchimp has not taken it yet: it is tried again by itself.", None
    return TEXTS["waiting"], None
