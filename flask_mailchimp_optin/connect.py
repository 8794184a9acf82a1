"""What an administrator does: connect, choose a list, refresh, store, save the settings, disconnect.

Syncs, second tries and webhooks are in ``acts``. Pages and commands both call this; each function takes
the tenant ("" where there is one) and raises :class:`~.errors.RefusedInput` or
:class:`~.errors.MailchimpError` with words for the administrator.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, and_, delete, insert, or_, select, update

from . import (
    contacts,
    fields,
    hooks,
    login,
    overviews,
    reconcile,
    runs,
    shards,
    signals,
    site,
)
from .client import Account, Audience, Client
from .config import Config
from .credential import Credential
from .errors import CopiedSite, KeyRefused, MailchimpError, NotConnected, RefusedInput
from .overviews import DELETION_POLICIES, ListChanges, Overview, Settings
from .services import Services, Transaction
from .texts import N_, Text
from .vault import CannotDecrypt

#: Lists whose merge fields are read together, while somebody waits.
_LISTS_AT_ONCE = 10


def connect(services: Services, tenant: str, api_key: str | None = None) -> Overview:
    """Check a key with Mailchimp, keep it encrypted, and store the account's lists.

    The first list becomes the master list unless one is chosen already.

    :param api_key: None: the one in the application's configuration.
    :raises RefusedInput: the text is no key, the application's configuration has another one, or the
        tenant's connection belongs to another site; nothing was sent anywhere.
    :raises MailchimpError: Mailchimp refused it or could not be reached; nothing was changed.
    """
    credentials = Credential.of_key(_key_to_use(services.config, api_key))
    _not_a_copy(services, tenant)
    return _connect(services, tenant, credentials)


def log_in(services: Services, tenant: str, authorization: str) -> Overview:
    """The same with what Mailchimp answered to an administrator who agreed there.

    :param authorization: Mailchimp's code, which is good for one access token.
    :raises RefusedInput: Mailchimp did not take it, or the tenant's connection belongs to another site.
    :raises MailchimpError: Mailchimp could not be reached; nothing was changed.
    """
    _not_a_copy(services, tenant)
    return _connect(services, tenant, login.fetch(services.config, authorization))


def _not_a_copy(services: Services, tenant: str) -> None:
    with suppress(NotConnected):
        of_tenant(services, tenant)  # a copy first says that it is one


def _connect(services: Services, tenant: str, credentials: Credential) -> Overview:
    with services.client_with(credentials) as client:
        account, lists = client.account(), client.audiences()

    def work(tx: Transaction) -> None:
        before = overviews.find(tx, services, tenant)
        connection_id = _save_key(tx, services, tenant, credentials, account)
        _store(tx, services, connection_id, lists)
        _choose_master(tx, services, connection_id, lists)
        after = overviews.find(tx, services, tenant)
        if before and after and after.enabled and _other_master(before, after):
            # A key of another account: its lists have to be filled as at the first time.
            runs.cancel_all(tx, services, connection_id, N_("Another account was connected."))
            runs.plan(tx, services, after, "initial", services.now())

    services.transact(work)
    services.tell(signals.connected, tenant=tenant)
    services.wake()
    _try_to_read_fields(services, tenant)
    return overviews.read(services, tenant)


def _key_to_use(config: Config, api_key: str | None) -> str:
    if config.API_KEY is None:
        return api_key or ""
    if api_key is not None and api_key.strip() != config.API_KEY:
        raise RefusedInput(
            N_(
                "The key comes from the application’s configuration, MAILCHIMP_OPTIN_API_KEY. Change it "
                "there, then connect without entering one."
            )
        )
    return config.API_KEY


def _other_master(before: Row[Any], after: Row[Any]) -> bool:
    chosen = after.master_audience_id
    return chosen is not None and chosen != before.master_audience_id


def _save_key(
    tx: Transaction, services: Services, tenant: str, credentials: Credential, account: Account
) -> int:
    table = services.tables.connection
    values = {
        "sealed_key": services.vault.seal(credentials.text, f"api-key:{tenant}"),
        "key_hint": credentials.hint,
        "account_name": account.name[:255],
        "suspended": None,
        "paused_until": None,
        "fetched_lists": None,
        "fetched_at": None,
    }
    known = tx.row(select(table).where(table.c.tenant == tenant))
    if known is not None:
        new_epoch = table.c.epoch + 1
        tx.execute(update(table).where(table.c.id == known.id).values(epoch=new_epoch, **values))
        shards.fence_off(tx, services, known.id)
        return int(known.id)
    default = Settings(enabled=False, master_list=None)
    return tx.insert(
        insert(table).values(
            tenant=tenant,
            enabled=False,
            daily=default.daily,
            daily_at=default.daily_at,
            daily_zone=default.daily_zone,
            always_confirm=default.always_confirm,
            on_delete=default.on_delete,
            site=site.here(tx, services),
            epoch=1,
            fence=0,
            shards=0,
            created_at=services.now(),
            **values,
        )
    )


def _store(tx: Transaction, services: Services, connection_id: int, lists: list[Audience]) -> None:
    table = services.tables.audience
    known = {
        row.list_id: row
        for row in tx.rows(select(table).where(table.c.connection_id == connection_id))
    }
    for audience in lists:
        values = _columns(audience) | {"stored_at": services.now(), "gone_at": None}
        row = known.pop(audience.list_id, None)
        if row is not None:
            tx.execute(update(table).where(table.c.id == row.id).values(**values))
            continue
        tx.execute(
            insert(table).values(connection_id=connection_id, list_id=audience.list_id, **values)
        )
    for row in known.values():
        gone = update(table).where(table.c.id == row.id, table.c.gone_at.is_(None))
        tx.execute(gone.values(gone_at=services.now()))


def _columns(audience: Audience) -> dict[str, Any]:
    return {name: value for name, value in asdict(audience).items() if name != "list_id"}


def _choose_master(
    tx: Transaction, services: Services, connection_id: int, lists: list[Audience]
) -> None:
    table, audiences = services.tables.connection, services.tables.audience
    chosen = tx.value(
        select(audiences.c.id)
        .join(table, table.c.master_audience_id == audiences.c.id)
        .where(table.c.id == connection_id, audiences.c.gone_at.is_(None))
    )
    if chosen is not None:
        return
    first = None
    if lists:
        first = tx.value(
            select(audiences.c.id).where(
                audiences.c.connection_id == connection_id,
                audiences.c.list_id == lists[0].list_id,
            )
        )
    tx.execute(update(table).where(table.c.id == connection_id).values(master_audience_id=first))


def refresh(services: Services, tenant: str) -> ListChanges:
    """Fetch the account's lists and say what changed; :func:`store_lists` keeps them.

    :raises MailchimpError: they could not be fetched; nothing was changed.
    """
    connection = of_tenant(services, tenant)
    if overviews.read(services, tenant).other_key:
        connect(services, tenant)  # whose account it is, the new key says
        connection = of_tenant(services, tenant)
    with client_of(services, connection) as client:
        lists = client.audiences()
    table = services.tables.connection

    def work(tx: Transaction) -> None:
        fetched = json.dumps([asdict(audience) for audience in lists])
        where = table.c.id == connection.id
        values = {"fetched_lists": fetched, "fetched_at": services.now()}
        tx.execute(update(table).where(where).values(**values))

    services.transact(work)
    _try_to_read_fields(services, tenant)
    changes = overviews.read(services, tenant).changes
    return changes or ListChanges(fetched_at=services.now())


def store_lists(services: Services, tenant: str) -> Overview:
    """Keep the lists that the last refresh fetched.

    :raises RefusedInput: nothing was fetched since the lists were stored.
    """
    connection = of_tenant(services, tenant)
    if connection.fetched_lists is None:
        raise RefusedInput(N_("There is nothing to store. Refresh the lists first."))
    lists = [Audience(**row) for row in json.loads(connection.fetched_lists)]
    table = services.tables.connection

    def work(tx: Transaction) -> None:
        _store(tx, services, connection.id, lists)
        _choose_master(tx, services, connection.id, lists)
        nothing = {"fetched_lists": None, "fetched_at": None}
        tx.execute(update(table).where(table.c.id == connection.id).values(**nothing))

    services.transact(work)
    return overviews.read(services, tenant)


def read_fields(services: Services, tenant: str) -> None:
    """Read at Mailchimp which merge fields the lists have that customers go to.

    :raises MailchimpError: they could not be read; nothing was changed.
    """
    connection = of_tenant(services, tenant)
    with client_of(services, connection) as client:
        for audience in _targets(services, connection):
            fields.read(services, client, audience)


def create_fields(services: Services, tenant: str) -> list[str]:
    """Make the merge fields that we send and the lists don't have; their tags.

    What was not sent for want of a field goes with the next change of a customer.

    :raises RefusedInput: Mailchimp did not accept one; the message says which.
    """
    connection = of_tenant(services, tenant)
    made: list[str] = []
    with client_of(services, connection) as client:
        for audience in _targets(services, connection):
            made += fields.create_missing(services, client, audience)
    return list(dict.fromkeys(made))


def _targets(services: Services, connection: Row[Any]) -> list[Row[Any]]:
    """The lists that customers go to, the master list first, as many as somebody can wait for."""
    table = services.tables.audience
    is_target = hooks.targets(services, connection)
    ours = table.c.connection_id == connection.id
    with services.begin() as tx:
        rows = tx.rows(select(table).where(ours, is_target, table.c.gone_at.is_(None)))
    rows.sort(key=lambda row: (row.id != connection.master_audience_id, row.id))
    return rows[:_LISTS_AT_ONCE]


def _try_to_read_fields(services: Services, tenant: str) -> None:
    """Beside something else that worked: the page says that nobody has looked yet if this doesn't."""
    with suppress(MailchimpError, RefusedInput):
        read_fields(services, tenant)


def save_settings(
    services: Services, tenant: str, settings: Settings, *, ask_first: bool = False
) -> Overview:
    """Save the administrator's settings; enabling starts the initial sync.

    :param ask_first: such a sync counts what it would change, then waits for a person's word. Until
        then only what somebody decides meanwhile is told to Mailchimp.
    :raises RefusedInput: a value that can't be; the message names it.
    """
    of_tenant(services, tenant)  # without one, nothing else is worth a word
    _check(settings)
    table = services.tables.connection

    def work(tx: Transaction) -> None:
        # Read again: if the answer to the commit is lost, the second try finds nothing to change.
        connection = ours(tx, services, tenant)
        master = _master_id(tx, services, connection, settings)
        other_master = master != connection.master_audience_id
        values: dict[str, Any] = {
            "enabled": settings.enabled,
            "master_audience_id": master,
            "daily": settings.daily,
            "daily_at": settings.daily_at,
            "daily_zone": settings.daily_zone,
            "on_delete": settings.on_delete,
            "always_confirm": settings.always_confirm,
        }
        held_back = connection.enabled and not settings.enabled
        stricter = settings.always_confirm and not connection.always_confirm
        if other_master:
            values["left_audience_id"] = _to_leave(tx, services, connection, master)
        if other_master or held_back or stricter:
            values["epoch"] = table.c.epoch + 1  # what was begun otherwise is begun anew
            shards.fence_off(tx, services, connection.id)
        times = (settings.daily_at, settings.daily_zone)
        newly = settings.enabled and not connection.enabled
        if newly or times != (connection.daily_at, connection.daily_zone):
            # The next one is the next time the clock says so.
            values["last_daily_on"] = reconcile.scheduled_day(*times, services.now())
        tx.execute(update(table).where(table.c.id == connection.id).values(**values))
        if other_master or held_back:
            runs.cancel_all(tx, services, connection.id, N_("The settings were changed."))
        begins = settings.enabled and (other_master or not connection.enabled)
        if begins and not runs.unpause(tx, services, connection.id):
            connection = ours(tx, services, tenant)
            runs.plan(tx, services, connection, "first" if ask_first else "initial", services.now())
            if ask_first:
                _hold_back(tx, services, connection.id)

    services.transact(work)
    services.wake()
    return overviews.read(services, tenant)


def _to_leave(
    tx: Transaction, services: Services, connection: Row[Any], master: int | None
) -> int | None:
    """The list that customers are in until all has been heard that was said there; None for none.

    Before the first sync is done, a list that nobody's yes was told to may have been chosen by mistake:
    it has nothing to say. Later, people may have signed up there themselves, unheard so far.
    """
    here: int | None = connection.left_audience_id or connection.master_audience_id
    if here in (None, master):
        return None
    if connection.synced_at is not None:
        return here
    contact = services.tables.contact
    told = contact.c.audience_id == here, contacts.is_told(contact)
    return here if tx.value(select(contact.c.id).where(*told).limit(1)) is not None else None


def _hold_back(tx: Transaction, services: Services, connection_id: int) -> None:
    """What waits to be told, but for a no, is left to the sync, which counts it and lets it go."""
    table = services.tables.contact
    waits = and_(
        table.c.connection_id == connection_id,
        table.c.due_at.isnot(None),
        table.c.version > table.c.acked_version,
        or_(table.c.wanted.is_(True), table.c.wanted.is_(None)),
        table.c.open_verb.is_(None),
        table.c.late.is_(None),
    )
    tx.execute(update(table).where(waits).values(due_at=None))


def _check(settings: Settings) -> None:
    try:
        time.fromisoformat(settings.daily_at)
        good_time = len(settings.daily_at) == 5
    except ValueError:
        good_time = False
    if not good_time:
        raise RefusedInput(N_("The time of the daily sync must look like 03:00."))
    try:
        ZoneInfo(settings.daily_zone)
    except (ValueError, OSError, KeyError):
        raise RefusedInput(
            N_("This time zone is not known. Use a name such as Europe/Berlin.")
        ) from None
    if settings.on_delete not in DELETION_POLICIES:
        raise RefusedInput(N_("Choose what happens when a customer is deleted."))
    if settings.enabled and settings.master_list is None:
        raise RefusedInput(
            N_(
                "Choose a master list before enabling the integration. If there is none, create an "
                "audience in Mailchimp, then refresh and store the lists."
            )
        )


def _master_id(
    tx: Transaction, services: Services, connection: Row[Any], settings: Settings
) -> int | None:
    if settings.master_list is None:
        return None
    table = services.tables.audience
    found = tx.value(
        select(table.c.id).where(
            table.c.connection_id == connection.id,
            table.c.list_id == settings.master_list,
            table.c.gone_at.is_(None),
        )
    )
    if found is None:
        raise RefusedInput(
            N_("This list is not stored. Refresh and store the lists, then choose again.")
        )
    return int(found)


def disconnect(services: Services, tenant: str) -> list[str]:
    """End the connection: our webhooks at Mailchimp and our records of it go.

    Customers, their checkboxes, the ledger and everybody at Mailchimp stay as they are. In a copy of
    another site the webhooks stay too: they are that site's.

    :returns: the names of lists whose webhook could not be removed at Mailchimp.
    """
    connection, other = _any_connection(services, tenant)
    left = [] if other else _remove_webhooks(services, connection)

    def work(tx: Transaction) -> None:
        tables = services.tables
        audiences = select(tables.audience.c.id).where(
            tables.audience.c.connection_id == connection.id
        )
        events = tables.webhook_event
        tx.execute(delete(events).where(events.c.audience_id.in_(audiences)))
        for table in (tables.contact, tables.customer, tables.sync_run, tables.audience):
            tx.execute(delete(table).where(table.c.connection_id == connection.id))
        tx.execute(delete(tables.connection).where(tables.connection.c.id == connection.id))

    services.transact(work)
    services.tell(signals.disconnected, tenant=tenant, reason="disconnected by an administrator")
    return left


def _remove_webhooks(services: Services, connection: Row[Any]) -> list[str]:
    try:
        with client_of(services, connection) as client:
            return hooks.remove_all(services, connection, client)
    except (MailchimpError, CannotDecrypt):
        lists = overviews.read(services, connection.tenant).lists
        return [row.name for row in lists if row.webhook != "none"]


def moved(services: Services, tenant: str) -> bool:
    """This is the same site as the one that was connected, at another place: it goes on from here.

    The webhooks come to the new address, and a sync reads what nobody heard of meanwhile.

    :returns: whether there was anything to say; False: the connection belongs here already.
    """
    connection, other = _any_connection(services, tenant)
    if not other:
        return False
    table, audiences = services.tables.connection, services.tables.audience

    def work(tx: Transaction) -> None:
        values = {"site": site.here(tx, services)}
        tx.execute(update(table).where(table.c.id == connection.id).values(**values))
        ours = audiences.c.connection_id == connection.id
        tx.execute(update(audiences).where(ours).values(webhook_checked_at=None))
        if connection.enabled and runs.first(tx, services, connection.id) is None:
            runs.plan(tx, services, connection, "daily", services.now())

    services.transact(work)
    services.wake()
    return True


def of_tenant(services: Services, tenant: str) -> Row[Any]:
    """The tenant's connection, as long as it belongs to this very site."""
    with services.begin() as tx:
        return ours(tx, services, tenant)


def ours(tx: Transaction, services: Services, tenant: str) -> Row[Any]:
    """The tenant's connection.

    :raises RefusedInput: there is none, or it belongs to another site.
    """
    connection, other = _found(tx, services, tenant)
    if other is not None:
        raise CopiedSite(
            Text(
                "%(why)s Nothing is sent to Mailchimp from here until an administrator says on the "
                "settings page what this site is: the same one, moved, or a copy.",
                why=other,
            )
        )
    return connection


def _any_connection(services: Services, tenant: str) -> tuple[Row[Any], str | None]:
    """The tenant's connection; and if it belongs to another site, why that is so."""
    with services.begin() as tx:
        return _found(tx, services, tenant)


def _found(tx: Transaction, services: Services, tenant: str) -> tuple[Row[Any], str | None]:
    connection = overviews.find(tx, services, tenant)
    if connection is None:
        raise NotConnected(N_("Mailchimp is not connected yet. Enter an API key first."))
    return connection, site.difference(tx, services, connection)


def client_of(services: Services, connection: Row[Any]) -> Client:
    """Mailchimp, with the connection's key.

    :raises KeyRefused: it can't be decrypted.
    """
    try:
        return services.client(connection)
    except CannotDecrypt as error:
        raise KeyRefused(str(error)) from None
