"""Journey out, first step: which customers an ``update()``, ``delete()`` or ``insert()`` is about.

Reads only; ``capture`` writes what is found here into the outbox.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Mapper, ORMExecuteState, Session

from .mapping import BoundMapping, tenant_name, text_or_none
from .services import Services

#: A bulk write that matches more customers than this is captured as "look at every customer".
_MANY = 10_000


def touched(state: ORMExecuteState, services: Services) -> frozenset[str]:
    """The watched attributes that a statement may change; all of them if it can't be told."""
    mapping = services.mapping
    everything = mapping.watched
    if mapping.watch_all or not state.is_update or state.bind_mapper is None:
        return everything or frozenset({mapping.mapping.opt_in})
    values = getattr(state.statement, "_values", None)
    names = {getattr(column, "key", column) for column in values} if values else set()
    for row in _parameter_rows(state):
        names |= set(row)
    keys = {_attribute(mapping.mapper, name) for name in names}
    return everything if None in keys or not names else everything & {k for k in keys if k}


def _attribute(mapper: Mapper[Any], name: Any) -> str | None:
    """The attribute of a column's or attribute's name; None if it is unknown."""
    if name in mapper.attrs:
        return str(name)
    column = mapper.local_table.columns.get(name)
    return str(mapper.get_property_by_column(column).key) if column is not None else None


def _parameter_rows(state: ORMExecuteState) -> list[dict[str, Any]]:
    parameters = state.parameters
    if isinstance(parameters, list | tuple):
        return [dict(row) for row in parameters]
    return []


class Row(NamedTuple):
    """What a bulk write is about.

    :param tenant: None if the table doesn't tell.
    :param email: as the table has it; None if it doesn't tell.
    :param own_list: None for the master list, or if the table doesn't tell.
    """

    tenant: str | None
    box: bool | None
    email: object
    own_list: str | None


def matched(state: ORMExecuteState, services: Services) -> dict[str, Row] | None:
    """The customers that a statement matches, by key; None if they are too many."""
    mapping = services.mapping
    names = [
        attribute.key for attribute in map(mapping.mapper.get_property_by_column, _pk(mapping))
    ]
    by_key = [row for row in _parameter_rows(state) if all(name in row for name in names)]
    if by_key:  # ORM bulk update by primary key
        if len(by_key) > _MANY:
            return None
        return boxes(
            state.session,
            services,
            [mapping.key_from([row[name] for name in names]) for row in by_key],
        )
    query = _box_query(services).limit(_MANY + 1)
    where = state.statement.whereclause  # type: ignore[attr-defined]  # Update and Delete have it
    if where is not None:
        query = query.where(where)
    parameters = state.parameters if isinstance(state.parameters, dict) else {}
    rows = state.session.execute(query, parameters).all()
    return None if len(rows) > _MANY else _by_key(services, rows)


def boxes(session: Session, services: Services, keys: list[str]) -> dict[str, Row]:
    """The customers with these keys, as their rows say now."""
    found: dict[str, Row] = {}
    mapping = services.mapping
    for start in range(0, len(keys), 500):
        identities = [mapping.identity(key) for key in keys[start : start + 500]]
        query = _box_query(services).where(mapping.matches(identities))
        found |= _by_key(services, session.execute(query).all())
    return found


def _pk(mapping: Any) -> tuple[Any, ...]:
    columns: tuple[Any, ...] = mapping.mapper.primary_key
    return columns


def _sources(mapping: BoundMapping) -> dict[str, str]:
    """Where the host's table itself tells a :class:`Row`'s values: the columns' attributes."""
    m = mapping.mapping
    named = {"tenant": m.tenant, "box": m.opt_in, "email": m.email, "own_list": m.audience}
    columns = mapping.mapper.column_attrs
    return {name: s for name, s in named.items() if isinstance(s, str) and s in columns}


def _box_query(services: Services) -> Any:
    mapping = services.mapping
    sources = [getattr(mapping.model, attribute) for attribute in _sources(mapping).values()]
    # A source may be a key as well, or two of them the same: each is a column of its own.
    columns = [*_pk(mapping), *sources]
    return select(*(column.label(f"mailchimp_optin_{n}") for n, column in enumerate(columns)))


def _by_key(services: Services, rows: Iterable[Any]) -> dict[str, Row]:
    mapping, width = services.mapping, len(_pk(services.mapping))
    names = list(_sources(mapping))
    return {
        mapping.key_from(row[:width]): _row(mapping, dict(zip(names, row[width:], strict=True)))
        for row in rows
    }


def _row(mapping: BoundMapping, told: dict[str, Any]) -> Row:
    tenant = "" if mapping.mapping.tenant is None else None
    if "tenant" in told:
        tenant = tenant_name(told["tenant"])
    own_list = text_or_none(told.get("own_list"))
    return Row(tenant, mapping.as_box(told.get("box")), told.get("email"), own_list)
