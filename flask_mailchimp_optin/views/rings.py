"""The log of webhooks: what Mailchimp told us, what came of it, and looking again. Edge."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from flask import flash, redirect, request, url_for
from werkzeug.wrappers import Response

from .. import acts, figures, overviews
from ..i18n import gettext as _
from ..i18n import midnight
from ..services import Services
from . import words
from .show import attempt, here, render, row_id

_SIZE = 25  # webhooks on one page


def rings() -> str:
    """The webhooks that were received, newest first."""
    services, tenant = here()
    before = row_id(request.args.get("before"))
    which = _which()
    until = None
    if "day" in which:  # whose end is meant, in the zone that times are shown in
        until = date.fromisoformat(which["day"]) + timedelta(days=1)
    found = figures.rings(
        services,
        tenant,
        _SIZE + 1,
        state=which.get("state"),
        kind=which.get("kind"),
        until=midnight(until) if until else None,
        before=before,
    )
    return render(
        "webhooks.html",
        overview=overviews.read(services, tenant),
        rings=found[:_SIZE],
        older=found[_SIZE - 1].id if len(found) > _SIZE else None,
        before=before,
        which=which,
        now=services.now(),
        keep_days=services.config.KEEP_DAYS,
    )


def replay() -> Response:
    """Look again at the address that a webhook named."""
    ring_id = row_id(request.form.get("ring_id"))

    def act(services: Services, tenant: str) -> bool:
        acts.ring_again(services, tenant, ring_id or 0)
        return True

    if attempt(act):
        flash(_("This address is looked at again. It may take a minute."), "success")
    back: dict[str, Any] = {**_which()}
    if before := row_id(request.args.get("before")):
        back["before"] = before
    return redirect(url_for(".rings", **back), 303)


def _which() -> dict[str, str]:
    """What the log is narrowed down to; what makes no sense is left out."""
    given = {name: request.args.get(name, "") for name in ("state", "kind", "day")}
    good = {
        "state": given["state"] in figures.RING_STATES,
        "kind": given["kind"] in words.RINGS,
        "day": _is_date(given["day"]),
    }
    return {name: value for name, value in given.items() if good[name]}


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text) < date.max
    except ValueError:
        return False
