"""Endpoints about the account and its audiences: lists, merge fields, interests, search.

Importing this module enters them into the table of endpoints.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .asking import choice, flag, matches, page
from .audiences import SETTINGS, Audience, InterestCategory, MergeField
from .calls import Answer, Call, endpoint
from .merge_values import TYPES
from .problems import ProblemError, invalid, not_found
from .records import JSON


@endpoint("GET", "/ping")
def ping(call: Call) -> Answer:
    return 200, {"health_status": "Everything's Chimpy!"}


@endpoint("GET", "/")
def root(call: Call) -> Answer:
    account = call.account
    total = sum(a.members.counts["subscribed"] for a in account.audiences.values())
    return 200, {
        "account_id": account.user_id[:24],
        "login_id": account.user_id[:8],
        "account_name": account.name,
        "email": "owner@sandbox.example",
        "first_name": "Sandbox",
        "last_name": "Owner",
        "username": "sandbox",
        "avatar_url": "",
        "role": account.role,
        "member_since": "2020-01-01T00:00:00+00:00",
        "pricing_plan_type": "forever_free",
        "first_payment": "",
        "account_timezone": "UTC",
        "account_industry": "",
        "contact": {
            "company": account.name,
            "addr1": "1 Example Street",
            "addr2": "",
            "city": "Exampleton",
            "state": "EX",
            "zip": "00001",
            "country": "US",
        },
        "pro_enabled": False,
        "last_login": call.actor.at,
        "total_subscribers": total,
        "industry_stats": {"open_rate": 0, "bounce_rate": 0, "click_rate": 0},
        "_links": [],
    }


def audience_json(call: Call, audience: Audience) -> JSON:
    return audience.as_json(call.account.subscribe_url(audience), call.account.datacentre)


@endpoint("GET", "/lists")
def audiences(call: Call) -> Answer:
    offset, count = page(call.query)
    newest_first = choice(call.query, "sort_dir", ("ASC", "DESC")) == "DESC"
    address = call.query.get("email", "")
    found = [a for a in call.account.audiences.values() if not address or a.members.find(address)]
    if newest_first:
        found.reverse()
    return 200, {
        "lists": [audience_json(call, a) for a in found[offset : offset + count]],
        "total_items": len(found),
        "constraints": {
            "may_create": True,
            "max_instances": 1000,
            "current_total_instances": len(call.account.audiences),
        },
        "_links": [],
    }


@endpoint("POST", "/lists")
def create_audience(call: Call) -> Answer:
    body = call.object(
        "name", "permission_reminder", "email_type_option", "contact", "campaign_defaults"
    )
    made = call.account.add_audience(str(body["name"]), **_settings(body))
    return 200, audience_json(call, made)


@endpoint("GET", "/lists/<list_id>")
def one_audience(call: Call) -> Answer:
    return 200, audience_json(call, call.audience)


@endpoint("PATCH", "/lists/<list_id>")
def change_audience(call: Call) -> Answer:
    audience, body = call.audience, call.object()
    if "name" in body:
        audience.name = str(body["name"])
    settings = _settings(body)
    audience.double_optin = bool(settings.pop("double_optin", audience.double_optin))
    audience.marketing_permissions = bool(
        settings.pop("marketing_permissions", audience.marketing_permissions)
    )
    audience.settings = {**audience.settings, **settings}
    return 200, audience_json(call, audience)


def _settings(body: JSON) -> dict[str, Any]:
    known = SETTINGS | {"double_optin", "marketing_permissions"}
    return {name: value for name, value in body.items() if name in known}


@endpoint("DELETE", "/lists/<list_id>")
def delete_audience(call: Call) -> Answer:
    del call.account.audiences[call.audience.id]
    return 204, None


@endpoint("GET", "/lists/<list_id>/growth-history")
def growth_history(call: Call) -> Answer:
    audience = call.audience
    count = audience.members.counts
    names = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
    month = {
        "list_id": audience.id,
        "month": datetime.now(UTC).strftime("%Y-%m"),
        "existing": 0,
        "imports": 0,
        "optins": 0,
        **{name: count[name] for name in names},
        "deleted": 0,
        "reconfirm": 0,
        "_links": [],
    }
    return 200, {"history": [month], "list_id": audience.id, "total_items": 1, "_links": []}


@endpoint("GET", "/lists/<list_id>/merge-fields")
def merge_fields(call: Call) -> Answer:
    audience = call.audience
    offset, count = page(call.query)
    kind = call.query.get("type", "")
    found = [f for f in audience.merge_fields if not kind or f.type == kind]
    if "required" in call.query:
        found = [f for f in found if f.required == flag(call.query, "required")]
    return 200, {
        "merge_fields": [f.as_json(audience.id) for f in found[offset : offset + count]],
        "list_id": audience.id,
        "total_items": len(found),
        "_links": [],
    }


_FIELD_SETTINGS = (
    "tag", "name", "required", "default_value", "public", "display_order", "help_text", "options",
)  # fmt: skip


@endpoint("POST", "/lists/<list_id>/merge-fields")
def create_merge_field(call: Call) -> Answer:
    audience, body = call.audience, call.object("name", "type")
    if body["type"] not in TYPES:
        accepted = ", ".join(sorted(TYPES))
        raise invalid("type", f"Data presented is not one of the accepted values: {accepted}.")
    tag = str(body.get("tag", ""))
    if tag in audience.blank_merges:
        raise ProblemError(
            400, "Bad Request", f'A Merge Field with the tag "{tag}" already exists.'
        )
    values = {n: body[n] for n in _FIELD_SETTINGS if n in body}
    made = audience.add_field(type=body["type"], **values)
    return 200, made.as_json(audience.id)


def _field(call: Call) -> MergeField:
    for found in call.audience.merge_fields:
        if str(found.merge_id) == call.args["merge_id"]:
            return found
    raise not_found()


@endpoint("GET", "/lists/<list_id>/merge-fields/<merge_id>")
def one_merge_field(call: Call) -> Answer:
    return 200, _field(call).as_json(call.audience.id)


@endpoint("PATCH", "/lists/<list_id>/merge-fields/<merge_id>")
def change_merge_field(call: Call) -> Answer:
    found, body = _field(call), call.object()
    for name in _FIELD_SETTINGS:
        if name in body:
            setattr(found, name, body[name])
    call.audience.fields_changed()
    return 200, found.as_json(call.audience.id)


@endpoint("DELETE", "/lists/<list_id>/merge-fields/<merge_id>")
def delete_merge_field(call: Call) -> Answer:
    call.audience.merge_fields.remove(_field(call))
    call.audience.fields_changed()
    return 204, None


@endpoint("GET", "/lists/<list_id>/interest-categories")
def interest_categories(call: Call) -> Answer:
    audience = call.audience
    offset, count = page(call.query)
    found = [_category_json(audience, c) for c in audience.categories]
    return 200, {
        "categories": found[offset : offset + count],
        "list_id": audience.id,
        "total_items": len(found),
        "_links": [],
    }


def _category_json(audience: Audience, category: InterestCategory) -> JSON:
    return {
        "list_id": audience.id,
        "id": category.id,
        "title": category.title,
        "display_order": 0,
        "type": category.type,
        "_links": [],
    }


def _category(call: Call) -> InterestCategory:
    for found in call.audience.categories:
        if found.id == call.args["category_id"]:
            return found
    raise not_found()


@endpoint("GET", "/lists/<list_id>/interest-categories/<category_id>")
def one_interest_category(call: Call) -> Answer:
    return 200, _category_json(call.audience, _category(call))


@endpoint("GET", "/lists/<list_id>/interest-categories/<category_id>/interests")
def interests(call: Call) -> Answer:
    audience, category = call.audience, _category(call)
    offset, count = page(call.query)
    found = [
        {
            "category_id": category.id,
            "list_id": audience.id,
            "id": key,
            "name": name,
            "subscriber_count": str(sum(bool(m.interests.get(key)) for m in audience.members)),
            "display_order": number + 1,
            "_links": [],
        }
        for number, (key, name) in enumerate(category.interests.items())
    ]
    return 200, {
        "interests": found[offset : offset + count],
        "list_id": audience.id,
        "category_id": category.id,
        "total_items": len(found),
        "_links": [],
    }


@endpoint("GET", "/search-members")
def search_members(call: Call) -> Answer:
    text = call.query.get("query", "").strip().lower()
    if not text:
        raise invalid("query", "This value should not be blank.")
    only = call.query.get("list_id")
    chosen = [call.account.audience(only)] if only else list(call.account.audiences.values())
    exact = [(a, m) for a in chosen if (m := a.members.find(text)) and m.status != "archived"]
    close = [(a, m) for a in chosen for m in a.members if matches(m, text)]
    return 200, {
        "exact_matches": _matches(exact),
        "full_search": _matches([(a, m) for a, m in close if m.status != "archived"]),
        "_links": [],
    }


def _matches(found: list[tuple[Audience, Any]]) -> JSON:
    return {"members": [a.member_json(m) for a, m in found[:30]], "total_items": len(found)}
