"""What an API client writes about one member: checked in full, then done in full.

Here are Mailchimp's rules of consent: who unsubscribed themselves cannot be subscribed by a client,
who was deleted permanently cannot be touched. Callers hold the account's lock.
"""

from __future__ import annotations

from typing import Any

from .account import Account
from .audiences import Audience
from .lifecycle import Lifecycle
from .member_schema import require_address
from .members import Member, parsed_time, subscriber_hash
from .merge_values import checked_values, missing_values
from .problems import ProblemError, compliance, exists, forgotten, invalid
from .records import JSON, Actor

_PLAIN = ("email_type", "language", "vip", "ip_signup", "ip_opt")
_TIMES = ("timestamp_signup", "timestamp_opt")


class Writer:
    """Writes members of one audience for one API call.

    :param skip_required: the client sent ``skip_merge_validation``: required merge fields may
        stay empty. It does not excuse a value of the wrong type.
    """

    def __init__(
        self, account: Account, audience: Audience, actor: Actor, *, skip_required: bool = False
    ) -> None:
        self.account = account
        self.audience = audience
        self.actor = actor
        self.skip_required = skip_required
        self.life: Lifecycle = Lifecycle(account, audience, actor)

    def existing(self, address: str) -> Member | None:
        return self.audience.members.by_hash.get(subscriber_hash(address))

    def counts_as_new(self, member: Member | None) -> bool:
        """Whether ``status_if_new`` applies. Mailchimp treats an archived address as new."""
        if member is None:
            return True
        return member.status == "archived" and self.account.quirks.archived_returns_by_upsert

    def write(self, body: JSON, member: Member | None, *, tags: str = "new") -> tuple[Member, bool]:
        """Create or change one member.

        :param tags: when ``tags`` in the body count: ``new`` (only for a new member), ``add`` or
            ``replace``.
        :returns: the member, and whether they are new.
        :raises ProblemError: nothing was changed.
        """
        new = self.counts_as_new(member)
        status = body.get("status") or (body.get("status_if_new") if new else None)
        self._require_address(body, member)
        self._require_status(body, member, status)
        values = self._merge_values(body, member)
        self._require_known(body)
        if member is None:
            member = self.account.new_member(self.audience, body["email_address"])
        elif "email_address" in body and body["email_address"] != member.email_address:
            self.life.move(member, body["email_address"])
        self._apply(member, body, values, status, new, tags)
        return member, new

    def _apply(
        self, member: Member, body: JSON, values: JSON, status: str | None, new: bool, tags: str
    ) -> None:
        edits = self._profile(member, body, values)
        if new or tags != "new":
            edits |= self._tags(member, body, replace=tags == "replace")
        changed = any(getattr(member, name) != value for name, value in edits.items())
        for name, value in edits.items():
            setattr(member, name, value)
        if status and self.life.become(member, status):
            self._keep_times(member, edits)
        elif changed:
            self.life.edited(member)
        elif self.account.quirks.unchanged_write_moves_last_changed:
            self.life.touch(member)

    def _keep_times(self, member: Member, edits: JSON) -> None:
        # A client's word on when and from where somebody opted in wins over the time of the call.
        for name in ("timestamp_opt", "ip_opt", "timestamp_signup"):
            if edits.get(name):
                setattr(member, name, edits[name])

    def _require_address(self, body: JSON, member: Member | None) -> None:
        address = body.get("email_address") or (member.email_address if member else "")
        moves = member is not None and subscriber_hash(address) != member.id
        if member is None or moves or member.status == "archived":
            require_address(
                address,
                fake=self.account.looks_fake(address),
                refusal=self.account.refusals.get(address.lower()),
            )
            if subscriber_hash(address) in self.audience.forgotten:
                raise forgotten(address)
        if member is not None and moves:
            if self.existing(address):
                raise exists(address)
            if member.status == "cleaned":
                raise compliance(member.email_address)

    def _require_status(self, body: JSON, member: Member | None, status: str | None) -> None:
        if member is None:
            if status is None:
                raise invalid("status", "This value should not be blank.")
            return
        if status in (None, member.status) or status not in ("subscribed", "pending"):
            return
        address = member.email_address
        if status == "subscribed" and member.compliance:
            raise compliance(address)
        asked_in_vain = member.compliance == "bounced"
        if status == "pending" and asked_in_vain and not self.account.quirks.cleaned_may_be_asked:
            raise compliance(address)
        refusal = self.account.refusals.get(address.lower())
        if refusal:
            raise ProblemError(400, refusal[0], refusal[1].replace("{}", address))

    def _merge_values(self, body: JSON, member: Member | None) -> JSON:
        given = body.get("merge_fields", {})
        checks_types = not (
            self.skip_required and self.account.quirks.skip_merge_validation_skips_types
        )
        values, errors = checked_values(self.audience, given, types=checks_types)
        if not self.skip_required and (member is None or given):
            stored = dict(member.merge_fields) if member else {}
            bad = {name for name, _ in errors}
            missing = missing_values(self.audience, {**stored, **values})
            errors += [(name, text) for name, text in missing if name not in bad]
        if errors:
            raise ProblemError(400, "Invalid Resource", "Your merge fields were invalid.", errors)
        return values

    def _require_known(self, body: JSON) -> None:
        known = self.audience.interest_ids()
        for key in body.get("interests", {}):
            if key not in known:
                raise invalid(f"interests.{key}", f"Invalid interest ID: '{key}'.")

    def _profile(self, member: Member, body: JSON, values: JSON) -> JSON:
        edits: JSON = {name: body[name] for name in _PLAIN if name in body}
        edits |= {n: parsed_time(body[n]) if body[n] else "" for n in _TIMES if n in body}
        if values:
            edits["merge_fields"] = {**member.merge_fields, **values}
        if body.get("interests"):
            edits["interests"] = {**member.interests, **body["interests"]}
        if body.get("marketing_permissions"):
            edits["permissions"] = {**member.permissions, **self._permissions(body)}
        location = body.get("location", {})
        edits |= {k: location[k] for k in ("latitude", "longitude") if k in location}
        return edits

    def _permissions(self, body: JSON) -> dict[str, bool]:
        given: list[Any] = body["marketing_permissions"]
        rows = [row for row in given if isinstance(row, dict)]
        return {
            str(row.get("marketing_permission_id")): bool(row.get("enabled"))
            for row in rows
            if row.get("marketing_permission_id") in self.audience.permissions
        }

    def _tags(self, member: Member, body: JSON, *, replace: bool) -> JSON:
        if "tags" not in body:
            return {}
        names = [t if isinstance(t, str) else str(t.get("name", "")) for t in body["tags"]]
        kept = {n: v for n, v in member.tags.items() if not replace or n in names}
        added = {n: (self.audience.tag_id(n), self.actor.at) for n in names if n not in kept}
        return {"tags": {**kept, **added}}
