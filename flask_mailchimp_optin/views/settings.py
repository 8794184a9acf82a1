"""The settings page: connect first, the rest appears when the key works. Edge.

Every act posts, then redirects to where its result is seen; a form that was refused comes back as it
was filled in, but for the API key, with a summary that leads to the fields. So does one that would have
consequences which nobody was told: with these, in numbers, and a button for each way on.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from flask import flash, redirect, request, url_for
from werkzeug.wrappers import Response
from wtforms import Form

from .. import acts, connect, consequences, overviews
from ..consequences import NewMaster
from ..errors import MailchimpError, RefusedInput
from ..forms import ConnectForm, DisconnectForm, MovedForm, SettingsForm, zones
from ..i18n import gettext as _
from ..i18n import ngettext, said
from ..overviews import ListChanges, Overview, Settings
from ..services import Services
from .show import attempt, here, render

Answer = str | Response | tuple[str, int]


def settings() -> Answer:
    """The settings, and what its two forms "Update": the API key, or everything else."""
    overview = overviews.read(*here())
    if request.method != "POST":
        return _page(overview)
    if {"api_key", "connect"} & request.form.keys() or not overview.connected:
        return _connect(overview)
    return _save(overview)


def _connect(overview: Overview) -> Answer:
    form = ConnectForm()
    api_key = request.form.get("api_key")
    if (api_key is None and overview.configured) or form.validate():
        try:
            after = connect.connect(*here(), api_key)
            if overview.connected:
                flash(*replaced(overview, after))
            return redirect(url_for(".settings", connected="yes"), 303)
        except (RefusedInput, MailchimpError) as error:
            form.api_key.errors = [said(error)]
    return _page(overview, connect_form=form)


def replaced(before: Overview, after: Overview) -> tuple[str, str]:
    """What came of another key or login, and how good that is."""
    lists = [{row.list_id for row in one.lists if not row.gone} for one in (before, after)]
    is_other = bool(lists[0]) and not lists[0] & lists[1]
    if is_other and after.by_login:
        return (
            _(
                "You logged in to another account, with other lists. Look whether the master list is "
                "the right one."
            ),
            "warning",
        )
    if is_other:
        return (
            _(
                "This key belongs to another account, with other lists. Look whether the master list is "
                "the right one."
            ),
            "warning",
        )
    if after.by_login:
        return _("Mailchimp is connected anew. Everything else stays as it was."), "success"
    return _("The key was replaced. Everything else stays as it was."), "success"


def _save(overview: Overview) -> Answer:
    form = SettingsForm.of(overview)
    if not form.validate():
        return _page(overview, settings_form=form)
    chosen = form.settings()
    how, _sep, for_list = request.form.get("go", "").partition(":")
    meant = _untold(overview, chosen) if for_list != chosen.master_list else None
    if meant is not None:
        return _page(overview, settings_form=form, meant=meant)
    try:
        after = connect.save_settings(*here(), chosen, ask_first=how == "preview")
    except RefusedInput as error:
        form.form_errors.append(error.args[0])
        return _page(overview, settings_form=form)
    flash(_saved(overview, after), "success")
    if after.first and not overview.first:
        return redirect(url_for(".activity", _anchor="sync"), 303)
    return redirect(url_for(".settings"), 303)


def _untold(overview: Overview, chosen: Settings) -> NewMaster | None:
    """What another master list means for people who are in the one before, or will be in the new one."""
    if not chosen.enabled or chosen.master_list in (None, overview.settings.master_list):
        return None
    meant = consequences.of_new_master(*here(), chosen.master_list)
    is_news = meant is not None and (overview.settings.enabled or meant.left)
    return meant if is_news else None


def _saved(before: Overview, after: Overview) -> str:
    enabled, was = after.settings.enabled, before.settings.enabled
    if after.first and not before.first:
        return _(
            "Settings saved. It is being counted what the sync would change: nothing is changed before "
            "you say so."
        )
    if before.sync_paused and enabled and not was and not after.sync_paused:
        return _("Settings saved. The sync that was paused goes on.")
    if enabled and (not was or after.settings.master_list != before.settings.master_list):
        return _("Settings saved. The initial sync has begun: see Activity for how far it is.")
    if was and not enabled:
        return _(
            "Settings saved. The integration is off: only opt-outs are still told to Mailchimp."
        )
    return _("Settings saved.")


def refresh_lists() -> Response:
    """Fetch the account's lists; the page then shows what changed."""
    changes = attempt(connect.refresh)
    if changes is not None:
        flash(_fetched(changes), "success")
    return redirect(url_for(".settings", _anchor="lists"), 303)


def _fetched(changes: ListChanges) -> str:
    if changes.none:
        return _("Lists fetched. Nothing changed since they were stored.")
    return _("Lists fetched. See what changed below, then store the lists to keep it.")


def store_lists() -> Response:
    """Keep what the last refresh fetched."""
    if attempt(connect.store_lists) is not None:
        flash(_("Lists stored."), "success")
    return redirect(url_for(".settings", _anchor="lists"), 303)


def repair_webhooks() -> Response:
    """Have the webhooks checked and registered again where they are missing."""
    attempt(_repair)
    return redirect(url_for(".settings", _anchor="lists"), 303)


def _repair(services: Services, tenant: str) -> None:
    acts.repair_webhooks(services, tenant)
    flash(_("The webhooks are checked now, and mended where they have to be."), "success")


def rotate_webhooks() -> Response:
    """Have the webhooks registered anew, with new secret addresses."""
    attempt(_rotate)
    return redirect(url_for(".settings", _anchor="lists"), 303)


def _rotate(services: Services, tenant: str) -> None:
    acts.repair_webhooks(services, tenant, anew=True)
    flash(
        _(
            "The webhooks get new secret addresses now. If Mailchimp can’t reach one, it is said in "
            "the table below."
        ),
        "success",
    )


def read_fields() -> Response:
    """Look at Mailchimp which merge fields the lists have."""
    attempt(_read_fields)
    return redirect(url_for(".settings", _anchor="fields"), 303)


def _read_fields(services: Services, tenant: str) -> None:
    connect.read_fields(services, tenant)
    flash(_("The fields below are as Mailchimp has them now."), "success")


def create_fields() -> Response:
    """Make the merge fields at Mailchimp that we send and the lists don't have."""
    made = attempt(connect.create_fields)
    if made:
        flash(
            ngettext(
                "Made at Mailchimp: %(tags)s. It is filled in as customers change.",
                "Made at Mailchimp: %(tags)s. They are filled in as customers change.",
                len(made),
                tags=", ".join(made),
            ),
            "success",
        )
    elif made is not None:
        flash(_("No field is missing at Mailchimp."), "info")
    return redirect(url_for(".settings", _anchor="fields"), 303)


def moved() -> Answer:
    """The same site, at another place: it goes on from here, once the box that confirms it is ticked."""
    form = MovedForm()
    if not form.validate():
        return _page(overviews.read(*here()), moved_form=form)
    if attempt(connect.moved):
        flash(_("The integration goes on from here. A sync compares both sides."), "success")
    return redirect(url_for(".settings"), 303)


def disconnect() -> Answer:
    """End the connection, once the box that confirms it is ticked."""
    form = DisconnectForm()
    overview = overviews.read(*here())
    if not form.validate():
        return _page(overview, disconnect_form=form)
    left = attempt(connect.disconnect)
    if left is not None and overview.other_site:
        flash(_("Mailchimp is disconnected here. The other site was left as it is."), "success")
    elif left is not None:
        flash(_("Mailchimp is disconnected."), "success")
    if left:
        flash(
            _(
                "The webhook of these lists could not be removed at Mailchimp; remove it there under "
                "Audience → Settings → Webhooks: %(lists)s.",
                lists=", ".join(left),
            ),
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
    meant: NewMaster | None = None,
) -> Answer:
    sent = connect_form or settings_form or disconnect_form or moved_form
    refused = None if meant else sent
    page = render(
        "settings.html",
        overview=overview,
        connect_form=connect_form or ConnectForm(formdata=None),
        settings_form=settings_form or _unsent(overview),
        disconnect_form=disconnect_form or DisconnectForm(formdata=None),
        moved_form=moved_form or MovedForm(formdata=None),
        problems=_problems(refused),
        meant=meant,
        most=consequences.MOST,
        goodbye=consequences.of_disconnecting(*here()),
        rings=overviews.last_rings(*here()),
        next_daily=_next_daily(overview),
        zones=zones(),
        just_connected=overview.connected and request.args.get("connected") == "yes",
    )
    return (page, 422) if refused else page


def _next_daily(overview: Overview) -> str:
    """The next daily sync as a clock on the wall of its zone has it."""
    if overview.next_daily_at is None:
        return ""
    zone = ZoneInfo(overview.settings.daily_zone)
    return f"{overview.next_daily_at.astimezone(zone):%Y-%m-%d %H:%M}"


def _unsent(overview: Overview) -> SettingsForm:
    return SettingsForm.of(overview, formdata=None)


def _problems(form: Form | None) -> list[tuple[str, str]]:
    """For the summary: a field's id and what is wrong with it."""
    if form is None:
        return []
    of_fields = [(field.id, said(text)) for field in form for text in field.errors]
    return of_fields + [("", said(text)) for text in form.form_errors]
