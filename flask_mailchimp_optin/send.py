"""The four verbs on their way to Mailchimp, and what its answers mean.

Both journeys. Written down before it is sent; a refusal is the member's own trouble, an answer that is
none is looked into, and only what concerns the whole connection is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from . import contacts, memory, signals, verdicts
from .client import LARGEST_BATCH, BatchAnswer, Write
from .consent import Act, Agreed, Member, Outcome, Status, Verb
from .errors import (
    MailchimpError,
    MemberRefused,
    NotFound,
    OutcomeUnknown,
    RequestRefused,
)
from .memory import Contact
from .problems import CUT_OFF
from .round import Round

#: Attempts in company, before a member is sent on its own.
ALONE_AFTER = 3
#: Without details, if one of them is refused: consent is sent all the same.
_BARE: dict[str, Any] = {
    "merge_fields": {},
    "interests": {},
    "permissions": {},
    "language": None,
    "ip_opt": None,
}
_PARK_AFTER = 8  # attempts, before a person has to look


def together(
    here: Round,
    ready: Iterable[list[tuple[Contact, Verb]]],
    goes_on: Callable[[], bool],
    *,
    few: bool,
) -> None:
    """UPSERT and REMOVE: up to 500 in one call, and several calls at a time.

    :param goes_on: whether there may be more calls than go out at once.
    :param few: they are made ready in a moment, for one call or two.
    """
    stopped: MailchimpError | None = None

    def written_down() -> Iterator[list[tuple[Contact, Verb]]]:
        for number, part in enumerate(_parts(ready)):
            if stopped is not None or (number >= here.lease.at_a_time and not goes_on()):
                return
            if part := _write_down(here, here.not_overtaken(part)):
                yield part

    calls = list(written_down()) if few else written_down()
    for part, answer in here.at_once(lambda part: _post(here, part), calls):
        sent = [contact for contact, _ in part]
        try:
            whole = _finished(here, part, answer)
        except MailchimpError as error:
            gone = isinstance(error, NotFound) and here.audience_gone()
            if not gone:
                failed(here, sent, error)
            if not isinstance(error, OutcomeUnknown | NotFound):
                stopped = error
            continue
        alike = verdicts.Alike()
        for contact, verb in part:
            _answered(here, contact, verb, whole, alike)
        here.save(sent)
    if stopped is not None:
        raise stopped


def _parts(
    ready: Iterable[list[tuple[Contact, Verb]]],
) -> Iterator[list[tuple[Contact, Verb]]]:
    """Calls of up to 500, of newcomers or of members: who became one meanwhile is not written over."""
    waiting: dict[bool, list[tuple[Contact, Verb]]] = {True: [], False: []}
    for some in ready:
        for contact, verb in some:
            waiting[_is_newcomer(contact, verb)].append((contact, verb))
        for kind, those in waiting.items():
            if len(those) >= LARGEST_BATCH:
                yield those[:LARGEST_BATCH]
                waiting[kind] = those[LARGEST_BATCH:]
    yield from (those for those in waiting.values() if those)


def _is_newcomer(contact: Contact, verb: Verb) -> bool:
    """Somebody whom this UPSERT is to make a member; Mailchimp treats the archived as new."""
    return verb is Verb.UPSERT and contact.seen_status in (None, Status.ABSENT, Status.ARCHIVED)


def _write_down(
    here: Round, verbs: list[tuple[Contact, Verb]], *, again: bool = False
) -> list[tuple[Contact, Verb]]:
    """Before each call, also of a batch that is halved: the lease holds, and the time is right.

    Where others absorb meanwhile, those that have changed since they were picked are left out.

    :param again: a part of what was written down and sent before.
    """
    now = here.services.now()
    for contact, verb in verbs:
        memory.intend(contact, verb, now, _opt_in(here, contact, verb, now))
    unmoved = bool(here.connection.shards) and not again
    saved = {contact.id for contact in here.save([c for c, _ in verbs], unmoved=unmoved)}
    return [(contact, verb) for contact, verb in verbs if contact.id in saved]


def _post(
    here: Round, verbs: list[tuple[Contact, Verb]], *, plain: bool = False
) -> BatchAnswer | MailchimpError:
    """One call; its error as a value, for it may be made in a thread."""
    writes = [_write(here, contact, verb) for contact, verb in verbs]
    if plain:
        writes = [replace(write, **_BARE) for write in writes]
    try:
        update = not _is_newcomer(*verbs[0])  # one call's are all the one or all the other
        return here.client.write(here.audience.list_id, writes, update=update)
    except MailchimpError as error:
        return error


def _finished(
    here: Round, verbs: list[tuple[Contact, Verb]], answer: BatchAnswer | MailchimpError
) -> BatchAnswer:
    """What a batch came to, with what has to be said once more because of its first answer.

    :raises MailchimpError: there is no answer to it.
    """
    if isinstance(answer, MemberRefused | RequestRefused):
        if len(verbs) == 1:
            return BatchAnswer(members={}, refused={verbs[0][0].address: _as_refusal(answer)})
        half = len(verbs) // 2  # one bad row refused the whole call: find it
        return _both(_call(here, verbs[:half]), _call(here, verbs[half:]))
    if isinstance(answer, MailchimpError):
        raise answer
    refused = {a for a, error in answer.refused.items() if error.reason == "merge_fields"}
    if not refused:
        return answer
    # Consent is sent even if the profile is refused.
    again = [(contact, verb) for contact, verb in verbs if contact.address in refused]
    _write_down(here, again, again=True)
    second = _post(here, again, plain=True)
    if isinstance(second, MailchimpError):
        raise second
    return _both(answer, second)


def _call(here: Round, verbs: list[tuple[Contact, Verb]]) -> BatchAnswer:
    _write_down(here, verbs, again=True)
    return _finished(here, verbs, _post(here, verbs))


def _both(first: BatchAnswer, second: BatchAnswer) -> BatchAnswer:
    return BatchAnswer(
        members={**first.members, **second.members},
        refused={**first.refused, **second.refused},
        created=first.created | second.created,
    )


def _write(here: Round, contact: Contact, verb: Verb) -> Write:
    if verb is Verb.REMOVE:
        return Write(address=contact.address, status="unsubscribed")
    snapshot = here.snapshots.get(contact.pair)
    status, opted_at = _status_if_new(here, contact), contact.open_opt_at
    if snapshot is None:
        return Write(address=contact.address, status_if_new=status, timestamp_opt=opted_at)
    return Write(
        address=contact.address,
        status_if_new=status,
        merge_fields=contacts.merge_fields(here.fitted(contact)[0], contact.profile_tags),
        tags=snapshot.tags,
        interests=snapshot.interests,
        permissions=snapshot.permissions,
        language=snapshot.language,
        timestamp_opt=opted_at,
        ip_opt=here.ip_of(contact) if opted_at else None,
    )


def _opt_in(here: Round, contact: Contact, verb: Verb, now: datetime) -> datetime | None:
    """The time of the yes, as evidence for Mailchimp: of who rejoins, or is new and need not confirm.

    By it we know our own request again if its answer is lost. A yes that was found without a time
    carries the time of the request.
    """
    makes_new = verb is Verb.UPSERT and _status_if_new(here, contact) == Status.SUBSCRIBED
    if not contact.moved or not (makes_new or verb is Verb.REJOIN):
        return None
    at: datetime = contact.wanted_at or now
    return at.replace(microsecond=0)


def _status_if_new(here: Round, contact: Contact) -> str:
    """What an address becomes that Mailchimp, against expectation or not, doesn't have.

    Whoever was a member when we last looked and is gone or archived meanwhile may have said no before
    that: they are asked.
    """
    newcomer = _is_newcomer(contact, Verb.UPSERT)
    came_once = contact.seen_status == Status.ARCHIVED or contact.agreed != Agreed.NOTHING
    if here.audience.double_optin or not newcomer:
        return Status.PENDING
    return Status.PENDING if came_once and here.connection.always_confirm else Status.SUBSCRIBED


def _answered(
    here: Round, contact: Contact, verb: Verb, answer: BatchAnswer, alike: verdicts.Alike
) -> None:
    now = here.services.now()
    member, refusal = answer.members.get(contact.address), answer.refused.get(contact.address)
    if member is None and refusal is None:
        memory.lose(contact, now)  # Mailchimp said nothing of this one
        return
    if refusal is not None and (member is None or refusal.reason != "merge_fields"):
        _refused(here, contact, verb, refusal)
        return
    shown = memory.member_of(member)
    if verb is Verb.REMOVE:
        _removed(here, contact, shown, alike)
        return
    _wrote_profile(here, contact, refusal)
    before = len(here.verbs)
    made_by_us = contact.address in answer.created
    verdicts.take(here, contact, shown, alike, answered=True, made_by_us=made_by_us)
    # The profile was just written, and an UPSERT that left the status alone is not repeated.
    here.verbs[before:] = [v for v in here.verbs[before:] if v[1] is not Verb.UPSERT]


def _wrote_profile(here: Round, contact: Contact, refusal: MemberRefused | None) -> None:
    """Remember what was sent of the customer's details, and which of them can't be."""
    left_out = str(refusal) if refusal is not None else None
    snapshot = here.snapshots.get(contact.pair)
    if snapshot is not None:
        contact.profile = snapshot.profile
        if refusal is None:
            values, left_out = here.fitted(contact)
            contact.profile_tags = contacts.sent_tags(values, snapshot, contact.profile_tags)
    if left_out is not None:
        memory.leave_out(contact, left_out, here.services.now())
    elif contact.refusal == "merge_fields":
        memory.forgive(contact)


def _removed(here: Round, contact: Contact, shown: Member, alike: verdicts.Alike) -> None:
    if shown.status in (Status.SUBSCRIBED, Status.PENDING):
        memory.lose(contact, here.services.now())  # the answer is not this request's
        return
    verdicts.take(here, contact, shown, alike, answered=True)
    contact.removed_at = shown.last_changed


def _refused(here: Round, contact: Contact, verb: Verb, refusal: MemberRefused) -> None:
    now = here.services.now()
    memory.answered(contact)
    unread = refusal.reason == "exists" or (refusal.reason == "compliance" and not contact.look)
    if unread and verb is Verb.UPSERT:
        # The batch doesn't say what the member is now: look, and let the rule decide.
        contact.look, contact.due_at = True, now
        contact.attempts += 1
        if contact.attempts < ALONE_AFTER:
            return
    if verb is Verb.REMOVE and refusal.reason == "forgotten" and contact.attempts < ALONE_AFTER:
        # Deleted permanently since they were read: as gone as a no wants them. The next look sees it.
        memory.look_again(contact, now)
        return
    memory.refuse(contact, refusal.reason, str(refusal), now)
    if verb is Verb.ASK:
        contact.asked_version = None  # it did not reach the person
    here.news.append((signals.customer_needs_attention, contact, refusal.reason))


def alone(here: Round, contact: Contact, verb: Verb) -> None:
    """ASK and REJOIN, one person at a time: their errors are exact."""
    if not _write_down(here, here.not_overtaken([(contact, verb)])):
        return
    try:
        if verb is Verb.REJOIN and not _still_ours(here, contact):
            memory.unsend(contact, here.services.now())
            contact.look = True
        else:
            _set_status(here, contact, verb)
    except (MemberRefused, RequestRefused) as error:
        refusal = _as_refusal(error)
        if verb is Verb.REJOIN and refusal.reason == "compliance":
            memory.answered(contact)
            alone(here, contact, Verb.ASK)  # Mailchimp knows better who left
            return
        _refused(here, contact, verb, refusal)
    except MailchimpError as error:
        failed(here, [contact], error)
        if not isinstance(error, OutcomeUnknown | NotFound):
            raise
        return
    here.save([contact])


def _still_ours(here: Round, contact: Contact) -> bool:
    """The last look before a REJOIN: still as our own REMOVE left them."""
    member = memory.member_of(here.client.member(here.audience.list_id, contact.address))
    here.hold()  # and still ours to do
    return member.status is Status.UNSUBSCRIBED and member.last_changed == contact.removed_at


def _set_status(here: Round, contact: Contact, verb: Verb) -> None:
    status = Status.PENDING if verb is Verb.ASK else Status.SUBSCRIBED
    list_id, now = here.audience.list_id, here.services.now()
    shown = memory.member_of(
        here.client.set_status(list_id, contact.address, status, timestamp_opt=contact.open_opt_at)
    )
    if shown.status is not status:
        raise OutcomeUnknown(CUT_OFF)  # the answer is not this request's
    memory.saw(contact, shown, contact.open_at, now)
    memory.answered(contact)
    agreed = Agreed.ASKED if verb is Verb.ASK else Agreed.YES
    why = f"asked to confirm by mail: {contact.why}" if verb is Verb.ASK else "subscribed again"
    memory.agree(contact, agreed, now)
    memory.finish(contact, now)
    here.note(contact, Outcome(act=Act.AGREE, why=why, agreed=agreed))


def failed(here: Round, sent: list[Contact], error: MailchimpError) -> None:
    """A request without a usable answer: nothing is lost, and nothing goes on for ever."""
    now = here.services.now()
    for contact in sent:
        if isinstance(error, OutcomeUnknown):
            memory.lose(contact, now)
        else:
            memory.unsend(contact, now)
        if isinstance(error, NotFound):
            memory.look_again(contact, now)
        if contact.attempts >= _PARK_AFTER:
            memory.refuse(contact, "parked", str(error), now)
    here.save(sent)


def _as_refusal(error: MemberRefused | RequestRefused) -> MemberRefused:
    """A single member's request that was refused as a request is that member's trouble."""
    if isinstance(error, MemberRefused):
        return error
    return MemberRefused(str(error), reason="invalid", status=error.status or 400)
