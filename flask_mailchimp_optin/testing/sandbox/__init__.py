"""A faithful Mailchimp for tests and the demo: see :class:`MailchimpSandbox`."""

from __future__ import annotations

from .acts import ImpossibleActError
from .records import Mail, Quirks, RequestRecord, RingRecord, StatusChange
from .sandbox import MailchimpSandbox

__all__ = [
    "ImpossibleActError",
    "Mail",
    "MailchimpSandbox",
    "Quirks",
    "RequestRecord",
    "RingRecord",
    "StatusChange",
]
