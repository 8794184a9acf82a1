"""A first sync to a list where nobody is: who is plain is told as they are found; all others as ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_mailchimp_optin import acts, connect, drain, newcomers, person, signals
from flask_mailchimp_optin.addresses import subscriber_hash
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.faults.processes import until
from tests.house import MAPPING, Clock, Customer, Host, db, hosting
from tests.journeys.test_sync import add_many, progress


def rows(host: Host, *made: dict[str, Any]) -> None:
    """Customers who were there before the extension was."""
    blank = {"wants_news": True, "given_name": None, "own_list": None}
    with host.app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.insert(Customer.__table__), [blank | row for row in made])


def writes(host: Host) -> list[Any]:
    return [r for r in host.calls("POST", host.list_id) if "/webhooks" not in r.path]


def statuses(host: Host) -> dict[str, str]:
    members = host.sandbox.members(host.list_id)
    return {address: member["status"] for address, member in sorted(members.items())}


def settled(host: Host) -> None:
    """Nothing is due, open or unsure, and a sync finds nothing to send."""
    with host.app.app_context():
        acts.start_sync(host.services, "")
    before = len(writes(host))
    host.work()
    assert len(writes(host)) == before
    assert [c for c in host.rows("contact") if c.due_at or c.late or c.open_verb] == []
    assert {row.version - row.acked_version for row in host.rows("contact")} <= {0}


def test_everybody_is_told_with_their_details_and_nobody_is_read_again(host: Host) -> None:
    told: list[str] = []

    def hears(_app: object, *, customer_key: str, **_: Any) -> None:
        told.append(customer_key)

    made: list[dict[str, Any]] = [
        {"mail": f"c{n}@example.com", "given_name": f"N{n}"} for n in range(1100)
    ]
    for n in range(0, 1100, 4):
        made[n]["wants_news"] = (False, None)[n % 8 // 4]
    made[1]["given_name"] = None
    rows(host, *made)
    with signals.customer_subscribed.connected_to(hears):
        host.connect()
    members = host.sandbox.members(host.list_id)
    assert set(statuses(host).values()) == {"subscribed"}
    assert sorted(members) == sorted(f"c{n}@example.com" for n in range(1100) if n % 4)
    assert members["c7@example.com"]["merge_fields"]["FNAME"] == "N7"
    assert len(writes(host)) == 3
    reads = {r.query.get("status") for r in host.calls("GET", f"{host.list_id}/members")}
    assert reads == {None, "archived"}
    assert len(host.calls("GET", f"{host.list_id}/members")) == 2
    (run,) = progress(host)
    assert (run.state, run.customers_done, run.to_send, run.sent) == ("done", 1100, 825, 825)
    assert len(told) == len(set(told)) == 825
    assert len(host.rows("customer")) == 1100
    tags = {row.address: row.profile_tags for row in host.rows("contact")}
    assert (tags["c1@example.com"], tags["c2@example.com"]) == ("", "FNAME")
    settled(host)


def test_they_are_what_the_long_way_makes_of_them(tmp_path: Path, clock: Clock) -> None:
    kept: list[Any] = []
    for strangers in ((), ("stranger@example.com",)):
        sandbox = MailchimpSandbox(clock=clock)
        sandbox.add_members(next(iter(sandbox.audiences)), list(strangers))
        with hosting(tmp_path, sandbox, clock) as host:
            rows(host, *({"mail": f"c{n}@example.com", "given_name": f"N{n}"} for n in range(3)))
            rows(host, {"mail": "no@example.com", "wants_news": False})
            host.connect()
            found = [*host.rows("customer"), *host.rows("contact")]
            kept.append(sorted((_shape(row) for row in found), key=str))
    assert kept[0] == kept[1]


def _shape(row: Any) -> dict[str, Any]:
    """A row, but for what counts the steps to it, and for when each was."""
    passing = ("id", "version", "acked_version", "decided_version", "settled_version", "run_id")
    values = {name: value for name, value in row._mapping.items() if name not in passing}
    return {n: "a time" if isinstance(v, datetime) else v for n, v in values.items()}


def test_who_is_not_plain_goes_the_long_way(host: Host) -> None:
    second = host.sandbox.add_audience("Second")
    rows(
        host,
        {"mail": "twins@example.com"},
        {"mail": "Twins@example.com "},
        {"mail": "no address"},
        {"mail": "own@example.com", "own_list": second},
        {"mail": "lost@example.com", "own_list": "nowhere"},
        {"mail": "plain@example.com"},
    )
    said = host.add("said@example.com", wants_news=True)
    host.change(said, wants_news=False)
    host.connect()
    assert statuses(host) == {"plain@example.com": "subscribed", "twins@example.com": "subscribed"}
    assert host.status("own@example.com", second) == "subscribed"
    assert host.state(3) == "bad_address"
    settled(host)


def test_a_list_with_double_opt_in_asks_as_ever(host: Host) -> None:
    host.sandbox.set_double_optin(next(iter(host.sandbox.audiences)), True)
    add_many(host, 3, wants_news=True)
    host.connect()
    assert set(statuses(host).values()) == {"pending"}


@pytest.mark.parametrize("status", ["unsubscribed", "archived"])
def test_a_list_where_anybody_is_is_read_first(host: Host, status: str) -> None:
    list_id = next(iter(host.sandbox.audiences))
    host.sandbox.add_members(list_id, ["stranger@example.com"], status=status)
    add_many(host, 30, wants_news=True)
    host.connect()
    methods = [r.method for r in host.calls("", f"/lists/{list_id}") if "webhooks" not in r.path]
    assert methods.count("POST") == 1
    assert len(statuses(host)) == 31
    settled(host)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429},
        {"status": 400},
        {"status": 500},
        {"status": 500, "applied": True},
        {"status": 200, "how": "reset", "applied": True},
        {"status": 200, "how": "half", "applied": True},
    ],
    ids=lambda fault: " ".join(map(str, fault.values())),
)
def test_a_call_that_fails_loses_nobody_and_no_details(host: Host, fault: dict[str, Any]) -> None:
    rows(host, *({"mail": f"c{n}@example.com", "given_name": f"N{n}"} for n in range(1200)))
    path = f"POST /3.0/lists/{next(iter(host.sandbox.audiences))}?"
    host.sandbox.fail_next(**fault, path=path)
    host.connect()
    for _ in range(6):
        host.clock.turn(minutes=3)
        host.work()
    assert set(statuses(host).values()) == {"subscribed"}
    members = host.sandbox.members(host.list_id)
    assert all(
        members[f"c{n}@example.com"]["merge_fields"]["FNAME"] == f"N{n}" for n in range(1200)
    )
    (run,) = progress(host)
    assert (run.state, run.failed) == ("done", 0)
    settled(host)


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "answer lost"])
def test_who_is_a_member_by_then_is_left_as_they_are_and_gets_their_details(
    host: Host, lost: bool
) -> None:
    list_id = next(iter(host.sandbox.audiences))
    rows(host, *({"mail": f"c{n}@example.com", "given_name": "Ada"} for n in range(40)))

    def join() -> None:
        host.sandbox.subscribe(list_id, "c3@example.com")
        host.sandbox.unsubscribe(list_id, "c3@example.com")
        host.sandbox.subscribe(list_id, "c5@example.com")

    host.sandbox.before_answer(join, path=f"POST /3.0/lists/{list_id}?")
    if lost:
        host.sandbox.fail_next(200, how="reset", applied=True, path=f"POST /3.0/lists/{list_id}?")
    host.connect()
    for _ in range(3):
        host.clock.turn(minutes=5)
        host.work()
    assert statuses(host) == {
        f"c{n}@example.com": "unsubscribed" if n == 3 else "subscribed"
        for n in sorted(range(40), key=str)
    }
    assert host.box(4) is False  # their last word was at Mailchimp
    fields = host.sandbox.members(list_id)["c5@example.com"]["merge_fields"]
    assert fields["FNAME"] == "Ada"
    settled(host)


@pytest.mark.parametrize("when", ["before_answer", "after_effect"])
def test_a_no_while_they_are_told_is_the_last_word(host: Host, when: str) -> None:
    list_id = next(iter(host.sandbox.audiences))
    add_many(host, 30, wants_news=True)
    during = getattr(host.sandbox, when)
    during(lambda: host.change(7, wants_news=False), path=f"POST /3.0/lists/{list_id}?")
    host.connect()
    host.clock.turn(minutes=5)
    host.work()
    assert host.box(7) is False
    assert {a: s for a, s in statuses(host).items() if s != "subscribed"} == {
        "c6@example.com": "unsubscribed"
    }
    settled(host)


def test_a_look_that_is_asked_for_while_they_are_told_is_taken(host: Host) -> None:
    list_id = next(iter(host.sandbox.audiences))
    add_many(host, 30, wants_news=True)

    def asks() -> None:
        with host.app.app_context():
            person.look(host.services, "", "7")

    host.sandbox.before_answer(asks, path=f"POST /3.0/lists/{list_id}?")
    host.connect()
    looks = host.calls("GET", f"/members/{subscriber_hash('c6@example.com')}")
    assert len(looks) == 1
    host.clock.turn(minutes=5)  # the answer was not written over it, so that it counts as lost
    host.work()
    settled(host)


def test_who_decided_before_keeps_the_time_of_it(host: Host) -> None:
    host.connect()
    host.add("ada@example.com", wants_news=False)
    host.change(1, wants_news=True)
    host.work()
    (before,) = host.rows("contact")
    with host.app.app_context():
        connect.disconnect(host.services, "")
    host.sandbox.delete_audience(host.list_id)
    host.sandbox.add_audience("Another")
    host.connect()
    (contact,) = host.rows("contact")
    assert contact.wanted_at == before.wanted_at is not None


def test_whom_we_knew_in_a_list_that_is_empty_now_is_looked_at(connected: Host) -> None:
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.settings(enabled=False)
    connected.sandbox.drop_rings(1)
    connected.sandbox.delete_permanently(connected.list_id, "ada@example.com")
    connected.settings(enabled=True)
    connected.work()
    connected.clock.turn(minutes=5)
    connected.work()
    assert (connected.box(ada), connected.state(ada)) == (True, "refused")


def test_who_was_archived_since_nobody_was_there_stays_archived(host: Host) -> None:
    list_id = next(iter(host.sandbox.audiences))
    add_many(host, 1200, wants_news=True)

    def archives() -> None:
        host.sandbox.add_members(list_id, ["c100@example.com"], status="archived")
        host.clock.turn(minutes=1)

    host.sandbox.after_effect(archives, path=f"POST /3.0/lists/{list_id}?")
    host.enable()
    with host.app.app_context():
        for number in range(40):
            drain.drain(host.services, 1, f"worker {number}", budget_s=0.0)
    host.work()
    assert host.status("c100@example.com") == "archived"
    assert (host.box(101), host.state(101)) == (True, "archived")


def test_a_list_that_goes_meanwhile_is_not_written_to_again_and_again(host: Host) -> None:
    list_id = next(iter(host.sandbox.audiences))
    other = host.sandbox.add_audience("Other")
    add_many(host, 6000, wants_news=True)
    host.sandbox.before_answer(
        lambda: host.sandbox.delete_audience(list_id), path=f"POST /3.0/lists/{list_id}?"
    )
    host.connect()
    assert len(writes(host)) <= host.services.config.CONNECTIONS + 1
    host.settings(master_list=other)
    host.work()
    assert len(host.sandbox.members(other)) == 6000


@pytest.mark.parametrize("at_a_time", [1, 4])
def test_no_call_waits_in_a_queue_where_a_no_would_overtake_it(
    tmp_path: Path, clock: Clock, at_a_time: int
) -> None:
    sandbox = MailchimpSandbox(clock=clock)
    sandbox.latency_s = 0.2
    (list_id,) = sandbox.audiences
    members: list[int] = []

    def name(customer: Any) -> str:
        """As the second call is made ready, the first has gone out; it is answered if it must be."""
        if customer.id == 501:
            if at_a_time > 1:
                until(lambda: sandbox.connections, within_s=5)
            members.append(len(sandbox.members(list_id)))
        return f"N{customer.id}"

    mapping = replace(MAPPING, merge_fields={"FNAME": name}, depends_on=("id",))
    with hosting(tmp_path, sandbox, clock, mapping=mapping) as host:
        host.configure(CONNECTIONS=at_a_time)
        add_many(host, 600, wants_news=True)
        host.connect()
    assert members == [500 if at_a_time == 1 else 0]


def test_a_sync_that_is_paused_or_cancelled_stops_there(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "LARGEST_BATCH", 10)
    add_many(host, 300, wants_news=True)
    list_id = next(iter(host.sandbox.audiences))

    def cancels() -> None:
        with host.app.app_context():
            acts.cancel_sync(host.services, "")

    host.sandbox.after_effect(cancels, path=f"POST /3.0/lists/{list_id}?")
    host.connect()
    assert 10 <= len(statuses(host)) < 300
    (run,) = progress(host)
    assert run.state == "cancelled"
    with host.app.app_context():
        acts.start_sync(host.services, "")
    host.work()
    assert len(statuses(host)) == 300
    host.clock.turn(minutes=5)  # what was on its way has landed by then
    host.work()
    settled(host)
