"""The initial, daily and manual sync, in business words."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa

from flask_mailchimp_optin import acts, connect, drain, overviews, runs, signals, waiting
from tests.house import Customer, Host, db


def add_many(host: Host, number: int, **values: Any) -> None:
    """Customers c0@example.com, c1@example.com, …, written past the listeners."""
    with host.app.app_context(), db.engine.begin() as connection:
        table = Customer.__table__
        rows = [{"mail": f"c{n}@example.com", **values} for n in range(number)]
        connection.execute(sa.insert(table), rows)


def progress(host: Host) -> list[runs.Progress]:
    with host.app.app_context(), host.services.begin() as tx:
        connection = overviews.find(tx, host.services, "")
        assert connection is not None
        return runs.progress(tx, host.services, connection.id)


def test_enabling_starts_a_sync_that_shows_its_progress(host: Host) -> None:
    add_many(host, 30, wants_news=True)
    host.connect()
    (run,) = progress(host)
    assert (run.kind, run.state, run.percent) == ("initial", "done", 100)
    assert (run.customers, run.customers_done) == (30, 30)
    assert (run.to_send, run.sent, run.failed) == (30, 30, 0)
    assert len(host.sandbox.members(host.list_id)) == 30


def test_a_large_sync_makes_several_calls_at_a_time_and_never_more_than_configured(
    host: Host,
) -> None:
    add_many(host, 2600, wants_news=True)
    host.sandbox.latency_s = 1.0
    host.connect()
    assert len(host.calls("POST", host.list_id)) - len(host.calls("POST", "/webhooks")) == 6
    assert 3 <= host.sandbox.peak_connections <= host.services.config.CONNECTIONS
    members = host.sandbox.members(host.list_id).values()
    assert [m["status"] for m in members] == 2600 * ["subscribed"]
    (run,) = progress(host)
    assert (run.state, run.sent, run.failed) == ("done", 2600, 0)


def test_whom_a_sync_has_made_a_member_is_not_read_again_by_the_next_worker(host: Host) -> None:
    add_many(host, 2600, wants_news=True)
    host.enable()
    with host.app.app_context():
        drains = 0
        while waiting.connections_with_work(host.services):
            drain.drain(host.services, 1, f"worker {drains}", budget_s=0.0)
            drains += 1
    readings = [r for r in host.calls("GET", "/members") if r.query.get("status") != "archived"]
    assert drains > 5
    assert len(readings) == 1  # the sync's own


def test_of_several_calls_at_a_time_each_answer_counts_for_its_own_members(host: Host) -> None:
    add_many(host, 1600, wants_news=True)
    path = f"POST /3.0/lists/{next(iter(host.sandbox.audiences))}?"
    host.sandbox.fail_next(500, path=path, applied=True)
    host.sandbox.fail_next(400, path=path)
    host.connect()
    for _ in range(8):
        host.clock.turn(minutes=2)
        host.work()
    assert len(host.sandbox.members(host.list_id)) == 1600
    with host.app.app_context():
        assert not [c for c in host.rows("contact") if c.due_at or c.late or c.refusal]


def test_mailchimp_is_read_before_anything_is_sent(host: Host) -> None:
    list_id = next(iter(host.sandbox.audiences))
    host.sandbox.add_members(list_id, ["c1@example.com"], status="unsubscribed")
    host.sandbox.add_members(list_id, ["c2@example.com"], status="archived")
    host.add("c0@example.com", wants_news=True)
    left = host.add("c1@example.com", wants_news=True)
    archived = host.add("c2@example.com", wants_news=True)
    host.connect()
    assert host.status("c0@example.com") == "subscribed"
    assert host.status("c1@example.com") == "unsubscribed"
    assert host.box(left) is False
    assert host.status("c2@example.com") == "archived"
    assert (host.box(archived), host.state(archived)) == (True, "archived")
    methods = [r.method for r in host.calls("", f"/lists/{list_id}") if "webhooks" not in r.path]
    assert methods.index("POST") > methods.index("GET")


def test_members_whom_a_sync_has_read_are_not_read_again_and_who_left_since_is_found(
    host: Host,
) -> None:
    list_id = next(iter(host.sandbox.audiences))
    add_many(host, 60, wants_news=True, given_name="Grace")
    host.sandbox.add_members(list_id, [f"c{n}@example.com" for n in range(60)])
    host.clock.turn(minutes=10)

    def leaves() -> None:
        host.sandbox.drop_rings(1)
        host.sandbox.unsubscribe(list_id, "c7@example.com")

    host.sandbox.before_answer(leaves, path=f"POST /3.0/lists/{list_id}?")
    host.connect()
    reads = [r.query.get("status") for r in host.calls("GET", f"{list_id}/members")]
    # Whether anybody is there, archived or not, at once; who; who was archived; and who since.
    assert sorted(map(str, reads[:2])) == ["None", "archived"]
    assert reads[2:] == [None, "archived", "archived"]
    assert host.status("c7@example.com") == "unsubscribed"
    assert [host.box(key) for key in (7, 8, 9)] == [True, False, True]
    members = host.sandbox.members(list_id).values()
    assert {member["merge_fields"]["FNAME"] for member in members} == {"Grace"}
    assert host.rows("contact")[0].profile is not None


def test_what_waited_for_enabling_is_part_of_the_first_sync(host: Host) -> None:
    list_id = next(iter(host.sandbox.audiences))
    host.sandbox.add_members(list_id, ["c1@example.com"], status="unsubscribed")
    host.connect(enabled=False)
    for n in range(3):
        host.add(f"c{n}@example.com", wants_news=True)
    host.work()
    assert host.sandbox.members(list_id).keys() == {"c1@example.com"}
    host.settings(enabled=True)
    host.work()
    (run,) = progress(host)
    assert (run.to_send, run.sent, run.boxes_off) == (3, 3, 1)
    calls = [f"{r.method} {r.path.rpartition('/')[2]}" for r in host.calls("", f"/{list_id}")]
    assert calls.index("GET members") < calls.index(f"POST {list_id}")


def test_who_subscribed_elsewhere_before_is_ticked(host: Host) -> None:
    list_id = next(iter(host.sandbox.audiences))
    host.sandbox.add_members(list_id, ["ada@example.com", "stranger@example.com"])
    ada = host.add("ada@example.com", wants_news=False)
    host.connect()
    assert host.box(ada) is True


def test_a_no_of_the_host_stands_in_the_first_sync(host: Host) -> None:
    list_id = next(iter(host.sandbox.audiences))
    host.sandbox.add_members(list_id, ["ada@example.com"])
    host.clock.turn(hours=1)
    ada = host.add("ada@example.com", wants_news=True)
    host.change(ada, wants_news=False)  # the ledger has it, though nobody was connected
    host.connect()
    assert host.box(ada) is False
    assert host.status("ada@example.com") == "unsubscribed"


def _stopped(host: Host) -> list[int]:
    list_id = next(iter(host.sandbox.audiences))
    addresses = [f"c{n}@example.com" for n in range(8)]
    host.sandbox.add_members(list_id, addresses, status="unsubscribed")
    add_many(host, 10, wants_news=True)
    stopped: list[int] = []

    @signals.sync_stopped.connect_via(host.app)
    def note(_sender: Any, **facts: Any) -> None:
        stopped.append(facts["run_id"])

    host.app.config["TEST_RECEIVER"] = note
    host.connect()
    return stopped


def boxes(host: Host) -> list[bool | None]:
    with host.app.app_context():
        return list(db.session.scalars(sa.select(Customer.wants_news).order_by(Customer.id)))


def test_a_sync_that_would_untick_too_many_waits_for_a_person(host: Host) -> None:
    host.configure(STOP_COUNT=5)
    stopped = _stopped(host)
    (run,) = progress(host)
    assert stopped == [run.run_id]
    assert (run.state, run.boxes_off) == ("waiting", 8)
    assert run.message is not None
    assert "untick 8 customers" in run.message
    assert boxes(host) == [True] * 10
    with host.app.app_context():
        acts.resume_sync(host.services, "")
    host.work()
    assert boxes(host) == [False] * 8 + [True] * 2
    assert progress(host)[0].state == "done"


def test_a_stopped_sync_can_be_cancelled(host: Host) -> None:
    host.configure(STOP_COUNT=5)
    _stopped(host)
    with host.app.app_context():
        acts.cancel_sync(host.services, "")
    host.work()
    assert progress(host)[0].state == "cancelled"
    assert boxes(host) == [True] * 10


def test_a_preview_counts_and_changes_nothing(connected: Host) -> None:
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.sandbox.drop_rings(1)
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    add_many(connected, 3, wants_news=True)
    writes = len([r for r in connected.sandbox.requests if r.method != "GET"])
    with connected.app.app_context():
        acts.start_sync(connected.services, "", "preview")
    connected.work()
    run = progress(connected)[0]
    assert (run.kind, run.state) == ("preview", "previewed")
    assert (run.to_send, run.boxes_off) == (4, 1)
    assert len([r for r in connected.sandbox.requests if r.method != "GET"]) == writes
    assert connected.box(ada) is True
    with connected.app.app_context():
        acts.start_sync(connected.services, "")
    connected.work()
    assert connected.box(ada) is False
    assert connected.status("c2@example.com") == "subscribed"


def test_a_sync_goes_on_where_it_was_cut_off(host: Host) -> None:
    add_many(host, 1200, wants_news=True)
    host.enable()
    with host.app.app_context():
        seen = []
        for _ in range(40):  # a worker that dies after every piece of work
            drain.drain(host.services, 1, "short-lived", budget_s=0.0001)
            run = progress(host)[0]
            seen.append((run.customers_done, run.percent, run.sent))
            if run.state == "done":
                break
    assert seen[-1] == (1200, 100, 1200)
    assert seen == sorted(seen)
    assert len(seen) > 5
    assert len(host.calls("POST", f"/lists/{host.list_id}")) - 1 <= 4  # and the webhook's


def test_daily_mode_waits_for_its_time_but_a_no_does_not(connected: Host) -> None:
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    now = connected.clock()
    later = f"{(now.hour + 2) % 24:02}:00"
    connected.settings(daily=True, daily_at=later)
    bob = connected.add("bob@example.com", wants_news=True)
    connected.change(ada, wants_news=False)
    connected.work()
    assert connected.status("ada@example.com") == "unsubscribed"
    assert connected.status("bob@example.com") is None
    assert connected.state(bob) == "waiting"
    connected.clock.turn(days=1)
    connected.work()
    assert connected.status("bob@example.com") == "subscribed"


def test_a_new_master_list_gets_everybody_and_the_old_one_keeps_them(connected: Host) -> None:
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    other = connected.sandbox.add_audience("Other")
    with connected.app.app_context():
        connect.refresh(connected.services, "")
        connect.store_lists(connected.services, "")
    connected.settings(master_list=other)
    connected.work()
    assert connected.status("ada@example.com", other) == "subscribed"
    assert connected.status("ada@example.com") == "subscribed"
    connected.change(ada, wants_news=False)
    connected.work()
    # A no reaches the list that they were left in, too.
    assert connected.status("ada@example.com", other) == "unsubscribed"
    assert connected.status("ada@example.com") == "unsubscribed"


def test_disconnecting_leaves_customers_and_members_and_takes_the_webhook(connected: Host) -> None:
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    assert len(connected.sandbox.webhooks(connected.list_id)) == 1
    with connected.app.app_context():
        assert connect.disconnect(connected.services, "") == []
    assert connected.sandbox.webhooks(connected.list_id) == []
    assert connected.status("ada@example.com") == "subscribed"
    assert connected.box(ada) is True
    assert connected.state(ada) == "not_connected"
    assert len(connected.history(ada)) == 1
    for table in ("connection", "audience", "contact", "customer", "sync_run", "webhook_event"):
        assert connected.rows(table) == [], table


def test_the_webhook_is_registered_as_it_must_be(connected: Host) -> None:
    (hook,) = connected.sandbox.webhooks(connected.list_id)
    assert hook["events"] == dict.fromkeys(
        ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign"), True
    )
    assert hook["sources"] == {"user": True, "admin": True, "api": False}
    assert hook["url"].startswith("https://host.example.com/integrations/mailchimp/webhook/")


def test_a_webhook_that_was_removed_at_mailchimp_is_repaired_daily(connected: Host) -> None:
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.sandbox.remove_webhooks(connected.list_id)
    connected.clock.turn(days=2)
    connected.work()
    assert len(connected.sandbox.webhooks(connected.list_id)) == 1
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    assert connected.box(ada) is False


@pytest.mark.parametrize("number", [2, 30], ids=["a few", "more than are read one by one"])
def test_who_was_deleted_at_mailchimp_unheard_is_found_by_a_manual_sync(
    connected: Host, number: int
) -> None:
    ids = [connected.add(f"c{n}@example.com", wants_news=True) for n in range(number + 1)]
    connected.work()
    connected.sandbox.drop_rings(number)
    for n in range(number):
        connected.sandbox.delete_permanently(connected.list_id, f"c{n}@example.com")
    connected.clock.turn(minutes=5)
    with connected.app.app_context():
        acts.start_sync(connected.services, "")
    connected.work()
    connected.clock.turn(minutes=2)  # a moment's mistake would be over by now
    connected.work()
    assert {connected.state(i) for i in ids[:-1]} == {"refused"}
    assert connected.state(ids[-1]) == "subscribed"
    assert {connected.box(i) for i in ids} == {True}


def _unheard(host: Host) -> int:
    """A member who left while nobody listened; their customer."""
    ada = host.add("ada@example.com", wants_news=True)
    host.work()
    host.clock.turn(minutes=30)
    host.sandbox.drop_rings(1)
    host.sandbox.unsubscribe(host.list_id, "ada@example.com")
    host.clock.turn(days=1)
    return ada


@pytest.mark.parametrize("how", ["404", "a row is missing", "a row says nothing"])
def test_a_daily_reading_that_was_not_whole_is_made_up_for_by_the_next(
    connected: Host, how: str
) -> None:
    ada = _unheard(connected)
    page = re.compile(r"/members\?")
    if how == "404":
        connected.sandbox.fail_next(404, path=page)
    else:
        rows: list[dict[str, Any]] = [] if how == "a row is missing" else [{}]
        connected.sandbox.rewrite_next(lambda body: body | {"members": rows}, path=page)
    connected.work()
    assert connected.box(ada) is True
    connected.clock.turn(days=1)
    connected.work()
    assert connected.box(ada) is False


def test_a_daily_sync_reads_all_members_once_a_week_and_finds_who_is_gone_for_good(
    connected: Host,
) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.drop_rings(1)
    connected.sandbox.delete_permanently(connected.list_id, "ada@example.com")
    for _ in range(8):
        connected.clock.turn(days=1)
        connected.work()
    connected.clock.turn(minutes=5)
    connected.work()
    assert (connected.box(ada), connected.state(ada)) == (True, "refused")
    full = [c for c in connected.calls("GET", "/members") if "since_last_changed" not in c.query]
    assert len([c for c in full if c.path.endswith("/members")]) == 2 * 2  # the archived apart
