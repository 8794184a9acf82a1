"""Members of an audience, and the order in which a million of them can be read page by page.

A member's times are kept as Mailchimp writes them (ISO 8601, UTC, one second): they sort as text.
Imports only the record types.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

EMPTY: Mapping[str, Any] = MappingProxyType({})


def _empty() -> Mapping[str, Any]:
    return EMPTY


_FEW = 64  # more changes than this: sorting anew is cheaper than moving single keys
_KEPT_SELECTIONS = 4
_SPACE_ZONE = re.compile(r" (\d\d:?\d\d)$")


def subscriber_hash(address: str) -> str:
    """The id that Mailchimp gives an address: MD5 of its lower-case form."""
    lower = address.lower().encode("utf-8", "surrogatepass")
    return hashlib.md5(lower, usedforsecurity=False).hexdigest()


def iso(moment: datetime) -> str:
    """A time as Mailchimp writes it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


@lru_cache(maxsize=256)  # the members of one batch have one time
def parsed_time(text: str) -> str:
    """Any ISO 8601 time in Mailchimp's own form; a time without zone is taken for UTC.

    :raises ValueError: it is not a time.
    """
    # A `+` of a query string that was not escaped arrives as a space.
    moment = datetime.fromisoformat(_SPACE_ZONE.sub(r"+\1", text.strip()))
    return iso(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


@dataclass(slots=True, kw_only=True)
class Member:
    """One address in one audience; mappings are replaced, never changed in place.

    :param compliance: why the API may not subscribe them: ``unsubscribed``, ``bounced`` or ``""``.
    :param merge_fields: only those that were set; an unset one is read as ``""``.
    :param tags: name to (id, time added).
    """

    id: str
    email_address: str
    seq: int
    unique_email_id: str
    contact_id: str
    web_id: int
    status: str = ""
    email_type: str = "html"
    unsubscribe_reason: str = ""
    compliance: str = ""
    merge_fields: Mapping[str, Any] = field(default_factory=_empty)
    interests: Mapping[str, bool] = field(default_factory=_empty)
    permissions: Mapping[str, bool] = field(default_factory=_empty)
    tags: Mapping[str, tuple[int, str]] = field(default_factory=_empty)
    ip_signup: str = ""
    timestamp_signup: str = ""
    ip_opt: str = ""
    timestamp_opt: str = ""
    last_changed: str = ""
    unsubscribed_at: str = ""
    language: str = ""
    vip: bool = False
    latitude: float = 0
    longitude: float = 0
    source: str = "API - Generic"
    order_key: str = ""
    shelved: bool = False  # in the order of the archived ones


Test = Callable[[Member], bool]


class _Order:
    """Sorted keys (``last_changed`` and number), brought up to date only when somebody reads."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._gone: set[str] = set()
        self._came: set[str] = set()

    def join(self, key: str) -> None:
        if key in self._gone:
            self._gone.discard(key)
        else:
            self._came.add(key)

    def leave(self, key: str) -> None:
        if key in self._came:
            self._came.discard(key)
        else:
            self._gone.add(key)

    def keys(self) -> list[str]:
        if len(self._gone) + len(self._came) <= _FEW:
            for key in self._gone:
                del self._keys[bisect_left(self._keys, key)]
            for key in self._came:
                insort(self._keys, key)
        else:
            kept = self._came.union(self._keys).difference(self._gone)
            self._keys = sorted(kept)
        self._gone.clear()
        self._came.clear()
        return self._keys

    def between(self, since: str, before: str) -> tuple[int, int]:
        """Where the keys from ``since`` to just before ``before`` stand; ``""`` is no limit."""
        keys = self.keys()
        first = bisect_left(keys, since) if since else 0
        return first, max(first, bisect_left(keys, before) if before else len(keys))


class Members:
    """All members of an audience: found by hash, read in order, counted by status.

    The usual reading, by ``last_changed`` and without archived members, is cut out of a sorted
    list. Any other selection is kept until the next write, so that a million members read in
    pages cost one pass, not one pass a page.
    """

    def __init__(self) -> None:
        self.by_hash: dict[str, Member] = {}
        self.by_contact: dict[str, Member] = {}
        self.counts: Counter[str] = Counter()
        self._by_seq: dict[int, Member] = {}
        self._orders = {False: _Order(), True: _Order()}  # by whether archived
        self._next_seq = 0
        self._selections: OrderedDict[object, list[Member]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_seq)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._by_seq.values())

    def next_seq(self) -> int:
        self._next_seq += 1
        return self._next_seq

    def find(self, key: str) -> Member | None:
        """By MD5, by address or by contact id: Mailchimp takes all three in a path."""
        found = self.by_hash.get(key) or self.by_contact.get(key)
        return found or self.by_hash.get(subscriber_hash(key))

    def add(self, member: Member) -> None:
        self.by_hash[member.id] = member
        self.by_contact[member.contact_id] = member
        self._by_seq[member.seq] = member

    def remove(self, member: Member) -> None:
        del self.by_hash[member.id], self.by_contact[member.contact_id]
        del self._by_seq[member.seq]
        self.counts[member.status] -= 1
        self._orders[member.shelved].leave(member.order_key)
        self._selections.clear()

    def rename(self, member: Member, address: str) -> None:
        del self.by_hash[member.id]
        member.id, member.email_address = subscriber_hash(address), address
        self.by_hash[member.id] = member

    def set_status(self, member: Member, status: str) -> None:
        if member.status:
            self.counts[member.status] -= 1
        self.counts[status] += 1
        member.status = status

    def touch(self, member: Member, at: str) -> None:
        """The member changed at this time; also needed once for a new one."""
        self._selections.clear()
        if member.order_key:
            self._orders[member.shelved].leave(member.order_key)
        member.shelved = member.status == "archived"
        member.last_changed, member.order_key = at, f"{at}{member.seq:012d}"
        self._orders[member.shelved].join(member.order_key)

    def page(
        self,
        question: Hashable,
        test: Test | None,
        *,
        sort: str,
        descending: bool,
        since: str,
        before: str,
        offset: int,
        count: int,
    ) -> tuple[list[Member], int]:
        """A page of the members that pass, and how many there are in all.

        :param question: identifies the selection; a write makes all kept ones forgotten.
        :param test: None for everybody who is not archived.
        :param sort: ``last_changed``, another time attribute, or ``""`` for the order of arrival.
        :param since: the earliest ``last_changed``, inclusive, or ``""``.
        :param before: the first ``last_changed`` too late, or ``""``.
        """
        if test is None and sort == "last_changed" and not descending:
            order = self._orders[False]
            first, last = order.between(since, before)
            keys = order.keys()[first + offset : min(last, first + offset + count)]
            return [self._by_seq[int(key[-12:])] for key in keys], last - first
        found = self._selections.get(question)
        if found is None:
            found = self._selected(test or _not_archived, sort, since, before)
            if descending:
                found.reverse()
            self._selections[question] = found
            if len(self._selections) > _KEPT_SELECTIONS:
                self._selections.popitem(last=False)
        return found[offset : offset + count], len(found)

    def _selected(self, test: Test, sort: str, since: str, before: str) -> list[Member]:
        found = [
            m
            for m in self._by_seq.values()
            if test(m) and m.last_changed >= since and (not before or m.last_changed < before)
        ]
        if sort:
            found.sort(key=lambda m: (getattr(m, sort), m.seq))
        return found


def _not_archived(member: Member) -> bool:
    return member.status != "archived"
