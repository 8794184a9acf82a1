"""The activity page: is it healthy, how far is the sync, who needs attention, what happened. Edge.

Works without JavaScript: the page then reloads itself while a sync runs. The script asks for the
same figures as JSON and reloads once when the sync ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import flash, jsonify, redirect, request, url_for
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from werkzeug.wrappers import Response

from .. import attention, connect, figures, health, overviews, runs, state
from ..runs import Progress
from ..services import Services
from . import words
from .guard import pages
from .show import attempt, here, render

_SHOWN = 3  # customers that need attention, of each reason


@dataclass(frozen=True, kw_only=True)
class Syncs:
    """The last syncs, sorted by what the page does with them.

    :param running: the one at work; what is planned behind it is in :attr:`past`.
    :param waiting: one that stopped for a person.
    """

    running: Progress | None
    waiting: Progress | None
    past: tuple[Progress, ...]


@pages.get("/activity")
def activity() -> str:
    """Everything that happened, and what to do next."""
    services, tenant = here()
    found = health.checks(state.current(), tenant)
    if found[0].level == health.ERROR:  # without tables there is nothing else to read
        return render("activity.html", checks=found, worst=found[0], overview=None)
    return render(
        "activity.html",
        checks=found,
        worst=health.worst(found),
        overview=overviews.read(services, tenant),
        syncs=_syncs(services, tenant),
        live=request.args.get("refresh") != "off",
        groups=attention.first_of_each(services, tenant, _SHOWN),
        days=figures.days(services, tenant),
        lists=figures.lists(services, tenant),
        rings=figures.rings(services, tenant, 5),
        now=services.now(),
        latest=figures.latest(services, tenant, 5),
    )


@pages.errorhandler(OperationalError)
@pages.errorhandler(ProgrammingError)
def _without_tables(error: DBAPIError) -> tuple[str, int]:
    """A page asked for before the host's database has our tables says so; other errors stay."""
    found = health.checks(state.current(), "")[0]
    if found.level != health.ERROR:
        raise error
    return render("activity.html", checks=[found], worst=found, overview=None), 503


@pages.get("/activity/progress")
def progress() -> Response:
    """The running sync, for the script; ``run`` is null when none is."""
    run = _syncs(*here()).running
    if run is None:
        return jsonify(run=None)
    return jsonify(run=run.run_id, percent=run.percent, text=words.phase(run))


def _syncs(services: Services, tenant: str) -> Syncs:
    with services.begin() as tx:
        connection = overviews.find(tx, services, tenant)
        last = [] if connection is None else runs.progress(tx, services, connection.id)
    running = next((run for run in reversed(last) if run.state == runs.RUNNING), None)
    waiting = next((run for run in last if run.state == runs.WAITING), None)
    past = tuple(run for run in last if run not in (running, waiting))
    return Syncs(running=running, waiting=waiting, past=past)


@pages.post("/activity/sync")
def sync_now() -> Response:
    """Start a sync, or a preview that changes nothing."""
    preview = request.form.get("kind") == "preview"
    if attempt(connect.start_sync, "preview" if preview else "manual") is not None:
        flash("The preview has begun." if preview else "The sync has begun.", "success")
    return _back("sync")


@pages.post("/activity/resume")
def resume_sync() -> Response:
    """Let a stopped sync go on."""
    _tell(connect.resume_sync, "The sync goes on.")
    return _back("sync")


@pages.post("/activity/cancel")
def cancel_sync() -> Response:
    """Cancel the syncs that run or wait."""
    _tell(connect.cancel_sync, "The sync is cancelled. What was sent already stays.")
    return _back("sync")


def _tell(act: Any, message: str) -> None:
    def told(services: Services, tenant: str) -> bool:
        act(services, tenant)
        return True

    if attempt(told):
        flash(message, "success")


def _back(anchor: str) -> Response:
    return redirect(url_for(".activity", _anchor=anchor), 303)
