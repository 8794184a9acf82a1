"""A restored backup: what happened since is learned from Mailchimp, and no word is undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_mailchimp_optin import acts
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import Clock, db, hosting
from tests.journeys.test_copies import dump


def test_a_sync_after_it_reads_mailchimp_first(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    with hosting(tmp_path, sandbox, clock) as host:
        host.connect()
        left, said_no, waiting, came = (
            host.add("left@example.com", wants_news=True),
            host.add("said-no@example.com", wants_news=True),
            host.add("waiting@example.com", wants_news=False),
            host.add("came@example.com"),
        )
        host.work()
        clock.turn(hours=1)
        host.change(waiting, wants_news=True)  # in the outbox when the backup is made
        dump(tmp_path / "host.sqlite3", tmp_path / "backup.sqlite3")

        clock.turn(hours=1)
        host.work()
        host.change(said_no, wants_news=False)
        host.change(waiting, wants_news=False)
        host.change(came, wants_news=True)
        sandbox.unsubscribe(host.list_id, "left@example.com")
        host.add("new@example.com", wants_news=True)
        host.work()
        with host.app.app_context():
            db.session.remove()
            db.engine.dispose()
        dump(tmp_path / "backup.sqlite3", tmp_path / "host.sqlite3")
        assert host.box(said_no) is True  # as it was

        clock.turn(hours=1)
        with host.app.app_context():
            acts.start_sync(host.services, "")
        host.work()
        assert [host.box(one) for one in (left, said_no, came)] == [False, False, True]
        assert host.status("left@example.com") == "unsubscribed"
        assert host.status("said-no@example.com") == "unsubscribed"
        assert host.status("came@example.com") == "subscribed"
        # A yes in the backup's outbox may be later than the no that is found there: they are asked.
        assert (host.status("waiting@example.com"), host.state(waiting)) == ("pending", "asked")
        assert host.status("new@example.com") == "subscribed"  # nobody's here, and left alone
