"""Every request that the extension makes is one that Mailchimp's own description allows."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa

from flask_mailchimp_optin import connect
from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox
from tests.contract.openapi import Description
from tests.house import Clock, Customer, Host, db, hosting


def _a_long_day(host: Host) -> None:
    """Everything that the extension ever asks of Mailchimp, both journeys and all policies."""
    box = host.sandbox
    host.add("first@example.com", wants_news=True, given_name="First")
    host.connect(on_delete="archive")
    ada = host.add("ada@example.com", wants_news=True, given_name="Ada")
    host.work()
    host.change(ada, wants_news=False)
    host.work()
    host.change(ada, wants_news=True)  # rejoins
    host.work()
    box.unsubscribe(host.list_id, "ada@example.com")
    host.work()
    host.change(ada, wants_news=True)  # asked
    host.work()
    box.confirm(host.list_id, "ada@example.com")
    host.work()
    host.change(ada, mail="lovelace@example.com")  # moves
    host.work()
    host.delete(ada)  # archived
    host.work()
    host.settings(on_delete="delete")
    bob = host.add("bob@example.com", wants_news=True)
    host.work()
    host.delete(bob)  # deleted for good
    host.work()
    bare = box._account.audiences[host.list_id]
    bare.merge_fields = [field for field in bare.merge_fields if field.tag != "LNAME"]
    bare.fields_changed()
    with host.app.app_context():
        connect.create_fields(host.services, "")
    careful = box.add_audience("Careful", double_optin=True)
    with host.app.app_context():
        connect.refresh(host.services, "")
        connect.store_lists(host.services, "")
    host.settings(master_list=careful)
    with host.app.app_context():
        db.session.add_all(Customer(mail=f"c{n}@example.com", wants_news=True) for n in range(30))
        db.session.commit()
    host.work()
    with host.app.app_context():
        db.session.execute(sa.update(Customer).values(wants_news=False))
        db.session.commit()
    host.work()
    host.clock.turn(days=2)  # the daily sync
    host.work()
    with host.app.app_context():
        connect.disconnect(host.services, "")


def _template(path: str) -> str:
    return re.sub(r"/(lists|members|webhooks)/[^/]+", r"/\1/*", path.removeprefix("/3.0"))


def test_every_request_is_one_that_mailchimp_describes(
    description: Description, tmp_path: Path
) -> None:
    clock = Clock()
    sandbox = MailchimpSandbox(clock=clock)
    with hosting(tmp_path, sandbox, clock) as host:
        _a_long_day(host)
    problems = {
        f"{r.method} {r.path}: {problem}"
        for r in sandbox.requests
        for problem in description.check_request(r.method, r.path, r.query, r.body)
    }
    assert problems == set()
    calls = {f"{r.method} {_template(r.path)}" for r in sandbox.requests}
    assert calls == {
        "GET /",
        "GET /lists",
        "GET /lists/*/merge-fields",
        "POST /lists/*/merge-fields",
        "GET /lists/*/members",
        "GET /lists/*/members/*",
        "POST /lists/*",
        "PATCH /lists/*/members/*",
        "DELETE /lists/*/members/*",
        "POST /lists/*/members/*/actions/delete-permanent",
        "GET /lists/*/webhooks",
        "POST /lists/*/webhooks",
        "DELETE /lists/*/webhooks/*",
    }
    # To look for a member who is not there is no mistake; nothing else is refused.
    looks = ("GET /lists/*/members/*", 404)
    refused = [(f"{r.method} {_template(r.path)}", r.status) for r in sandbox.requests]
    assert [one for one in refused if one[1] >= 400 and one != looks] == []
