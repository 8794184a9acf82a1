"""Members whose address changed, and members that nobody owns any more. Journey out."""

from __future__ import annotations

import logging

from . import contacts, send
from .client import Write
from .consent import Status, Verb
from .contacts import Contact
from .errors import MailchimpError, MemberRefused, NotFound, OutcomeUnknown, RequestRefused
from .problems import CUT_OFF
from .round import Round

logger = logging.getLogger("flask_mailchimp_optin")

_MOVE = "move"
_THERE = (Status.SUBSCRIBED, Status.PENDING)


def move(here: Round, contact: Contact) -> None:
    """Give the old address's member the new one; otherwise both are settled on their own."""
    old = here.contact_at(contact.moved_from)
    if old is not None and here.is_owned(old):
        old = None  # somebody took the old address over meanwhile: theirs stays
    if old is not None:
        contacts.intend(contact, _MOVE, here.services.now())
        here.save([contact])
        try:
            member = here.client.change_address(here.audience.list_id, old.address, contact.address)
        except (MemberRefused, RequestRefused, NotFound):
            _leave_behind(here, contact, old)
            return
        except OutcomeUnknown:
            # The next reading of both addresses shows whether it landed.
            _leave_behind(here, contact, old)
            return
        contact.agreed, contact.agreed_opt_at = old.agreed, old.agreed_opt_at
        contact.profile, contact.profile_tags = None, old.profile_tags
        contacts.saw(contact, contacts.member_of(member), here.services.now())
        contact.look = True
    contact.moved_from = contact.open_verb = None
    here.drop(contact, old)


def _leave_behind(here: Round, contact: Contact, old: Contact) -> None:
    contact.moved_from = contact.open_verb = None
    contact.look = True
    old.orphan, old.due_at = "unsubscribe", here.services.now()
    here.save([contact, old])


def part(here: Round, contact: Contact) -> None:
    """The customer is gone: the member leaves as the administrator chose."""
    if contact.pair in here.keys:
        contact.orphan = None
        here.save([contact])
        return
    list_id, now = here.audience.list_id, here.services.now()
    contacts.intend(contact, Verb.REMOVE, now)
    here.save([contact])
    try:
        try:
            _part_by_policy(here, list_id, contact)
        except (NotFound, RequestRefused, MemberRefused):
            _check_that_they_left(here, list_id, contact)
    except MailchimpError as error:
        send.failed(here, [contact], error)
        if not isinstance(error, OutcomeUnknown):
            raise
        return
    here.services.transact(lambda tx: here.forget(tx, contact))


def _part_by_policy(here: Round, list_id: str, contact: Contact) -> None:
    if contact.orphan == "archive":
        here.client.archive(list_id, contact.address)
    elif contact.orphan == "delete":
        here.client.delete_permanently(list_id, contact.address)
    else:
        if _status(here, list_id, contact) not in _THERE:
            return
        write = Write(address=contact.address, status="unsubscribed")
        shown = here.client.write(list_id, [write]).members.get(contact.address)
        if shown is None or shown.status in _THERE:
            raise NotFound(CUT_OFF)


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
    return None if member is None else member.status
