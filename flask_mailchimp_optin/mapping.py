"""The host's customer model, read as a member and written as a checkbox.

The only place that knows the host's attribute names, both journeys. May import SQLAlchemy and the
pure modules, never Flask.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from inspect import getattr_static
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    Column,
    MetaData,
    Table,
    TypeDecorator,
    and_,
    false,
    func,
    inspect,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import instance_dict, instance_state

from .addresses import canonical, canonical_or_none
from .errors import BadAddress, ConfigError, MailchimpOptinError
from .fitting import language
from .texts import Text

#: An attribute's name, or a callable that takes the customer.
Source = str | Callable[[Any], Any]

_TAG = re.compile(r"(?=.*[A-Z0-9])[A-Z0-9_]+", re.ASCII)  # a merge tag
_CHUNK = 500  # SQLite and others limit the number of bound values in one statement
_OPTIONAL = ("audience", "tenant", "language")
_TEXT_LIMIT = 255  # characters that a Mailchimp text merge field keeps


@dataclass(frozen=True, kw_only=True)
class CustomerMapping:
    """Which attribute of the host's customer is what to Mailchimp.

    :param email: the email address.
    :param opt_in: the name of the checkbox's attribute; it is written too. Values: True, False, None.
    :param merge_fields: Mailchimp merge tag to source. Blank values are sent only to clear what was
        sent before. Texts are trimmed to 255 characters.
    :param audience: the Mailchimp list id of the customer's own list; None, or a None value: the
        master list.
    :param tags: tag names for every member, or a callable that returns them.
    :param tenant: the host's account that the customer belongs to; one connection for each.
    :param interests: Mailchimp's id of an interest (a group's choice) to source; True or False, and None
        leaves it as it is there.
    :param permissions: the same for marketing permissions (GDPR), by their ids.
    :param language: the customer's language, such as ``de`` or ``pt-BR``.
    :param pull: merge tags whose attribute follows what the person changes at Mailchimp; if both sides
        changed, the host's value counts. The attribute is a text, a number, a date or a property with a
        setter.
    :param depends_on: names of the attributes that the callables read; without it every change of a
        customer is looked at as soon as one source is a callable, a property or a column that the
        database works out.
    """

    email: Source
    opt_in: str
    merge_fields: Mapping[str, Source] = field(default_factory=dict)
    audience: Source | None = None
    tags: tuple[str, ...] | Callable[[Any], Iterable[str]] = ()
    tenant: Source | None = None
    interests: Mapping[str, Source] = field(default_factory=dict)
    permissions: Mapping[str, Source] = field(default_factory=dict)
    language: Source | None = None
    pull: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One customer as their row says now.

    :param key: the primary key as text.
    :param address: canonical, or None with :attr:`problem` saying why.
    :param opt_in: the checkbox; None for unset.
    :param list_id: the customer's own list; None for the master list.
    :param merge_fields: merge tag to value; "" for blank.
    """

    key: str
    tenant: str | None
    address: str | None
    problem: str | None
    opt_in: bool | None
    list_id: str | None
    merge_fields: Mapping[str, Any]
    tags: tuple[str, ...]
    interests: Mapping[str, bool] = field(default_factory=dict)
    permissions: Mapping[str, bool] = field(default_factory=dict)
    language: str | None = None

    @cached_property
    def profile(self) -> str:
        """Names what is sent beside the status: equal profiles are not sent again."""
        parts: tuple[Any, ...] = sorted(self.merge_fields.items()), sorted(self.tags)
        if self.interests or self.permissions or self.language:
            more = sorted(self.interests.items()), sorted(self.permissions.items())
            parts = (*parts, *more, self.language)
        return hashlib.sha256(ascii(parts).encode()).hexdigest()


class BoundMapping:
    """A mapping together with the model it is about, checked."""

    def __init__(self, model: type[Any], mapping: CustomerMapping) -> None:
        """
        :raises ConfigError: the model is not mapped, or the mapping names what it doesn't have.
        """
        try:
            self.mapper: Mapper[Any] = inspect(model)
        except NoInspectionAvailable:
            raise ConfigError(
                f"{model!r} is not a SQLAlchemy model. Pass the class of your customers."
            ) from None
        self.model = model
        self.mapping = mapping
        self._check()
        self._box, self._email = self._reader(mapping.opt_in), self._reader(mapping.email)
        self._key = [self._reader(name) for name in self._key_names()]
        self.watched: frozenset[str]
        self.watch_all: bool
        self.watched, self.watch_all = self._watched()

    @property
    def metadata(self) -> MetaData:
        """The metadata that our tables belong to: the model's own, so that they share its bind."""
        table = self.mapper.local_table
        if not isinstance(table, Table):
            raise ConfigError(f"{self.model.__name__} is not mapped to a table.")
        return table.metadata

    def _check(self) -> None:
        if not isinstance(self.mapping.opt_in, str):
            raise ConfigError(
                "mapping.opt_in must be an attribute's name: the box is written, not only read."
            )
        self._check_kinds()
        for name in self._names():
            if not hasattr(self.model, name):
                raise ConfigError(
                    f"{self.model.__name__} has no attribute {name!r}, which the mapping names. "
                    "Did you mean another name, or a callable that takes the customer?"
                )
        for tag in self.mapping.merge_fields:
            if (
                not isinstance(tag, str)
                or not tag.isascii()
                or not tag.replace("_", "").isalnum()
                or tag != tag.upper()
            ):
                raise ConfigError(f"{tag!r} is not a Mailchimp merge tag such as FNAME or MMERGE6.")
        self._check_opt_in()
        self._check_pull()
        for column in self.mapper.primary_key:
            if _python_type(column) not in (int, str, uuid.UUID):
                raise ConfigError(
                    f"The primary key column {column.name!r} is neither a number, a text nor a UUID."
                )

    def _check_kinds(self) -> None:
        m = self.mapping
        if not isinstance(m.merge_fields, Mapping):
            raise ConfigError("mapping.merge_fields must be a dictionary: merge tag to attribute.")
        for ids in ("interests", "permissions"):
            if not isinstance(getattr(m, ids), Mapping):
                raise ConfigError(
                    f"mapping.{ids} must be a dictionary: Mailchimp's id to attribute."
                )
        for name in ("tags", "pull", "depends_on"):
            if isinstance(getattr(m, name), str):
                raise ConfigError(f"mapping.{name} must be several names: ('A name',), not a text.")
        named = {"email": m.email}
        named |= {name: getattr(m, name) for name in _OPTIONAL}
        for name in ("merge_fields", "interests", "permissions"):
            named |= {f"{name}[{key!r}]": source for key, source in getattr(m, name).items()}
        for name, source in named.items():
            unset = source is None and name in _OPTIONAL
            if not (unset or callable(source) or (isinstance(source, str) and source)):
                raise ConfigError(
                    f"mapping.{name} must be an attribute's name or a callable that takes the "
                    "customer."
                )

    def _check_opt_in(self) -> None:
        if self._is_fixed(self.mapping.opt_in):
            raise ConfigError(
                f"{self.model.__name__}.{self.mapping.opt_in} can't be set, and the box is written "
                "too. Give the property a setter."
            )
        columns = self.mapper.columns
        if self.mapping.opt_in in columns:
            kind = _python_type(columns[self.mapping.opt_in])
            if kind not in (bool, int):
                raise ConfigError(
                    f"{self.model.__name__}.{self.mapping.opt_in} is not a Boolean column. "
                    "A text such as 'no' would count as ticked."
                )

    def _check_pull(self) -> None:
        m = self.mapping
        kept = {m.email, m.opt_in, m.audience, m.tenant, *self._key_names()}
        for tag in m.pull:
            source = m.merge_fields.get(tag)
            if not isinstance(source, str):
                raise ConfigError(
                    f"mapping.pull names {tag!r}, which is no attribute's name in mapping.merge_fields: "
                    "only an attribute can be written."
                )
            column = self.mapper.columns.get(source)
            if (
                self._is_fixed(source)
                or source in kept
                or (column is not None and not _can_be_pulled(column))
            ):
                raise ConfigError(
                    f"mapping.pull names {tag!r}, but {self.model.__name__}.{source} can't follow "
                    "Mailchimp. Name a column of texts, numbers or dates, or a property with a setter, "
                    "that is nothing else to the mapping."
                )

    def _is_fixed(self, name: str) -> bool:
        """Whether an attribute is a property without a setter."""
        found = getattr_static(self.model, name)
        return isinstance(found, property) and found.fset is None

    def _sources(self) -> Iterator[Any]:
        m = self.mapping
        yield from (m.email, m.opt_in, *m.merge_fields.values())
        yield from (*m.interests.values(), *m.permissions.values())
        yield from (s for s in (m.audience, m.tenant, m.language) if s is not None)
        if callable(m.tags):
            yield m.tags

    def _names(self) -> Iterator[str]:
        yield from (s for s in self._sources() if isinstance(s, str))
        yield from self.mapping.depends_on

    def _watched(self) -> tuple[frozenset[str], bool]:
        """The attributes with a history that matter, and whether any change matters."""
        known = {attribute.key for attribute in self.mapper.attrs}
        names = set(self._names())
        opaque = any(callable(s) for s in self._sources()) or bool(names - known)
        opaque = opaque or any(_follows_others(self.mapper.columns.get(name)) for name in names)
        return frozenset(names & known), opaque and not self.mapping.depends_on

    # Reading

    def _reader(self, source: Source) -> Callable[[Any], Any]:
        """What reads a source of a customer: a column's value where it lies, if it is loaded."""
        if callable(source):
            return source
        read = attrgetter(source)
        if source not in self.mapper.column_attrs:
            return read

        def loaded(customer: Any) -> Any:
            values = instance_dict(customer)
            return values[source] if source in values else read(customer)

        return loaded

    def snapshot(self, customer: Any) -> Snapshot:
        """The customer as their row says now. Never raises, whatever the row or the mapping does."""
        key, tenant = self.key_of(customer), self.tenant_of(customer)
        try:
            return self._snapshot(key, tenant, lambda source: _value(customer, source))
        except _MappingFailed as error:
            return Snapshot(
                key=key,
                tenant=tenant,
                address=None,
                problem=str(error),
                opt_in=self._box_at_least(customer),
                list_id=None,
                merge_fields={},
                tags=(),
            )

    def _box_at_least(self, customer: Any) -> bool | None:
        """The checkbox, whatever else fails: a no must not wait for a mended mapping."""
        try:
            return self.box(customer)
        except Exception:
            return None

    def _snapshot(self, key: str, tenant: str | None, get: Callable[[Any], Any]) -> Snapshot:
        m = self.mapping
        address, problem = None, None
        try:
            address = canonical(get(m.email))
        except BadAddress as error:
            problem = str(error)
        tags = get(m.tags) if callable(m.tags) else m.tags
        return Snapshot(
            key=key,
            tenant=tenant,
            address=address,
            problem=problem,
            opt_in=as_box(get(m.opt_in)),
            list_id=text_or_none(get(m.audience)) if m.audience else None,
            merge_fields={tag: _merge_value(get(s)) for tag, s in m.merge_fields.items()},
            tags=tuple(str(tag) for tag in tags if str(tag).strip()) if tags else (),
            interests=_boxes(m.interests, get) if m.interests else {},
            permissions=_boxes(m.permissions, get) if m.permissions else {},
            language=language(get(m.language)) if m.language else None,
        )

    def tenant_of(self, customer: Any) -> str | None:
        """The tenant's name; "" where there is only one, None if the mapping can't tell."""
        if self.mapping.tenant is None:
            return ""
        try:
            return tenant_name(_value(customer, self.mapping.tenant))
        except _MappingFailed:
            return None

    def email_of(self, customer: Any) -> object:
        """The address as the row has it, or None if the mapping can't tell."""
        try:
            return self._email(customer)
        except Exception:
            return None

    def list_of(self, customer: Any) -> str | None:
        """The customer's own list; None for the master list, or if the mapping can't tell."""
        try:
            source = self.mapping.audience
            return None if source is None else text_or_none(_value(customer, source))
        except _MappingFailed:
            return None

    def address_of(self, customer: Any) -> str | None:
        """The canonical address, or None if it can't be one."""
        return canonical_or_none(self.email_of(customer))

    @staticmethod
    def as_box(value: Any) -> bool | None:
        """The checkbox as we understand this value of it."""
        return as_box(value)

    # Keys

    def key_of(self, customer: Any) -> str:
        """The primary key as text; stable, also for a deleted customer."""
        state = instance_state(customer)
        if state.key is not None:
            return self.key_from(state.key[1])
        return self.key_from([read(customer) for read in self._key])

    def key_from(self, identity: Sequence[Any]) -> str:
        """The text of a primary key: the value itself, or a JSON list for a composite one."""
        return str(identity[0]) if len(identity) == 1 else json.dumps([str(p) for p in identity])

    def identity(self, key: str) -> tuple[Any, ...]:
        """The primary key again, in the columns' own types."""
        columns = self.mapper.primary_key
        parts = [key] if len(columns) == 1 else json.loads(key)
        return tuple(_python_type(c)(p) for c, p in zip(columns, parts, strict=True))

    # Loading

    def load(self, session: Session, keys: Iterable[str], *, lock: bool = False) -> dict[str, Any]:
        """The customers of these keys as they are now, by key; missing ones are left out.

        :param lock: take row locks, where the database has them, until the transaction ends.
        """
        wanted = [self.identity(key) for key in dict.fromkeys(keys)]
        found: dict[str, Any] = {}
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            query = select(self.model).where(self.matches(chunk))
            query = query.execution_options(populate_existing=True)
            if lock:
                query = query.with_for_update()
            for customer in session.scalars(query).unique():
                found[self.key_of(customer)] = customer
        return found

    def snapshots(self, session: Session, keys: Iterable[str]) -> dict[str, Snapshot]:
        """The customers of these keys as their rows say now, by key; missing ones are left out."""
        wanted = [self.identity(key) for key in dict.fromkeys(keys)]
        found: dict[str, Snapshot] = {}
        for start in range(0, len(wanted), _CHUNK):
            theirs = self.matches(wanted[start : start + _CHUNK])
            found |= {snapshot.key: snapshot for snapshot in self._read(session, theirs)}
        return found

    def existing(self, session: Session, keys: Iterable[str]) -> set[str]:
        """Those of these keys that there is a customer with."""
        wanted = [self.identity(key) for key in dict.fromkeys(keys)]
        query = select(*(getattr(self.model, name) for name in self._key_names()))
        found: set[str] = set()
        for start in range(0, len(wanted), _CHUNK):
            theirs = self.matches(wanted[start : start + _CHUNK])
            found |= {self.key_from(row) for row in session.execute(query.where(theirs)).all()}
        return found

    def page(
        self, session: Session, tenant: str, after: str | None, limit: int, until: str | None = None
    ) -> list[Snapshot]:
        """The next customers of a tenant in the order of their key, for a walk over all of them.

        Others' may be among them, where only Python can tell whose they are.

        :param until: the last key that may be among them; None for any.
        """
        return self._read(session, self._between(tenant, after, until), limit)

    def bounds(self, session: Session, tenant: str, each: int) -> list[str]:
        """The keys after every so many customers to walk over, see :meth:`page`."""
        columns, found = self.mapper.primary_key, list[str]()
        query = select(*(getattr(self.model, name) for name in self._key_names()))
        query = query.order_by(*columns).offset(each - 1).limit(1)
        while True:
            after = found[-1] if found else None
            row = session.execute(query.where(self._between(tenant, after, None))).first()
            if row is None:
                return found
            found.append(self.key_from(row))

    def _between(self, tenant: str, after: str | None, until: str | None) -> Any:
        """The SQL condition for a tenant's customers with a key after one, up to another."""
        columns = self.mapper.primary_key
        key: Any = columns[0] if len(columns) == 1 else tuple_(*columns)

        def value(text: str) -> Any:
            values = self.identity(text)
            return values[0] if len(columns) == 1 else values

        where = [self._of_tenant(tenant)]
        where += [key > value(after)] if after is not None else []
        where += [key <= value(until)] if until is not None else []
        return and_(*where)

    def count(self, session: Session, tenant: str) -> int:
        """How many customers there are to walk over, see :meth:`page`."""
        query = select(func.count()).select_from(self.model).where(self._of_tenant(tenant))
        return int(session.execute(query).scalar() or 0)

    def _of_tenant(self, tenant: str) -> Any:
        """The SQL condition for a tenant's customers; for all, where the column alone can't tell."""
        source = self.mapping.tenant
        if not isinstance(source, str) or source not in self.mapper.column_attrs:
            return true()
        attribute, column = getattr(self.model, source), self.mapper.columns[source]
        kind = _python_type(column)
        if kind not in (int, str, uuid.UUID) or isinstance(column.type, TypeDecorator):
            return true()
        try:
            theirs = attribute == kind(tenant)
        except ValueError:  # the one without a name, or nobody
            theirs = false()
        return theirs if tenant else or_(theirs, attribute.is_(None))

    def _read(self, session: Session, where: Any, limit: int | None = None) -> list[Snapshot]:
        """Some customers, as columns if the mapping needs no more: objects take three times as long.

        :param limit: so many, in the order of their key.
        """

        def narrow(query: Any) -> Any:
            query = query.where(where)
            return query if limit is None else query.order_by(*self.mapper.primary_key).limit(limit)

        names = self._plain_columns()
        dispatch = self.mapper.class_manager.dispatch
        if names is None or dispatch.load or dispatch.refresh:  # those may change what is loaded
            query = narrow(select(self.model)).execution_options(populate_existing=True)
            return [self.snapshot(customer) for customer in session.scalars(query).unique()]
        columns = [getattr(self.model, name).label(f"c{n}") for n, name in enumerate(names)]
        width = len(self.mapper.primary_key)
        return [
            self._of_row(row[:width], dict(zip(names, row, strict=True)))
            for row in session.execute(narrow(select(*columns))).all()
        ]

    def _of_row(self, identity: Sequence[Any], values: Mapping[Any, Any]) -> Snapshot:
        source = self.mapping.tenant
        tenant = "" if source is None else tenant_name(values[source])
        return self._snapshot(self.key_from(identity), tenant, values.__getitem__)

    def _plain_columns(self) -> tuple[str, ...] | None:
        """The attributes to read, the key's first, if each is a column; else None."""
        sources = list(self._sources())
        columns = self.mapper.column_attrs
        if not all(isinstance(source, str) and source in columns for source in sources):
            return None
        return (*self._key_names(), *sources)

    def _key_names(self) -> list[str]:
        """The attributes of the primary key."""
        return [self.mapper.get_property_by_column(c).key for c in self.mapper.primary_key]

    def matches(self, identities: list[tuple[Any, ...]]) -> Any:
        """The SQL condition that the primary key is one of these."""
        columns = self.mapper.primary_key
        if len(columns) == 1:
            return columns[0].in_([identity[0] for identity in identities])
        return tuple_(*columns).in_(identities)

    # Writing

    def set_box(self, customer: Any, value: bool) -> None:
        """Tick or untick the checkbox, through the host's own model."""
        setattr(customer, self.mapping.opt_in, value)

    def set_details(self, customer: Any, values: Mapping[str, Any]) -> None:
        """Write what Mailchimp shows, through the host's own model.

        :param values: by merge tag, of those in ``pull``; "" for blank.
        :raises Exception: the attribute does not take it; whatever the host's model raises.
        """
        for tag, value in values.items():
            name: Any = self.mapping.merge_fields[tag]
            setattr(customer, name, _as_column(self.mapper.columns.get(name), value))

    def box(self, customer: Any) -> bool | None:
        """The checkbox as the row says."""
        return as_box(self._box(customer))


def as_box(value: Any) -> bool | None:
    """Yes, no or unset. Anything but true, false, 1 and 0 counts as unset: never guess a yes."""
    return bool(value) if value is True or value is False or value in (0, 1) else None


def _boxes(sources: Mapping[str, Source], get: Callable[[Any], Any]) -> dict[str, bool]:
    """Those that are set."""
    boxes = {id_: as_box(get(source)) for id_, source in sources.items()}
    return {id_: yes for id_, yes in boxes.items() if yes is not None}


def _python_type(column: Any) -> Any:
    try:
        return column.type.python_type
    except NotImplementedError:
        return None


def _follows_others(column: Any) -> bool:
    """Whether the database works a column's value out, when others change."""
    if column is None:
        return False
    own = isinstance(column, Column)
    return not own or bool(column.computed or column.onupdate or column.server_onupdate)


def _can_be_pulled(column: Any) -> bool:
    return _python_type(column) in (str, int, float, Decimal, date)


def _as_column(column: Any, value: Any) -> Any:
    """A merge field's value in the column's own type; as it is for what is no column.

    :raises ValueError: it isn't one.
    """
    if column is None:
        return value
    kind = _python_type(column)
    if value == "":
        return "" if kind is str else None
    if kind is date:
        return date.fromisoformat(str(value))
    return kind(str(value))


def tenant_name(value: object) -> str:
    """The tenant's name as we store it: None is the one without a name."""
    return "" if value is None else str(value)


class _MappingFailed(MailchimpOptinError):
    """A function or property of the host's, named in the mapping, raised."""


def _value(customer: Any, source: Any) -> Any:
    try:
        return getattr(customer, source) if isinstance(source, str) else source(customer)
    except Exception as error:
        name = source if isinstance(source, str) else getattr(source, "__name__", "a function")
        raise _MappingFailed(
            Text(
                "The mapping's %(name)s failed for this customer (%(error)s). Mend it, then save the "
                "customer again.",
                name=name,
                error=type(error).__name__,
            )
        ) from error


def text_or_none(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None


def _merge_value(value: Any) -> Any:
    if isinstance(value, str):
        return _plain_text(value)
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return {str(k): _plain_text(v) for k, v in value.items() if v is not None}
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int | float):
        return value if math.isfinite(value) else ""  # JSON has no NaN
    return _plain_text(value)


def _plain_text(value: Any) -> str:
    text = str(value)
    if not text.isascii() or not text.isprintable():
        text = "".join(c for c in text if c >= " " or c in "\t\n")
        text = text.encode("utf-8", "ignore").decode()
    return text.strip()[:_TEXT_LIMIT]
