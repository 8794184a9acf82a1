"""Endpoints about members: one, a page of them, or a batch of up to 500.

Importing this module enters them into the table of endpoints.
"""

from __future__ import annotations

from typing import Any

from .asking import MemberFilter, flag, page
from .calls import Answer, Call, endpoint
from .member_schema import Errors, require_schema, schema_errors
from .members import subscriber_hash
from .problems import NOT_VALIDATED, ProblemError, exists, invalid
from .records import JSON
from .writing import Writer

LARGEST_BATCH = 500
_NOT_ARCHIVABLE = ("archived", "cleaned", "pending")
_UPDATE_HINT = (
    "{} is already a list member, do you want to update? "
    "please provide update_existing:true in the request body"
)
_TWICE = "{} appears more than once in this request; only its first appearance was used."


@endpoint("GET", "/lists/<list_id>/members")
def members(call: Call) -> Answer:
    audience = call.audience
    offset, count = page(call.query)
    asked = MemberFilter.of(call.query)
    found, total = audience.members.page(
        asked,
        asked.test(),
        sort=asked.sort,
        descending=asked.descending,
        since=asked.since,
        before=asked.before,
        offset=offset,
        count=count,
    )
    return 200, {
        "members": [audience.member_json(m) for m in found],
        "list_id": audience.id,
        "total_items": total,
        "_links": [],
    }


@endpoint("POST", "/lists/<list_id>/members")
def add_member(call: Call) -> Answer:
    body = require_schema(call.body, needs=("email_address", "status"))
    writer = _writer(call)
    member = writer.existing(body["email_address"])
    if member is not None and member.status != "archived":
        raise exists(body["email_address"])
    member, _ = writer.write(body, member, tags="replace")
    return 200, call.audience.member_json(member)


@endpoint("GET", "/lists/<list_id>/members/<key>")
def one_member(call: Call) -> Answer:
    return 200, call.audience.member_json(call.member)


@endpoint("PATCH", "/lists/<list_id>/members/<key>")
def change_member(call: Call) -> Answer:
    member = call.member
    member, _ = _writer(call).write(require_schema(call.body), member)
    return 200, call.audience.member_json(member)


@endpoint("PUT", "/lists/<list_id>/members/<key>")
def put_member(call: Call) -> Answer:
    audience, writer = call.audience, _writer(call)
    body = require_schema(call.body, needs=("email_address",))
    member = audience.members.find(call.args["key"]) or writer.existing(body["email_address"])
    member, _ = writer.write(body, member)
    return 200, audience.member_json(member)


@endpoint("DELETE", "/lists/<list_id>/members/<key>")
def archive_member(call: Call) -> Answer:
    member = call.member
    if member.status in _NOT_ARCHIVABLE:
        detail = "This list member cannot be removed.  Please contact support."
        raise ProblemError(405, "Method Not Allowed", detail, allow="GET, PUT")
    call.life.become(member, "archived")
    return 204, None


@endpoint("POST", "/lists/<list_id>/members/<key>/actions/delete-permanent")
def delete_permanently(call: Call) -> Answer:
    call.life.forget(call.member)
    return 204, None


@endpoint("GET", "/lists/<list_id>/members/<key>/tags")
def tags(call: Call) -> Answer:
    member = call.member
    offset, count = page(call.query)
    found = [
        {"id": number, "name": name, "date_added": at} for name, (number, at) in member.tags.items()
    ]
    return 200, {
        "tags": found[offset : offset + count],
        "total_items": len(found),
        "_links": [],
    }


@endpoint("POST", "/lists/<list_id>/members/<key>/tags")
def change_tags(call: Call) -> Answer:
    member, body = call.member, call.object("tags")
    kept = dict(member.tags)
    for row in _tag_rows(body["tags"]):
        name = row["name"]
        if row["status"] == "inactive":
            kept.pop(name, None)
        elif name not in kept:
            kept[name] = (call.audience.tag_id(name), call.actor.at)
    if kept != member.tags:
        member.tags = kept
        call.life.touch(member)
    return 204, None


def _tag_rows(given: Any) -> list[dict[str, str]]:
    if not isinstance(given, list):
        raise invalid("tags", "Schema describes array")
    for number, row in enumerate(given):
        named = isinstance(row, dict) and isinstance(row.get("name"), str)
        if not named or row.get("status") not in ("active", "inactive"):
            raise invalid(f"tags.item:{number}", "Schema describes a tag with name and status")
    return given


def _writer(call: Call) -> Writer:
    return call.writer(skip_required=flag(call.query, "skip_merge_validation"))


@endpoint("POST", "/lists/<list_id>")
def batch(call: Call) -> Answer:
    """Answers 200 even when every member failed: the rows tell."""
    body = call.object("members")
    audience, writer = call.audience, _writer(call)
    rows = _checked_rows(body["members"])
    done = _Batch(writer, body, skip_duplicates=flag(call.query, "skip_duplicate_check"))
    for row in rows:
        done.write(row)
    return 200, {
        "new_members": [audience.member_json(m) for m in done.new],
        "updated_members": [audience.member_json(m) for m in done.updated],
        "errors": done.errors,
        "total_created": len(done.new),
        "total_updated": len(done.updated),
        "error_count": len(done.errors),
        "_links": [],
    }


def _checked_rows(given: Any) -> list[JSON]:
    if not isinstance(given, list):
        raise invalid("members", "Schema describes array")
    if len(given) > LARGEST_BATCH:
        raise invalid("members", f"You may only add or update {LARGEST_BATCH} members per call.")
    errors: Errors = []
    for number, row in enumerate(given):
        errors += schema_errors(row, f"members.item:{number}.", ("email_address",))
    if errors:
        raise ProblemError(400, "Invalid Resource", NOT_VALIDATED, errors)
    return given


class _Batch:
    """The rows of one call, and what became of them."""

    def __init__(self, writer: Writer, body: JSON, *, skip_duplicates: bool) -> None:
        self.writer = writer
        self.updates = body.get("update_existing") is True
        self.tags = "replace" if body.get("sync_tags") is True else "add"
        self.skip_duplicates = skip_duplicates
        self.seen: set[str] = set()
        self.new: list[Any] = []
        self.updated: list[Any] = []
        self.errors: list[JSON] = []

    def write(self, row: JSON) -> None:
        address: str = row["email_address"]
        key = subscriber_hash(address)
        if key in self.seen:
            if not self.skip_duplicates:
                self._refuse(address, _TWICE.format(address))
            return
        self.seen.add(key)
        member = self.writer.audience.members.by_hash.get(key)
        if not self.updates and member is not None and member.status != "archived":
            self._refuse(address, _UPDATE_HINT.format(address), code="ERROR_CONTACT_EXISTS")
            return
        try:
            member, created = self.writer.write(row, member, tags=self.tags)
        except ProblemError as problem:
            field, message = problem.errors[0] if problem.errors else ("", "")
            self._refuse(address, problem.detail, field=field, message=message)
        else:
            (self.new if created else self.updated).append(member)

    def _refuse(
        self,
        address: str,
        text: str,
        *,
        code: str = "ERROR_GENERIC",
        field: str = "",
        message: str = "",
    ) -> None:
        self.errors.append(
            {
                "email_address": address,
                "error": text,
                "error_code": code,
                "field": field,
                "field_message": message,
            }
        )
