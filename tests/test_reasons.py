"""Why somebody was refused, in words that can be said in another language later."""

from __future__ import annotations

import pytest

from flask_mailchimp_optin import problems, reasons
from flask_mailchimp_optin.texts import Text


@pytest.mark.parametrize(
    "error",
    [
        problems.UNREACHABLE,
        problems.CUT_OFF,
        str(problems.classified(429, {})),
        str(problems.classified(404, {"title": "Resource Not Found"})),
        str(problems.classified(405, {"title": "Method Not Allowed"})),
        str(problems.classified(503, {})),
    ],
)
def test_the_last_failure_is_a_text_that_translators_know(error: str) -> None:
    said = reasons.refused("parked", error)
    assert isinstance(said, Text)
    assert said.values["what"].msgid in reasons._LAST
    assert "tried again." not in said.removeprefix(
        "Tried many times in vain, and not tried again by itself."
    )


def test_a_status_stays_what_it_is() -> None:
    said = reasons.refused("parked", str(problems.classified(503, {})))
    assert said.endswith("The last time: Mailchimp has a problem of its own (503).")


@pytest.mark.parametrize("text", [None, "", "100 % (404) odd"])
def test_what_nobody_knows_is_said_as_it_is(text: str | None) -> None:
    assert f"The last time: {text or ''}." in reasons.refused("parked", text)
    assert reasons.refused("bounced", None) == "Refused by Mailchimp."
