"""Newcomers of a first sync: written down, told, and what was answered. Journey out.

Only what is plain goes this way; whoever shares an address, has decided before, or gets any answer but
the usual one is left to the sync's other phases. The rule is asked once for all answers that are alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from . import contacts, erasures, memory, outbox, runs, verdicts
from .client import BatchAnswer, Write
from .consent import Status, Verb
from .errors import MailchimpError
from .fitting import fit_all
from .mapping import Snapshot
from .memory import Contact
from .round import Round
from .services import Transaction, chunks, insert_rows
from .walk import Found

_RECORD = ("customer_key", "audience_id", "own_list", "address", "opt_in")


@dataclass
class Call:
    """What one call tells, and of whom.

    :ivar contact: what was written down of each, but for address and profile.
    :ivar people: by address: the customer's key, and the merge tags that get a value.
    """

    contact: Contact
    writes: list[Write] = field(default_factory=list)
    people: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass
class _Ready:
    """Somebody plain: their record, and of a yes what is sent.

    :ivar record: the values of :data:`_RECORD`.
    :ivar tags: the merge tags that get a value.
    """

    key: str
    address: str
    record: tuple[Any, ...]
    write: Write | None = None
    tags: str = ""
    profile: str = ""


class Introductions:
    """Takes what is plain out of a page of customers, and writes it down as about to be told.

    :ivar call: what is to be sent of the last page.
    """

    call: Call

    def __init__(self, here: Round, archived: set[str]) -> None:
        self._here, self._archived = here, archived
        self._ready: list[_Ready] = []

    def make_ready(self, tx: Transaction, found: Found) -> None:
        """Who is plain, as far as can be told before anything is written; and what to send of them."""
        here, self._ready, self._found = self._here, [], found
        self._opted = here.services.now().replace(microsecond=0)
        for snapshot in self._plain(tx, found):
            audience_id, problem = found.house.audience(snapshot)
            if problem:
                continue
            key, address = snapshot.key, str(snapshot.address)
            record = (key, audience_id, snapshot.list_id is not None, address, snapshot.opt_in)
            if snapshot.opt_in is not True:
                self._ready.append(_Ready(key, address, record))
                continue
            values, left_out = fit_all(snapshot.merge_fields, here.fields)
            if not left_out and audience_id == here.audience.id:
                write = self._write(snapshot, values)
                tags = contacts.sent_tags(values, snapshot, None)
                self._ready.append(_Ready(key, address, record, write, tags, snapshot.profile))

    def _write(self, snapshot: Snapshot, values: Mapping[str, Any]) -> Write:
        return Write(
            address=str(snapshot.address),
            status_if_new=Status.SUBSCRIBED,
            merge_fields=contacts.merge_fields(values, None),
            tags=snapshot.tags,
            interests=snapshot.interests,
            permissions=snapshot.permissions,
            language=snapshot.language,
            timestamp_opt=self._opted,
        )

    def _plain(self, tx: Transaction, found: Found) -> list[Snapshot]:
        """Those who share their address with nobody here, and of whom nothing was ever known."""
        services = self._here.services
        shared = Counter(snapshot.address for snapshot in found.customers.values())
        once = {
            key: snapshot
            for key, snapshot in found.customers.items()
            if key in found.new
            and not snapshot.problem
            and shared[snapshot.address] == 1
            and snapshot.address not in self._archived
        }
        addresses = {str(snapshot.address) for snapshot in once.values()}
        known = set(erasures.among(tx, services, found.house, addresses))
        contact, ledger = services.tables.contact, services.tables.decision
        for chunk in chunks(list(addresses)):
            here = contact.c.audience_id == self._here.audience.id
            query = select(contact.c.address).where(here, contact.c.address.in_(chunk))
            known |= {row.address for row in tx.rows(query)}
        decided: set[str] = set()
        if tx.value(select(ledger.c.id).limit(1)) is not None:
            for chunk in chunks(list(once)):
                query = select(ledger.c.customer_key).where(ledger.c.customer_key.in_(chunk))
                decided |= {row.customer_key for row in tx.rows(query)}
        return [s for s in once.values() if s.address not in known and s.key not in decided]

    def take(self, tx: Transaction) -> set[str]:
        """Write down those who are plain still, and what of them is to be sent; their keys."""
        here, services, now = self._here, self._here.services, self._here.services.now()
        house = self._found.house
        contact = contacts.blank(services, house.connection_id, (here.audience.id, ""))
        contact.wanted, contact.version, contact.decided_version = True, 1, 1
        memory.intend(contact, Verb.UPSERT, now, self._opted)
        self.call = call = Call(contact)
        changed = outbox.changed(tx, services, [ready.key for ready in self._ready])
        owned = self._owned(tx)
        plain = [r for r in self._ready if r.key not in changed and r.address not in owned]
        told = [ready for ready in plain if ready.write is not None]
        alike = {"connection_id": house.connection_id, "seen_at": now}
        records = [ready.record for ready in plain]
        insert_rows(tx.connection, services.tables.customer, _RECORD, records, alike)
        contacts.add_alike(tx, services, contact, [(r.address, r.profile) for r in told])
        call.writes = [ready.write for ready in told if ready.write is not None]
        call.people = {ready.address: (ready.key, ready.tags) for ready in told}
        return {ready.key for ready in plain}

    def _owned(self, tx: Transaction) -> set[str]:
        """The addresses that are a customer's of ours."""
        table, owned = self._here.services.tables.customer, set[str]()
        mine = table.c.connection_id == self._found.house.connection_id
        for chunk in chunks([ready.address for ready in self._ready]):
            query = select(table.c.address).where(mine, table.c.address.in_(chunk))
            owned |= {row.address for row in tx.rows(query)}
        return owned


def post(here: Round, call: Call) -> BatchAnswer | MailchimpError:
    """One call; its error as a value, for it is made in a thread."""
    try:
        return here.client.write(here.audience.list_id, call.writes, update=False)
    except MailchimpError as error:
        return error


def _unsend(here: Round, tx: Transaction, call: Call, addresses: list[str]) -> None:
    """These were refused: nothing of them was sent, and they are due."""
    contact = Contact(**vars(call.contact))
    memory.unsend(contact, here.services.now())
    contacts.save_alike(tx, here.services, call.contact, contact, addresses, unsent=True)


def remember(here: Round, run_id: int, call: Call, answer: BatchAnswer | None) -> None:
    """Ask the rule what follows of each answer, once for all that are alike; write it down.

    :param answer: None if the whole call was refused.
    """
    told = answer or BatchAnswer(members={}, refused={})
    alike: dict[tuple[Any, ...], list[str]] = {}
    for address, (_, tags) in call.people.items():
        if address in told.created:
            read = told.members[address]
            what = read.status, read.last_changed, read.timestamp_opt, tags
            alike.setdefault(what, []).append(address)
    settled = []
    refused = [a for a in call.people if answer is None or a in told.refused]
    for (*_, tags), addresses in alike.items():
        member = memory.member_of(told.members[addresses[0]])
        contact = Contact(**vars(call.contact))
        contact.profile_tags = tags
        here.news, here.verbs = [], []
        verdicts.take(here, contact, member, {}, answered=True, made_by_us=True)
        if contact.acked_version == contact.version and not here.verbs:
            settled.append((contact, addresses, here.news))

    def work(tx: Transaction) -> None:
        here.lease.hold(tx, here.services)
        moved = 0
        for contact, addresses, _ in settled:
            saved = contacts.save_alike(tx, here.services, call.contact, contact, addresses)
            moved += len(addresses) - saved
        if moved:
            contacts.look_again_at_nos(tx, here.services, call.contact, list(call.people))
        _unsend(here, tx, call, refused)
        runs.count_sent(tx, here.services, run_id, sum(len(a) for _, a, _ in settled))

    here.services.transact(work)
    for _, addresses, news in settled:
        for signal, _, why in (n for n in news if n[0] is not None):
            for address in addresses:
                key, _ = call.people[address]
                tenant = here.connection.tenant
                here.services.tell(signal, tenant=tenant, customer_key=key, reason=why)
