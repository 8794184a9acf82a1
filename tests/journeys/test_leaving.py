"""Customers who get another list: what they said in the one before goes along with them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa

from flask_mailchimp_optin import acts
from tests.house import Customer, Host, db

ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture
def other(connected: Host) -> str:
    """A second list, which nobody is in yet."""
    return connected.another_list("Other")


def subscribed(host: Host, address: str = ADA) -> int:
    """A customer who is subscribed in the master list."""
    key = host.add(address, wants_news=True)
    host.work()
    assert host.status(address) == "subscribed"
    return key


def leaves_unheard(host: Host, address: str = ADA) -> None:
    """A person unsubscribes from the first list, and the ring is lost."""
    host.sandbox.drop_rings(1)
    host.sandbox.unsubscribe(host.list_id, address)


def test_a_no_that_nobody_heard_goes_along_to_another_master_list(
    connected: Host, other: str
) -> None:
    ada, bob = subscribed(connected), subscribed(connected, BOB)
    leaves_unheard(connected)
    connected.settings(master_list=other)
    connected.work()
    assert connected.box(ada) is False
    assert connected.status(ADA, other) is None
    assert connected.history(ada)[0].source == "mailchimp"
    assert (connected.box(bob), connected.status(BOB, other)) == (True, "subscribed")
    assert connected.status(BOB) == "subscribed"  # and stays in the old one, until a no


def test_a_page_that_is_not_whole_is_heard_as_far_as_it_goes(connected: Host, other: str) -> None:
    ada, bob = subscribed(connected), subscribed(connected, BOB)
    leaves_unheard(connected)
    leaves_unheard(connected, BOB)

    def spoil(answer: Any) -> Any:
        rows = [dict(row) for row in answer["members"]]
        next(row for row in rows if row["email_address"] == BOB)["status"] = None
        return {**answer, "members": rows}

    page = re.compile(f"^GET /3.0/lists/{connected.list_id}/members\\?(?!.*archived)")
    connected.sandbox.rewrite_next(spoil, path=page)
    connected.settings(master_list=other)
    connected.work()
    connected.clock.turn(minutes=5)
    connected.work()
    assert (connected.box(ada), connected.status(ADA, other)) == (False, None)
    assert (connected.box(bob), connected.status(BOB, other)) == (False, None)


def test_nobody_moves_to_another_master_list_before_the_old_one_was_read(
    connected: Host, other: str
) -> None:
    ada = subscribed(connected)
    leaves_unheard(connected)
    old = re.compile(f"^GET .*/lists/{connected.list_id}/members")
    connected.sandbox.fail_next(500, times=1000, path=old)
    connected.settings(master_list=other)
    for _ in range(3):
        connected.work()
        connected.clock.turn(minutes=10)
    connected.change(ada, given_name="Ada")
    connected.work()
    assert connected.status(ADA, other) is None
    connected.sandbox.stop_failing()
    connected.clock.turn(minutes=10)
    connected.work()
    assert connected.box(ada) is False
    assert connected.status(ADA, other) is None


def test_a_cancelled_sync_leaves_everybody_in_the_old_list_until_the_next(
    connected: Host, other: str
) -> None:
    ada, bob = subscribed(connected), subscribed(connected, BOB)
    leaves_unheard(connected)
    connected.settings(master_list=other)
    with connected.app.app_context():
        acts.cancel_sync(connected.services, "")
    connected.change(bob, given_name="Bob")
    connected.work()
    assert connected.status(BOB, other) is None
    connected.clock.turn(days=1)
    connected.work()
    assert (connected.box(ada), connected.status(ADA, other)) == (False, None)
    assert (connected.box(bob), connected.status(BOB, other)) == (True, "subscribed")


def test_whoever_was_never_told_to_the_old_list_does_not_get_there(
    connected: Host, other: str
) -> None:
    connected.settings(enabled=False)
    bob = connected.add(BOB, wants_news=True)
    connected.work()
    connected.settings(master_list=other)
    late = connected.add("late@example.com", wants_news=True)
    connected.work()
    connected.settings(enabled=True)
    connected.work()
    connected.clock.turn(hours=1)
    connected.work()
    assert (connected.status(BOB, other), connected.state(bob)) == ("subscribed", "subscribed")
    assert connected.status("late@example.com", other) == "subscribed"
    assert connected.state(late) == "subscribed"
    assert connected.status(BOB) is None
    assert connected.status("late@example.com") is None


@pytest.mark.parametrize(
    "seen", ["nobody has looked", "looked at", "rung for", "paused", "unheard"]
)
def test_who_signed_up_in_the_old_list_themselves_leaves_it_with_a_later_no(
    connected: Host, other: str, seen: str
) -> None:
    connected.settings(enabled=seen == "nobody has looked")
    ada = connected.add(ADA, wants_news=True)
    if seen != "nobody has looked":
        connected.work()
    connected.sandbox.drop_rings(seen == "unheard")
    connected.sandbox.subscribe(connected.list_id, ADA)
    if seen == "rung for":
        connected.work()
    if seen == "looked at":
        connected.settings(enabled=True)
        connected.work()
    connected.settings(master_list=other)
    connected.settings(enabled=True)
    connected.work()
    assert (connected.box(ada), connected.status(ADA, other)) == (True, "subscribed")
    connected.clock.turn(hours=1)
    connected.change(ada, wants_news=False)
    connected.work()
    assert connected.status(ADA, other) == "unsubscribed"
    assert connected.status(ADA) == "unsubscribed"


def test_the_master_list_that_was_chosen_by_mistake_has_nothing_to_say(
    connected: Host, other: str
) -> None:
    ada = subscribed(connected)
    connected.sandbox.add_members(other, [ADA], status="unsubscribed")
    connected.settings(master_list=other)
    connected.settings(master_list=connected.list_id)
    connected.work()
    assert (connected.box(ada), connected.status(ADA)) == (True, "subscribed")


@pytest.mark.parametrize("number", [1, 30], ids=["one", "more than are read one by one"])
def test_a_no_that_nobody_heard_goes_along_to_their_own_list(
    connected: Host, other: str, number: int
) -> None:
    addresses = [f"c{n}@example.com" for n in range(number)]
    keys = [connected.add(address, wants_news=True) for address in addresses]
    ada = subscribed(connected)
    leaves_unheard(connected)
    for key in (ada, *keys):
        connected.change(key, own_list=other)
    connected.work()
    assert (connected.box(ada), connected.status(ADA, other)) == (False, None)
    assert {connected.box(key) for key in keys} == {True}
    assert {connected.status(address, other) for address in addresses} == {"subscribed"}
    assert {connected.status(address) for address in addresses} == {"unsubscribed"}


def test_their_own_list_may_change_again_before_the_first_was_read(
    connected: Host, other: str
) -> None:
    third = connected.another_list("Third")
    ada = subscribed(connected)
    leaves_unheard(connected)
    connected.sandbox.fail_next(500, times=1000, path=re.compile(r"^GET .*/members/"))
    connected.change(ada, own_list=other)
    connected.work()
    connected.change(ada, own_list=third)
    connected.work()
    assert (connected.box(ada), connected.status(ADA, third)) == (True, None)
    connected.sandbox.stop_failing()
    connected.clock.turn(minutes=30)
    connected.work()
    assert connected.box(ada) is False
    assert connected.status(ADA, other) is None
    assert connected.status(ADA, third) is None


def test_a_no_there_after_a_list_was_given_back_goes_along_the_second_time(
    connected: Host, other: str
) -> None:
    ada = subscribed(connected)
    connected.sandbox.fail_next(500, times=1000, path=re.compile(r"^GET .*/members/"))
    connected.change(ada, own_list=other)
    connected.work()
    connected.change(ada, own_list=None)
    connected.work()
    connected.sandbox.stop_failing()
    connected.clock.turn(minutes=30)
    connected.work()
    leaves_unheard(connected)
    connected.change(ada, own_list=other)
    connected.work()
    assert (connected.box(ada), connected.status(ADA, other)) == (False, None)


def test_who_decides_anew_with_another_list_is_not_held_to_what_they_said_before(
    connected: Host, other: str
) -> None:
    ada = subscribed(connected)
    leaves_unheard(connected)
    connected.clock.turn(minutes=5)
    connected.change(ada, wants_news=False)
    connected.change(ada, wants_news=True, own_list=other)
    connected.work()
    assert (connected.box(ada), connected.status(ADA, other)) == (True, "subscribed")
    assert connected.status(ADA) == "unsubscribed"


def test_who_is_gone_from_the_old_list_is_not_kept_there(connected: Host, other: str) -> None:
    ada = subscribed(connected)
    connected.sandbox.drop_rings(1)
    connected.sandbox.delete_permanently(connected.list_id, ADA)
    connected.change(ada, own_list=other)
    connected.work()
    connected.clock.turn(minutes=5)
    connected.work()
    assert (connected.box(ada), connected.status(ADA, other)) == (True, "subscribed")


def test_a_list_that_is_deleted_at_mailchimp_keeps_nobody(connected: Host, other: str) -> None:
    ada = subscribed(connected)
    connected.sandbox.delete_audience(connected.list_id)
    connected.settings(master_list=other)
    connected.work()
    connected.clock.turn(minutes=30)
    connected.work()
    assert (connected.box(ada), connected.status(ADA, other)) == (True, "subscribed")


def test_a_no_said_in_a_list_where_nobody_saw_them_stays_with_the_address(
    connected: Host, other: str
) -> None:
    ada = connected.add(ADA, wants_news=True, own_list=other)
    connected.work()
    connected.sandbox.subscribe(connected.list_id, ADA)
    connected.work()
    connected.change(ada, own_list=None)
    connected.change(ada, wants_news=False)
    connected.change(ada, mail=BOB)
    connected.work()
    assert connected.status(ADA) == "unsubscribed"
    assert connected.status(ADA, other) == "unsubscribed"
    assert connected.status(BOB) is None


def test_who_leaves_a_list_is_not_held_to_what_others_of_the_address_say_there_later(
    connected: Host, other: str
) -> None:
    stays, leaves = subscribed(connected), subscribed(connected)
    connected.change(leaves, own_list=other)
    connected.change(stays, wants_news=False)
    connected.work()
    assert (connected.box(leaves), connected.status(ADA, other)) == (True, "subscribed")
    assert connected.box(stays) is False
    assert connected.status(ADA) == "unsubscribed"


@pytest.mark.parametrize("goes", ["another list", "deleted"])
def test_who_leaves_with_an_address_that_nobody_was_told_of_leaves_the_one_before(
    connected: Host, other: str, goes: str
) -> None:
    ada = subscribed(connected)
    connected.settings(enabled=False)
    connected.change(ada, mail=BOB)
    connected.work()
    if goes == "deleted":
        connected.delete(ada)
    else:
        connected.change(ada, own_list=other)
    connected.work()
    connected.settings(enabled=True)
    connected.work()
    assert connected.status(ADA) == "unsubscribed"
    assert connected.status(BOB) is None
    assert connected.status(BOB, other) == (None if goes == "deleted" else "subscribed")


@pytest.mark.parametrize("how", ["one by one", "a bulk write"])
def test_a_no_stays_with_the_list_that_it_was_said_in_though_nobody_saw_them_there(
    connected: Host, other: str, how: str
) -> None:
    connected.sandbox.subscribe(other, ADA)
    connected.work()
    ada = connected.add(ADA, own_list=other, wants_news=True)
    if how == "a bulk write":
        with connected.app.app_context():
            db.session.execute(sa.update(Customer).values(wants_news=False))
            db.session.commit()
    else:
        connected.change(ada, wants_news=False)
    connected.change(ada, own_list=None)
    connected.work()
    assert connected.status(ADA, other) == "unsubscribed"
    assert connected.status(ADA) is None


@pytest.mark.parametrize("odd", ["nosuchlist", "x" * 40, "Liste für alle", "👍"])
def test_a_no_with_an_impossible_list_of_their_own_is_a_no(connected: Host, odd: str) -> None:
    ada = subscribed(connected)
    connected.change(ada, own_list=odd, wants_news=False)
    connected.work()
    assert connected.status(ADA) == "unsubscribed"
    assert connected.history(ada)[0].value is False
