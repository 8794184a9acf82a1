"""The settings page's merge fields: ours beside the list's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import MAPPING, Clock, Host, hosting
from tests.views.admin import Admin

WIDER = replace(
    MAPPING,
    merge_fields={
        **MAPPING.merge_fields,
        "NUMBER": "id",
        "GREETING": lambda customer: f"Dear {customer.given_name}",
    },
    pull=("LNAME",),
)


@pytest.fixture
def host(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
    with hosting(tmp_path, sandbox, clock, mapping=WIDER) as made:
        yield made


def fields(host: Host) -> dict[str, str]:
    return {f.tag: f.type for f in host.sandbox._account.audiences[host.list_id].merge_fields}


def test_they_are_known_as_soon_as_it_is_connected(connected: Host, admin: Admin) -> None:
    admin.open()
    assert "FNAME given_name text" in admin.text
    assert "LNAME family_name and follows what people change at Mailchimp text" in admin.text
    assert "NUMBER id number ! Missing" in admin.text
    assert "GREETING a function of the application text ! Missing" in admin.text
    assert "has no fields for 2 of these details" in admin.text


def test_missing_ones_are_made_and_then_filled_in(connected: Host, admin: Admin) -> None:
    admin.send("/fields/create")
    assert "Made at Mailchimp: NUMBER, GREETING." in admin.text
    assert "Missing" not in admin.text
    assert fields(connected)["NUMBER"] == "number"
    made = connected.sandbox._account.audiences[connected.list_id].merge_fields[-1]
    assert (made.name, made.public, made.required) == ("GREETING", False, False)
    ada = connected.add("ada@example.com", wants_news=True, given_name="Ada")
    connected.work()
    member = connected.sandbox.members(connected.list_id)["ada@example.com"]
    assert member["merge_fields"]["GREETING"] == "Dear Ada"
    assert member["merge_fields"]["NUMBER"] == ada


def test_making_them_twice_makes_nothing(connected: Host, admin: Admin) -> None:
    admin.send("/fields/create")
    admin.send("/fields/create")
    assert "No field is missing at Mailchimp." in admin.text


def test_one_that_mailchimp_refuses_is_named(connected: Host, admin: Admin) -> None:
    connected.sandbox.fail_next(
        400, path="merge-fields", body={"title": "Invalid Resource", "detail": "no"}, times=1
    )
    connected.sandbox._account.audiences[connected.list_id].add_field(tag="NUMBER", name="N")
    before = fields(connected)
    admin.send("/fields/read")
    admin.send("/fields/create")
    assert fields(connected).keys() - before.keys() == {"GREETING"}


def test_a_required_field_that_is_not_sent_is_warned_of_and_keeps_nobody_out(
    connected: Host, admin: Admin
) -> None:
    audience = connected.sandbox._account.audiences[connected.list_id]
    audience.add_field(tag="COMPANY", name="Company", required=True)
    assert "COMPANY" not in admin.open()
    admin.send("/fields/read")
    assert "COMPANY not sent text ! Required, and not sent" in admin.text
    assert "requires 1 field that is not sent from here" in admin.text
    connected.add("ada@example.com", wants_news=True)
    connected.work()
    assert connected.status("ada@example.com") == "subscribed"


def test_a_refresh_of_the_lists_looks_at_them_too(connected: Host, admin: Admin) -> None:
    connected.sandbox._account.audiences[connected.list_id].add_field(tag="NUMBER", name="N")
    admin.send("/lists/refresh")
    assert "NUMBER id text ✓ There" in admin.text


def test_opening_the_page_asks_nothing_of_mailchimp(connected: Host, admin: Admin) -> None:
    asked = len(connected.sandbox.requests)
    admin.open()
    assert len(connected.sandbox.requests) == asked


@pytest.mark.parametrize("act", ["read", "create"])
def test_mailchimp_out_of_reach_is_said_and_what_was_known_stays(
    connected: Host, admin: Admin, act: str
) -> None:
    connected.sandbox.fail_next(503, times=5)
    admin.send(f"/fields/{act}")
    assert "Mailchimp has a problem of its own (503)" in admin.text
    assert "NUMBER id number ! Missing" in admin.text


def test_where_they_could_not_be_read_nobody_claims_anything(host: Host, admin: Admin) -> None:
    host.sandbox.fail_next(503, path="merge-fields", times=5)
    admin.connect(host.sandbox.api_key)
    assert "Mailchimp is connected" in admin.text
    assert "Nobody has looked at Mailchimp’s fields yet" in admin.text
    assert "Missing" not in admin.text
