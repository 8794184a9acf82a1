"""Many clients and people at once: no deadlock, nothing lost, order kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox
from flask_mailchimp_optin.testing.sandbox.members import subscriber_hash
from tests.sandbox.conftest import Api
from tests.sandbox.hooked import Receiver

CLIENTS = 8
ROUNDS = 12


def test_clients_and_people_at_once(sandbox: MailchimpSandbox, api: Api, list_id: str) -> None:
    receiver = Receiver()
    sandbox.deliver_to(receiver)
    assert api.hook("https://host.example/hook").status_code == 200
    start = threading.Barrier(CLIENTS)

    def busy(client: int) -> None:
        mine = Api(api.url, sandbox.api_key, list_id)
        start.wait(5)
        for number in range(ROUNDS):
            email = f"c{client}n{number}@example.com"
            row = {"email_address": email, "status_if_new": "subscribed"}
            assert mine.batch(row).json()["total_created"] == 1
            sandbox.unsubscribe(list_id, email)
            page = mine.get("lists/{list}/members", sort_field="last_changed", count=1000)
            found = {m["email_address"]: m["status"] for m in page["members"]}
            assert found[email] == "unsubscribed"

    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(busy, client) for client in range(CLIENTS)]:
            done.result(30)
    assert sandbox.wait_for_rings(10)
    assert len(sandbox.members(list_id)) == CLIENTS * ROUNDS
    assert len(receiver.rings) == CLIENTS * ROUNDS
    assert [record.index for record in sandbox.requests] == list(range(len(sandbox.requests)))
    assert sandbox.connections == 0


def test_a_webhook_may_call_the_api_while_it_is_rung_and_registered(
    sandbox: MailchimpSandbox, api: Api, list_id: str
) -> None:
    seen: list[int] = []

    def asking(environ: dict[str, object], start_response: object) -> list[bytes]:
        path = f"lists/{{list}}/members/{subscriber_hash('ada@example.com')}"
        seen.append(api.call("GET", path).status_code)
        start_response("200 OK", [])  # type: ignore[operator]
        return [b""]

    sandbox.deliver_to(asking)
    assert api.hook("https://host.example/hook").status_code == 200
    sandbox.subscribe(list_id, "ada@example.com")
    assert sandbox.wait_for_rings(5)
    assert seen == [404, 200]
