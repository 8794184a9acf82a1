"""What a person changed of their details at Mailchimp goes into the host's row. Journey in.

Only of the fields that the mapping's ``pull`` names, of somebody who is subscribed on both sides. If the
host changed any detail since it was last sent, the host's values go out instead, as ever.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from . import contacts, memory
from .consent import Agreed, Member, Status
from .errors import ChangedMeanwhile, MailchimpOptinError
from .fitting import fit_all
from .ledger import Facts
from .mapping import Snapshot
from .memory import Contact
from .round import Round
from .services import FOLLOWING, Transaction
from .texts import N_, Text

logger: logging.Logger = logging.getLogger("flask_mailchimp_optin")

_NOT_TAKEN = N_(
    "%(tags)s changed at Mailchimp to what the customer’s record does not take; it stays as it is here."
)


def is_possible(contact: Contact, member: Member) -> bool:
    """Whether somebody may have changed the details there: the member is not as we last saw them."""
    return bool(
        contact.wanted
        and contact.agreed == Agreed.YES
        and member.status is Status.SUBSCRIBED
        and contact.profile is not None
        and contact.seen_changed_at not in (None, member.last_changed)
    )


def of(
    here: Round, contact: Contact, member: Member, shown: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """What the person changed, by merge tag; None for nothing, or if it is not known to be theirs.

    Asked before the reading is remembered.

    :param shown: the merge fields that a reading of the member shows.
    """
    if not is_possible(contact, member):
        return None
    ours, _ = here.fitted(contact)
    names = here.services.mapping.mapping.pull
    # A value of ours that the list doesn't take was never there to be changed.
    found = {tag: shown[tag] for tag in names if tag in shown and tag in ours}
    # Mailchimp writes some in a way of its own: only what differs in the field's own terms is new.
    theirs = found | fit_all(found, here.fields)[0]
    edited = {tag: found[tag] for tag in found if theirs[tag] != ours[tag]}
    if edited and (contact.late or contact.open_verb):
        # Perhaps values of ours that were sent earlier and landed late: the host's go out once more.
        contact.profile = None
        return None
    return edited or None


def follow(here: Round, contact: Contact, edited: Mapping[str, Any]) -> None:
    """Let the customer's row follow, through the host's own model.

    What the host's model refuses stays as it is, and a person is told.
    """
    services = here.services
    try:
        snapshot, profile = services.transact(lambda tx: _write(here, tx, contact, edited))
    except ChangedMeanwhile:
        return  # the host's values go out
    except Exception as error:
        about_the_value = isinstance(error, DataError | IntegrityError)
        if isinstance(error, MailchimpOptinError | DBAPIError) and not about_the_value:
            raise
        tags = ", ".join(sorted(edited))
        memory.leave_out(contact, str(Text(_NOT_TAKEN, tags=tags)), services.now())
        facts = {"tags": sorted(edited), "error": type(error).__name__}
        logger.warning("details did not follow Mailchimp", extra=facts)
        return
    here.reload(contact, snapshot)
    contact.profile = profile
    values, _ = here.fitted(contact)
    contact.profile_tags = contacts.sent_tags(values, snapshot, contact.profile_tags)
    logger.info("details followed Mailchimp", extra={"tags": sorted(edited)})


def _write(
    here: Round, tx: Transaction, contact: Contact, edited: Mapping[str, Any]
) -> tuple[Snapshot, str | None]:
    """The customer after it, and the profile that Mailchimp has; None if there is more to send now.

    :raises ChangedMeanwhile: the customer's details did, since they were sent.
    """
    mapping, table = here.services.mapping, here.services.tables.contact
    here.lease.hold(tx, here.services)
    key = here.snapshots[contact.pair].key
    customer = mapping.load(tx.session, [key], lock=True).get(key)
    before = None if customer is None else mapping.snapshot(customer)
    if before is None or before.profile != contact.profile:
        raise ChangedMeanwhile("The customer's details changed since they were sent.")
    tx.session.info[FOLLOWING] = Facts(source="mailchimp", page="details")
    try:
        mapping.set_details(customer, edited)
        tx.session.flush()
    finally:
        del tx.session.info[FOLLOWING]
    after = mapping.snapshot(customer)
    if _who(after) != _who(before):
        raise ValueError("The model changed more than details with them.")
    as_before = {tag: before.merge_fields[tag] for tag in edited}
    restored = replace(after, merge_fields={**after.merge_fields, **as_before})
    profile = after.profile if restored == before else None
    fence = table.c.id == contact.id, table.c.profile == contact.profile
    if not tx.execute(update(table).where(*fence).values(profile=profile)):
        raise ChangedMeanwhile("All details are to be sent anew.")
    return after, profile


def _who(snapshot: Snapshot) -> tuple[Any, ...]:
    return snapshot.tenant, snapshot.address, snapshot.opt_in, snapshot.list_id
