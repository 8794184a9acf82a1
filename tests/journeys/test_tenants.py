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
from tests.house import MAPPING, Clock, Host, db, hosting

RED, BLUE = "red", "blue"


@pytest.fixture
def both(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
    """A host whose customers' tenant is in ``notes``; red and blue have a list each."""
    mapping = replace(MAPPING, tenant="notes", audience=None)
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
