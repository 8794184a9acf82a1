"""One round of settling with one audience: what was picked, what is known of it, what is remembered.

Both journeys. It saves and tells; what is decided and what is sent is the business of ``verdicts``,
``send`` and ``leave``, which are handed a round.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from blinker import NamedSignal
from sqlalchemy import Row, false, select, update

from . import contacts, signals
from .client import Client, MemberRead
from .consent import Outcome, Status, Verb
from .contacts import Contact
from .lease import Lease
from .mapping import Snapshot
from .services import Services, Transaction


class Round:
    """The tools and the findings of one round.

    :ivar snapshots: by (audience id, address): the customer whose profile counts, as they are now.
    :ivar keys: by (audience id, address): the primary keys of all its customers.
    :ivar verbs: what is to be sent.
    :ivar news: what is to be told when the round is over.
    """

    def __init__(
        self,
        services: Services,
        lease: Lease,
        connection: Row[Any],
        client: Client,
        audience: Row[Any],
    ) -> None:
        self.services, self.lease, self.client = services, lease, client
        self.connection, self.audience = connection, audience
        self.snapshots: dict[tuple[int, str], Snapshot] = {}
        self.keys: dict[tuple[int, str], list[str]] = {}
        self.verbs: list[tuple[Contact, Verb]] = []
        self.news: list[tuple[Any, Contact, str]] = []

    def load(self, picked: list[Contact]) -> None:
        """Load the customers of these contacts as they are now."""

        def work(tx: Transaction) -> dict[tuple[int, str], list[str]]:
            owners = contacts.owners(tx, self.services, [c.pair for c in picked])
            keys = {pair: [row.customer_key for row in rows] for pair, rows in owners.items()}
            first = {row.customer_key: pair for pair, rows in owners.items() for row in rows[:1]}
            mapping = self.services.mapping
            for key, customer in mapping.load(tx.session, first).items():
                self.snapshots[first[key]] = mapping.snapshot(customer)
            return keys

        self.keys = self.services.transact(work)

    def members(self, wanted: list[Contact]) -> dict[tuple[int, str], MemberRead | None]:
        """The members as they are now, read one by one, a few at a time; None for no member."""
        found: dict[tuple[int, str], MemberRead | None] = {}
        list_id = self.audience.list_id
        for some in contacts.chunks(wanted, self.services.config.CONNECTIONS):
            self.services.transact(lambda tx: self.lease.hold(tx, self.services))
            with ThreadPoolExecutor(len(some)) as pool:
                reads = pool.map(lambda c: self.client.member(list_id, c.address), some)
                found |= dict(zip([c.pair for c in some], reads, strict=True))
        return found

    def save(self, changed: Iterable[Contact]) -> None:
        """Remember what became of contacts, if the lease still holds."""

        def work(tx: Transaction) -> None:
            self.lease.hold(tx, self.services)
            contacts.save(tx, self.services, saved)

        saved = list(changed)
        if saved:
            self.services.transact(work)

    def not_overtaken(self, verbs: list[tuple[Contact, Verb]]) -> list[tuple[Contact, Verb]]:
        """The verbs of contacts whose customers have not changed since they were loaded.

        The others are due as they were: what changed is absorbed first, and a no is never overtaken.
        """
        keys = {key: contact.id for contact, _ in verbs for key in self.keys.get(contact.pair, [])}
        outbox, changed = self.services.tables.outbox, set()
        with self.services.begin() as tx:
            for chunk in contacts.chunks(list(keys)):
                query = select(outbox.c.customer_key).where(outbox.c.customer_key.in_(chunk))
                changed |= {keys[row.customer_key] for row in tx.rows(query)}
        return [(contact, verb) for contact, verb in verbs if contact.id not in changed]

    def contact_at(self, address: str) -> Contact | None:
        """The contact of another address in this audience."""
        with self.services.begin() as tx:
            pair = (self.audience.id, address)
            return contacts.find(tx, self.services, {pair}).get(pair)

    def drop(self, contact: Contact, old: Contact | None) -> None:
        """Remember a contact and forget the one that it replaces."""

        def work(tx: Transaction) -> None:
            self.lease.hold(tx, self.services)
            contacts.save(tx, self.services, [contact])
            if old is not None:
                contacts.remove(tx, self.services, old)

        self.services.transact(work)

    def forget(self, tx: Transaction, contact: Contact) -> None:
        """Forget a contact whose member has left."""
        self.lease.hold(tx, self.services)
        contacts.remove(tx, self.services, contact)

    def audience_gone(self) -> None:
        """Its contacts stay as they are, and no box changes."""
        table = self.services.tables.audience

        def work(tx: Transaction) -> None:
            self.lease.hold(tx, self.services)
            tx.execute(
                update(table)
                .where(table.c.id == self.audience.id)
                .values(gone_at=self.services.now())
            )

        self.services.transact(work)

    def note(self, contact: Contact, outcome: Outcome) -> None:
        """Something to tell when the round is over."""
        signal = _NEWS.get(contact.seen_status)
        self.news.append((signal, contact, outcome.why))

    def tell(self) -> None:
        """Receipts into the ledger, then the host's signals."""

        def work(tx: Transaction) -> None:
            for _, contact, why in self.news:
                self._receipt(tx, contact, why)

        if self.news:
            self.services.transact(work)
        for signal, contact, why in (n for n in self.news if n[0] is not None):
            for key in self.keys.get(contact.pair, []):
                facts = {"tenant": self.connection.tenant, "customer_key": key, "reason": why}
                self.services.tell(signal, **facts)

    def _receipt(self, tx: Transaction, contact: Contact, why: str) -> None:
        table, keys = self.services.tables.decision, self.keys.get(contact.pair, [])
        changed = contact.seen_changed_at
        stamp = f", changed there {changed:%Y-%m-%d %H:%M:%S} UTC" if changed else ""
        text = f"{why} ({contact.seen_status or 'no member'}{stamp})"
        tx.execute(
            update(table)
            .where(
                table.c.customer_key.in_(keys) if keys else false(),
                table.c.receipt.is_(None),
                table.c.value == contact.wanted,
            )
            .values(receipt=text, list_id=self.audience.list_id)
        )


_NEWS: dict[str, NamedSignal] = {
    Status.SUBSCRIBED: signals.customer_subscribed,
    Status.UNSUBSCRIBED: signals.customer_unsubscribed,
}
