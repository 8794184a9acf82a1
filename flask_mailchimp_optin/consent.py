"""The whole consent rule, as one pure function: no I/O, no clock, no database.

Both journeys end here. The words are the glossary's: a *decision* is somebody's yes or no; a *member*
is an address in an audience at Mailchimp. Times are aware UTC; ``None`` means "not known".
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

#: How far the host's clock and Mailchimp's may be apart before "later" means anything.
EPSILON = timedelta(seconds=120)
#: A request whose answer was lost may still take effect: Mailchimp's own timeout is 120 s.
LATE = timedelta(seconds=150)


_WITHDRAWN = "our own late request had unsubscribed them"


class Status(enum.StrEnum):
    """A member's status as Mailchimp writes it, and ``ABSENT`` for an address it doesn't know."""

    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"
    PENDING = "pending"
    CLEANED = "cleaned"
    ARCHIVED = "archived"
    TRANSACTIONAL = "transactional"
    ABSENT = "absent"


class Agreed(enum.StrEnum):
    """What both sides last agreed on about one address in one audience."""

    NOTHING = "nothing"
    YES = "yes"
    NO = "no"
    ASKED = "asked"


class Verb(enum.StrEnum):
    """The only four things we ever tell Mailchimp about somebody's consent."""

    UPSERT = "upsert"  # create or update the profile; never touches an existing status
    ASK = "ask"  # status pending: Mailchimp mails the person a confirmation
    REMOVE = "remove"  # status unsubscribed, of an existing member
    REJOIN = "rejoin"  # status subscribed, of a member our own REMOVE unsubscribed


class Act(enum.StrEnum):
    """What follows from a decision taken by the rule."""

    AGREE = "agree"  # both sides say the same: remember it
    SEND = "send"  # tell Mailchimp, with a verb
    BOX = "box"  # the customer's checkbox follows Mailchimp
    WAIT = "wait"  # nothing to do until a person or Mailchimp moves
    UNREACHABLE = "unreachable"  # consent stands, but Mailchimp can't or mustn't mail


@dataclass(frozen=True, kw_only=True)
class Host:
    """The host's side: the latest explicit decision of the customers who share the address.

    :param wanted: yes, no, or None for never asked.
    :param at: when it was decided; None for a yes that was found without a time.
    :param moved: decided since both sides last agreed.
    """

    wanted: bool | None
    at: datetime | None = None
    moved: bool = False


@dataclass(frozen=True, kw_only=True)
class Member:
    """Mailchimp's side, as just read with a GET or shown by the answer to an UPSERT."""

    status: Status
    last_changed: datetime | None = None
    timestamp_opt: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What we remember of the address.

    :param agreed: what both sides last agreed on.
    :param subscribed_seen_at: when a read last showed ``subscribed``.
    :param opted_at: the member's ``timestamp_opt`` when both sides last agreed.
    :param seen_opted_at: the member's ``timestamp_opt`` when last read, or shown by an answer.
    :param agreed_at: when both sides last agreed, by the host's clock: a decision made before it was
        not known then. None where only we had acted at Mailchimp.
    :param removed_at: ``last_changed`` in the answer to our own REMOVE; None if there was none.
    :param sent: verbs whose requests are open, or were lost and may have made what is seen.
    :param opted_by_us: the opt-in that is seen has the very time that a lost request of ours carried.
    :param archived_seen_at: when they were last seen archived just as they are now, by the host's clock.
    :param revived: they were archived when last seen, and a lost UPSERT may have brought them back.
    :param asked: whether this very decision was already put to the person by an ASK.
    """

    agreed: Agreed = Agreed.NOTHING
    subscribed_seen_at: datetime | None = None
    opted_at: datetime | None = None
    seen_opted_at: datetime | None = None
    agreed_at: datetime | None = None
    removed_at: datetime | None = None
    sent: frozenset[Verb] = frozenset()
    opted_by_us: bool = False
    archived_seen_at: datetime | None = None
    revived: bool = False
    asked: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What to do, with the reason in plain words for the ledger and the pages."""

    act: Act
    why: str
    verb: Verb | None = None
    box: bool | None = None
    agreed: Agreed = Agreed.NOTHING


def decide(host: Host, member: Member, memory: Memory, *, always_confirm: bool = False) -> Outcome:
    """What follows for one address from what the host and Mailchimp say now.

    Total: every combination has an answer. See the documentation's page on the consent rule, which
    tells each branch to a human.

    :param always_confirm: the policy that never subscribes anybody again without asking them.
    """
    if member.status in (Status.CLEANED, Status.ARCHIVED):
        return _unreachable(host, member, memory)
    if host.wanted is None:
        return _never_asked(member)
    if host.wanted:
        return _host_says_yes(host, member, memory, always_confirm)
    return _host_says_no(host, member, memory)


def latest(
    decisions: Iterable[tuple[bool, datetime | None]],
) -> tuple[bool | None, datetime | None]:
    """The decision of an address from those of the customers who share it.

    The latest explicit one counts, and a tie is a no. Yeses without a time count only where there is
    no explicit decision at all.

    :param decisions: ``(yes or no, when)``; ``when`` is None for a yes found without a time.
    """
    every = list(decisions)
    timed = [(at, not yes) for yes, at in every if at is not None]
    if timed:
        at, is_no = max(timed)
        return not is_no, at
    return (True if any(yes for yes, _ in every) else None), None


def _unreachable(host: Host, member: Member, memory: Memory) -> Outcome:
    # Bounced and archived are about reachability, not consent: the box stays as it is.
    if host.wanted is False:
        return Outcome(act=Act.AGREE, why="not mailed, as decided", agreed=Agreed.NO)
    if member.status is Status.ARCHIVED and host.wanted and host.moved and host.at is not None:
        # A yes that is certainly newer than the archive brings them back as a new member would come.
        # An older one doesn't: a no of theirs may lie between, and the archive hides it.
        known = memory.archived_seen_at is not None and host.at > memory.archived_seen_at
        newer = known or _later(host.at, member.last_changed)
        if newer and not memory.asked and not memory.sent:
            return _send(Verb.UPSERT, "a new yes brings an archived member back")
    why = "archived at Mailchimp" if member.status is Status.ARCHIVED else "bounced at Mailchimp"
    return Outcome(act=Act.UNREACHABLE, why=why, agreed=memory.agreed)


def _never_asked(member: Member) -> Outcome:
    # A box that was never ticked is not a no: whatever the person said at Mailchimp counts.
    if member.status is Status.SUBSCRIBED:
        return _box(True, "subscribed at Mailchimp")
    if member.status is Status.UNSUBSCRIBED:
        return _box(False, "unsubscribed at Mailchimp")
    return Outcome(act=Act.WAIT, why="nobody has decided yet")


def _host_says_yes(host: Host, member: Member, memory: Memory, always_confirm: bool) -> Outcome:
    if member.status is Status.SUBSCRIBED:
        if memory.revived:
            return _ask(
                memory, "a late request of ours may have brought them back from the archive"
            )
        return Outcome(act=Act.AGREE, why="subscribed", agreed=Agreed.YES)
    if member.status is Status.ABSENT:
        return _send(Verb.UPSERT, "a yes that Mailchimp doesn't have yet")
    if member.status is Status.PENDING:
        # Mailchimp asked the person; neither yes nor no until they answer.
        return Outcome(act=Act.WAIT, why="waiting for confirmation", agreed=Agreed.ASKED)
    if member.status is Status.TRANSACTIONAL:
        return _ask(memory, "a transactional contact has not agreed to marketing")
    return _yes_against_no(host, member, memory, always_confirm)


def _yes_against_no(host: Host, member: Member, memory: Memory, always_confirm: bool) -> Outcome:
    explained = Verb.REMOVE in memory.sent  # a late REMOVE may have overtaken a newer yes
    if host.at is None or not (host.moved or explained):
        # Only Mailchimp moved; or the yes has no time and never stands against a no.
        return _box(False, "unsubscribed at Mailchimp")
    if memory.agreed is not Agreed.NO and not explained:
        if memory.subscribed_seen_at is not None and _later(memory.subscribed_seen_at, host.at):
            return _box(False, "unsubscribed at Mailchimp after the box was ticked")
        if member.last_changed is None or not _later(host.at, member.last_changed):
            return _ask(memory, "both sides changed at about the same time")
        return _ask(memory, "ticked after the person had unsubscribed at Mailchimp")
    if _only_we_removed(member, memory) and not always_confirm:
        return _send(Verb.REJOIN, "we unsubscribed them ourselves, and nothing changed since")
    if explained and (memory.agreed is Agreed.ASKED or not host.moved):
        # Asked or subscribed, and then unsubscribed by a REMOVE of ours that was late.
        return _send(Verb.ASK, _WITHDRAWN)
    return _ask(memory, "unsubscribed at Mailchimp; only the person can come back")


def _only_we_removed(member: Member, memory: Memory) -> bool:
    return memory.removed_at is not None and member.last_changed == memory.removed_at


def _host_says_no(host: Host, member: Member, memory: Memory) -> Outcome:
    if member.status is Status.PENDING:
        return _no_against_question(host, member, memory)
    if member.status is Status.SUBSCRIBED:
        return _no_against_yes(host, member, memory)
    # Whatever changed them since our REMOVE: without another opt-in they have not been back.
    answered = memory.removed_at is not None and member.timestamp_opt == memory.seen_opted_at
    ours = answered or Verb.REMOVE in memory.sent or _only_we_removed(member, memory)
    if member.status is Status.UNSUBSCRIBED and ours:
        if Verb.REMOVE in memory.sent and memory.agreed is Agreed.ASKED and not host.moved:
            return _send(Verb.ASK, _WITHDRAWN)
        anew = _opted_anew(member, memory) and not memory.opted_by_us
        if anew and not _later_than_opt_in(host, member):
            return _ask(memory, "our request crossed a yes of the person's at Mailchimp")
        return Outcome(act=Act.AGREE, why="unsubscribed, as decided", agreed=Agreed.NO)
    return Outcome(act=Act.AGREE, why="not subscribed", agreed=Agreed.NO)


def _no_against_question(host: Host, member: Member, memory: Memory) -> Outcome:
    crossed = memory.agreed is Agreed.ASKED and _not_known_then(host, memory)
    if memory.asked or (crossed and not _later_than_opt_in(host, member)):
        # Put to the person for this decision; or our question replaced a yes that may be newer.
        return Outcome(act=Act.WAIT, why="waiting for confirmation", agreed=Agreed.ASKED)
    if host.moved or memory.sent & {Verb.ASK, Verb.UPSERT}:
        return _send(Verb.REMOVE, "the question to the person is withdrawn")
    # Somebody signed up elsewhere and has not confirmed: that is for them to finish.
    return Outcome(act=Act.WAIT, why="waiting for confirmation", agreed=memory.agreed)


def _opted_anew(member: Member, memory: Memory) -> bool:
    """Who left and came back since both agreed shows the same status, but another opt-in.

    Not a later one: what we send carries the host's time, what the person does Mailchimp's.
    """
    return member.timestamp_opt is not None and member.timestamp_opt != memory.opted_at


def _no_against_yes(host: Host, member: Member, memory: Memory) -> Outcome:
    opted = member.timestamp_opt
    came_back = memory.opted_at is not None and _opted_anew(member, memory)
    unknown = _not_known_then(host, memory)
    only_host_moved = memory.agreed is Agreed.YES and not came_back and not unknown
    if host.at is None or only_host_moved:
        return _send(Verb.REMOVE, "a no that Mailchimp doesn't have yet")
    ours = bool(memory.sent & {Verb.REJOIN, Verb.UPSERT})
    if ours and (memory.opted_by_us or _later_than_opt_in(host, member)):
        return _send(Verb.REMOVE, "a no that our own late request crossed")
    if ours:  # even if they were asked before: that answer may be what is seen, or not
        return _send(
            Verb.ASK, "a late request of ours may have subscribed them, or they themselves"
        )
    if not host.moved:
        return _box(True, "subscribed at Mailchimp")
    if opted is not None and _later(opted, host.at):
        return _box(True, "subscribed at Mailchimp after the box was unticked")
    if _later(host.at, member.last_changed):
        return _send(Verb.REMOVE, "unticked after the person had subscribed at Mailchimp")
    return _ask(memory, "both sides changed at about the same time")


def _not_known_then(host: Host, memory: Memory) -> bool:
    """Whether the host had decided already when both sides last agreed, and nobody had looked yet."""
    return host.at is not None and memory.agreed_at is not None and host.at < memory.agreed_at


def _later_than_opt_in(host: Host, member: Member) -> bool:
    opted = member.timestamp_opt
    return opted is None or (host.at is not None and _later(host.at, opted))


def _later(one: datetime, other: datetime | None) -> bool:
    """Certainly later, whatever the clocks: False where the other time is not known."""
    return other is not None and one - EPSILON > other + EPSILON


def _send(verb: Verb, why: str) -> Outcome:
    return Outcome(act=Act.SEND, verb=verb, why=why)


def _box(value: bool, why: str) -> Outcome:
    return Outcome(act=Act.BOX, box=value, why=why, agreed=Agreed.YES if value else Agreed.NO)


def _ask(memory: Memory, why: str) -> Outcome:
    if memory.asked:
        return Outcome(act=Act.WAIT, why=f"asked once: {why}")
    return _send(Verb.ASK, why)
