"""What changed in an audience lately, read in bulk where single readings would be too many.

Both journeys. Kept for half a minute, so that a long drain doesn't ask before each of its batches.
Knows the client only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from .client import Client, MemberRead, pages

_GOOD_FOR = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Members by canonical address.

    :param at: when the reading began; what it shows is not newer.
    :param since: everybody who changed after this is shown; None: archived members only.
    :param archived_since: the same for archived members; None: all of them.
    """

    at: datetime
    since: datetime | None
    archived_since: datetime | None
    members: Mapping[str, MemberRead]

    def covers(
        self, since: datetime | None, archived_since: datetime | None, now: datetime
    ) -> bool:
        """Whether it is as good as a new one."""
        changed = since is None or (self.since is not None and self.since <= since)
        archived = self.archived_since is None or (
            archived_since is not None and self.archived_since <= archived_since
        )
        return changed and archived and now - self.at <= _GOOD_FOR


class Recent:
    """The last reading of each audience."""

    def __init__(self, client: Client, now: Callable[[], datetime]) -> None:
        self._client, self._now = client, now
        self._last: dict[str, Reading] = {}

    def read(
        self, list_id: str, since: datetime | None, archived_since: datetime | None
    ) -> Reading:
        """Who changed in a list since then.

        :param since: None: only archived members are wanted.
        :param archived_since: Mailchimp shows archived members only if they are asked for; None: all.
        """
        now, last = self._now(), self._last.get(list_id)
        if last is not None and last.covers(since, archived_since, now):
            return last
        members: dict[str, MemberRead] = {}
        if since is not None:
            for page in pages(self._client, list_id, since):
                members |= {member.address: member for member in page}
        for page in pages(self._client, list_id, archived_since, status="archived"):
            members |= {member.address: member for member in page}
        reading = Reading(at=now, since=since, archived_since=archived_since, members=members)
        self._last[list_id] = reading
        return reading
