"""When a reading of a whole list is still as good as a new one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_mailchimp_optin.recent import Reading

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
HALF_A_MINUTE = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("since", "archived_since", "asked_at", "now", "good"),
    [
        (NOON, NOON, None, NOON, True),
        (NOON + TICK, NOON + TICK, None, NOON, True),
        (NOON - TICK, NOON, None, NOON, False),
        (NOON, NOON - TICK, None, NOON, False),
        (NOON, None, None, NOON, False),
        (NOON, NOON, NOON - TICK, NOON, True),
        (NOON, NOON, NOON, NOON, False),
        (NOON, NOON, None, NOON + HALF_A_MINUTE, True),
        (NOON, NOON, None, NOON + HALF_A_MINUTE + TICK, False),
    ],
)
def test_a_reading_serves_whoever_needs_no_older_and_no_newer_news(
    since: datetime,
    archived_since: datetime | None,
    asked_at: datetime | None,
    now: datetime,
    good: bool,
) -> None:
    last = Reading(at=NOON, since=NOON, archived_since=NOON, members={})
    assert last.covers(since, archived_since, asked_at, now) is good


@pytest.mark.parametrize("archived_since", [None, NOON - HALF_A_MINUTE, NOON])
def test_who_read_all_archived_members_has_those_of_any_time(
    archived_since: datetime | None,
) -> None:
    last = Reading(at=NOON, since=NOON, archived_since=None, members={})
    assert last.covers(NOON, archived_since, None, NOON)
    assert not last.covers(NOON - TICK, archived_since, None, NOON)
