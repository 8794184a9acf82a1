"""What is there after a transaction of the host, and what there is when all is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from flask_mailchimp_optin import waiting, waking
from flask_mailchimp_optin.models import utc
from tests.faults.chaos.parts import House
from tests.house import Customer

#: A contact's columns that say that something is still to come.
_OPEN = ("open_verb", "late_verb", "late", "moved_from", "orphan", "due_at")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What people see when all is done, and what is still waiting, held or open."""

    boxes: list[str]
    statuses: dict[str, list[tuple[str, str]]]
    left_over: frozenset[str]


def facts(house: House) -> Any:
    """What one transaction of the host writes, without ids and times: all of it or nothing."""
    tables = house.host.services.tables
    wanted = {
        Customer.__table__: ("mail", "given_name", "wants_news", "own_list"),
        tables.outbox: ("tenant", "number", "has_no"),
        tables.decision: ("value", "previous", "source", "address"),
        tables.connection: ("enabled", "master_audience_id", "epoch"),
        tables.sync_run: ("kind", "state", "phase"),
    }
    with house.engine.connect() as connection:
        return [
            sorted(
                repr(tuple(row))
                for row in connection.execute(sa.select(*(table.c[name] for name in names)))
            )
            for table, names in wanted.items()
        ]


def outcome(house: House) -> Outcome:
    """How it is now."""
    with house.engine.connect() as connection:
        rows = connection.execute(sa.select(Customer.mail, Customer.wants_news))
        boxes = sorted(repr(tuple(row)) for row in rows)
    members = house.sandbox.members
    return Outcome(
        boxes=boxes,
        statuses={
            name: sorted((address, m["status"]) for address, m in members(list_id).items())
            for list_id, name in house.sandbox.audiences.items()
        },
        left_over=frozenset(_left_over(house)),
    )


def _left_over(house: House) -> Iterator[str]:
    host = house.host
    with house.app.app_context():
        if waiting.connections_with_work(host.services):
            yield "there is still work"
    for row in host.rows("connection"):
        if row.suspended or (row.lease_until and utc(row.lease_until) > datetime.now(UTC)):
            yield "the connection is held or suspended"
    for row in host.rows("contact"):
        open_ = [name for name in _OPEN if getattr(row, name, None)]
        if open_ or (row.acked_version < row.version and row.refusal is None):
            yield f"contact {row.address}: {open_}"
    if host.rows("outbox"):
        yield "the outbox is not empty"
    for row in host.rows("sync_run"):
        if row.state == "running":
            yield f"a sync: {row.kind}, {row.phase}"
    flag = waking.flag(house.queue)
    if house.redis.exists(flag) and house.redis.ttl(flag) < 0:
        yield "the flag in Redis never ends"
