"""Fast enough that tests with many members measure the integration and not the sandbox."""

from __future__ import annotations

import json
import statistics
import time

import pytest
from werkzeug.test import Client

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox

MANY = 20_000


@pytest.fixture(scope="module")
def crowd() -> tuple[MailchimpSandbox, str]:
    sandbox = MailchimpSandbox()
    list_id = next(iter(sandbox.audiences))
    sandbox.add_members(list_id, (f"p{n}@example.com" for n in range(MANY)))
    return sandbox, list_id


def test_a_batch_of_500_takes_milliseconds(crowd: tuple[MailchimpSandbox, str]) -> None:
    sandbox, list_id = crowd
    client, times = Client(sandbox), []
    for first in range(0, 5000, 500):
        rows = [
            {
                "email_address": f"p{n}@example.com",
                "status_if_new": "subscribed",
                "merge_fields": {"FNAME": "New", "LNAME": "Name"},
            }
            for n in range(first, first + 500)
        ]
        body = json.dumps({"members": rows, "update_existing": True})
        before = time.perf_counter()
        answer = client.post(
            f"/3.0/lists/{list_id}",
            data=body,
            content_type="application/json",
            headers={"Authorization": f"Bearer {sandbox.api_key}"},
        )
        times.append(time.perf_counter() - before)
        assert answer.json is not None
        assert answer.json["total_updated"] == 500
    # 20 ms on a 2-core machine; the rest is for busy ones.
    assert statistics.median(times) < 0.15


def test_pages_far_back_cost_no_more_than_the_first(crowd: tuple[MailchimpSandbox, str]) -> None:
    sandbox, list_id = crowd
    client, times = Client(sandbox), []
    for offset in range(0, MANY, 1000):
        before = time.perf_counter()
        answer = client.get(
            f"/3.0/lists/{list_id}/members",
            query_string={
                "count": 1000,
                "offset": offset,
                "since_last_changed": "2020-01-01T00:00:00+00:00",
                "fields": "members.email_address",
            },
            headers={"Authorization": f"Bearer {sandbox.api_key}"},
        )
        times.append(time.perf_counter() - before)
        assert answer.json is not None
        assert len(answer.json["members"]) == 1000
    assert statistics.median(times[-5:]) < 3 * statistics.median(times[1:6]) + 0.02
