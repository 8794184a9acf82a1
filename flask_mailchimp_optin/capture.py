"""Journey out, first step: a customer changes, and the outbox says so in the same transaction.

Listens on the host's model (inserts, updates of mapped attributes, deletes) and on every session
(bulk ORM DML). Writes one Core insert for each flush, and asks for a worker after the outermost
commit. A rollback, also of a savepoint, leaves nothing. Nothing here may raise into the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import ClauseElement, Table, event, inspect
from sqlalchemy.orm import InstanceState, Mapper, ORMExecuteState, Session
from sqlalchemy.orm.base import PassiveFlag

from . import bulk, outbox
from .ledger import Facts, named_facts, truncate_ip
from .mapping import BoundMapping
from .outbox import Change
from .services import FOLLOWING, WAKE, Services, insert_rows

_PENDING = "mailchimp_optin_pending"
#: For an attribute's history: nothing is loaded for it.
_AS_IT_IS = PassiveFlag.PASSIVE_NO_INITIALIZE


class _Before(Enum):
    """What the box was before, where that is no value."""

    #: A new row has none.
    NEW = "new"
    #: It was not touched, and need not be read.
    SAME = "same"


_NEW, _SAME = _Before
_captures: dict[type[Any], Capture] = {}
_listening = False


def watch(model: type[Any], find: Callable[[], Services]) -> None:
    """Capture every change of this model from now on.

    :param find: the services of the application at work; called at each change.
    """
    global _listening
    known = _captures.get(model)
    if known is not None:
        known.find = find
        return
    _captures[model] = Capture(model, find)
    if not _listening:
        _listening = True
        event.listen(Session, "after_flush", _after_flush)
        event.listen(Session, "after_soft_rollback", _after_soft_rollback)
        event.listen(Session, "after_commit", _after_commit)
        event.listen(Session, "after_transaction_end", _after_transaction_end)
        event.listen(Session, "do_orm_execute", _do_orm_execute)


class Capture:
    """The listeners on one model."""

    def __init__(self, model: type[Any], find: Callable[[], Services]) -> None:
        self.find = find
        # Called with the states, not the objects, and without a wrapper, which costs as much as we do.
        bare: dict[str, Any] = {"raw": True, "retval": True, "propagate": True}
        event.listen(model, "after_insert", self._inserted, **bare)
        event.listen(model, "before_update", self._updating, **bare)
        event.listen(model, "after_update", self._updated, **bare)
        event.listen(model, "after_delete", self._deleted, **bare)
        #: Of these it is quickly told whether they have changed; it may take long of a collection.
        self.columns: frozenset[str] = frozenset(inspect(model).column_attrs.keys())
        opt_in = find().mapping.mapping.opt_in
        if opt_in in self.columns:
            # An expired attribute that is set would otherwise lose its old value.
            attribute = getattr(model, opt_in)
            event.listen(attribute, "set", _keep_old, active_history=True, include_key=True, **bare)

    def _inserted(self, _mapper: Mapper[Any], _connection: Any, state: InstanceState[Any]) -> None:
        self._note(state, _NEW)

    def _updating(self, mapper: Mapper[Any], connection: Any, state: InstanceState[Any]) -> None:
        # What is set to an SQL expression has no history any more once the database has worked it out.
        values = state.dict
        for name in state.committed_state:
            value = values.get(name)
            if isinstance(value, ClauseElement) or hasattr(value, "__clause_element__"):
                self._updated(mapper, connection, state)
                return

    def _updated(self, _mapper: Mapper[Any], _connection: Any, state: InstanceState[Any]) -> None:
        # after_update fires without a net change too: look at the history.
        mapping = None
        for name in state.committed_state:
            is_column = name in self.columns
            if is_column and not _has_changed(state, name):
                continue
            mapping = mapping or self._mapping(state)
            matters = mapping.watch_all or name in mapping.watched
            if matters and (is_column or _has_changed(state, name)):
                self._note(state, _box_before(mapping, state))
                return

    def _deleted(self, _mapper: Mapper[Any], _connection: Any, state: InstanceState[Any]) -> None:
        self._note(state, _SAME)

    def _mapping(self, state: InstanceState[Any]) -> BoundMapping:
        """As the flush at work has found it, if it has: to find it takes longer than all else here."""
        pending = state.session.info.get(_PENDING) if state.session else None
        flush: _Flush | None = pending.get(self) if pending else None
        return (flush.services if flush else self.find()).mapping

    def _note(self, state: InstanceState[Any], before: bool | _Before | None) -> None:
        session = state.session
        if session is None:
            return
        pending: dict[Capture, _Flush] = session.info.setdefault(_PENDING, {})
        flush = pending.get(self)
        if flush is None:
            flush = pending[self] = _Flush(self.find(), {})
        if flush.noted.get(state, _SAME) is _SAME:
            flush.noted[state] = before

    def write(self, session: Session, changes: Mapping[str | None, Iterable[Change]]) -> None:
        """Changes by tenant, on the session's own connection: into the outbox.

        A box that follows Mailchimp goes into the ledger only: there is nothing to send back.
        """
        services = self.find()
        tables, at, facts = services.tables, services.now(), _facts(services, session)
        if FOLLOWING not in session.info:
            rows = [outbox.rows(tenant, some, at, facts) for tenant, some in changes.items()]
            self._insert(session, services, tables.outbox, list(chain.from_iterable(rows)))
            return
        decisions = [
            outbox.decision(tenant, change, facts, at)
            for tenant, some in changes.items()
            for change in some
            if change.value is not None
        ]
        self._insert(session, services, tables.decision, decisions)

    def _insert(
        self, session: Session, services: Services, table: Table, rows: list[dict[str, Any]]
    ) -> None:
        if not rows:
            return  # a bulk write that matched nobody
        connection = session.connection(bind_arguments={"mapper": services.mapping.mapper})
        insert_rows(connection, table, tuple(rows[0]), [tuple(row.values()) for row in rows])
        if table is services.tables.outbox:
            session.info[WAKE] = services

    def bulk(self, state: ORMExecuteState) -> Any:
        """Capture an ``update()``, ``delete()`` or ``insert()`` on the model."""
        services = self.find()
        touched = bulk.touched(state, services)
        if not touched:
            return None
        if state.is_insert or state.bind_mapper is None:
            self._everybody(state.session, services)
            return None
        before = bulk.matched(state, services)
        result = state.invoke_statement()
        after = before
        if before is not None and state.is_update and services.mapping.mapping.opt_in in touched:
            after = bulk.boxes(state.session, services, list(before))
        if before is None or after is None:
            self._everybody(state.session, services)
        else:
            self.write(state.session, _changes(before, after))
        return result

    def _everybody(self, session: Session, services: Services) -> None:
        row = outbox.everybody(services.now())
        self._insert(session, services, services.tables.outbox, [row])


class _Flush(NamedTuple):
    """What is noted of customers while a session flushes, to be read at its end in one go.

    :param noted: the customer's state, and the box before.
    """

    services: Services
    noted: dict[InstanceState[Any], bool | _Before | None]

    def changes(self) -> dict[str | None, Iterable[Change]]:
        """By tenant; each is made when it is written down, as thousands at once cost more."""
        tenant_of = self.services.mapping.tenant_of
        found: dict[str | None, list[InstanceState[Any]]] = {}
        for state in self.noted:
            found.setdefault(tenant_of(state.obj()), []).append(state)
        return {tenant: map(self._change, states) for tenant, states in found.items()}

    def _change(self, state: InstanceState[Any]) -> Change:
        mapping, customer, before = self.services.mapping, state.obj(), self.noted[state]
        key = mapping.key_of(customer)
        if before is _SAME:
            return Change(key)
        now, is_new = mapping.box(customer), before is _NEW
        if now is None or now is before or (is_new and not now):
            return Change(key, is_new=is_new)
        previous = before if isinstance(before, bool) else None
        email, own_list = _text(mapping.email_of(customer)), mapping.list_of(customer)
        return Change(key, now, previous, is_new, email, own_list)


def _facts(services: Services, session: Session) -> Facts:
    following: Facts | None = session.info.get(FOLLOWING)
    if following is not None:
        return following
    facts = named_facts()
    if facts is None:
        return services.facts()
    ip = truncate_ip(facts.ip, services.config.EVIDENCE_IP)
    return Facts(
        actor=facts.actor,
        source=facts.source,
        page=facts.page,
        wording=facts.wording,
        ip=ip,
        named=True,
    )


def _keep_old(_target: Any, value: Any, _old: Any, _initiator: Any, **_key: Any) -> Any:
    """The value as it is: the listener is there for its ``active_history``."""
    return value


def _has_changed(state: InstanceState[Any], name: str) -> bool:
    return state.get_history(name, _AS_IT_IS).has_changes()


def _box_before(mapping: BoundMapping, state: InstanceState[Any]) -> bool | _Before | None:
    name = mapping.mapping.opt_in
    if name not in state.committed_state:
        return _SAME  # or a property, which has no history: found by comparing, later
    old = state.get_history(name, _AS_IT_IS).deleted
    return mapping.as_box(old[0]) if old else _SAME


# Sessions


def _after_flush(session: Session, _context: Any) -> None:
    for capture, flush in session.info.pop(_PENDING, {}).items():
        capture.write(session, flush.changes())


def _after_soft_rollback(session: Session, _previous: Any) -> None:
    session.info.pop(_PENDING, None)


def _after_commit(session: Session) -> None:
    # It fires for savepoints too, and nothing may be raised here: the rows are committed.
    services: Services | None = session.info.get(WAKE)
    if services is not None and not session.in_nested_transaction():
        services.wake()


def _after_transaction_end(session: Session, transaction: Any) -> None:
    if transaction.parent is None:
        session.info.pop(WAKE, None)


# Bulk DML


def _do_orm_execute(state: ORMExecuteState) -> Any:
    if not (state.is_update or state.is_delete or state.is_insert):
        return None
    for model, capture in _captures.items():
        mapper = inspect(model)
        if state.bind_mapper is not None and state.bind_mapper.isa(mapper):
            return capture.bulk(state)
        if state.bind_mapper is None and getattr(state.statement, "table", None) in mapper.tables:
            return capture.bulk(state)
    return None


def _changes(
    before: dict[str, bulk.Row], after: dict[str, bulk.Row]
) -> dict[str | None, list[Change]]:
    changes: dict[str | None, list[Change]] = {}
    for key, old in before.items():
        row, change = after.get(key, old), Change(key)
        if row.box is not None and row.box is not old.box:
            change = Change(key, row.box, old.box, False, _text(row.email), row.own_list)
        changes.setdefault(old.tenant, []).append(change)
    return changes


def _text(email: object) -> str | None:
    """As the row has it, to be read later: that costs less here than to look at it now."""
    return email if isinstance(email, str) else None
