"""Short directed stories for the positive controls, told to the world of the state machine.

Each ends with everything settled, and most of them look before a daily sync could mend what went wrong.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from flask_mailchimp_optin.waking import Waker
from tests.house import Customer, db
from tests.model.killer import Killed
from tests.model.world import ADDRESSES, LISTS, World, require

ADA, HERE = ADDRESSES[0], LISTS[0]
WRITES = "POST /3.0/lists/"


def member(world: World, **values: object) -> int:
    """Somebody who is subscribed, and has been for an hour."""
    key = world.add(ADA, True, named=True, **values)  # type: ignore[arg-type]
    world.work()
    world.wait(3600)
    return key


def settled(world: World, *after_s: int) -> None:
    """All that is due is done, and the promises hold."""
    world.work()
    for seconds in after_s:
        world.wait(seconds)
        world.work()
    world.check_settled()
    require(world.races)


def everyday(world: World) -> None:
    """A yes, a no, a leave at Mailchimp, a return there."""
    ada = member(world)
    world.change(ada, wants_news=False)
    settled(world)
    world.wait(3600)
    world.at_mailchimp("subscribe", ADA, HERE)
    settled(world)
    world.wait(3600)
    world.at_mailchimp("unsubscribe", ADA, HERE)
    settled(world)


def rings_out_of_order(world: World) -> None:
    """They leave and come back, and the rings arrive the other way round."""
    member(world)
    world.sandbox.hold_rings()
    world.at_mailchimp("unsubscribe", ADA, HERE)
    world.wait(600)
    world.at_mailchimp("subscribe", ADA, HERE)
    world.wait(600)
    world.release("reversed", 0)
    settled(world)


def an_edit_after_a_no(world: World) -> None:
    """Unticked; before it is sent, the person mends their name at Mailchimp."""
    ada = member(world)
    world.change(ada, wants_news=False)
    world.wait(600)
    world.at_mailchimp("edit_profile", ADA, HERE, LNAME="Lovelace")
    settled(world)


def a_leave_crosses_an_edit(world: World) -> None:
    """An administrator unsubscribes somebody while their profile is on its way."""
    ada = member(world)
    world.change(ada, given_name="Ada")
    world.meanwhile(1, lambda: world.sandbox.unsubscribe(HERE, ADA, by="admin"), path=WRITES)
    settled(world)


def death_before_a_no_is_sent(world: World) -> None:
    """The worker dies at every point of carrying a no out, once each; the next one goes on."""
    for point in (6, 8, 9, 10, 11):
        ada = member(world)
        world.change(ada, wants_news=False)
        world.piece(killed_at=point, budget_s=30.0)
        settled(world, 200)
        world.delete(ada)
        world.sandbox.stop_failing()
        settled(world)
        world.at_mailchimp("archive", ADA, HERE)
        world.wait(3600)


def a_no_while_a_yes_is_on_its_way(world: World) -> None:
    ada = world.add(ADA, True, named=True)
    world.meanwhile(1, lambda: world.change(ada, wants_news=False), path=WRITES)
    settled(world)


def a_no_whose_request_is_lost(world: World) -> None:
    ada = member(world)
    world.change(ada, wants_news=False)
    world.fault("reset", path=WRITES)
    settled(world, 10)


def a_late_yes(world: World) -> None:
    """The request of a yes lands after the no."""
    ada = world.add(ADA, True, named=True)
    world.fault("late by 120 s", path=WRITES)
    world.work()
    world.wait(10)
    world.change(ada, wants_news=False)
    settled(world, 120, 60)


def a_change_that_commits_later(world: World) -> None:
    """Its outbox row has a smaller number than one that was read before it could be seen."""
    ada = member(world)
    with world.promises.writing(ada), world.host.app.app_context():
        db.session.get_one(Customer, ada).wants_news = False
        if db.engine.dialect.name != "sqlite":  # which has one writer, and gives numbers again
            db.session.flush()
            world.add(ADDRESSES[1], True)
            world.work()
        db.session.commit()
    settled(world)


def death_after_a_commit(world: World) -> None:
    """The host's process dies right after its commit, before it could ask for a worker."""
    ada = member(world)

    def die(_: Waker) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(Waker, "__call__", die)
        world.change(ada, wants_news=False)
    assert world.host.box(ada) is False
    settled(world)


def a_return_after_somebody_else_removed_them(world: World) -> None:
    """Unsubscribed by an administrator at Mailchimp, then ticked again."""
    ada = member(world)
    world.at_mailchimp("unsubscribe", ADA, HERE, by="admin")
    settled(world)
    world.wait(3600)
    world.change(ada, wants_news=True)
    settled(world)


def a_no_while_a_yes_is_read(world: World) -> None:
    """They sign up at Mailchimp; minutes later, while we read that, a clerk notes a no."""
    ada = world.add(ADA, None)
    world.work()
    world.sandbox.hold_rings()
    world.at_mailchimp("subscribe", ADA, HERE)
    world.wait(600)
    world.release("fifo", 0)
    world.meanwhile(1, lambda: world.change(ada, wants_news=False), after=True)
    settled(world)


def a_worker_that_stalls(world: World) -> None:
    """While it reads, the box is ticked again and another worker does all there is to do."""
    ada = member(world)
    world.change(ada, wants_news=False)

    def ticked_and_done() -> None:
        world.change(ada, wants_news=True)
        world.second_worker()

    world.meanwhile(1, ticked_and_done, after=True)
    settled(world)


def two_at_once(world: World) -> None:
    """Two customers with one address: one is ticked, the other unticked, at the same moment."""
    ada, too = world.add(ADA, None), world.add(ADA, True)
    settled(world)
    world.wait(3600)
    world.change(ada, wants_news=True)
    world.change(too, wants_news=False)
    settled(world)


def shared(world: World) -> None:
    """Two customers with one address; one says no."""
    ada, _ = world.add(ADA, True), world.add(ADA, True)
    settled(world)
    world.wait(3600)
    world.change(ada, wants_news=False)
    settled(world)


def an_edit_of_somebody_archived(world: World) -> None:
    ada = member(world)
    world.at_mailchimp("archive", ADA, HERE)
    world.work()
    world.wait(3600)
    world.change(ada, given_name="Ada")
    settled(world)


def a_no_in_daily_mode(world: World) -> None:
    ada = member(world)
    world.settings(daily=True)
    world.change(ada, wants_news=False)
    settled(world)


def a_bulk_no(world: World) -> None:
    ada = member(world)
    world.bulk([ada], wants_news=False)
    settled(world)


def unticked_and_deleted(world: World) -> None:
    """A no, then gone before anybody looked, where members of deleted customers are left alone."""
    ada = member(world)
    world.settings(on_delete="leave")
    world.change(ada, wants_news=False)
    world.delete(ada)
    settled(world)


def a_lie_about_a_row(world: World) -> None:
    """A batch's answer leaves the row out, and nothing was done."""
    ada = member(world)
    world.change(ada, wants_news=False)
    nothing: dict[str, Any] = {"new_members": [], "updated_members": [], "errors": []}
    world.sandbox.fail_next(200, body=nothing, path=WRITES)
    settled(world, 10)


def unheard_before_another_master_list(world: World) -> None:
    """They leave, the ring is lost, and another master list is chosen."""
    member(world)
    world.sandbox.drop_rings(1)
    world.at_mailchimp("unsubscribe", ADA, HERE)
    world.wait(600)
    world.settings(master_list=LISTS[1])
    settled(world)


def unheard_before_a_list_of_their_own(world: World) -> None:
    """They leave, the ring is lost, and they get a list of their own."""
    ada = member(world)
    world.sandbox.drop_rings(1)
    world.at_mailchimp("unsubscribe", ADA, HERE)
    world.wait(600)
    world.change(ada, own_list=LISTS[1])
    settled(world)
