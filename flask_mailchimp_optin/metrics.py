"""Gauges for Prometheus, read from database and Redis when they are scraped. Edge.

So whichever web process is asked says the same, and none counts for itself. All tenants together: no
label holds a tenant, an address or a key. ``prometheus_client`` is imported when it is scraped, and
never before: the extra ``metrics`` brings it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import Any

from flask import Flask
from sqlalchemy import Row, func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from . import attention, jobs, runs, site, state
from .errors import ConfigError
from .models import utc
from .reasons import REASONS
from .services import Services, Transaction
from .settle import WANTED

#: What a connection is at; the first that holds.
STATES = ("other_site", "stopped", "paused", "off", "slowed_down", "working")
_READ = ("id", "site", "suspended", "enabled", "paused_until", "synced_at", "created_at")


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """Something measured.

    :param name: without our prefix.
    :param label: what tells :attr:`values` apart; None: there is one value, by "".
    """

    name: str
    help: str
    values: Mapping[str, float]
    label: str | None = None


class Collector:
    """For a registry of ``prometheus_client``."""

    def __init__(self, app: Flask) -> None:
        """
        :raises ConfigError: ``prometheus_client`` is not installed.
        """
        if find_spec("prometheus_client") is None:
            raise ConfigError(
                "Metrics need prometheus_client: pip install Flask-Mailchimp-Optin[metrics]."
            )
        self._app = app

    def describe(self) -> list[Any]:
        """Nothing: a registry would otherwise read the database when this is registered."""
        return []

    def collect(self) -> Iterator[Any]:
        """The gauges, as they are now."""
        from prometheus_client.core import GaugeMetricFamily  # the extra's, and only here

        with self._app.app_context():
            found = gauges(state.of(self._app))
        for gauge in found:
            labels = [] if gauge.label is None else [gauge.label]
            name = f"mailchimp_optin_{gauge.name}"
            family = GaugeMetricFamily(name, gauge.help, labels=labels)
            for value, number in gauge.values.items():
                family.add_metric([value] if labels else [], number)
            yield family


def gauges(here: state.State) -> list[Gauge]:
    """All that is measured; without the database, or without Redis, what the other says."""
    found, up = [], 1
    try:
        with here.services.begin() as tx:
            for read in (_connections, _changes, _due, _optouts, _rings, _syncs, _attention):
                found += read(tx, here.services)
    except SQLAlchemyError:
        found, up = [], 0
    return [_one("database_up", "Whether the database answers.", up), *found, *_queue(here)]


def _one(name: str, help_: str, value: float) -> Gauge:
    return Gauge(name=name, help=help_, values={"": value})


def _age(services: Services, since: datetime | None) -> float:
    """In seconds; 0 of what isn't there."""
    return 0.0 if since is None else max(0.0, (services.now() - utc(since)).total_seconds())


def _connections(tx: Transaction, services: Services) -> list[Gauge]:
    table, sync = services.tables.connection, services.tables.sync_run
    here = site.here(tx, services)
    paused = select(sync.c.connection_id).where(
        sync.c.state == runs.WAITING, sync.c.message.is_(None)
    )
    by_person = {row.connection_id for row in tx.rows(paused)}
    rows = tx.rows(select(*(table.c[name] for name in _READ)))
    states = dict.fromkeys(STATES, 0)
    for row in rows:
        states[_state(services, row, here, by_person)] += 1
    ages = [_age(services, row.synced_at or row.created_at) for row in rows if row.enabled]
    return [
        Gauge(
            name="connections",
            help="Tenants' connections, by what they are at.",
            label="state",
            values=states,
        ),
        _one(
            "last_sync_age_seconds",
            "Since the last complete sync, of the enabled connection that had none for longest.",
            max(ages, default=0.0),
        ),
    ]


def _state(services: Services, row: Row[Any], here: str, by_person: set[int]) -> str:
    slowed = row.paused_until is not None and utc(row.paused_until) > services.now()
    holds = (
        row.site != here,
        row.suspended is not None,
        row.id in by_person,
        not row.enabled,
        slowed,
        True,
    )
    return STATES[holds.index(True)]


def _changes(tx: Transaction, services: Services) -> list[Gauge]:
    outbox = services.tables.outbox
    row: Any = tx.row(select(func.sum(outbox.c.number), func.min(outbox.c.created_at)))
    number, oldest = row
    return [
        _one("changes_waiting", "Changes of customers that nobody has looked at.", number or 0),
        _one("oldest_change_age_seconds", "Age of the oldest of them.", _age(services, oldest)),
    ]


def _due(tx: Transaction, services: Services) -> list[Gauge]:
    contact, connection = services.tables.contact, services.tables.connection
    mine = contact.c.connection_id == connection.c.id
    number = sum(
        tx.value(
            select(func.count())
            .select_from(connection.join(contact, mine))
            .where(contact.c.wanted.is_(wanted), contact.c.due_at <= services.now())
        )
        for wanted in WANTED  # each is a range of the index
    )
    return [_one("contacts_due", "Contacts to settle with Mailchimp.", number)]


def _optouts(tx: Transaction, services: Services) -> list[Gauge]:
    contact, connection = services.tables.contact, services.tables.connection
    mine = contact.c.connection_id == connection.c.id
    row: Any = tx.row(
        select(func.count(), func.min(contact.c.due_at))
        .select_from(connection.join(contact, mine))
        .where(
            contact.c.wanted.is_(False),
            contact.c.due_at <= services.now(),
            contact.c.decided_version > contact.c.settled_version,
        )
    )
    number, oldest = row
    return [
        _one("optouts_due", "Opt-outs that Mailchimp has not been told.", number),
        _one("oldest_optout_age_seconds", "How long the oldest is due.", _age(services, oldest)),
    ]


def _rings(tx: Transaction, services: Services) -> list[Gauge]:
    events, audience = services.tables.webhook_event, services.tables.audience
    waiting = select(func.count(), func.min(events.c.received_at)).where(events.c.outcome.is_(None))
    row: Any = tx.row(waiting)
    number, oldest = row
    problems = select(func.count()).where(
        audience.c.webhook_problem.isnot(None), audience.c.gone_at.is_(None)
    )
    return [
        _one("rings_waiting", "Webhooks received that nobody has looked at.", number),
        _one("oldest_ring_age_seconds", "Age of the oldest of them.", _age(services, oldest)),
        _one("webhook_problems", "Lists whose webhook is not as it should be.", tx.value(problems)),
    ]


def _syncs(tx: Transaction, services: Services) -> list[Gauge]:
    table = services.tables.sync_run
    waits = or_(table.c.state == runs.RUNNING, table.c.state == runs.WAITING)
    by_state = select(table.c.state, func.count().label("number")).where(waits)
    found = {row.state: row.number for row in tx.rows(by_state.group_by(table.c.state))}
    return [
        Gauge(
            name="syncs",
            help="Syncs that run, or wait for a person.",
            label="state",
            values={one: found.get(one, 0) for one in (runs.RUNNING, runs.WAITING)},
        )
    ]


def _attention(tx: Transaction, services: Services) -> list[Gauge]:
    found = attention.counts(tx, services)
    return [
        Gauge(
            name="attention",
            help="Customers that need attention, by reason.",
            label="reason",
            values=dict.fromkeys(REASONS, 0) | found,
        )
    ]


def _queue(here: state.State) -> list[Gauge]:
    try:
        workers, waiting = jobs.crew(here.config, here.redis)
    except Exception:  # whatever others wrote there is no fault of ours
        return [_one("redis_up", "Whether Redis answers.", 0)]
    return [
        _one("redis_up", "Whether Redis answers.", 1),
        _one("workers", "Workers that listen on our queue.", workers),
        _one("jobs_waiting", "Jobs on our queue that no worker has begun.", waiting),
    ]
