"""One round of settling with one audience: what was picked, what is known of it, what is remembered.

Both journeys. It saves and tells; what is decided and what is sent is the business of ``verdicts``,
``send`` and ``leave``, which are handed a round.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

from blinker import NamedSignal
from sqlalchemy import Row, select, update

from . import contacts, outbox, signals
from .client import Client, MemberRead
from .consent import Outcome, Status, Verb
from .errors import MailchimpError, NotFound, OutcomeUnknown, TryLater
from .fitting import fit_all
from .lease import Lease
from .mapping import Snapshot
from .memory import Contact
from .models import utc
from .recent import Recent
from .services import Services, Transaction, chunks
from .shards import Shards

T = TypeVar("T")
A = TypeVar("A")

#: A reading that fails never parks anybody: it may be Mailchimp's trouble, and nothing was refused.
_MOST_UNREAD = 5


class Round:
    """The tools and the findings of one round.

    :ivar snapshots: by (audience id, address): the customer whose profile counts, as they are now.
    :ivar keys: by (audience id, address): the primary keys of all its customers.
    :ivar read_at: when Mailchimp was read; nothing that a reading shows is newer.
    :ivar fields: the list's merge fields by tag: ``type``, ``choices``, ``phone_format``.
    :ivar verbs: what is to be sent.
    :ivar news: what is to be told when the round is over.
    """

    def __init__(
        self,
        services: Services,
        lease: Lease | Shards,
        connection: Row[Any],
        client: Client,
        recent: Recent,
        audience: Row[Any],
    ) -> None:
        self.services: Services = services
        self.lease: Lease | Shards = lease
        self.client: Client = client
        self.recent: Recent = recent
        self.connection: Row[Any] = connection
        self.audience: Row[Any] = audience
        self.snapshots: dict[tuple[int, str], Snapshot] = {}
        self.keys: dict[tuple[int, str], list[str]] = {}
        self._leaving: dict[tuple[int, str], list[str]] = {}
        self.read_at: datetime = services.now()
        self.fields: dict[str, dict[str, Any]] = {
            row["tag"]: row for row in json.loads(audience.merge_fields or "[]")
        }
        self._fitted: dict[tuple[int, str], tuple[dict[str, Any], str | None]] = {}
        self._ips: dict[tuple[tuple[int, str], datetime], str] = {}
        self.verbs: list[tuple[Contact, Verb]] = []
        self.news: list[tuple[Any, Contact, str]] = []

    def load(self, picked: list[Contact]) -> None:
        """Load the customers of these contacts as they are now."""

        def work(tx: Transaction) -> dict[tuple[int, str], list[str]]:
            owners = contacts.owners(tx, self.services, [c.pair for c in picked])
            keys: dict[tuple[int, str], list[str]] = {}
            first: dict[str, tuple[int, str]] = {}
            for pair, rows in owners.items():
                self._leaving[pair] = [row.customer_key for row in rows if row.leaves_at]
                keys[pair] = [row.customer_key for row in rows]
                first[keys[pair][0]] = pair
            for key, snapshot in self.services.mapping.snapshots(tx.session, first).items():
                self.snapshots[first[key]] = snapshot
            self._ips |= _ips(tx, self.services, picked, keys)
            return keys

        self.keys |= self.services.transact(work)

    def fitted(self, contact: Contact) -> tuple[dict[str, Any], str | None]:
        """Its customer's merge fields as the list takes them; and what to tell of those it doesn't."""
        if contact.pair not in self._fitted:
            snapshot = self.snapshots.get(contact.pair)
            values = {} if snapshot is None else snapshot.merge_fields
            self._fitted[contact.pair] = fit_all(values, self.fields)
        return self._fitted[contact.pair]

    def reload(self, contact: Contact, snapshot: Snapshot) -> None:
        """Its customer has just been changed, by us."""
        self.snapshots[contact.pair] = snapshot
        self._fitted.pop(contact.pair, None)

    def ip_of(self, contact: Contact) -> str | None:
        """Where the yes came from, as the ledger keeps it: evidence for Mailchimp."""
        return self._ips.get((contact.pair, contact.wanted_at))

    def looked_at(self, some: Iterable[Contact]) -> None:
        """No bulk reading made before speaks of these contacts any more."""
        self.recent.looked_at(self.audience.list_id, [contact.address for contact in some])

    def at_once(self, call: Callable[[T], A], given: Iterable[T]) -> Iterator[tuple[T, A]]:
        """Calls in threads, as many at a time as Mailchimp may be asked; each with what it returned.

        In the order of their answers. While calls are under way, others are made ready and what was
        answered is worked on; if making ready fails, the answers of the others are not lost. Whatever
        is ready goes out at once: in a queue, a no could overtake it.
        """
        if isinstance(given, list) and len(given) <= 1:  # a thread would only cost
            yield from ((one, call(one)) for one in given)
            return
        ready, trouble = iter(given), None
        with ThreadPoolExecutor(self.lease.at_a_time) as pool:
            calls: dict[Future[A], T] = {}
            goes_on = True
            while calls or goes_on:
                while goes_on and len(calls) < self.lease.at_a_time:
                    try:
                        one = next(ready)
                    except StopIteration:
                        goes_on = False
                    except Exception as error:
                        goes_on, trouble = False, error
                    else:
                        calls[pool.submit(call, one)] = one
                done = next(iter(wait(calls, return_when=FIRST_COMPLETED).done), None)
                if done is not None:
                    yield calls.pop(done), done.result()
        if trouble is not None:
            raise trouble

    def members(self, wanted: list[Contact]) -> dict[tuple[int, str], MemberRead | None]:
        """The members as they are now, read one by one, a few at a time; None for no member."""
        found: dict[tuple[int, str], MemberRead | None] = {}
        for some in chunks(wanted, self.lease.at_a_time):
            self.hold()
            errors = []
            for contact, read in self.at_once(self._member, some):
                if isinstance(read, MailchimpError):
                    errors.append(read)
                else:
                    found[contact.pair] = read
            self._unread(some, errors, found)
        return found

    def _member(self, contact: Contact) -> MemberRead | MailchimpError | None:
        try:
            return self.client.member(self.audience.list_id, contact.address)
        except MailchimpError as error:
            return error

    def _unread(
        self,
        some: list[Contact],
        errors: list[MailchimpError],
        found: Mapping[tuple[int, str], MemberRead | None],
    ) -> None:
        """Whom Mailchimp did not show goes to the end of the queue; the others go on without them."""
        if not errors:
            return
        unread = [contact for contact in some if contact.pair not in found]
        for contact in unread:
            contact.attempts = max(contact.attempts, min(contact.attempts + 1, _MOST_UNREAD))
            contact.look = True
            wait_s = 4 ** min(contact.attempts, _MOST_UNREAD)  # longer than the pause it may cost
            contact.due_at = self.services.now() + timedelta(seconds=wait_s)
        self.save(unread)
        for error in errors:
            if len(unread) == len(some) or not isinstance(error, OutcomeUnknown | TryLater):
                raise error

    def hold(self) -> None:
        """See that it is still ours to do.

        :raises LeaseLost: it isn't.
        """
        self.services.transact(lambda tx: self.lease.hold(tx, self.services))

    def save(self, changed: Iterable[Contact], *, unmoved: bool = False) -> list[Contact]:
        """Remember what became of contacts, if the lease still holds; of which it was.

        :param unmoved: only of those about which the host has said nothing new.
        """

        def work(tx: Transaction) -> list[Contact]:
            self.lease.hold(tx, self.services)
            some = contacts.unmoved(tx, self.services, those) if unmoved else those
            self.keep(tx, some)
            return some

        those, begin = list(changed), time.monotonic()
        if not those:
            return []
        those = self.services.transact(work)
        contacts.saved(those)
        # The lease holds twice as long: what begins by then is over before another takes it.
        self.client.until = begin + self.services.config.TIMEOUT_S
        return those

    def keep(self, tx: Transaction, changed: list[Contact]) -> None:
        """Write down contacts; customers who waited for one to get another list are looked at again."""
        contacts.save(tx, self.services, changed)
        heard = [contact.pair for contact in changed if not contact.look]
        keys = [key for pair in heard for key in self._leaving.get(pair, ())]
        outbox.look_at(tx, self.services, self.connection.tenant, keys)

    def not_overtaken(self, verbs: list[tuple[Contact, Verb]]) -> list[tuple[Contact, Verb]]:
        """The verbs of contacts whose customers have not changed since they were loaded.

        The others are due as they were: what changed is absorbed first, and a no is never overtaken.
        """
        keys = {key: contact.id for contact, _ in verbs for key in self.keys.get(contact.pair, [])}
        with self.services.begin() as tx:
            changed = {keys[key] for key in outbox.changed(tx, self.services, keys)}
        return [(contact, verb) for contact, verb in verbs if contact.id not in changed]

    def contact_at(self, address: str) -> Contact | None:
        """The contact of another address in this audience."""
        with self.services.begin() as tx:
            pair = (self.audience.id, address)
            return contacts.find(tx, self.services, {pair}).get(pair)

    def is_owned(self, contact: Contact) -> bool:
        """Whether the address is a customer's now."""
        with self.services.begin() as tx:
            return bool(contacts.owners(tx, self.services, [contact.pair]))

    def drop(self, contact: Contact, old: Contact | None) -> None:
        """Remember a contact and forget the one that it replaces."""

        def work(tx: Transaction) -> None:
            self.lease.hold(tx, self.services)
            contacts.save(tx, self.services, [contact])
            if old is not None:
                contacts.remove(tx, self.services, old)

        self.services.transact(work)
        contacts.saved([contact])

    def forget(self, tx: Transaction, contact: Contact) -> None:
        """Forget a contact whose member has left."""
        self.lease.hold(tx, self.services)
        contacts.remove(tx, self.services, contact)

    def audience_gone(self) -> bool:
        """Whether the audience is gone indeed: its contacts stay as they are, and no box changes."""
        with suppress(NotFound):
            self.client.audience(self.audience.list_id)
            return False  # a moment's mistake, which would have stopped everybody in it
        table = self.services.tables.audience

        def work(tx: Transaction) -> None:
            self.lease.hold(tx, self.services)
            tx.execute(
                update(table)
                .where(table.c.id == self.audience.id)
                .values(gone_at=self.services.now())
            )

        self.services.transact(work)
        return True

    def note(self, contact: Contact, outcome: Outcome) -> None:
        """Something to tell when the round is over."""
        signal = _NEWS.get(contact.seen_status)
        self.news.append((signal, contact, outcome.why))

    def tell(self) -> None:
        """Receipts into the ledger, then the host's signals."""

        def work(tx: Transaction) -> None:
            for some in chunks(self.news):
                self._receipts(tx, [(contact, why) for _, contact, why in some])

        if self.news:
            self.services.transact(work)
        for signal, contact, why in (n for n in self.news if n[0] is not None):
            for key in self.keys.get(contact.pair, []):
                facts = {"tenant": self.connection.tenant, "customer_key": key, "reason": why}
                self.services.tell(signal, **facts)

    def _receipts(self, tx: Transaction, news: list[tuple[Contact, str]]) -> None:
        """What Mailchimp said to a decision that stands is noted beside it, once."""
        table = self.services.tables.decision
        told = {key: what for what in reversed(news) for key in self.keys.get(what[0].pair, [])}
        rows = tx.rows(
            select(table.c.id, table.c.customer_key, table.c.value)
            .where(table.c.customer_key.in_(list(told)), table.c.receipt.is_(None))
            .order_by(table.c.id)
        )
        receipts = [
            {
                "id": row.id,
                "receipt": _receipt(*told[row.customer_key]),
                "list_id": self.audience.list_id,
            }
            for row in rows
            if row.value is told[row.customer_key][0].wanted
        ]
        tx.update_each(table, receipts)


def _ips(
    tx: Transaction,
    services: Services,
    picked: list[Contact],
    keys: Mapping[tuple[int, str], list[str]],
) -> dict[tuple[tuple[int, str], datetime], str]:
    """The IP addresses of dated yeses that are not told yet, by (audience id, address) and time."""
    if services.config.EVIDENCE_IP == "off":
        return {}
    table, found = services.tables.decision, {}
    told = [c.pair for c in picked if c.wanted and c.wanted_at and c.moved]
    whose = {key: pair for pair in told for key in keys.get(pair, ())}
    for chunk in chunks(list(whose)):
        said = table.c.customer_key.in_(chunk), table.c.value.is_(True), table.c.ip.isnot(None)
        for row in tx.rows(
            select(table.c.customer_key, table.c.decided_at, table.c.ip).where(*said)
        ):
            found[whose[row.customer_key], utc(row.decided_at)] = str(row.ip)
    return found


def _receipt(contact: Contact, why: str) -> str:
    changed = contact.seen_changed_at
    stamp = f", changed there {changed:%Y-%m-%d %H:%M:%S} UTC" if changed else ""
    return f"{why} ({contact.seen_status or 'no member'}{stamp})"


_NEWS: dict[str, NamedSignal] = {
    Status.SUBSCRIBED: signals.customer_subscribed,
    Status.UNSUBSCRIBED: signals.customer_unsubscribed,
}
