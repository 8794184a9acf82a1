"""A reference model: two sides, the rule, and everything that may come between them.

No database, no HTTP: a history is a sequence of acts on plain values, fast enough for millions. The rule
(``consent``) and what a contact remembers (``contacts``) are the package's own; hosts, persons,
Mailchimp, workers and the network are told here once more, in the simplest way, so that a mistake of
thought in the machinery shows. What the model leaves out (SQL, HTTP, processes) is what
``test_machine`` and ``tests/faults`` are for.

Two addresses, two customers who may share one, one audience. Seconds are true time; the host's clock and
Mailchimp's are each up to a minute wrong. A worker's round is cut into the moments between which others
may act: look, decide and write down, take effect at Mailchimp, settle.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from flask_mailchimp_optin import memory
from flask_mailchimp_optin.consent import (
    EPSILON,
    Act,
    Agreed,
    Member,
    Outcome,
    Status,
    Verb,
    decide,
    latest,
)
from flask_mailchimp_optin.memory import Contact

ADDRESSES = (0, 1)
CUSTOMERS = (0, 1)
NEWCOMERS = (None, Status.ABSENT, Status.ARCHIVED)
MAILABLE = (Status.SUBSCRIBED, Status.PENDING)
#: Mailchimp's own time limit: nothing takes effect later than this after a client gave up.
LANDS_WITHIN_S = 120
#: A worker sends nothing later than this after it wrote it down.
SPEAKS_WITHIN_S = 30
_START = datetime(2026, 1, 1, tzinfo=UTC)
_SECONDS: dict[int, datetime] = {}


def at(second: int) -> datetime:
    """A second of the model as a time."""
    found = _SECONDS.get(second)
    if found is None:
        found = _SECONDS[second] = _START + timedelta(seconds=second)
    return found


@lru_cache(maxsize=4096)
def _moment(second: int, turn: int) -> datetime:
    return at(second) + timedelta(microseconds=turn)


_TIME = re.compile(r"datetime\.datetime\(([\d, ]+), tzinfo=datetime\.timezone\.utc\)")
_FAR_S = 2000  # longer ago than anything that the rule compares


def _relative(text: str, now: datetime) -> str:
    def ago(found: re.Match[str]) -> str:
        parts = [int(part) for part in found[1].split(", ")] + [0, 0]
        year, month, day, hour, minute, second, microsecond = parts[:7]
        time = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
        return f"{max((now - time).total_seconds(), -_FAR_S):.6f}"

    return _TIME.sub(ago, text)


class Word(NamedTuple):
    """A yes or no, and its place in the true order of things; None: a yes without a time."""

    yes: bool
    turn: int | None


class Mail(NamedTuple):
    """A member at Mailchimp, truly."""

    status: Status
    changed: datetime
    opted: datetime | None
    barred: bool  # they unsubscribed themselves, or bounced: an API may not subscribe them
    ours: bool  # nothing happened to them since our own REMOVE


class Request(NamedTuple):
    """What is asked of Mailchimp about one address.

    :param opted: the time of the yes that an UPSERT carries.
    :param seen: what the member was when we looked, a moment before.
    :param nobodys: no customer has the address any more.
    """

    address: int
    verb: Verb
    if_new: Status
    opted: datetime | None
    seen: str | None
    nobodys: bool


class Late(NamedTuple):
    """A request whose answer nobody waits for any more.

    :param until: second after which it never lands; None while its worker may still be sending it.
    """

    request: Request
    until: int | None


Rule = Callable[..., Outcome]


@dataclass(frozen=True)
class Machinery:
    """How it is built. The defaults are the package's way; anything else is broken on purpose."""

    rule: Rule = decide
    believes_rings: bool = False
    upsert_sets_status: bool = False
    acknowledges_before_sending: bool = False
    acknowledges_any_version: bool = False
    forgets_lost_requests: bool = False
    remembers_one_lost_request: bool = False
    overwrites_a_changed_box: bool = False
    ignores_the_outbox: bool = False
    revives_blindly: bool = False
    takes_a_found_yes_for_a_decision: bool = False
    one_customer_decides: bool = False


GOOD = Machinery()


@dataclass
class Customer:
    """A row of the host.

    :ivar address: None once deleted.
    :ivar word: what this customer said last, by the true order.
    :ivar follows: the box was set by Mailchimp's side or by who shares the address, since then.
    """

    address: int | None
    box: bool | None
    word: Word | None = None
    said_s: int = 0
    said_at: int | None = None
    follows: bool = False


@dataclass
class Record:
    """What we remember of a customer's row."""

    address: int
    box: bool | None
    decided_at: datetime | None


@dataclass
class Work:
    """A worker in the middle of a round: copies of contact rows, and how far it is.

    :ivar phase: ``look``, ``send``, ``answer``; after that ``alone`` for each ASK and REJOIN.
    """

    phase: str
    picked: list[Contact]
    read_at: datetime
    shown: dict[int, Member] = field(default_factory=dict)
    verbs: list[tuple[Contact, Verb]] = field(default_factory=list)
    alone: list[tuple[Contact, Verb]] = field(default_factory=list)
    outcome: str = ""
    answers: dict[int, Member | str] = field(default_factory=dict)
    created: set[int] = field(default_factory=set)
    until_s: int = 0


class World:
    """One history. Every method is one act; all chance comes from outside."""

    def __init__(
        self,
        *,
        always_confirm: bool = True,
        double_optin: bool = False,
        host_off_s: int = 0,
        mailchimp_off_s: int = 0,
        machinery: Machinery = GOOD,
    ) -> None:
        self.always_confirm, self.double_optin = always_confirm, double_optin
        self.host_off_s, self.mailchimp_off_s = host_off_s, mailchimp_off_s
        self.machinery = machinery
        self.now_s, self.turn = 0, 0
        self.customers = [Customer(0, None), Customer(1, None)]
        self.outbox: list[tuple[int, bool | None, datetime, int | None]] = []
        self.records: dict[int, Record] = {}
        self.contacts: dict[int, Contact] = {}
        self.members: dict[int, Mail] = {}
        self.forgotten: set[int] = set()
        self.late: list[Late] = []
        self.rings: list[tuple[int, Status]] = []
        self.work: Work | None = None
        self.paused = self.daily = False
        self.said: dict[int, Word | None] = dict.fromkeys(ADDRESSES)
        self.said_s = dict.fromkeys(ADDRESSES, -100_000)
        self.left: dict[int, Word | None] = dict.fromkeys(ADDRESSES)
        self.archived_turn: dict[int, int] = {}
        self.ticked_turn = dict.fromkeys(ADDRESSES, 0)
        self.rejoined: set[int] = set()
        self.raced: set[int] = set()
        self.overwrote: set[int] = set()
        self.coincided: set[int] = set()
        self.opt_ins: set[tuple[int, datetime]] = set()  # of people, by Mailchimp's clock
        self.hidden: set[int] = set()
        self.unsure: set[int] = set()
        self.lapsed: set[int] = set()
        self.breaches: list[str] = []

    def key(self) -> str:
        """Two worlds with the same key have the same future; times count from now."""
        now = at(self.now_s)
        parts = (
            self.customers,
            self.outbox,
            self.records,
            sorted(self.members.items()),
            self.late,
            self.rings,
            self.work,
            self.said,
            self.left,
            self.forgotten,
            self.breaches,
            self.raced,
            self.overwrote,
            self.coincided,
            sorted((a, sorted(vars(c).items())) for a, c in self.contacts.items()),
        )
        return _relative(repr(parts), now)

    # Time

    def host_now(self) -> datetime:
        """By the host's clock; a microsecond a turn, so that no two decisions are equally late."""
        return _moment(self.now_s + self.host_off_s, self.turn)

    def mailchimp_now(self) -> datetime:
        return at(self.now_s + self.mailchimp_off_s)

    def passes(self, seconds: int) -> None:
        """Time goes by. What may land late and has not, never will."""
        self.now_s += seconds
        self.late = [one for one in self.late if one.until is None or one.until >= self.now_s]

    # The host's people

    def starts(self, customer: int, address: int, box: bool | None) -> None:
        """A row that was there before anybody looked: a yes without a time, or no word at all."""
        self.customers[customer] = Customer(address, box, Word(True, None) if box else None)
        self.outbox.append((customer, None, self.host_now(), None))

    def sets(self, customer: int, box: bool) -> None:
        """A person changes a customer's box and commits."""
        row = self.customers[customer]
        if row.address is None or row.box is box:
            return
        self.turn += 1
        row.box, row.word, row.said_s = box, Word(box, self.turn), self.now_s
        row.follows, row.said_at = False, row.address
        if box:
            self.ticked_turn[row.address] = self.turn
        self.outbox.append((customer, box, self.host_now(), row.address))

    def edits(self, customer: int) -> None:
        """Another change of the row: the profile is another one now."""
        row = self.customers[customer]
        if row.address is not None:
            self.turn += 1
            self.outbox.append((customer, None, self.host_now(), None))

    def moves(self, customer: int, address: int | None) -> None:
        """The customer gets the other address, or is deleted."""
        row = self.customers[customer]
        if row.address is None or row.address == address:
            return
        self.turn += 1
        if row.follows or (row.box is not None and row.word is None):
            # Overruled since by somebody else: what that is worth elsewhere, nobody can say.
            row.word = None
            if address is not None:
                self.unsure.add(address)
        shared = any(o is not row and o.address == row.address for o in self.customers)
        if row.word is not None and row.said_at not in (None, row.address):
            self.unsure.add(
                row.address
            )  # carried in and out again: perhaps nobody ever saw it here
        others = [o for o in self.customers if o is not row and o.address == row.address]
        if any(o.word is None or o.word.turn is None for o in others):
            self.unsure.add(row.address)
        if row.word is not None and not row.word.yes and shared:
            self._said(row.address, row.word)  # a no stays with the address
        elif row.word is not None and shared:
            self.unsure.add(row.address)  # a yes leaves; what the others had followed, stays
        elif not shared:
            self.left[row.address] = row.word
            said = self.said[row.address]
            if said is not None and said.yes:
                self.said[row.address] = None  # nobody's any more: ours to unsubscribe
                self.lapsed.add(row.address)
        row.address = address
        if address is not None:
            self._arrives(row, address)
            if row.box:
                self.ticked_turn[address] = self.turn
        self.outbox.append((customer, None, self.host_now(), None))

    def _arrives(self, row: Customer, address: int) -> None:
        """At an address with a word of its own: of two at about the same time nobody knows the last."""
        left, self.left[address] = self.left[address], None
        if address in self.lapsed:
            self.unsure.add(address)  # perhaps nobody has looked since that yes was nobody's
        if left is not None and not left.yes:
            self.unsure.add(address)  # perhaps nobody has looked at that no yet: then it stays
        others = [o for o in self.customers if o is not row and o.address == address]
        times = [o.said_s for o in others if o.word is not None] + [self.said_s[address]]
        if row.word is not None and any(abs(row.said_s - s) < 400 for s in times):
            self.unsure.add(address)

    # Persons and administrators at Mailchimp

    def subscribes(self, address: int, *, by_person: bool = True) -> None:
        """On the hosted form, or added by an administrator."""
        member = self.members.get(address)
        if member is not None and member.status is Status.SUBSCRIBED:
            return
        self.forgotten.discard(address)
        asks = self.double_optin and by_person
        if asks and member is not None and member.status is Status.PENDING:
            return
        self._becomes(address, Status.PENDING if asks else Status.SUBSCRIBED)

    def confirms(self, address: int) -> None:
        if address in self.members and self.members[address].status is Status.PENDING:
            self._becomes(address, Status.SUBSCRIBED)

    def unsubscribes(self, address: int, *, by_person: bool = True) -> None:
        if address in self.members and self.members[address].status in MAILABLE:
            self._becomes(address, Status.UNSUBSCRIBED, barred=by_person)

    def bounces(self, address: int) -> None:
        if address in self.members and self.members[address].status is not Status.CLEANED:
            self._becomes(address, Status.CLEANED, barred=True)

    def archives(self, address: int) -> None:
        member = self.members.get(address)
        if member is not None and member.status is not Status.ARCHIVED:
            self._becomes(address, Status.ARCHIVED, barred=member.barred)
            self.archived_turn[address] = self.turn

    def erases(self, address: int) -> None:
        """Deleted permanently at Mailchimp."""
        if self.members.pop(address, None) is not None:
            self.turn += 1
            self.forgotten.add(address)
            self._hides(address, Status.ABSENT)
            self.rings.append((address, Status.ABSENT))

    def retouches(self, address: int) -> None:
        """An edit of the profile at Mailchimp: only ``last_changed`` moves."""
        member = self.members.get(address)
        if member is not None:
            self.turn += 1
            self.now_s += 1
            self.members[address] = member._replace(changed=self.mailchimp_now(), ours=False)
            self.rings.append((address, member.status))

    def _becomes(self, address: int, status: Status, *, barred: bool = False) -> None:
        self.turn += 1
        self.now_s += 1  # people take time: nobody signs up twice in one second
        now, before = self.mailchimp_now(), self.members.get(address)
        opted = now if status is Status.SUBSCRIBED else before.opted if before else None
        self.members[address] = Mail(status, now, opted, barred, False)
        if status is Status.SUBSCRIBED:
            self.opt_ins.add((address, now))
        if status in (Status.SUBSCRIBED, Status.UNSUBSCRIBED):
            self._said(address, Word(status is Status.SUBSCRIBED, self.turn))
        self._hides(address, status)
        self.rings.append((address, status))

    def _hides(self, address: int, status: Status) -> None:
        """A yes said at Mailchimp, and hidden there by somebody else before anybody could read it."""
        if status in (Status.ARCHIVED, Status.CLEANED, Status.ABSENT):
            if self.said[address] == self.word(address):
                self.hidden.add(address)
        elif status is not Status.PENDING:
            self.hidden.discard(address)

    def _said(self, address: int, word: Word) -> None:
        before = self.said[address]
        if before is None or (before.turn or 0) < (word.turn or 0):
            self.said[address], self.said_s[address] = word, self.now_s

    # What a request does at Mailchimp

    def takes_effect(self, request: Request) -> Member | str:
        """The request is carried out; what a definite answer to it says."""
        handlers = {
            Verb.UPSERT: self._upsert,
            Verb.REMOVE: self._remove,
            Verb.ASK: self._ask,
            Verb.REJOIN: self._rejoin,
        }
        return handlers[request.verb](request) or self._shown(request.address)

    def _set(self, address: int, status: Status, *, opted: datetime | None = None) -> None:
        before = self.members.get(address)
        opted = opted or (before.opted if before else None)
        barred = before.barred if before is not None else False
        removed = status is Status.UNSUBSCRIBED
        self.members[address] = Mail(status, self.mailchimp_now(), opted, barred, removed)

    def _upsert(self, request: Request) -> str | None:
        member, address = self.members.get(request.address), request.address
        if member is None and address in self.forgotten:
            return "forgotten"
        if member is not None and member.status is not Status.ARCHIVED:
            if self.machinery.upsert_sets_status and not member.barred:
                self._set(address, Status.SUBSCRIBED, opted=self.mailchimp_now())
                return None
            if request.seen in NEWCOMERS:
                return "exists"  # a call for newcomers leaves who is there alone
            self.members[address] = member._replace(changed=self.mailchimp_now(), ours=False)
            return None
        status = request.if_new
        if member is not None and status is Status.SUBSCRIBED:
            self._brought_back(request)
        opted = (request.opted or self.mailchimp_now()) if status is Status.SUBSCRIBED else None
        self._set(address, status, opted=opted)
        return None

    def _brought_back(self, request: Request) -> None:
        address = request.address
        newer = self.ticked_turn[address] > self.archived_turn[address]
        if not newer and request.seen != Status.ARCHIVED and not self.machinery.revives_blindly:
            self.raced.add(address)  # archived in the moment between our reading and our request
        elif not newer:
            self.breaches.append(f"V: archived {address} subscribed without a newer yes")

    def _remove(self, request: Request) -> str | None:
        member = self.members.get(request.address)
        if member is None and request.address in self.forgotten:
            return "forgotten"
        if member is None or member.status in MAILABLE:
            self._set(request.address, Status.UNSUBSCRIBED)
            if request.nobodys:
                self.hidden.add(request.address)  # nobody's member: ours to unsubscribe
        return None

    def _ask(self, request: Request) -> str | None:
        member = self.members.get(request.address)
        if member is None:
            return "not found"
        if member.status is Status.CLEANED:
            return "compliance"
        if member.status is not Status.PENDING:
            self._set(request.address, Status.PENDING)
        return None

    def _rejoin(self, request: Request) -> str | None:
        member = self.members.get(request.address)
        if member is None:
            return "not found"
        if member.barred:
            return "compliance"
        opted = request.opted or self.mailchimp_now()
        if member.status is not Status.SUBSCRIBED:
            if not member.ours:
                self.breaches.append(f"V: REJOIN of {request.address}, who was touched since")
            self.rejoined.add(request.address)
            self._set(request.address, Status.SUBSCRIBED, opted=opted)
        elif request.opted is not None and member.opted != opted:
            self.overwrote.add(request.address)  # it hides when they opted in
            self.members[request.address] = member._replace(
                opted=opted, changed=self.mailchimp_now(), ours=False
            )
        return None

    def _shown(self, address: int) -> Member:
        member = self.members.get(address)
        if member is None:
            return Member(status=Status.ABSENT)
        return Member(status=member.status, last_changed=member.changed, timestamp_opt=member.opted)

    def lands(self, which: int = 0) -> None:
        """A request that was given up takes effect after all."""
        if self.late:
            request = self.late.pop(which % len(self.late)).request
            self.turn += 1
            self.takes_effect(request)

    # Our rows

    def _contact(self, address: int) -> Contact:
        found = self.contacts.get(address)
        if found is None:
            found = self.contacts[address] = Contact(**_BLANK, id=address, address=address)
        return found

    def drops_rings(self) -> None:
        self.rings.clear()

    def absorbs(self) -> None:
        """Outbox and rings become contacts that are due: one transaction of a worker's."""
        if self.work is None and self.outbox:
            self._absorb_outbox()
        if self.work is None and self.rings:
            self._absorb_rings()

    def _absorb_outbox(self) -> None:
        seen: dict[int, list[tuple[bool, datetime, int | None]]] = {}
        for customer, decision, when, address in self.outbox:
            said = seen.setdefault(customer, [])
            if decision is not None:
                said.append((decision, when, address))
        self.outbox.clear()
        touched: set[int] = set()
        nos: dict[int, list[tuple[bool, datetime]]] = {}
        for customer, said in seen.items():
            self._observe(customer, said, touched, nos)
        for address in sorted(touched):
            self._want(address, nos.get(address, []))

    def _observe(
        self,
        customer: int,
        said: list[tuple[bool, datetime, int | None]],
        touched: set[int],
        nos: dict[int, list[tuple[bool, datetime]]],
    ) -> None:
        row, record = self.customers[customer], self.records.get(customer)
        if record is not None:
            touched.add(record.address)
        last = {address: (value, when) for value, when, address in said}
        for address, (value, when) in last.items():
            if not value and address is not None:
                nos.setdefault(address, []).append((False, when))
                touched.add(address)
        if row.address is None:
            self.records.pop(customer, None)
            return
        touched.add(row.address)
        box = row.box if row.box is not None or record is None else record.box
        decided = record.decided_at if record is not None else None
        captured = [when for value, when, _ in said if value is row.box]
        if captured:
            decided = max(captured)
        elif record is None and row.box and self.machinery.takes_a_found_yes_for_a_decision:
            decided = self.host_now()
        self.records[customer] = Record(row.address, box, decided)

    def _owners(self, address: int) -> list[int]:
        return [c for c, record in sorted(self.records.items()) if record.address == address]

    def _want(self, address: int, nos: list[tuple[bool, datetime]]) -> None:
        owners = self._owners(address)
        said = [
            (bool(record.box), record.decided_at)
            for record in (self.records[c] for c in owners)
            if record.box is not None and (record.decided_at is not None or record.box)
        ]
        if self.machinery.one_customer_decides:
            said = said[:1]
        wanted, when = latest([*said, *nos])
        if not owners:
            self._orphan(address, bool(nos))
            return
        if wanted is None and address not in self.contacts:
            return
        row = self._contact(address)
        if wanted is False and row.wanted is False and when and row.wanted_at:
            when = max(when, row.wanted_at)
        new = wanted is not None and (wanted, when) != (row.wanted, row.wanted_at)
        lapsed = wanted is None and row.wanted is True
        row.version, row.orphan, row.due_at = row.version + 1, None, self.host_now()
        row.profile = None
        if new:
            row.wanted, row.wanted_at, row.decided_version = wanted, when, row.version
            row.attempts, row.refusal = 0, None
        if lapsed:
            row.wanted, row.wanted_at = None, None
        if wanted is not None and not self.machinery.one_customer_decides:
            self._follow(address, wanted, when)

    def _follow(self, address: int, value: bool, when: datetime | None) -> None:
        for customer in self._owners(address):
            record = self.records[customer]
            if record.box is not value:
                self._sets_box(customer, value)
                record.box, record.decided_at = value, when

    def _sets_box(self, customer: int, value: bool) -> None:
        row = self.customers[customer]
        row.follows = row.follows or row.box is not value
        row.box = value

    def _orphan(self, address: int, said_no: bool) -> None:
        if said_no:
            self._contact(address)
        row = self.contacts.get(address)
        if row is None:
            return
        unsettled_no = row.wanted is False and row.moved
        unknown = row.agreed == Agreed.NOTHING and not row.open_verb and not row.late
        if unknown and not said_no and not unsettled_no:
            del self.contacts[address]
            return
        row.orphan, row.version, row.due_at = "unsubscribe", row.version + 1, self.host_now()

    def _absorb_rings(self) -> None:
        for address, status in self.rings:
            if self.machinery.believes_rings and status in (Status.SUBSCRIBED, Status.UNSUBSCRIBED):
                self._follow(address, status is Status.SUBSCRIBED, self.host_now())
            if self._owners(address) or address in self.contacts:
                row = self._contact(address)
                row.look, row.due_at, row.version = True, self.host_now(), row.version + 1
        self.rings.clear()

    def syncs(self) -> None:
        """A daily sync: everybody is compared, whatever was rung."""
        self.absorbs()
        if self.work is not None:
            return
        now = self.host_now()
        for address in ADDRESSES:
            if not self._owners(address) and address not in self.contacts:
                continue
            row, member = self._contact(address), self._shown(address)
            if member.status is Status.ABSENT:
                # A full reading doubts whom it doesn't show.
                row.look = row.look or row.seen_status not in (None, Status.ABSENT)
                if row.look:
                    row.due_at, row.version = now, row.version + 1
                continue
            if row.seen_status != member.status or row.wanted is None or row.moved or row.late:
                row.look = True
            if not row.late and not row.open_verb:
                memory.saw(row, member, now, now)
            if row.look or row.version > row.acked_version:
                row.due_at, row.version = now, row.version + 1

    # A worker's round

    def _is_due(self, row: Contact, now: datetime) -> bool:
        if row.due_at is None or row.due_at > now:
            return False
        no = row.wanted is False and row.moved
        return no or not (self.paused or (self.daily and not row.look and not row.orphan))

    def works(self, fault: str = "") -> None:
        """A worker's next moment.

        :param fault: what becomes of a request: ``lost`` (done, unanswered), ``late`` (may yet be
            done), ``refused`` (429: not done, and the answer says so).
        """
        if self.work is None:
            self._picks()
        elif self.work.phase == "look":
            self._looks()
        elif self.work.phase == "send":
            self._sends(fault)
        elif self.work.phase == "answer":
            self._settles()
        if self.work is not None and self.work.phase == "alone":
            self._next_alone()

    def dies(self, *, speaking: bool = False) -> None:
        """The worker is killed or loses its lease; what it wrote down stays.

        :param speaking: its request is on its way, or will be sent by the stalled process.
        """
        if self.work is not None and self.work.phase == "send" and speaking:
            self.late += [Late(self._request(c, v), None) for c, v in self.work.verbs]
        self.work = None

    def _picks(self) -> None:
        self.absorbs()
        now = self.host_now()
        due = [row for row in self.contacts.values() if self._is_due(row, now)]
        if not due:
            return
        picked = [Contact(**vars(row)) for row in due]
        if any(row.open_verb for row in picked):
            # Whoever may have been sending is known to be out of it by now.
            until = self.now_s + LANDS_WITHIN_S
            self.late = [Late(o.request, until if o.until is None else o.until) for o in self.late]
        for row in picked:
            if not self.machinery.forgets_lost_requests:
                memory.adopt(row, self.host_now())
        self.work = Work("look", picked, self.host_now())
        self.work.shown = {row.address: self._shown(row.address) for row in picked}

    def _save(self, row: Contact) -> None:
        known = self.contacts.get(row.address)
        if known is None:
            return
        moved = known.version != row.version and not self.machinery.acknowledges_any_version
        kept = {name: getattr(known, name) for name in _HOSTS_SIDE}
        if moved:
            kept |= {"due_at": known.due_at, "look": known.look}
        if self.machinery.acknowledges_any_version:
            kept["decided_version"] = row.settled_version
        known.__dict__.update({**vars(row), **kept})

    def _overtaken(self, row: Contact) -> bool:
        if self.machinery.ignores_the_outbox:
            return False
        owners = self._owners(row.address)
        return any(customer in owners for customer, _, _, _ in self.outbox)

    def _looks(self) -> None:
        work = self.work
        assert work is not None
        work.verbs = []
        for row in work.picked:
            if row.orphan:
                self._parts(work, row)
            else:
                self._takes(work, row, work.shown[row.address], answered=False)
        self._writes_down(work)

    def _parts(self, work: Work, row: Contact) -> None:
        """Nobody owns the address any more."""
        if work.shown[row.address].status in MAILABLE:
            work.verbs.append((row, Verb.REMOVE))
            return
        self._forgets(row, work.read_at)

    def _forgets(self, row: Contact, as_of: datetime) -> None:
        """Nothing that was sent before can make them a member any more, as of a time."""
        known, landing = self.contacts.get(row.address), memory.landed_by(row)
        if known is None or known.version != row.version:
            return
        if landing is None or landing <= as_of:
            del self.contacts[row.address]
            return
        memory.parted(row, landing)
        self._save(row)

    def _takes(self, work: Work, row: Contact, member: Member, *, answered: bool) -> Outcome:
        """As ``verdicts.take``: the rule decides; what needs no request is done."""
        now = self.host_now()
        remembered = memory.memory_of(row, member, now)
        if remembered.opted_by_us and (row.address, member.timestamp_opt) in self.opt_ins:
            self.coincided.add(row.address)  # signed up in the very second that our request carried
        outcome = self.machinery.rule(
            memory.host_of(row),
            member,
            remembered,
            always_confirm=self.always_confirm or self.double_optin,
        )
        known_at = work.read_at
        if answered:
            known_at = row.open_at
            memory.answered(row)
        memory.saw(row, member, known_at, now)
        if outcome.act is Act.SEND:
            self._plans(work, row, outcome, answered)
        elif outcome.act is Act.BOX:
            told = member.timestamp_opt if outcome.box else member.last_changed
            about = EPSILON if not outcome.box else -EPSILON
            when = min(told + about, work.read_at) if told else work.read_at
            self._box_follows(row, when, outcome)
        elif outcome.act is Act.UNREACHABLE and row.wanted:
            memory.refuse(row, "unreachable", "", now)
            self._save(row)
        else:
            created = answered and row.address in work.created
            self._rests(work, row, outcome, made_by_us=created or remembered.opted_by_us)
        return outcome

    def _rests(self, work: Work, row: Contact, outcome: Outcome, *, made_by_us: bool) -> None:
        if outcome.act is Act.AGREE or outcome.agreed is Agreed.ASKED:
            memory.agree(row, outcome.agreed, self.host_now())
        if made_by_us:
            row.agreed_at = None
        memory.finish(row, self.host_now())
        if row.wanted and row.seen_status != Status.UNSUBSCRIBED and row.profile is None:
            row.profile = "sent"
            work.verbs.append((row, Verb.UPSERT))
        else:
            self._save(row)

    def _plans(self, work: Work, row: Contact, outcome: Outcome, answered: bool) -> None:
        final = row.refusal is not None and row.refusal != "unreachable"
        if final and row.wanted and outcome.verb is not Verb.REMOVE:
            memory.finish(row, self.host_now())
            self._save(row)
        elif outcome.verb in (Verb.UPSERT, Verb.REMOVE) and not answered:
            row.profile = "sent"
            work.verbs.append((row, outcome.verb))
        elif outcome.verb in (Verb.ASK, Verb.REJOIN):
            work.alone.append((row, outcome.verb))
        else:
            self._save(row)  # not twice in one round: it is due again

    def _box_follows(self, row: Contact, when: datetime, outcome: Outcome) -> None:
        known, value = self.contacts.get(row.address), bool(outcome.box)
        overtaken = known is None or known.version != row.version or self._overtaken(row)
        if overtaken and not self.machinery.overwrites_a_changed_box:
            row.due_at, row.look = self.host_now(), True
            self._save(row)
            return
        for customer in self._owners(row.address):
            self._sets_box(customer, value)
            self.records[customer].box, self.records[customer].decided_at = value, when
        row.wanted, row.wanted_at, row.decided_version = value, when, row.version
        if known is not None:
            known.wanted, known.wanted_at, known.decided_version = value, when, row.version
        memory.agree(row, outcome.agreed, self.host_now())
        memory.forgive(row)
        memory.finish(row, self.host_now())
        self._save(row)

    def _writes_down(self, work: Work) -> None:
        work.verbs = [(row, verb) for row, verb in work.verbs if not self._overtaken(row)]
        for row, verb in work.verbs:
            now = self.host_now()
            makes_new = verb is Verb.UPSERT and self._if_new(row) is Status.SUBSCRIBED
            carries = row.moved and (makes_new or verb is Verb.REJOIN)
            opted = (row.wanted_at or now).replace(microsecond=0) if carries else None
            memory.intend(row, verb, now, opted)
            if self.machinery.acknowledges_before_sending:
                row.acked_version, row.settled_version = row.version, row.decided_version
                row.due_at, row.open_verb = None, None
            self._save(row)
        work.phase = "send" if work.verbs else "alone"
        work.until_s = self.now_s + SPEAKS_WITHIN_S

    def _if_new(self, row: Contact) -> Status:
        if self.double_optin:
            return Status.PENDING
        if not self.machinery.revives_blindly:
            newcomer = row.seen_status in NEWCOMERS
            came_once = row.seen_status == Status.ARCHIVED or row.agreed != Agreed.NOTHING
            if not newcomer or (came_once and self.always_confirm):
                return Status.PENDING
        return Status.SUBSCRIBED

    def _request(self, row: Contact, verb: Verb) -> Request:
        if_new, opted = self._if_new(row), row.open_opt_at
        return Request(row.address, verb, if_new, opted, row.seen_status, row.orphan is not None)

    def _sends(self, fault: str) -> None:
        work = self.work
        assert work is not None
        if self.now_s > work.until_s:
            self.work = None  # held up for so long that another may be at it: nothing is sent
            return
        work.answers = {}
        requests = [self._request(row, verb) for row, verb in work.verbs]
        if fault == "late":
            until = self.now_s + LANDS_WITHIN_S
            self.late += [Late(request, until) for request in requests]
        elif fault != "refused":
            self.turn += 1
            if requests and requests[0].verb is Verb.REJOIN and not self._still_ours(work):
                fault = "refused"  # the last look before a REJOIN
            else:
                before = set(self.members)
                work.answers = {r.address: self.takes_effect(r) for r in requests}
                work.created = set(self.members) - before
        work.outcome, work.phase = fault, "answer"

    def _still_ours(self, work: Work) -> bool:
        row, member = work.verbs[0][0], self._shown(work.verbs[0][0].address)
        return member.status is Status.UNSUBSCRIBED and member.last_changed == row.removed_at

    def _settles(self) -> None:
        work = self.work
        assert work is not None
        verbs, work.verbs = work.verbs, []
        for row, verb in verbs:
            self._answered(work, row, verb)
        work.verbs, work.phase = [], "alone"  # an UPSERT that left the status alone is not repeated

    def _answered(self, work: Work, row: Contact, verb: Verb) -> None:
        now = self.host_now()
        if work.outcome == "refused":
            memory.unsend(row, now)
            row.look = True
        elif work.outcome in ("lost", "late"):
            self._loses(row, now)
        else:
            self._hears(work, row, verb, work.answers[row.address])
            return
        self._save(row)

    def _loses(self, row: Contact, now: datetime) -> None:
        if self.machinery.forgets_lost_requests:
            memory.unsend(row, now)
            row.look = True
            return
        before = row.late
        memory.lose(row, now)
        row.due_at = now
        if self.machinery.remembers_one_lost_request and before:
            row.late = row.late[-1:]

    def _hears(self, work: Work, row: Contact, verb: Verb, answer: Member | str) -> None:
        now = self.host_now()
        if isinstance(answer, str):
            self._refused(row, verb, answer)
        elif row.orphan:
            as_of = row.open_at
            memory.answered(row)
            self._forgets(row, as_of)
        elif verb in (Verb.ASK, Verb.REJOIN):
            memory.saw(row, answer, row.open_at, now)
            memory.answered(row)
            memory.agree(row, Agreed.ASKED if verb is Verb.ASK else Agreed.YES, now)
            memory.finish(row, now)
            self._save(row)
        elif verb is Verb.REMOVE and answer.status in MAILABLE:
            self._loses(row, now)
            self._save(row)
        else:
            self._takes(work, row, answer, answered=True)
            if verb is Verb.REMOVE:
                row.removed_at = answer.last_changed
                self._save(row)

    def _refused(self, row: Contact, verb: Verb, why: str) -> None:
        now = self.host_now()
        if why in ("not found", "exists"):
            memory.unsend(row, now)
            row.look = True
            self._save(row)
            return
        memory.answered(row)
        if verb is Verb.REJOIN and self.work is not None:
            self.work.alone.append((row, Verb.ASK))  # Mailchimp knows better who left
        elif row.orphan:
            self._forgets(row, now)
            return
        else:
            memory.refuse(row, why, "", now)
            row.asked_version = None if verb is Verb.ASK else row.asked_version
        self._save(row)

    def _next_alone(self) -> None:
        work = self.work
        assert work is not None
        while work.alone:
            work.verbs = [work.alone.pop(0)]
            self._writes_down(work)
            if work.phase == "send":
                return
        self.work = None

    # What must hold

    def word(self, address: int) -> Word | None:
        """The last word about an address, by the true order."""
        owners = [c.word for c in self.customers if c.address == address] or [self.left[address]]
        spoken = [w for w in [*owners, self.said[address]] if w is not None]
        timed = [w for w in spoken if w.turn is not None]
        if timed:
            return max(timed, key=lambda w: w.turn or 0)
        return spoken[0] if spoken else None

    def calms_down(self, dice: random.Random) -> None:
        """Faults stop, what may land lands or doesn't, rings are lost, syncs find what is left."""
        self.paused = self.daily = False
        self.rings.clear()
        for _ in range(2):
            self._until_quiet()
            self.passes(dice.choice((1, 60, 119)))
            while self.late:
                if dice.random() < 0.5:
                    self.lands()
                else:
                    self.late.pop(0)
                self._until_quiet()
            self.passes(100_000)
            self.syncs()
        self._until_quiet()

    def _until_quiet(self) -> None:
        for _ in range(60):
            waiting = self.work is not None or self.outbox or self.rings or self._any_due()
            if not waiting:
                return
            self.works()
        self.breaches.append("stuck: something is due again and again")

    def _any_due(self) -> bool:
        now = self.host_now()
        return any(self._is_due(row, now) for row in self.contacts.values())

    def judge(self) -> list[str]:
        """S, L and C for every address; with what was noted on the way."""
        found = list(self.breaches)
        for address in ADDRESSES:
            found += self._judge(address)
        return found

    def _judge(self, address: int) -> list[str]:
        word, row = self.word(address), self.contacts.get(address)
        member = self.members.get(address)
        status = member.status if member is not None else Status.ABSENT
        boxes = [c.box for c in self.customers if c.address == address]
        shown = row is not None and row.refusal is not None
        facts = f"of {address}: said {word}, {status.value}, boxes {boxes}, {row and row.refusal}"
        found = []
        if address in self.unsure:
            word = None
        if word is not None and not word.yes and status is Status.SUBSCRIBED:
            found.append(f"S {facts}")
        hidden = word == self.said[address] and address in self.hidden
        if word is not None and word.yes and boxes and status not in MAILABLE:
            # A yes without a time never stands against a no of ours or of theirs.
            followed = status is Status.UNSUBSCRIBED or True not in boxes
            found_only = word.turn is None and followed
            if not (shown or hidden or found_only):
                found.append(f"L {facts}")
        for box in boxes:
            wrong = status not in MAILABLE and not shown if box else status is Status.SUBSCRIBED
            if wrong and box is not None:
                found.append(f"C {facts}")
        return found


_HOSTS_SIDE = ("wanted", "wanted_at", "version", "decided_version")
_BLANK: dict[str, Any] = {
    "wanted": None,
    "wanted_at": None,
    "version": 0,
    "acked_version": 0,
    "decided_version": 0,
    "settled_version": 0,
    "agreed": Agreed.NOTHING.value,
    "agreed_opt_at": None,
    "agreed_at": None,
    "seen_status": None,
    "seen_changed_at": None,
    "seen_opt_at": None,
    "seen_at": None,
    "subscribed_seen_at": None,
    "open_verb": None,
    "open_version": None,
    "open_at": None,
    "open_opt_at": None,
    "late": (),
    "removed_at": None,
    "asked_version": None,
    "profile": None,
    "orphan": None,
    "due_at": None,
    "look": False,
    "attempts": 0,
    "refusal": None,
    "refusal_text": None,
    "refused_at": None,
}
