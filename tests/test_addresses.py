"""Addresses: one canonical form, and a refusal in plain words for what can't be one."""

from __future__ import annotations

import hashlib
import re

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from flask_mailchimp_optin.addresses import canonical, subscriber_hash
from flask_mailchimp_optin.errors import BadAddress

LONG_DOMAIN = ".".join(["d" * 60] * 3) + ".com"  # 186 bytes


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param("ada@example.com", "ada@example.com", id="plain"),
        pytest.param("  ada@example.com\r\n", "ada@example.com", id="spaces"),
        pytest.param("Ada.Lovelace@Example.COM", "ada.lovelace@example.com", id="capitals"),
        pytest.param("ada+news@example.com", "ada+news@example.com", id="plus-tag"),
        pytest.param("a.d.a@gmail.com", "a.d.a@gmail.com", id="dots-stay"),
        pytest.param("Ada@MÜNCHEN.de", "ada@xn--mnchen-3ya.de", id="idn"),
        pytest.param("ada@xn--mnchen-3ya.de", "ada@xn--mnchen-3ya.de", id="idn-ascii"),
        pytest.param("GRÜSSE@example.com", "grüsse@example.com", id="non-ascii"),
        pytest.param("u\u0308ber@example.com", "\u00fcber@example.com", id="nfd"),
        pytest.param("İris@example.com", "i\u0307ris@example.com", id="dotted-capital-i"),
        pytest.param("\u212aelvin@example.com", "kelvin@example.com", id="kelvin-sign"),
        pytest.param('"ada lovelace"@example.com', '"ada lovelace"@example.com', id="quoted"),
        pytest.param("o'neil@example.com", "o'neil@example.com", id="apostrophe"),
        pytest.param("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v", id="chinese"),
        pytest.param(f"{'a' * 63}@{LONG_DOMAIN}", f"{'a' * 63}@{LONG_DOMAIN}", id="250-bytes"),
    ],
)
def test_an_address_has_one_canonical_form(raw: str, expected: str) -> None:
    assert canonical(raw) == expected
    assert canonical(canonical(raw)) == expected


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(None, id="none"),
        pytest.param(7, id="number"),
        pytest.param(b"ada@example.com", id="bytes"),
        pytest.param("", id="empty"),
        pytest.param(" \t\n", id="blank"),
        pytest.param("ada", id="no-at"),
        pytest.param("@example.com", id="no-local-part"),
        pytest.param("ada@", id="no-domain"),
        pytest.param("ada@@example.com", id="two-ats"),
        pytest.param("ada@example..com", id="two-dots"),
        pytest.param("ada@-example.com", id="hyphen-first"),
        pytest.param("ada lovelace@example.com", id="inner-space"),
        pytest.param("ada@example.com, bob@example.com", id="two-addresses"),
        pytest.param("Ada <ada@example.com>", id="display-name"),
        pytest.param("ada@[127.0.0.1]", id="literal"),
        pytest.param("ada\x00@example.com", id="nul"),
        pytest.param("ada@example.com\x00", id="nul-last"),
        pytest.param("ada@exam\nple.com", id="line-end"),
        pytest.param("ada\ud800@example.com", id="surrogate"),
        pytest.param("\u202eada@example.com", id="rtl-override"),
        pytest.param("a\u200bda@example.com", id="zero-width-space"),
        pytest.param("a\u00adda@example.com", id="soft-hyphen"),
        pytest.param(f"{'a' * 65}@example.com", id="65-byte-local-part"),
        pytest.param(f"{'a' * 64}@{'d' * 63}.{LONG_DOMAIN}", id="too-long"),
        pytest.param("a" * 100_000 + "@example.com", id="100-kB"),
    ],
)
def test_what_cannot_be_an_address_is_refused_in_words(raw: object) -> None:
    with pytest.raises(BadAddress) as refused:
        canonical(raw)
    assert str(refused.value).endswith(".")
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    "character",
    [
        pytest.param("\u200b", id="zero-width-space"),
        pytest.param("\u202e", id="rtl-override"),
        pytest.param("\ud800", id="surrogate"),
        pytest.param("\x00", id="nul"),
    ],
)
def test_an_invisible_character_is_called_that_and_not_shown(character: str) -> None:
    with pytest.raises(BadAddress, match="invisible character") as refused:
        canonical(f"a{character}da@example.com")
    assert str(refused.value).isprintable()


@given(
    st.one_of(
        st.text(max_size=80),
        st.tuples(st.text(max_size=20), st.text(max_size=20)).map("@".join),
        st.text(alphabet="aA.İıẞſK@\"\\ é\u0301-+'", max_size=20).map(lambda t: f"{t}@x.org"),
        st.emails(),
    )
)
@example("ẞ@example.com")
@example("ΑΣ@example.com")
def test_any_text_is_an_address_in_a_stable_form_or_refused(text: str) -> None:
    try:
        found = canonical(text)
    except BadAddress:
        return
    assert canonical(found) == found
    assert found == found.strip()
    assert len(found.encode()) <= 254
    assert found.count("@") >= 1
    assert found.isprintable()


@pytest.mark.parametrize("raw", ["ada@example.com", "i\u0307ris@example.com", "grüsse@example.com"])
def test_a_members_path_name_is_the_md5_of_the_address(raw: str) -> None:
    assert subscriber_hash(raw) == hashlib.md5(raw.encode()).hexdigest()


def test_mailchimps_own_example_of_a_hash_holds() -> None:
    assert (
        subscriber_hash(canonical("Urist.McVankab@freddiesjokes.com"))
        == "62eeb292278cc15f5817cb78f7790b08"
    )


@given(
    st.from_regex(
        re.compile(r"\A[A-Za-z0-9._+@-]{1,12}@[A-Za-z0-9.-]{1,14}\.[A-Za-z0-9-]{1,5}\Z"),
        fullmatch=True,
    )
)
def test_the_quick_way_and_the_careful_way_agree(text: str) -> None:
    """The library's word is law; the quick way only says it sooner."""
    try:
        parsed = validate_email(
            text, check_deliverability=False, test_environment=True, allow_quoted_local=True
        )
    except EmailNotValidError:
        with pytest.raises(BadAddress):
            canonical(text)
        return
    assert canonical(text) == f"{parsed.local_part}@{parsed.ascii_domain}".lower()
