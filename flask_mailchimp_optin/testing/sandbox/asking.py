"""What a client asks for in the query string: pages, fields, filters, order.

Imports members and problems.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .members import Member, Test, parsed_time
from .problems import invalid
from .records import JSON

STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived")
SORTS = ("timestamp_opt", "timestamp_signup", "last_changed")
LARGEST_PAGE = 1000

Tree = dict[str, "Tree"]


def flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("true", "1", "yes")


def page(query: Mapping[str, str]) -> tuple[int, int]:
    """Offset and count; Mailchimp gives 10 if nobody says how many.

    :raises ProblemError: 400, not a number or more than 1,000.
    """
    offset = _number(query, "offset", 0, 2**31)
    return offset, _number(query, "count", 10, LARGEST_PAGE)


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise invalid(name, "Schema describes integer, string found instead")
    if int(text) > most:
        raise invalid(name, f"Value must be less than or equal to {most}.")
    return int(text)


def choice(query: Mapping[str, str], name: str, accepted: tuple[str, ...]) -> str:
    """:raises ProblemError: 400, none of the accepted values."""
    value = query.get(name, "")
    if value and value not in accepted:
        raise invalid(
            name, f"Data presented is not one of the accepted values: {', '.join(accepted)}."
        )
    return value


def time(query: Mapping[str, str], name: str) -> str:
    """A time in Mailchimp's own form, ``""`` if not given.

    :raises ProblemError: 400, not ISO 8601.
    """
    text = query.get(name, "")
    if not text:
        return ""
    try:
        return parsed_time(text)
    except ValueError:
        raise invalid(name, "Data presented is not a valid ISO 8601 date and time.") from None


@dataclass(frozen=True, kw_only=True)
class MemberFilter:
    """Which members, in which order; hashable, so that pages of one reading share the work."""

    status: str = ""
    sort: str = ""
    descending: bool = False
    since: str = ""
    before: str = ""
    opt_since: str = ""
    opt_before: str = ""
    unsubscribed_since: str = ""
    email_type: str = ""
    unique_email_id: str = ""
    vip_only: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str]) -> MemberFilter:
        """:raises ProblemError: 400, a parameter that makes no sense."""
        return cls(
            status=choice(query, "status", STATUSES),
            sort=choice(query, "sort_field", SORTS),
            descending=choice(query, "sort_dir", ("ASC", "DESC")) == "DESC",
            since=time(query, "since_last_changed"),
            before=time(query, "before_last_changed"),
            opt_since=time(query, "since_timestamp_opt"),
            opt_before=time(query, "before_timestamp_opt"),
            unsubscribed_since=time(query, "unsubscribed_since"),
            email_type=query.get("email_type", ""),
            unique_email_id=query.get("unique_email_id", ""),
            vip_only=flag(query, "vip_only"),
        )

    def test(self) -> Test | None:
        """What a member must be, ``last_changed`` apart; None if nothing is asked for.

        Archived members are not listed unless one asks for them.
        """
        tests = [test for test in self._other_tests() if test]
        wanted = "unsubscribed" if self.unsubscribed_since else self.status
        if wanted:
            tests.insert(0, lambda m: m.status == wanted)
        elif tests:
            tests.insert(0, lambda m: m.status != "archived")
        if len(tests) <= 1:
            return tests[0] if tests else None
        return lambda m: all(test(m) for test in tests)

    def _other_tests(self) -> list[Test | None]:
        return [
            (lambda m: m.timestamp_opt >= self.opt_since) if self.opt_since else None,
            (lambda m: "" < m.timestamp_opt < self.opt_before) if self.opt_before else None,
            (lambda m: m.unsubscribed_at >= self.unsubscribed_since)
            if self.unsubscribed_since
            else None,
            (lambda m: m.email_type == self.email_type) if self.email_type else None,
            (lambda m: m.unique_email_id == self.unique_email_id) if self.unique_email_id else None,
            (lambda m: m.vip) if self.vip_only else None,
        ]


def trimmed(answer: JSON, query: Mapping[str, str]) -> JSON:
    """The answer with ``fields`` kept and ``exclude_fields`` left out, by dotted path."""
    wanted, unwanted = query.get("fields", ""), query.get("exclude_fields", "")
    found: Any = answer
    if wanted:
        found = _kept(found, _tree(wanted))
    if unwanted:
        found = _without(found, _tree(unwanted))
    result: JSON = found
    return result


def _tree(paths: str) -> Tree:
    root: Tree = {}
    for path in paths.split(","):
        branch = root
        for part in path.strip().split("."):
            branch = branch.setdefault(part, {})
    return root


def _kept(value: Any, tree: Tree) -> Any:
    if isinstance(value, list):
        return [_kept(item, tree) for item in value]
    if not isinstance(value, dict) or not tree:
        return value
    return {name: _kept(value[name], branch) for name, branch in tree.items() if name in value}


def _without(value: Any, tree: Tree) -> Any:
    if isinstance(value, list):
        return [_without(item, tree) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _without(item, tree[name]) if name in tree else item
        for name, item in value.items()
        if name not in tree or tree[name]
    }


def matches(member: Member, text: str) -> bool:
    """Whether a member is found by a search for this text (address or name, any case)."""
    names = (member.merge_fields.get("FNAME", ""), member.merge_fields.get("LNAME", ""))
    return text in f"{member.email_address} {names[0]} {names[1]}".lower()
