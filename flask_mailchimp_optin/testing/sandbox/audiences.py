"""Audiences ("lists"): their settings, merge fields, interests and webhooks, and how they look
over the wire.

Imports the record types and members; knows no HTTP.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from .members import Member, Members
from .records import JSON

EVENTS = ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign")
SOURCES = ("user", "admin", "api")

# What a new audience has at Mailchimp.
_DEFAULT_FIELDS = (
    ("ADDRESS", "Address", "address"),
    ("FNAME", "First Name", "text"),
    ("LNAME", "Last Name", "text"),
    ("PHONE", "Phone Number", "phone"),
    ("BIRTHDAY", "Birthday", "birthday"),
)


@dataclass(kw_only=True)
class MergeField:
    """A column of an audience."""

    merge_id: int
    tag: str
    name: str
    type: str = "text"
    required: bool = False
    default_value: str = ""
    public: bool = True
    display_order: int = 0
    help_text: str = ""
    options: JSON = field(default_factory=dict)

    def as_json(self, list_id: str) -> JSON:
        return {**vars(self), "list_id": list_id, "_links": []}


@dataclass(kw_only=True)
class Webhook:
    """A registered webhook.

    :param secrets: newest first; two while a rotation lasts, none for an unsigned webhook.
    """

    id: str
    url: str
    events: dict[str, bool]
    sources: dict[str, bool]
    secrets: list[str] = field(default_factory=list)
    enabled: bool = True

    def as_json(self, list_id: str) -> JSON:
        found: JSON = {
            "id": self.id,
            "url": self.url,
            "events": dict(self.events),
            "sources": dict(self.sources),
            "list_id": list_id,
            "_links": [],
        }
        if self.secrets:
            found["signing_enabled"] = True
        return found


@dataclass(kw_only=True)
class InterestCategory:
    """A group title; its interests are id to name."""

    id: str
    title: str
    type: str = "checkboxes"
    interests: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Audience:
    """One audience with everything in it."""

    id: str
    web_id: int
    name: str
    date_created: str
    double_optin: bool = False
    has_welcome: bool = False
    marketing_permissions: bool = False
    settings: JSON = field(default_factory=dict)
    members: Members = field(default_factory=Members)
    forgotten: set[str] = field(default_factory=set)  # hashes of addresses deleted permanently
    merge_fields: list[MergeField] = field(default_factory=list)
    categories: list[InterestCategory] = field(default_factory=list)
    permissions: dict[str, str] = field(default_factory=dict)
    webhooks: dict[str, Webhook] = field(default_factory=dict)
    tag_ids: dict[str, int] = field(default_factory=dict)
    last_sub_date: str = ""
    last_unsub_date: str = ""
    blank_merges: JSON = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.merge_fields:
            for tag, name, kind in _DEFAULT_FIELDS:
                self.add_field(tag=tag, name=name, type=kind)
        if self.marketing_permissions and not self.permissions:
            self.permissions = {
                secrets.token_hex(5): text
                for text in ("Email", "Direct Mail", "Customized Online Advertising")
            }

    def add_field(self, **values: Any) -> MergeField:
        number = max((f.merge_id for f in self.merge_fields), default=0) + 1
        values.setdefault("tag", f"MMERGE{number}")
        values.setdefault("display_order", number + 1)
        values["options"] = _options(values.get("type", "text"), values.get("options", {}))
        found = MergeField(merge_id=number, **values)
        self.merge_fields.append(found)
        self.fields_changed()
        return found

    def fields_changed(self) -> None:
        self.blank_merges = {f.tag: f.default_value or "" for f in self.merge_fields}

    def interest_ids(self) -> dict[str, str]:
        return {key: name for c in self.categories for key, name in c.interests.items()}

    def tag_id(self, name: str) -> int:
        return self.tag_ids.setdefault(name, len(self.tag_ids) + 10_001)

    def member_json(self, member: Member) -> JSON:
        """A member as the API shows it."""
        merges = {**self.blank_merges, **member.merge_fields}
        found: JSON = {
            "id": member.id,
            "email_address": member.email_address,
            "unique_email_id": member.unique_email_id,
            "contact_id": member.contact_id,
            "full_name": f"{merges.get('FNAME', '')} {merges.get('LNAME', '')}".strip(),
            "web_id": member.web_id,
            "email_type": member.email_type,
            "status": member.status,
            "consents_to_one_to_one_messaging": True,
            "merge_fields": merges,
            "interests": {k: member.interests.get(k, False) for k in self.interest_ids()}
            if self.categories
            else {},
            "stats": {"avg_open_rate": 0, "avg_click_rate": 0},
            "ip_signup": member.ip_signup,
            "timestamp_signup": member.timestamp_signup,
            "ip_opt": member.ip_opt,
            "timestamp_opt": member.timestamp_opt,
            "member_rating": 2,
            "last_changed": member.last_changed,
            "language": member.language,
            "vip": member.vip,
            "email_client": "",
            "location": _location(member),
            "source": member.source,
            "tags_count": len(member.tags),
            "tags": [{"id": number, "name": n} for n, (number, _) in member.tags.items()],
            "list_id": self.id,
            "_links": [],
        }
        if member.status == "unsubscribed":
            found["unsubscribe_reason"] = member.unsubscribe_reason
        if self.permissions:
            found["marketing_permissions"] = [
                {
                    "marketing_permission_id": key,
                    "text": text,
                    "enabled": member.permissions.get(key, False),
                }
                for key, text in self.permissions.items()
            ]
        return found

    def stats(self) -> JSON:
        count = self.members.counts
        return {
            "member_count": count["subscribed"],
            "unsubscribe_count": count["unsubscribed"],
            "cleaned_count": count["cleaned"],
            "total_contacts": len(self.members) - count["archived"],
            "member_count_since_send": count["subscribed"],
            "unsubscribe_count_since_send": count["unsubscribed"],
            "cleaned_count_since_send": count["cleaned"],
            "campaign_count": 0,
            "campaign_last_sent": "",
            "merge_field_count": len(self.merge_fields),
            "avg_sub_rate": 0,
            "avg_unsub_rate": 0,
            "target_sub_rate": 0,
            "open_rate": 0,
            "click_rate": 0,
            "last_sub_date": self.last_sub_date,
            "last_unsub_date": self.last_unsub_date,
        }

    def as_json(self, subscribe_url: str, datacentre: str) -> JSON:
        """The audience as the API shows it."""
        return {
            "id": self.id,
            "web_id": self.web_id,
            "name": self.name,
            **_SETTINGS,
            **self.settings,
            "date_created": self.date_created,
            "list_rating": 0,
            "subscribe_url_short": subscribe_url,
            "subscribe_url_long": subscribe_url,
            "beamer_address": f"{datacentre}-{self.id}@inbound.mailchimp.com",
            "visibility": "prv",
            "double_optin": self.double_optin,
            "has_welcome": self.has_welcome,
            "marketing_permissions": self.marketing_permissions,
            "modules": [],
            "stats": self.stats(),
            "_links": [],
        }


_SETTINGS: JSON = {
    "contact": {
        "company": "Sandbox Ltd",
        "address1": "1 Example Street",
        "address2": "",
        "city": "Exampleton",
        "state": "EX",
        "zip": "00001",
        "country": "US",
        "phone": "",
    },
    "permission_reminder": "You are receiving this email because you opted in via our website.",
    "use_archive_bar": True,
    "campaign_defaults": {
        "from_name": "Sandbox Ltd",
        "from_email": "sandbox@example.com",
        "subject": "",
        "language": "en",
    },
    "notify_on_subscribe": "",
    "notify_on_unsubscribe": "",
    "email_type_option": False,
}
SETTINGS = frozenset(_SETTINGS)


def _options(kind: str, given: JSON) -> JSON:
    defaults: dict[str, JSON] = {
        "text": {"size": 25},
        "address": {"default_country": 164},
        "phone": {"phone_format": "none"},
        "birthday": {"date_format": "MM/DD"},
        "date": {"date_format": "YYYY-MM-DD"},
        "dropdown": {"choices": []},
        "radio": {"choices": []},
    }
    return {**defaults.get(kind, {}), **given}


def _location(member: Member) -> JSON:
    return {
        "latitude": member.latitude,
        "longitude": member.longitude,
        "gmtoff": 0,
        "dstoff": 0,
        "country_code": "",
        "timezone": "",
        "region": "",
    }
