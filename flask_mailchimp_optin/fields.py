"""Merge fields: what the mapping sends beside what a list has. Read at Mailchimp, and kept, when an
administrator asks for the lists or for this; missing ones are made.

Who is told of a member's details never depends on it: every request asks Mailchimp to skip its check
of required fields, and a field that a list doesn't have is left out there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, update

from .client import Client, MergeField
from .errors import MemberRefused, RefusedInput, RequestRefused
from .mapping import BoundMapping, Source
from .models import utc
from .services import Services, Transaction
from .texts import Text

#: Types of the fields that a new audience has; a mapping that uses their names means them.
_KNOWN = {"ADDRESS": "address", "BIRTHDAY": "birthday", "PHONE": "phone"}


@dataclass(frozen=True, kw_only=True)
class FieldView:
    """A merge field on one side or both, for people.

    :param ours: whether we send it.
    :param source: the attribute or function of the host's that it comes from; "" for one without a name.
    :param pulled: whether it follows what people change at Mailchimp.
    :param type: the type it has at Mailchimp, or would be made with; "" if nobody knows yet.
    :param there: whether the list has it; None as long as nobody looked.
    """

    tag: str
    ours: bool = True
    source: str = ""
    pulled: bool = False
    type: str
    required: bool
    there: bool | None

    @property
    def missing(self) -> bool:
        """Whether we send it and the list has no place for it."""
        return self.there is False

    @property
    def unfed(self) -> bool:
        """Whether the list requires it and we don't send it."""
        return self.required and not self.ours


@dataclass(frozen=True, kw_only=True)
class FieldsView:
    """A list's merge fields beside ours.

    :param read_at: when they were read at Mailchimp; None: never.
    """

    rows: tuple[FieldView, ...] = ()
    read_at: datetime | None = None

    @property
    def missing(self) -> tuple[FieldView, ...]:
        """What we send and the list has no place for."""
        return tuple(row for row in self.rows if row.missing)

    @property
    def unfed(self) -> tuple[FieldView, ...]:
        """What the list requires and we don't send."""
        return tuple(row for row in self.rows if row.unfed)


NO_FIELDS = FieldsView()


def read(services: Services, client: Client, audience: Row[Any]) -> list[MergeField]:
    """Read a list's merge fields at Mailchimp, and keep them."""
    found = client.merge_fields(audience.list_id)
    kept = json.dumps([asdict(field) for field in found])
    table = services.tables.audience
    values = {"merge_fields": kept, "merge_fields_at": services.now()}

    def work(tx: Transaction) -> None:
        tx.execute(update(table).where(table.c.id == audience.id).values(**values))

    services.transact(work)
    return found


def create_missing(services: Services, client: Client, audience: Row[Any]) -> list[str]:
    """Make what we send and the list has no place for; the tags of what was made.

    :raises RefusedInput: Mailchimp did not accept one; those before it are made.
    """
    there = {field.tag for field in read(services, client, audience)}
    made = []
    for field in wanted(services.mapping):
        if field.tag in there:
            continue
        try:
            client.add_merge_field(audience.list_id, field)
        except (MemberRefused, RequestRefused):
            raise RefusedInput(
                Text(
                    "Mailchimp did not accept a merge field named %(tag)s. Make it there, in the list’s "
                    "settings; a tag has at most 10 letters, and each list a limited number of fields.",
                    tag=field.tag,
                )
            ) from None
        made.append(field.tag)
    if made:
        read(services, client, audience)
    return made


def compare(mapping: BoundMapping, audience: Row[Any]) -> FieldsView:
    """Ours and the list's, as they were last read; ours first, then what else the list requires."""
    ours = {field.tag: field for field in wanted(mapping)}
    if audience.merge_fields is None:
        return FieldsView(rows=tuple(_ours(mapping, field, None) for field in ours.values()))
    theirs = {row["tag"]: MergeField(**row) for row in json.loads(audience.merge_fields)}
    rows = [_ours(mapping, field, theirs.get(field.tag), looked=True) for field in ours.values()]
    rows += [
        FieldView(tag=field.tag, ours=False, type=field.type, required=True, there=True)
        for field in theirs.values()
        if field.required and field.tag not in ours
    ]
    return FieldsView(rows=tuple(rows), read_at=utc(audience.merge_fields_at))


def _ours(
    mapping: BoundMapping, field: MergeField, theirs: MergeField | None, *, looked: bool = False
) -> FieldView:
    return FieldView(
        tag=field.tag,
        source=_name(mapping.mapping.merge_fields[field.tag]),
        pulled=field.tag in mapping.mapping.pull,
        type=theirs.type if theirs else field.type,
        required=theirs is not None and theirs.required,
        there=theirs is not None if looked else None,
    )


def wanted(mapping: BoundMapping) -> Iterable[MergeField]:
    """What the mapping sends, as the fields that it needs."""
    for tag, source in mapping.mapping.merge_fields.items():
        name = _name(source).replace("_", " ").strip() or tag
        yield MergeField(
            tag=tag, name=name[:1].upper() + name[1:50], type=_type(mapping, tag, source)
        )


def _name(source: Source) -> str:
    if isinstance(source, str):
        return source
    name = getattr(source, "__name__", "")
    return name if name.isidentifier() else ""  # not that of a lambda


def _type(mapping: BoundMapping, tag: str, source: Source) -> str:
    if tag in _KNOWN:
        return _KNOWN[tag]
    columns = mapping.mapper.columns
    if not isinstance(source, str) or source not in columns:
        return "text"
    try:
        kind = columns[source].type.python_type
    except NotImplementedError:
        return "text"
    if kind in (date, datetime):
        return "date"
    return "number" if issubclass(kind, int | float) and kind is not bool else "text"
