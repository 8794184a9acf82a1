"""A tenant's connection as people see it: settings, lists, what a refresh found, what waits.

Reads only; pages, commands, health and ``connect`` show or use it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select

from . import fields, hooks, reconcile, runs, site
from .credential import is_token_hint
from .fields import NO_FIELDS, FieldsView
from .models import utc
from .services import Services, Transaction
from .texts import N_, Text
from .vault import CannotDecrypt

#: What happens to the member when a customer is deleted in the host.
DELETION_POLICIES = ("leave", "unsubscribe", "archive", "delete")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an administrator saves in the form.

    :param master_list: Mailchimp id of the list for customers without a list of their own.
    :param daily: sync once a day at :attr:`daily_at`; False: at once, as changes happen.
    :param daily_at: ``HH:MM`` in :attr:`daily_zone`, an IANA name such as ``Europe/Berlin``.
    :param on_delete: one of :data:`DELETION_POLICIES`.
    :param always_confirm: nobody is ever subscribed again without a confirmation mail.
    """

    enabled: bool
    master_list: str | None
    daily: bool = False
    daily_at: str = "03:00"
    daily_zone: str = "UTC"
    on_delete: str = "unsubscribe"
    always_confirm: bool = False


@dataclass(frozen=True, kw_only=True)
class ListView:
    """A stored list (audience), for people.

    :param settings_url: its page at Mailchimp; "" if it can't be told.
    :param is_target: whether customers go there: it is the master list, or some customer's own.
    :param webhook: ``ok``, ``waiting``, ``problem`` or ``none``.
    :param fields: the merge fields, ours and the list's; empty of a list that nobody goes to.
    """

    list_id: str
    name: str
    double_optin: bool
    member_count: int
    is_master: bool
    gone: bool
    settings_url: str
    subscribe_url: str
    webhook: str
    webhook_problem: str | None
    webhook_signed: bool
    is_target: bool = False
    webhook_checked_at: datetime | None = None
    fields: FieldsView = NO_FIELDS


@dataclass(frozen=True, kw_only=True)
class ListChanges:
    """What "Refresh lists" found, compared with what is stored.

    :param changed: ``(name, what changed in plain words)``, once for each thing that did.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()
    fetched_at: datetime

    @property
    def none(self) -> bool:
        """Whether the lists are as they were stored."""
        return not (self.added or self.removed or self.changed)


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A tenant's connection, for people. Everything but the tenant is empty while not connected.

    :param key_hint: the key's last four digits and data centre.
    :param by_login: whether somebody agreed at Mailchimp, and no key was entered.
    :param can_log_in: whether that is possible here.
    :param suspended: why nothing is sent, in plain words; None if all is well.
    :param other_site: why this looks like a copy of the site that was connected, or like a place it
        moved to, in plain words; nothing is sent until somebody says which.
    :param changes: what a refresh found that is not stored yet.
    :param configured: whether the key comes from the application's configuration.
    :param other_key: whether that key is another one than the connection uses.
    :param first: the state of a first sync that counts (``running``) or waits for a person
        (``waiting``); None if there is none.
    :param sync_paused: whether a person has paused a sync, and the integration with it.
    :param still_in: the name of the master list before, while customers wait in it for a sync to read
        what was said there; None as a rule.
    :param next_daily_at: when the next daily sync begins; None while none will.
    """

    tenant: str
    connected: bool = False
    account_name: str = ""
    key_hint: str = ""
    by_login: bool = False
    can_log_in: bool = False
    suspended: str | None = None
    other_site: str | None = None
    paused_until: datetime | None = None
    settings: Settings = Settings(enabled=False, master_list=None)
    lists: tuple[ListView, ...] = ()
    changes: ListChanges | None = None
    synced_at: datetime | None = None
    configured: bool = False
    other_key: bool = False
    first: str | None = None
    first_says: str | None = None
    sync_paused: bool = False
    still_in: str | None = None
    next_daily_at: datetime | None = None

    @property
    def master(self) -> ListView | None:
        """The master list."""
        return next((row for row in self.lists if row.is_master), None)


def tenants(services: Services) -> list[str]:
    """The tenants that have a connection."""
    table = services.tables.connection
    with services.begin() as tx:
        return [row.tenant for row in tx.rows(select(table.c.tenant).order_by(table.c.tenant))]


def read(services: Services, tenant: str) -> Overview:
    """A tenant's connection as it is now."""
    configured = services.config.API_KEY is not None
    can_log_in = services.config.OAUTH_CLIENT_ID is not None
    with services.begin() as tx:
        connection = find(tx, services, tenant)
        if connection is None:
            return Overview(tenant=tenant, configured=configured, can_log_in=can_log_in)
        table = services.tables.audience
        rows = tx.rows(
            select(table).where(table.c.connection_id == connection.id).order_by(table.c.id)
        )
        is_target = hooks.targets(services, connection)
        here = table.c.connection_id == connection.id
        used = {row.id for row in tx.rows(select(table.c.id).where(here, is_target))}
        other_site = site.difference(tx, services, connection)
        first = runs.first(tx, services, connection.id)
        sync_paused = bool(runs.paused(tx, services, connection.id))
    lists = tuple(
        _view(services, connection, row, is_target=row.id in used)
        for row in rows
        if not row.gone_at or row.id in used
    )
    master = next((row.list_id for row in lists if row.is_master), None)
    return Overview(
        tenant=tenant,
        connected=True,
        account_name=connection.account_name,
        key_hint=connection.key_hint,
        by_login=is_token_hint(connection.key_hint),
        suspended=connection.suspended,
        other_site=other_site,
        paused_until=utc(connection.paused_until),
        settings=Settings(
            enabled=connection.enabled,
            master_list=master,
            daily=connection.daily,
            daily_at=connection.daily_at,
            daily_zone=connection.daily_zone,
            on_delete=connection.on_delete,
            always_confirm=connection.always_confirm,
        ),
        lists=lists,
        changes=_changes(connection, rows),
        synced_at=utc(connection.synced_at),
        configured=configured,
        can_log_in=can_log_in,
        other_key=_is_other_key(services, connection),
        first=first.state if first is not None else None,
        first_says=first.message if first is not None else None,
        sync_paused=sync_paused,
        still_in=next((r.name for r in rows if r.id == connection.left_audience_id), None),
        next_daily_at=_next_daily_at(services, connection),
    )


def _is_other_key(services: Services, connection: Row[Any]) -> bool:
    """Whether the application's configuration has another key than the one that was connected."""
    configured = services.config.API_KEY
    if configured is None:
        return False
    try:
        used = services.vault.open(connection.sealed_key, f"api-key:{connection.tenant}")
    except CannotDecrypt:
        return True
    return used != configured


def _next_daily_at(services: Services, connection: Row[Any]) -> datetime | None:
    if not connection.enabled:
        return None
    now = services.now()
    return reconcile.next_daily(connection.daily_at, connection.daily_zone, now)


def last_rings(services: Services, tenant: str) -> dict[str, datetime]:
    """When each list's last ring came, by list id, as far as rings are kept."""
    audience, event = services.tables.audience, services.tables.webhook_event
    with services.begin() as tx:
        connection = find(tx, services, tenant)
        if connection is None:
            return {}
        of_list = event.alias("of_list")
        last = select(func.max(of_list.c.id)).where(of_list.c.audience_id == audience.c.id)
        rows = tx.rows(
            select(audience.c.list_id, event.c.received_at).where(
                event.c.audience_id == audience.c.id,
                event.c.id == last.correlate(audience).scalar_subquery(),
                audience.c.connection_id == connection.id,
                audience.c.webhook_id.isnot(None),
            )
        )
    return {row.list_id: utc(row.received_at) for row in rows}


def find(tx: Transaction, services: Services, tenant: str) -> Row[Any] | None:
    """The connection's row; None while the tenant is not connected."""
    table = services.tables.connection
    return tx.row(select(table).where(table.c.tenant == tenant))


def settings_url(key_hint: str, web_id: str) -> str:
    """The page of an audience's settings at Mailchimp.

    No address leads straight to "Required email footer content": that page has the entry.
    """
    dc = key_hint.rpartition("-")[2]
    return f"https://{dc}.admin.mailchimp.com/lists/settings?id={web_id}" if web_id else ""


def _view(
    services: Services,
    connection: Row[Any],
    row: Row[Any],
    *,
    is_target: bool,
) -> ListView:
    webhook = "none"
    if row.webhook_problem:
        webhook = "problem"
    elif row.webhook_id:
        webhook = "ok"
    elif connection.enabled and is_target:
        webhook = "waiting"
    return ListView(
        list_id=row.list_id,
        name=row.name,
        double_optin=row.double_optin,
        member_count=row.member_count,
        is_master=row.id == connection.master_audience_id,
        gone=row.gone_at is not None,
        settings_url=settings_url(connection.key_hint, row.web_id),
        subscribe_url=row.subscribe_url,
        webhook=webhook,
        webhook_problem=row.webhook_problem,
        webhook_signed=row.sealed_secret is not None,
        is_target=is_target,
        webhook_checked_at=utc(row.webhook_checked_at),
        fields=fields.compare(services.mapping, row) if is_target else NO_FIELDS,
    )


def _changes(connection: Row[Any], rows: list[Row[Any]]) -> ListChanges | None:
    if connection.fetched_lists is None:
        return None
    stored: dict[str, Row[Any]] = {row.list_id: row for row in rows if row.gone_at is None}
    fetched = {row["list_id"]: row for row in json.loads(connection.fetched_lists)}
    changed = tuple(
        (row["name"], words)
        for list_id, row in fetched.items()
        if list_id in stored
        for words in _differences(stored[list_id], row)
    )
    return ListChanges(
        added=tuple(row["name"] for i, row in fetched.items() if i not in stored),
        removed=tuple(row.name for i, row in stored.items() if i not in fetched),
        changed=changed,
        fetched_at=utc(connection.fetched_at),
    )


def _differences(stored: Row[Any], fetched: Mapping[str, Any]) -> Iterator[str]:
    if stored.name != fetched["name"]:
        yield Text("was named %(name)s", name=stored.name)
    if stored.double_optin != fetched["double_optin"]:
        on = N_("double opt-in is now on")
        yield on if fetched["double_optin"] else N_("double opt-in is now off")
    if stored.member_count != fetched["member_count"]:
        yield Text(
            "%(now)s subscribers, were %(before)s",
            now=fetched["member_count"],
            before=stored.member_count,
        )


def waiting_changes(tx: Transaction, services: Services, connection: Row[Any]) -> int:
    """How many changes wait to be told to Mailchimp, or to be looked at."""
    outbox, contact = services.tables.outbox, services.tables.contact
    waiting = tx.value(
        select(func.sum(outbox.c.number)).where(outbox.c.tenant == connection.tenant)
    )
    due = tx.value(
        select(func.count()).where(
            contact.c.connection_id == connection.id, contact.c.due_at <= services.now()
        )
    )
    return int(waiting or 0) + int(due or 0)
