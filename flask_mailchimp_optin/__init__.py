"""Flask-Mailchimp-Optin: a customer's opt-in checkbox and a Mailchimp list, kept in agreement.

The public names; everything else is the package's own affair. They are loaded when they are first asked
for: pytest finds our plugin in every project of an environment, and most of those have no use for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_ELSEWHERE = {
    "CustomerMapping": "mapping",
    "CustomerState": "standing",
    "Decision": "ledger",
    "MailchimpOptin": "extension",
}

if not TYPE_CHECKING:  # a type checker then knows which names there are

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "signals":
            return import_module(f"{__name__}.signals")
        home = import_module(f"{__name__}.{_ELSEWHERE.get(name, 'errors')}")
        globals()[name] = found = getattr(home, name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
