"""Signals: told after the fact is stored, to whoever listens, and nobody's trouble is ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from blinker import NamedSignal

from flask_mailchimp_optin import connect, signals
from tests.house import Host

ALL: tuple[NamedSignal, ...] = (
    signals.connected,
    signals.disconnected,
    signals.customer_subscribed,
    signals.customer_unsubscribed,
    signals.customer_needs_attention,
    signals.sync_finished,
)


@pytest.fixture
def heard(host: Host) -> Iterator[list[tuple[str, Any]]]:
    """(signal, customer key) in the order of their coming."""
    notes: list[tuple[str, Any]] = []
    receivers = []
    for signal in ALL:

        def receive(sender: Any, signal: NamedSignal = signal, **facts: Any) -> None:
            assert sender is host.app
            assert facts["tenant"] == ""
            name = signal.name.removeprefix("mailchimp-")
            notes.append((name, facts.get("customer_key")))

        signal.connect(receive, host.app)
        receivers.append((signal, receive))
    yield notes
    for signal, receive in receivers:
        signal.disconnect(receive, host.app)


def test_a_customers_way_is_told(host: Host, heard: list[tuple[str, Any]]) -> None:
    host.connect()
    assert heard == [("connected", None), ("sync-finished", None)]
    ada = str(host.add("ada@example.com", wants_news=True))
    host.work()
    assert heard[2:] == [("customer-subscribed", ada)]
    host.sandbox.unsubscribe(host.list_id, "ada@example.com")
    host.work()
    assert heard[3:] == [("customer-unsubscribed", ada)]
    host.sandbox.refuse("bob@example.com", "Invalid Resource", "looks fake or invalid")
    bob = str(host.add("bob@example.com", wants_news=True))
    host.work()
    assert heard[4:] == [("customer-needs-attention", bob)]
    with host.app.app_context():
        connect.disconnect(host.services, "")
    assert heard[5:] == [("disconnected", None)]


def test_a_receiver_that_fails_harms_nobody(
    connected: Host, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_sender: Any, **_: Any) -> None:
        raise RuntimeError("the host's own")

    with signals.customer_subscribed.connected_to(fail, connected.app):
        ada = connected.add(wants_news=True)
        connected.work()
    assert connected.state(ada) == "subscribed"
    assert "a signal's receiver failed" in caplog.text
