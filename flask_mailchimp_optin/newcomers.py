"""A first sync to a list where nobody is: found, told and remembered in one go. Journey out.

A sync counts before it sends, and a person is asked if it would take too much away. Where nobody is,
nothing can be taken away, and there is nothing to be read: who is new and says yes is told as soon as
they are found, 500 in a call and several calls at a time. Only what is plain goes this way; whoever
shares an address, has decided before, or gets any answer but the usual one is left to the sync's other
phases.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, or_, select

from . import contacts, erasures, memory, runs, verdicts, walk
from .client import BatchAnswer, Client, Write
from .consent import EPSILON, Member, Status, Verb
from .errors import (
    MailchimpError,
    MemberRefused,
    NotFound,
    OutcomeUnknown,
    RequestRefused,
)
from .fitting import fit_all
from .lease import Lease
from .mapping import Snapshot
from .memory import Contact
from .recent import Recent
from .round import Round
from .services import Services, Transaction, chunks
from .wants import House

_GOOD_FOR = timedelta(seconds=30)  # the look at who is archived


def nobody_at(
    services: Services, lease: Lease, connection: Row[Any], run: Row[Any], client: Client
) -> str | None:
    """When a first sync met nobody: no member in the master list, nobody who was ever told; else None.

    Looked at when it begins, and then kept in the run's cursor.
    """
    if run.cursor is not None or run.kind != "initial":
        since: str | None = json.loads(run.cursor or "{}").get("nobody_at")
        return since
    contact = services.tables.contact
    with services.begin() as tx:
        here = contact.c.connection_id == connection.id
        seen = contact.c.seen_status != Status.ABSENT.value
        told = or_(seen, contacts.is_told(contact))
        known = tx.value(select(contact.c.id).where(here, told).limit(1)) is not None
        audience = _audience(tx, services, connection)
    if known or audience is None:
        return None
    at = services.now().isoformat()
    try:
        for status in (None, Status.ARCHIVED):  # who are listed only if they are asked for
            rows, total = client.members(audience.list_id, status=status)
            if rows or total:
                return None
    except NotFound:
        return None  # the list is: the sync's second phase finds out

    def work(tx: Transaction) -> None:
        lease.hold(tx, services)
        runs.advance(tx, services, run, {"nobody_at": at})

    services.transact(work)
    return at


def step(
    services: Services,
    lease: Lease,
    connection: Row[Any],
    run_id: int,
    client: Client,
    since: str,
    goes_on: Callable[[], bool],
) -> None:
    """The next customers, some hundred for each call, as long as there is time.

    Who was written down and got no usable answer is looked at in the last phase, as after a crash.

    :param since: when nobody was there, from :func:`nobody_at`.
    :raises MailchimpError: about the connection as a whole.
    """
    with services.begin() as tx:
        audience = _audience(tx, services, connection)
    if audience is None or audience.gone_at or audience.double_optin:  # by now
        while walk.step(services, lease, connection, run_id) and goes_on():
            pass
        return
    here = Round(services, lease, connection, client, Recent(client, services.now), audience)
    taking = _Taking(here, _archived_since(here, datetime.fromisoformat(since)))
    stopped: MailchimpError | None = None
    gone = False

    def calls() -> Iterator[_Call]:
        more = True
        while more and stopped is None and not gone:
            begin = time.monotonic()
            more = walk.step(services, lease, connection, run_id, taking)
            client.until = begin + services.config.TIMEOUT_S
            if taking.call is not None and taking.call.writes:
                yield taking.call
            more = more and goes_on()

    try:
        for call, answer in here.at_once(lambda call: _post(here, call), calls()):
            if isinstance(answer, BatchAnswer):
                _remember(here, run_id, call, answer)
                continue
            if isinstance(answer, OutcomeUnknown):
                continue
            _remember(here, run_id, call, None)
            gone = gone or (isinstance(answer, NotFound) and here.audience_gone())
            if not (gone or isinstance(answer, MemberRefused | RequestRefused)):
                stopped = answer
    finally:
        client.until = None
    if stopped is not None:
        raise stopped


def _audience(tx: Transaction, services: Services, connection: Row[Any]) -> Row[Any] | None:
    table = services.tables.audience
    return tx.row(select(table).where(table.c.id == connection.master_audience_id))


def _archived_since(here: Round, at: datetime) -> set[str]:
    """Who was archived since nobody was there: an UPSERT would bring them back."""
    if here.services.now() - at < _GOOD_FOR:
        return set()
    reading = here.recent.read(here.audience.list_id, None, at - EPSILON, (), None)
    return set(reading.members)


@dataclass
class _Call:
    """What one call tells, and of whom.

    :ivar contact: what was written down of each, but for address and profile.
    :ivar people: by address: the customer's key, and the merge tags that get a value.
    """

    contact: Contact
    writes: list[Write] = field(default_factory=list)
    people: dict[str, tuple[str, str]] = field(default_factory=dict)


class _Taking:
    """Takes what is plain out of a page of customers, and writes it down as about to be told.

    :ivar call: what is to be sent of the last page; None for nothing.
    """

    def __init__(self, here: Round, archived: set[str]) -> None:
        self._here, self._archived = here, archived
        self.call: _Call | None = None

    def begin(self) -> None:
        """A transaction begins, perhaps again."""
        self.call = None

    def take(self, tx: Transaction, house: House, new: Mapping[str, Snapshot]) -> set[str]:
        here, services, now = self._here, self._here.services, self._here.services.now()
        contact = contacts.blank(services, house.connection_id, (here.audience.id, ""))
        contact.wanted, contact.version, contact.decided_version = True, 1, 1
        opted = now.replace(microsecond=0)
        memory.intend(contact, Verb.UPSERT, now, opted)
        self.call = call = _Call(contact)
        records, told = [], []
        for key, snapshot in self._plain(tx, house, new).items():
            audience_id, problem = house.audience(snapshot)
            values, left_out = fit_all(snapshot.merge_fields, here.fields)
            yes = snapshot.opt_in is True
            if problem or (yes and (left_out or audience_id != here.audience.id)):
                continue
            records.append(
                {
                    "customer_key": key,
                    "audience_id": audience_id,
                    "own_list": snapshot.list_id is not None,
                    "address": snapshot.address,
                    "opt_in": snapshot.opt_in,
                }
            )
            if yes and snapshot.address:
                told.append({"address": snapshot.address, "profile": snapshot.profile})
                tags = contacts.sent_tags(values, snapshot, None)
                call.people[snapshot.address] = key, tags
                call.writes.append(_write(snapshot, values, opted))
        alike = {"connection_id": house.connection_id, "seen_at": now}
        tx.insert_alike(services.tables.customer, alike, records)
        contacts.add_alike(tx, services, contact, told)
        return {str(record["customer_key"]) for record in records}

    def _plain(
        self, tx: Transaction, house: House, new: Mapping[str, Snapshot]
    ) -> dict[str, Snapshot]:
        """Those who share their address with nobody, and of whom nothing was ever known."""
        services = self._here.services
        shared = Counter(snapshot.address for snapshot in new.values())
        once = {
            key: snapshot
            for key, snapshot in new.items()
            if not snapshot.problem
            and shared[snapshot.address] == 1
            and snapshot.address not in self._archived
        }
        addresses = {str(snapshot.address) for snapshot in once.values()}
        known = set(erasures.among(tx, services, house, addresses))
        decided: set[str] = set()
        for table, mine in (
            (services.tables.customer, {"connection_id": house.connection_id}),
            (services.tables.contact, {"audience_id": self._here.audience.id}),
        ):
            for chunk in chunks(list(addresses)):
                query = select(table.c.address).filter_by(**mine).where(table.c.address.in_(chunk))
                known |= {row.address for row in tx.rows(query)}
        ledger = services.tables.decision
        for chunk in chunks(list(once)):
            query = select(ledger.c.customer_key).where(ledger.c.customer_key.in_(chunk))
            decided |= {row.customer_key for row in tx.rows(query)}
        return {
            key: snapshot
            for key, snapshot in once.items()
            if snapshot.address not in known and key not in decided
        }


def _write(snapshot: Snapshot, values: Mapping[str, Any], opted: datetime) -> Write:
    return Write(
        address=str(snapshot.address),
        status_if_new=Status.SUBSCRIBED,
        merge_fields=contacts.merge_fields(values, None),
        tags=snapshot.tags,
        interests=snapshot.interests,
        permissions=snapshot.permissions,
        language=snapshot.language,
        timestamp_opt=opted,
    )


def _post(here: Round, call: _Call) -> BatchAnswer | MailchimpError:
    """One call; its error as a value, for it is made in a thread."""
    try:
        return here.client.write(here.audience.list_id, call.writes, update=False)
    except MailchimpError as error:
        return error


def _unsend(here: Round, tx: Transaction, call: _Call, addresses: list[str]) -> None:
    """These were refused: nothing of them was sent, and they are due."""
    contact = Contact(**vars(call.contact))
    memory.unsend(contact, here.services.now())
    contacts.save_alike(tx, here.services, call.contact, contact, addresses, unsent=True)


def _remember(here: Round, run_id: int, call: _Call, answer: BatchAnswer | None) -> None:
    """Ask the rule what follows of each answer, once for all that are alike; write it down.

    :param answer: None if the whole call was refused.
    """
    told = answer or BatchAnswer(members={}, refused={})
    alike: dict[tuple[Member, str], list[str]] = {}
    for address, (_, tags) in call.people.items():
        if address in told.created:
            member = memory.member_of(told.members[address])
            alike.setdefault((member, tags), []).append(address)
    settled = []
    refused = [a for a in call.people if answer is None or a in told.refused]
    for (member, tags), addresses in alike.items():
        contact = Contact(**vars(call.contact))
        contact.profile_tags = tags
        here.news, here.verbs = [], []
        verdicts.take(here, contact, member, {}, answered=True, made_by_us=True)
        if contact.acked_version == contact.version and not here.verbs:
            settled.append((contact, addresses, here.news))

    def work(tx: Transaction) -> None:
        here.lease.hold(tx, here.services)
        for contact, addresses, _ in settled:
            contacts.save_alike(tx, here.services, call.contact, contact, addresses)
        _unsend(here, tx, call, refused)
        runs.count_sent(tx, here.services, run_id, sum(len(a) for _, a, _ in settled))

    here.services.transact(work)
    for _, addresses, news in settled:
        for signal, _, why in (n for n in news if n[0] is not None):
            for address in addresses:
                key, _ = call.people[address]
                tenant = here.connection.tenant
                here.services.tell(signal, tenant=tenant, customer_key=key, reason=why)
