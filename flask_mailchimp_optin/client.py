"""The only HTTP to Mailchimp: mailchimp3's endpoints over a transport of our own.

One outside thing, both journeys. Everything that leaves here is a frozen dataclass or an error of
``errors.py``; no answer's body, no address and no key gets into a message or a log.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from mailchimp3 import MailChimp
from mailchimp3.mailchimpclient import MailChimpError as LibraryError
from requests.adapters import HTTPAdapter

from .addresses import canonical, subscriber_hash
from .errors import (
    BadAddress,
    KeyRefused,
    MailchimpError,
    MemberRefused,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    RefusedInput,
    RequestRefused,
    TryLater,
)

#: 32 hexadecimal digits, a hyphen, the data centre. Nothing else may become part of a host name.
_KEY = re.compile(r"[0-9a-f]{32}-[a-z]{2,4}[0-9]{1,3}", re.ASCII)
_BODY_LIMIT = 32 * 1024 * 1024  # bytes; a page of 1,000 members has about 3 MB
_PAGE = 1000
MEMBER_FIELDS = (
    "email_address,status,last_changed,timestamp_opt,unsubscribe_reason,web_id,merge_fields"
)
EVENTS = ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign")


def check_key(text: str) -> str:
    """The API key, trimmed, if it has the form of one; nothing is sent to find out.

    :raises RefusedInput: it hasn't; the message says what a key looks like.
    """
    key = text.strip()
    if not _KEY.fullmatch(key):
        raise RefusedInput(
            "This is not a Mailchimp API key. A key has 32 digits and letters a–f, a hyphen and the "
            "data centre, like 0123456789abcdef0123456789abcdef-us6. Copy it again in Mailchimp: "
            "Profile → Extras → API keys."
        )
    return key


def datacentre(key: str) -> str:
    """The data centre that a checked key names, such as ``us6``."""
    return key.rpartition("-")[2]


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
class MemberRead:
    """A member as Mailchimp shows them now; the address in canonical form, times aware UTC."""

    address: str
    status: str
    last_changed: datetime | None
    timestamp_opt: datetime | None


@dataclass(frozen=True, kw_only=True)
class Write:
    """One member of a batch: ``status_if_new`` leaves an existing status alone, ``status`` sets it."""

    address: str
    status: str | None = None
    status_if_new: str | None = None
    merge_fields: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    ip_opt: str | None = None
    timestamp_opt: str | None = None

    def body(self) -> dict[str, Any]:
        """As Mailchimp's description of ``POST /lists/{list_id}`` has it."""
        body: dict[str, Any] = {"email_address": self.address}
        for name in ("status", "status_if_new", "ip_opt", "timestamp_opt"):
            if getattr(self, name):
                body[name] = getattr(self, name)
        if self.merge_fields:
            body["merge_fields"] = dict(self.merge_fields)
        if self.tags:
            body["tags"] = list(self.tags)
        return body


@dataclass(frozen=True, kw_only=True)
class BatchAnswer:
    """What became of a batch, by canonical address. An address in neither is unknown."""

    members: Mapping[str, MemberRead]
    refused: Mapping[str, MemberRefused]


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A registered webhook; the signing secret is shown once, when it is made."""

    id: str
    url: str
    signing_secret: str | None
    events: Mapping[str, bool] = field(default_factory=dict)
    sources: Mapping[str, bool] = field(default_factory=dict)


class _Transport(MailChimp):  # type: ignore[misc]  # mailchimp3 ships no types
    """mailchimp3 over one pooled session: a total deadline, no redirects, no proxies, a body cap.

    The library itself has no timeout, follows redirects with the key, honours proxy variables and
    logs bodies; all its requests pass through ``_make_request``.
    """

    def __init__(self, key: str, *, api_url: str | None, timeout_s: float) -> None:
        super().__init__(mc_api=key, mc_user="flask-mailchimp-optin")
        if api_url is not None:
            self.base_url = api_url
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.trust_env = False
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=10, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def _make_request(self, **kwargs: Any) -> requests.Response:
        deadline = time.monotonic() + self._timeout_s
        kwargs.update(
            timeout=(min(10.0, self._timeout_s), self._timeout_s),
            allow_redirects=False,
            stream=True,
        )
        kwargs.pop("hooks", None)
        # `from None`: requests' exceptions hold the prepared request, with its body and key.
        try:
            response = self._session.request(**kwargs)
        except requests.exceptions.ConnectTimeout:
            raise TryLater(_UNREACHABLE) from None
        except requests.exceptions.ConnectionError as error:
            if _never_sent(error):
                raise TryLater(_UNREACHABLE) from None
            raise OutcomeUnknown(_CUT_OFF) from None
        except requests.exceptions.RequestException:
            raise OutcomeUnknown(_CUT_OFF) from None
        with response:
            response._content = _read(response, deadline)
        if 300 <= response.status_code < 400:
            raise OutcomeUnknown(
                "Mailchimp answered with a redirect, which is never followed with a key. "
                "It will be tried again.",
                status=response.status_code,
            )
        return response

    def close(self) -> None:
        self._session.close()


_UNREACHABLE = (
    "Mailchimp could not be reached. Check the server's internet connection and firewall; "
    "it will be tried again."
)
_CUT_OFF = (
    "Mailchimp did not answer in time, or the answer broke off. Whether the request took effect is "
    "checked before it is sent again."
)


def _never_sent(error: requests.exceptions.ConnectionError) -> bool:
    # urllib3 wraps what failed while connecting; after that the request may have gone out.
    text = repr(error)
    return "NewConnectionError" in text or "NameResolutionError" in text


def _read(response: requests.Response, deadline: float) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        for chunk in response.iter_content(65536):
            chunks.append(chunk)
            size += len(chunk)
            if size > _BODY_LIMIT or time.monotonic() > deadline:
                raise OutcomeUnknown(_CUT_OFF, status=response.status_code)
    except requests.exceptions.RequestException:
        raise OutcomeUnknown(_CUT_OFF, status=response.status_code) from None
    return b"".join(chunks)


class Client:
    """Mailchimp for one key. Every method raises :class:`~.errors.MailchimpError` and nothing else."""

    def __init__(self, key: str, *, api_url: str | None = None, timeout_s: float = 30.0) -> None:
        """
        :param key: checked here again, so that no other text becomes a host name.
        :raises RefusedInput: the key has not the form of one.
        """
        self._key = check_key(key)
        self._library = _Transport(self._key, api_url=api_url, timeout_s=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the pooled connections back."""
        self._library.close()

    # Account and audiences

    def account(self) -> Account:
        """Whose key it is; the call that tells a good key from a bad one."""
        answer = self._get("", fields="account_id,account_name")
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
            page = self._get(
                "lists", count=_PAGE, offset=len(found), fields=f"{fields},total_items"
            )
            rows = _rows(page, "lists")
            found.extend(_audience(row) for row in rows)
            if len(rows) < _PAGE:
                return found

    def audience(self, list_id: str) -> Audience:
        """One list as it is now."""
        return _audience(self._get(f"lists/{list_id}"))

    # Members

    def member(self, list_id: str, address: str) -> MemberRead | None:
        """The member as they are now; None if the audience doesn't know the address."""
        path = f"lists/{list_id}/members/{subscriber_hash(address)}"
        try:
            return _member(self._get(path, fields=MEMBER_FIELDS), address)
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

        :param since: only members changed since then.
        :param status: only these; archived members are shown only if they are asked for.
        """
        query: dict[str, Any] = {
            "count": _PAGE,
            "offset": offset,
            "fields": ",".join(f"members.{f}" for f in MEMBER_FIELDS.split(",")[:4])
            + ",total_items",
            "sort_field": "last_changed",
            "sort_dir": "ASC",
        }
        if status is not None:
            query["status"] = status
        if since is not None:
            query["since_last_changed"] = since.astimezone(UTC).isoformat(timespec="seconds")
        page = self._get(f"lists/{list_id}/members", **query)
        total = page.get("total_items")
        rows = [m for m in map(_member, _rows(page, "members")) if m is not None]
        return rows, total if isinstance(total, int) else len(rows)

    def write(self, list_id: str, writes: Sequence[Write]) -> BatchAnswer:
        """Up to 500 members in one call; profile fields never stand in the way of consent."""
        answer = self._send(
            "POST",
            f"lists/{list_id}?skip_merge_validation=true",
            {"members": [w.body() for w in writes], "update_existing": True},
        )
        rows = _rows(answer, "new_members") + _rows(answer, "updated_members")
        members = {m.address: m for m in map(_member, rows) if m is not None}
        refused: dict[str, MemberRefused] = {}
        for row in _rows(answer, "errors"):
            address = _canonical_or_none(row.get("email_address"))
            if address is not None and address not in members:
                refused[address] = _refusal(str(row.get("error", "")), "", row)
        return BatchAnswer(members=members, refused=refused)

    def set_status(
        self, list_id: str, address: str, status: str, *, merge_fields: Mapping[str, Any]
    ) -> MemberRead | None:
        """Set one existing member's status: ``pending`` asks the person, ``subscribed`` rejoins."""
        body: dict[str, Any] = {"status": status}
        if merge_fields:
            body["merge_fields"] = dict(merge_fields)
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
        page = self._get(f"lists/{list_id}/webhooks", count=_PAGE)
        return [_webhook(row) for row in _rows(page, "webhooks")]

    def register_webhook(self, list_id: str, url: str) -> Webhook:
        """Register a webhook for all six events; our own writes (source ``api``) don't ring."""
        body = {
            "url": url,
            "events": dict.fromkeys(EVENTS, True),
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
        if method == "DELETE":
            return self._checked(lambda: library._delete(path), empty=True)
        call = library._post if method == "POST" else library._patch
        return self._checked(lambda: call(path, data=body), empty=body is None)

    def _checked(self, call: Any, *, empty: bool = False, reads: bool = False) -> dict[str, Any]:
        try:
            answer = call()
        except LibraryError as error:
            raise _classified(error.args[0]) from None
        except ValueError:  # a 2xx whose body is not JSON
            raise OutcomeUnknown(_CUT_OFF) from None
        except OutcomeUnknown as error:
            if reads:  # reading changes nothing: an unknown outcome is simply none
                raise TryLater(str(error), status=error.status) from None
            raise
        if answer is None and empty:
            return {}
        if not isinstance(answer, dict):
            raise OutcomeUnknown(_CUT_OFF)
        return answer


# Reading answers


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


def _rows(page: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = page.get(name, [])
    if not isinstance(rows, list):
        raise OutcomeUnknown(_CUT_OFF)
    return [row for row in rows if isinstance(row, dict)]


def _audience(row: Mapping[str, Any]) -> Audience:
    stats = row.get("stats")
    count = stats.get("member_count", 0) if isinstance(stats, dict) else 0
    if not row.get("id"):
        raise OutcomeUnknown(_CUT_OFF)
    return Audience(
        list_id=_text(row, "id"),
        web_id=_text(row, "web_id"),
        name=_text(row, "name")[:255],
        double_optin=row.get("double_optin") is True,
        member_count=count if isinstance(count, int) else 0,
        subscribe_url=_safe_url(_text(row, "subscribe_url_long")),
    )


def _safe_url(url: str) -> str:
    return url[:500] if urlsplit(url).scheme in ("http", "https") else ""


def _member(row: Mapping[str, Any], asked_for: str | None = None) -> MemberRead | None:
    """A member from an answer; None where the row is not about a readable address."""
    address = asked_for or _canonical_or_none(row.get("email_address"))
    status = row.get("status")
    if not isinstance(status, str) or not status:
        if asked_for is not None:
            raise OutcomeUnknown(_CUT_OFF)
        return None
    if address is None:
        return None
    return MemberRead(
        address=address,
        status=status,
        last_changed=parse_time(row.get("last_changed")),
        timestamp_opt=parse_time(row.get("timestamp_opt")),
    )


def _canonical_or_none(raw: object) -> str | None:
    try:
        return canonical(raw)
    except BadAddress:
        return None


def parse_time(text: object) -> datetime | None:
    """Mailchimp's ISO 8601 time as aware UTC; None for "" and anything unreadable."""
    if not isinstance(text, str) or not text:
        return None
    try:
        time_ = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time_.replace(tzinfo=UTC) if time_.tzinfo is None else time_.astimezone(UTC)


def _webhook(row: Mapping[str, Any]) -> Webhook:
    if not row.get("id"):
        raise OutcomeUnknown(_CUT_OFF)
    events, sources = row.get("events"), row.get("sources")
    return Webhook(
        id=_text(row, "id"),
        url=_text(row, "url"),
        signing_secret=_text(row, "signing_secret") or None,
        events=events if isinstance(events, dict) else {},
        sources=sources if isinstance(sources, dict) else {},
    )


# Reading errors


def _classified(problem: Mapping[str, Any]) -> MailchimpError:
    """The error of ours that a problem document, or an answer without one, stands for."""
    response: requests.Response = problem["response"]
    status, title = response.status_code, str(problem.get("title", ""))[:100]
    has_document = "title" in problem or "detail" in problem
    if status == 401 or (status == 403 and "Disabled" in title):
        return KeyRefused(
            "Mailchimp refused the API key: it is wrong, was revoked, belongs to another data "
            "centre, or its account is deactivated. Make a new key in Mailchimp (Profile → Extras → "
            "API keys) and enter it here.",
            status=status,
            title=title,
        )
    if status == 429 or (status == 403 and not has_document):
        # A body-less 403 is the firewall in front of the API, not a revoked key.
        return TryLater(
            "Mailchimp asks us to slow down. It will be tried again in a little while.",
            status=status,
            title=title,
        )
    if status == 403:
        return PermissionDenied(
            "The API key's user may not do this at Mailchimp. Use a key of an owner, an admin or a "
            "manager.",
            status=status,
            title=title,
        )
    if status == 404:
        return NotFound("Mailchimp doesn't have this any more.", status=404, title=title)
    if status == 400 and has_document:
        return _refusal(str(problem.get("detail", "")), title, problem)
    if 400 <= status < 500 and has_document:
        return RequestRefused(
            f"Mailchimp did not accept a request ({status}).", status=status, title=title
        )
    return OutcomeUnknown(
        f"Mailchimp has a problem of its own ({status}). It will be tried again.",
        status=status,
        title=title,
    )


#: What a 400 says, by a word in its title or detail: our class of it and the words for people.
_REFUSALS: tuple[tuple[str, str, str], ...] = (
    (
        "forgotten",
        "forgotten",
        "This address was permanently deleted at Mailchimp. Only the person can come back, through "
        "the list's sign-up form.",
    ),
    (
        "permanently deleted",
        "forgotten",
        "This address was permanently deleted at Mailchimp. Only the person can come back, through "
        "the list's sign-up form.",
    ),
    (
        "compliance",
        "compliance",
        "The person unsubscribed at Mailchimp, bounced, or is under review. Only they can come back, "
        "by a confirmation or through the list's sign-up form.",
    ),
    (
        "signed up to a lot of lists",
        "too_many_lists",
        "Mailchimp says that this address signed up to many lists very recently. It is tried again "
        "in a few days.",
    ),
    (
        "fake or invalid",
        "fake",
        "Mailchimp takes this address for fake or invalid. Correct the customer's address.",
    ),
    ("member exists", "exists", "Mailchimp has this address already."),
    ("already a list member", "exists", "Mailchimp has this address already."),
    (
        "merge field",
        "merge_fields",
        "Mailchimp did not accept the customer's details. Check the merge fields.",
    ),
)


def _refusal(detail: str, title: str, row: Mapping[str, Any]) -> MemberRefused:
    text = f"{title} {detail}".lower()
    for words, reason, message in _REFUSALS:
        if words in text:
            return MemberRefused(message, reason=reason, title=title)
    if row.get("error_code") == "ERROR_CONTACT_EXISTS":
        return MemberRefused("Mailchimp has this address already.", reason="exists", title=title)
    if row.get("field") or row.get("errors"):
        message = "Mailchimp did not accept the customer's details. Check the merge fields."
        return MemberRefused(message, reason="merge_fields", title=title)
    return MemberRefused(
        "Mailchimp refused this address. Check whether it is written correctly.",
        reason="invalid",
        title=title,
    )


def pages(client: Client, list_id: str, since: datetime | None) -> Iterator[list[MemberRead]]:
    """All members changed since then, page after page; windows overlap by ten.

    Offsets shift while others write, so the last rows of a page are read again with the next.
    """
    offset = 0
    while True:
        rows, total = client.members(list_id, since=since, offset=offset)
        yield rows
        offset += _PAGE - 10
        if len(rows) < _PAGE or offset >= total:
            return
