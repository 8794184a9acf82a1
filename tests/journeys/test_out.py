"""Journey out, in business words."""

from __future__ import annotations

from tests.house import Host


def test_a_ticked_customer_is_subscribed(connected: Host) -> None:
    connected.add("ada@example.com", given_name="Ada", wants_news=True)
    connected.work()
    assert connected.status("ada@example.com") == "subscribed"
