"""Journey in, in business words: what people do at Mailchimp reaches the host's checkboxes."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from flask_mailchimp_optin import acts
from tests.house import Customer, Host, db


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


@pytest.fixture
def renamed(connected: Host) -> Host:
    """Ada, a customer and a member, changed her address at Mailchimp."""
    ada = connected.add("old@example.com", wants_news=None)
    connected.change(ada, wants_news=True)
    connected.work()
    connected.clock.turn(minutes=10)
    connected.sandbox.change_email(connected.list_id, "old@example.com", "new@example.com")
    until_settled(connected)
    return connected


def until_settled(host: Host) -> None:
    """Until what was looked at once more has been."""
    for _ in range(3):
        host.work()
        host.clock.turn(minutes=5)


def test_a_changed_address_at_mailchimp_never_changes_the_hosts(renamed: Host) -> None:
    with renamed.app.app_context():
        (ada,) = db.session.scalars(sa.select(Customer))
        assert (ada.mail, ada.wants_news) == ("old@example.com", True)
        state = renamed.mailchimp.state_of(ada)
    assert state.state == "refused"
    assert "new@example.com" in state.text  # with what to do about it


def test_nor_does_it_bring_the_old_address_back_into_the_list(renamed: Host) -> None:
    renamed.change(1, given_name="Ada")
    with renamed.app.app_context():
        acts.start_sync(renamed.services, "")
        acts.retry(renamed.services, "")
    until_settled(renamed)
    assert renamed.status("old@example.com") is None
    assert renamed.status("new@example.com") == "subscribed"
    (shown,) = renamed.attention()
    assert shown.reason == "renamed"


@pytest.mark.parametrize("mail", ["new@example.com", "New@Example.com"])
def test_correcting_the_customers_address_is_the_way_out(renamed: Host, mail: str) -> None:
    renamed.change(1, mail=mail)
    until_settled(renamed)
    assert renamed.state(1) == "subscribed"
    assert renamed.attention() == []
    assert set(renamed.sandbox.members(renamed.list_id)) == {"new@example.com"}


def test_a_new_yes_for_the_old_address_is_the_other(renamed: Host) -> None:
    renamed.change(1, wants_news=False)
    renamed.work()
    renamed.change(1, wants_news=True)
    until_settled(renamed)
    assert renamed.status("old@example.com") == "subscribed"
    assert renamed.status("new@example.com") == "subscribed"


def test_who_changes_their_address_back_is_where_they_were(renamed: Host) -> None:
    renamed.sandbox.change_email(renamed.list_id, "new@example.com", "old@example.com")
    until_settled(renamed)
    assert renamed.state(1) == "subscribed"


def test_a_burst_of_rings_is_one_paged_reading(connected: Host) -> None:
    with connected.app.app_context():
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


def test_a_no_past_the_listeners_is_not_written_over(connected: Host) -> None:
    ada = connected.add(wants_news=None)
    connected.work()
    connected.sandbox.subscribe(connected.list_id, "ada@example.com")
    with connected.app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE customer SET wants_news = FALSE"))
    connected.clock.turn(hours=1)
    connected.work()
    assert connected.box(ada) is False
    assert connected.status("ada@example.com") == "unsubscribed"
    assert connected.history(ada)[0].source == "found in the database"


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


def test_a_commit_whose_reply_is_lost_leaves_one_line_in_the_ledger(
    connected: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    commit, lost = Session.commit, list[Session]()

    def commits_and_fails(session: Session) -> None:
        commit(session)
        if not lost and connected.box(ada) is False:
            lost.append(session)
            raise OperationalError("COMMIT", {}, Exception("lost"), connection_invalidated=True)

    monkeypatch.setattr(Session, "commit", commits_and_fails)
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    assert lost
    assert [decision.value for decision in connected.history(ada)] == [False, True]
