"""A customer's history: who decided what, when, how, and what Mailchimp answered. Edge.

A key that this tenant has neither a customer nor a decision for is 404, whoever else has it.
"""

from __future__ import annotations

from typing import Any

from flask import abort
from flask.blueprints import BlueprintSetupState
from sqlalchemy.exc import DBAPIError
from werkzeug.routing import BaseConverter

from .. import standing
from ..services import Services
from ..standing import CustomerState
from .guard import pages
from .show import here, render


class KeyConverter(BaseConverter):
    """A primary key as text: any characters, slashes and brackets too."""

    regex = "(?s:.+)"
    part_isolating = False


@pages.record_once
def _add_converter(setup: BlueprintSetupState) -> None:
    setup.app.url_map.converters["mailchimp_optin_key"] = KeyConverter


@pages.get("/customers/<mailchimp_optin_key:key>", merge_slashes=False)
def customer(key: str) -> str:
    """Every decision about a customer, newest first."""
    services, tenant = here()
    if "\0" in key:  # PostgreSQL has no such text
        abort(404)
    decisions = standing.history_of_key(services, key, tenant)
    present = _present(services, tenant, key)
    if not decisions and present is None:
        abort(404)
    address, state = present or (None, None)
    return render("customer.html", key=key, decisions=decisions, address=address, standing=state)


def _present(services: Services, tenant: str, key: str) -> tuple[str | None, CustomerState] | None:
    """The customer's address and state; None if this tenant has no such customer."""
    mapping = services.mapping
    try:
        with services.begin() as tx:
            found: Any = mapping.load(tx.session, [key]).get(key)
            if found is None or mapping.tenant_of(found) != tenant:
                return None
            return mapping.address_of(found), standing.state_of(services, found)
    except (ValueError, TypeError, OverflowError, DBAPIError):
        return None  # no text of a key of this model
