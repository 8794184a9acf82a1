"""API keys: a text that is not exactly a key is refused before a packet leaves this machine."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from flask_mailchimp_optin.client import Client
from flask_mailchimp_optin.credential import check_key, datacentre
from flask_mailchimp_optin.errors import RefusedInput, TryLater

HEX = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"
GOOD = f"{HEX}-us6"

_EVIL = [
    "evil.example", "evil.example/", "evil.example:443", "us6@evil.example", "us6:x@evil.example",
    "us6/evil", "us6/../evil", "us6?x", "us6#x", "us6#@evil.example", "us6?@evil.example",
    "us6\\evil", "us6\\@evil.example", "us6;evil", "us6,evil", "us6&x=1", "us6=1", "us6$x", "us6!",
    "us6*", "us6'", 'us6"', "us6<x>", "us6(x)", "us6[x]", "us6{0}", "us6|x", "us6^", "us6`id`",
    "us6~", "us6+", "us6.", ".us6", "us6.evil", "us6.evil.example", "us6..", "127.0.0.1",
    "[::1]", "::1", "localhost", "0x7f000001", "2130706433", "us6.api.mailchimp.com.evil.example",
    "us6.api.mailchimp.com", "evil.example/us6", "evil.example#us6", "evil.example?us6",
    "evil.example/-us6", "evil.example#-us6", "evil.example@-us6", "$(id)", "{dc}", "%s",
    "us6%00", "us6%0d%0a", "us6%2e", "us6%2fevil", "us6%40evil.example", "%75%73%36", "us%36",
    "us6\r\nHost: evil.example", "us6\nX: y", "us6\rX: y", "us6\x00", "us6\x00.evil.example",
    "us6\x7f", "us6\x1b[0m", "us6\tx", "us6 x", "us 6", "us\u00a06", "us\u20076", "us\u200b6",
    "us6\u200b", "us6\u200d", "us6\ufeff", "us6\u202e", "us6\u00ad", "us６", "us６.evil",
    "us٦", "us۶", "us६", "us\u2076", "us₆", "us⑥", "us6\u3002evil", "us6\uff0eevil", "us6\uff61evil",
    "us6\u2024evil", "us6\uff0fevil", "us6\u2044evil", "us6\u2215evil", "us6\uff20evil",
    "us6\uff1aevil", "us6\uff1fevil", "us6\uff03evil", "us6\u2028x", "us6\u2029x", "us6\u0085x",
    "ｕｓ6", "uѕ6", "սs6", "ûs6", "us6é", "ſs6", "us\U0001d7d46", "us6\ud800", "us6💥",
    "US6", "Us6", "uS6", "us6 us7", "us6,us7", "us6-us7", "us6-", "-us6", "us-6", "us_6", "6us",
    "us", "6", "", "u6", "s", "us6666", "usxyz6", "abcde1", "us6a", "us6us6", "us+6", "us-1", "us1.0",
    "us1e3", "us0x1", "a" * 64, "us6" * 100, "../us6", "./us6", "/us6", "//us6", "//evil.example",
    "http://evil.example", "https://evil.example/", "file:///etc/passwd", "javascript:alert(1)",
    "xn--evil", "xn--us6-abc", "us6.local", "us6.onion", "metadata.google.internal",
    "169.254.169.254", "169.254.169.254/latest", "0", "us6\\n", "us6\\r\\n", "us6\u000b.x", "us6\u000cx",
]  # fmt: skip

_OTHER = [
    "", " ", "-", "--", "-us6", "us6", HEX, f"{HEX}us6", f"{HEX} us6", f"{HEX}–us6", f"{HEX}—us6",
    f"{HEX}_us6", f"{HEX}.us6", f"{HEX}/us6", f"{HEX}:us6", f"{HEX}@us6", f"{HEX}−us6",
    f"{HEX}\u2010us6", f"{HEX}\u2011us6", f"{HEX}\uff0dus6", f"{HEX}\u00adus6", f"{HEX}\n-us6",
    f"{HEX}\r\n-us6", f"{HEX}\x00-us6", f"{HEX} -us6", f"{HEX}- us6", f"{HEX}-\nus6",
    f"{HEX[:-1]}-us6", f"{HEX}0-us6", f"{HEX * 2}-us6", f"{HEX[:-1]}g-us6", f"{HEX[:-1]}G-us6",
    f"{HEX.upper()}-us6", f"{HEX[:-1]}F-us6", f"{HEX[:-1]} -us6", f"{HEX[:-1]}\u0660-us6",
    f"{HEX[:-1]}\uff10-us6", f"{HEX[:-1]}é-us6", f"{HEX[:-1]}\u0430-us6", f"{HEX[:-1]}\x00-us6",
    f"{HEX[:16]}\n{HEX[16:]}-us6", f"{HEX[:16]} {HEX[16:]}-us6", f"{HEX[:16]}-{HEX[16:]}-us6",
    f"0x{HEX[2:]}-us6", f"'{GOOD}'", f'"{GOOD}"', f"<{GOOD}>", f"key={GOOD}", f"Bearer {GOOD}",
    f"{GOOD} {GOOD}", f"{GOOD},{GOOD}", f"{GOOD}\n{GOOD}", f"x{GOOD}", f"{GOOD}x", f"user:{GOOD}",
    f"//evil.example/{GOOD}", f"https://evil.example/{GOOD}",
     f"\u200b{GOOD}", f"\ufeff{GOOD}", f"\x00{GOOD}",
    f"evil.example/{GOOD}", f"evil.example-{GOOD}", f"{HEX}-evil-us6", f"{HEX}-us6-evil.example/",
    "md-0123456789abcdefABCDEF", "sk_live_0123456789abcdef0123456789", "password", "admin@example.com",
    "None", "null", "{{7*7}}", "' OR 1=1 --", "<script>alert(1)</script>", "a" * 100_000, "0" * 36,
]  # fmt: skip

HOSTILE = [f"{HEX}-{centre}" for centre in _EVIL] + _OTHER


@pytest.fixture
def packets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A spy on the two doors out: names and connections."""
    seen: list[Any] = []

    def resolve(host: object, *args: object, **_more: object) -> object:
        seen.append((host, *args[:1]))
        raise socket.gaierror("a test resolves no names")

    def connect(_self: socket.socket, address: object) -> None:
        seen.append(address)
        raise ConnectionRefusedError("a test connects nowhere")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    return seen


def test_there_are_more_than_two_hundred_hostile_keys() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) > 200


@pytest.mark.parametrize("key", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_key_is_refused_before_a_packet_leaves(key: str, packets: list[Any]) -> None:
    with pytest.raises(RefusedInput) as checked:
        check_key(key)
    with pytest.raises(RefusedInput):
        Client(key).account()
    assert packets == []
    # What was typed is not repeated: it may be the key of something else.
    assert str(checked.value).startswith("This is not a Mailchimp API key.")
    assert len(key) < 8 or key not in str(checked.value)


@pytest.mark.parametrize(
    ("typed", "host"),
    [
        pytest.param(GOOD, "us6.api.mailchimp.com", id="plain"),
        pytest.param(f"  {GOOD}\r\n", "us6.api.mailchimp.com", id="pasted-with-space"),
        pytest.param(f"\u00a0{GOOD}\u2003", "us6.api.mailchimp.com", id="pasted-from-a-page"),
        pytest.param(f"{HEX}-us21", "us21.api.mailchimp.com", id="two-digits"),
        pytest.param(f"{'f' * 32}-us1", "us1.api.mailchimp.com", id="letters"),
    ],
)
def test_a_good_key_goes_to_mailchimp_and_nowhere_else(
    typed: str, host: str, packets: list[Any]
) -> None:
    assert check_key(typed) == typed.strip()
    assert datacentre(check_key(typed)) == host.partition(".")[0]
    with Client(typed) as client, pytest.raises(TryLater):
        client.account()
    assert packets == [(host, 443)]
