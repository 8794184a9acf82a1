"""Health: what ``doctor`` and the activity page both read. Edge; asks nobody but Redis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Inspector, Row, inspect, select
from sqlalchemy.exc import OperationalError, ProgrammingError

from . import attention, jobs, overviews, reconcile, runs, site
from .config import in_the_clear
from .models import PREFIX, all_there
from .overviews import Overview
from .services import Services, Transaction
from .state import State
from .texts import N_, Text
from .vault import CannotDecrypt

OK, WARNING, ERROR = "ok", "warning", "error"
#: What waits longer has nobody who works it off.
LATE = timedelta(minutes=10)
LATES_HINT = N_("Look whether a worker is running, with the same configuration as this site.")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding.

    :param code: a stable word, such as ``worker``.
    :param level: ``ok``, ``warning`` or ``error``.
    :param text: what is, in plain words.
    :param hint: what to do; "" if nothing has to be done.
    """

    code: str
    level: str
    text: str
    hint: str = ""


def checks(state: State, tenant: str) -> list[Check]:
    """Everything worth knowing about a tenant's integration, most basic first."""
    tables = _tables(state)
    if tables.level == ERROR:
        return [tables]
    overview = overviews.read(state.services, tenant)
    found = [tables, _connection(state.services, overview)]
    if overview.connected:
        found += _stopped(state.services, tenant)
    found.append(_public_url(state))
    if overview.connected and not overview.other_site:  # a copy has neither of its own
        found += [_lists(overview), _webhook(overview)]
    found += _queue(state)
    if overview.connected:
        found += [_waiting(state.services, tenant), _last_sync(state.services, overview)]
        found.append(_attention(state.services, tenant))
    return found


def worst(found: list[Check]) -> Check | None:
    """The one finding to act on first; None if all is well."""
    for level in (ERROR, WARNING):
        for check in found:
            if check.level == level:
                return check
    return None


def _tables(state: State) -> Check:
    services = state.services
    try:
        with services.begin(of_one_row=True) as tx:
            tx.value(all_there(services.tables))
    except (OperationalError, ProgrammingError):
        found = _missing(services)
        if found is None:
            raise
        return found
    return Check(code="tables", level=OK, text=N_("All tables are there."))


def _missing(services: Services) -> Check | None:
    """What of our tables isn't there."""
    tables = {table.name: table for table in vars(services.tables).values()}
    with services.begin() as tx:
        look = inspect(tx.connection)
        missing = set(tables) - set(look.get_table_names())
        columns = [
            f"{name}.{column}"
            for name in sorted(set(tables) - missing)
            for column in sorted(set(tables[name].c.keys()) - _columns(look, name))
        ]
    if missing:
        return Check(
            code="tables",
            level=ERROR,
            text=Text("%(n)s tables named %(prefix)s* are missing.", n=len(missing), prefix=PREFIX),
            hint=N_("Run `flask db migrate` and `flask db upgrade`, or db.create_all()."),
        )
    if columns:
        return Check(
            code="columns",
            level=ERROR,
            text=Text("Columns are missing: %(columns)s.", columns=", ".join(columns)),
            hint=N_(
                "After an upgrade of the package, run `flask db migrate` and `flask db upgrade`."
            ),
        )
    return None


def _columns(look: Inspector, table: str) -> set[str]:
    return {str(column["name"]) for column in look.get_columns(table)}


def _connection(services: Services, overview: Overview) -> Check:
    if not overview.connected:
        hint = N_("Enter an API key on the settings page, or run `flask mailchimp connect`.")
        if overview.configured:
            hint = N_("Press “Connect” on the settings page, or run `flask mailchimp connect`.")
        return Check(
            code="connection",
            level=WARNING,
            text=N_("Mailchimp is not connected."),
            hint=hint,
        )
    if overview.other_site:
        return Check(
            code="site",
            level=ERROR,
            text=overview.other_site,
            hint=Text(
                "%(first)s Or run `flask mailchimp moved`, or `flask mailchimp disconnect`.",
                first=site.SAY_FIRST,
            ),
        )
    if overview.other_key:
        return Check(
            code="connection",
            level=ERROR if overview.suspended else WARNING,
            text=N_("MAILCHIMP_OPTIN_API_KEY is another key than the one that was connected."),
            hint=N_(
                "Press “Connect again” on the settings page, or run `flask mailchimp connect`."
            ),
        )
    if overview.suspended:
        return Check(
            code="connection",
            level=ERROR,
            text=overview.suspended,
            hint=N_("Connect again on the settings page. All changes are kept until then.")
            if overview.by_login
            else N_("Enter a good API key. All changes are kept until then."),
        )
    problem = _sealed(services, overview.tenant)
    if problem is not None:
        return Check(code="connection", level=ERROR, text=problem, hint="")
    if not overview.settings.enabled:
        return _off(services, overview)
    name = overview.account_name
    text = Text("Connected with %(name)s and enabled.", name=name)
    if overview.by_login:
        text = Text("Connected with %(name)s by its login (OAuth) and enabled.", name=name)
    return Check(code="connection", level=OK, text=text)


def _off(services: Services, overview: Overview) -> Check:
    with services.begin() as tx:
        connection: Any = overviews.find(tx, services, overview.tenant)
        is_paused = bool(runs.paused(tx, services, connection.id))
    if is_paused:
        return Check(
            code="paused",
            level=WARNING,
            text=N_("The sync is paused: only opt-outs go out, and no checkbox changes here."),
            hint=N_("Resume it when it may go on; it goes on where it was."),
        )
    return Check(
        code="connection",
        level=WARNING,
        text=Text("Connected with %(name)s, but not enabled.", name=overview.account_name),
        hint=N_("Enable the integration in the settings."),
    )


def _sealed(services: Services, tenant: str) -> str | None:
    with services.begin() as tx:
        connection = overviews.find(tx, services, tenant)
    try:
        if connection is not None:
            services.vault.open(connection.sealed_key, f"api-key:{tenant}")
    except CannotDecrypt as error:
        return str(error)
    return None


def _public_url(state: State) -> Check:
    if state.config.PUBLIC_URL is None:
        return Check(
            code="public_url",
            level=WARNING,
            text=N_("MAILCHIMP_OPTIN_PUBLIC_URL is not set."),
            hint=N_(
                "Set it to this site's public address, so that Mailchimp's webhook can reach it."
            ),
        )
    if in_the_clear(state.config.PUBLIC_URL):
        return Check(
            code="public_url",
            level=WARNING,
            text=N_(
                "MAILCHIMP_OPTIN_PUBLIC_URL begins with http://: webhooks can be read on the way."
            ),
            hint=N_("Serve the site over HTTPS, and begin the setting with https://."),
        )
    return Check(
        code="public_url",
        level=OK,
        text=Text("Mailchimp reaches this site at %(url)s.", url=state.config.PUBLIC_URL),
    )


def _lists(overview: Overview) -> Check:
    master = overview.master
    if not overview.lists:
        return Check(
            code="lists",
            level=WARNING,
            text=N_("The Mailchimp account has no lists (audiences)."),
            hint=N_("Create one in Mailchimp, then refresh and store the lists."),
        )
    if master is None or master.gone:
        return Check(
            code="lists",
            level=ERROR,
            text=N_(
                "The master list is gone at Mailchimp. No checkbox was changed because of that."
            ),
            hint=N_("Refresh and store the lists, then choose a master list."),
        )
    return Check(
        code="lists", level=OK, text=Text("The master list is %(name)s.", name=master.name)
    )


def _webhook(overview: Overview) -> Check:
    for row in overview.lists:
        if row.webhook == "problem":
            return Check(
                code="webhook",
                level=WARNING,
                text=Text("%(list)s: %(problem)s", list=row.name, problem=row.webhook_problem),
                hint=N_("Mend it, then repair the webhook."),
            )
    if any(row.webhook == "waiting" for row in overview.lists):
        return Check(code="webhook", level=WARNING, text=N_("The webhook is being registered."))
    if any(row.webhook == "ok" for row in overview.lists):
        return Check(code="webhook", level=OK, text=N_("The webhook is registered."))
    return Check(code="webhook", level=WARNING, text=N_("No webhook is registered yet."))


def _queue(state: State) -> list[Check]:
    """Redis, and a worker that listens on our queue."""
    try:
        workers, waiting = jobs.crew(state.config, state.redis)
    except Exception as error:  # whatever others wrote there is no fault of the page's
        return [_no_redis(error)]
    redis = Check(code="redis", level=OK, text=N_("Redis answers."))
    if not workers:
        return [
            redis,
            Check(
                code="worker",
                level=ERROR,
                text=N_("No worker is running."),
                hint=N_("Start one with `flask mailchimp worker`. Nothing is lost meanwhile."),
            ),
        ]
    text = Text("Workers that run: %(n)s. Jobs that wait: %(jobs)s.", n=workers, jobs=waiting)
    return [redis, Check(code="worker", level=OK, text=text)]


def _no_redis(error: Exception) -> Check:
    text = N_("What Redis holds of the workers can't be read.")
    hint = N_(
        "Look who else writes to the database that MAILCHIMP_OPTIN_REDIS_URL names, and give us one of "
        "our own. Nothing is lost meanwhile."
    )
    if isinstance(error, (RedisError, OSError)) and not isinstance(error, ResponseError):
        text = N_("Redis can't be reached.")
        hint = N_("Start Redis, or mend MAILCHIMP_OPTIN_REDIS_URL. Nothing is lost meanwhile.")
    return Check(code="redis", level=ERROR, text=text, hint=hint)


def _stopped(services: Services, tenant: str) -> list[Check]:
    """A sync that stopped by itself: only a person can let it go on."""
    with services.begin() as tx:
        connection: Any = overviews.find(tx, services, tenant)
        if reconcile.waiting(tx, services, connection.id) is None:
            return []
    text = N_("A sync has stopped before it changed anything, and waits for you.")
    hint = N_("Look at what it would change, then continue or cancel.")
    return [Check(code="stopped", level=WARNING, text=text, hint=hint)]


def _waiting(services: Services, tenant: str) -> Check:
    with services.begin() as tx:
        connection: Any = overviews.find(tx, services, tenant)
        number = overviews.waiting_changes(tx, services, connection)
        late = _wait_too_long(tx, services, connection)
    if late:
        return Check(
            code="changes",
            level=WARNING,
            text=Text("Changes that wait: %(n)s, the oldest for more than ten minutes.", n=number),
            hint=LATES_HINT,
        )
    text = Text("Changes that wait to be sent: %(n)s.", n=number)
    return Check(code="changes", level=OK, text=text)


def _wait_too_long(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    """Whether a change nobody looked at, or a no, which never waits, is older than ten minutes."""
    since = services.now() - LATE
    outbox, contact = services.tables.outbox, services.tables.contact
    unread = select(outbox.c.id).where(
        outbox.c.tenant == connection.tenant, outbox.c.created_at < since
    )
    nos = select(contact.c.id).where(
        contact.c.connection_id == connection.id,
        contact.c.wanted.is_(False),
        contact.c.decided_version > contact.c.settled_version,
        contact.c.due_at < since,
    )
    return any(tx.row(query.limit(1)) is not None for query in (unread, nos))


def _attention(services: Services, tenant: str) -> Check:
    number = attention.count(services, tenant)
    if number:
        return Check(
            code="attention",
            level=WARNING,
            text=Text("Customers that need attention: %(n)s.", n=number),
            hint=N_("The list on the activity page says why and what to do."),
        )
    return Check(code="attention", level=OK, text=N_("Nobody needs attention."))


def _last_sync(services: Services, overview: Overview) -> Check:
    if overview.synced_at is None:
        return Check(code="sync", level=OK, text=N_("No sync has finished yet."))
    at = f"{overview.synced_at:%Y-%m-%d %H:%M} UTC"
    if overview.settings.enabled and services.now() - overview.synced_at > timedelta(hours=26):
        return Check(
            code="sync",
            level=WARNING,
            text=Text("The daily sync is overdue: the last complete one was at %(at)s.", at=at),
            hint=N_("Sync now. If it does not begin, look whether a worker is running."),
        )
    return Check(code="sync", level=OK, text=Text("Last complete sync: %(at)s.", at=at))
