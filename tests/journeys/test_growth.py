"""A year goes by: what is kept of it, and what is not."""

from __future__ import annotations

from flask_mailchimp_optin import jobs
from tests.house import Host

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
