"""``doctor``: what the activity page knows, and what only somebody can find out who has time. Edge.

Asks Mailchimp, our own public address and the database's clock, which no page waits for. Its texts are
for the command line alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.exc import SQLAlchemyError

from . import acts, hooks, overviews
from .client import Client
from .errors import KeyRefused, MailchimpError, NotFound, PermissionDenied
from .health import ERROR, LATE, LATES_HINT, OK, WARNING, Check, checks
from .models import utc
from .services import Services, database_now
from .state import State
from .transport import own_answer
from .vault import CannotDecrypt

#: Of two clocks. The rule compares times to within 120 s.
_APART = timedelta(seconds=30)
_KNOCK_S = 10.0


def examine(state: State, tenant: str, *, offline: bool = False) -> list[Check]:
    """All that can be found out about a tenant's integration, most basic first.

    :param offline: ask neither Mailchimp nor our own public address.
    """
    try:
        found = checks(state, tenant)
        if found[0].level == OK:  # without tables there is nothing else to look at
            found += _more(state, tenant, offline)
        return found
    except SQLAlchemyError as error:
        return [
            Check(
                code="database",
                level=ERROR,
                text=f"The database does not answer as it should: {type(error).__name__}.",
                hint="Look at SQLALCHEMY_DATABASE_URI, and whether the database runs.",
            )
        ]


def _more(state: State, tenant: str, offline: bool) -> Iterator[Check]:
    services = state.services
    yield _clock(services)
    yield _keys(services)
    overview = overviews.read(services, tenant)
    if not overview.connected or overview.other_site:  # a copy is not to speak for the other site
        return
    with services.begin() as tx:
        connection: Any = overviews.find(tx, services, tenant)
    yield _rings(services, connection)
    if not offline:
        if state.config.PUBLIC_URL is not None:
            yield _reachable(services)
        yield from _at_mailchimp(services, connection)


# Here


def _clock(services: Services) -> Check:
    with services.begin() as tx:
        tx.value(select(1))  # connecting takes its time
        before = services.now()
        there = database_now(tx)
        after = services.now()
    return _compared("clock", "the database's", before, there, after)


def _compared(code: str, whose: str, before: datetime, there: datetime, after: datetime) -> Check:
    """How far a clock is from ours, that was asked for the time between two moments."""
    apart = max(there - after, before - there, timedelta(0))
    if apart <= _APART:
        return Check(code=code, level=OK, text=f"This machine's clock agrees with {whose}.")
    side = "behind" if there > after else "ahead of"
    return Check(
        code=code,
        level=WARNING,
        text=f"This machine's clock is {apart.total_seconds():,.0f} s {side} {whose}.",
        hint="Set the clocks by NTP: which decision came last is told by them.",
    )


def _keys(services: Services) -> Check:
    found = acts.sealed(services)
    if found.lost:
        return Check(
            code="keys",
            level=ERROR,
            text=f"{found.lost} of {found.number} stored secrets can't be decrypted.",
            hint="Put the encryption key that was in use back into MAILCHIMP_OPTIN_ENCRYPTION_KEYS, "
            "at its end, or connect again.",
        )
    if found.older:
        return Check(
            code="keys",
            level=WARNING,
            text=f"{found.older} of {found.number} stored secrets are sealed with an older key.",
            hint="Run `flask mailchimp rotate-keys`; then the older key may go.",
        )
    text = f"All {found.number} stored secrets are sealed with the newest encryption key."
    return Check(code="keys", level=OK, text=text)


def _rings(services: Services, connection: Row[Any]) -> Check:
    events, audiences = services.tables.webhook_event, services.tables.audience
    with services.begin() as tx:
        found: Any = tx.row(
            select(func.count(), func.min(events.c.received_at))
            .join(audiences, audiences.c.id == events.c.audience_id)
            .where(audiences.c.connection_id == connection.id, events.c.outcome.is_(None))
        )
    number, oldest = found
    if oldest is not None and services.now() - utc(oldest) > LATE:
        return Check(
            code="rings",
            level=WARNING,
            text=f"Webhooks that wait: {number:,}, the oldest for more than ten minutes.",
            hint=LATES_HINT,
        )
    text = f"Webhooks that wait to be looked at: {number:,}."
    return Check(code="rings", level=OK, text=text)


# Our own address


def _reachable(services: Services) -> Check:
    url = hooks.knock(services)
    assert url is not None  # noqa: S101  # nosec B101  # there is a public address
    answer = own_answer(url, min(_KNOCK_S, services.config.TIMEOUT_S))
    if answer == (200, f"{hooks.AT_HOME}\n".encode()):
        return Check(code="reachable", level=OK, text="This site answers at its public address.")
    said = "did not answer in time" if answer is None else f"answered {answer[0]}, and not as ours"
    return Check(
        code="reachable",
        level=WARNING,
        text=f"{services.config.PUBLIC_URL} {said}, asked from here.",
        hint="Look whether the site runs there with the same MAILCHIMP_OPTIN_ENCRYPTION_KEYS, and what "
        "stands before it. If only this machine can't reach it, Mailchimp still may.",
    )


# Mailchimp


def _at_mailchimp(services: Services, connection: Row[Any]) -> Iterator[Check]:
    try:
        client = services.client(connection)
    except CannotDecrypt:
        return  # "keys" has said so
    with client:
        before = services.now()
        accepted = _accepted(client)
        after = services.now()
        yield accepted
        if client.clock is not None:
            yield _mailchimps_clock(client.clock, before, after)
        if accepted.level == OK:
            yield from _lists(services, connection, client)


def _accepted(client: Client) -> Check:
    try:
        name = client.account().name
    except (KeyRefused, PermissionDenied) as error:
        hint = "Enter a good API key. All changes are kept until then."
        return Check(code="api_key", level=ERROR, text=str(error), hint=hint)
    except MailchimpError as error:
        return _unanswered("api_key", error)
    return Check(code="api_key", level=OK, text=f"Mailchimp accepts the API key, of {name}.")


def _unanswered(code: str, error: MailchimpError) -> Check:
    hint = "Try again in a while; if it stays, look at this machine's way to Mailchimp."
    if error.request_id:
        hint += f" Mailchimp's support can be asked about the request {error.request_id}."
    return Check(code=code, level=WARNING, text=str(error), hint=hint)


def _mailchimps_clock(there: datetime, before: datetime, after: datetime) -> Check:
    # It tells whole seconds, without what came after them.
    begun = before.replace(microsecond=0)
    return _compared("mailchimp_clock", "Mailchimp's", begun, there, after)


def _lists(services: Services, connection: Row[Any], client: Client) -> Iterator[Check]:
    table = services.tables.audience
    with services.begin() as tx:
        rows = tx.rows(
            select(table)
            .where(table.c.connection_id == connection.id, hooks.targets(services, connection))
            .order_by(table.c.id)
        )
    for row in rows:
        there = _asked("list_there", partial(_list_there, client, row))
        yield there
        if there.level == OK and services.config.PUBLIC_URL is not None:
            yield _asked("webhook_there", partial(_webhook_there, services, client, row))


def _asked(code: str, ask: Callable[[], Check]) -> Check:
    try:
        return ask()
    except MailchimpError as error:
        return _unanswered(code, error)


def _list_there(client: Client, row: Row[Any]) -> Check:
    try:
        client.audience(row.list_id)
    except NotFound:
        return Check(
            code="list_there",
            level=ERROR,
            text=f"{row.name} is gone at Mailchimp. No checkbox was changed because of that.",
            hint="Refresh and store the lists, then choose another list.",
        )
    return Check(code="list_there", level=OK, text=f"{row.name} is there at Mailchimp.")


def _webhook_there(services: Services, client: Client, row: Row[Any]) -> Check:
    if hooks.is_there(services, client, row):
        text = f"{row.name}: Mailchimp has our webhook, with this site's address."
        return Check(code="webhook_there", level=OK, text=text)
    return Check(
        code="webhook_there",
        level=WARNING,
        text=f"{row.name}: Mailchimp has not our webhook as it was registered.",
        hint="Run `flask mailchimp webhook verify`, which mends it. It is also done once a day.",
    )
