"""What an administrator does with a connection that stands: syncs, second tries, webhooks.

Pages and commands both call this; each function takes the tenant and raises as :mod:`.connect` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, exists, select, update

from . import connect, foresee, inbound, outbox, reasons, reconcile, runs, shards
from .errors import RefusedInput
from .models import utc
from .services import Services, Transaction
from .texts import N_, Text
from .vault import CannotDecrypt
from .webhook import Ring


def start_sync(services: Services, tenant: str, kind: str = "manual") -> int:
    """Plan a sync now, or a preview that changes nothing; its run's id.

    :param kind: ``manual`` or ``preview``.
    :raises RefusedInput: the integration is not enabled, or has no master list.
    """
    connection = connect.of_tenant(services, tenant)
    with services.begin() as tx:
        if runs.paused(tx, services, connection.id):
            raise RefusedInput(Text("A sync is paused. Resume or cancel it first."))
    if not connection.enabled:
        raise RefusedInput(N_("The integration is not enabled. Enable it in the settings first."))

    def work(tx: Transaction) -> int:
        if runs.first(tx, services, connection.id) is not None:
            raise RefusedInput(
                N_(
                    "The first sync waits for you: let it continue, or cancel it, before another one."
                )
            )
        return runs.plan(tx, services, connection, kind, services.now())

    run_id = services.transact(work)
    services.wake()
    return run_id


def pause_sync(services: Services, tenant: str) -> None:
    """Pause what runs: until it is resumed only opt-outs go out, and no box here changes.

    The integration is off meanwhile, but the sync is kept where it is. Whoever is at it can write
    nothing more with their lease.

    :raises RefusedInput: none is running.
    """
    connection = connect.of_tenant(services, tenant)

    def work(tx: Transaction) -> None:
        _fence_off(tx, services, connection.id, enabled=False)
        if not connection.enabled or not runs.pause(tx, services, connection.id):
            raise RefusedInput(Text("No sync is running."))

    services.transact(work)


def resume_sync(services: Services, tenant: str) -> None:
    """Let a sync go on that was paused, else one that stopped because it would change too much.

    :raises RefusedInput: none is waiting.
    """
    connection = connect.of_tenant(services, tenant)
    table = services.tables.connection

    def unpause(tx: Transaction) -> bool:
        on = update(table).where(table.c.id == connection.id).values(enabled=True)
        return runs.unpause(tx, services, connection.id) and tx.execute(on) > 0

    if not services.transact(unpause) and not reconcile.resume(services, connection.id):
        raise RefusedInput(N_("No sync is waiting for you."))
    services.wake()


def cancel_sync(services: Services, tenant: str) -> None:
    """Cancel what is running or waiting; what was sent stays, the rest is left to the next sync.

    Without the first sync, whose word was no, the integration is off again.
    """
    connection = connect.of_tenant(services, tenant)

    def work(tx: Transaction) -> Row[Any] | None:
        is_first = runs.first(tx, services, connection.id) is not None
        # With the sync, its pause is over.
        is_paused = bool(runs.paused(tx, services, connection.id))
        enabled = not is_first and (connection.enabled or is_paused)
        _fence_off(tx, services, connection.id, enabled=enabled)
        sending = runs.sending(tx, services, connection.id)
        message = N_("Cancelled by an administrator.")
        if is_first:
            message = N_("Cancelled by an administrator. The integration is off.")
        runs.cancel_all(tx, services, connection.id, message)
        return sending

    sending = services.transact(work)
    if sending is not None:
        foresee.hold_back(services, sending.id)
    services.wake()


def _fence_off(tx: Transaction, services: Services, connection_id: int, *, enabled: bool) -> None:
    """Whoever is at the connection can write nothing more with their lease."""
    table = services.tables.connection
    values = {"enabled": enabled, "epoch": table.c.epoch + 1}
    tx.execute(update(table).where(table.c.id == connection_id).values(**values))
    shards.fence_off(tx, services, connection_id)


def retry(
    services: Services,
    tenant: str,
    contact_id: int | None = None,
    *,
    reason: str | None = None,
    customer_key: str | None = None,
) -> int:
    """Try again who needs attention: one contact, one customer, all of a reason, or all.

    :param reason: a word of :class:`~.attention.Attention`.
    :returns: how many there were.
    """
    connection = connect.of_tenant(services, tenant)
    table, customers = services.tables.contact, services.tables.customer

    def work(tx: Transaction) -> int:
        which = [table.c.connection_id == connection.id, table.c.refusal.isnot(None)]
        whose = [customers.c.connection_id == connection.id]
        if contact_id is not None:
            which.append(table.c.id == contact_id)
        if reason is not None:
            which.append(table.c.refusal == reason)
        if customer_key is not None:
            whose.append(customers.c.customer_key == customer_key)
            theirs = exists().where(
                *whose,
                customers.c.audience_id == table.c.audience_id,
                customers.c.address == table.c.address,
            )
            which.append(theirs)
        values = {
            "due_at": services.now(),
            "look": True,
            "attempts": 0,
            "asked_version": None,
            "version": table.c.version + 1,
            **dict.fromkeys(("refusal", "refusal_text", "refused_at")),
        }
        # Details that were refused are sent anew: the list may take them by now.
        unsent = update(table).where(*which, table.c.refusal == "merge_fields")
        tx.execute(unsent.values(profile=None))
        number = tx.execute(update(table).where(*which).values(**values))
        if contact_id is None and reason in (None, reasons.CUSTOMER):
            number += _look_again(tx, services, connection, whose)
        return number

    number = services.transact(work)
    services.wake()
    return number


def _look_again(tx: Transaction, services: Services, connection: Row[Any], whose: list[Any]) -> int:
    """An outbox row for each of these customers whose row was the problem."""
    table = services.tables.customer
    problem = select(table.c.customer_key).where(*whose, table.c.problem.isnot(None))
    return outbox.look_at(tx, services, connection.tenant, [key for (key,) in tx.rows(problem)])


def ring_again(services: Services, tenant: str, ring_id: int) -> None:
    """Look once more at the address that a webhook named, as if Mailchimp had sent it again.

    :raises RefusedInput: there is no such webhook of this tenant's, or it is not about a person.
    """
    connection = connect.of_tenant(services, tenant)
    events, audiences = services.tables.webhook_event, services.tables.audience
    with services.begin() as tx:
        row = tx.row(
            select(events, audiences.c.list_id)
            .join(audiences, audiences.c.id == events.c.audience_id)
            .where(events.c.id == ring_id, audiences.c.connection_id == connection.id)
        )
    if row is None:
        raise RefusedInput(N_("This webhook is no longer in the log."))
    names = "type", "list_id", "address", "new_address", "digest"
    ring = Ring(fired_at=utc(row.fired_at), **{name: row._mapping[name] for name in names})
    if not inbound.is_about(ring):
        raise RefusedInput(N_("This webhook names nobody whom one could look at."))
    inbound.ring_again(services, row.audience_id, ring)
    services.wake()


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """The stored secrets of all tenants, by how they open.

    :param older: how many open with an encryption key that is not the newest.
    :param lost: how many don't open.
    """

    number: int
    older: int
    lost: int


def sealed(services: Services) -> Sealed:
    """Try to open every stored secret, of all tenants."""
    keys, hooks = services.tables.connection, services.tables.audience
    secret = hooks.c.sealed_secret
    with services.begin() as tx:
        rows = tx.rows(select(keys.c.sealed_key, keys.c.tenant))
        stored = [(row.sealed_key, f"api-key:{row.tenant}") for row in rows]
        rows = tx.rows(select(secret, hooks.c.id).where(secret.isnot(None)))
        stored += [(row.sealed_secret, f"webhook:{row.id}") for row in rows]
    opened = [text for text, owner in stored if _opens(services, text, owner)]
    older = sum(not services.vault.is_newest(text) for text in opened)
    return Sealed(number=len(stored), older=older, lost=len(stored) - len(opened))


def _opens(services: Services, text: str, owner: str) -> bool:
    try:
        services.vault.open(text, owner)
    except CannotDecrypt:
        return False
    return True


def rotate_keys(services: Services) -> int:
    """Seal every stored secret, of all tenants, with the newest encryption key; how many there are.

    While everything goes on: who has read one just before opens it with the key before.

    :raises CannotDecrypt: no configured key opens one; those before it are done.
    """
    tables, number = services.tables, 0
    for column in (tables.connection.c.sealed_key, tables.audience.c.sealed_secret):
        table = column.table
        with services.begin() as tx:
            ids = [row.id for row in tx.rows(select(table.c.id).where(column.isnot(None)))]
        number += sum(_reseal(services, column, id_) for id_ in ids)
    return number


def _reseal(services: Services, column: Any, id_: int) -> bool:
    def work(tx: Transaction) -> bool:
        mine = column.table.c.id == id_
        sealed = tx.value(select(column).where(mine))
        if sealed is None:
            return False  # disconnected meanwhile
        # What another wrote meanwhile is sealed with the newest key as well.
        same = update(column.table).where(mine, column == sealed)
        tx.execute(same.values({column.name: services.vault.reseal(sealed)}))
        return True

    return services.transact(work)


def repair_webhooks(services: Services, tenant: str, *, anew: bool = False) -> None:
    """Have every webhook checked, and registered again where it is missing, right now.

    :param anew: replace good ones too, with new secrets; the token before stays good for a day.
    """
    connection = connect.of_tenant(services, tenant)
    table = services.tables.audience
    values: dict[str, Any] = {"webhook_checked_at": None} | ({"webhook_id": None} if anew else {})
    services.transact(
        lambda tx: tx.execute(
            update(table).where(table.c.connection_id == connection.id).values(**values)
        )
    )
    services.wake()
