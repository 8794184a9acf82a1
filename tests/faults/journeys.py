"""The journeys that speak to Mailchimp, each with the endpoint at which it is disturbed.

Used by the tables of behaviours and of moments. A journey is prepared in good weather, then acted;
what must be true in the end is part of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import update

from flask_mailchimp_optin import acts, overviews, runs
from tests.house import Host
from tests.invariants import Promises


@dataclass
class Scene:
    """One run of a journey: a host, what was promised to whom, and customers of its own."""

    host: Host
    promises: Promises
    number: int
    ids: list[int] = field(default_factory=list)

    def mail(self, name: str = "ada") -> str:
        return f"{name}{self.number}@example.com"

    def add(self, name: str = "ada", **values: Any) -> int:
        self.ids.append(self.promises.add(self.mail(name), **values))
        return self.ids[-1]

    @property
    def ada(self) -> int:
        return self.ids[0]

    def expect(self, name: str, status: str | None, box: bool | None, at: int = 0) -> None:
        """Both sides in the end."""
        assert (self.host.status(self.mail(name)), self.host.box(self.ids[at])) == (status, box)


@dataclass(frozen=True, kw_only=True)
class Journey:
    """What happens, where it is disturbed, and what must be true in the end.

    :param settings: the connection's settings for it.
    :param mails: the most confirmation mails that it may cost.
    """

    endpoint: str
    prepare: Callable[[Scene], None]
    act: Callable[[Scene], None]
    check: Callable[[Scene], None]
    settings: dict[str, Any] = field(default_factory=dict)
    mails: int = 0

    @property
    def path(self) -> re.Pattern[str]:
        return ENDPOINTS[self.endpoint]


#: As the sandbox names a call: method, path and query.
ENDPOINTS = {
    name: re.compile(pattern)
    for name, pattern in {
        "account": r"^GET /3\.0/\?",
        "lists": r"^GET /3\.0/lists\?",
        "member": r"^GET /3\.0/lists/\w+/members/\w+",
        "members": r"^GET /3\.0/lists/\w+/members\?",
        "batch": r"^POST /3\.0/lists/\w+\?",
        "status": r"^PATCH ",
        "address": r"^PATCH ",
        "archive": r"^DELETE /3\.0/lists/\w+/members/",
        "delete for good": r"delete-permanent",
        "webhooks": r"^GET /3\.0/lists/\w+/webhooks",
        "new webhook": r"^POST /3\.0/lists/\w+/webhooks",
        "old webhook": r"^DELETE /3\.0/lists/\w+/webhooks",
    }.items()
}


def _nobody(scene: Scene) -> None:
    """Nothing has to be prepared."""


def _subscribed(scene: Scene) -> None:
    scene.add(wants_news=True, given_name="Ada")
    scene.host.work()


def _three(scene: Scene) -> None:
    for name in ("ada", "bob", "eve"):
        scene.add(name, wants_news=True)
    scene.host.work()


def _left_by_us(scene: Scene) -> None:
    _subscribed(scene)
    scene.promises.change(scene.ada, wants_news=False)
    scene.host.work()


def _left_by_themselves(scene: Scene) -> None:
    _subscribed(scene)
    scene.host.sandbox.unsubscribe(scene.host.list_id, scene.mail())
    scene.host.work()
    scene.host.clock.turn(minutes=10)


def _left_unheard(scene: Scene) -> None:
    _three(scene)
    scene.host.clock.turn(minutes=1)
    scene.host.sandbox.drop_rings(1)
    scene.host.sandbox.unsubscribe(scene.host.list_id, scene.mail("bob"))
    scene.host.clock.turn(minutes=1)


def _many(scene: Scene) -> None:
    for n in range(22):
        scene.add(f"c{n}x", wants_news=True)
    scene.host.work()
    scene.host.clock.turn(minutes=30)


def _save_one(scene: Scene) -> None:
    scene.add(wants_news=True)


def _save_three(scene: Scene) -> None:
    scene.promises.change(scene.ids[0], wants_news=False)
    scene.add("kim", wants_news=True)
    scene.promises.change(scene.ids[1], given_name="Robert")


def _edit(scene: Scene) -> None:
    scene.promises.change(scene.ada, given_name="Augusta")


def _untick(scene: Scene) -> None:
    scene.promises.change(scene.ada, wants_news=False)


def _tick(scene: Scene) -> None:
    scene.promises.change(scene.ada, wants_news=True)


def _leave(scene: Scene) -> None:
    scene.host.sandbox.unsubscribe(scene.host.list_id, scene.mail())
    scene.host.sandbox.wait_for_rings()


def _all_leave(scene: Scene) -> None:
    for n in range(22):
        scene.host.sandbox.unsubscribe(scene.host.list_id, scene.mail(f"c{n}x"))
    scene.host.sandbox.wait_for_rings()  # together, so that one paged reading answers them


def _readdress(scene: Scene) -> None:
    scene.promises.change(scene.ada, mail=scene.mail("countess"))


def _delete(scene: Scene) -> None:
    scene.promises.delete(scene.ada)


def _sync(kind: str) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        services = scene.host.services
        with scene.host.app.app_context(), services.begin() as tx:
            (connection,) = tx.rows(services.tables.connection.select())
            runs.plan(tx, services, connection, kind, services.now())

    return act


def _repair(*, anew: bool) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        with scene.host.app.app_context():
            acts.repair_webhooks(scene.host.services, "", anew=anew)

    return act


def _connect_again(scene: Scene) -> None:
    form = {"api_key": scene.host.sandbox.api_key}
    answer = scene.host.app.test_client().post("/integrations/mailchimp/", data=form)
    assert answer.status_code in (303, 422), answer.status
    with scene.host.app.app_context():
        assert overviews.read(scene.host.services, "").connected


def _ends(name: str, status: str | None, box: bool, at: int = 0) -> Callable[[Scene], None]:
    return lambda scene: scene.expect(name, status, box, at)


def _ends_three(scene: Scene) -> None:
    scene.expect("ada", "unsubscribed", False)
    scene.expect("bob", "subscribed", True, 1)
    scene.expect("kim", "subscribed", True, 3)


def _first_name(scene: Scene, name: str) -> object:
    return scene.host.sandbox.members(scene.host.list_id)[scene.mail(name)]["merge_fields"]["FNAME"]


def _edited(scene: Scene) -> None:
    scene.expect("ada", "subscribed", True)
    assert _first_name(scene, "ada") == "Augusta"


def _moved(scene: Scene) -> None:
    scene.expect("countess", "subscribed", True)
    assert scene.host.status(scene.mail()) in (None, "unsubscribed", "archived")


def _all_left(scene: Scene) -> None:
    for n, id_ in enumerate(scene.ids):
        assert scene.host.status(scene.mail(f"c{n}x")) == "unsubscribed"
        assert scene.host.box(id_) is False


def _found_the_next_day(scene: Scene) -> None:
    """What a reading missed that was not whole, the next one finds."""
    _sync("daily")(scene)
    scene.host.work()
    _only_bob_left(scene)


def _only_bob_left(scene: Scene) -> None:
    scene.expect("ada", "subscribed", True)
    scene.expect("bob", "unsubscribed", False, 1)
    scene.expect("eve", "subscribed", True, 2)


def _gone(status: str | None) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        assert scene.host.status(scene.mail()) == status
        assert scene.mail() not in {row.address for row in scene.host.rows("contact")}

    return check


def _heard(scene: Scene) -> None:
    """A day later one webhook of ours is there, and what people do at Mailchimp comes in."""
    scene.host.clock.turn(days=1, minutes=1)
    scene.host.work()
    assert len(scene.host.sandbox.webhooks(scene.host.list_id)) == 1
    scene.host.sandbox.unsubscribe(scene.host.list_id, scene.mail())
    scene.host.work()
    scene.expect("ada", "unsubscribed", False)


JOURNEYS: dict[str, Journey] = {
    "connecting: account": Journey(
        endpoint="account", prepare=_subscribed, act=_connect_again, check=_heard
    ),
    "connecting: lists": Journey(
        endpoint="lists", prepare=_subscribed, act=_connect_again, check=_heard
    ),
    "first save": Journey(
        endpoint="batch", prepare=_nobody, act=_save_one, check=_ends("ada", "subscribed", True)
    ),
    "three at once": Journey(endpoint="batch", prepare=_three, act=_save_three, check=_ends_three),
    "edit": Journey(endpoint="batch", prepare=_subscribed, act=_edit, check=_edited),
    "opt-out: reading": Journey(
        endpoint="member",
        prepare=_subscribed,
        act=_untick,
        check=_ends("ada", "unsubscribed", False),
    ),
    "opt-out: sending": Journey(
        endpoint="batch",
        prepare=_subscribed,
        act=_untick,
        check=_ends("ada", "unsubscribed", False),
    ),
    "opt-in again: rejoin": Journey(
        endpoint="status",
        prepare=_left_by_us,
        act=_tick,
        check=_ends("ada", "subscribed", True),
    ),
    "opt-in again: ask": Journey(
        endpoint="status",
        prepare=_left_by_themselves,
        act=_tick,
        check=_ends("ada", "pending", True),
        mails=1,
    ),
    "ring": Journey(
        endpoint="member",
        prepare=_subscribed,
        act=_leave,
        check=_ends("ada", "unsubscribed", False),
    ),
    "burst of rings": Journey(endpoint="members", prepare=_many, act=_all_leave, check=_all_left),
    "manual sync": Journey(
        endpoint="members", prepare=_left_unheard, act=_sync("manual"), check=_only_bob_left
    ),
    "initial sync": Journey(
        endpoint="members", prepare=_left_unheard, act=_sync("initial"), check=_only_bob_left
    ),
    "daily sync": Journey(
        endpoint="members", prepare=_left_unheard, act=_sync("daily"), check=_found_the_next_day
    ),
    "address change": Journey(
        endpoint="address", prepare=_subscribed, act=_readdress, check=_moved
    ),
    "delete: unsubscribe": Journey(
        endpoint="batch",
        prepare=_subscribed,
        act=_delete,
        check=_gone("unsubscribed"),
        settings={"on_delete": "unsubscribe"},
    ),
    "delete: unsubscribe, reading": Journey(
        endpoint="member",
        prepare=_subscribed,
        act=_delete,
        check=_gone("unsubscribed"),
        settings={"on_delete": "unsubscribe"},
    ),
    "delete: archive": Journey(
        endpoint="archive",
        prepare=_subscribed,
        act=_delete,
        check=_gone("archived"),
        settings={"on_delete": "archive"},
    ),
    "delete: for good": Journey(
        endpoint="delete for good",
        prepare=_subscribed,
        act=_delete,
        check=_gone(None),
        settings={"on_delete": "delete"},
    ),
    "webhook check": Journey(
        endpoint="webhooks", prepare=_subscribed, act=_repair(anew=False), check=_heard
    ),
    "webhook made anew": Journey(
        endpoint="new webhook", prepare=_subscribed, act=_repair(anew=True), check=_heard
    ),
    "webhook removed": Journey(
        endpoint="old webhook", prepare=_subscribed, act=_repair(anew=True), check=_heard
    ),
}


def never_daily(host: Host) -> None:
    """No daily sync comes to the rescue, however far the clock is turned."""
    services = host.services
    with host.app.app_context(), services.begin() as tx:
        tx.execute(update(services.tables.connection).values(last_daily_on="9999-12-31"))
