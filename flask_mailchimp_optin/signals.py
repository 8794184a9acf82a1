"""Signals (blinker) that the host may listen to. The sender is the Flask application.

They are sent after the fact is stored; a receiver's error is logged and changes nothing.
"""

from __future__ import annotations

import logging
from typing import Any

from blinker import NamedSignal, Namespace

_namespace = Namespace()

#: A tenant was connected to Mailchimp: ``tenant``.
connected: NamedSignal = _namespace.signal("mailchimp-connected")
#: A tenant's connection ended or was suspended: ``tenant``, ``reason``.
disconnected: NamedSignal = _namespace.signal("mailchimp-disconnected")
#: A customer is subscribed: ``tenant``, ``customer_key``, ``reason``.
customer_subscribed: NamedSignal = _namespace.signal("mailchimp-customer-subscribed")
#: A customer is not subscribed any more: ``tenant``, ``customer_key``, ``reason``.
customer_unsubscribed: NamedSignal = _namespace.signal("mailchimp-customer-unsubscribed")
#: Mailchimp refused a customer: ``tenant``, ``customer_key``, ``reason``.
customer_needs_attention: NamedSignal = _namespace.signal("mailchimp-customer-needs-attention")
#: A sync came to its end: ``tenant``, ``run_id``.
sync_finished: NamedSignal = _namespace.signal("mailchimp-sync-finished")
#: A sync stopped because it would change too much: ``tenant``, ``run_id``.
sync_stopped: NamedSignal = _namespace.signal("mailchimp-sync-stopped")


def send(signal: NamedSignal, sender: Any, **facts: Any) -> None:
    """Send a signal; what a receiver raises stays with the receiver."""
    for receiver in signal.receivers_for(sender):
        try:
            receiver(sender, **facts)
        except Exception:
            logging.getLogger("flask_mailchimp_optin").exception(
                "a signal's receiver failed", extra={"signal": signal.name}
            )
