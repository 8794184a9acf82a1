"""The settings page: connect first, the rest appears when the key works. Edge.

Every act posts, then redirects to where its result is seen; a form that was refused comes back as it
was filled in, but for the API key, with a summary that leads to the fields.
"""

from __future__ import annotations

from flask import flash, redirect, request, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response

from .. import connect, overviews
from ..errors import MailchimpError, RefusedInput
from ..forms import ConnectForm, DisconnectForm, MovedForm, SettingsForm, zones
from ..overviews import ListChanges, Overview
from ..services import Services
from .guard import pages
from .show import attempt, here, render

Answer = str | Response | tuple[str, int]


@pages.route("/", methods=["GET", "POST"])
def settings() -> Answer:
    """The settings, and what its two forms "Update": the API key, or everything else."""
    overview = overviews.read(*here())
    if request.method != "POST":
        return _page(overview)
    if "api_key" in request.form or not overview.connected:
        return _connect(overview)
    return _save(overview)


def _connect(overview: Overview) -> Answer:
    form = ConnectForm()
    if form.validate():
        try:
            connect.connect(*here(), form.api_key.data or "")
            return redirect(url_for(".settings", connected="yes"), 303)
        except (RefusedInput, MailchimpError) as error:
            form.api_key.errors = [str(error)]
    return _page(overview, connect_form=form)


def _save(overview: Overview) -> Answer:
    form = SettingsForm.of(overview)
    if form.validate():
        try:
            after = connect.save_settings(*here(), form.settings())
            flash(_saved(overview, after), "success")
            return redirect(url_for(".settings"), 303)
        except RefusedInput as error:
            form.form_errors.append(str(error))
    return _page(overview, settings_form=form)


def _saved(before: Overview, after: Overview) -> str:
    enabled, was = after.settings.enabled, before.settings.enabled
    if enabled and (not was or after.settings.master_list != before.settings.master_list):
        return "Settings saved. The initial sync has begun: see Activity for how far it is."
    if was and not enabled:
        return "Settings saved. The integration is off: only opt-outs are still told to Mailchimp."
    return "Settings saved."


@pages.post("/lists/refresh")
def refresh_lists() -> Response:
    """Fetch the account's lists; the page then shows what changed."""
    changes = attempt(connect.refresh)
    if changes is not None:
        flash(_fetched(changes), "success")
    return redirect(url_for(".settings", _anchor="lists"), 303)


def _fetched(changes: ListChanges) -> str:
    if changes.none:
        return "Lists fetched. Nothing changed since they were stored."
    return "Lists fetched. See what changed below, then store the lists to keep it."


@pages.post("/lists/store")
def store_lists() -> Response:
    """Keep what the last refresh fetched."""
    if attempt(connect.store_lists) is not None:
        flash("Lists stored.", "success")
    return redirect(url_for(".settings", _anchor="lists"), 303)


@pages.post("/webhooks/repair")
def repair_webhooks() -> Response:
    """Have the webhooks checked and registered again where they are missing."""
    attempt(_repair)
    return redirect(url_for(".settings", _anchor="lists"), 303)


def _repair(services: Services, tenant: str) -> None:
    connect.repair_webhooks(services, tenant)
    flash("The webhooks are checked now, and mended where they have to be.", "success")


@pages.post("/moved")
def moved() -> Answer:
    """The same site, at another place: it goes on from here, once the box that confirms it is ticked."""
    form = MovedForm()
    if not form.validate():
        return _page(overviews.read(*here()), moved_form=form)
    if attempt(connect.moved):
        flash("The integration goes on from here. A sync compares both sides.", "success")
    return redirect(url_for(".settings"), 303)


@pages.post("/disconnect")
def disconnect() -> Answer:
    """End the connection, once the box that confirms it is ticked."""
    form = DisconnectForm()
    overview = overviews.read(*here())
    if not form.validate():
        return _page(overview, disconnect_form=form)
    left = attempt(connect.disconnect)
    if left is not None and overview.other_site:
        flash("Mailchimp is disconnected here. The other site was left as it is.", "success")
    elif left is not None:
        flash("Mailchimp is disconnected.", "success")
    if left:
        flash(
            "The webhook of these lists could not be removed at Mailchimp; remove it there under "
            f"Audience → Settings → Webhooks: {', '.join(left)}.",
            "warning",
        )
    return redirect(url_for(".settings"), 303)


def _page(
    overview: Overview,
    *,
    connect_form: ConnectForm | None = None,
    settings_form: SettingsForm | None = None,
    disconnect_form: DisconnectForm | None = None,
    moved_form: MovedForm | None = None,
) -> Answer:
    refused = connect_form or settings_form or disconnect_form or moved_form
    page = render(
        "settings.html",
        overview=overview,
        connect_form=connect_form or ConnectForm(formdata=None),
        settings_form=settings_form or _unsent(overview),
        disconnect_form=disconnect_form or DisconnectForm(formdata=None),
        moved_form=moved_form or MovedForm(formdata=None),
        problems=_problems(refused),
        zones=zones(),
        just_connected=overview.connected and request.args.get("connected") == "yes",
    )
    return (page, 422) if refused else page


def _unsent(overview: Overview) -> SettingsForm:
    return SettingsForm.of(overview, formdata=None)


def _problems(form: FlaskForm | None) -> list[tuple[str, str]]:
    """For the summary: a field's id and what is wrong with it."""
    if form is None:
        return []
    of_fields = [(field.id, str(text)) for field in form for text in field.errors]
    return of_fields + [("", str(text)) for text in form.form_errors]
