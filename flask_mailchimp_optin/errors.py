"""The error tree, split by what the caller does next: mend the configuration, ask the person at the
form, try again later, give one member up, or stop the connection until somebody acts.

The docstring's first sentence is for developers; the message says what happened and what to do.
Imports nothing of ours.
"""

from __future__ import annotations


class MailchimpOptinError(Exception):
    """Anything this package raises on purpose."""


class ConfigError(MailchimpOptinError):
    """The host's configuration or mapping is wrong; raised at start, before anything runs."""


class RefusedInput(MailchimpOptinError):
    """A person typed or chose something that can't be accepted; the message is for them."""


class NotConnected(RefusedInput):
    """An act that needs a Mailchimp connection was asked for before there is one."""


class CopiedSite(RefusedInput):
    """The connection belongs to another site: first somebody says whether this is a copy of it."""


class BadAddress(MailchimpOptinError):
    """This text cannot be an email address; the message says why."""


class LeaseLost(MailchimpOptinError):
    """Another worker took the connection over; whatever this one still holds is out of date."""


class ChangedMeanwhile(MailchimpOptinError):
    """Somebody decided while we looked: start over with what they said."""


class MailchimpError(MailchimpOptinError):
    """Mailchimp, or the way to it, said no.

    :param message: plain words for an administrator; never holds an address, a key or a body.
    :param status: the HTTP status, or None where there was no answer.
    :param title: the problem document's title, "" where there was none.
    :ivar request_id: what Mailchimp's support can find the request by; "" where it named none.
    """

    request_id = ""

    def __init__(self, message: str, *, status: int | None = None, title: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.title = title


class KeyRefused(MailchimpError):
    """401, or a deactivated account: the connection stops until there is a good key."""


class PermissionDenied(MailchimpError):
    """403 with a problem document: the key's user may not do this."""


class NotFound(MailchimpError):
    """404: the audience or the member is gone."""


class TryLater(MailchimpError):
    """The request did not take effect and may be sent again: 429, or no connection at all."""


class OutcomeUnknown(MailchimpError):
    """The request may have taken effect, now or later: a timeout, a 5xx, an answer we can't read."""


class MemberRefused(MailchimpError):
    """400 for one member; :attr:`reason` is the class of it.

    :param reason: ``compliance``, ``forgotten``, ``exists``, ``fake``, ``too_many_lists``,
        ``merge_fields`` or ``invalid``.
    """

    def __init__(self, message: str, *, reason: str, status: int = 400, title: str = "") -> None:
        super().__init__(message, status=status, title=title)
        self.reason = reason


class RequestRefused(MailchimpError):
    """400 or 405 that is not about one member: a mistake in what we sent."""
