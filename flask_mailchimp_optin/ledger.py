"""The consent ledger's words: who decides, and a decision as it is shown.

Pure but for a context variable. Rows are written by ``outbox`` (the host's decisions, when their
change is absorbed), ``capture`` (a box that follows Mailchimp) and ``customers`` (what was found in the
database); ``round`` adds Mailchimp's receipt. Otherwise only an erasure changes them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Who decides, how, and what they saw.

    :param actor: the person's id or name in the host, never an address.
    :param source: a word such as ``settings page``, ``import``, ``mailchimp``.
    :param page: where it happened.
    :param wording: the text beside the checkbox, or its id and version.
    :param ip: the person's IP address, already truncated if it must be.
    :param at: when it was decided, if that was not just now.
    :param named: somebody named the decider, so that a first yes has a time.
    """

    actor: str | None = None
    source: str = "code"
    page: str | None = None
    wording: str | None = None
    ip: str | None = None
    at: datetime | None = None
    named: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One row of the ledger, for the host's own pages. Times are aware UTC.

    :param value: yes or no.
    :param previous: what it was before; None for unset.
    :param list_id: the customer's own list, if they had one; then the one that Mailchimp answered for.
    :param receipt: what Mailchimp answered, None before it did.
    """

    value: bool
    previous: bool | None
    decided_at: datetime
    recorded_at: datetime
    actor: str | None
    source: str
    page: str | None
    wording: str | None
    ip: str | None
    list_id: str | None
    receipt: str | None


_named: ContextVar[Facts | None] = ContextVar("mailchimp_optin_facts", default=None)


@contextmanager
def decided_by(
    actor: str | None = None,
    source: str = "code",
    wording: str | None = None,
    ip: str | None = None,
    page: str | None = None,
) -> Iterator[None]:
    """Name who decides for every change of the checkbox made inside the ``with`` block.

    A checkbox ticked on a new customer inside it is a decision with a time; outside it is a yes
    without a time, which never stands against a no found at Mailchimp.
    """
    facts = Facts(actor=actor, source=source, wording=wording, ip=ip, page=page, named=True)
    token = _named.set(facts)
    try:
        yield
    finally:
        _named.reset(token)


def named_facts() -> Facts | None:
    """What the innermost :func:`decided_by` says; None outside one."""
    return _named.get()


def truncate_ip(ip: str | None, how: str) -> str | None:
    """An IP address as the ledger may keep it.

    :param how: ``off``, ``truncated`` (the network: /24 or /48) or ``full``.
    """
    if ip is None or how == "off":
        return None
    try:
        # A link-local address may carry its interface: "fe80::1%eth0".
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return None
    # A server that listens on IPv6 shows 192.0.2.7 as ::ffff:192.0.2.7.
    address = getattr(address, "ipv4_mapped", None) or address
    if how == "full":
        return str(address)
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, bits), strict=False).network_address)
