"""Whom Mailchimp must ask: nobody is asked twice about one tick, and nobody comes back unasked."""

from __future__ import annotations

import pytest

from flask_mailchimp_optin import connect
from tests.house import Host

ADA = "ada@example.com"


def _asks_always(host: Host) -> None:
    host.settings(always_confirm=True)


def _has_double_opt_in(host: Host) -> None:
    host.list_id = host.sandbox.add_audience("Careful", double_optin=True)
    with host.app.app_context():
        connect.refresh(host.services, "")
        connect.store_lists(host.services, "")
    host.settings(master_list=host.list_id)


@pytest.mark.parametrize("choose", [_asks_always, _has_double_opt_in])
def test_who_is_ticked_again_is_asked_where_the_administrator_chose_so(
    connected: Host, choose: object
) -> None:
    assert callable(choose)
    choose(connected)
    ada = connected.add(ADA, wants_news=True)
    connected.work()
    if connected.status(ADA) == "pending":
        connected.sandbox.confirm(connected.list_id, ADA)
        connected.work()
    assert connected.status(ADA) == "subscribed"
    mailed = len(connected.sandbox.mails)
    for wanted in (False, True):
        connected.clock.turn(minutes=10)
        connected.change(ada, wants_news=wanted)
        connected.work()
    assert connected.status(ADA) == "pending"
    assert connected.state(ada) == "asked"
    assert len(connected.sandbox.mails) == mailed + 1


def test_a_question_is_put_once_for_each_tick(connected: Host) -> None:
    ada = connected.add(ADA, wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, ADA)
    connected.work()
    connected.clock.turn(minutes=10)
    connected.change(ada, wants_news=True)
    connected.work()
    assert len(connected.sandbox.mails) == 1
    for turn in range(3):  # neither profile changes nor syncs ask again
        connected.clock.turn(days=1, hours=1)
        connected.change(ada, given_name=f"Ada {turn}")
        connected.work()
    assert len(connected.sandbox.mails) == 1
    assert connected.state(ada) == "asked"
    connected.sandbox.unsubscribe(connected.list_id, ADA)  # their answer is no
    connected.work()
    assert connected.box(ada) is False
    connected.clock.turn(minutes=10)
    connected.change(ada, wants_news=True)  # somebody ticks the box anew: that is another question
    connected.work()
    assert len(connected.sandbox.mails) == 2


@pytest.mark.parametrize("arrived", [True, False])
def test_a_question_whose_answer_was_lost_is_not_put_again_while_it_may_still_land(
    connected: Host, arrived: bool
) -> None:
    ada = connected.add(ADA, wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, ADA)
    connected.work()
    connected.clock.turn(minutes=10)
    connected.sandbox.fail_next(how="reset", path="PATCH", applied=arrived)
    connected.change(ada, wants_news=True)
    connected.work()
    for _ in range(4):
        connected.clock.turn(seconds=30)
        connected.work()
    assert len(connected.sandbox.mails) == (1 if arrived else 0)
    for _ in range(6):  # now it is certain that it never arrived
        connected.clock.turn(minutes=5)
        connected.work()
    assert len(connected.sandbox.mails) == 1
    assert connected.status(ADA) == "pending"
