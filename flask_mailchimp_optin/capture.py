"""Journey out, first step: a customer changes, and the outbox says so in the same transaction.

Listens on the host's model (inserts, updates of mapped attributes, deletes) and on every session
(bulk ORM DML). Writes one Core insert for each flush, and asks for a worker after the outermost
commit. A rollback, also of a savepoint, leaves nothing. Nothing here may raise into the host.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import Table, event, inspect
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
        # `raw`: the states, not the objects, which SQLAlchemy would have to find for each event.
        event.listen(model, "after_insert", self._inserted, raw=True, propagate=True)
        event.listen(model, "after_update", self._updated, raw=True, propagate=True)
        event.listen(model, "after_delete", self._deleted, raw=True, propagate=True)
        opt_in = find().mapping.mapping.opt_in
        if opt_in in inspect(model).column_attrs:
            # An expired attribute that is set would otherwise lose its old value.
            attribute = getattr(model, opt_in)
            event.listen(attribute, "set", _keep_old, active_history=True, propagate=True)

    def _inserted(self, _mapper: Mapper[Any], _connection: Any, state: InstanceState[Any]) -> None:
        self._note(state, None, is_new=True)

    def _updated(self, _mapper: Mapper[Any], _connection: Any, state: InstanceState[Any]) -> None:
        # after_update fires without a net change too: look at the history.
        mapping = self.find().mapping
        for name in state.committed_state:
            matters = mapping.watch_all or name in mapping.watched
            if matters and state.get_history(name, _AS_IT_IS).has_changes():
                self._note(state, _box_before(mapping, state))
                return

    def _deleted(self, _mapper: Mapper[Any], _connection: Any, state: InstanceState[Any]) -> None:
        self._note(state, self.find().mapping.box(state.obj()))

    def _note(
        self, state: InstanceState[Any], before: bool | None, *, is_new: bool = False
    ) -> None:
        session = state.session
        if session is None:
            return
        pending: dict[Capture, _Flush] = session.info.setdefault(_PENDING, {})
        flush = pending.get(self)
        if flush is None:
            flush = pending[self] = _Flush(self.find(), [])
        flush.noted.append((state.obj(), before, is_new))

    def write(self, session: Session, changes: dict[str | None, list[Change]]) -> None:
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
    """What is noted of customers while a session flushes.

    :param noted: the customer, the box before, and whether the row is new.
    """

    services: Services
    noted: list[tuple[Any, bool | None, bool]]

    def changes(self) -> dict[str | None, list[Change]]:
        """By tenant."""
        mapping = self.services.mapping
        found: dict[str | None, list[Change]] = {}
        for customer, before, is_new in self.noted:
            key, now = mapping.key_of(customer), mapping.box(customer)
            change = Change(key, is_new=is_new)
            if now is not None and now is not before and (now or not is_new):
                email, own_list = _text(mapping.email_of(customer)), mapping.list_of(customer)
                change = Change(key, now, before, is_new, email, own_list)
            found.setdefault(mapping.tenant_of(customer), []).append(change)
        return found


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


def _keep_old(_target: Any, _value: Any, _old: Any, _initiator: Any) -> None:
    """Nothing: the listener is there for its ``active_history``."""


def _box_before(mapping: BoundMapping, state: InstanceState[Any]) -> bool | None:
    name = mapping.mapping.opt_in
    if name not in state.mapper.attrs:
        return mapping.box(state.obj())  # a property has no history: found by comparing, later
    old = state.get_history(name, _AS_IT_IS).deleted
    return mapping.as_box(old[0]) if old else mapping.box(state.obj())


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
