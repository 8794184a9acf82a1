"""Two tenants with an account each: neither sees, tells or changes what is the other's.

They share the host, its database, the webhooks' address, the worker, the lists' names and most
addresses; both accounts are behind one address, where the key says whose it is. Random changes at the
host, a few to hundreds in a commit, random acts of people at Mailchimp with their rings, mistakes and
malice of administrators, and jobs in between; then all is worked off and everything looked at. Within a
round each tenant's customer is changed on one side only, so that it is certain who must have their way.

An operation is one change of one customer, one act at Mailchimp, one ring, one act of an administrator,
or one job. ``OPERATIONS=1000000`` and ``ISOLATION_SEED`` for more.
"""

from __future__ import annotations

import base64
import os
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_mailchimp_optin import acts, connect, jobs, state
from flask_mailchimp_optin.errors import RefusedInput
from flask_mailchimp_optin.overviews import Settings
from flask_mailchimp_optin.testing import MailchimpSandbox, run_jobs
from flask_mailchimp_optin.testing.sandbox.server import served
from tests.house import MAPPING, Clock, Customer, db, make_app

OPERATIONS = int(os.environ.get("OPERATIONS", "6000"))
SEED = int(os.environ.get("ISOLATION_SEED", "1"))
TENANTS = RED, BLUE = "red", "blue"
ADDRESSES = max(60, min(OPERATIONS // 100, 400))  # that both tenants have
AT_ONCE = 10 * ADDRESSES  # acts between two times that all is worked off
PAGES = "/integrations/mailchimp"

Pair = tuple[str, int]  # a tenant, and the number of an address


def other(tenant: str) -> str:
    return TENANTS[1 - TENANTS.index(tenant)]


def address(pair: Pair) -> str:
    return f"{pair[1]}@example.com"


class Mailchimp:
    """Both accounts behind one address; what one asks of the other's is kept in ``crossed``."""

    def __init__(self, clock: Clock) -> None:
        names = ("Newsletter", "VIP")
        self.accounts = {one: MailchimpSandbox(clock=clock, audiences=names) for one in TENANTS}
        self.lists = {one: tuple(account.audiences) for one, account in self.accounts.items()}
        self.crossed: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        word = environ.get("HTTP_AUTHORIZATION", "").partition(" ")[2]
        key = base64.b64decode(word).decode().partition(":")[2]
        owner = next(name for name, one in self.accounts.items() if one.api_key == key)
        if any(list_id in environ["PATH_INFO"] for list_id in self.lists[other(owner)]):
            self.crossed.append(f"{owner} asked for the other's {environ['PATH_INFO']}")
        return self.accounts[owner](environ, start_response)


@pytest.fixture
def world(tmp_path: Path, clock: Clock) -> Iterator[World]:
    mailchimp = Mailchimp(clock)
    with served(mailchimp, "127.0.0.1", 0, lambda: None) as url:
        app = make_app(
            tmp_path,
            f"{url}3.0/",
            clock,
            mapping=replace(MAPPING, tenant="notes"),
            tenant=lambda: app.config["TEST_TENANT"],
            MAILCHIMP_OPTIN_STOP_COUNT=10**9,
            MAILCHIMP_OPTIN_TIMEOUT_S=120.0,  # who doubts an answer has to ask people
        )
        with app.app_context():
            db.drop_all()
            db.create_all()
        try:
            yield World(app, mailchimp, clock)
        finally:
            for account in mailchimp.accounts.values():
                account.ringer.close()
            with app.app_context():
                db.session.remove()
                db.drop_all()
                for engine in db.engines.values():
                    engine.dispose()


class World:
    """The host and both accounts, random acts on them, and what must be true after these."""

    def __init__(self, app: Flask, mailchimp: Mailchimp, clock: Clock) -> None:
        self.app, self.mailchimp, self.clock = app, mailchimp, clock
        self.services = state.of(app).services
        self.random = random.Random(SEED)
        self.pairs = {(tenant, n) for tenant in TENANTS for n in range(ADDRESSES)}
        self.newest = ADDRESSES
        self.ids: dict[Pair, int] = {}
        self.word: dict[Pair, bool] = {}  # somebody's last
        # Since all was worked off: customers, and who is none.
        self.settled: set[Pair] = set()
        self.absent: set[Pair] = set()
        self.story: defaultdict[Pair, deque[str]] = defaultdict(lambda: deque(maxlen=10))
        self.rounds = 0
        self.mistakes = (
            self._others_list,
            self._others_key,
            self._thief,
            self._lists,
            self._sync,
        )
        self.done: Counter[str] = Counter()
        self.decisions_seen = self.thieves = 0
        with app.app_context():
            for tenant, account in mailchimp.accounts.items():
                account.deliver_to(app)
                account.ringer.retries_s = (0.05,)
                self.connect(tenant)
        self.work()

    def __str__(self) -> str:
        said = f"seed {SEED}: {self.done.total()} operations in {self.rounds} rounds, {dict(self.done)}"
        return f"{said}, {process_time():.0f} s of the processor"

    def connect(self, tenant: str) -> None:
        """As an administrator does who knows what is theirs."""
        connect.connect(self.services, tenant, self.mailchimp.accounts[tenant].api_key)
        master = self.mailchimp.lists[tenant][0]
        connect.save_settings(self.services, tenant, Settings(enabled=True, master_list=master))

    def list_of(self, pair: Pair) -> str:
        return self.mailchimp.lists[pair[0]][pair[1] % 5 == 0]

    def own_list(self, pair: Pair) -> str | None:
        return self.list_of(pair) if pair[1] % 5 == 0 else None

    def status(self, pair: Pair) -> str | None:
        member = self.mailchimp.accounts[pair[0]].member(self.list_of(pair), address(pair))
        return None if member is None else str(member["status"])

    def say(self, pair: Pair, word: bool | None, what: str) -> None:
        """Note what happened, and whose word counts from now on; None: the one that did."""
        self.word[pair] = self.word[pair] if word is None else word
        self.story[pair].append(f"{self.rounds}: {what} {word}")

    # A round

    def round(self) -> None:
        """Acts on both sides, in any order, until there are enough; then all is worked off."""
        hosts, theirs = self._sides()
        self.rounds += 1
        for account in self.mailchimp.accounts.values():
            account.hold_rings()
            account.repeat_rings(self.random.choice((1, 1, 3)))
        enough = self.done.total() + AT_ONCE
        while self.done.total() < enough:
            for _ in range(3):
                self.commit(self.random.sample(hosts, self.some(len(hosts))))
            self.at_mailchimp(self.random.sample(theirs, self.some(len(theirs))))
        self.forge()
        for mistake in self.random.sample(self.mistakes, 3):
            self.administrator(mistake)
            self.job()
        self.work()
        self.check()
        if self.random.random() < 0.2:  # what is unheard would be forgotten with the connection
            self.administrator(self._anew)
            self.work()
            self.check()

    def _sides(self) -> tuple[list[Pair], list[Pair]]:
        """Whom the host changes in this round, and who acts at Mailchimp: some are new."""
        self.newest += ADDRESSES // 20
        some = range(self.newest - ADDRESSES // 20, self.newest)
        self.pairs |= {(self.random.choice(TENANTS), n) for n in some}
        self.settled, self.absent = set(self.ids), self.pairs - self.ids.keys()
        every = self.random.sample(sorted(self.pairs), len(self.pairs))
        return every[::2], every[1::2]

    def some(self, most: int) -> int:
        return min(most, self.random.choice((1, 10, 100, 500)))

    def job(self) -> None:
        with self.app.app_context():
            connection = self.services.tables.connection
            with self.services.begin() as tx:
                ids = [row.id for row in tx.rows(sa.select(connection.c.id))]
            jobs.drain_connection(self.random.choice(ids))
        self.done["jobs"] += 1

    def work(self) -> None:
        for account in self.mailchimp.accounts.values():
            account.release_rings("shuffled", self.random.randrange(2**32))
            assert account.wait_for_rings(600)
            self.done["rings"] += len(account.rings)
            # What came of them is in the database; a million would be much to keep.
            for kept in (account.rings, account.requests, account.status_changes, account.mails):
                kept.clear()
        run_jobs(self.app)
        self.clock.turn(hours=5)

    # The host

    def commit(self, pairs: list[Pair]) -> None:
        """Random changes of these in one transaction: of objects, or in one statement."""
        known = [pair for pair in pairs if pair in self.settled]
        new = [pair for pair in pairs if pair in self.absent and not self.is_stranger(pair)]
        how = self.random.choice((self._objects, self._update, self._update_by_key, self._insert))
        rare = self.random.random()
        how = self._table if rare < 0.02 else self._delete if rare < 0.05 else how
        with self.app.app_context():
            self.done["changes"] += how(new if how == self._insert else known)
            db.session.commit()

    def _objects(self, pairs: list[Pair]) -> int:
        every = sa.select(Customer).where(Customer.id.in_([self.ids[pair] for pair in pairs]))
        customers = {customer.id: customer for customer in db.session.scalars(every)}
        for pair in pairs:
            customer = customers[self.ids[pair]]
            act = self.random.random()
            if act < 0.7:
                customer.wants_news = act < 0.4
                self.say(pair, act < 0.4, "box")
            elif act < 0.85:
                customer.given_name = f"{pair[0]} {self.random.random()}"
                customer.own_list = self.own_list(pair)
                self.say(pair, None, "rename")
            elif act < 0.9:  # a list that isn't theirs: they stay where they are
                customer.own_list = self.random.choice(self.mailchimp.lists[other(pair[0])])
                self.say(pair, None, "the other's list")
            elif act < 0.95:
                self._move(pair, customer)
            else:
                db.session.delete(customer)
                self._gone(pair)
        return len(pairs)

    def _move(self, pair: Pair, customer: Customer) -> None:
        """To the other tenant, if nobody there ever heard of the address."""
        new = (other(pair[0]), pair[1])
        if new in self.word or self.is_stranger(new):
            return
        customer.notes, customer.own_list = new[0], self.own_list(new)
        customer.given_name = f"{new[0]} who was {self.ids[pair]}"
        self.ids[new] = self.ids[pair]
        self.say(new, self.word[pair], "came")
        self.absent.discard(new)
        self._gone(pair)
        self.pairs.add(new)

    def _gone(self, pair: Pair) -> None:
        del self.ids[pair]
        self.settled.remove(pair)
        self.say(pair, False, "gone")

    def _update(self, pairs: list[Pair]) -> int:
        return self._update_all(sa.update(Customer), pairs)

    def _table(self, pairs: list[Pair]) -> int:
        """Past the model: everybody is looked at."""
        return self._update_all(sa.update(Customer.__table__), pairs)

    def _update_all(self, statement: sa.Update, pairs: list[Pair]) -> int:
        yes = self.random.random() < 0.5
        ids = [self.ids[pair] for pair in pairs]
        db.session.execute(statement.where(Customer.id.in_(ids)).values(wants_news=yes))
        for pair in pairs:
            self.say(pair, yes, str(statement)[:20])
        return len(pairs)

    def _update_by_key(self, pairs: list[Pair]) -> int:
        said = {pair: self.random.random() < 0.5 for pair in pairs}
        rows = [{"id": self.ids[pair], "wants_news": yes} for pair, yes in said.items()]
        if rows:
            db.session.execute(sa.update(Customer), rows)
        for pair, yes in said.items():
            self.say(pair, yes, "by key")
        return len(pairs)

    def _delete(self, pairs: list[Pair]) -> int:
        ids = [self.ids[pair] for pair in pairs]
        db.session.execute(sa.delete(Customer).where(Customer.id.in_(ids)))
        for pair in pairs:
            self._gone(pair)
        return len(pairs)

    def _insert(self, pairs: list[Pair]) -> int:
        rows = [self._row(pair, yes=self.random.random() < 0.6) for pair in pairs]
        if rows and self.random.random() < 0.5:
            db.session.execute(sa.insert(Customer), rows)
        else:
            db.session.add_all(Customer(**row) for row in rows)
        db.session.flush()
        where = Customer.mail.in_([row["mail"] for row in rows])
        made = db.session.execute(
            sa.select(Customer.notes, Customer.mail, Customer.id).where(where)
        )
        ids = {(tenant, mail): id_ for tenant, mail, id_ in made}
        for pair, row in zip(pairs, rows, strict=True):
            self.ids[pair] = ids[pair[0], row["mail"]]
            # A yes without a decision never stands against a no that was said at Mailchimp before.
            self.say(pair, row["wants_news"] and self.status(pair) != "unsubscribed", "new")
            self.absent.remove(pair)
        return len(pairs)

    def _row(self, pair: Pair, *, yes: bool) -> dict[str, Any]:
        return {
            "mail": address(pair),
            "wants_news": yes,
            "notes": pair[0],
            "given_name": f"{pair[0]} {pair[1]}",
            "own_list": self.own_list(pair),
        }

    @staticmethod
    def is_stranger(pair: Pair) -> bool:
        """Whoever is nobody's customer there, though perhaps the other's."""
        return pair[0] == RED and pair[1] % 11 == 0

    # Mailchimp

    def at_mailchimp(self, pairs: list[Pair]) -> None:
        """People sign up, unsubscribe, confirm and correct their names."""
        for pair in pairs:
            if pair in self.settled or self.is_stranger(pair):
                self._person(pair, self.random.random())

    def _person(self, pair: Pair, act: float) -> None:
        account, where = self.mailchimp.accounts[pair[0]], (self.list_of(pair), address(pair))
        status = self.status(pair)
        if status == "pending" and act < 0.5:
            account.confirm(*where)
            self.say(pair, True, "confirm")
        elif status in ("subscribed", "pending") and act < 0.8:
            account.unsubscribe(*where)
            self.say(pair, False, "unsubscribe")
        elif status in ("subscribed", "pending"):
            account.edit_profile(*where, FNAME=f"{pair[0]} {act}")
        else:
            account.subscribe(*where, FNAME=f"{pair[0]} {act}")
            self.say(pair, True, "subscribe")
        self.done["acts at Mailchimp"] += 1

    def forge(self) -> None:
        """What was said of one tenant's list is rung with the other's address and secret."""
        for tenant, account in self.mailchimp.accounts.items():
            mine, theirs = self.mailchimp.lists[tenant], self.mailchimp.lists[other(tenant)]
            hook = next(iter(account._account.audience(mine[0]).webhooks.values()))
            for n in range(3):
                said = {
                    "type": self.random.choice(("subscribe", "unsubscribe", "upemail", "cleaned")),
                    "fired_at": f"{self.clock():%Y-%m-%d %H:%M:%S}",
                    "data[list_id]": theirs[0] if n < 2 else mine[0],
                    "data[email]": address((tenant, self.random.randrange(ADDRESSES))),
                    "data[old_email]": address((tenant, self.random.randrange(ADDRESSES))),
                    "data[new_email]": address((tenant, self.random.randrange(ADDRESSES))),
                }
                account.ringer.put(hook, said["type"], urlencode(said).encode())

    # Administrators

    def administrator(self, act: Callable[[str], None]) -> None:
        """One act of one tenant's administrator; the other's connection stays to the letter."""
        tenant = self.random.choice(TENANTS)
        with self.app.app_context():
            before = self._everything_of(other(tenant))
            act(tenant)
            self.story[tenant, -1].append(f"{self.rounds}: {act.__name__}")
            db.session.commit()
            assert self._everything_of(other(tenant)) == before, act
        self.done["acts of administrators"] += 1

    def _everything_of(self, tenant: str) -> tuple[Any, ...]:
        """The connection, its lists, what is known of contacts, and Mailchimp's side."""
        tables, account = self.services.tables, self.mailchimp.accounts[tenant]
        table = tables.connection
        with self.services.begin() as tx:
            connection = tx.row(sa.select(table).where(table.c.tenant == tenant))
            assert connection is not None
            theirs = [
                tx.rows(
                    sa.select(one).where(one.c.connection_id == connection.id).order_by(one.c.id)
                )
                for one in (tables.audience, tables.contact, tables.customer, tables.sync_run)
            ]
        lists = self.mailchimp.lists[tenant]
        return connection, theirs, [account.webhooks(one) for one in lists]

    def _others_list(self, tenant: str) -> None:
        for list_id in self.mailchimp.lists[other(tenant)]:
            settings = Settings(enabled=True, master_list=list_id)
            with pytest.raises(RefusedInput):
                connect.save_settings(self.services, tenant, settings)

    def _others_key(self, tenant: str) -> None:
        """Entered by mistake, noticed at once."""
        connect.connect(self.services, tenant, self.mailchimp.accounts[other(tenant)].api_key)
        self.connect(tenant)

    def _anew(self, tenant: str) -> None:
        """Where somebody was whose list isn't theirs is forgotten with the connection."""
        theirs = Customer.own_list.in_(self.mailchimp.lists[other(tenant)])
        where = (Customer.notes == tenant, theirs, Customer.mail.not_like("thief%"))
        for customer in db.session.scalars(sa.select(Customer).where(*where)):
            customer.own_list = self.own_list((tenant, int(str(customer.mail).partition("@")[0])))
        db.session.commit()
        connect.disconnect(self.services, tenant)
        self.connect(tenant)

    def _thief(self, tenant: str) -> None:
        """Customers who name the other's lists as their own."""
        for list_id in self.mailchimp.lists[other(tenant)]:
            mail = f"thief-of-{tenant}-{self.thieves}@example.com"
            db.session.add(Customer(mail=mail, wants_news=True, notes=tenant, own_list=list_id))
            self.thieves += 1

    def _lists(self, tenant: str) -> None:
        connect.refresh(self.services, tenant)
        connect.store_lists(self.services, tenant)
        acts.repair_webhooks(self.services, tenant, anew=True)

    def _sync(self, tenant: str) -> None:
        acts.start_sync(self.services, tenant)

    # What must be true

    def check(self) -> None:
        assert self.mailchimp.crossed == []
        with self.app.app_context():
            boxes = dict(db.session.execute(sa.select(Customer.id, Customer.wants_news)).all())
        members = {tenant: self._members(tenant) for tenant in TENANTS}
        for pair, word in self.word.items():
            told = f"{pair}: {', '.join([*self.story[pair], *self.story[pair[0], -1]])}"
            status, list_id = members[pair[0]].pop(address(pair), (None, None))
            assert status in (("subscribed", "pending") if word else (None, "unsubscribed")), told
            assert list_id in (None, self.list_of(pair)), told
            if pair in self.ids:
                assert bool(boxes[self.ids[pair]]) is word, told
        assert members == {RED: {}, BLUE: {}}, "who was never heard of there"
        self._check_records()
        self._check_pages()

    def _members(self, tenant: str) -> dict[str, tuple[str, str]]:
        """Status and list by address; the names that went along are the tenant's own."""
        found = {}
        for list_id in self.mailchimp.lists[tenant]:
            for mail, member in self.mailchimp.accounts[tenant].members(list_id).items():
                assert member["merge_fields"]["FNAME"].startswith(tenant), (tenant, member)
                assert mail not in found, "in both lists"
                found[mail] = member["status"], list_id
        return found

    def _check_records(self) -> None:
        """Each row of ours belongs to the tenant of the connection, list or customer that it names."""
        tables = self.services.tables
        lists, connection = tables.audience, tables.connection
        customer, contact, decision = tables.customer, tables.contact, tables.decision
        host = Customer.__table__
        with self.app.app_context(), self.services.begin() as tx:
            for table in (customer, contact):
                named = sa.select(table.c.id).join(lists, lists.c.id == table.c.audience_id)
                assert not tx.rows(named.where(lists.c.connection_id != table.c.connection_id))
            seen = sa.select(customer.c.id).join(
                connection, connection.c.id == customer.c.connection_id
            )
            theirs = sa.cast(customer.c.customer_key, sa.Integer) == host.c.id
            assert not tx.rows(seen.join(host, theirs).where(connection.c.tenant != host.c.notes))
            said = tx.rows(sa.select(decision).where(decision.c.id > self.decisions_seen))
        for row in said:
            n = row.address.partition("@")[0]
            assert f"thief-of-{row.tenant}" in n or (row.tenant, int(n)) in self.word, row
        self.decisions_seen = max((row.id for row in said), default=self.decisions_seen)

    def _check_pages(self) -> None:
        for tenant in TENANTS:
            self.app.config["TEST_TENANT"] = tenant
            shown = self.app.test_client().get(f"{PAGES}/activity")
            assert shown.status_code == 200
            assert f"thief-of-{other(tenant)}" not in shown.text


@pytest.mark.timeout(120 + OPERATIONS // 50)
def test_two_tenants_never_meet(world: World) -> None:
    while world.done.total() < OPERATIONS:
        world.round()
        if world.rounds % 10 == 0:
            print(world, flush=True)
    print(world)
