"""Mailchimp's own machine-readable description of its API, as a judge of requests and answers.

Stricter than plain JSON schema: a property, parameter or status that the description does not
know is a problem, unless it is listed here as newer than the description, with its source.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

Schema = dict[str, Any]

# What the live API takes or gives although the description (3.0.55) does not say so.
_NEWER_IN_REQUESTS: dict[tuple[str, str], dict[str, Schema]] = {
    # "Add or update" by batch without touching consent; recorded in use since 2017.
    ("post", "/lists/{list_id}"): {
        "members[].status_if_new": {
            "type": "string",
            "enum": ["subscribed", "unsubscribed", "cleaned", "pending", "transactional"],
        },
        "members[].tags": {"type": "array", "items": {"type": "string"}},
        "members[].marketing_permissions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "marketing_permission_id": {"type": "string"},
                    "enabled": {"type": "boolean"},
                },
                "required": ["marketing_permission_id", "enabled"],
            },
        },
    },
    ("put", "/lists/{list_id}/members/{subscriber_hash}"): {
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}
_MEMBER: dict[str, Schema] = {
    # Shown by one member's endpoint, missing in the description of the batch's answer.
    "unique_email_id": {"type": "string"},
    "contact_id": {"type": "string"},
    "full_name": {"type": "string"},
    "web_id": {"type": "integer"},
    "source": {"type": "string"},
    "consents_to_one_to_one_messaging": {"type": "boolean"},
    "unsubscribe_reason": {"type": "string"},
    "marketing_permissions": {"type": "array"},
    "location.region": {"type": "string"},
}
_HOOK: dict[str, Schema] = {
    # Signed webhooks, 2026.
    "signing_enabled": {"type": "boolean"},
    "signing_secret": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
_NEWER_IN_ANSWERS: dict[tuple[str, str], dict[str, Schema]] = {
    ("post", "/lists/{list_id}"): {
        f"{part}[].{name}": schema
        for part in ("new_members", "updated_members")
        for name, schema in _MEMBER.items()
    },
    ("get", "/search-members"): {
        f"{part}.members[].{name}": schema
        for part in ("exact_matches", "full_search")
        for name, schema in _MEMBER.items()
    },
    ("get", "/lists/{list_id}/webhooks"): {f"webhooks[].{n}": s for n, s in _HOOK.items()},
    ("post", "/lists/{list_id}/webhooks"): _HOOK,
    ("get", "/lists/{list_id}/webhooks/{webhook_id}"): _HOOK,
    ("patch", "/lists/{list_id}/webhooks/{webhook_id}"): _HOOK,
}
_NEWER_IN_PROBLEMS: dict[str, Schema] = {
    "errors": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            "required": ["field", "message"],
        },
    },
}
# Required by the description, no longer by the API.
_NOT_REQUIRED = {("put", "/lists/{list_id}/members/{subscriber_hash}"): ("status_if_new",)}
_JSON = "application/json"
_FORMATS = FormatChecker(formats=())


@_FORMATS.checks("date-time")
def _is_time_or_unset(value: object) -> bool:
    """Mailchimp writes an unset time as an empty string."""
    if not isinstance(value, str) or value == "":
        return True
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


@dataclass(frozen=True)
class _Operation:
    method: str
    template: str
    described: Mapping[str, Any]

    @property
    def name(self) -> tuple[str, str]:
        return self.method, self.template


class Description:
    """The description, read from Mailchimp's OpenAPI file."""

    def __init__(self, path: str | Path) -> None:
        self._document = json.loads(Path(path).read_text())
        self._validators: dict[tuple[str, str, str], Draft202012Validator] = {}

    @cached_property
    def _templates(self) -> list[tuple[re.Pattern[str], str]]:
        known = sorted(self._document["paths"], key=lambda path: path.count("{"))
        return [
            (re.compile(re.sub(r"\\{.*?\\}", "[^/]+", re.escape(path))), path) for path in known
        ]

    def check_request(
        self, method: str, path: str, query: Mapping[str, str], body: Any
    ) -> list[str]:
        """What Mailchimp would find wrong with a request.

        :param path: with or without the leading ``/3.0``.
        :param body: the parsed JSON, None for none.
        """
        operation = self._operation(method, path)
        if operation is None:
            return [f"{method} {path}: the description has no such call"]
        problems = self._query_problems(operation, query)
        schema = self._request_schema(operation)
        if schema is None:
            return problems + ([f"{method} {path}: takes no body"] if body is not None else [])
        if body is None:
            return [*problems, f"{method} {path}: the body is missing"]
        return problems + self._validated("request", operation, schema, body)

    def check_answer(self, method: str, path: str, status: int, answer: Any) -> list[str]:
        """What of an answer the description does not promise.

        :param answer: the parsed JSON, None for none.
        """
        operation = self._operation(method, path)
        if operation is None:
            return [f"{method} {path}: the description has no such call"]
        responses = operation.described["responses"]
        if status == 204:
            known = [] if "204" in responses or "default" in responses else ["204 is not described"]
            return known + (["204 has a body"] if answer is not None else [])
        success = str(status) in responses
        if not success and status < 400:
            return [f"{method} {path}: status {status} is not described"]
        content = responses[str(status) if success else "default"]["content"]
        schema = copy.deepcopy(content[_JSON]["schema"])
        newer = _NEWER_IN_ANSWERS.get(operation.name, {}) if success else _NEWER_IN_PROBLEMS
        kind = f"answer {status if success else 'problem'}"
        return self._validated(kind, operation, _extended(schema, newer), answer)

    def _operation(self, method: str, path: str) -> _Operation | None:
        short = path.removeprefix("/3.0") or "/"
        for pattern, template in self._templates:
            described = self._document["paths"][template].get(method.lower())
            if described is not None and pattern.fullmatch(short):
                return _Operation(method.lower(), template, described)
        return None

    def _request_schema(self, operation: _Operation) -> Schema | None:
        given = operation.described.get("requestBody")
        if given is None:
            return None
        if "$ref" in given:
            given = self._document["components"]["requestBodies"][given["$ref"].split("/")[-1]]
        schema: Schema = copy.deepcopy(given["content"][_JSON]["schema"])
        if operation.method == "patch":
            # The description demands whole objects; a PATCH may hold only what changes.
            schema.pop("required", None)
        dropped = _NOT_REQUIRED.get(operation.name, ())
        if "required" in schema:
            schema["required"] = [name for name in schema["required"] if name not in dropped]
        return _extended(schema, _NEWER_IN_REQUESTS.get(operation.name, {}))

    def _query_problems(self, operation: _Operation, query: Mapping[str, str]) -> list[str]:
        described = (
            {
                p["name"]: p["schema"]
                for p in operation.described["parameters"]
                if p["in"] == "query"
            }
            if "parameters" in operation.described
            else {}
        )
        problems = [f"query {name}: unknown" for name in query if name not in described]
        for name, value in query.items():
            if name in described:
                problems += _parameter_problems(name, value, described[name])
        return problems

    def _validated(self, kind: str, operation: _Operation, schema: Schema, value: Any) -> list[str]:
        key = (kind, *operation.name)
        if key not in self._validators:
            strict = _closed(schema)
            self._validators[key] = Draft202012Validator(strict, format_checker=_FORMATS)
        return [
            f"{kind} {error.json_path}: {error.message[:200]}"
            for error in self._validators[key].iter_errors(value)
        ]


def _parameter_problems(name: str, value: str, schema: Schema) -> list[str]:
    kind = schema.get("type")
    if kind == "boolean" and value not in ("true", "false"):
        return [f"query {name}: {value!r} is not true or false"]
    if kind == "integer":
        if not re.fullmatch(r"-?\d+", value):
            return [f"query {name}: {value!r} is not an integer"]
        if int(value) > schema.get("maximum", int(value)):
            return [f"query {name}: {value} is more than {schema['maximum']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"query {name}: {value!r} is none of {schema['enum']}"]
    timed = name.startswith(("since_", "before_")) and not name.endswith("_campaign")
    if timed and not (value and _is_time_or_unset(value)):
        return [f"query {name}: {value!r} is not an ISO 8601 time with zone"]
    return []


def _extended(schema: Schema, newer: Mapping[str, Schema]) -> Schema:
    """The schema with newer properties put in at their dotted paths."""
    for path, added in newer.items():
        *parents, name = path.split(".")
        target = schema
        for parent in parents:
            target = target["properties"][parent.removesuffix("[]")]
            target = target["items"] if parent.endswith("[]") else target
        target.setdefault("properties", {}).setdefault(name, added)
    return schema


def _closed(schema: Any) -> Any:
    """The same schema, in which an object has no properties but the described ones."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        found["additionalProperties"] = False
    return found
