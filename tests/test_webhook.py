"""Rings, pure: every body that Mailchimp is known to send, and every signature that must not hold."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_mailchimp_optin.addresses import canonical
from flask_mailchimp_optin.webhook import (
    MAX_BODY,
    TOLERANCE,
    TYPES,
    Malformed,
    Ring,
    parse,
    signature_holds,
)

LIST = "a6b5da1054"
FIRED = "2026-03-26 21:35:57"
AT = datetime(2026, 3, 26, 21, 35, 57, tzinfo=UTC)

PERSON = {
    "type": "subscribe",
    "fired_at": FIRED,
    "data[id]": "8a25ff1d98",
    "data[email]": "Ada@Example.com",
    "data[email_type]": "html",
    "data[ip_opt]": "10.20.10.30",
    "data[web_id]": "3375995",
    "data[merges][EMAIL]": "Ada@Example.com",
    "data[merges][FNAME]": "Ada",
    "data[list_id]": LIST,
}
UPEMAIL = {
    "type": "upemail",
    "fired_at": FIRED,
    "data[list_id]": LIST,
    "data[new_id]": "51da8c3259",
    "data[new_email]": "New@example.com",
    "data[old_email]": "Old@example.com",
}
CLEANED = {
    "type": "cleaned",
    "fired_at": FIRED,
    "data[list_id]": LIST,
    "data[campaign_id]": "4fjk2ma9xd",
    "data[reason]": "hard",
    "data[email]": "ada@example.com",
}
CAMPAIGN = {
    "type": "campaign",
    "fired_at": FIRED,
    "data[id]": "5aa2102003",
    "data[subject]": "Test Campaign Subject",
    "data[status]": "sent",
    "data[reason]": "",
    "data[list_id]": LIST,
}


def body(form: dict[str, str], **changed: str | None) -> bytes:
    """A form as a body; ``data__email`` is ``data[email]``, and None leaves a key out."""
    found: dict[str, str | None] = dict(form)
    for name, value in changed.items():
        found[name.replace("__", "[") + "]" if "__" in name else name] = value
    return urlencode({key: value for key, value in found.items() if value is not None}).encode()


GROUPS = {
    "data[merges][INTERESTS]": "Group1,Group2",
    "data[merges][GROUPINGS][0][id]": "1",
    "data[merges][GROUPINGS][0][unique_id]": "e3a1",
    "data[merges][GROUPINGS][0][name]": "Interests, of any kind",
    "data[merges][GROUPINGS][0][groups]": "Group1, Group2",
}
ADDRESS_PARTS = {
    f"data[merges][ADDRESS][{part}]": "x"
    for part in ("addr1", "addr2", "city", "state", "zip", "country")
}


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(body(PERSON), id="subscribe"),
        pytest.param(body(PERSON, type="profile"), id="profile"),
        pytest.param(body(PERSON, data__ip_signup="10.20.10.30"), id="with-ip-signup"),
        pytest.param(body(PERSON, data__ip_opt=None), id="without-ip-opt"),
        pytest.param(body(PERSON, data__merges=""), id="blank-merges"),
        pytest.param(body({**PERSON, "data[merges][ADDRESS]": ""}), id="flat-address"),
        pytest.param(body({**PERSON, **ADDRESS_PARTS}), id="nested-address"),
        pytest.param(body({**PERSON, **GROUPS}), id="groupings"),
        pytest.param(
            body(PERSON, type="unsubscribe", data__action="unsub", data__reason="manual"),
            id="unsubscribe",
        ),
        pytest.param(
            body(PERSON, type="unsubscribe", data__action="delete", data__reason="manual"),
            id="archived",
        ),
        pytest.param(body(PERSON, type="unsubscribe", data__reason="abuse"), id="abuse"),
        pytest.param(body(PERSON, type="unsubscribe"), id="unsubscribe-without-action"),
        pytest.param(body(CLEANED), id="cleaned"),
        pytest.param(body(CLEANED, data__reason="abuse"), id="cleaned-abuse"),
        pytest.param(b"&".join(reversed(body(PERSON).split(b"&"))), id="other-order"),
        pytest.param(body(PERSON).replace(b"%5B", b"[").replace(b"%5D", b"]"), id="raw-brackets"),
        pytest.param(body(PERSON).replace(b"%5B", b"%5b").replace(b"%5D", b"%5d"), id="lower-hex"),
        pytest.param(body(PERSON) + b"&" + body({"unknown[key]": "x"}), id="a-key-more"),
        pytest.param(body(PERSON, data__email=" ada@example.com "), id="spaces-around-address"),
    ],
)
def test_a_ring_about_a_person_names_list_and_address(sent: bytes) -> None:
    ring = parse(sent)
    assert (ring.list_id, ring.address, ring.new_address) == (LIST, "ada@example.com", None)
    assert ring.type in TYPES
    assert ring.fired_at == AT
    assert ring.digest == hashlib.sha256(sent).hexdigest()


def test_a_changed_address_names_both() -> None:
    ring = parse(body(UPEMAIL))
    assert (ring.type, ring.address, ring.new_address) == (
        "upemail",
        "old@example.com",
        "new@example.com",
    )


def test_a_campaign_is_about_nobody() -> None:
    ring = parse(body(CAMPAIGN))
    assert (ring.type, ring.address, ring.new_address) == ("campaign", None, None)


@pytest.mark.parametrize(
    "address",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="blank"),
        pytest.param("nobody", id="no-address"),
        pytest.param("ada@example.com\x00", id="nul"),
        pytest.param("a" * 300 + "@example.com", id="too-long"),
        pytest.param("\ufffd@example.com,", id="two"),
    ],
)
def test_an_impossible_address_is_a_ring_about_nobody(address: str | None) -> None:
    assert parse(body(PERSON, data__email=address)).address is None


@pytest.mark.parametrize(
    ("fired_at", "expected"),
    [
        pytest.param(FIRED, AT, id="as-documented"),
        pytest.param(None, None, id="missing"),
        pytest.param("", None, id="blank"),
        pytest.param("2026-03-26T21:35:57+00:00", None, id="another-format"),
        pytest.param("2026-02-30 00:00:00", None, id="no-such-day"),
        pytest.param("0000-00-00 00:00:00", None, id="zeros"),
    ],
)
def test_the_time_is_read_as_utc_or_left_out(
    fired_at: str | None, expected: datetime | None
) -> None:
    assert parse(body(PERSON, fired_at=fired_at)).fired_at == expected


def test_a_word_that_mailchimp_may_invent_is_a_ring_too() -> None:
    assert parse(body(PERSON, type="sms_subscribe")).type == "sms_subscribe"


def test_of_a_repeated_key_the_first_counts() -> None:
    sent = body(PERSON) + b"&" + body(PERSON, data__email="eve@example.com", type="campaign")
    ring = parse(sent)
    assert (ring.address, ring.type) == ("ada@example.com", "subscribe")


def test_one_more_byte_is_another_ring_and_the_same_bytes_are_the_same() -> None:
    assert parse(body(PERSON)).digest == parse(body(PERSON)).digest
    assert parse(body(PERSON)).digest != parse(body(PERSON) + b"&").digest


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00" * 100, id="nul"),
        pytest.param(b'{"type": "subscribe"}', id="json"),
        pytest.param(b"<xml/>", id="xml"),
        pytest.param(b"\xff\xfe" + body(PERSON), id="not-utf-8"),
        pytest.param(body(PERSON).decode().encode("utf-16"), id="utf-16"),
        pytest.param(body(PERSON, type=None), id="no-type"),
        pytest.param(body(PERSON, type=""), id="blank-type"),
        pytest.param(body(PERSON, type="SUBSCRIBE"), id="capital-type"),
        pytest.param(body(PERSON, type="a" * 21), id="long-type"),
        pytest.param(body(PERSON, type="subscribe\n"), id="type-with-line-end"),
        pytest.param(body(PERSON, type="'; drop table"), id="type-with-sql"),
        pytest.param(body(PERSON, data__list_id=None), id="no-list"),
        pytest.param(body(PERSON, data__list_id=""), id="blank-list"),
        pytest.param(body(PERSON, data__list_id="x" * 41), id="long-list"),
        pytest.param(body(PERSON, data__list_id="../../x"), id="list-with-path"),
        pytest.param(body(PERSON, data__list_id="ä"), id="list-not-ascii"),
        pytest.param(body(PERSON).replace(b"&", b";"), id="semicolons"),
        pytest.param(body(PERSON).replace(b"data%5B", b"DATA%5B"), id="capital-keys"),
        pytest.param(b"a=&" * 1000 + body(PERSON), id="1,010-fields"),
        pytest.param(b"a&" * 80_000, id="80,000-fields"),
    ],
)
def test_what_is_no_ring_is_malformed(sent: bytes) -> None:
    with pytest.raises(Malformed):
        parse(sent)


KEYS = st.sampled_from(
    ["type", "fired_at", "data[email]", "data[old_email]", "data[new_email]", "data[list_id]", "x"]
)
NEAR_FORMS = st.lists(st.tuples(KEYS, st.one_of(st.text(max_size=30), st.sampled_from(TYPES))))


FORMS = NEAR_FORMS.map(lambda pairs: urlencode(pairs, errors="replace").encode())


@given(st.one_of(st.binary(max_size=500), FORMS))
@example(b"type=upemail&data[list_id]=1&data[old_email]=%ff%fe%00&data[new_email]=%ed%a0%80@x.org")
@example("type=campaign&data[list_id]=1&fired_at=٢٠٢٦-01-01 00:00:00".encode())
def test_any_bytes_are_a_ring_or_malformed_and_nothing_else(sent: bytes) -> None:
    try:
        ring = parse(sent)
    except Malformed:
        return
    assert isinstance(ring, Ring)
    assert 0 < len(ring.type) <= 20
    assert 0 < len(ring.list_id) <= 40
    for address in (ring.address, ring.new_address):
        assert address is None or canonical(address) == address


# Signatures

NOW = datetime(2026, 3, 26, 21, 36, tzinfo=UTC)
SECRET, BEFORE = "5" * 64, "a secret of another shape"
BODY = body(PERSON)


def mark(sent: bytes = BODY, secret: str = SECRET, at: datetime = NOW) -> str:
    seconds = int(at.timestamp())
    return hmac.new(secret.encode(), b"%d." % seconds + sent, hashlib.sha256).hexdigest()


def header(*marks: str, at: datetime = NOW) -> str:
    return ",".join([f"t={int(at.timestamp())}", *(f"v1={m}" for m in marks)])


WRONG = "0" * 64


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        pytest.param(header(mark()), [SECRET], id="right"),
        pytest.param(header(mark()), [SECRET, BEFORE], id="first-of-two-secrets"),
        pytest.param(header(mark(secret=BEFORE)), [SECRET, BEFORE], id="secret-before"),
        pytest.param(header(WRONG, mark()), [SECRET], id="second-of-two-marks"),
        pytest.param(header(mark(), WRONG), [SECRET], id="first-of-two-marks"),
        pytest.param(header(mark(), mark(secret=BEFORE)), [BEFORE], id="rotation-at-mailchimp"),
        pytest.param(header(mark()).replace(",", " , "), [SECRET], id="spaces"),
        pytest.param(f"v1={mark()},t={int(NOW.timestamp())}", [SECRET], id="other-order"),
        pytest.param(header(mark()) + ",v0=abc,,x", [SECRET], id="unknown-parts"),
    ],
)
def test_a_right_signature_holds(text: str, secrets: list[str]) -> None:
    assert signature_holds(text, BODY, secrets, NOW)


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_a_signature_holds_for_five_minutes_either_way(seconds: int) -> None:
    at = NOW + timedelta(seconds=seconds)
    assert signature_holds(header(mark(at=at), at=at), BODY, [SECRET], NOW)


@pytest.mark.parametrize("seconds", [-301, -86_400, 301, 86_400, 10**9])
def test_an_older_or_newer_signature_does_not(seconds: int) -> None:
    assert TOLERANCE.total_seconds() == 300
    at = NOW + timedelta(seconds=seconds)
    assert not signature_holds(header(mark(at=at), at=at), BODY, [SECRET], NOW)


T = int(NOW.timestamp())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="missing"),
        pytest.param(header(), id="no-mark"),
        pytest.param(f"v1={mark()}", id="no-time"),
        pytest.param(header(WRONG), id="wrong"),
        pytest.param(header(mark(secret=BEFORE)), id="another-secret"),
        pytest.param(header(mark()[:-1]), id="a-digit-short"),
        pytest.param(header(mark() + "0"), id="a-digit-long"),
        pytest.param(header(mark().upper()), id="capitals"),
        pytest.param(header(""), id="blank-mark"),
        pytest.param(f"t={T + 1},v1={mark()}", id="time-changed"),
        pytest.param(f"t={T},t={T},v1={mark()}", id="two-times"),
        pytest.param(f"t=0{T},v1={mark()}", id="time-written-otherwise"),
        pytest.param(f"t=+{T},v1={mark()}", id="plus"),
        pytest.param(f"t=-{T},v1={mark()}", id="minus"),
        pytest.param(f"t={T}.0,v1={mark()}", id="point"),
        pytest.param("t=" + "".join(chr(0x660 + int(d)) for d in str(T)) + f",v1={mark()}",
                     id="arabic-digits"),
        pytest.param(f"t=99999999999,v1={mark()}", id="far-future"),
        pytest.param(f"t={'9' * 5000},v1={mark()}", id="5,000-digits"),
        pytest.param(f"t=nan,v1={mark()}", id="nan"),
        pytest.param(f"T={T},V1={mark()}", id="capital-names"),
        pytest.param(f"t={T};v1={mark()}", id="semicolon"),
        pytest.param(f"t={T},v0={mark()}", id="another-version"),
        pytest.param(f"t={T}," + "v1=x," * 20 + f"v1={mark()}", id="mark-behind-junk"),
        pytest.param("é" * 64, id="not-ascii"),
        pytest.param(header("é" * 64), id="mark-not-ascii"),
        pytest.param(header(mark()) * 1000, id="long"),
        pytest.param("\x00", id="nul"),
        pytest.param(mark(), id="bare-mark"),
    ],
)  # fmt: skip
def test_a_junk_header_does_not_hold(text: str) -> None:
    assert not signature_holds(text, BODY, [SECRET], NOW)


def test_no_secret_signs_nothing() -> None:
    assert not signature_holds(header(mark()), BODY, [], NOW)


@pytest.mark.parametrize("place", [0, len(BODY) // 2, len(BODY) - 1])
def test_a_body_changed_by_one_byte_is_not_signed(place: int) -> None:
    changed = bytearray(BODY)
    changed[place] ^= 1
    assert not signature_holds(header(mark()), bytes(changed), [SECRET], NOW)
    assert not signature_holds(header(mark()), BODY + b"\n", [SECRET], NOW)
    assert not signature_holds(header(mark()), BODY[:-1], [SECRET], NOW)


@given(st.text(max_size=200), st.binary(max_size=50))
def test_any_header_and_body_are_refused_without_a_fault(text: str, sent: bytes) -> None:
    assert signature_holds(text, sent, [SECRET], NOW) is False


def test_every_mark_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spy: the comparison is left as it is, and counted."""
    seen: list[tuple[str, str]] = []
    compare = hmac.compare_digest

    def spy(a: str, b: str) -> bool:
        seen.append((a, b))
        return compare(a, b)

    monkeypatch.setattr("flask_mailchimp_optin.webhook.hmac.compare_digest", spy)
    assert signature_holds(header(mark(), WRONG), BODY, [SECRET, BEFORE], NOW)
    assert len(seen) == 4  # a match ends nothing early
    seen.clear()
    assert not signature_holds(header(WRONG, WRONG), BODY, [SECRET, BEFORE], NOW)
    assert len(seen) == 4


def test_the_largest_body_is_read_in_no_time() -> None:
    sent = body(PERSON, data__x="y" * (MAX_BODY - 1000))
    assert parse(sent).address == "ada@example.com"
