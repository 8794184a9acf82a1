"""Two tenants with an account each: neither sees, tells or changes what is the other's.

Random acts of hosts and of people at Mailchimp, many at a time, on addresses that both have. Both
accounts are behind one address, where the key says whose it is; a key that asks for the other's list is
noted. ``OPERATIONS=1000000`` and ``ISOLATION_SEED`` for more.
"""

from __future__ import annotations

import base64
import os
import random
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.serving import make_server

from flask_mailchimp_optin import connect
from flask_mailchimp_optin.mapping import CustomerMapping
from flask_mailchimp_optin.overviews import Settings
from flask_mailchimp_optin.testing import MailchimpSandbox, run_jobs
from tests.house import Clock, Customer, db, make_app

OPERATIONS = int(os.environ.get("OPERATIONS", "1500"))
SEED = int(os.environ.get("ISOLATION_SEED", "1"))
TENANTS = ("red", "blue")
AT_ONCE = max(60, min(OPERATIONS // 50, 3000))  # acts between two times that all is worked off
ADDRESSES = 6 * AT_ONCE
MAPPING = CustomerMapping(
    email="mail", opt_in="wants_news", merge_fields={"FNAME": "given_name"}, tenant="notes"
)


class Mailchimp:
    """Both accounts behind one address; what one asks of the other's is kept in ``crossed``."""

    def __init__(self, clock: Clock) -> None:
        self.accounts = {name: MailchimpSandbox(clock=clock) for name in TENANTS}
        self.lists = {name: next(iter(one.audiences)) for name, one in self.accounts.items()}
        self.crossed: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        word = environ.get("HTTP_AUTHORIZATION", "").partition(" ")[2]
        key = base64.b64decode(word).decode().partition(":")[2]
        owner = next((n for n, one in self.accounts.items() if one.api_key == key), None)
        if owner is None:
            self.crossed.append("a key of nobody's")
            owner = TENANTS[0]
        for other in TENANTS:
            if other != owner and self.lists[other] in environ["PATH_INFO"]:
                self.crossed.append(f"{owner} asked for {other}'s list")
        return self.accounts[owner](environ, start_response)


@pytest.fixture
def mailchimp(clock: Clock) -> Mailchimp:
    return Mailchimp(clock)


@pytest.fixture
def house(tmp_path: Path, mailchimp: Mailchimp, clock: Clock) -> Iterator[House]:
    server = make_server("127.0.0.1", 0, mailchimp, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    with ExitStack() as stack:
        stack.callback(server.server_close)
        stack.callback(thread.join, 5)
        stack.callback(server.shutdown)
        url = f"http://127.0.0.1:{server.server_port}/3.0/"
        few = {"MAILCHIMP_OPTIN_STOP_COUNT": 10**9}
        app = make_app(tmp_path, url, clock, mapping=MAPPING, tenant=lambda: TENANTS[0], **few)
        with app.app_context():
            db.drop_all()
            db.create_all()
        stack.callback(_leave, app)
        made = House(app, mailchimp, clock)
        made.connect()
        yield made


def _leave(app: Any) -> None:
    with app.app_context():
        db.session.remove()
        db.drop_all()
        for engine in db.engines.values():
            engine.dispose()


class House:
    """The host, random acts on both sides, and what must be true after them."""

    def __init__(self, app: Any, mailchimp: Mailchimp, clock: Clock) -> None:
        self.app, self.mailchimp, self.clock = app, mailchimp, clock
        self.random = random.Random(SEED)
        self.ids: dict[tuple[str, str], int] = {}
        self.word: dict[tuple[str, str], bool] = {}  # somebody's last, by tenant and address
        self.done = 0

    def connect(self) -> None:
        with self.app.app_context():
            services = self.app.extensions["mailchimp_optin"].services
            for tenant, account in self.mailchimp.accounts.items():
                account.deliver_to(self.app)
                connect.connect(services, tenant, account.api_key)
                list_id = self.mailchimp.lists[tenant]
                connect.save_settings(services, tenant, Settings(enabled=True, master_list=list_id))
        self.work()

    def work(self) -> None:
        run_jobs(self.app)
        for account in self.mailchimp.accounts.values():
            account.wait_for_rings(60)
        run_jobs(self.app)
        self.clock.turn(minutes=10)

    def some(self) -> list[tuple[str, str]]:
        every = [(tenant, f"c{n}@example.com") for tenant in TENANTS for n in range(ADDRESSES)]
        return self.random.sample(every, AT_ONCE)

    def at_the_host(self) -> None:
        """New customers, ticks and unticks, details, deletions, and moves to the other tenant."""
        with self.app.app_context():
            for pair in self.some():
                self._one_at_the_host(pair)
                self.done += 1
            db.session.commit()

    def _one_at_the_host(self, pair: tuple[str, str]) -> None:
        tenant, address = pair
        act = self.random.choice(("tick", "untick", "rename", "tick", "untick", "delete", "move"))
        if pair not in self.ids:
            customer = Customer(
                mail=address, wants_news=act == "tick", notes=tenant, given_name="A"
            )
            db.session.add(customer)
            db.session.flush()
            self.ids[pair] = customer.id
            self.word[pair] = self.word.get(pair, False) or act == "tick"
            # A yes without a decision never stands against a no that was said at Mailchimp before.
            if act == "tick" and self.was_no(pair):
                self.word[pair] = False
            return
        customer = db.session.get_one(Customer, self.ids[pair])
        if act in ("tick", "untick"):
            changed = customer.wants_news is not (act == "tick")
            customer.wants_news = act == "tick"
            self.word[pair] = (act == "tick") if changed else self.word[pair]
        elif act == "rename":
            customer.given_name = f"A{self.done}"
        elif act == "move":
            self._move(pair, customer)
        elif act == "delete":
            db.session.delete(customer)
            del self.ids[pair]
            self.word[pair] = False

    def _move(self, pair: tuple[str, str], customer: Customer) -> None:
        """To the other tenant, if nobody there ever heard of the address."""
        other = TENANTS[1 - TENANTS.index(pair[0])], pair[1]
        if other in self.word or self.member(other) is not None:
            return
        customer.notes = other[0]
        self.ids[other] = self.ids.pop(pair)
        self.word[other], self.word[pair] = bool(customer.wants_news), False

    def was_no(self, pair: tuple[str, str]) -> bool:
        member = self.member(pair)
        return member is not None and member["status"] == "unsubscribed"

    def member(self, pair: tuple[str, str]) -> dict[str, Any] | None:
        account, list_id = self.mailchimp.accounts[pair[0]], self.mailchimp.lists[pair[0]]
        return account.member(list_id, pair[1])

    def at_mailchimp(self) -> None:
        """People unsubscribe, confirm and sign up, each in one of the two lists."""
        for pair in self.some():
            account, list_id = self.mailchimp.accounts[pair[0]], self.mailchimp.lists[pair[0]]
            member, self.done = self.member(pair), self.done + 1
            status = None if member is None else member["status"]
            if status == "subscribed":
                account.unsubscribe(list_id, pair[1])
                self.word[pair] = False
            elif status == "pending":
                account.confirm(list_id, pair[1])
                self.word[pair] = True
            elif pair in self.ids:
                account.subscribe(list_id, pair[1])
                self.word[pair] = True

    def check(self) -> None:
        assert self.mailchimp.crossed == []
        with self.app.app_context():
            rows = db.session.execute(sa.select(Customer.id, Customer.wants_news)).all()
        boxes = {row.id: row.wants_news for row in rows}
        for pair, word in self.word.items():
            member = self.member(pair)
            status = None if member is None else member["status"]
            wanted = ("subscribed", "pending") if word else (None, "unsubscribed")
            assert status in wanted, (pair, word, status)
            if pair in self.ids:
                assert boxes[self.ids[pair]] in ((True,) if word else (False, None)), (pair, word)


def test_two_tenants_never_meet(house: House) -> None:
    while house.done < OPERATIONS:
        house.at_the_host()
        house.work()
        house.check()
        house.at_mailchimp()
        house.work()
        house.check()
    print(f"{house.done} acts")
