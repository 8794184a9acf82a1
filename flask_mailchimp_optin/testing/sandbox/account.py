"""One Mailchimp account: its key, its audiences, and the record of what happened in it.

Holds the one lock; every read or write of an audience happens under it, nothing slow does.
Imports audiences, members and the record types; knows no HTTP.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from .audiences import SETTINGS, Audience, Webhook
from .members import Member, iso, subscriber_hash
from .problems import not_found
from .records import Actor, By, Mail, Quirks, StatusChange

Clock = Callable[[], datetime]
RingBell = Callable[[Audience, Webhook, str, bytes], None]


def real_clock() -> datetime:
    return datetime.now(UTC)


def made_up_key(datacentre: str) -> str:
    """An API key that looks like a real one."""
    return f"{secrets.token_hex(16)}-{datacentre}"


class Account:
    """The state behind the API and behind the acts of persons and administrators."""

    def __init__(self, api_key: str | None, datacentre: str, clock: Clock | None) -> None:
        self.lock: threading.RLock = threading.RLock()
        self.api_key: str | None = api_key or made_up_key(datacentre)
        self.datacentre: str = self.api_key.rpartition("-")[2] if api_key else datacentre
        self.access_tokens: list[str] = []  # that applications were given, and that still work
        self.clock: Clock = clock or real_clock
        self.quirks: Quirks = Quirks()
        self.audiences: dict[str, Audience] = {}
        self.mails: list[Mail] = []
        self.status_changes: list[StatusChange] = []
        self.refusals: dict[str, tuple[str, str]] = {}
        self.fake_domains: set[str] = {"example.invalid", "invalid"}
        self.name = "Sandbox Ltd"
        self.user_id: str = secrets.token_hex(12)
        self.role = "owner"
        self.active = True
        self.base_url = ""
        self.bell: RingBell = lambda audience, hook, kind, body: None
        self._web_id = 100_000 + secrets.randbelow(900_000)

    def new_token(self) -> str:
        """An access token for an application that was let in; it never expires."""
        self.access_tokens.append(secrets.token_hex(16))
        return self.access_tokens[-1]

    def actor(self, by: By, *, request: int | None = None, ip: str = "") -> Actor:
        return Actor(by=by, at=iso(self.clock()), request=request, ip=ip)

    def next_web_id(self) -> int:
        self._web_id += 1
        return self._web_id

    def audience(self, list_id: str) -> Audience:
        """:raises ProblemError: 404, there is none with this id."""
        found = self.audiences.get(list_id)
        if found is None:
            raise not_found()
        return found

    def add_audience(self, name: str, *, double_optin: bool = False, **more: Any) -> Audience:
        """A new audience; ``more`` may hold anything that the API lets one set."""
        fields = more.pop("merge_fields", ())
        found = Audience(
            id=more.pop("id", None) or secrets.token_hex(5),
            web_id=self.next_web_id(),
            name=name,
            date_created=iso(self.clock()),
            double_optin=double_optin,
            has_welcome=bool(more.pop("has_welcome", False)),
            marketing_permissions=bool(more.pop("marketing_permissions", False)),
        )
        unknown = set(more) - SETTINGS
        if unknown:
            raise TypeError(f"An audience has no {', '.join(sorted(unknown))}.")
        found.settings = more
        for values in fields:
            found.add_field(**values)
        self.audiences[found.id] = found
        return found

    def subscribe_url(self, audience: Audience) -> str:
        """The hosted sign-up form: on the sandbox's own page while that is served."""
        base = self.base_url or f"https://sandbox.{self.datacentre}.list-manage.com/"
        return f"{base}subscribe?u={self.user_id}&id={audience.id}"

    def new_member(self, audience: Audience, address: str) -> Member:
        """A member without status yet; the caller gives it one before anybody looks."""
        member = Member(
            id=subscriber_hash(address),
            email_address=address,
            seq=audience.members.next_seq(),
            unique_email_id=secrets.token_hex(5),
            contact_id=secrets.token_hex(16),
            web_id=self.next_web_id(),
        )
        audience.members.add(member)
        return member

    def note_status(
        self,
        audience: Audience,
        address: str,
        old: str | None,
        new: str | None,
        actor: Actor,
        moved_from: str | None = None,
    ) -> None:
        self.status_changes.append(
            StatusChange(
                list_id=audience.id,
                address=address,
                old=old,
                new=new,
                by=actor.by,
                at=actor.at,
                request=actor.request,
                moment=self.clock(),
                moved_from=moved_from,
            )
        )

    def looks_fake(self, address: str) -> bool:
        """Mailchimp's judgement cannot be known; addresses that are surely made up stand for it."""
        local, _, domain = address.lower().rpartition("@")
        return local == "fake" or domain in self.fake_domains or domain.endswith(".invalid")
