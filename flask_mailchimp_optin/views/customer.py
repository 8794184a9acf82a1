"""A customer's page: who decided what, when, how, and what Mailchimp answered; and what can be done for
the person: look again, give out what is kept, erase. Edge.

A key that this tenant has neither a customer nor a decision for is 404, whoever else has it.
"""

from __future__ import annotations

import re

from flask import Response as FlaskResponse
from flask import abort, flash, make_response, redirect, url_for
from werkzeug.wrappers import Response

from .. import overviews, person, standing
from ..errors import MailchimpError, RefusedInput
from ..i18n import gettext as _
from ..i18n import said
from ..ledger import Decision
from .show import here, render


def customer(key: str) -> str:
    """Every decision about a customer, newest first."""
    services, tenant = here()
    now, decisions = _found(key)
    overview = overviews.read(services, tenant)
    return render(
        "customer.html",
        key=key,
        decisions=decisions,
        now=now,
        list_names={row.list_id: row.name for row in overview.lists},
        can_look=now is not None and overview.connected and not overview.other_site,
    )


def look_again(key: str) -> Response:
    """Have a worker look at the customer's address at Mailchimp."""
    _found(key)
    try:
        person.look(*here(), key)
    except RefusedInput as error:
        flash(said(error), "error")
    else:
        flash(
            _(
                "A worker looks at Mailchimp now. Open this page again in a minute to see the answer."
            ),
            "success",
        )
    return redirect(url_for(".customer", key=key), 303)


def export(key: str) -> FlaskResponse:
    """All that is kept of the person, as a file for whoever asked for access to it."""
    _found(key)
    response = make_response(person.as_json(person.export(*here(), key)))
    response.mimetype = "application/json"
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", key)[:60]
    response.headers["Content-Disposition"] = f'attachment; filename="customer-{name}.json"'
    response.headers["Cache-Control"] = "no-store"
    return response


def confirm_erasing(key: str) -> str | Response:
    """What goes, what stays, and that it can't be undone."""
    _found(key)
    try:
        return render("erase.html", key=key, plan=person.plan(*here(), key))
    except RefusedInput as error:
        flash(said(error), "error")
        return redirect(url_for(".customer", key=key), 303)


def erase(key: str) -> Response:
    """Erase the person, at Mailchimp and here."""
    _found(key)
    try:
        done = person.erase(*here(), key)
    except (RefusedInput, MailchimpError) as error:
        flash(said(error), "error")
        return redirect(url_for(".confirm_erasing", key=key), 303)
    flash(_erased(done), "success")
    return redirect(url_for(".customer", key=key), 303)


def _erased(done: person.Plan) -> str:
    if not done.connected:
        return _("Erased here. Mailchimp is not connected: nothing was deleted there.")
    if not done.addresses:
        return _("Erased here. Nothing was deleted at Mailchimp: no address is theirs alone.")
    return _("Erased, here and at Mailchimp. An import does not bring them back.")


def _found(key: str) -> tuple[person.Present | None, list[Decision]]:
    """The customer, if they still exist, and their decisions; 404 without either."""
    services, tenant = here()
    if "\0" in key:
        abort(404)
    decisions = standing.history_of_key(services, key, tenant)
    now = person.present(services, tenant, key)
    if not decisions and now is None:
        abort(404)
    return now, decisions
