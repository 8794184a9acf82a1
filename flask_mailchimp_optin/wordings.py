"""What a person read beside a checkbox, carried through the host's own form. Edge.

The macro ``opt_in_field`` puts the words that it shows into the form a second time, sealed with our
encryption keys. So the ledger gets exactly what was on the page, in its language and before any later
change of the words, and nobody can make other words of it.
"""

from __future__ import annotations

from flask import current_app, has_request_context, request

from . import state
from .vault import CannotDecrypt

FIELD = "mailchimp_optin_wording"
_OWNER = "wording"


def seal(wording: object) -> str:
    """The words for a form's hidden field.

    :param wording: as it is shown: text, markup, or a text that is translated late.
    """
    return state.current().services.vault.seal(str(wording), _OWNER)


def seen(*, parse: bool = True) -> str | None:
    """The words in the form that was just sent; None for none, for several, and for forged ones.

    :param parse: read the form, if nobody has read it yet.
    """
    if not has_request_context() or state.NAME not in current_app.extensions:
        return None
    if not parse and "form" not in vars(request._get_current_object()):  # type: ignore[attr-defined]
        return None
    vault = state.current().services.vault
    try:
        found = {vault.open(sealed, _OWNER) for sealed in request.form.getlist(FIELD)}
    except (CannotDecrypt, ValueError):
        return None
    return found.pop() if len(found) == 1 else None
