"""What follows for a contact from a reading: the rule is asked, and what needs no request is done.

Both journeys. What needs a request becomes a verb of the round.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from . import contacts, edits, memory, signals
from .consent import EPSILON, Act, Agreed, Member, Outcome, Status, Verb, decide
from .errors import ChangedMeanwhile
from .inbound import follow
from .ledger import Facts
from .memory import Contact
from .round import Round
from .services import Transaction
from .texts import N_, Text

#: With these, only a new decision brings a contact back.
FINAL = ("compliance", "forgotten", "fake", "invalid", "exists", "parked")

#: How long a member must be unknown to Mailchimp before they are gone.
_ONCE_MORE = timedelta(seconds=60)

_UNREACHABLE = {
    "archived": N_("The contact was archived at Mailchimp and gets no mail."),
    "bounced": N_("Mail to this address bounced for good."),
}

_RENAMED = N_(
    "At Mailchimp this person now has the address %(address)s, and nothing is sent to the old one. "
    "Correct the customer’s address; or untick and tick the box, if the old one is to be in the list as "
    "well."
)


#: What a reading or an answer made of a contact's :func:`state <.memory.state>`, what the rule said, and
#: whether only we had acted there.
Alike = dict[tuple[Any, ...], tuple[Mapping[str, Any], Outcome, bool]]


def take(
    here: Round,
    contact: Contact,
    member: Member,
    alike: Alike,
    *,
    answered: bool = False,
    made_by_us: bool = False,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Let the rule decide on a fresh reading, and do what needs no request.

    :param alike: what was found of others just now: it holds for whoever is just as they are.
    :param answered: what is known of the member is the definite answer to the open request.
    :param made_by_us: that request made the member: nobody else has acted there.
    :param details: the merge fields that a reading shows.
    """
    if member.status is Status.ABSENT and contact.seen_status not in (None, Status.ABSENT):
        # Known until now: a 404 of a moment must not pass for "not subscribed".
        contact.seen_status, contact.look = Status.ABSENT.value, True
        contact.due_at = here.services.now() + _ONCE_MORE
        return
    edited = details and edits.of(here, contact, member, details)
    was, question = contact.agreed, (memory.state(contact), member, answered, made_by_us)
    known = alike.get(question)
    if known is not None:
        changes, outcome, ours = known
        vars(contact).update(changes)
    else:
        outcome, ours = _judge(here, contact, member, answered=answered)
        ours = ours or made_by_us
        alike[question] = memory.values(contact), outcome, ours
    if outcome.act is Act.SEND and outcome.verb is not None:
        contact.why = outcome.why
        _plan(here, contact, outcome.verb)
    elif outcome.act is Act.BOX:
        _follow(here, contact, member, outcome)
    elif outcome.act is not Act.UNREACHABLE or not contact.wanted:
        if contact.wanted and member.status is not Status.UNSUBSCRIBED:
            if edited:
                edits.follow(here, contact, edited)
            _profile(here, contact)
        if was != contact.agreed:
            here.note(contact, outcome)
    if ours:
        contact.agreed_at = None


def _judge(
    here: Round, contact: Contact, member: Member, *, answered: bool
) -> tuple[Outcome, bool]:
    """Ask the rule, and remember what was seen and what follows of it for the contact alone.

    :returns: what the rule says, and whether the opt-in that is seen is a lost request's of ours.
    """
    now = here.services.now()
    remembered = memory.memory_of(contact, member, now)
    outcome = decide(
        memory.host_of(contact),
        member,
        remembered,
        always_confirm=here.connection.always_confirm or here.audience.double_optin,
    )
    known_at = here.read_at
    if answered:
        known_at = contact.open_at  # what an answer shows may be as old as the question
        memory.answered(contact)
    memory.saw(contact, member, known_at, now)
    if outcome.act in (Act.SEND, Act.BOX):
        return outcome, remembered.opted_by_us
    if outcome.act is Act.AGREE or outcome.agreed is Agreed.ASKED:
        memory.agree(contact, outcome.agreed, now)
    if outcome.act is Act.UNREACHABLE and contact.wanted:
        reason = "archived" if member.status is Status.ARCHIVED else "bounced"
        memory.refuse(contact, reason, _UNREACHABLE[reason], now)
    else:
        memory.finish(contact, now)
    return outcome, remembered.opted_by_us


def _plan(here: Round, contact: Contact, verb: Verb) -> None:
    if verb is Verb.UPSERT and contact.renamed_to and contact.agreed == Agreed.YES:
        # The person took another address along: the old one is not theirs to be mailed at any more.
        text = Text(_RENAMED, address=contact.renamed_to)
        memory.refuse(contact, "renamed", text, here.services.now())
        here.news.append((signals.customer_needs_attention, contact, "renamed"))
        return
    if contact.wanted and contact.refusal in FINAL:
        memory.finish(contact, here.services.now())
        return
    here.verbs.append((contact, verb))


def _profile(here: Round, contact: Contact) -> None:
    snapshot = here.snapshots.get(contact.pair)
    if snapshot is not None and contact.profile != snapshot.profile:
        here.verbs.append((contact, Verb.UPSERT))


def without_reading(here: Round, contact: Contact) -> None:
    """A yes of somebody new, or details of a settled one: UPSERT leaves who is a member as they are."""
    if contact.moved:
        _plan(here, contact, Verb.UPSERT)
        return
    memory.finish(contact, here.services.now())
    if contact.refusal not in FINAL:
        _profile(here, contact)


def _follow(here: Round, contact: Contact, member: Member, outcome: Outcome) -> None:
    """The boxes of the address follow Mailchimp, together with what we remember."""
    value = bool(outcome.box)
    at = member.timestamp_opt if value else member.last_changed
    facts = Facts(source="mailchimp", page=outcome.why, at=at or here.services.now())
    # Among the host's own decisions a no is as late, and a yes as early, as it may have been.
    when = here.read_at if at is None else at - EPSILON if value else at + EPSILON
    known_at = min(when, here.read_at)

    def work(tx: Transaction) -> bool:
        here.lease.hold(tx, here.services)
        if not follow(tx, here.services, contact, value, known_at, facts):
            return False
        contact.wanted, contact.decided_version = value, contact.version
        memory.agree(contact, outcome.agreed, here.services.now())
        memory.forgive(contact)
        memory.finish(contact, here.services.now())
        here.keep(tx, [contact])
        return True

    try:
        followed = here.services.transact(work)
    except ChangedMeanwhile:
        followed = False
    if not followed:
        contact.due_at, contact.look = here.services.now(), True
        return
    contacts.saved([contact])
    if value:
        _profile(here, contact)
    here.note(contact, outcome)
