"""When the daily sync is, by the clock of its zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_mailchimp_optin.reconcile import next_daily, scheduled_day


@pytest.mark.parametrize(
    ("daily_at", "zone", "now", "expected"),
    [
        pytest.param("03:00", "UTC", "2026-03-01T02:59", "2026-03-01T03:00", id="later-today"),
        pytest.param("03:00", "UTC", "2026-03-01T03:00", "2026-03-02T03:00", id="just-begun"),
        pytest.param("03:15", "Asia/Kathmandu", "2026-03-01T12:00", "2026-03-01T21:30", id="zone"),
        pytest.param("02:30", "Europe/Berlin", "2026-03-28T12:00", "2026-03-29T01:00", id="leap"),
        pytest.param("02:30", "Europe/Berlin", "2026-10-24T12:00", "2026-10-25T00:30", id="twice"),
    ],
)
def test_the_next_daily_sync_is_when_the_clock_of_its_zone_says(
    daily_at: str, zone: str, now: str, expected: str
) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    found = next_daily(daily_at, zone, at)
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)
    # And that is the very minute from which it is due.
    before = scheduled_day(daily_at, zone, found - timedelta(minutes=1))
    assert before < scheduled_day(daily_at, zone, found)
