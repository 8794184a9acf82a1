"""Members whose address changed, and members that nobody owns any more. Journey out."""

from __future__ import annotations

import logging

from . import contacts, send
from .client import Write
from .consent import Status, Verb
from .contacts import Contact
from .errors import MemberRefused, NotFound, OutcomeUnknown, RequestRefused, TryLater
from .round import Round

logger = logging.getLogger("flask_mailchimp_optin")

_MOVE = "move"


def move(here: Round, contact: Contact) -> None:
    """Give the old address's member the new one; otherwise both are settled on their own."""
    old = here.contact_at(contact.moved_from)
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
        _part_by_policy(here, list_id, contact)
    except (NotFound, RequestRefused, MemberRefused):
        logger.info("a member without a customer had left already")
    except (OutcomeUnknown, TryLater) as error:
        send.failed(here, [contact], error)
        if isinstance(error, TryLater):
            raise
        return
    here.services.transact(lambda tx: here.forget(tx, contact))


def _part_by_policy(here: Round, list_id: str, contact: Contact) -> None:
    if contact.orphan == "archive":
        here.client.archive(list_id, contact.address)
    elif contact.orphan == "delete":
        here.client.delete_permanently(list_id, contact.address)
    else:
        member = here.client.member(list_id, contact.address)
        if member is not None and member.status in (Status.SUBSCRIBED, Status.PENDING):
            here.client.write(list_id, [Write(address=contact.address, status="unsubscribed")])
