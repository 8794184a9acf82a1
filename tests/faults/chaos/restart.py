"""After a death: everything is started again, time passes, and the sweeps of those minutes are made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from flask_mailchimp_optin import jobs, waiting
from tests.faults.chaos.parts import House
from tests.faults.chaos.scenarios import Act

#: When a late request takes effect; Mailchimp gives up after 120 s.
LATE_S = 100


def restart(house: House, afterwards: Act | None) -> None:
    """Sweep at once and again, until whatever may still land has landed and every pause is over.

    :param afterwards: what happens after the first sweep.
    """
    _leases_end(house)
    for seconds in (0, LATE_S, 100, 180, 1200):
        house.clock.turn(seconds=seconds)
        house.sandbox.land_late(everything=False)
        assert house.sandbox.wait_for_rings(10), "a ring is never answered"
        _sweep(house)
        if seconds == 0 and afterwards is not None:
            do(house, afterwards)
            _sweep(house)


def do(house: House, act: Act) -> None:
    """Something happens in this process, and is taken down."""
    act(house.host)
    assert house.sandbox.wait_for_rings(10)
    house.host.take_down()


def _leases_end(house: House) -> None:
    """The leases of the dead run out: by the database's clock, which is not ours to turn."""
    table = house.host.services.tables.connection
    with house.engine.begin() as connection:
        held = sa.update(table).where(table.c.lease_until.isnot(None))
        connection.execute(held.values(lease_until=datetime.now(UTC) - timedelta(hours=1)))


def _sweep(house: House) -> None:
    """``flask mailchimp sweep``, as cron makes it."""
    with house.app.app_context():
        for _ in range(20):
            jobs.sweep()
            if not waiting.connections_with_work(house.host.services):
                return
