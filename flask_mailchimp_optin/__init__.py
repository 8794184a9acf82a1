"""Flask-Mailchimp-Optin: a customer's opt-in checkbox and a Mailchimp list, kept in agreement.

The public names; everything else is the package's own affair.
"""

from __future__ import annotations

from . import signals
from .errors import (
    BadAddress,
    ConfigError,
    MailchimpError,
    MailchimpOptinError,
    NotConnected,
    RefusedInput,
)
from .extension import MailchimpOptin
from .ledger import Decision
from .mapping import CustomerMapping
from .standing import CustomerState

__version__ = "0.1.0"

__all__ = [
    "BadAddress",
    "ConfigError",
    "CustomerMapping",
    "CustomerState",
    "Decision",
    "MailchimpError",
    "MailchimpOptin",
    "MailchimpOptinError",
    "NotConnected",
    "RefusedInput",
    "signals",
]
