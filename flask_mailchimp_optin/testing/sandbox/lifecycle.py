"""What may happen to a member: subscribed, asked, unsubscribed, cleaned, archived, moved, gone.

The API and the acts of people both come through here, so a status change is recorded, mailed and
rung the same way whoever makes it. Callers hold the account's lock.
"""

from __future__ import annotations

from typing import Any, Literal

from .account import Account
from .audiences import Audience
from .members import Member, subscriber_hash
from .records import Actor, Mail
from .rings import bell_code, ring_body

# Only what an API client sees; Mailchimp's exact wording for these is not documented.
_BY_ADMIN = "N/A (Unsubscribed by admin)"
_REASONS = {"manual": "None given", "abuse": "Spam complaint"}

MailKind = Literal["confirmation", "welcome"]


class Lifecycle:
    """The verbs, for one audience and one actor."""

    def __init__(self, account: Account, audience: Audience, actor: Actor) -> None:
        self.account = account
        self.audience = audience
        self.actor = actor

    def become(self, member: Member, status: str, *, reason: str = "manual") -> bool:
        """Give a member a status, with the mails and rings that come with it.

        :returns: False if the member had it already (then nothing is mailed or rung).
        """
        old = member.status or None
        if old == status:
            return False
        self.account.note_status(self.audience, member.email_address, old, status, self.actor)
        self.audience.members.set_status(member, status)
        getattr(self, f"_{status}")(member, old, reason)
        self.touch(member)
        return True

    def touch(self, member: Member) -> None:
        self.audience.members.touch(member, self.actor.at)

    def _subscribed(self, member: Member, old: str | None, reason: str) -> None:
        member.timestamp_opt, member.ip_opt = self.actor.at, self.actor.ip or member.ip_opt
        member.unsubscribe_reason = member.unsubscribed_at = ""
        if self.actor.by != "api":
            member.compliance = ""
        self.audience.last_sub_date = self.actor.at
        if self.audience.has_welcome:
            self.mail("welcome", member)
        again = old in ("unsubscribed", "cleaned")
        as_profile = again and self.account.quirks.resubscription_rings_profile
        self.ring("profile" if as_profile else "subscribe", member)

    def _pending(self, member: Member, old: str | None, reason: str) -> None:
        member.timestamp_signup = member.timestamp_signup or self.actor.at
        self.mail("confirmation", member)

    def _unsubscribed(self, member: Member, old: str | None, reason: str) -> None:
        by_contact = self.actor.by == "contact"
        member.unsubscribe_reason = _REASONS.get(reason, reason) if by_contact else _BY_ADMIN
        member.unsubscribed_at = self.audience.last_unsub_date = self.actor.at
        if by_contact or reason == "abuse":
            member.compliance = "unsubscribed"
        if old is not None:
            self.ring("unsubscribe", member, action="unsub", reason=reason)

    def _cleaned(self, member: Member, old: str | None, reason: str) -> None:
        member.compliance = "bounced"
        if old is not None:
            self.ring("cleaned", member, reason="abuse" if reason == "abuse" else "hard")

    def _archived(self, member: Member, old: str | None, reason: str) -> None:
        self.ring("unsubscribe", member, action="delete", reason="manual")

    def _transactional(self, member: Member, old: str | None, reason: str) -> None:
        """Mailchimp neither mails nor rings for these."""

    def forget(self, member: Member) -> None:
        """Delete permanently: the address can only come back through a hosted form."""
        self.audience.forgotten.add(member.id)
        self.account.note_status(
            self.audience, member.email_address, member.status, None, self.actor
        )
        if member.status != "archived":
            self.ring("unsubscribe", member, action="delete", reason="manual")
        self.audience.members.remove(member)

    def edited(self, member: Member) -> None:
        """The profile changed. An unsubscribed member's edit rings too."""
        self.touch(member)
        if member.status != "archived":
            self.ring("profile", member)

    def move(self, member: Member, address: str) -> None:
        """Change the address: a new hash, the same contact."""
        old = member.email_address
        moved = subscriber_hash(address) != member.id
        self.audience.members.rename(member, address)
        self.touch(member)
        if not moved:
            return
        self.account.note_status(
            self.audience, address, None, member.status, self.actor, moved_from=old
        )
        if self.account.quirks.profile_before_upemail:
            self.ring("profile", member)
        self.ring("upemail", member, old_email=old)
        if not self.account.quirks.profile_before_upemail:
            self.ring("profile", member)

    def mail(self, kind: MailKind, member: Member) -> None:
        self.account.mails.append(
            Mail(kind=kind, to=member.email_address, at=self.actor.at, list_id=self.audience.id)
        )

    def ring_as_is(self, member: Member) -> bool:
        """Ring for a member as they are, though nothing happened to them; whether anybody hears it."""
        more: dict[str, str] = {}
        kind = "profile"
        if member.status in ("unsubscribed", "archived"):
            action = "unsub" if member.status == "unsubscribed" else "delete"
            kind, more = "unsubscribe", {"action": action, "reason": "manual"}
        elif member.status == "cleaned":
            kind, more = "cleaned", {"reason": "hard"}
        elif member.status == "subscribed":
            kind = "subscribe"
        return self.ring(kind, member, **more) > 0

    def ring(self, kind: str, member: Member, **more: Any) -> int:
        """Ring every webhook of the audience that wants this event from this source; how many."""
        rung = 0
        source = bell_code(self.actor.by)
        for hook in list(self.audience.webhooks.values()):
            # Bounces come from Mailchimp itself: no source can switch them off.
            wanted = kind == "cleaned" or hook.sources.get(source, False)
            if hook.enabled and wanted and hook.events.get(kind, False):
                body = ring_body(
                    kind, self.audience, member, self.actor, self.account.quirks, **more
                )
                self.account.bell(self.audience, hook, kind, body)
                rung += 1
        return rung
