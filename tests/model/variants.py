"""Deliberately broken variants of the rule and of the machinery, each a patch of the real code.

What other integrations do, or what a hasty change here might: the harness has to notice every one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_mailchimp_optin import (
    capture,
    connect,
    consent,
    contacts,
    customers,
    inbound,
    lease,
    memory,
    outbox,
    send,
    settle,
    verdicts,
    wants,
)
from flask_mailchimp_optin.consent import Act, Agreed, Host, Member, Memory, Outcome, Status, Verb
from flask_mailchimp_optin.round import Round
from flask_mailchimp_optin.services import FOLLOWING, WAKE, Services, Transaction
from tests.house import Customer, db

Patch = pytest.MonkeyPatch


def payload_trusted(patch: Patch) -> None:
    """The checkbox does what the webhook's body says."""
    record = inbound.record

    def recorded(tx: Transaction, services: Services, door: Any, ring: Any, verified: str) -> bool:
        if ring.type in ("subscribe", "unsubscribe"):
            query = sa.select(Customer).where(Customer.mail == ring.address)
            for customer in db.session.scalars(query):
                customer.wants_news = ring.type == "subscribe"
            db.session.commit()
        return record(tx, services, door, ring, verified)

    patch.setattr(inbound, "record", recorded)


def last_writer_wins(patch: Patch) -> None:
    """Whichever side has the newer time wins, ``last_changed`` being Mailchimp's."""

    def decided(host: Host, member: Member, memory: Memory, **_: bool) -> Outcome:
        there = member.status is Status.SUBSCRIBED
        if host.wanted is None or there is host.wanted or member.status is Status.ABSENT:
            return decide(host, member, memory)
        newer = host.at is None or (member.last_changed and member.last_changed > host.at)
        if newer:
            return consent._box(there, "newer")
        return consent._send(Verb.ASK if host.wanted else Verb.REMOVE, "newer")

    decide = consent.decide
    patch.setattr(verdicts, "decide", decided)


def upsert_with_status(patch: Patch) -> None:
    """The batch says ``status`` where it should say ``status_if_new``."""
    write = send._write

    def written(*args: Any) -> Any:
        row = write(*args)
        return replace(row, status=row.status or row.status_if_new, status_if_new=None)

    patch.setattr(send, "_write", written)


def acknowledged_before_sent(patch: Patch) -> None:
    """What is going to be sent counts as sent."""
    write_down = send._write_down

    def written(here: Round, verbs: list[tuple[Any, Verb]], **more: bool) -> list[Any]:
        verbs = write_down(here, verbs, **more)
        for contact, verb in verbs:
            sent = memory.Contact(**vars(contact))
            memory.answered(sent)
            memory.agree(
                sent, Agreed.NO if verb is Verb.REMOVE else Agreed.YES, here.services.now()
            )
            memory.finish(sent, here.services.now())
            here.save([sent])
        return verbs

    patch.setattr(send, "_write_down", written)


def acknowledged_without_version(patch: Patch) -> None:
    """An answer acknowledges whatever is known of the customer by then."""
    together = send.together

    def sent(here: Round, ready: Any, goes_on: Any, *, few: bool) -> None:
        verbs = list(ready)
        together(here, verbs, goes_on, few=few)
        table = here.services.tables.outbox
        told = [contact.pair for some in verbs for contact, _ in some]
        keys = [key for pair in told for key in here.keys.get(pair, [])]
        with here.services.begin() as tx:
            tx.execute(sa.delete(table).where(table.c.customer_key.in_(keys)))

    patch.setattr(send, "together", sent)


def no_look_after_an_unknown_answer(patch: Patch) -> None:
    """An answer that is none counts as success."""

    def lost(contact: memory.Contact, now: datetime) -> None:
        memory.answered(contact)
        memory.agree(contact, Agreed.YES if contact.wanted else Agreed.NO, now)
        memory.finish(contact, now)

    patch.setattr(memory, "lose", lost)


def cursor_in_the_outbox(patch: Patch) -> None:
    """Only rows whose number is above the last one that was read; what is below counts as read."""
    read, last = outbox.oldest, [0]

    def later(tx: Transaction, services: Services, tenant: str) -> list[Any]:
        table = services.tables.outbox
        tx.execute(sa.delete(table).where(table.c.id <= last[0]))
        rows = read(tx, services, tenant)
        last[0] = max([last[0], *(row.id for row in rows)])
        return rows

    patch.setattr(outbox, "oldest", later)


def outbox_after_the_commit(patch: Patch) -> None:
    """The outbox row is written once the host has committed."""
    write = capture.Capture.write

    def written(self: capture.Capture, session: Session, changes: Any) -> None:
        if FOLLOWING in session.info:
            write(self, session, changes)
            return
        services = self.find()

        def committed() -> None:
            services.wake()
            with services.begin() as tx:
                write(self, tx.session, changes)

        session.info[WAKE] = SimpleNamespace(wake=committed)

    patch.setattr(capture.Capture, "write", written)


def own_late_request_is_a_decision(patch: Patch) -> None:
    """What our own request did late counts as the person's act."""
    remember = memory.memory_of
    patch.setattr(
        memory, "memory_of", lambda *args: replace(remember(*args), sent=frozenset[Verb]())
    )


def anybody_rejoins(patch: Patch) -> None:
    """Whoever is unsubscribed and ticked again is subscribed again."""
    patch.setattr(consent, "_only_we_removed", lambda *_: True)
    patch.setattr(
        consent,
        "_ask",
        lambda memory, why: consent._send(Verb.REJOIN, why),
    )
    patch.setattr(send, "_still_ours", lambda *_: True)


def box_without_fence(patch: Patch) -> None:
    """The checkbox follows, whatever happened to the customer meanwhile."""

    def followed(
        tx: Transaction,
        services: Services,
        row: memory.Contact,
        value: bool,
        at: datetime,
        facts: Any,
    ) -> bool:
        owners = contacts.owners(tx, services, [row.pair]).get(row.pair, [])
        keys = [owner.customer_key for owner in owners]
        outbox.take(tx, services, [row for row, _ in outbox._about(tx, services, keys)])
        tx.session.info[FOLLOWING] = facts
        for customer in services.mapping.load(tx.session, keys).values():
            services.mapping.set_box(customer, value)
        tx.session.flush()
        del tx.session.info[FOLLOWING]
        inbound._remember(tx, services, keys, value, at)
        values = {"wanted": value, "wanted_at": at}
        table = services.tables.contact
        tx.execute(sa.update(table).where(table.c.id == row.id).values(**values))
        return True

    patch.setattr(verdicts, "follow", followed)


def no_lease_fence(patch: Patch) -> None:
    """Who stalled past the lease goes on as if nothing had happened."""
    patch.setattr(lease.Lease, "hold", lambda *_: None)


def a_tie_is_a_yes(patch: Patch) -> None:
    """Of two decisions at the same time, the yes counts."""

    def last(decisions: Iterable[tuple[bool, datetime | None]]) -> Any:
        timed = [(at, yes) for yes, at in decisions if at is not None]
        return (max(timed)[1], max(timed)[0]) if timed else (None, None)

    patch.setattr(wants, "latest", last)


def archived_by_any_edit(patch: Patch) -> None:
    """Whoever is ticked and archived is brought back."""
    revive = consent._send(Verb.UPSERT, "ticked")
    unreachable = consent._unreachable

    def reached(host: Host, member: Member, memory: Memory) -> Outcome:
        back = host.wanted and member.status is Status.ARCHIVED
        return revive if back else unreachable(host, member, memory)

    patch.setattr(consent, "_unreachable", reached)


def a_no_waits_for_the_night(patch: Patch) -> None:
    """In daily mode, a no goes out with the daily sync."""
    due = settle.due
    never = sa.false()

    def later(services: Services, *, daily: bool, **more: Any) -> Any:
        return never if daily else due(services, daily=daily, **more)

    from flask_mailchimp_optin import waiting

    patch.setattr(waiting, "due", later)
    patch.setattr(settle, "due", later)


def bulk_writes_unseen(patch: Patch) -> None:
    """``update()`` on the model is not captured."""
    patch.setattr(capture.Capture, "bulk", lambda *_: None)


def only_one_of_two(patch: Patch) -> None:
    """Customers who share an address are not told of each other's decisions."""
    patch.setattr(wants, "set_boxes", lambda *_: True)


def written_down_afterwards(patch: Patch) -> None:
    """The request is sent, and then written down."""
    patch.setattr(send, "_write_down", lambda _here, verbs, **_: verbs)


def deleted_with_their_no(patch: Patch) -> None:
    """Who is deleted has said nothing any more."""
    orphan = wants.Wants._orphan

    def left(self: wants.Wants, row: memory.Contact, *, said_no: bool) -> None:
        row.settled_version = row.decided_version
        orphan(self, row, said_no=False)

    patch.setattr(wants.Wants, "_orphan", left)


def silence_is_success(patch: Patch) -> None:
    """A row that a batch's answer does not mention has been done."""
    finished = send._finished

    def called(here: Round, verbs: list[tuple[Any, Verb]], first: Any) -> Any:
        answer = finished(here, verbs, first)
        done = {
            contact.address: replace(
                settle._as_seen(contact),
                status="unsubscribed" if verb is Verb.REMOVE else "subscribed",
            )
            for contact, verb in verbs
        }
        return replace(answer, members={**done, **answer.members})

    patch.setattr(send, "_finished", called)


def no_is_agreed_at_once(patch: Patch) -> None:
    """A no is settled without telling Mailchimp."""
    settled = Outcome(act=Act.AGREE, why="not subscribed", agreed=Agreed.NO)
    patch.setattr(consent, "_no_against_yes", lambda *_: settled)


def nothing_goes_to_another_master_list(patch: Patch) -> None:
    """Customers are in another master list before anybody has heard what they said in the old one."""
    patch.setattr(connect, "_to_leave", lambda *_: None)


def nothing_goes_to_another_own_list(patch: Patch) -> None:
    """The same with a list of their own."""
    patch.setattr(customers._Look, "_stays", lambda *_: {"leaves_at": None})


Variant = Callable[[Patch], None]
