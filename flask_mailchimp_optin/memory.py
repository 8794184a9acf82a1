"""What we remember of one contact: the rule's view of it, and what readings and answers leave behind.

Used by both journeys. No I/O: contacts are changed in memory, and ``contacts`` reads and saves them.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import cached_property
from operator import itemgetter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row

from .consent import EPSILON, LATE, Agreed, Host, Member, Memory, Status, Verb
from .models import CONTACT_COLUMNS, CONTACT_TIMES, utc

if TYPE_CHECKING:
    from .client import MemberRead

#: A member's change of address, among the verbs of a contact's requests.
MOVE = "move"

#: A request without a usable answer: verb, when it was given up, the opt-in time that it carried.
Late = tuple[str, datetime, datetime | None]


def late_read(text: str | None) -> tuple[Late, ...]:
    """As it was stored."""
    time = datetime.fromisoformat
    return tuple(
        (v, time(at), time(opted) if opted else None) for v, at, opted in json.loads(text or "[]")
    )


def late_text(late: tuple[Late, ...]) -> str | None:
    """As it is stored."""
    rows = [[v, at.isoformat(), opted.isoformat() if opted else None] for v, at, opted in late]
    return json.dumps(rows) if rows else None


class Contact(SimpleNamespace):
    """One contact row as it was read, with aware times; changed in memory, then saved."""

    # Not stored: what the rule last said of it, as of when what was seen is known, and what is stored.
    why = ""
    as_of: datetime | None = None
    was: tuple[Any, ...] = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    @classmethod
    def of(cls, row: Row[Any]) -> Contact:
        """From a row of the table."""
        values = dict(zip(CONTACT_COLUMNS, row, strict=False))  # a row may have more
        for name in CONTACT_TIMES:
            if values[name] is not None:
                values[name] = utc(values[name])
        values["late"] = late_read(values["late"]) if values["late"] else ()
        return cls(**values)

    @cached_property
    def pair(self) -> tuple[int, str]:
        """(audience id, address): what names a contact."""
        return self.audience_id, self.address

    @property
    def moved(self) -> bool:
        """The host decided since both sides last agreed."""
        return bool(self.decided_version > self.settled_version)


def is_told(contact: Contact) -> bool:
    """Whether they may be a member: by a yes that was told to Mailchimp, or as they were seen there."""
    agreed = contact.agreed in (Agreed.YES, Agreed.ASKED)
    seen = contact.seen_status == Status.SUBSCRIBED
    return bool(agreed or seen or contact.open_verb or contact.late)


def is_there(contact: Contact) -> bool:
    """A yes of somebody with whom nothing was agreed, who was a member already when we looked."""
    unsure = contact.late or contact.open_verb or contact.seen_at is None or contact.orphan
    nothing = contact.agreed == Agreed.NOTHING and contact.profile is None
    seen = contact.seen_status == Status.SUBSCRIBED
    return bool(contact.wanted and seen and nothing and not unsure)


#: Who somebody is, and what is sent of them, is nothing to the rule.
_WHOSE = {"id", "connection_id", "audience_id", "address", "profile", "profile_tags"}
_NAMES = tuple(name for name in CONTACT_COLUMNS if name not in _WHOSE)
_state = itemgetter(*_NAMES)


def state(contact: Contact) -> tuple[Any, ...]:
    """All that the rule may go by: contacts in the same state have the same fate."""
    return (*_state(vars(contact)), contact.as_of)


def values(contact: Contact) -> dict[str, Any]:
    """Its state, by name."""
    return dict(zip((*_NAMES, "as_of"), state(contact), strict=True))


def host_of(row: Contact) -> Host:
    """The host's side of a contact."""
    return Host(wanted=row.wanted, at=row.wanted_at, moved=row.moved)


def member_of(read: MemberRead | None) -> Member:
    """Mailchimp's side, from a reading; None: the audience doesn't know the address."""
    if read is None:
        return Member(status=Status.ABSENT)
    try:
        status = Status(read.status)
    except ValueError:
        # A status that Mailchimp invents later says nothing about marketing.
        status = Status.TRANSACTIONAL
    return Member(status=status, last_changed=read.last_changed, timestamp_opt=read.timestamp_opt)


def memory_of(row: Contact, member: Member, now: datetime) -> Memory:
    """What we remember of a contact, given what was just read."""
    sent = {verb for verb, at, _ in row.late if _explains(at, member)}
    sent |= {row.open_verb} if row.open_verb else set()
    opted = member.timestamp_opt
    return Memory(
        agreed=Agreed(row.agreed),
        subscribed_seen_at=row.subscribed_seen_at,
        opted_at=row.agreed_opt_at,
        seen_opted_at=row.seen_opt_at,
        agreed_at=row.agreed_at,
        removed_at=row.removed_at,
        # An address change that may still land can make a member of the new address.
        sent=frozenset(Verb.UPSERT if verb == MOVE else Verb(verb) for verb in sent),
        archived_seen_at=row.seen_at if _archived_as_before(row, member) else None,
        revived=row.seen_status == Status.ARCHIVED
        and any(v == Verb.UPSERT for v, _, _ in row.late),
        opted_by_us=opted is not None and any(opted == ours for _, _, ours in row.late),
        asked=_asked(row, member, now),
    )


def _explains(lost_at: datetime, member: Member) -> bool:
    """Whether a request lost then may have made this opt-in; a later one is the person's own."""
    opted = member.timestamp_opt
    if member.status is not Status.SUBSCRIBED or opted is None:
        return True
    return opted <= lost_at + LATE + EPSILON


def _archived_as_before(row: Contact, member: Member) -> bool:
    before = (row.seen_status, row.seen_changed_at)
    return member.status is Status.ARCHIVED and before == (member.status, member.last_changed)


def _asked(row: Contact, member: Member, now: datetime) -> bool:
    """Whether this very decision was put to the person, as far as can be known."""
    if row.asked_version is None or row.asked_version != row.decided_version:
        return False
    lost_at = max((at for verb, at, _ in row.late if verb == Verb.ASK), default=None)
    if lost_at is None or now < lost_at + LATE:
        return True
    # The answer to the question was lost. Unless it is seen to be open, nobody can tell "declined"
    # from "never asked": asking once more is the only answer that harms neither.
    return member.status is Status.PENDING


# What a reading, an answer or a refusal leaves behind


def saw(contact: Contact, member: Member, at: datetime, now: datetime) -> None:
    """Remember what Mailchimp showed.

    :param at: by the host's clock; what was shown may be as old as that.
    :param now: it is not newer than this; a yes is newer than the archive only if it came after that.
    """
    back = member.timestamp_opt != contact.seen_opt_at and member.last_changed != contact.removed_at
    if back or member.status is Status.SUBSCRIBED:
        contact.removed_at = None  # whoever unsubscribes them next, it was not that REMOVE of ours
    contact.seen_status = member.status.value
    contact.seen_changed_at = member.last_changed
    contact.seen_opt_at = member.timestamp_opt
    contact.seen_at = now if member.status is Status.ARCHIVED else at
    contact.as_of = at
    if member.status is Status.SUBSCRIBED:
        contact.subscribed_seen_at = at


def agree(contact: Contact, agreed: Agreed, now: datetime) -> None:
    """Both sides agree, or the person has been asked: this decision is settled."""
    again = (contact.agreed, contact.agreed_opt_at) == (agreed.value, contact.seen_opt_at)
    if not again:
        contact.agreed_at = now
    contact.agreed, contact.agreed_opt_at = agreed.value, contact.seen_opt_at
    if agreed is not Agreed.ASKED:
        contact.asked_version = None  # the question is over: whatever crosses next is another
    contact.settled_version = contact.decided_version
    contact.attempts = 0
    if contact.refusal != "merge_fields":
        forgive(contact)


def forgive(contact: Contact) -> None:
    """What Mailchimp refused earlier counts no more."""
    contact.refusal = contact.refusal_text = contact.refused_at = None


def finish(contact: Contact, now: datetime) -> None:
    """This version needs nothing more; only a request that may still land brings us back."""
    contact.acked_version = contact.version
    _set_aside(contact, now)
    landing, as_of = landed_by(contact), contact.as_of or contact.seen_at or now
    contact.look = landing is not None and as_of < landing  # what was seen may be older than now
    contact.due_at = landing if contact.look else None
    if not contact.look:
        contact.late = ()


def parted(contact: Contact, landing: datetime) -> None:
    """The member left with the last owner; the row stays for what was sent before and may still land.

    Whoever comes to the address is new there: nothing is agreed with them.
    """
    contact.agreed = Agreed.NOTHING.value
    contact.agreed_opt_at = contact.agreed_at = contact.subscribed_seen_at = None
    contact.asked_version = None
    contact.settled_version = contact.decided_version - 1
    contact.due_at = landing


def landed_by(contact: Contact) -> datetime | None:
    """When everything that was sent without a usable answer has landed, or never will."""
    return max((at + LATE for _, at, _ in contact.late), default=None)


def intend(contact: Contact, verb: str, now: datetime, opted: datetime | None = None) -> None:
    """Written down before a request is sent, so that a crash can be told from silence.

    :param opted: the opt-in time that the request carries.
    """
    if contact.open_verb != verb:
        _set_aside(contact, now)
    contact.open_verb, contact.open_version, contact.open_at = verb, contact.version, now
    contact.open_opt_at = opted
    if contact.due_at is None or contact.due_at > now:
        contact.due_at = now  # whoever dies with the request open: somebody comes back for it
    if verb == Verb.ASK:
        contact.asked_version = contact.decided_version


def adopt(contact: Contact, now: datetime) -> None:
    """Whoever sent the open request is gone: it may have landed, or still will."""
    if contact.open_verb and contact.agreed == Agreed.NOTHING:
        contact.profile = None  # nobody knows whether the details have come along
    _set_aside(contact, now)


def answered(contact: Contact) -> None:
    """The open request's answer is definite: it will not land once more."""
    contact.open_verb = contact.open_version = contact.open_at = contact.open_opt_at = None


def unsend(contact: Contact, due_at: datetime) -> None:
    """The request never left: as if it had not been intended."""
    if contact.open_verb == Verb.ASK:
        contact.asked_version = None
    answered(contact)
    contact.due_at = due_at


def lose(contact: Contact, now: datetime) -> None:
    """A request's outcome is unknown: look again soon, and at growing intervals."""
    _set_aside(contact, now)
    look_again(contact, now)


def look_again(contact: Contact, now: datetime) -> None:
    """Something failed that concerns this contact alone: at growing intervals."""
    contact.attempts += 1
    contact.look = True
    contact.due_at = now + timedelta(seconds=min(2**contact.attempts, 3600))


def _set_aside(contact: Contact, now: datetime) -> None:
    """From now on the open request is one that may land late: it is on its way by now, or never."""
    if contact.open_verb:
        request = (contact.open_verb, now, contact.open_opt_at)
        others = [late for late in contact.late if late[::2] != request[::2]]
        contact.late = (*others, request)
    answered(contact)


def leave_out(contact: Contact, text: str, now: datetime) -> None:
    """Details that one side did not take: shown; consent goes on without them."""
    contact.refusal, contact.refusal_text, contact.refused_at = "merge_fields", text, now


def refuse(contact: Contact, reason: str, text: str, now: datetime) -> None:
    """Mailchimp refused this member: shown, and not tried again by itself."""
    finish(contact, now)
    contact.refusal, contact.refusal_text, contact.refused_at = reason, text, now
    if contact.wanted is False and not contact.orphan:
        contact.look, contact.due_at = True, now + timedelta(hours=1)  # a no is never given up
    elif reason == "too_many_lists":
        contact.due_at = now + timedelta(days=3)
