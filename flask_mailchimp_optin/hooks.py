"""The webhooks at Mailchimp: registered when a list becomes a target, checked daily, repaired, removed.

Only a token's hash is kept. It is stored before Mailchimp hears the address, for Mailchimp checks the
address at once; the token before it stays good while the new one is on its way.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, and_, exists, or_, select, update

from .errors import (
    KeyRefused,
    MailchimpError,
    MemberRefused,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RequestRefused,
    TryLater,
)
from .lease import Lease
from .services import Services, Transaction
from .texts import N_, Text
from .vault import CannotDecrypt, new_token, token_hash
from .webhook import TYPES, Door

if TYPE_CHECKING:
    from .client import Client, Webhook

_EVERY = timedelta(hours=24)
_SOON = timedelta(minutes=2)
_DOORS = 1000  # that a process remembers
_KNOCK = "knock"  # what such an address is sealed for
#: What is said there.
AT_HOME = "this is the site"
NO_PUBLIC_URL = N_(
    "Without MAILCHIMP_OPTIN_PUBLIC_URL Mailchimp can't reach this site: changes there come in with "
    "the daily sync only."
)


def targets(services: Services, connection: Row[Any]) -> Any:
    """The SQL condition for audiences that customers of the connection go to."""
    table, customer = services.tables.audience, services.tables.customer
    used = exists().where(
        customer.c.audience_id == table.c.id, customer.c.connection_id == connection.id
    )
    return or_(table.c.id == connection.master_audience_id, used)


def unchecked(services: Services) -> Any:
    """The SQL condition for audiences whose webhooks nobody has looked at today."""
    table = services.tables.audience
    checked = table.c.webhook_checked_at
    late = or_(checked.is_(None), checked < services.now() - _EVERY)
    return and_(table.c.gone_at.is_(None), late)


def _to_check(services: Services, connection: Row[Any]) -> Any:
    table = services.tables.audience
    is_target = targets(services, connection)
    return (
        select(table, is_target.label("is_target"))
        .where(table.c.connection_id == connection.id, unchecked(services))
        .where(or_(is_target, table.c.webhook_id.isnot(None)))
        .order_by(table.c.id)
        .limit(1)
    )


def due(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    """Whether a webhook has to be registered, checked or removed."""
    return tx.row(_to_check(services, connection)) is not None


def check(services: Services, lease: Lease, connection: Row[Any], client: Client) -> bool:
    """Look after one audience's webhook; whether there was one to look after."""
    with services.begin() as tx:
        audience = tx.row(_to_check(services, connection))
    if audience is None:
        return False
    checked_at = services.now()
    try:
        if not audience.is_target:
            remove(services, client, audience)
            return True
        problem = _ensure(services, client, audience)
    except (KeyRefused, PermissionDenied):
        raise
    except (TryLater, OutcomeUnknown) as error:
        # Soon again; but what is to be sent doesn't wait for a webhook.
        problem, checked_at = str(error), checked_at - _EVERY + _SOON
    except NotFound:
        problem = N_("The list is gone at Mailchimp. Refresh the lists and choose another one.")
    except (MemberRefused, RequestRefused) as error:
        problem = Text(
            "Mailchimp did not accept %(url)s for its webhook (%(status)s). Make sure that it can be "
            "reached from the internet; it is tried again tomorrow, or now with “Repair”.",
            url=services.config.PUBLIC_URL,
            status=str(error.status),
        )
    _write(services, audience.id, webhook_checked_at=checked_at, webhook_problem=problem)
    return True


def _ensure(services: Services, client: Client, audience: Row[Any]) -> str | None:
    """Register the webhook unless it is there as it should be; the problem, in plain words."""
    base = services.webhook_url("")
    if base is None:
        return NO_PUBLIC_URL
    there = False
    for hook in client.webhooks(audience.list_id):
        if hook.id == audience.webhook_id and _as_registered(hook) and hook.url.startswith(base):
            there = True
        elif hook.id == audience.webhook_id or _is_lost(services, hook, base, audience.id):
            # Changed by somebody, or left by a registration that was cut off: its token is lost.
            client.remove_webhook(audience.list_id, hook.id)
    if there:
        _end_overlap(services, audience)
    else:
        register(services, client, audience)
    return None


def _is_lost(services: Services, hook: Webhook, base: str, audience_id: int) -> bool:
    """Whether a webhook leads here without being another tenant's."""
    if not hook.url.startswith(base):
        return False
    with services.begin() as tx:
        owner = by_token(tx, services, hook.url.removeprefix(base))
    return owner is None or owner.id == audience_id


def _end_overlap(services: Services, audience: Row[Any]) -> None:
    """A day after a rotation nothing comes with the token and the secret before any more."""
    if audience.token_hash_before is None:
        return
    sealed = audience.sealed_secret
    if sealed is not None:
        sealed = _seal(services, audience, signing_secrets(services, audience)[:1])
    _write(services, audience.id, token_hash_before=None, sealed_secret=sealed)


def _as_registered(hook: Webhook) -> bool:
    events = all(hook.events.get(name) for name in TYPES)
    return events and not hook.sources.get("api") and bool(hook.sources.get("user"))


def is_there(services: Services, client: Client, audience: Row[Any]) -> bool:
    """Whether Mailchimp has the audience's webhook as we registered it, with an address that we know."""
    base = services.webhook_url("")
    if base is None:
        return False
    for hook in client.webhooks(audience.list_id):
        if hook.id == audience.webhook_id and _as_registered(hook) and hook.url.startswith(base):
            with services.begin() as tx:
                owner = by_token(tx, services, hook.url.removeprefix(base))
            return owner is not None and owner.id == audience.id
    return False


def register(services: Services, client: Client, audience: Row[Any]) -> None:
    """Register a webhook with a new token; the token before it stays good until the next check."""
    token = new_token()
    url = services.webhook_url(token)
    if url is None:
        return
    _write(
        services,
        audience.id,
        token_hash=token_hash(token),
        token_hash_before=audience.token_hash,
    )
    hook = client.register_webhook(audience.list_id, url)
    sealed = None
    if hook.signing_secret:
        before = signing_secrets(services, audience)[:1]
        sealed = _seal(services, audience, [hook.signing_secret, *before])
    _write(services, audience.id, webhook_id=hook.id, sealed_secret=sealed)


def signing_secrets(services: Services, audience: Row[Any]) -> list[str]:
    """The secrets that sign the audience's rings, newest first; two during rotation.

    :raises CannotDecrypt: their encryption key is missing.
    """
    if audience.sealed_secret is None:
        return []
    return services.vault.open(audience.sealed_secret, f"webhook:{audience.id}").split("\n")


def _seal(services: Services, audience: Row[Any], secret: list[str]) -> str:
    return services.vault.seal("\n".join(secret), f"webhook:{audience.id}")


def remove(services: Services, client: Client, audience: Row[Any]) -> None:
    """Remove our webhook at Mailchimp and forget its secrets."""
    if audience.webhook_id is not None:
        client.remove_webhook(audience.list_id, audience.webhook_id)
    nothing = dict.fromkeys(
        ("webhook_id", "sealed_secret", "token_hash", "token_hash_before", "webhook_problem")
    )
    _write(services, audience.id, webhook_checked_at=services.now(), **nothing)


def remove_all(services: Services, connection: Row[Any], client: Client) -> list[str]:
    """Remove every webhook of ours; the names of the lists where that was not possible."""
    table = services.tables.audience
    with services.begin() as tx:
        rows = tx.rows(
            select(table).where(
                table.c.connection_id == connection.id, table.c.webhook_id.isnot(None)
            )
        )
    left = []
    for row in rows:
        try:
            remove(services, client, row)
        except MailchimpError:
            left.append(row.name)
    return left


def door(services: Services, token: str, *, anew: bool = False) -> Door | None:
    """What is known of the address with this token; None if it is nobody's, or was not remembered.

    :param anew: from the database; equal work for known and unknown tokens.
    """
    hashed = token_hash(token)
    if not anew:
        return services.doors.get(hashed)
    with services.begin() as tx:
        audience = by_token(tx, services, token)
    if audience is None:
        services.doors.pop(hashed, None)
        return None
    secrets: list[str] = []
    with suppress(CannotDecrypt):
        secrets = signing_secrets(services, audience)
    if len(services.doors) > _DOORS:
        services.doors.clear()
    services.doors[hashed] = found = Door(
        audience_id=audience.id,
        list_id=audience.list_id,
        hashed=hashed,
        sealed=audience.sealed_secret,
        secrets=tuple(secrets),
    )
    return found


def knock(services: Services) -> str | None:
    """An address at which only this site knows what to say; None without a public address."""
    return services.webhook_url(services.vault.seal(new_token(), _KNOCK))


def is_knock(services: Services, token: str) -> bool:
    """Whether somebody with our encryption keys asks if this is us."""
    try:
        services.vault.open(token, _KNOCK)
    except CannotDecrypt:
        return False
    return True


def by_token(tx: Transaction, services: Services, token: str) -> Row[Any] | None:
    """The audience that a webhook token belongs to; equal work for known and unknown tokens."""
    table, hashed = services.tables.audience, token_hash(token)
    return tx.row(
        select(table)
        .where(or_(table.c.token_hash == hashed, table.c.token_hash_before == hashed))
        .limit(1)
    )


def _write(services: Services, audience_id: int, **values: Any) -> None:
    table = services.tables.audience

    def work(tx: Transaction) -> None:
        tx.execute(update(table).where(table.c.id == audience_id).values(**values))

    services.transact(work)
