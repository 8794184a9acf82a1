"""Two accounts of one host: each has its own connection, and neither sees the other's customers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_mailchimp_optin import connect, drain, overviews, waiting
from flask_mailchimp_optin.overviews import Settings
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import MAPPING, Clock, Customer, Host, db, hosting

RED, BLUE = "red", "blue"


def _by_notes(customer: Customer) -> str:
    """The tenant, told by a function; it fails for other notes."""
    return {RED: RED, BLUE: BLUE}[customer.notes or ""]


@pytest.fixture
def both(
    request: pytest.FixtureRequest, tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
) -> Iterator[Host]:
    """A host whose customers' tenant is in ``notes``; red and blue have a list each."""
    tenant = getattr(request, "param", "notes")
    mapping = replace(MAPPING, tenant=tenant, audience=None)
    lists = {RED: next(iter(sandbox.audiences)), BLUE: sandbox.add_audience("Blue news")}
    with hosting(tmp_path, sandbox, clock, mapping=mapping, tenant=lambda: RED) as host:
        with host.app.app_context():
            for tenant, list_id in lists.items():
                connect.connect(host.services, tenant, sandbox.api_key)
                connect.save_settings(
                    host.services, tenant, Settings(enabled=True, master_list=list_id)
                )
        host.list_id = lists[RED]
        host.app.config["TEST_LISTS"] = lists
        host.work()
        yield host


def test_each_tenants_customers_go_to_its_own_list(both: Host) -> None:
    lists = both.app.config["TEST_LISTS"]
    red = both.add("ada@example.com", wants_news=True, notes=RED)
    blue = both.add("ada@example.com", wants_news=True, notes=BLUE)
    both.add("nobody@example.com", wants_news=True, notes="green")
    both.work()
    assert set(both.sandbox.members(lists[RED])) == {"ada@example.com"}
    assert set(both.sandbox.members(lists[BLUE])) == {"ada@example.com"}
    assert both.rows("outbox") == []
    both.sandbox.unsubscribe(lists[BLUE], "ada@example.com")
    both.work()
    assert (both.box(red), both.box(blue)) == (True, False)


def test_a_sync_walks_over_its_own_tenants_customers_only(both: Host) -> None:
    for n in range(5):
        both.add(f"c{n}@example.com", wants_news=True, notes=RED if n < 2 else BLUE)
    both.work()
    both.clock.turn(days=2)
    both.work()
    last = {row.connection_id: row for row in both.rows("sync_run") if row.kind == "daily"}
    assert [row.customers for _, row in sorted(last.items())] == [2, 3]


@pytest.mark.parametrize(("first", "then"), [(RED, BLUE), (BLUE, RED)])
def test_a_customer_who_moves_to_another_tenant_leaves_the_first_list(
    both: Host, first: str, then: str
) -> None:
    lists = both.app.config["TEST_LISTS"]
    ada = both.add("ada@example.com", wants_news=True, notes=first)
    both.work()
    both.change(ada, notes=then)
    both.work()
    assert both.status("ada@example.com", lists[then]) == "subscribed"
    assert both.status("ada@example.com", lists[first]) == "unsubscribed"
    both.sandbox.unsubscribe(lists[then], "ada@example.com")
    both.work()
    assert both.box(ada) is False


def test_the_command_history_tells_what_was_decided_as_whose_customer(both: Host) -> None:
    ada = both.add("ada@example.com", wants_news=True, notes=RED)
    both.work()
    both.change(ada, notes=BLUE)
    both.change(ada, wants_news=False)  # not handed over yet: it waits in the outbox
    run = both.app.test_cli_runner().invoke

    def history(*options: str) -> list[str]:
        output = run(args=["mailchimp", "history", str(ada), *options]).output
        return [line.split("  ")[1].partition(",")[0] for line in output.splitlines()]

    for _ in range(2):
        assert history() == ["no", "yes"]
        assert history("--tenant", RED) == ["yes"]
        assert history("--tenant", BLUE) == ["no"]
        assert history("--tenant", "green") == []
        both.work()


def test_who_was_moved_past_the_listeners_after_a_change_is_handed_over(both: Host) -> None:
    lists = both.app.config["TEST_LISTS"]
    ada = both.add("ada@example.com", wants_news=True, notes=RED)
    both.work()
    both.change(ada, given_name="Ada")
    with both.app.app_context():
        db.session.execute(sa.text("UPDATE customer SET notes = 'blue'"))
        db.session.commit()
    both.work()
    assert both.status("ada@example.com", lists[BLUE]) == "subscribed"
    assert both.status("ada@example.com", lists[RED]) == "unsubscribed"


def test_who_is_handed_over_wakes_a_worker_for_the_other_tenant(both: Host) -> None:
    ada = both.add("ada@example.com", wants_news=True, notes=RED)
    both.work()
    both.change(ada, notes=BLUE)
    woken: list[str] = []
    services = replace(both.services, wake=lambda: woken.append("a worker"))
    (blue,) = (row.id for row in both.rows("connection") if row.tenant == BLUE)
    with both.app.app_context():
        drain.drain(services, blue, "blue's")  # it was red's customer
    assert woken == ["a worker"]
    assert [row.tenant for row in both.rows("outbox")] == [RED]


def test_one_tenant_disconnects_and_the_other_goes_on(both: Host) -> None:
    lists = both.app.config["TEST_LISTS"]
    with both.app.app_context():
        connect.disconnect(both.services, RED)
        assert overviews.tenants(both.services) == [BLUE]
    both.add("bob@example.com", wants_news=True, notes=BLUE)
    both.add("cyd@example.com", wants_news=True, notes=RED)
    both.work()
    assert both.status("bob@example.com", lists[BLUE]) == "subscribed"
    assert both.status("cyd@example.com", lists[RED]) is None
    assert len(both.sandbox.webhooks(lists[BLUE])) == 1


def test_the_pages_show_the_administrators_own_tenant_only(both: Host) -> None:
    red = both.add("ada@example.com", wants_news=True, notes=RED)
    blue = both.add("bob@example.com", wants_news=True, notes=BLUE)
    both.work()
    client = both.app.test_client()
    assert client.get(f"/integrations/mailchimp/customers/{red}").status_code == 200
    assert client.get(f"/integrations/mailchimp/customers/{blue}").status_code == 404
    assert client.get(f"/integrations/mailchimp/customers/{blue}?tenant=blue").status_code == 404


def test_only_the_connection_with_work_is_drained(both: Host) -> None:
    both.add("ada@example.com", wants_news=True, notes=BLUE)
    with both.app.app_context():
        assert len(waiting.connections_with_work(both.services)) == 1


def test_much_work_of_one_tenant_does_not_keep_the_other_waiting(both: Host) -> None:
    lists = both.app.config["TEST_LISTS"]
    for number in range(30):
        both.add(f"c{number}@example.com", wants_news=True, notes=RED)
    both.add("bob@example.com", wants_news=True, notes=BLUE)
    with both.app.app_context():
        red, blue = waiting.connections_with_work(both.services)
        assert drain.drain(both.services, red, "worker", budget_s=0.0) is True  # more is left
        drain.drain(both.services, blue, "worker")
        assert both.status("bob@example.com", lists[BLUE]) == "subscribed"
        assert len(both.sandbox.members(lists[RED])) < 30
    both.work()
    assert len(both.sandbox.members(lists[RED])) == 30


def _drain(host: Host, tenant: str) -> None:
    """What waits of this tenant's, and nothing of the other's."""
    with host.app.app_context(), host.services.begin() as tx:
        table = host.services.tables.connection
        connection_id = tx.value(sa.select(table.c.id).where(table.c.tenant == tenant))
    with host.app.app_context():
        drain.drain(host.services, connection_id, "worker")


def test_a_no_that_goes_ahead_takes_along_nothing_of_the_tenant_they_came_from(both: Host) -> None:
    ada = both.add("ada@example.com", wants_news=True, notes=RED)
    bob = both.add("bob@example.com", wants_news=True, notes=RED)
    both.work()
    both.clock.turn(hours=1)
    with both.app.app_context():
        of_ada, of_bob = (db.session.get_one(Customer, key) for key in (ada, bob))
        of_ada.wants_news, of_bob.given_name = False, "Bob"
        db.session.commit()  # both in one row of the outbox
        of_bob.wants_news, of_bob.notes = False, BLUE
        db.session.commit()
    _drain(both, BLUE)
    orphans = {row.address: row.orphan for row in both.rows("contact")}
    assert (both.state(ada), orphans["ada@example.com"]) == ("waiting", None)
    assert [row.tenant for row in both.rows("outbox")] == [RED]
    both.work()
    lists = both.app.config["TEST_LISTS"]
    assert [both.status(f"{who}@example.com", lists[RED]) for who in ("ada", "bob")] == 2 * [
        "unsubscribed"
    ]
    nos = {(d.tenant, d.customer_key) for d in both.rows("decision") if not d.value}
    assert nos == {(BLUE, str(bob)), (RED, str(ada))}


@pytest.mark.parametrize("both", [_by_notes], indirect=True, ids=["told by a function"])
@pytest.mark.parametrize("change", ["no", "deleted"])
def test_whose_tenant_cannot_be_told_stays_where_they_are(both: Host, change: str) -> None:
    lists = both.app.config["TEST_LISTS"]
    with both.app.app_context():
        now = overviews.read(both.services, BLUE).settings
        connect.save_settings(both.services, BLUE, replace(now, on_delete="delete"))
    ada = both.add("ada@example.com", wants_news=True, notes=RED)
    both.work()
    (before,) = both.rows("customer")
    both.clock.turn(hours=1)
    with both.app.app_context():
        where = Customer.id == ada
        act = sa.update(Customer).values(notes="?", wants_news=False)
        db.session.execute((act if change == "no" else sa.delete(Customer)).where(where))
        db.session.commit()
    assert [row.tenant for row in both.rows("outbox")] == [None]
    _drain(both, BLUE)
    assert both.rows("customer") == [before]
    both.work()
    assert [row.connection_id for row in both.rows("customer")] == (
        [before.connection_id] if change == "no" else []
    )
    assert both.status("ada@example.com", lists[RED]) == "unsubscribed"
    assert (both.rows("erasure"), both.rows("outbox")) == ([], [])


def test_who_moves_to_another_tenant_leaves_the_list_too_that_was_the_master_list_before(
    both: Host,
) -> None:
    first, second = both.app.config["TEST_LISTS"][RED], both.sandbox.add_audience("Second")
    ada = both.add("ada@example.com", wants_news=True, notes=RED)
    both.work()
    with both.app.app_context():
        connect.refresh(both.services, RED)
        connect.store_lists(both.services, RED)
        connect.save_settings(both.services, RED, Settings(enabled=True, master_list=second))
    both.work()
    both.change(ada, notes=BLUE)
    both.work()
    mail = "ada@example.com"
    assert (both.status(mail, first), both.status(mail, second)) == 2 * ("unsubscribed",)
    assert both.status(mail, both.app.config["TEST_LISTS"][BLUE]) == "subscribed"


@pytest.mark.parametrize("how", ["disconnected", "paused", "cannot decrypt"])
def test_who_moves_from_a_tenant_that_sends_nothing_arrives_all_the_same(
    both: Host, how: str
) -> None:
    ada = both.add("ada@example.com", wants_news=True, notes=RED)
    both.work()
    both.clock.turn(hours=1)
    with both.app.app_context():
        if how == "disconnected":
            connect.disconnect(both.services, RED)
        elif how == "paused":
            now = overviews.read(both.services, RED).settings
            connect.save_settings(both.services, RED, replace(now, enabled=False))
        else:
            table = both.services.tables.connection
            with both.services.begin() as tx:
                tx.execute(sa.update(table).where(table.c.tenant == RED).values(sealed_key="v1:?"))
    both.change(ada, notes=BLUE)
    both.work()
    assert both.status("ada@example.com", both.app.config["TEST_LISTS"][BLUE]) == "subscribed"
    assert both.rows("outbox") == []
