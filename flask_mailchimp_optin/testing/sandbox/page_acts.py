"""What the forms of the sandbox's pages do. Each act returns a message for the person who acted.

Talks to the sandbox through its public methods only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .acts import ImpossibleActError
from .audiences import Audience

if TYPE_CHECKING:
    from .sandbox import MailchimpSandbox


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A submitted form."""

    sandbox: MailchimpSandbox
    audience: Audience
    email: str
    form: Mapping[str, str]

    def names(self, *tags: str) -> dict[str, Any]:
        return {tag: self.form[tag].strip() for tag in tags if tag in self.form}


@dataclass(frozen=True)
class Done:
    """What to say, and whose page to go back to (the audience's if empty)."""

    note: str
    member: str = ""


def require_address(text: str) -> str:
    """:raises ImpossibleActError: it is no address."""
    address = text.strip()
    if address.count("@") != 1 or address.startswith("@") or address.endswith("@"):
        raise ImpossibleActError("Please enter an email address.")
    return address


def subscribe(asked: Asked) -> Done:
    email = require_address(asked.email)
    names = {tag: value for tag, value in asked.names("FNAME", "LNAME").items() if value}
    asked.sandbox.subscribe(asked.audience.id, email, **names)
    found = asked.sandbox.member(asked.audience.id, email) or {}
    if found.get("status") == "pending":
        return Done(f"{email} signed up. A confirmation mail waits in the inbox.")
    return Done(f"{email} is subscribed to “{asked.audience.name}”.")


def _unsubscribe(asked: Asked) -> Done:
    reason = "abuse" if asked.form.get("reason") == "abuse" else "manual"
    if not asked.sandbox.unsubscribe(asked.audience.id, asked.email, reason=reason):
        return Done(f"{asked.email} was not subscribed.", asked.email)
    how = "complained about spam" if reason == "abuse" else "unsubscribed"
    return Done(f"{asked.email} {how}.", asked.email)


def _confirm(asked: Asked) -> Done:
    asked.sandbox.confirm(asked.audience.id, asked.email)
    return Done(f"{asked.email} confirmed and is subscribed.")


def _change(asked: Asked) -> Done:
    new = require_address(asked.form.get("new_email", ""))
    asked.sandbox.change_email(asked.audience.id, asked.email, new)
    return Done(f"{asked.email} is now {new}.", new)


def _edit(asked: Asked) -> Done:
    values = asked.names("FNAME", "LNAME", "PHONE")
    changed = asked.sandbox.edit_profile(asked.audience.id, asked.email, **values)
    note = f"{asked.email}'s profile was saved." if changed else "Nothing was changed."
    return Done(note, asked.email)


def _clean(asked: Asked) -> Done:
    asked.sandbox.clean(asked.audience.id, asked.email)
    return Done(f"Mail to {asked.email} bounced; the address is cleaned.", asked.email)


def _archive(asked: Asked) -> Done:
    asked.sandbox.archive(asked.audience.id, asked.email)
    return Done(f"{asked.email} was archived.", asked.email)


def _delete(asked: Asked) -> Done:
    asked.sandbox.delete_permanently(asked.audience.id, asked.email)
    return Done(f"{asked.email} was deleted permanently. Only the hosted form brings them back.")


def _optin(asked: Asked) -> Done:
    on = not asked.audience.double_optin
    asked.sandbox.set_double_optin(asked.audience.id, on)
    return Done(f"Double opt-in is now {'on' if on else 'off'}.")


def _remove(asked: Asked) -> Done:
    asked.sandbox.delete_audience(asked.audience.id)
    return Done(f"“{asked.audience.name}” was deleted.")


ACTS: dict[str, Callable[[Asked], Done]] = {
    "subscribe": subscribe,
    "unsubscribe": _unsubscribe,
    "confirm": _confirm,
    "change": _change,
    "edit": _edit,
    "clean": _clean,
    "archive": _archive,
    "delete": _delete,
    "optin": _optin,
    "remove": _remove,
}
