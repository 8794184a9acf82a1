"""What changed in an audience lately, read in bulk where single readings would be too many.

Both journeys. Kept for half a minute, so that a long drain doesn't ask before each of its batches. But
it speaks of nobody twice, for whoever was looked at may have another status since, perhaps through us;
and of nobody who was to be looked at later than it began. Knows the client only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from .client import Client, MemberRead, pages

#: A look at what changed is not repeated so soon.
GOOD_FOR = timedelta(seconds=30)


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
        self,
        since: datetime | None,
        archived_since: datetime | None,
        asked_at: datetime | None,
        now: datetime,
    ) -> bool:
        """Whether it is as good as a new one.

        :param asked_at: when somebody last asked for a look.
        """
        changed = since is None or (self.since is not None and self.since <= since)
        archived = self.archived_since is None or (
            archived_since is not None and self.archived_since <= archived_since
        )
        heard = asked_at is None or asked_at < self.at
        return changed and archived and heard and now - self.at <= GOOD_FOR


class Recent:
    """The last reading of each audience."""

    def __init__(self, client: Client, now: Callable[[], datetime]) -> None:
        self._client, self._now = client, now
        self._last: dict[str, Reading] = {}
        self._looked_at: dict[str, set[str]] = {}

    def forget(self) -> None:
        """Others may have been at it since, or more was read in another way."""
        self._last.clear()

    def looked_at(self, list_id: str, addresses: Iterable[str]) -> None:
        """What was read says nothing of these any more."""
        self._looked_at.setdefault(list_id, set()).update(addresses)

    def read(
        self,
        list_id: str,
        since: datetime | None,
        archived_since: datetime | None,
        addresses: Iterable[str],
        asked_at: datetime | None,
    ) -> Reading:
        """Who changed in a list since then.

        :param since: None: only archived members are wanted.
        :param archived_since: Mailchimp shows archived members only if they are asked for; None: all.
        :param addresses: of whom something is to be known.
        :param asked_at: when the last of them was rung for.
        """
        now, last = self._now(), self._last.get(list_id)
        is_new = self._looked_at.get(list_id, set()).isdisjoint(addresses)
        if last is not None and is_new and last.covers(since, archived_since, asked_at, now):
            return last
        self._looked_at.pop(list_id, None)
        members: dict[str, MemberRead] = {}
        if since is not None:
            for page in pages(self._client, list_id, since):
                members |= {member.address: member for member in page}
        for page in pages(self._client, list_id, archived_since, status="archived"):
            members |= {member.address: member for member in page}
        reading = Reading(at=now, since=since, archived_since=archived_since, members=members)
        self._last[list_id] = reading
        return reading
