"""A tenant's connection as people see it: settings, lists, what a refresh found, what waits.

Reads only; pages, commands, health and ``connect`` show or use it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select

from . import hooks, site
from .models import utc
from .services import Services, Transaction

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
    :param webhook: ``ok``, ``waiting``, ``problem`` or ``none``.
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


@dataclass(frozen=True, kw_only=True)
class ListChanges:
    """What "Refresh lists" found, compared with what is stored.

    :param changed: ``(name, what changed in plain words)``.
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
    :param suspended: why nothing is sent, in plain words; None if all is well.
    :param other_site: why this looks like a copy of the site that was connected, or like a place it
        moved to, in plain words; nothing is sent until somebody says which.
    :param changes: what a refresh found that is not stored yet.
    """

    tenant: str
    connected: bool = False
    account_name: str = ""
    key_hint: str = ""
    suspended: str | None = None
    other_site: str | None = None
    paused_until: datetime | None = None
    settings: Settings = Settings(enabled=False, master_list=None)
    lists: tuple[ListView, ...] = ()
    changes: ListChanges | None = None
    synced_at: datetime | None = None

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
    with services.begin() as tx:
        connection = find(tx, services, tenant)
        if connection is None:
            return Overview(tenant=tenant)
        table = services.tables.audience
        rows = tx.rows(
            select(table).where(table.c.connection_id == connection.id).order_by(table.c.id)
        )
        is_target = hooks.targets(services, connection)
        used = {row.id for row in tx.rows(select(table.c.id).where(is_target))}
        other_site = site.difference(tx, services, connection)
    lists = tuple(_view(connection, row) for row in rows if not row.gone_at or row.id in used)
    master = next((row.list_id for row in lists if row.is_master), None)
    return Overview(
        tenant=tenant,
        connected=True,
        account_name=connection.account_name,
        key_hint=connection.key_hint,
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
    )


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


def _view(connection: Row[Any], row: Row[Any]) -> ListView:
    webhook = "none"
    if row.webhook_problem:
        webhook = "problem"
    elif row.webhook_id:
        webhook = "ok"
    elif connection.enabled and row.id == connection.master_audience_id:
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
    )


def _changes(connection: Row[Any], rows: list[Row[Any]]) -> ListChanges | None:
    if connection.fetched_lists is None:
        return None
    stored: dict[str, Row[Any]] = {row.list_id: row for row in rows if row.gone_at is None}
    fetched = {row["list_id"]: row for row in json.loads(connection.fetched_lists)}
    changed = tuple(
        (row["name"], words)
        for list_id, row in fetched.items()
        if list_id in stored and (words := _difference(stored[list_id], row))
    )
    return ListChanges(
        added=tuple(row["name"] for i, row in fetched.items() if i not in stored),
        removed=tuple(row.name for i, row in stored.items() if i not in fetched),
        changed=changed,
        fetched_at=utc(connection.fetched_at),
    )


def _difference(stored: Row[Any], fetched: Mapping[str, Any]) -> str:
    parts = []
    if stored.name != fetched["name"]:
        parts.append(f"was named {stored.name}")
    if stored.double_optin != fetched["double_optin"]:
        parts.append(f"double opt-in is now {'on' if fetched['double_optin'] else 'off'}")
    if stored.member_count != fetched["member_count"]:
        parts.append(f"{fetched['member_count']:,} subscribers, were {stored.member_count:,}")
    return "; ".join(parts)


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
