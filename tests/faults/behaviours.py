"""How one answer of Mailchimp's may go wrong: a table, each entry an order to the sandbox."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask_mailchimp_optin.testing import MailchimpSandbox

Order = Callable[[MailchimpSandbox, "re.Pattern[str]"], None]
Rows = list[Any]

#: What of an answer is rows; an answer about one thing is taken for a single row.
_ROWS = ("new_members", "updated_members", "members", "lists", "webhooks")

#: The client's patience, in seconds, while a behaviour outlasts it.
PATIENCE_S = 0.1
_LONGER = 1.5 * PATIENCE_S


def _fail(**how: Any) -> Order:
    def order(sandbox: MailchimpSandbox, path: re.Pattern[str]) -> None:
        sandbox.fail_next(path=path, **how)

    return order


def _problem(status: int, title: str, detail: str) -> Order:
    return _fail(status=status, body={"title": title, "status": status, "detail": detail})


def _rewrite(change: Callable[[dict[str, Any]], object]) -> Order:
    def order(sandbox: MailchimpSandbox, path: re.Pattern[str]) -> None:
        sandbox.rewrite_next(change, path=path)

    return order


def _rows(change: Callable[[Rows], Rows]) -> Order:
    def rewrite(body: dict[str, Any]) -> object:
        names = [name for name in _ROWS if isinstance(body.get(name), list)]
        if not names:
            return next(iter(change([body])), {})
        return body | {name: change(body[name]) for name in names}

    return _rewrite(rewrite)


def _each(change: Callable[[dict[str, Any]], Any]) -> Order:
    return _rows(lambda rows: [change(row) for row in rows])


def _loud(row: dict[str, Any]) -> dict[str, Any]:
    changed = dict(row)
    if "email_address" in row:
        changed["email_address"] = row["email_address"].upper()
    return changed


_STRANGER = {
    "id": "0" * 32,
    "email_address": "stranger@example.net",
    "status": "subscribed",
    "last_changed": "2026-01-01T00:00:00+00:00",
    "timestamp_opt": "2026-01-01T00:00:00+00:00",
}


def _total(change: Callable[[int], int]) -> Order:
    return _rewrite(
        lambda body: body | {n: change(body[n]) for n in body if n.startswith("total_")}
    )


#: Whatever was asked, and whether or not an answer is due.
ANYWHERE: dict[str, Order] = {
    "429": _fail(status=429),
    "429 without a body": _fail(status=429, body=""),
    "403 of the firewall": _fail(status=403, body="<html>blocked</html>"),
    "403 without a body": _fail(status=403, body=""),
    "403, the role may not": _fail(status=403),
    "401 for a moment": _fail(status=401),
    "404 for a moment": _fail(status=404),
    "404 as HTML": _fail(status=404, body="<html>not here</html>"),
    "405": _fail(status=405),
    "400 without a reason": _problem(400, "Invalid Resource", "Something is not right."),
    "compliance": _problem(400, "Member In Compliance State", "is in a compliance state"),
    "forgotten": _problem(400, "Forgotten Email Not Subscribed", "was permanently deleted"),
    "too many lists": _problem(400, "Invalid Resource", "has signed up to a lot of lists"),
    "fake": _problem(400, "Invalid Resource", "looks fake or invalid"),
    "500": _fail(status=500),
    "500 after it took effect": _fail(status=500, applied=True),
    "502 as HTML": _fail(status=502, body="<html>Bad Gateway</html>"),
    "503": _fail(status=503),
    "504 after it took effect": _fail(status=504, body="<html>", applied=True),
    "an empty 200": _fail(status=200, body=""),
    "an empty 200 after it took effect": _fail(status=200, body="", applied=True),
    "HTML in a 200": _fail(status=200, body="<html>hello</html>"),
    "broken JSON": _fail(status=200, body='{"members": ['),
    "a list instead of an object": _fail(status=200, body="[]"),
    "an object of nothing": _fail(status=200, body="{}"),
    "null": _fail(status=200, body="null"),
    "a number": _fail(status=200, body="7"),
    "204": _fail(status=204, body=""),
    "204 after it took effect": _fail(status=204, body="", applied=True),
    "a redirect": _fail(location="http://127.0.0.1:9/3.0/"),
    "a reset before": _fail(how="reset"),
    "a reset after it took effect": _fail(how="reset", applied=True),
    "half an answer": _fail(how="half"),
    "dripping past the deadline": _fail(how="drip", delay_s=PATIENCE_S / 4),
    "never": _fail(how="hang", delay_s=_LONGER),
    "never, but it took effect": _fail(how="hang", delay_s=_LONGER, applied=True),
    "late": _fail(how="slow", delay_s=_LONGER),
    "50 MB": _fail(how="huge"),
    "done twice": _fail(how="twice"),
    "the answer of another request": _fail(how="other"),
    "the answer of another request after it took effect": _fail(how="other", applied=True),
}

#: These take longer than the client waits.
SLOW = ("dripping past the deadline", "never", "never, but it took effect", "late")

#: Where an answer with a body is due: the answer itself is not what it should be.
OF_ANSWERS: dict[str, Order] = {
    "missing rows": _rows(lambda rows: rows[:-1]),
    "no rows": _rows(lambda rows: []),
    "rows twice": _rows(lambda rows: rows + rows),
    "rows in another order": _rows(lambda rows: rows[::-1]),
    "rows in another case": _each(_loud),
    "rows of strangers": _each(lambda row: row | _STRANGER),
    "a stranger's row more": _rows(lambda rows: [_STRANGER, *rows]),
    "rows of the wrong kind": _each(lambda row: str(row)),
    "rows without a status": _each(lambda r: {n: v for n, v in r.items() if n != "status"}),
    "rows without a name": _each(
        lambda r: {n: v for n, v in r.items() if n not in ("email_address", "id")}
    ),
    "rows full of nulls": _each(lambda row: dict.fromkeys(row)),
    "a total of nothing": _total(lambda n: 0),
    "a total too high": _total(lambda n: n + 7),
}

BEHAVIOURS = ANYWHERE | OF_ANSWERS
