"""A year goes by: what is kept of it, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_mailchimp_optin import jobs
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import Clock, Host, hosting

_WEEKS = 52


def _a_week(host: Host, ada: int, *, yes: bool) -> None:
    """A decision here, one at Mailchimp, an edited profile; a daily sync and a sweep."""
    host.change(ada, wants_news=yes, given_name=f"Ada {yes}")
    host.work()
    act = host.sandbox.unsubscribe if yes else host.sandbox.confirm
    if host.status("ada@example.com") in ("subscribed", "pending"):
        act(host.list_id, "ada@example.com")
    host.work()
    host.clock.turn(days=7)
    host.work()
    with host.app.app_context():
        jobs.sweep()


def test_a_year_leaves_the_ledger_and_one_row_for_each_of_us(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    for week in range(_WEEKS):
        _a_week(connected, ada, yes=week % 2 == 1)
    sizes = {
        name: len(connected.rows(name))
        for name in ("customer", "contact", "outbox", "webhook_event", "sync_run", "decision")
    }
    assert (sizes["customer"], sizes["contact"], sizes["outbox"]) == (1, 1, 0)
    assert 0 < sizes["webhook_event"] < _WEEKS / 2  # those of the last 90 days
    assert 0 < sizes["sync_run"] < _WEEKS / 2
    assert sizes["decision"] >= _WEEKS  # all of them


@pytest.mark.parametrize("days", [0, 30])
def test_the_ledger_keeps_each_customers_last_word_and_the_rest_as_long_as_is_said(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock, days: int
) -> None:
    with hosting(tmp_path, sandbox, clock, MAILCHIMP_OPTIN_KEEP_DECISIONS_DAYS=days) as host:
        host.connect()
        ada, bob, cyd = (
            host.add(f"{n}@example.com", wants_news=True) for n in ("ada", "bob", "cyd")
        )
        for yes in (False, True, False):
            host.change(ada, wants_news=yes)
            host.work()
        host.delete(bob)
        host.work()
        before = host.rows("decision")
        clock.turn(days=29)
        host.work()
        assert host.rows("decision") == before
        clock.turn(days=2)
        host.change(cyd, wants_news=False)
        host.work()
        kept = [(row.customer_key, row.value) for row in host.rows("decision")]
        if days:
            assert kept == [(str(ada), False), (str(cyd), False)]
        else:
            assert len(kept) == len(before) + 1
        clock.turn(days=2)
        host.work()
        assert (host.box(ada), host.box(cyd)) == (False, False)
        assert host.status("ada@example.com") == host.status("cyd@example.com") == "unsubscribed"


def test_what_is_kept_of_a_person_goes_with_their_customer(connected: Host) -> None:
    ada = connected.add(wants_news=True, given_name="Ada")
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    connected.delete(ada)
    connected.work()
    connected.clock.turn(days=91)
    connected.work()
    with connected.app.app_context():
        jobs.sweep()
    left = {
        name
        for name in ("customer", "contact", "outbox", "webhook_event", "decision", "erasure")
        if "ada@example.com" in str(connected.rows(name))
    }
    assert left == {"decision"}, "which has a setting of its own"
