"""The log of webhooks: what Mailchimp told us, what came of it, and looking again. Edge."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, request, url_for
from werkzeug.wrappers import Response

from .. import acts, figures, overviews
from ..i18n import gettext as _
from ..services import Services
from .guard import pages
from .show import attempt, here, render, row_id

_SIZE = 25  # webhooks on one page


@pages.get("/activity/webhooks")
def rings() -> str:
    """The webhooks that were received, newest first."""
    services, tenant = here()
    state = request.args.get("state")
    before = row_id(request.args.get("before"))
    found = figures.rings(services, tenant, _SIZE + 1, state=state, before=before)
    return render(
        "webhooks.html",
        overview=overviews.read(services, tenant),
        rings=found[:_SIZE],
        older=found[_SIZE - 1].id if len(found) > _SIZE else None,
        before=before,
        state=state if state in figures.RING_STATES else None,
        now=services.now(),
        keep_days=services.config.KEEP_DAYS,
    )


@pages.post("/activity/webhooks/replay")
def replay() -> Response:
    """Look again at the address that a webhook named."""
    ring_id = row_id(request.form.get("ring_id"))

    def act(services: Services, tenant: str) -> bool:
        acts.ring_again(services, tenant, ring_id or 0)
        return True

    if attempt(act):
        flash(_("This address is looked at again. It may take a minute."), "success")
    known: dict[str, Any] = {
        name: request.args[name] for name in ("state", "before") if name in request.args
    }
    return redirect(url_for(".rings", **known), 303)
