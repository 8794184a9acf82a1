"""The ledger's words: who decides, nested and apart, and which IP address may be kept."""

from __future__ import annotations

import threading

import pytest

from flask_mailchimp_optin.ledger import decided_by, named_facts, truncate_ip


def actor() -> str | None:
    facts = named_facts()
    return None if facts is None else facts.actor


def test_outside_a_block_nobody_is_named() -> None:
    assert named_facts() is None


def test_a_block_says_everything_that_the_ledger_keeps() -> None:
    with decided_by("7", source="import", wording="v2", ip="192.0.2.7", page="/import"):
        facts = named_facts()
    assert facts is not None
    assert (facts.actor, facts.source, facts.wording) == ("7", "import", "v2")
    assert (facts.ip, facts.page, facts.named, facts.at) == ("192.0.2.7", "/import", True, None)
    assert named_facts() is None


def test_the_innermost_block_counts_and_inherits_nothing() -> None:
    with decided_by("outer", wording="v1"):
        with decided_by("inner"):
            facts = named_facts()
            assert facts is not None
            assert (facts.actor, facts.wording) == ("inner", None)
        assert actor() == "outer"
    assert actor() is None


def test_an_error_inside_a_block_ends_it() -> None:
    def fail() -> None:
        with decided_by("inner"):
            raise LookupError

    with decided_by("outer"):
        with pytest.raises(LookupError):
            fail()
        assert actor() == "outer"
    assert actor() is None


def test_threads_do_not_speak_for_each_other() -> None:
    seen: list[str | None] = []
    with decided_by("main"):
        thread = threading.Thread(target=lambda: seen.append(actor()))
        thread.start()
        thread.join()
    assert seen == [None]


@pytest.mark.parametrize(
    ("ip", "truncated", "full"),
    [
        pytest.param("192.0.2.77", "192.0.2.0", "192.0.2.77", id="v4"),
        pytest.param("255.255.255.255", "255.255.255.0", "255.255.255.255", id="v4-last"),
        pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1::", "2001:db8:1:2:3:4:5:6", id="v6"),
        pytest.param("2001:0DB8:0:0::1", "2001:db8::", "2001:db8::1", id="v6-long-form"),
        pytest.param("::1", "::", "::1", id="v6-loopback"),
        pytest.param("::ffff:192.0.2.77", "192.0.2.0", "192.0.2.77", id="v4-in-v6"),
        pytest.param("::ffff:c000:24d", "192.0.2.0", "192.0.2.77", id="v4-in-v6-hex"),
        pytest.param("fe80::1%eth0", "fe80::", "fe80::1", id="with-interface"),
    ],
)
def test_an_ip_address_is_kept_as_far_as_it_may_be(ip: str, truncated: str, full: str) -> None:
    assert truncate_ip(ip, "truncated") == truncated
    assert truncate_ip(ip, "full") == full
    assert truncate_ip(ip, "off") is None


@pytest.mark.parametrize("how", ["off", "truncated", "full"])
@pytest.mark.parametrize(
    "ip",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param("unix:", id="socket"),
        pytest.param("192.0.2.7:8080", id="with-port"),
        pytest.param("192.0.2", id="cut"),
        pytest.param("192.0.2.7, 10.0.0.1", id="forwarded-list"),
        pytest.param("<script>", id="markup"),
        pytest.param("%eth0", id="interface-only"),
    ],
)
def test_what_is_no_ip_address_is_not_kept(ip: str | None, how: str) -> None:
    assert truncate_ip(ip, how) is None
