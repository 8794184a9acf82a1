"""Merge values: made to fit their field, or left out with a reason; the sandbox takes what fits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_mailchimp_optin.fitting import Unfit, fit, fit_all, language
from flask_mailchimp_optin.testing.sandbox.audiences import Audience
from flask_mailchimp_optin.testing.sandbox.merge_values import TYPES, checked_values

CHOICES = ("Red", "Green ", "green tea")
STREET = {"addr1": "1 Main Street", "city": "Boston", "state": "MA", "zip": "02134"}


def fitted(kind: str, value: Any) -> Any:
    return fit(kind, value, choices=CHOICES, phone_format="US")


@pytest.mark.parametrize(
    ("kind", "value", "sent"),
    [
        ("text", " Ada ", " Ada "),
        ("text", 7, 7),
        ("number", 7, 7),
        ("number", " 7.5 ", 7.5),
        ("number", "-12", -12),
        ("date", "2026-03-01", "2026-03-01"),
        ("date", "2026-03-01T12:00:00", "2026-03-01"),
        ("birthday", "1815-12-10", "12/10"),
        ("birthday", "2-29", "02/29"),
        ("birthday", "12/10", "12/10"),
        ("phone", "+1 (617) 555-0123", "617-555-0123"),
        ("phone", 6175550123, "617-555-0123"),
        ("zip", 2134, "02134"),
        ("zip", " 02134-1000 ", "02134-1000"),
        ("url", "https://example.com/a?b=c", "https://example.com/a?b=c"),
        ("url", "www.example.com", "http://www.example.com"),
        ("imageurl", "example.com:8080/a.png", "http://example.com:8080/a.png"),
        ("dropdown", "Red", "Red"),
        ("radio", "green", "Green "),
        ("address", STREET | {"zip": 2134, "addr2": "", "more": "x"}, STREET | {"zip": "2134"}),
        ("address", STREET | {"country": "US"}, STREET | {"country": "US"}),
        ("something new", {"a": "b"}, None),
        ("something new", "anything", "anything"),
        *((kind, "", "") for kind in sorted(TYPES)),
        ("address", {}, ""),
    ],
)
def test_a_value_is_made_to_fit(kind: str, value: Any, sent: Any) -> None:
    if sent is None:
        with pytest.raises(Unfit):
            fitted(kind, value)
    else:
        assert fitted(kind, value) == sent


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", {"a": "b"}),
        ("number", "seven"),
        ("number", "nan"),
        ("number", "1,5"),
        ("number", "1e400"),
        ("date", "03/04/2026"),
        ("date", "2026-02-30"),
        ("date", 20260301.5),
        ("birthday", "30/12"),
        ("birthday", "February"),
        ("birthday", "0000-00-00"),
        ("phone", "+44 20 7946 0123"),
        ("zip", "SW1A 1AA"),
        ("zip", 123456),
        ("url", "no web address"),
        ("url", "javascript:alert(1)"),
        ("url", "mailto:ada@example.com"),
        ("dropdown", "Blue"),
        ("radio", "gree"),
        ("address", "1 Main Street, Boston"),
        ("address", STREET | {"city": " "}),
    ],
)
def test_what_cannot_be_made_to_fit_is_refused_with_what_would(kind: str, value: Any) -> None:
    with pytest.raises(Unfit) as caught:
        fitted(kind, value)
    assert str(caught.value).endswith(".")


def test_a_phone_field_of_another_country_takes_what_there_is() -> None:
    assert fit("phone", "+44 20 7946 0123", phone_format="none") == "+44 20 7946 0123"


def test_a_choice_that_two_could_be_is_not_guessed() -> None:
    with pytest.raises(Unfit):
        fit("radio", "yes", choices=("Yes", "YES"))


_values = st.one_of(
    st.text(max_size=40),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dates().map(str),
    st.from_regex(r"[0-9]{1,2}[/-][0-9]{1,2}", fullmatch=True),
    st.from_regex(r"[+(]?[0-9 ()-]{5,16}", fullmatch=True),
    st.from_regex(r"[a-z]{1,9}\.[a-z]{2,3}(/[a-z?#]{0,9})?", fullmatch=True),
    st.sampled_from(CHOICES).map(str.upper),
    st.dictionaries(st.sampled_from([*STREET, "country"]), st.text(max_size=9)),
)


@given(kind=st.sampled_from(sorted(TYPES)), value=_values)
def test_what_fits_is_taken(kind: str, value: Any) -> None:
    audience = Audience(id="a", web_id=1, name="A", date_created="")
    options = {"choices": list(CHOICES), "phone_format": "US"}
    audience.add_field(tag="X", name="X", type=kind, options=options)
    good, told = fit_all(
        {"X": value}, {"X": {"type": kind, "choices": CHOICES, "phone_format": "US"}}
    )
    assert (told is None) is bool(good)
    assert checked_values(audience, good)[1] == []


def test_of_several_that_do_not_fit_all_are_named() -> None:
    fields = {"A": {"type": "number"}, "B": {"type": "date"}, "C": {"type": "text"}}
    good, told = fit_all({"A": "x", "B": "y", "C": "z", "D": "unknown"}, fields)
    assert good == {"C": "z", "D": "unknown"}
    assert told == "A, B were not sent: the list’s fields don’t take them."


@pytest.mark.parametrize(
    ("given_", "sent"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("PT_pt", "pt_PT"),
        ("pt-BR", "pt"),
        ("fr_CA", "fr_CA"),
        ("zh-Hant-TW", "zh"),
        ("", None),
        (None, None),
        ("German", None),
        ("d", None),
    ],
)
def test_a_language_is_named_as_mailchimp_does(given_: object, sent: str | None) -> None:
    assert language(given_) == sent
