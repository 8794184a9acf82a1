"""A host for many cells of a table, and how it comes to rest after each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import update

from flask_mailchimp_optin import acts, connect, overviews
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.faults.journeys import never_daily
from tests.faults.processes import until
from tests.house import Clock, Host, hosting


class Stage:
    """A host for the cells of one journey; another one after a cell that went wrong."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._journey, self._good = folder, "", False
        self._open = ExitStack()
        self._host: Host | None = None

    def host_for(self, journey: str, **settings: Any) -> Host:
        """A connected host, in whose customers nobody else is interested any more."""
        if self._host is None or self._journey != journey or not self._good:
            self.close()
            clock = Clock()
            sandbox = MailchimpSandbox(clock=clock)
            self._host = self._open.enter_context(hosting(self._folder, sandbox, clock))
            self._host.app.config["WTF_CSRF_ENABLED"] = False
            self._host.connect(**settings)
            never_daily(self._host)
            self._journey = journey
        self._good = False
        return self._host

    def good(self) -> None:
        """The cell went well: its host may be used again."""
        self._good = True

    def close(self) -> None:
        """Give the host up."""
        self._open.close()


def expire_lease(host: Host) -> None:
    """As if its holder had stood still for too long."""
    services, long_ago = host.services, datetime.now(UTC) - timedelta(hours=1)
    with host.app.app_context(), services.begin() as tx:
        tx.execute(update(services.tables.connection).values(lease_until=long_ago))


def until_quiet(host: Host, work: Callable[[], None] | None = None) -> None:
    """Work off, let the pauses pass that Mailchimp was given, and late requests land."""
    for _ in range(8):
        (work or host.work)()
        until(lambda: host.sandbox.connections == 0)
        connections, contacts = host.rows("connection"), host.rows("contact")
        paused = any(row.paused_until for row in connections)
        if not paused and not any(row.due_at for row in contacts):
            return
        host.clock.turn(minutes=3)
    (work or host.work)()


def take_the_way_out(host: Host) -> None:
    """What the pages tell an administrator to do: a key again, lists again, "Try again"."""
    with host.app.app_context():
        overview = overviews.read(host.services, "")
        if overview.suspended or any(row.gone for row in overview.lists):
            connect.connect(host.services, "", host.sandbox.api_key)
        acts.retry(host.services, "")
        if any(row.webhook_problem for row in overview.lists):
            acts.repair_webhooks(host.services, "")
    until_quiet(host)
