"""Health: what ``doctor``, ``status`` and the activity page all read. Edge; asks nobody but Redis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from redis.exceptions import RedisError
from rq import Worker
from sqlalchemy import Row, inspect, select

from . import attention, jobs, overviews, site
from .models import PREFIX
from .overviews import Overview
from .services import Services, Transaction
from .state import State
from .vault import CannotDecrypt

OK, WARNING, ERROR = "ok", "warning", "error"


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
    found = [tables, _connection(state.services, overview), _public_url(state)]
    if overview.connected and not overview.other_site:  # a copy has neither of its own
        found += [_lists(overview), _webhook(overview)]
    found += _queue(state)
    if overview.connected:
        found += [_waiting(state.services, tenant), _attention(state.services, tenant)]
        found.append(_last_sync(state.services, overview))
    return found


def worst(found: list[Check]) -> Check | None:
    """The one finding to act on first; None if all is well."""
    for level in (ERROR, WARNING):
        for check in found:
            if check.level == level:
                return check
    return None


def _tables(state: State) -> Check:
    with state.services.begin() as tx:
        there = set(inspect(tx.connection).get_table_names())
        ours = {table.name: table for table in vars(state.services.tables).values()}
        missing = sorted(set(ours) - there)
    if missing:
        return Check(
            code="tables",
            level=ERROR,
            text=f"{len(missing)} tables named {PREFIX}* are missing.",
            hint="Run `flask db migrate` and `flask db upgrade`, or db.create_all().",
        )
    return Check(code="tables", level=OK, text="All tables are there.")


def _connection(services: Services, overview: Overview) -> Check:
    if not overview.connected:
        enter = "Press “Connect”" if overview.configured else "Enter an API key"
        return Check(
            code="connection",
            level=WARNING,
            text="Mailchimp is not connected.",
            hint=f"{enter} on the settings page, or run `flask mailchimp connect`.",
        )
    if overview.other_site:
        return Check(
            code="site",
            level=ERROR,
            text=overview.other_site,
            hint=f"{site.SAY_FIRST} Or run `flask mailchimp moved`, or `flask mailchimp disconnect`.",
        )
    if overview.other_key:
        return Check(
            code="connection",
            level=ERROR if overview.suspended else WARNING,
            text="MAILCHIMP_OPTIN_API_KEY is another key than the one that was connected.",
            hint="Press “Connect again” on the settings page, or run `flask mailchimp connect`.",
        )
    if overview.suspended:
        return Check(
            code="connection",
            level=ERROR,
            text=overview.suspended,
            hint="Enter a good API key. All changes are kept until then.",
        )
    problem = _sealed(services, overview.tenant)
    if problem is not None:
        return Check(code="connection", level=ERROR, text=problem, hint="")
    if not overview.settings.enabled:
        return Check(
            code="connection",
            level=WARNING,
            text=f"Connected with {overview.account_name}, but not enabled.",
            hint="Enable the integration in the settings.",
        )
    name = overview.account_name
    return Check(code="connection", level=OK, text=f"Connected with {name} and enabled.")


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
            text="MAILCHIMP_OPTIN_PUBLIC_URL is not set.",
            hint="Set it to this site's public address, so that Mailchimp's webhook can reach it.",
        )
    return Check(
        code="public_url",
        level=OK,
        text=f"Mailchimp reaches this site at {state.config.PUBLIC_URL}.",
    )


def _lists(overview: Overview) -> Check:
    master = overview.master
    if not overview.lists:
        return Check(
            code="lists",
            level=WARNING,
            text="The Mailchimp account has no lists (audiences).",
            hint="Create one in Mailchimp, then refresh and store the lists.",
        )
    if master is None or master.gone:
        return Check(
            code="lists",
            level=ERROR,
            text="The master list is gone at Mailchimp. No checkbox was changed because of that.",
            hint="Refresh and store the lists, then choose a master list.",
        )
    return Check(code="lists", level=OK, text=f"The master list is {master.name}.")


def _webhook(overview: Overview) -> Check:
    for row in overview.lists:
        if row.webhook == "problem":
            return Check(
                code="webhook",
                level=WARNING,
                text=f"{row.name}: {row.webhook_problem}",
                hint="Mend it, then repair the webhook.",
            )
    if any(row.webhook == "waiting" for row in overview.lists):
        return Check(code="webhook", level=WARNING, text="The webhook is being registered.")
    if any(row.webhook == "ok" for row in overview.lists):
        return Check(code="webhook", level=OK, text="The webhook is registered.")
    return Check(code="webhook", level=WARNING, text="No webhook is registered yet.")


def _queue(state: State) -> list[Check]:
    """Redis, and a worker that listens on our queue."""
    try:
        workers = Worker.all(queue=jobs.queue(state.config.QUEUE, state.redis))
        waiting = jobs.queue(state.config.QUEUE, state.redis).count
    except (RedisError, OSError):
        return [
            Check(
                code="redis",
                level=ERROR,
                text="Redis can't be reached.",
                hint="Start Redis, or mend MAILCHIMP_OPTIN_REDIS_URL. Nothing is lost meanwhile.",
            )
        ]
    redis = Check(code="redis", level=OK, text="Redis answers.")
    if not workers:
        return [
            redis,
            Check(
                code="worker",
                level=ERROR,
                text="No worker is running.",
                hint="Start one with `flask mailchimp worker`. Nothing is lost meanwhile.",
            ),
        ]
    text = (
        f"{len(workers)} worker{'s' if len(workers) > 1 else ''} running, {waiting} jobs waiting."
    )
    return [redis, Check(code="worker", level=OK, text=text)]


def _waiting(services: Services, tenant: str) -> Check:
    with services.begin() as tx:
        connection: Any = overviews.find(tx, services, tenant)
        number = overviews.waiting_changes(tx, services, connection)
        late = _wait_too_long(tx, services, connection)
    if late:
        return Check(
            code="changes",
            level=WARNING,
            text=f"{number} changes wait, the oldest for more than ten minutes.",
            hint="Look whether a worker is running, with the same configuration as this site.",
        )
    return Check(code="changes", level=OK, text=f"{number} changes wait to be sent.")


def _wait_too_long(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    """Whether a change nobody looked at, or a no, which never waits, is older than ten minutes."""
    since = services.now() - timedelta(minutes=10)
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
            text="1 customer needs attention."
            if number == 1
            else f"{number} customers need attention.",
            hint="The list on the activity page says why and what to do.",
        )
    return Check(code="attention", level=OK, text="Nobody needs attention.")


def _last_sync(services: Services, overview: Overview) -> Check:
    if overview.synced_at is None:
        return Check(code="sync", level=OK, text="No sync has finished yet.")
    text = f"Last complete sync: {overview.synced_at:%Y-%m-%d %H:%M} UTC."
    if overview.settings.enabled and services.now() - overview.synced_at > timedelta(hours=26):
        return Check(
            code="sync",
            level=WARNING,
            text=text,
            hint="The daily sync is overdue: check the worker.",
        )
    return Check(code="sync", level=OK, text=text)
