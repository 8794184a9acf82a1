"""Members whose address changed, and members that nobody owns any more. Journey out."""

from __future__ import annotations

import logging

from . import memory, send
from .client import Write
from .consent import Member, Status, Verb
from .errors import MailchimpError, MemberRefused, NotFound, OutcomeUnknown, RequestRefused
from .memory import Contact
from .problems import CUT_OFF
from .round import Round

logger: logging.Logger = logging.getLogger("flask_mailchimp_optin")

_THERE = (Status.SUBSCRIBED, Status.PENDING)


def move(here: Round, contact: Contact) -> bool:
    """Give the old address's member the new one; whether the contact can be settled now.

    Where that can't be, both are settled on their own.
    """
    old = here.contact_at(contact.moved_from)
    if old is None or here.is_owned(old):
        contact.moved_from = None  # gone; or somebody took the old address over: theirs stays
    elif contact.wanted is False or not _follows(here, contact, old):
        # A no never waits for another address to be tried again.
        _leave_behind(here, contact, old)
    return contact.moved_from is None


def _follows(here: Round, contact: Contact, old: Contact) -> bool:
    """Whether the old address's member is the new one's now, or may still become it."""
    memory.intend(contact, memory.MOVE, here.services.now())
    here.save([contact])
    list_id = here.audience.list_id
    try:
        try:
            member = here.client.change_address(list_id, old.address, contact.address)
        except NotFound:
            # Gone from the old address: perhaps by a request of ours whose answer was lost.
            member = here.client.member(list_id, contact.address)
    except (MemberRefused, RequestRefused):
        memory.answered(contact)
        return False
    except MailchimpError as error:
        send.failed(here, [contact], error)  # and again: to repeat it does no harm
        if not isinstance(error, OutcomeUnknown):
            raise
        return True
    memory.answered(contact)
    if member is not None:
        _moved(here, contact, old, memory.member_of(member))
    return member is not None


def _moved(here: Round, contact: Contact, old: Contact, shown: Member) -> None:
    now = here.services.now()
    contact.agreed, contact.agreed_opt_at = old.agreed, old.agreed_opt_at
    contact.agreed_at = old.agreed_at
    contact.profile, contact.profile_tags = None, old.profile_tags
    memory.saw(contact, shown, now, now)
    contact.look, contact.moved_from = True, None
    landing = memory.landed_by(old)
    if landing is None or landing <= now:
        here.drop(contact, old)
        return
    # A request for the old address may still land there.
    old.orphan, old.due_at = "unsubscribe", landing
    here.save([contact, old])


def _leave_behind(here: Round, contact: Contact, old: Contact) -> None:
    contact.moved_from = None
    contact.look = True
    old.orphan, old.due_at = "unsubscribe", here.services.now()
    here.save([contact, old])


def part(here: Round, contact: Contact) -> None:
    """The customer is gone: the member leaves as the administrator chose."""
    if contact.pair in here.keys:
        contact.orphan = None
        here.save([contact])
        return
    begin = here.services.now()
    memory.intend(contact, Verb.REMOVE, begin)
    here.save([contact])
    try:
        try:
            _part_by_policy(here, here.audience.list_id, contact)
        except (NotFound, RequestRefused, MemberRefused):
            _check_that_they_left(here, here.audience.list_id, contact)
    except MailchimpError as error:
        send.failed(here, [contact], error)
        if not isinstance(error, OutcomeUnknown):
            raise
        return
    memory.answered(contact)
    landing = memory.landed_by(contact)
    if landing is None or landing <= begin:  # what was seen may be as old as that
        here.services.transact(lambda tx: here.forget(tx, contact))
        return
    memory.parted(contact, landing)
    here.save([contact])


def _part_by_policy(here: Round, list_id: str, contact: Contact) -> None:
    if contact.orphan == "delete":
        here.client.delete_permanently(list_id, contact.address)
        return
    status, archive = _status(here, list_id, contact), contact.orphan == "archive"
    # Mailchimp archives nobody who is being asked (405): the question is withdrawn first.
    if status == Status.PENDING or (status in _THERE and not archive):
        write = Write(address=contact.address, status="unsubscribed")
        shown = here.client.write(list_id, [write]).members.get(contact.address)
        if shown is None or shown.status in _THERE:
            raise NotFound(CUT_OFF)
        here.hold()  # another request has been made meanwhile
    if archive and status is not None:
        here.client.archive(list_id, contact.address)


def _check_that_they_left(here: Round, list_id: str, contact: Contact) -> None:
    """Refused, or not found: as a rule because they had left already.

    :raises OutcomeUnknown: they had not.
    """
    status = _status(here, list_id, contact)
    if status in _THERE or (contact.orphan == "delete" and status is not None):
        raise OutcomeUnknown(CUT_OFF)
    logger.info("a member without a customer had left already")


def _status(here: Round, list_id: str, contact: Contact) -> str | None:
    member = here.client.member(list_id, contact.address)
    if member is None and contact.seen_status not in (None, Status.ABSENT):
        contact.seen_status = Status.ABSENT.value
        raise OutcomeUnknown(CUT_OFF)  # known until now: it is looked once more
    here.hold()  # and still ours to do
    return None if member is None else member.status
