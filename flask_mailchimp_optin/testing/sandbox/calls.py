"""One API call on its way through the sandbox, and the table in which endpoints are entered.

Imports the account and problems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .account import Account
from .audiences import Audience
from .lifecycle import Lifecycle
from .members import Member
from .problems import NOT_VALIDATED, ProblemError, not_found
from .records import JSON, Actor
from .writing import Writer

Answer = tuple[int, JSON | None]
UrlCheck = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class Call:
    """What an endpoint needs to know.

    :param args: what stands in the path, by name.
    :param body: the parsed JSON; None without a body.
    :param answers: whether a webhook's URL answers Mailchimp's check with 200.
    """

    account: Account
    actor: Actor
    args: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    answers: UrlCheck
    signing: bool

    @property
    def audience(self) -> Audience:
        return self.account.audience(self.args["list_id"])

    @property
    def member(self) -> Member:
        """:raises ProblemError: 404."""
        found = self.audience.members.find(self.args["key"])
        if found is None:
            raise not_found()
        return found

    @property
    def life(self) -> Lifecycle:
        return Lifecycle(self.account, self.audience, self.actor)

    def writer(self, *, skip_required: bool) -> Writer:
        return Writer(self.account, self.audience, self.actor, skip_required=skip_required)

    def object(self, *needs: str) -> JSON:
        """The body, which must be an object with these keys.

        :raises ProblemError: 400.
        """
        if not isinstance(self.body, dict):
            raise ProblemError(
                400, "Invalid Resource", NOT_VALIDATED, [("", "Schema describes object")]
            )
        errors = [(n, "This value should not be blank.") for n in needs if n not in self.body]
        if errors:
            raise ProblemError(400, "Invalid Resource", NOT_VALIDATED, errors)
        found: JSON = self.body
        return found


Endpoint = Callable[[Call], Answer]
ENDPOINTS: dict[tuple[str, str], Endpoint] = {}
"""By method and path below ``/3.0``, as a Werkzeug rule."""

UNLOCKED: set[Endpoint] = set()
"""Endpoints that wait for somebody else, and therefore take the lock themselves."""


def endpoint(method: str, rule: str, *, locked: bool = True) -> Callable[[Endpoint], Endpoint]:
    """Enter a function into the table of endpoints."""

    def enter(function: Endpoint) -> Endpoint:
        ENDPOINTS[method, rule] = function
        if not locked:
            UNLOCKED.add(function)
        return function

    return enter
