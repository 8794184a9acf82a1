"""Journey in, in business words: what people do at Mailchimp reaches the host's checkboxes."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from tests.house import Host


def test_somebody_unsubscribes_at_mailchimp_and_the_box_is_unticked(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    assert connected.box(ada) is False
    assert connected.history(ada)[0].source == "mailchimp"


def test_somebody_we_know_subscribes_elsewhere_and_the_box_is_ticked(connected: Host) -> None:
    ada = connected.add(wants_news=False)
    connected.work()
    connected.sandbox.subscribe(connected.list_id, "Ada@example.com")
    connected.work()
    assert connected.box(ada) is True
    assert connected.state(ada) == "subscribed"


def test_a_stranger_who_subscribes_is_left_alone(connected: Host) -> None:
    connected.sandbox.subscribe(connected.list_id, "stranger@example.com")
    connected.work()
    assert connected.rows("contact") == []
    assert connected.rows("webhook_event")[0].outcome == "nobody here has this address"


def test_nothing_echoes_back(connected: Host) -> None:
    ada = connected.add(wants_news=True, given_name="Ada")
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    assert connected.box(ada) is False
    writes = [r for r in connected.sandbox.requests if r.method != "GET"]
    connected.work()
    assert [r for r in connected.sandbox.requests if r.method != "GET"] == writes
    assert connected.rows("outbox") == []
    assert len(connected.history(ada)) == 2


@pytest.mark.parametrize("order", ["fifo", "reversed", "shuffled"])
def test_the_order_of_rings_does_not_matter(
    connected: Host, order: Literal["fifo", "reversed", "shuffled"]
) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    box = connected.sandbox
    box.hold_rings()
    box.unsubscribe(connected.list_id, "ada@example.com")
    box.subscribe(connected.list_id, "ada@example.com")
    box.unsubscribe(connected.list_id, "ada@example.com")
    box.release_rings(order=order)
    connected.work()
    assert connected.box(ada) is False


def test_a_repeated_ring_is_no_new_event(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.repeat_rings(3)
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    assert connected.box(ada) is False
    assert len(connected.rows("webhook_event")) == 1


def test_a_lost_ring_is_found_by_the_daily_sync(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.drop_rings(1)
    connected.clock.turn(hours=1)
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    assert connected.box(ada) is True
    connected.clock.turn(days=2)  # whatever the time of day is now
    connected.work()
    assert connected.box(ada) is False


def test_editing_an_unsubscribed_member_does_not_tick_the_box(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.sandbox.edit_profile(connected.list_id, "ada@example.com", FNAME="Augusta")
    connected.work()
    assert connected.box(ada) is False


def test_all_boxes_of_a_shared_address_follow(connected: Host) -> None:
    ada = connected.add("office@example.com", wants_news=True)
    bob = connected.add("office@example.com", wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "office@example.com")
    connected.work()
    assert (connected.box(ada), connected.box(bob)) == (False, False)


def test_a_bounce_keeps_the_box_and_is_shown(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.clean(connected.list_id, "ada@example.com")
    connected.work()
    assert connected.box(ada) is True
    assert connected.state(ada) == "bounced"


def test_archiving_keeps_the_box_until_a_new_yes(connected: Host) -> None:
    ada = connected.add(wants_news=True, given_name="Ada")
    connected.work()
    connected.sandbox.archive(connected.list_id, "ada@example.com")
    connected.work()
    assert (connected.box(ada), connected.state(ada)) == (True, "archived")
    connected.change(ada, given_name="Augusta")
    connected.work()
    assert connected.status("ada@example.com") == "archived"
    connected.change(ada, wants_news=False)
    connected.work()
    connected.change(ada, wants_news=True)
    connected.work()
    assert connected.status("ada@example.com") == "subscribed"


def test_a_changed_address_at_mailchimp_never_changes_the_hosts(connected: Host) -> None:
    ada = connected.add("old@example.com", wants_news=True)
    connected.work()
    connected.sandbox.change_email(connected.list_id, "old@example.com", "new@example.com")
    connected.work()
    with connected.app.app_context():
        from tests.house import Customer, db

        assert db.session.get_one(Customer, ada).mail == "old@example.com"
    assert connected.box(ada) is True


def test_a_burst_of_rings_is_one_paged_reading(connected: Host) -> None:
    with connected.app.app_context():
        from tests.house import Customer, db

        db.session.add_all(Customer(mail=f"c{n}@example.com", wants_news=True) for n in range(50))
        db.session.commit()
    connected.work()
    connected.clock.turn(minutes=5)
    connected.sandbox.hold_rings()
    for n in range(50):
        connected.sandbox.unsubscribe(connected.list_id, f"c{n}@example.com")
    connected.sandbox.release_rings()
    assert connected.sandbox.wait_for_rings(20)
    before = len(connected.sandbox.requests)
    connected.work()
    boxes = {row.opt_in for row in connected.rows("customer")}
    assert boxes == {False}
    assert len(connected.sandbox.requests) - before <= 2


def test_a_host_change_while_the_ring_is_answered_wins_if_it_is_newer(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    assert connected.sandbox.wait_for_rings(10)
    connected.clock.turn(hours=1)

    def tick_again() -> None:
        connected.change(ada, wants_news=False)
        connected.change(ada, wants_news=True)

    connected.sandbox.before_answer(tick_again, path="/members/")
    connected.work()
    # The person's own no at Mailchimp stands against a newer yes here: they are asked.
    assert connected.status("ada@example.com") == "pending"
    assert connected.box(ada) is True


@pytest.mark.parametrize(
    "how", [{"status": 500}, {"status": 200, "body": {"members": [], "total_items": 22}}]
)
def test_a_burst_whose_paged_reading_fails_is_read_one_by_one(
    connected: Host, how: dict[str, Any]
) -> None:
    ids = [connected.add(f"c{n}@example.com", wants_news=True) for n in range(22)]
    connected.work()
    connected.clock.turn(minutes=30)
    for n in range(22):
        connected.sandbox.unsubscribe(connected.list_id, f"c{n}@example.com")
    connected.sandbox.wait_for_rings()
    connected.sandbox.fail_next(times=99, path="members?", **how)
    connected.work()
    assert {connected.box(id_) for id_ in ids} == {False}
