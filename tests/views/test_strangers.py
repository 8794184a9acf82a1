"""Whatever a stranger sends to the webhook: never a 5xx, never a row, and no hint of who is known.

``FUZZ_EXAMPLES`` says how many requests are made up; without it they are a few, the same each time.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.views.test_webhook import FORM, PREFIX, Door
from tests.views.test_webhook import standing as standing  # a fixture

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
MADE_UP = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)

names = st.sampled_from(
    ["type", "fired_at", "data[email]", "data[new_email]", "data[old_email]", "data[list_id]", "a"]
)
values = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["unsubscribe", "upemail", "ada@example.com", "2026-01-02 03:04:05", "=1+1"]),
)
forms = st.lists(st.tuples(names, values), max_size=12).map(
    lambda pairs: "&".join(f"{n}={quote(v, errors='replace')}" for n, v in pairs).encode()
)
nested = st.integers(1, 3000).map(lambda depth: b"data" + b"[a]" * depth + b"=1")
bodies = st.one_of(st.binary(max_size=300), forms, nested)
kinds = st.one_of(
    st.sampled_from(
        [
            FORM,
            f"{FORM}; charset=utf-16",
            f"{FORM}; charset=rot13",
            "multipart/form-data",
            "multipart/form-data; boundary=x",
            "application/json",
            "text/plain; charset=\xff",
            "",
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60),
)
headers = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=120)
methods = st.sampled_from(["POST", "POST", "POST", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "X"])
lengths = st.sampled_from([None, None, None, "-1", "x", "1e3", "0", "99999999999999999999"])


@given(
    methods, st.one_of(st.none(), st.text(max_size=60)), bodies, kinds, headers, lengths, headers
)
@MADE_UP
def test_whatever_a_stranger_sends_is_answered_and_leaves_nothing(
    standing: Door,
    method: str,
    token: str | None,
    body: bytes,
    kind: str,
    signature: str,
    length: str | None,
    other: str,
) -> None:
    more: dict[str, Any] = {
        "headers": {"X-Mailchimp-Signature": signature, "X-Forwarded-For": other}
    }
    if length is not None:
        more["environ_overrides"] = {"CONTENT_LENGTH": length}
    path = standing.path if token is None else PREFIX + quote(token, errors="replace", safe="")
    before = len(standing.events)
    answer = standing.host.app.test_client().open(
        path, method=method, data=body, content_type=kind, **more
    )
    assert answer.status_code < 500
    assert method != "POST" or answer.status_code >= 400 or not body or length is not None
    assert len(standing.events) == before


def test_it_takes_as_long_for_a_known_address_as_for_an_unknown_one(standing: Door) -> None:
    known = "known@example.com"
    standing.host.add(known, wants_news=True)
    standing.host.work()
    times: dict[str, list[float]] = {known: [], "nobody@example.com": []}
    for number in range(450):
        for address in random.sample(list(times), 2):  # in turn, so that both meet the same load
            body = standing.form(data__email=address, data__reason=str(number))
            headers = {"X-Mailchimp-Signature": standing.signature(body)}
            client = standing.host.app.test_client()
            begin = time.perf_counter()
            answer = client.post(standing.path, data=body, content_type=FORM, headers=headers)
            took = time.perf_counter() - begin
            assert answer.status_code == 200
            if number >= 50:  # by now everything is warm
                times[address].append(took)
    # Of two, one of each, how often the known one takes longer (Mann and Whitney's U): half the time.
    # Chance alone leads beyond these bounds less than once in a million runs.
    share = _above(times[known], times["nobody@example.com"])
    assert 0.4 < share < 0.6


def _above(these: list[float], those: list[float]) -> float:
    ranked = sorted([(took, 1) for took in these] + [(took, 0) for took in those])
    ranks = sum(rank for rank, (_, mine) in enumerate(ranked, 1) if mine)
    return (ranks - len(these) * (len(these) + 1) / 2) / (len(these) * len(those))
