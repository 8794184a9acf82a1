"""The activity page: is it healthy, how far is the sync, who needs attention, what happened. Edge.

Works without JavaScript: the page then reloads itself while a sync runs. The script asks for the
same figures as JSON, and for the page once more when the sync ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import flash, jsonify, redirect, request, url_for
from sqlalchemy.exc import DBAPIError
from werkzeug.wrappers import Response

from .. import acts, attention, figures, health, overviews, runs, state
from ..health import Check
from ..i18n import gettext as _
from ..runs import Progress
from ..services import Services
from . import words
from .show import attempt, here, render, row_id

_SHOWN = 3  # customers that need attention, of each reason
_PERIODS = (7, 30, 90)  # days; syncs that ended are kept for no longer, unless somebody says so


@dataclass(frozen=True, kw_only=True)
class Syncs:
    """The last syncs, sorted by what the page does with them.

    :param running: the one at work; what is planned behind it is in :attr:`past`.
    :param paused: the one that a person paused.
    :param waiting: one that stopped for a person.
    :param older: the id before which there may be more.
    """

    running: Progress | None
    paused: Progress | None
    waiting: Progress | None
    past: tuple[Progress, ...]
    older: int | None

    @property
    def current(self) -> Progress | None:
        """The one whose progress is shown."""
        return self.running or self.paused


@dataclass(frozen=True, kw_only=True)
class Way:
    """Where something is done about a finding.

    :param values: what a button sends; None: it is a link.
    """

    text: str
    url: str
    values: dict[str, str] | None


def activity() -> str:
    """Everything that happened, and what to do next."""
    services, tenant = here()
    found = health.checks(state.current(), tenant)
    if found[0].level == health.ERROR:  # without tables there is nothing else to read
        return render("activity.html", checks=found, worst=found[0], overview=None, ways={})
    days = request.args.get("days", type=int)
    days = days if days in _PERIODS else 30
    lists = figures.lists(services, tenant)
    return render(
        "activity.html",
        checks=found,
        worst=health.worst(found),
        ways=_ways(found),
        overview=overviews.read(services, tenant),
        syncs=_syncs(services, tenant, before=row_id(request.args.get("before"))),
        now=services.now(),
        live=request.args.get("refresh") != "off",
        groups=attention.first_of_each(services, tenant, _SHOWN),
        periods=_PERIODS,
        days=days,
        decisions=figures.decisions(services, tenant, days),
        subscribed=figures.subscribed(services, tenant, days, lists),
        lists=lists,
        rings=figures.rings(services, tenant, 5),
        latest=figures.latest(services, tenant, 5),
    )


def without_tables(error: DBAPIError) -> tuple[str, int]:
    """A page asked for before the host's database has our tables says so; other errors stay."""
    found = health.checks(state.current(), "")[0]
    if found.level != health.ERROR:
        raise error
    return render("activity.html", checks=[found], worst=found, overview=None, ways={}), 503


def _ways(found: list[Check]) -> dict[str, Way]:
    """Where something is done about what is not in order, by the finding's code."""
    ways = {}
    for check in found:
        if check.level != health.OK and check.code in words.WAYS:
            text, endpoint, anchor, values = words.WAYS[check.code]
            url = url_for(f".{endpoint}", _anchor=anchor)
            ways[check.code] = Way(text=_(text), url=url, values=values)
    return ways


def progress() -> Response:
    """The running sync, for the script; ``run`` is null when none is.

    What is said of the one that the page shows, should it have ended, is said once.
    """
    syncs, shown = _syncs(*here()), row_id(request.args.get("run"))
    run = syncs.running
    if run is not None and shown in (run.run_id, None):
        texts = {one.__name__: one(run) for one in (words.step, words.phase, words.pace)}
        return jsonify(run=run.run_id, percent=run.percent, said=words.spoken(run), **texts)
    ended = (one for one in (*syncs.past, syncs.waiting, syncs.paused) if one)
    end = next((words.end(one) for one in ended if one.run_id == shown), "")
    return jsonify(run=None if run is None else run.run_id, said=end)


def _syncs(services: Services, tenant: str, *, before: int | None = None) -> Syncs:
    with services.begin() as tx:
        connection = overviews.find(tx, services, tenant)
        last = [] if connection is None else runs.progress(tx, services, connection.id)
        past = last
        if connection is not None and before is not None:
            past = runs.progress(tx, services, connection.id, before=before)
    running = next((run for run in reversed(last) if run.state == runs.RUNNING), None)
    paused = next((run for run in reversed(last) if run.paused), None)
    waiting = next((run for run in last if run.state == runs.WAITING and not run.paused), None)
    return Syncs(
        running=running,
        paused=paused,
        waiting=waiting,
        past=tuple(run for run in past if run not in (running, paused, waiting)),
        older=past[-1].run_id if len(past) == runs.PAGE else None,
    )


def sync_now() -> Response:
    """Start a sync, or a preview that changes nothing."""
    preview = request.form.get("kind") == "preview"
    if attempt(acts.start_sync, "preview" if preview else "manual") is not None:
        flash(_("The preview has begun.") if preview else _("The sync has begun."), "success")
    return _back("sync")


def pause_sync() -> Response:
    """Pause what runs; opt-outs still go out."""
    _tell(acts.pause_sync, _("The sync is paused. Opt-outs still go out."))
    return _back("sync")


def resume_sync() -> Response:
    """Let a paused or stopped sync go on."""
    _tell(acts.resume_sync, _("The sync goes on."))
    return _back("sync")


def cancel_sync() -> Response:
    """Cancel the syncs that run or wait."""
    _tell(acts.cancel_sync, _("The sync is cancelled. What was sent already stays."))
    return _back("sync")


def _tell(act: Any, message: str) -> None:
    def told(services: Services, tenant: str) -> bool:
        act(services, tenant)
        return True

    if attempt(told):
        flash(message, "success")


def _back(anchor: str) -> Response:
    return redirect(url_for(".activity", _anchor=anchor), 303)
