"""Mailchimp's endpoints: what can be asked and told, over the transport of our own.

One outside thing, both journeys. Everything that leaves here is a frozen dataclass or an error of
``errors.py``; no answer's body, no address and no key gets into a message or a log.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from .addresses import canonical_or_none, subscriber_hash
from .credential import Credential
from .errors import (
    LeaseLost,
    MemberRefused,
    NotFound,
    OutcomeUnknown,
    TryLater,
)
from .problems import CUT_OFF, refusal
from .transport import Transport
from .webhook import TYPES

PAGE = 1000  # members that one call shows at most
#: Where the next page begins: offsets shift while others write, so some rows are read twice.
STEP = PAGE - 5
LARGEST_BATCH = 500  # members in one call, says Mailchimp
_MEMBER = ("email_address", "status", "last_changed", "timestamp_opt")  # nothing else is asked for


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whose key it is."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Audience:
    """A Mailchimp list as the account shows it now."""

    list_id: str
    web_id: str
    name: str
    double_optin: bool
    member_count: int
    subscribe_url: str


@dataclass(frozen=True, kw_only=True)
class MergeField:
    """A field of an audience's members beside the address.

    :param type: Mailchimp's word, such as ``text``, ``phone`` or ``address``.
    :param choices: what a ``dropdown`` or ``radio`` field takes.
    :param phone_format: of a ``phone`` field: ``US``, or any other.
    """

    tag: str
    name: str
    type: str
    required: bool = False
    choices: tuple[str, ...] = ()
    phone_format: str = ""


@dataclass(frozen=True, kw_only=True)
class MemberRead:
    """A member as Mailchimp shows them now; the address in canonical form, times aware UTC."""

    address: str
    status: str
    last_changed: datetime | None
    timestamp_opt: datetime | None
    merge_fields: Mapping[str, Any] | None = None  # only of a reading that asked for them


@dataclass(kw_only=True, slots=True)
class Write:
    """One member of a batch: ``status_if_new`` leaves an existing status alone, ``status`` sets it."""

    address: str
    status: str | None = None
    status_if_new: str | None = None
    merge_fields: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    interests: Mapping[str, bool] = field(default_factory=dict)
    permissions: Mapping[str, bool] = field(default_factory=dict)
    language: str | None = None
    timestamp_opt: datetime | None = None
    ip_opt: str | None = None

    def body(self) -> dict[str, Any]:
        """As Mailchimp's description of ``POST /lists/{list_id}`` has it."""
        body: dict[str, Any] = {"email_address": self.address}
        if self.status:
            body["status"] = self.status
        if self.status_if_new:
            body["status_if_new"] = self.status_if_new
        if self.language:
            body["language"] = self.language
        if self.ip_opt:
            body["ip_opt"] = self.ip_opt
        if self.timestamp_opt:
            body["timestamp_opt"] = _written_time(self.timestamp_opt)
        if self.merge_fields:
            body["merge_fields"] = dict(self.merge_fields)
        if self.tags:
            body["tags"] = list(self.tags)
        if self.interests:
            body["interests"] = dict(self.interests)
        if self.permissions:
            body["marketing_permissions"] = [
                {"marketing_permission_id": id_, "enabled": yes}
                for id_, yes in self.permissions.items()
            ]
        return body


@dataclass(frozen=True, kw_only=True)
class BatchAnswer:
    """What became of a batch, by canonical address. An address in neither is unknown.

    :param created: those of the members who were none before.
    """

    members: Mapping[str, MemberRead]
    refused: Mapping[str, MemberRefused]
    created: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A registered webhook; the signing secret is shown once, when it is made."""

    id: str
    url: str = field(repr=False)  # holds our token
    signing_secret: str | None = field(repr=False)
    events: Mapping[str, bool] = field(default_factory=dict)
    sources: Mapping[str, bool] = field(default_factory=dict)


class Client:
    """Mailchimp for one key or token. Every method raises :class:`~.errors.MailchimpError` and nothing
    else.

    :ivar until: no write begins after this (``time.monotonic()``): a process that was stopped in between
        would speak out of turn; it meets :class:`~.errors.LeaseLost` instead. None: at any time.
    """

    until: float | None = None

    def __init__(
        self,
        api_key: str | Credential,
        *,
        api_url: str | None = None,
        timeout_s: float = 30.0,
        details: bool = False,
    ) -> None:
        """
        :param api_key: a key is checked here again, so that no other text becomes a host name.
        :param details: readings of members show their merge fields too.
        :raises RefusedInput: the key has not the form of one.
        """
        self._shown = (*_MEMBER, "merge_fields") if details else _MEMBER
        if isinstance(api_key, str):
            api_key = Credential.of_key(api_key)
        self._library = Transport(api_key, api_url=api_url, timeout_s=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the pooled connections back."""
        self._library.close()

    @property
    def clock(self) -> datetime | None:
        """What time it was at Mailchimp, in whole seconds, when it answered last; None: not known."""
        try:
            return parsedate_to_datetime(self._library.date).astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    # Account and audiences

    def account(self) -> Account:
        """Whose key it is; the call that tells a good key from a bad one."""
        answer = self._get("", fields="account_id,account_name")
        if not answer.get("account_id"):
            raise TryLater(CUT_OFF)
        return Account(name=_text(answer, "account_name"))

    def audiences(self) -> list[Audience]:
        """All the account's lists, by pages of 1,000 (Mailchimp's default shows 10)."""
        fields = ",".join(
            f"lists.{name}"
            for name in (
                ["id", "web_id", "name", "double_optin", "subscribe_url_long", "stats.member_count"]
            )
        )
        found: list[Audience] = []
        while True:
            page = self._get("lists", count=PAGE, offset=len(found), fields=f"{fields},total_items")
            rows = _rows(page, "lists", required=True)
            known = {audience.list_id for audience in found}
            fresh = {a.list_id: a for a in map(_audience, rows) if a.list_id not in known}
            found.extend(fresh.values())
            if len(rows) < PAGE or not fresh:
                break
        if _total(page, found) > len(found):
            # A list that only seems to be gone would hand the master list to another one.
            raise TryLater(CUT_OFF)
        return found

    def audience(self, list_id: str) -> Audience:
        """One list as it is now."""
        return _audience(self._get(f"lists/{list_id}"))

    def merge_fields(self, list_id: str) -> list[MergeField]:
        """The list's merge fields; Mailchimp allows far fewer than one page holds."""
        names = ("tag", "name", "type", "required", "options")
        wanted = ",".join(f"merge_fields.{name}" for name in names)
        page = self._get(f"lists/{list_id}/merge-fields", count=PAGE, fields=wanted)
        rows = _rows(page, "merge_fields", required=True)
        return [_merge_field(row) for row in rows if row.get("tag")]

    def add_merge_field(self, list_id: str, field: MergeField) -> None:
        """Make a merge field. It is not shown on the list's sign-up forms: nobody asked for that."""
        body: dict[str, Any] = {"tag": field.tag, "name": field.name, "type": field.type}
        body |= {"required": field.required, "public": False}
        self._send("POST", f"lists/{list_id}/merge-fields", body)

    # Members

    def member(self, list_id: str, address: str) -> MemberRead | None:
        """The member as they are now; None if the audience doesn't know the address."""
        path = f"lists/{list_id}/members/{subscriber_hash(address)}"
        try:
            return _member(self._get(path, fields=",".join(self._shown)), address)
        except NotFound:
            return None

    def members(
        self,
        list_id: str,
        *,
        since: datetime | None = None,
        offset: int = 0,
        status: str | None = None,
    ) -> tuple[list[MemberRead], int]:
        """A page of up to 1,000 members, oldest change first, and how many there are in all.

        A row that can't be read stays in its place with the address "": the page's length tells
        whether there are more.

        :param since: only members changed since then.
        :param status: only these; archived members are shown only if they are asked for.
        """
        query: dict[str, Any] = {
            "count": PAGE,
            "offset": offset,
            "fields": ",".join([*(f"members.{name}" for name in self._shown), "total_items"]),
            "sort_field": "last_changed",
            "sort_dir": "ASC",
        }
        if status is not None:
            query["status"] = status
        if since is not None:
            query["since_last_changed"] = since.astimezone(UTC).isoformat(timespec="seconds")
        page = self._get(f"lists/{list_id}/members", **query)
        rows = [_member(row) or _unreadable(row) for row in _rows(page, "members", required=True)]
        return rows, _total(page, rows)

    def write(self, list_id: str, writes: Sequence[Write], *, update: bool = True) -> BatchAnswer:
        """Up to 500 members in one call; profile fields never stand in the way of consent.

        :param update: False: who is a member already is refused (``exists``) and left as they are;
            archived ones are none.
        """
        answer = self._send(
            "POST",
            f"lists/{list_id}?skip_merge_validation=true",
            {"members": [w.body() for w in writes], "update_existing": update},
        )
        new, old = (
            [m for row in _rows(answer, kind) if (m := _member(row, details=False)) is not None]
            for kind in ("new_members", "updated_members")
        )
        members = {m.address: m for m in [*new, *old]}
        refused: dict[str, MemberRefused] = {}
        for row in _rows(answer, "errors"):
            address = canonical_or_none(row.get("email_address"))
            if address is not None and address not in members:
                refused[address] = refusal(str(row.get("error", "")), "", row)
        created = frozenset(m.address for m in new) - {m.address for m in old}
        return BatchAnswer(members=members, refused=refused, created=created)

    def set_status(
        self, list_id: str, address: str, status: str, *, timestamp_opt: datetime | None = None
    ) -> MemberRead | None:
        """Set one existing member's status: ``pending`` asks the person, ``subscribed`` rejoins.

        :param timestamp_opt: when somebody who rejoins said yes.
        """
        body = {"status": status}
        if timestamp_opt is not None:
            body["timestamp_opt"] = _written_time(timestamp_opt)
        path = f"lists/{list_id}/members/{subscriber_hash(address)}?skip_merge_validation=true"
        return _member(self._send("PATCH", path, body), address)

    def change_address(self, list_id: str, old: str, new: str) -> MemberRead | None:
        """Give a member a new address; their status, history and id at Mailchimp stay."""
        path = f"lists/{list_id}/members/{subscriber_hash(old)}?skip_merge_validation=true"
        return _member(self._send("PATCH", path, {"email_address": new}), new)

    def archive(self, list_id: str, address: str) -> None:
        """Archive a member: out of the audience, kept in the account."""
        self._send("DELETE", f"lists/{list_id}/members/{subscriber_hash(address)}")

    def delete_permanently(self, list_id: str, address: str) -> None:
        """Erase a member for good: only the person can come back."""
        path = f"lists/{list_id}/members/{subscriber_hash(address)}/actions/delete-permanent"
        self._send("POST", path)

    # Webhooks

    def webhooks(self, list_id: str) -> list[Webhook]:
        """The list's webhooks, ours and others'."""
        page = self._get(f"lists/{list_id}/webhooks")
        return [_webhook(row) for row in _rows(page, "webhooks", required=True)]

    def register_webhook(self, list_id: str, url: str) -> Webhook:
        """Register a webhook for all six events; our own writes (source ``api``) don't ring."""
        body = {
            "url": url,
            "events": dict.fromkeys(TYPES, True),
            "sources": {"user": True, "admin": True, "api": False},
        }
        return _webhook(self._send("POST", f"lists/{list_id}/webhooks", body))

    def remove_webhook(self, list_id: str, webhook_id: str) -> None:
        """Remove a webhook; one that is gone already is fine."""
        try:
            self._send("DELETE", f"lists/{list_id}/webhooks/{webhook_id}")
        except NotFound:
            return

    # Requests

    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._checked(lambda: self._library._get(path, **query), reads=True)

    def _send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        library = self._library
        if self.until is not None and time.monotonic() > self.until:
            raise LeaseLost("This worker was held up for so long that another may be at it.")
        if method == "DELETE":
            return self._checked(lambda: library._delete(path), empty=True)
        call = library._post if method == "POST" else library._patch
        return self._checked(lambda: call(path, data=body), empty=body is None)

    def _checked(self, call: Any, *, empty: bool = False, reads: bool = False) -> dict[str, Any]:
        answer, problem = None, None
        try:
            answer = call()
        except (ValueError, RecursionError):  # a 2xx whose body is not JSON
            problem = OutcomeUnknown(CUT_OFF)
        except OutcomeUnknown as error:
            problem = error
        # Where 204 is due, whatever else came was not Mailchimp's answer.
        if problem is None and empty and answer is None:
            return {}
        if problem is None and not empty and isinstance(answer, dict):
            return answer
        problem = problem or OutcomeUnknown(CUT_OFF)
        if reads:  # reading changes nothing: an unknown outcome is simply none
            later = TryLater(str(problem), status=problem.status, title=problem.title)
            later.request_id = problem.request_id
            raise later
        raise problem


# Reading answers


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    # Half a surrogate pair and NUL are valid JSON, but no database and no page takes them.
    text = "" if value is None else str(value)
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _rows(page: Mapping[str, Any], name: str, *, required: bool = False) -> list[dict[str, Any]]:
    rows = page.get(name, None if required else [])
    if not isinstance(rows, list):
        raise OutcomeUnknown(CUT_OFF)
    return [row for row in rows if isinstance(row, dict)]


def _total(page: Mapping[str, Any], rows: Sequence[object]) -> int:
    total = page.get("total_items")
    return total if isinstance(total, int) else len(rows)


def _audience(row: Mapping[str, Any]) -> Audience:
    stats = row.get("stats")
    count = stats.get("member_count", 0) if isinstance(stats, dict) else 0
    if not row.get("id"):
        raise OutcomeUnknown(CUT_OFF)
    return Audience(
        list_id=_text(row, "id"),
        web_id=_text(row, "web_id"),
        name=_text(row, "name")[:255],
        double_optin=row.get("double_optin") is True,
        member_count=count if isinstance(count, int) else 0,
        subscribe_url=_safe_url(_text(row, "subscribe_url_long")),
    )


def _merge_field(row: Mapping[str, Any]) -> MergeField:
    given = row.get("options")
    options = given if isinstance(given, dict) else {}
    choices = options.get("choices")
    return MergeField(
        tag=_text(row, "tag")[:40],
        name=_text(row, "name")[:100],
        type=_text(row, "type")[:20],
        required=row.get("required") is True,
        choices=tuple(c for c in choices if isinstance(c, str))
        if isinstance(choices, list)
        else (),
        phone_format=_text(options, "phone_format")[:20],
    )


def _safe_url(url: str) -> str:
    try:
        return url[:500] if urlsplit(url).scheme in ("http", "https") else ""
    except ValueError:
        return ""


def _unreadable(row: Mapping[str, Any]) -> MemberRead:
    """For a row of a page whose address is none, or which says nothing at all: then it has no status."""
    whole = isinstance(row.get("email_address"), str)
    status = _text(row, "status") if whole else ""
    return MemberRead(address="", status=status, last_changed=None, timestamp_opt=None)


def _member(
    row: Mapping[str, Any], asked_for: str | None = None, *, details: bool = True
) -> MemberRead | None:
    """A member from an answer; None where the row is not about a readable address."""
    address = canonical_or_none(row.get("email_address"))
    status = row.get("status")
    if not isinstance(status, str) or not status:
        status = ""
    if asked_for is not None and not (status and address == asked_for):
        # Somebody else's status must never be taken for theirs.
        raise OutcomeUnknown(CUT_OFF)
    if not status or address is None:
        return None
    return MemberRead(
        address=address,
        status=status,
        last_changed=parse_time(row.get("last_changed")),
        timestamp_opt=parse_time(row.get("timestamp_opt")),
        merge_fields=_details(row) if details else None,
    )


def _details(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Texts and numbers by merge tag; what has parts, such as a postal address, is left out."""
    given = row.get("merge_fields")
    if not isinstance(given, dict):
        return None
    plain = {tag: value for tag, value in given.items() if isinstance(value, str | int | float)}
    return {tag: _text(plain, tag) if isinstance(v, str) else v for tag, v in plain.items()}


def parse_time(text: object) -> datetime | None:
    """Mailchimp's ISO 8601 time as aware UTC; None for "" and anything unreadable."""
    return _time(text) if isinstance(text, str) and text else None


@lru_cache(maxsize=256)  # the members of one batch have one time
def _time(text: str) -> datetime | None:
    try:
        time_ = datetime.fromisoformat(text)
        return time_.replace(tzinfo=UTC) if time_.tzinfo is None else time_.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=256)
def _written_time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _webhook(row: Mapping[str, Any]) -> Webhook:
    if not row.get("id"):
        raise OutcomeUnknown(CUT_OFF)
    events, sources = row.get("events"), row.get("sources")
    return Webhook(
        id=_text(row, "id"),
        url=_text(row, "url"),
        signing_secret=_text(row, "signing_secret") or None,
        events=events if isinstance(events, dict) else {},
        sources=sources if isinstance(sources, dict) else {},
    )


def is_whole(rows: Sequence[MemberRead], offset: int, total: int) -> bool:
    """Whether a page of members holds what it should: every row readable, and as many as it says."""
    return all(row.status for row in rows) and len(rows) >= min(PAGE, total - offset)


def pages(
    client: Client, list_id: str, since: datetime | None, *, status: str | None = None
) -> Iterator[list[MemberRead]]:
    """All members changed since then, page after page; windows overlap by some rows.

    :param status: only these; archived members are shown only if they are asked for.
    :raises OutcomeUnknown: a page was not whole.
    """
    offset = 0
    while True:
        rows, total = client.members(list_id, since=since, offset=offset, status=status)
        if not is_whole(rows, offset, total):
            raise OutcomeUnknown(CUT_OFF)
        yield rows
        offset += STEP
        if len(rows) < PAGE or offset >= total:
            return
