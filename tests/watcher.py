"""Looks into the database while a request to Mailchimp is on its way. For ``tests.invariants``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from flask_mailchimp_optin.testing.sandbox import RequestRecord
from tests.house import Host


@dataclass(frozen=True, kw_only=True)
class Met:
    """What a request that may subscribe somebody met when it arrived.

    :param always_confirm: the setting at that moment.
    """

    status: str | None
    last_changed: str | None = None
    always_confirm: bool = False


@dataclass(frozen=True, kw_only=True)
class _Order:
    """A status that a request sets: of an address, or of a hash as the path has it."""

    address: str | None = None
    hash: str | None = None
    verb: str


class Watcher:
    """Looks into the database while a request is on its way."""

    def __init__(
        self,
        host: Host,
        engine: Engine,
        meets: Callable[[int, str, Met], None],
        broken: Callable[[str], None],
    ) -> None:
        self._host, self._engine, self._meets, self._broken = host, engine, meets, broken
        self._tables = host.services.tables

    def arrived(self, request: RequestRecord) -> None:
        """Called in the sandbox's thread, before it answers."""
        if request.method == "GET" or "/webhooks" in request.path or "/lists/" not in request.path:
            return
        list_id = request.path.split("/lists/")[1].split("/")[0]
        orders = _orders(request)
        if not orders:
            return
        with self._engine.connect() as connection:
            for order in orders:
                self._look(connection, request, list_id, order)

    def _look(
        self, connection: Connection, request: RequestRecord, list_id: str, order: _Order
    ) -> None:
        contact = self._contact(connection, list_id, order)
        if contact is None:
            self._broken(f"{request.method} {order}: nothing was written down")
            return
        if order.verb in ("rejoin", "upsert"):
            member = self._host.sandbox.member(list_id, contact.address) or {}
            met = Met(
                status=member.get("status"),
                last_changed=member.get("last_changed"),
                always_confirm=self._always_confirm(connection, contact),
            )
            self._meets(request.index, contact.address, met)
        if contact.open_verb != order.verb:
            self._broken(f"{order}: {contact.open_verb!r} was written down")
        if not self._has_decision(connection, contact, order.verb):
            self._broken(f"{order}: there is no decision")

    def _contact(self, connection: Connection, list_id: str, order: _Order) -> Any:
        table, audiences = self._tables.contact, self._tables.audience
        query = (
            sa.select(table)
            .join(audiences, audiences.c.id == table.c.audience_id)
            .where(audiences.c.list_id == list_id)
        )
        if order.address is not None:
            return connection.execute(query.where(table.c.address == order.address)).first()
        rows = connection.execute(query.where(table.c.open_verb.isnot(None)))
        return next((row for row in rows if _hash(row.address) == order.hash), None)

    def _always_confirm(self, connection: Connection, contact: Any) -> bool:
        table = self._tables.connection
        query = sa.select(table.c.always_confirm).where(table.c.id == contact.connection_id)
        return bool(connection.execute(query).scalar())

    def _has_decision(self, connection: Connection, contact: Any, verb: str) -> bool:
        if verb == "upsert":
            return contact.wanted is True
        if verb == "remove" and contact.orphan is not None:
            return True  # the administrator's choice for customers who are gone
        table, customers = self._tables.decision, self._tables.customer
        keys = sa.select(customers.c.customer_key).where(customers.c.address == contact.address)
        query = sa.select(table.c.value).where(
            sa.or_(table.c.address == contact.address, table.c.customer_key.in_(keys))
        )
        values = {bool(value) for (value,) in connection.execute(query)}
        return bool(values) if verb == "ask" else (verb == "rejoin") in values


def _orders(request: RequestRecord) -> list[_Order]:
    """The statuses that a request sets."""
    body = request.body if isinstance(request.body, dict) else {}
    verbs = {"unsubscribed": "remove", "pending": "ask", "subscribed": "rejoin"}
    last = request.path.rstrip("/").rpartition("/members/")[2]
    if request.method == "DELETE" or last.endswith("/delete-permanent"):
        return [_Order(hash=last.split("/")[0], verb="remove")]
    if "status" in body:
        return [_Order(hash=last, verb=verbs.get(body["status"], "?"))]
    return [
        _Order(
            address=row["email_address"].lower(),
            verb=verbs.get(row["status"], "?") if row.get("status") else "upsert",
        )
        for row in body.get("members", ())
    ]


def _hash(address: str) -> str:
    return hashlib.md5(address.encode()).hexdigest()
