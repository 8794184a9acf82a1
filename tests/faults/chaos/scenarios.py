"""What happens to the house while processes die: the people who live there, and one act each.

Used by the kill sweep. An act is what one process of the host does in one transaction, or what a
person does at Mailchimp, for whose ring a web process is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from flask_mailchimp_optin import drain, jobs, waiting
from tests.house import Customer, Host, db

Act = Callable[[Host], object]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One story.

    :param before: makes the house as it is when the story begins.
    :param act: what happens; then a worker works it off.
    :param web: the act happens at Mailchimp, and rings at a web process.
    :param afterwards: what happens once all has been started again and swept a first time.
    :param meanwhile: what the host does while the worker's n-th request is answered.
    :param actors: whose system calls are points: ``host``, ``worker`` (RQ's forked child) and
        ``parent`` (the worker that forks it). In points ``machine`` is both: child, then parent.
    """

    name: str
    act: Act
    before: Act
    web: bool = False
    afterwards: Act | None = None
    meanwhile: tuple[int, Act] | None = None
    actors: tuple[str, ...] = ("host", "worker")


# The house


def _town(host: Host, **settings: Any) -> None:
    """Ada and a flat of two said yes; Bob said yes, then no; Cleo was never asked."""
    host.connect(**settings)
    host.add("ada@example.com", given_name="Ada", wants_news=True)
    host.add("bob@example.com", given_name="Bob", wants_news=True)
    host.add("cleo@example.com", given_name="Cleo")
    host.add("flat@example.com", given_name="Dan", wants_news=True)
    host.add("Flat@example.com", given_name="Dora", wants_news=True)
    host.work()
    host.clock.turn(minutes=10)
    _change("bob@example.com", wants_news=False)(host)
    host.work()
    host.clock.turn(minutes=10)


def _town_with(**settings: Any) -> Act:
    return lambda host: _town(host, **settings)


def _double_optin(host: Host) -> None:
    host.sandbox.set_double_optin(next(iter(host.sandbox.audiences)), True)
    host.connect()
    host.add("ada@example.com", given_name="Ada", wants_news=False)
    host.work()
    host.clock.turn(minutes=10)


def _crowd(host: Host) -> None:
    """So many that their rings are answered with one paged reading."""
    host.connect()
    with host.app.app_context():
        db.session.add_all(Customer(mail=a, wants_news=True) for a in _CROWD)
        db.session.commit()
    host.work()
    host.clock.turn(minutes=10)


_CROWD = [f"c{n:02}@example.com" for n in range(21)]


def _not_enabled(host: Host, *, eve: bool | None = None) -> None:
    """Both sides know people; they have never been compared."""
    list_id = next(iter(host.sandbox.audiences))
    host.sandbox.subscribe(list_id, "eve@example.com")
    host.sandbox.subscribe(list_id, "fay@example.com")
    host.sandbox.unsubscribe(list_id, "fay@example.com")
    host.clock.turn(minutes=10)
    host.connect(enabled=False)
    host.add("ada@example.com", given_name="Ada", wants_news=True)
    host.add("eve@example.com", wants_news=eve)
    host.add("fay@example.com", wants_news=True)
    host.work()


def _nobody_there(host: Host) -> None:
    """Customers from before the extension was there, and a list without anybody."""
    host.connect(enabled=False)
    boxes = {"ada@example.com": True, "bob@example.com": False, "dan@example.com": True}
    with host.app.app_context(), db.engine.begin() as connection:
        found = [
            {"mail": mail, "given_name": "N", "wants_news": yes} for mail, yes in boxes.items()
        ]
        connection.execute(sa.insert(Customer.__table__), found)


def _on_both_sides(host: Host) -> None:
    """The same, but nobody's word is known at Mailchimp alone: it would stay behind in its list."""
    _not_enabled(host, eve=True)


def _half_synced(host: Host) -> None:
    """An initial sync is in the middle of its work, and its worker is gone."""
    _on_both_sides(host)
    host.settings(enabled=True)
    with host.app.app_context():
        for _ in range(3):
            (connection_id,) = waiting.connections_with_work(host.services)
            drain.drain(host.services, connection_id, jobs.owner(), budget_s=0.0)


def _left_unheard(host: Host) -> None:
    """Ada left at Mailchimp, and its ring was lost."""
    _town(host)
    host.sandbox.drop_rings(1)
    host.sandbox.unsubscribe(host.list_id, "ada@example.com")
    host.clock.turn(minutes=1)


def _both_moved(host: Host) -> None:
    """The same, and so did their box."""
    _left_unheard(host)
    _change("ada@example.com", wants_news=False)(host)


# The acts


def _add(**values: Any) -> Act:
    def act(host: Host) -> None:
        with host.app.app_context():
            db.session.add(Customer(**values))
            db.session.commit()

    return act


def _one(mail: str) -> Customer:
    # Written exactly so: for some databases "Flat@" and "flat@" are the same.
    found = db.session.scalars(sa.select(Customer).where(Customer.mail == mail))
    return next(customer for customer in found if customer.mail == mail)


def _change(mail: str, /, **values: Any) -> Act:
    def act(host: Host) -> None:
        with host.app.app_context():
            customer = _one(mail)
            for name, value in values.items():
                setattr(customer, name, value)
            db.session.commit()

    return act


def _delete(mail: str) -> Act:
    def act(host: Host) -> None:
        with host.app.app_context():
            db.session.delete(_one(mail))
            db.session.commit()

    return act


def _all_say(value: bool) -> Act:
    def act(host: Host) -> None:
        with host.app.app_context():
            db.session.execute(sa.update(Customer).values(wants_news=value))
            db.session.commit()

    return act


def _leave(*mails: str) -> Act:
    def act(host: Host) -> None:
        for mail in mails:
            host.sandbox.unsubscribe(host.list_id, mail)

    return act


def _sign_up(mail: str) -> Act:
    return lambda host: host.sandbox.subscribe(host.list_id, mail)


def _other_list(host: Host) -> None:
    host.settings(master_list=list(host.sandbox.audiences)[1])


def _own_list(host: Host) -> None:
    _change("ada@example.com", own_list=list(host.sandbox.audiences)[1])(host)


def _enable(host: Host) -> None:
    host.settings(enabled=True)


ADA = "ada@example.com"

SCENARIOS = [
    Scenario(
        name="first save",
        before=_town,
        act=_add(mail="new@example.com", given_name="New", wants_news=True),
        actors=("host", "worker", "parent"),
    ),
    Scenario(name="edit", before=_town, act=_change(ADA, given_name="Adele")),
    Scenario(name="opt-out", before=_town, act=_change(ADA, wants_news=False)),
    Scenario(name="opt-in again", before=_town, act=_change("bob@example.com", wants_news=True)),
    Scenario(
        name="out, and in again",
        before=_town,
        act=_change(ADA, wants_news=False),
        afterwards=_change(ADA, wants_news=True),
        actors=("worker",),
    ),
    Scenario(
        name="in, and out again",
        before=_town,
        act=_change("bob@example.com", wants_news=True),
        afterwards=_change("bob@example.com", wants_news=False),
        actors=("worker",),
    ),
    Scenario(
        name="opt-in, always ask",
        before=_town_with(always_confirm=True),
        act=_change("bob@example.com", wants_news=True),
    ),
    Scenario(name="double opt-in", before=_double_optin, act=_change(ADA, wants_news=True)),
    Scenario(name="address change", before=_town, act=_change(ADA, mail="ada@example.org")),
    Scenario(name="delete", before=_town, act=_delete(ADA)),
    Scenario(name="delete for good", before=_town_with(on_delete="delete"), act=_delete(ADA)),
    Scenario(name="bulk update", before=_town, act=_all_say(False)),
    Scenario(name="ring: left", before=_town, act=_leave(ADA), web=True),
    Scenario(name="ring: joined", before=_town, act=_sign_up("cleo@example.com"), web=True),
    Scenario(
        name="burst of rings", before=_crowd, act=_leave(*_CROWD), web=True, actors=("worker",)
    ),
    Scenario(name="initial sync", before=_not_enabled, act=_enable),
    Scenario(name="first sync", before=_nobody_there, act=_enable),
    Scenario(name="other list mid-sync", before=_half_synced, act=_other_list),
    Scenario(
        name="other list while sending",
        before=_on_both_sides,
        act=_enable,
        meanwhile=(4, _other_list),
        actors=("worker",),
    ),
    Scenario(
        name="shared address", before=_town, act=_change("Flat@example.com", wants_news=False)
    ),
    Scenario(name="own list", before=_town, act=_own_list),
    # Once more: who dies before the commit has changed nothing, and nobody hears of her.
    Scenario(name="own list, unheard", before=_left_unheard, act=_own_list, afterwards=_own_list),
    Scenario(
        name="other list, unheard", before=_left_unheard, act=_other_list, afterwards=_other_list
    ),
    Scenario(name="both changed", before=_both_moved, act=_change(ADA, wants_news=True)),
]

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
