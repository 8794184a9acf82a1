"""What persons, administrators and Mailchimp itself do, without the API: the other side of a sync.

Each act is recorded and rings the registered webhooks. The acts are methods of the sandbox.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .account import Account, made_up_key
from .audiences import Audience, InterestCategory
from .lifecycle import Lifecycle
from .members import Member, subscriber_hash
from .merge_values import checked_values
from .problems import TOO_MANY_LISTS, ProblemError
from .records import JSON, By
from .rings import campaign_body

PERSON_IP = "203.0.113.7"


class ImpossibleActError(Exception):
    """The act cannot happen at Mailchimp as things are; the message says why."""


class Acts:
    """Mixed into the sandbox. Acts on members return whether they changed anything."""

    _account: Account

    def subscribe(
        self,
        list_id: str,
        email: str,
        *,
        by: By = "contact",
        ip: str = PERSON_IP,
        **merge_fields: Any,
    ) -> bool:
        """A person signs up on the hosted form (or an administrator adds them).

        On a double opt-in audience a person becomes ``pending`` and gets a confirmation mail.
        This is also the only way back for an address that was deleted permanently.
        """
        with self._account.lock:
            audience = self._audience(list_id)
            life = Lifecycle(self._account, audience, self._account.actor(by, ip=ip))
            values = self._values(audience, merge_fields)
            key = subscriber_hash(email)
            audience.forgotten.discard(key)
            member = audience.members.by_hash.get(key)
            if member is None:
                member = self._account.new_member(audience, email)
                member.source = "Hosted Signup Form" if by == "contact" else "Admin Add"
                member.ip_signup = ip if by == "contact" else ""
            elif member.status == "subscribed":
                return self._edit(life, member, values)
            member.merge_fields = {**member.merge_fields, **values}
            asks = audience.double_optin and by == "contact"
            if asks and member.status == "pending":
                life.mail("confirmation", member)
                return False
            return life.become(member, "pending" if asks else "subscribed")

    def confirm(self, list_id: str, email: str, *, ip: str = PERSON_IP) -> bool:
        """The person follows the link in their confirmation mail.

        :raises ImpossibleActError: no confirmation is waiting.
        """
        with self._account.lock:
            life, member = self._found(list_id, email, "contact", ip)
            if member.status != "pending":
                raise ImpossibleActError(f"{email} has no confirmation to answer: {member.status}.")
            return life.become(member, "subscribed")

    def unsubscribe(
        self, list_id: str, email: str, reason: str = "manual", by: By = "contact"
    ) -> bool:
        """:param reason: ``manual``, or ``abuse`` for a complaint."""
        with self._account.lock:
            life, member = self._found(list_id, email, by)
            if member.status not in ("subscribed", "pending", "transactional"):
                return False
            return life.become(member, "unsubscribed", reason=reason)

    def clean(self, list_id: str, email: str, reason: str = "hard") -> bool:
        """The address bounced (``hard``), or was cleaned after a complaint (``abuse``)."""
        with self._account.lock:
            life, member = self._found(list_id, email, "admin")
            return life.become(member, "cleaned", reason=reason)

    def archive(self, list_id: str, email: str, by: By = "admin") -> bool:
        with self._account.lock:
            life, member = self._found(list_id, email, by)
            return life.become(member, "archived")

    def archive_many(self, list_id: str, emails: Iterable[str] | None = None) -> int:
        """An administrator archives these members, or all of them; each rings."""
        with self._account.lock:
            audience = self._audience(list_id)
            chosen = [m.email_address for m in audience.members] if emails is None else emails
            return sum(self.archive(list_id, email) for email in list(chosen))

    def delete_permanently(self, list_id: str, email: str, by: By = "admin") -> bool:
        with self._account.lock:
            life, member = self._found(list_id, email, by)
            life.forget(member)
            return True

    def change_email(self, list_id: str, old: str, new: str, by: By = "contact") -> bool:
        """:raises ImpossibleActError: the new address is a member already."""
        with self._account.lock:
            life, member = self._found(list_id, old, by)
            other = life.audience.members.by_hash.get(subscriber_hash(new))
            if other is not None and other is not member:
                raise ImpossibleActError(f"{new} is a member already.")
            if new == member.email_address:
                return False
            life.audience.forgotten.discard(subscriber_hash(new))
            life.move(member, new)
            return True

    def edit_profile(
        self, list_id: str, email: str, *, by: By = "contact", **merge_fields: Any
    ) -> bool:
        with self._account.lock:
            life, member = self._found(list_id, email, by)
            return self._edit(life, member, self._values(life.audience, merge_fields))

    def ring(self, list_id: str, email: str, *, by: By = "contact") -> None:
        """Mailchimp rings for a member as they are: late, again, or for what ``add_members`` kept quiet.

        :raises ImpossibleActError: they are no member, or no webhook of the audience wants to hear it.
        """
        with self._account.lock:
            life, member = self._found(list_id, email, by)
            if not life.ring_as_is(member):
                raise ImpossibleActError(
                    f"No webhook of {life.audience.name!r} wants to hear this."
                )

    def send_campaign(self, list_id: str, subject: str = "News") -> None:
        """Mails nobody; rings the webhooks that want campaigns."""
        with self._account.lock:
            audience = self._audience(list_id)
            body = campaign_body(audience, "cb398d21d2", subject, self._account.actor("admin").at)
            for hook in audience.webhooks.values():
                if hook.enabled and hook.events["campaign"] and hook.sources["admin"]:
                    self._account.bell(audience, hook, "campaign", body)

    # What an administrator does to the account and its audiences.

    def add_audience(self, name: str, double_optin: bool = False, **more: Any) -> str:
        """:param more: ``has_welcome``, ``marketing_permissions``, ``merge_fields`` (rows to add to
        the usual five), ``id``, or a setting of the API such as ``permission_reminder``.
        :returns: the new audience's id.
        """
        with self._account.lock:
            return self._account.add_audience(name, double_optin=double_optin, **more).id

    def delete_audience(self, list_id: str) -> None:
        with self._account.lock:
            del self._account.audiences[self._audience(list_id).id]

    def set_double_optin(self, list_id: str, on: bool) -> None:
        with self._account.lock:
            self._audience(list_id).double_optin = on

    def add_interests(self, list_id: str, title: str, names: Iterable[str]) -> dict[str, str]:
        """A new group with these interests; name to interest id."""
        with self._account.lock:
            audience = self._audience(list_id)
            start = len(audience.interest_ids())
            found = {f"{audience.id}{start + n:02x}"[-10:]: name for n, name in enumerate(names)}
            category = InterestCategory(
                id=f"c{len(audience.categories)}{audience.id}"[:10], title=title, interests=found
            )
            audience.categories.append(category)
            return {name: key for key, name in found.items()}

    def revoke_key(self) -> None:
        self._account.api_key = None

    def new_key(self) -> str:
        """The key is replaced; the old one is dead."""
        self._account.api_key = made_up_key(self._account.datacentre)
        return self._account.api_key

    def revoke_tokens(self) -> None:
        """The account's owner takes back what applications were let in with."""
        self._account.access_tokens.clear()

    def deactivate_account(self, active: bool = False) -> None:
        self._account.active = active

    def set_role(self, role: str) -> None:
        """:param role: ``owner``, ``admin``, ``manager``; ``author`` and ``viewer`` only read."""
        self._account.role = role

    def refuse(
        self, address: str, title: str = "Invalid Resource", detail: str = TOO_MANY_LISTS
    ) -> None:
        """The API refuses to take this address, until ``accept``. ``{}`` is the address."""
        self._account.refusals[address.lower()] = (title, detail)

    def accept(self, address: str) -> None:
        self._account.refusals.pop(address.lower(), None)

    def add_members(
        self, list_id: str, emails: Iterable[str], status: str = "subscribed", **merge_fields: Any
    ) -> None:
        """Members that were there before the test began: nobody is mailed, nothing is rung.

        Whoever is added as ``unsubscribed`` counts as having unsubscribed themselves.
        """
        with self._account.lock:
            audience = self._audience(list_id)
            at = self._account.actor("admin").at
            values = self._values(audience, merge_fields)
            compliance = {"unsubscribed": "unsubscribed", "cleaned": "bounced"}.get(status, "")
            for email in emails:
                if subscriber_hash(email) in audience.members.by_hash:
                    raise ImpossibleActError(f"{email} is a member already.")
                member = self._account.new_member(audience, email)
                member.compliance = compliance
                audience.members.set_status(member, status)
                audience.members.touch(member, at)
                member.source, member.timestamp_opt = "Import", at
                member.merge_fields = values

    def _audience(self, list_id: str) -> Audience:
        try:
            return self._account.audience(list_id)
        except ProblemError:
            raise ImpossibleActError(f"There is no audience {list_id!r} in the sandbox.") from None

    def _found(
        self, list_id: str, email: str, by: By, ip: str = PERSON_IP
    ) -> tuple[Lifecycle, Member]:
        audience = self._audience(list_id)
        member = audience.members.by_hash.get(subscriber_hash(email))
        if member is None:
            raise ImpossibleActError(f"{email} is no member of {audience.name!r}.")
        return Lifecycle(self._account, audience, self._account.actor(by, ip=ip)), member

    def _values(self, audience: Audience, merge_fields: JSON) -> JSON:
        values, errors = checked_values(audience, merge_fields)
        if errors:
            raise ImpossibleActError("; ".join(f"{tag}: {text}" for tag, text in errors))
        return values

    def _edit(self, life: Lifecycle, member: Member, values: JSON) -> bool:
        merged = {**member.merge_fields, **values}
        if merged == dict(member.merge_fields):
            return False
        member.merge_fields = merged
        life.edited(member)
        return True
