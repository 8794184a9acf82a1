"""Both journeys meet: contacts that are due are read, decided on, told to Mailchimp and remembered.

Up to 500 contacts of one audience at a time. What is going to be sent is written down and committed
first; no transaction is open while Mailchimp is spoken to; an answer acknowledges exactly the version
it was about.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, and_, false, or_, select, update

from . import contacts, signals
from .client import BatchAnswer, Client, MemberRead, Write, pages
from .consent import Act, Agreed, Member, Outcome, Status, Verb, decide
from .contacts import Contact
from .errors import (
    ChangedMeanwhile,
    MailchimpError,
    MemberRefused,
    NotFound,
    OutcomeUnknown,
    RequestRefused,
    TryLater,
)
from .inbound import follow
from .lease import Lease
from .ledger import Facts
from .mapping import Snapshot
from .services import Services, Transaction

logger = logging.getLogger("flask_mailchimp_optin")

_BATCH = 500  # Mailchimp's most in one call
_SINGLE_READS = 20  # above this many, one paged reading of what changed is cheaper
_ALONE_AFTER = 3  # attempts in company, before a member is sent on its own
_PARK_AFTER = 8  # attempts, before a person has to look
_MARGIN = timedelta(seconds=120)
MOVE = "move"
#: With these, only a new decision brings a contact back.
_FINAL = ("compliance", "forgotten", "fake", "invalid", "exists", "parked")


def due(services: Services, *, enabled: bool, daily: bool, run_id: int | None) -> Any:
    """The SQL condition for contacts whose turn it is.

    :param enabled: False while the integration is paused: only a no goes out, for it never waits.
    :param daily: between daily syncs only nos go out, and looks that a ring asked for.
    :param run_id: the sync at work, whose contacts go out in any mode.
    """
    table = services.tables.contact
    nos = and_(table.c.wanted.is_(False), table.c.decided_version > table.c.settled_version)
    audiences = services.tables.audience
    there = select(audiences.c.id).where(audiences.c.gone_at.is_(None))
    turn = and_(table.c.due_at <= services.now(), table.c.audience_id.in_(there))
    if not enabled:
        return and_(turn, nos)
    if daily:
        of_run = table.c.run_id == run_id if run_id is not None else false()
        return and_(turn, or_(nos, table.c.look.is_(True), of_run))
    return turn


def settle(
    services: Services, lease: Lease, connection: Row[Any], client: Client, condition: Any
) -> bool:
    """Settle up to 500 due contacts of one audience; whether there were any.

    :param condition: from :func:`due`.
    :raises MailchimpError: about the connection as a whole; single members' troubles stay here.
    """
    with services.begin() as tx:
        audience, picked = _pick(tx, services, connection.id, condition)
    if audience is None:
        return False
    _Batch(services, lease, connection, client, audience).run(picked)
    return True


def _pick(
    tx: Transaction, services: Services, connection_id: int, condition: Any
) -> tuple[Row[Any] | None, list[Contact]]:
    table, audiences = services.tables.contact, services.tables.audience
    query = (
        select(table)
        .where(table.c.connection_id == connection_id, condition)
        # A no goes ahead of everything; then whoever has waited longest.
        .order_by(table.c.wanted.is_(None), table.c.wanted, table.c.due_at, table.c.id)
    )
    first = tx.row(query.limit(1))
    if first is None:
        return None, []
    audience = tx.row(select(audiences).where(audiences.c.id == first.audience_id))
    if first.attempts >= _ALONE_AFTER:
        return audience, [Contact.of(first)]
    company = query.where(table.c.audience_id == first.audience_id, table.c.attempts < _ALONE_AFTER)
    return audience, [Contact.of(row) for row in tx.rows(company.limit(_BATCH))]


class _Batch:
    """One round with one audience."""

    def __init__(
        self,
        services: Services,
        lease: Lease,
        connection: Row[Any],
        client: Client,
        audience: Row[Any],
    ) -> None:
        self.services, self.lease, self.client = services, lease, client
        self.connection, self.audience = connection, audience
        self.snapshots: dict[tuple[int, str], Snapshot] = {}
        self.keys: dict[tuple[int, str], list[str]] = {}
        self.verbs: list[tuple[Contact, Verb]] = []
        self.news: list[tuple[Any, Contact, str]] = []

    def run(self, picked: list[Contact]) -> None:
        for contact in picked:
            if contact.moved_from:
                self._move(contact)
        self._load(picked)
        for contact in (c for c in picked if c.orphan):
            self._part(contact)
        owned = [c for c in picked if not c.orphan]
        reads = self._read([c for c in owned if _needs_reading(c)])
        for contact in owned:
            if contact.pair in reads:
                self._take(contact, contacts.member_of(reads[contact.pair]))
            elif not _needs_reading(contact):
                self._without_reading(contact)
        self._save([c for c in owned if not any(c is o for o, _ in self.verbs)])
        self._send_together([v for v in self.verbs if v[1] in (Verb.UPSERT, Verb.REMOVE)])
        for contact, verb in [v for v in self.verbs if v[1] in (Verb.ASK, Verb.REJOIN)]:
            self._send_alone(contact, verb)
        self._tell()

    # Reading

    def _load(self, picked: list[Contact]) -> None:
        def work(tx: Transaction) -> dict[tuple[int, str], list[str]]:
            owners = contacts.owners(tx, self.services, [c.pair for c in picked])
            keys = {pair: [row.customer_key for row in rows] for pair, rows in owners.items()}
            first = {row.customer_key: pair for pair, rows in owners.items() for row in rows[:1]}
            mapping = self.services.mapping
            for key, customer in mapping.load(tx.session, first).items():
                self.snapshots[first[key]] = mapping.snapshot(customer)
            return keys

        self.keys = self.services.transact(work)

    def _read(self, wanted: list[Contact]) -> dict[tuple[int, str], MemberRead | None]:
        """The members as they are now. One that a bulk reading doesn't show is as last seen."""
        list_id = self.audience.list_id
        if len(wanted) <= _SINGLE_READS:
            return {c.pair: self._keep(self.client.member, list_id, c.address) for c in wanted}
        known = [c for c in wanted if c.seen_at is not None and c.seen_status != Status.ABSENT]
        unknown = [c for c in wanted if c not in known]
        found: dict[tuple[int, str], MemberRead | None] = {c.pair: _as_seen(c) for c in known}
        for contact in unknown:
            found[contact.pair] = self._keep(self.client.member, list_id, contact.address)
        if known:
            since = min(c.seen_at for c in known) - _MARGIN
            for page in pages(self.client, list_id, since):
                for member in page:
                    pair = (self.audience.id, member.address)
                    if pair in found:
                        found[pair] = member
        return found

    def _keep(self, call: Callable[..., Any], *args: Any) -> Any:
        """A single request, with the lease prolonged before it."""
        self.services.transact(lambda tx: self.lease.hold(tx, self.services))
        return call(*args)

    # Deciding

    def _take(self, contact: Contact, member: Member) -> Outcome:
        """Let the rule decide on a fresh reading, and do what needs no request."""
        now = self.services.now()
        outcome = decide(
            contacts.host_of(contact),
            member,
            contacts.memory_of(contact, member, now),
            always_confirm=self.connection.always_confirm or self.audience.double_optin,
        )
        was = contact.agreed
        contacts.saw(contact, member, now)
        if outcome.act is Act.SEND and outcome.verb is not None:
            self._plan(contact, outcome.verb)
        elif outcome.act is Act.BOX:
            self._follow(contact, member, outcome)
        else:
            self._rest(contact, member, outcome, was)
        return outcome

    def _rest(self, contact: Contact, member: Member, outcome: Outcome, was: str) -> None:
        now = self.services.now()
        if outcome.act is Act.AGREE or outcome.agreed is Agreed.ASKED:
            contacts.agree(contact, outcome.agreed)
        if outcome.act is Act.UNREACHABLE and contact.wanted:
            reason = "archived" if member.status is Status.ARCHIVED else "bounced"
            contacts.refuse(contact, reason, _UNREACHABLE[reason], now)
            return
        contacts.finish(contact, now)
        if contact.wanted and member.status is not Status.UNSUBSCRIBED:
            self._profile(contact)
        if was != contact.agreed:
            self._note(contact, outcome)

    def _plan(self, contact: Contact, verb: Verb) -> None:
        if contact.refusal in _FINAL and verb is not Verb.REMOVE:
            contacts.finish(contact, self.services.now())
            return
        self.verbs.append((contact, verb))

    def _profile(self, contact: Contact) -> None:
        snapshot = self.snapshots.get(contact.pair)
        if snapshot is not None and contact.profile != contacts.fingerprint(snapshot):
            self.verbs.append((contact, Verb.UPSERT))

    def _without_reading(self, contact: Contact) -> None:
        """A yes needs no reading before: UPSERT changes no status, and its answer shows it."""
        status = contact.seen_status
        # An archived member is left alone, but for a new decision with a time.
        left_alone = status == Status.CLEANED or (
            status == Status.ARCHIVED and not (contact.moved and contact.wanted_at)
        )
        if contact.moved and not left_alone:
            self._plan(contact, Verb.UPSERT)
            return
        contacts.finish(contact, self.services.now())
        if not left_alone and contact.refusal not in _FINAL:
            self._profile(contact)

    def _follow(self, contact: Contact, member: Member, outcome: Outcome) -> None:
        """The boxes of the address follow Mailchimp, together with what we remember."""
        value = bool(outcome.box)
        at = member.timestamp_opt if value else member.last_changed
        facts = Facts(source="mailchimp", page=outcome.why, at=at or self.services.now())

        def work(tx: Transaction) -> None:
            self.lease.hold(tx, self.services)
            follow(tx, self.services, contact, value, facts)
            contact.wanted, contact.decided_version = value, contact.version
            contacts.agree(contact, outcome.agreed)
            contacts.forgive(contact)
            contacts.finish(contact, self.services.now())
            contacts.save(tx, self.services, [contact])

        try:
            self.services.transact(work)
        except ChangedMeanwhile:
            contact.due_at, contact.look = self.services.now(), True
            return
        if value:
            self._profile(contact)
        self._note(contact, outcome)

    # Sending

    def _send_together(self, verbs: list[tuple[Contact, Verb]]) -> None:
        """UPSERT and REMOVE, in one call."""
        if not verbs:
            return
        now = self.services.now()
        for contact, verb in verbs:
            contacts.intend(contact, verb, now)
        self._save([contact for contact, _ in verbs])
        try:
            answer = self._call_together(verbs)
        except NotFound:
            self._audience_gone()
            return
        except (OutcomeUnknown, TryLater) as error:
            self._failed([contact for contact, _ in verbs], error)
            if isinstance(error, TryLater):
                raise
            return
        for contact, verb in verbs:
            self._answered(contact, verb, answer)
        self._save([contact for contact, _ in verbs])

    def _call_together(self, verbs: list[tuple[Contact, Verb]]) -> BatchAnswer:
        writes = {contact.address: self._write(contact, verb) for contact, verb in verbs}
        try:
            answer = self.client.write(self.audience.list_id, list(writes.values()))
        except (MemberRefused, RequestRefused) as error:
            if len(verbs) == 1:
                return BatchAnswer(members={}, refused={verbs[0][0].address: _as_refusal(error)})
            half = len(verbs) // 2  # one bad row refused the whole call: find it
            first = self._call_together(verbs[:half])
            second = self._call_together(verbs[half:])
            return BatchAnswer(
                members={**first.members, **second.members},
                refused={**first.refused, **second.refused},
            )
        plain = [a for a, error in answer.refused.items() if error.reason == "merge_fields"]
        if not plain:
            return answer
        # Consent is sent even if the profile is refused.
        again = self.client.write(self.audience.list_id, [_plain(writes[a]) for a in plain])
        refused = {**answer.refused, **again.refused}
        return BatchAnswer(members={**again.members, **answer.members}, refused=refused)

    def _write(self, contact: Contact, verb: Verb) -> Write:
        if verb is Verb.REMOVE:
            return Write(address=contact.address, status="unsubscribed")
        snapshot = self.snapshots.get(contact.pair)
        fields = contacts.merge_fields(snapshot, contact.profile_tags) if snapshot else {}
        return Write(
            address=contact.address,
            status_if_new="pending" if self.audience.double_optin else "subscribed",
            merge_fields=fields,
            tags=snapshot.tags if snapshot else (),
            timestamp_opt=contact.wanted_at.isoformat(timespec="seconds")
            if contact.wanted_at and contact.moved and not self.audience.double_optin
            else None,
        )

    def _answered(self, contact: Contact, verb: Verb, answer: BatchAnswer) -> None:
        now = self.services.now()
        member, refusal = answer.members.get(contact.address), answer.refused.get(contact.address)
        if member is None and refusal is None:
            contacts.lose(contact, now)  # Mailchimp said nothing of this one
            return
        if refusal is not None and (member is None or refusal.reason != "merge_fields"):
            self._refused(contact, verb, refusal)
            return
        contact.open_verb = None  # the answer is definite
        shown = contacts.member_of(member)
        if verb is Verb.REMOVE:
            self._removed(contact, shown)
            return
        self._wrote_profile(contact)
        if refusal is not None:
            contact.refusal, contact.refusal_text = refusal.reason, str(refusal)
            contact.refused_at = now
        before = len(self.verbs)
        self._take(contact, shown)
        # The profile was just written, and an UPSERT that left the status alone is not repeated.
        self.verbs[before:] = [v for v in self.verbs[before:] if v[1] is not Verb.UPSERT]

    def _wrote_profile(self, contact: Contact) -> None:
        snapshot = self.snapshots.get(contact.pair)
        if snapshot is not None:
            sent = contacts.merge_fields(snapshot, contact.profile_tags)
            contact.profile = contacts.fingerprint(snapshot)
            contact.profile_tags = contacts.sent_tags(sent)

    def _removed(self, contact: Contact, shown: Member) -> None:
        now = self.services.now()
        contacts.saw(contact, shown, now)
        contact.removed_at = shown.last_changed
        outcome = Outcome(act=Act.AGREE, why="unsubscribed, as decided", agreed=Agreed.NO)
        contacts.agree(contact, Agreed.NO)
        contacts.finish(contact, now)
        self._note(contact, outcome)

    def _refused(self, contact: Contact, verb: Verb, refusal: MemberRefused) -> None:
        now = self.services.now()
        if (
            refusal.reason in ("compliance", "exists")
            and verb is Verb.UPSERT
            and contact.look is False
        ):
            # The batch doesn't say what the member is now: look, and let the rule decide.
            contact.open_verb, contact.look, contact.due_at = None, True, now
            contact.attempts += 1
            if contact.attempts < _ALONE_AFTER:
                return
        contacts.refuse(contact, refusal.reason, str(refusal), now)
        self.news.append((signals.customer_needs_attention, contact, refusal.reason))

    def _send_alone(self, contact: Contact, verb: Verb) -> None:
        """ASK and REJOIN, one person at a time: their errors are exact."""
        contacts.intend(contact, verb, self.services.now())
        self._save([contact])
        status = "pending" if verb is Verb.ASK else "subscribed"
        try:
            member = self.client.set_status(
                self.audience.list_id, contact.address, status, merge_fields={}
            )
        except (MemberRefused, RequestRefused) as error:
            refusal = _as_refusal(error)
            if verb is Verb.REJOIN and refusal.reason == "compliance":
                self._send_alone(contact, Verb.ASK)  # Mailchimp knows better who left
                return
            self._refused(contact, verb, refusal)
        except NotFound:
            contacts.unsend(contact, self.services.now())
            contact.look = True
        except (OutcomeUnknown, TryLater) as error:
            self._failed([contact], error)
            if isinstance(error, TryLater):
                raise
            return
        else:
            self._status_set(contact, verb, contacts.member_of(member))
        self._save([contact])

    def _status_set(self, contact: Contact, verb: Verb, shown: Member) -> None:
        now = self.services.now()
        contacts.saw(contact, shown, now)
        agreed = Agreed.ASKED if verb is Verb.ASK else Agreed.YES
        why = "asked to confirm by mail" if verb is Verb.ASK else "subscribed again"
        contacts.agree(contact, agreed)
        contacts.finish(contact, now)
        self._note(contact, Outcome(act=Act.AGREE, why=why, agreed=agreed))

    def _failed(self, sent: list[Contact], error: MailchimpError) -> None:
        """A request without a usable answer: nothing is lost, and nothing goes on for ever."""
        now = self.services.now()
        for contact in sent:
            if isinstance(error, TryLater):
                contacts.unsend(contact, now)
            else:
                contacts.lose(contact, now)
            if contact.attempts >= _PARK_AFTER:
                contacts.refuse(contact, "parked", str(error), now)
        self._save(sent)

    # Addresses that changed, members that nobody owns

    def _move(self, contact: Contact) -> None:
        """Give the old address's member the new one; otherwise both are settled on their own."""
        old = self._contact_at(contact.moved_from)
        if old is not None:
            contacts.intend(contact, MOVE, self.services.now())
            self._save([contact])
            try:
                member = self.client.change_address(
                    self.audience.list_id, old.address, contact.address
                )
            except (MemberRefused, RequestRefused, NotFound):
                self._leave_behind(contact, old)
                return
            except OutcomeUnknown:
                # The next reading of both addresses shows whether it landed.
                self._leave_behind(contact, old)
                return
            contact.agreed, contact.agreed_opt_at = old.agreed, old.agreed_opt_at
            contact.profile, contact.profile_tags = None, old.profile_tags
            contacts.saw(contact, contacts.member_of(member), self.services.now())
            contact.look = True
        contact.moved_from = contact.open_verb = None
        self._drop(contact, old)

    def _contact_at(self, address: str) -> Contact | None:
        with self.services.begin() as tx:
            pair = (self.audience.id, address)
            return contacts.find(tx, self.services, {pair}).get(pair)

    def _leave_behind(self, contact: Contact, old: Contact) -> None:
        contact.moved_from = contact.open_verb = None
        contact.look = True
        old.orphan, old.due_at = "unsubscribe", self.services.now()
        self._save([contact, old])

    def _drop(self, contact: Contact, old: Contact | None) -> None:
        def work(tx: Transaction) -> None:
            self.lease.hold(tx, self.services)
            contacts.save(tx, self.services, [contact])
            if old is not None:
                contacts.remove(tx, self.services, old)

        self.services.transact(work)

    def _part(self, contact: Contact) -> None:
        """The customer is gone: the member leaves as the administrator chose."""
        if contact.pair in self.keys:
            contact.orphan = None
            self._save([contact])
            return
        list_id, now = self.audience.list_id, self.services.now()
        contacts.intend(contact, Verb.REMOVE, now)
        self._save([contact])
        try:
            self._part_by_policy(list_id, contact)
        except (NotFound, RequestRefused, MemberRefused):
            logger.info("a member without a customer had left already")
        except (OutcomeUnknown, TryLater) as error:
            self._failed([contact], error)
            if isinstance(error, TryLater):
                raise
            return
        self.services.transact(lambda tx: self._forget(tx, contact))

    def _part_by_policy(self, list_id: str, contact: Contact) -> None:
        if contact.orphan == "archive":
            self.client.archive(list_id, contact.address)
        elif contact.orphan == "delete":
            self.client.delete_permanently(list_id, contact.address)
        else:
            member = self.client.member(list_id, contact.address)
            if member is not None and member.status in (Status.SUBSCRIBED, Status.PENDING):
                self.client.write(list_id, [Write(address=contact.address, status="unsubscribed")])

    def _forget(self, tx: Transaction, contact: Contact) -> None:
        self.lease.hold(tx, self.services)
        contacts.remove(tx, self.services, contact)

    # Remembering

    def _save(self, changed: Iterable[Contact]) -> None:
        def work(tx: Transaction) -> None:
            self.lease.hold(tx, self.services)
            contacts.save(tx, self.services, saved)

        saved = list(changed)
        if saved:
            self.services.transact(work)

    def _audience_gone(self) -> None:
        """Its contacts stay as they are, and no box changes."""
        table = self.services.tables.audience

        def work(tx: Transaction) -> None:
            self.lease.hold(tx, self.services)
            tx.execute(
                update(table)
                .where(table.c.id == self.audience.id)
                .values(gone_at=self.services.now())
            )

        self.services.transact(work)

    def _note(self, contact: Contact, outcome: Outcome) -> None:
        signal = _NEWS.get(contact.seen_status)
        self.news.append((signal, contact, outcome.why))

    def _tell(self) -> None:
        """Receipts into the ledger, then the host's signals."""

        def work(tx: Transaction) -> None:
            for _, contact, why in self.news:
                self._receipt(tx, contact, why)

        if self.news:
            self.services.transact(work)
        for signal, contact, why in (n for n in self.news if n[0] is not None):
            for key in self.keys.get(contact.pair, []):
                facts = {"tenant": self.connection.tenant, "customer_key": key, "reason": why}
                self.services.tell(signal, **facts)

    def _receipt(self, tx: Transaction, contact: Contact, why: str) -> None:
        table, keys = self.services.tables.decision, self.keys.get(contact.pair, [])
        changed = contact.seen_changed_at
        stamp = f", changed there {changed:%Y-%m-%d %H:%M:%S} UTC" if changed else ""
        text = f"{why} ({contact.seen_status or 'no member'}{stamp})"
        tx.execute(
            update(table)
            .where(
                table.c.customer_key.in_(keys) if keys else false(),
                table.c.receipt.is_(None),
                table.c.value == contact.wanted,
            )
            .values(receipt=text, list_id=self.audience.list_id)
        )


_NEWS = {
    Status.SUBSCRIBED: signals.customer_subscribed,
    Status.UNSUBSCRIBED: signals.customer_unsubscribed,
}
_UNREACHABLE = {
    "archived": "The contact was archived at Mailchimp and gets no mail. Untick and tick the box to "
    "bring them back, or unarchive them at Mailchimp.",
    "bounced": "Mail to this address bounced for good. Correct the customer's address.",
}


def _as_refusal(error: MemberRefused | RequestRefused) -> MemberRefused:
    """A single member's request that was refused as a request is that member's trouble."""
    if isinstance(error, MemberRefused):
        return error
    return MemberRefused(str(error), reason="invalid", status=error.status or 400)


def _needs_reading(contact: Contact) -> bool:
    """Whether Mailchimp must be read before anything can be decided."""
    return bool(
        contact.look or contact.wanted is not True or contact.open_verb or contact.late_verb
    )


def _as_seen(contact: Contact) -> MemberRead:
    return MemberRead(
        address=contact.address,
        status=contact.seen_status,
        last_changed=contact.seen_changed_at,
        timestamp_opt=contact.seen_opt_at,
    )


def _plain(write: Write) -> Write:
    return Write(address=write.address, status_if_new=write.status_if_new, tags=write.tags)
