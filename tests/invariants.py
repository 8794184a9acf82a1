"""The promises, checked against a real host, its real database and the sandbox, here and nowhere else.

**S** whose last word was no is not subscribed. **L** whose last word was yes is subscribed, waiting for
confirmation, or visibly refused. **C** both sides agree. These hold when faults have stopped and
everything has landed. At all times: **V** no request moves an existing member to ``subscribed``, but a
REJOIN of somebody whom only our own REMOVE unsubscribed, and an UPSERT that brings an archived member
back after a new yes. **P** every request that sets a status has a decision, and was written down before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from flask_mailchimp_optin import outbox
from flask_mailchimp_optin.testing.sandbox import StatusChange
from tests.house import Host
from tests.last_words import LastWords, Place, Row
from tests.watcher import Met, Watcher

#: States that say why somebody who said yes gets no mail.
REFUSED = ("refused", "archived", "bounced", "bad_address", "erased")


@dataclass(frozen=True, kw_only=True)
class Breach:
    """A promise that was broken.

    :param promise: S, L, C, V or P.
    :param race: a REJOIN was overtaken by somebody's act between our reading and our request, which
        no client of Mailchimp can rule out; the setting "always ask" does without it.
    """

    promise: str
    text: str
    race: bool = False


class Promises:
    """What everybody said last in a host and its sandbox, and whether the promises hold.

    :param now: the true time, if host or sandbox have clocks that are wrong.
    :param skew: how far the sandbox's clock is ahead of the true time.
    """

    def __init__(
        self,
        host: Host,
        *,
        now: Callable[[], datetime] | None = None,
        skew: timedelta = timedelta(0),
    ) -> None:
        self.host, self.now, self.skew = host, now or host.clock, skew
        self.words = LastWords()
        self._seen = self._judged = 0
        self._met: dict[tuple[int | None, str], Met] = {}
        self._breaches: list[Breach] = []
        self._guard = threading.Lock()

    def from_now(self) -> Promises:
        """The same, of what happens at Mailchimp from now on: for a host that was used before."""
        self._seen = self._judged = len(self.host.sandbox.status_changes)
        return self

    # Writing customers, and remembering what was said with it

    def add(
        self, mail: str | None = "ada@example.com", *, named: bool = False, **values: Any
    ) -> int:
        """A new customer; their id."""
        key = self.host.add(mail, **values)
        self.words.wrote(key, None, self.row(key), self.now(), named=named)
        return key

    def change(self, key: int, **values: Any) -> None:
        """Change a customer as the host's form would."""
        with self.writing(key):
            self.host.change(key, **values)

    def delete(self, key: int) -> None:
        """Delete a customer."""
        with self.writing(key):
            self.host.delete(key)

    @contextmanager
    def writing(self, *keys: int, raw: bool = False) -> Iterator[None]:
        """Whatever is written to these customers in the block, in whatever way and process.

        :param raw: past the listeners, so that only a sync can find it.
        """
        before = {key: self.row(key) for key in keys}
        unseen = {key: self._unseen(key, before[key]) for key in keys}
        try:
            yield
        finally:
            self.observe()
            for key in keys:
                after = self.row(key)
                if after != before[key]:
                    self.words.wrote(
                        key, before[key], after, self.now(), raw=raw, unseen=unseen[key]
                    )

    def row(self, key: int) -> Row | None:
        """What counts of a customer's row as it is now; None if there is none."""
        model = self.host.model
        query = sa.select(model.mail, model.wants_news, model.own_list).where(model.id == key)
        with self.host.app.app_context(), self.host.services.begin() as tx:
            found = tx.row(query)
        if found is None:
            return None
        place = (found.own_list or self.host.list_id, (found.mail or "").strip().lower())
        return Row(place=place if "@" in place[1] else None, box=found.wants_news)

    def _unseen(self, key: int, row: Row | None) -> bool:
        table = self.host.services.tables.customer
        query = sa.select(table.c.opt_in).where(table.c.customer_key == str(key))
        with self.host.app.app_context(), self.host.services.begin() as tx:
            known = tx.row(query)
            waiting = tx.rows(sa.select(self.host.services.tables.outbox))
        changes = [noted.change for row_ in waiting for noted in outbox.unpack(row_)]
        if any(change.is_new and change.key == str(key) for change in changes):
            return True  # whoever had this number when somebody looked is another customer
        return row is None or known is None or known.opt_in is not row.box

    def settings(self, **values: Any) -> None:
        """Save the settings; with another master list, its customers are there from now on."""
        self.host.settings(**values)
        self.host.list_id = values.get("master_list", self.host.list_id)
        for key in list(self.words.customers):
            row = self.row(key)
            self.words.wrote(key, row, row, self.now())

    def observe(self) -> None:
        """Take in what people did at Mailchimp since the last time."""
        changes = self.host.sandbox.status_changes
        while self._seen < len(changes):
            change = changes[self._seen]
            self._seen += 1
            self._take(change, change.moment - self.skew)

    def _take(self, change: StatusChange, at: datetime) -> None:
        place = (change.list_id, change.address.lower())
        yes = {"subscribed": True, "unsubscribed": False}.get(change.new or "")
        if change.by == "api":
            if yes:
                self.words.told(place, at)
            return
        if change.moved_from is not None:
            self.words.moved((change.list_id, change.moved_from.lower()), place, yes, at)
        elif yes is not None:
            self.words.mailchimp(place, yes, at)
        elif change.new in ("archived", "cleaned", None):
            self.words.hidden(place)

    # When everything has landed

    def settled(self) -> list[Breach]:
        """S, L and C; only to be asked once nothing is due, nothing fails and nothing may land."""
        self.observe()
        found: list[Breach] = []
        boxes: dict[int, bool | None] = {}
        for place in self.words.places():
            boxes |= self._settled(place, found)
        if not found:
            self.words.found(boxes, self.now())
        return found

    def _settled(self, place: Place, found: list[Breach]) -> dict[int, bool | None]:
        list_id, address = place
        if list_id not in self.host.sandbox.audiences:
            return {}
        status, said = self._status(place), self.words.said(place)
        boxes = {key: self.host.box(key) for key in self.words.owners(place)}
        states = {key: self.host.state(key) for key in boxes}
        facts = f"{address}: said {said}, {status}, boxes {boxes}, {states}"
        shown = any(state in (*REFUSED, "asked") for state in states.values())
        if said == {False} and status == "subscribed":
            found.append(Breach(promise="S", text=facts))
        if said == {True} and boxes and status not in ("subscribed", "pending") and not shown:
            found.append(Breach(promise="L", text=facts))
        for key, box in boxes.items():
            if box is True:
                agree = status in ("subscribed", "pending") or states[key] in REFUSED
            else:
                agree = box is None or status != "subscribed"
            if not agree:
                found.append(Breach(promise="C", text=facts))
        return boxes

    def _status(self, place: Place) -> str | None:
        member = self.host.sandbox.member(*place)
        return None if member is None else str(member["status"])

    # At all times

    def always(self) -> list[Breach]:
        """V and P, of everything that was asked of Mailchimp since the last time."""
        self.observe()
        changes = self.host.sandbox.status_changes
        with self._guard:
            found, self._breaches = self._breaches, []
        while self._judged < len(changes):
            self._judge(changes, self._judged, found)
            self._judged += 1
        return found

    def check(self) -> None:
        """All of it, as an assertion.

        :raises AssertionError: a promise was broken.
        """
        breaches = self.always() + self.settled()
        assert not breaches, "\n".join(f"{b.promise}: {b.text}" for b in breaches)

    def _judge(self, changes: list[StatusChange], number: int, found: list[Breach]) -> None:
        change = changes[number]
        lifted = change.by == "api" and change.new == "subscribed" and change.old is not None
        if not lifted or change.old == "subscribed":
            return
        place = (change.list_id, change.address.lower())
        before = next(
            (c for c in reversed(changes[:number]) if (c.list_id, c.address.lower()) == place), None
        )
        met = self._met.get((change.request, place[1]), Met(status=change.old))
        text = f"{place[1]}: {change.old} to subscribed at {change.at}, before it {before}"
        if change.old == "archived":
            sent_before = met.status != "archived"  # it landed late: nobody could know
            if not sent_before and not self._new_yes(place, before):
                found.append(Breach(promise="V", text=text))
            return
        ours = before is not None and before.by == "api" and before.new == "unsubscribed"
        seen = met.status == "unsubscribed" and met.last_changed == getattr(before, "at", None)
        if change.old != "unsubscribed" or met.always_confirm:
            found.append(Breach(promise="V", text=text))
        elif not (ours and seen):
            found.append(Breach(promise="V", text=text, race=True))

    def _new_yes(self, place: Place, archived: StatusChange | None) -> bool:
        return archived is not None and self.words.yes_after(place, archived.moment - self.skew)

    @contextmanager
    def watching(self) -> Iterator[Promises]:
        """While the block lasts, every request is looked at as it arrives; for V and P."""
        # Connections of our own: what is not committed is not seen.
        engine = sa.create_engine(self.host.app.config["SQLALCHEMY_DATABASE_URI"])
        watcher = Watcher(self.host, engine, self._meets, self._broken)
        self.host.sandbox.watchers.append(watcher.arrived)
        try:
            yield self
        finally:
            self.host.sandbox.watchers.remove(watcher.arrived)
            engine.dispose()

    def _meets(self, index: int, address: str, met: Met) -> None:
        self._met[index, address] = met

    def _broken(self, text: str) -> None:
        with self._guard:
            self._breaches.append(Breach(promise="P", text=text))
