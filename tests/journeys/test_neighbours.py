"""What happens to one customer, or in one list, leaves everybody else as they are."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from tests.house import Customer, Host, db

ADA = "ada@example.com"


def _in_two_lists(host: Host) -> tuple[int, str, str]:
    """A customer whom another master list left in the first one; both lists."""
    first, second = host.list_id, host.another_list("Second")
    ada = host.add(ADA, wants_news=True)
    host.work()
    host.settings(master_list=second)
    host.work()
    return ada, first, second


def test_who_goes_is_forgotten_and_nobody_else(connected: Host) -> None:
    connected.settings(on_delete="leave")
    ada = connected.add(ADA, wants_news=True)
    bob = connected.add("bob@example.com", wants_news=True)
    connected.work()
    connected.delete(bob)
    connected.work()
    assert [row.address for row in connected.rows("contact")] == [ADA]
    # What both sides agreed on about Ada is still known: her no needs no clock.
    connected.change(ada, wants_news=False)
    connected.work()
    assert connected.status(ADA) == "unsubscribed"


def test_who_goes_before_they_were_sent_takes_nobody_with_them(connected: Host) -> None:
    connected.sandbox.fail_next(429, path="POST /3.0/lists")
    ada = connected.add(ADA, wants_news=True)
    bob = connected.add("bob@example.com", wants_news=True)
    connected.work()  # Mailchimp wants to be left alone: both wait
    connected.delete(bob)
    connected.clock.turn(minutes=5)
    connected.work()
    assert connected.state(ada) == "subscribed"
    assert set(connected.sandbox.members(connected.list_id)) == {ADA}


def test_a_worker_that_was_overtaken_does_not_go_on_to_archive(connected: Host) -> None:
    connected.settings(on_delete="archive")
    ada = connected.add(ADA, wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, ADA)
    connected.work()
    connected.change(ada, wants_news=True)
    connected.work()
    assert connected.status(ADA) == "pending"
    connected.delete(ada)
    others: list[int] = []

    def another_does_it_all() -> None:
        table = connected.services.tables.connection
        with connected.app.app_context(), connected.services.begin() as tx:
            tx.execute(sa.update(table).values(lease_until=None, lease_owner=None))
        connected.work()
        others.append(len(connected.calls("DELETE", "/members/")))

    connected.sandbox.after_effect(another_does_it_all, path="POST")
    connected.work()
    assert connected.status(ADA) == "archived"
    assert others == [len(connected.calls("DELETE", "/members/"))] == [1]


def test_who_comes_back_while_they_are_archived_is_not_forgotten(connected: Host) -> None:
    connected.settings(on_delete="archive")
    ada = connected.add(ADA, wants_news=True)
    connected.work()
    connected.delete(ada)
    connected.sandbox.after_effect(lambda: connected.add(ADA, wants_news=True), path="DELETE")
    connected.work()
    (back,) = connected.rows("customer")
    connected.clock.turn(minutes=10)
    connected.work()
    (contact,) = connected.rows("contact")
    assert contact.wanted is True
    assert connected.state(int(back.customer_key)) in ("subscribed", "archived")


def test_who_is_deleted_from_one_list_and_stays_in_another_is_not_deleted_for_good(
    connected: Host,
) -> None:
    vip = connected.another_list("VIP")
    connected.settings(on_delete="delete")
    connected.add(ADA, wants_news=True)
    guest = connected.add(ADA, wants_news=True, own_list=vip)
    connected.work()
    connected.delete(guest)
    connected.work()
    assert connected.status(ADA, vip) == "unsubscribed"
    assert connected.status(ADA) == "subscribed"


def test_a_no_in_one_list_leaves_the_yes_of_somebody_else_in_another(connected: Host) -> None:
    vip = connected.another_list("VIP")
    ada = connected.add(ADA, wants_news=True)
    guest = connected.add(ADA, wants_news=True, own_list=vip)
    connected.work()
    connected.change(ada, wants_news=False)
    connected.work()
    assert connected.status(ADA) == "unsubscribed"
    assert connected.status(ADA, vip) == "subscribed"
    assert connected.box(guest) is True


def test_who_said_no_after_the_master_list_changed_can_come_back_to_the_first(
    connected: Host,
) -> None:
    ada, first, second = _in_two_lists(connected)
    connected.clock.turn(minutes=10)
    connected.change(ada, wants_news=False)
    connected.work()
    assert connected.status(ADA, first) == "unsubscribed"  # a no reaches the list left behind
    assert connected.status(ADA, second) == "unsubscribed"
    connected.settings(master_list=first)
    connected.work()
    connected.clock.turn(minutes=10)
    connected.change(ada, wants_news=True)
    connected.work()
    assert connected.box(ada) is True
    assert connected.status(ADA, first) == "subscribed"


def test_the_ledger_dates_a_persons_act_by_mailchimps_clock(connected: Host) -> None:
    ada = connected.add(ADA, wants_news=True)
    connected.work()
    connected.sandbox.hold_rings()
    connected.sandbox.unsubscribe(connected.list_id, ADA)
    left = connected.clock()
    connected.clock.turn(hours=3)
    connected.sandbox.release_rings()
    connected.work()
    assert abs(connected.history(ada)[0].decided_at - left) < timedelta(minutes=1)
    connected.sandbox.hold_rings()
    connected.sandbox.subscribe(connected.list_id, ADA)
    came = connected.clock()
    connected.clock.turn(hours=3)
    connected.sandbox.release_rings()
    connected.work()
    last = connected.history(ada)[0]
    assert last.value is True
    assert abs(last.decided_at - came) < timedelta(minutes=1)


def test_a_no_of_somebody_new_in_a_list_of_their_own_is_no_no_for_others(connected: Host) -> None:
    vip = connected.another_list("VIP")
    member = connected.add(ADA, wants_news=False)
    guest = connected.add(ADA, wants_news=True, own_list=vip)
    with connected.app.app_context():  # before anybody has looked at them
        one, other = (db.session.get_one(Customer, key) for key in (member, guest))
        one.wants_news, other.wants_news = True, False
        db.session.commit()
    connected.work()
    assert (connected.box(member), connected.status(ADA)) == (True, "subscribed")
    assert connected.status(ADA, vip) is None


def test_who_is_deleted_leaves_the_list_too_that_was_the_master_list_before(
    connected: Host,
) -> None:
    ada, first, second = _in_two_lists(connected)
    assert (connected.status(ADA, first), connected.status(ADA, second)) == 2 * ("subscribed",)
    connected.delete(ada)
    connected.work()
    assert (connected.status(ADA, first), connected.status(ADA, second)) == 2 * ("unsubscribed",)


def test_who_takes_another_address_leaves_the_list_too_that_was_the_master_list_before(
    connected: Host,
) -> None:
    ada, first, second = _in_two_lists(connected)
    connected.change(ada, mail="new@example.com")
    connected.work()
    # Where they are is kept. The list left behind would be out of reach for their next no.
    assert connected.status("new@example.com", second) == "subscribed"
    assert connected.status(ADA, first) == "unsubscribed"
    assert connected.status("new@example.com", first) is None


def test_but_not_while_the_address_is_somebody_elses_as_well(connected: Host) -> None:
    mate = connected.add(ADA, wants_news=True)
    ada, first, second = _in_two_lists(connected)
    connected.change(ada, mail="new@example.com")
    connected.work()
    assert (connected.status(ADA, first), connected.status(ADA, second)) == 2 * ("subscribed",)
    connected.change(mate, wants_news=False)
    connected.work()
    assert (connected.status(ADA, first), connected.status(ADA, second)) == 2 * ("unsubscribed",)
    assert (connected.box(ada), connected.status("new@example.com", second)) == (True, "subscribed")


def test_nor_is_a_no_forgotten_there_if_they_are_gone_before_anybody_looks(connected: Host) -> None:
    connected.settings(on_delete="leave")
    ada, first, second = _in_two_lists(connected)
    connected.change(ada, wants_news=False)
    connected.delete(ada)
    connected.work()
    assert (connected.status(ADA, first), connected.status(ADA, second)) == 2 * ("unsubscribed",)


def test_a_yes_without_a_time_gets_none_by_being_shared(connected: Host) -> None:
    bob = connected.add("bob@example.com", wants_news=True)
    connected.change(bob, wants_news=False)
    connected.clock.turn(seconds=5)
    ada = connected.add(ADA, wants_news=True)  # nobody said when
    mate = connected.add(ADA, wants_news=False)  # never asked
    connected.work()
    assert connected.box(mate) is True
    connected.change(
        bob, mail=ADA
    )  # with an older no, which a yes of unknown time does not outlive
    connected.work()
    assert [connected.box(key) for key in (ada, mate, bob)] == [False, False, False]
    assert connected.status(ADA) == "unsubscribed"


def test_a_reading_of_many_is_not_believed_again_once_something_was_done(connected: Host) -> None:
    people = {f"c{n}@example.com": 0 for n in range(25)}  # more than are read one by one
    for address in people:
        people[address] = connected.add(address, wants_news=True)
    connected.work()
    for address, key in people.items():
        connected.sandbox.edit_profile(connected.list_id, address, LNAME="Lovelace")  # it rings
        connected.change(key, wants_news=False)
    connected.work()  # the nos go first; then the rings are looked at
    assert {connected.box(key) for key in people.values()} == {False}
    assert {connected.status(address) for address in people} == {"unsubscribed"}


def test_nor_of_whom_something_was_rung_since(connected: Host) -> None:
    first, then = ([f"{name}{n}@example.com" for n in range(25)] for name in "ab")
    people = {address: connected.add(address, wants_news=True) for address in first + then}
    connected.work()

    def leave(addresses: list[str]) -> None:
        for address in addresses:
            connected.sandbox.unsubscribe(connected.list_id, address)  # it rings

    leave(first)
    # The others go while those are read, and are looked at in the same drain.
    connected.sandbox.after_effect(lambda: leave(then), 2, f"lists/{connected.list_id}/members")
    connected.work()
    assert {connected.box(key) for key in people.values()} == {False}
