"""Journey out, first step: which customers an ``update()``, ``delete()`` or ``insert()`` is about.

Reads only; ``capture`` writes what is found here into the outbox.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Mapper, ORMExecuteState, Session

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


def matched(state: ORMExecuteState, services: Services) -> dict[str, tuple[str | None, Any]] | None:
    """Key to (tenant, box) of the customers that a statement matches; None if they are too many."""
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


def boxes(
    session: Session, services: Services, keys: list[str]
) -> dict[str, tuple[str | None, Any]]:
    found: dict[str, tuple[str | None, Any]] = {}
    mapping = services.mapping
    for start in range(0, len(keys), 500):
        identities = [mapping.identity(key) for key in keys[start : start + 500]]
        query = _box_query(services).where(mapping.matches(identities))
        found |= _by_key(services, session.execute(query).all())
    return found


def _pk(mapping: Any) -> tuple[Any, ...]:
    columns: tuple[Any, ...] = mapping.mapper.primary_key
    return columns


def _box_query(services: Services) -> Any:
    mapping = services.mapping
    columns = list(_pk(mapping))
    for name in (mapping.mapping.opt_in, mapping.mapping.tenant):
        if isinstance(name, str) and name in mapping.mapper.column_attrs:
            columns.append(getattr(mapping.model, name).label(f"mailchimp_optin_{len(columns)}"))
    return select(*columns)


def _by_key(services: Services, rows: Iterable[Any]) -> dict[str, tuple[str | None, Any]]:
    mapping, width = services.mapping, len(_pk(services.mapping))
    has_box = mapping.mapping.opt_in in mapping.mapper.column_attrs
    tenant = mapping.mapping.tenant
    has_tenant = isinstance(tenant, str) and tenant in mapping.mapper.column_attrs
    found: dict[str, tuple[str | None, Any]] = {}
    for row in rows:
        box = mapping.as_box(row[width]) if has_box else None
        name = str(row[-1] if row[-1] is not None else "") if has_tenant else None
        found[mapping.key_from(row[:width])] = (name if tenant is not None else "", box)
    return found
