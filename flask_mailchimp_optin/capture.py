"""Journey out, first step: a customer changes, and the outbox says so in the same transaction.

Listens on the host's model (inserts, updates of mapped attributes, deletes) and on every session
(bulk ORM DML). Writes one Core insert for each flush, and asks for a worker after the outermost
commit. A rollback, also of a savepoint, leaves nothing. Nothing here may raise into the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from sqlalchemy import event, insert, inspect
from sqlalchemy.orm import InstanceState, Mapper, ORMExecuteState, Session, object_session
from sqlalchemy.orm.base import PassiveFlag

from . import bulk
from .ledger import Facts, named_facts, truncate_ip
from .mapping import BoundMapping
from .services import FOLLOWING, Services

_PENDING = "mailchimp_optin_pending"
_WAKE = "mailchimp_optin_wake"
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
        event.listen(model, "after_insert", self._inserted, propagate=True)
        event.listen(model, "after_update", self._updated, propagate=True)
        event.listen(model, "after_delete", self._deleted, propagate=True)
        opt_in = find().mapping.mapping.opt_in
        if opt_in in inspect(model).column_attrs:
            # An expired attribute that is set would otherwise lose its old value.
            attribute = getattr(model, opt_in)
            event.listen(attribute, "set", _keep_old, active_history=True, propagate=True)

    def _inserted(self, _mapper: Mapper[Any], _connection: Any, customer: Any) -> None:
        flush = self._flush(customer)
        if flush is not None:
            flush.noted.append((customer, None, True))

    def _updated(self, _mapper: Mapper[Any], _connection: Any, customer: Any) -> None:
        flush, state = self._flush(customer), inspect(customer)
        if flush is None:
            return
        names: Iterable[str] = flush.services.mapping.watched
        if flush.services.mapping.watch_all:
            names = (attribute.key for attribute in state.mapper.attrs)
        # after_update fires without a net change too: look at the history.
        if any(state.get_history(name, _AS_IT_IS).has_changes() for name in names):
            before = _box_before(flush.services.mapping, state, customer)
            flush.noted.append((customer, before, False))

    def _deleted(self, _mapper: Mapper[Any], _connection: Any, customer: Any) -> None:
        flush = self._flush(customer)
        if flush is not None:
            flush.noted.append((customer, flush.services.mapping.box(customer), False))

    def _flush(self, customer: Any) -> _Flush | None:
        session = object_session(customer)
        if session is None:
            return None
        pending: dict[Capture, _Flush] = session.info.setdefault(_PENDING, {})
        flush = pending.get(self)
        if flush is None:
            flush = pending[self] = _Flush(self.find(), [])
        return flush

    def write(self, session: Session, changes: list[_Change]) -> None:
        """The changes into outbox and ledger, on the session's own connection."""
        if not changes:
            return  # a bulk write that matched nobody
        services = self.find()
        tables, at = services.tables, services.now()
        facts = _facts(services, session)
        connection = session.connection(bind_arguments={"mapper": services.mapping.mapper})
        decided = [change.ledger_row(facts, at) for change in changes if change.value is not None]
        if decided:
            connection.execute(insert(tables.decision), decided)
        if FOLLOWING in session.info:
            return  # the box follows Mailchimp: nothing to send back
        connection.execute(insert(tables.outbox), [change.outbox_row(at) for change in changes])
        session.info[_WAKE] = services

    def bulk(self, state: ORMExecuteState) -> Any:
        """Capture an ``update()``, ``delete()`` or ``insert()`` on the model."""
        services = self.find()
        touched = bulk.touched(state, services)
        if not touched:
            return None
        if state.is_insert or state.bind_mapper is None:
            self.write(state.session, [_EVERYBODY])
            return None
        before = bulk.matched(state, services)
        result = state.invoke_statement()
        after = before
        if before is not None and state.is_update and services.mapping.mapping.opt_in in touched:
            after = bulk.boxes(state.session, services, list(before))
        self.write(state.session, _changes(before, after))
        return result


class _Change:
    """One change on its way into the outbox and, if somebody decided, into the ledger."""

    __slots__ = ("address", "decision", "is_new", "key", "previous", "tenant", "value")

    def __init__(
        self,
        *,
        tenant: str | None,
        key: str | None,
        address: str | None = None,
        decision: bool | None = None,
        value: bool | None = None,
        previous: bool | None = None,
        is_new: bool = False,
    ) -> None:
        self.is_new = is_new
        self.tenant = tenant
        self.key = key
        self.address = address
        self.decision = decision
        self.value = value
        self.previous = previous

    def outbox_row(self, at: Any) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "customer_key": self.key,
            "decision": self.decision,
            "is_new": self.is_new,
            "created_at": at,
        }

    def ledger_row(self, facts: Facts, at: Any) -> dict[str, Any]:
        return {
            "tenant": self.tenant or "",
            "customer_key": self.key,
            "address": self.address,
            "value": self.value,
            "previous": self.previous,
            "decided_at": facts.at or at,
            "recorded_at": at,
            "actor": facts.actor,
            "source": facts.source,
            "page": facts.page,
            "wording": facts.wording,
            "ip": facts.ip,
        }


_EVERYBODY = _Change(tenant=None, key=None)


class _Flush(NamedTuple):
    """What is noted of customers while a session flushes.

    :param noted: the customer, the box before, and whether the row is new.
    """

    services: Services
    noted: list[tuple[Any, bool | None, bool]]

    def changes(self, session: Session) -> list[_Change]:
        """As they are to be written."""
        mapping, named = self.services.mapping, _facts(self.services, session).named
        changes = []
        for customer, before, is_new in self.noted:
            now = mapping.box(customer)
            decided = now is not None and now is not before and (not is_new or now)
            change = _Change(
                tenant=mapping.tenant_of(customer),
                key=mapping.key_of(customer),
                address=mapping.address_of(customer) if decided else None,
                # A yes on a new row is a decision with a time only if somebody was named for it.
                decision=now if decided and (not is_new or named) else None,
                value=now if decided else None,
                previous=before,
                is_new=is_new,
            )
            changes.append(change)
        return changes


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


def _box_before(mapping: BoundMapping, state: InstanceState[Any], customer: Any) -> bool | None:
    name = mapping.mapping.opt_in
    if name not in state.mapper.attrs:
        return mapping.box(customer)  # a property has no history: found by comparing, later
    old = state.get_history(name, _AS_IT_IS).deleted
    return mapping.as_box(old[0]) if old else mapping.box(customer)


# Sessions


def _after_flush(session: Session, _context: Any) -> None:
    for capture, flush in session.info.pop(_PENDING, {}).items():
        capture.write(session, flush.changes(session))


def _after_soft_rollback(session: Session, _previous: Any) -> None:
    session.info.pop(_PENDING, None)


def _after_commit(session: Session) -> None:
    # It fires for savepoints too, and nothing may be raised here: the rows are committed.
    services: Services | None = session.info.get(_WAKE)
    if services is not None and not session.in_nested_transaction():
        services.wake()


def _after_transaction_end(session: Session, transaction: Any) -> None:
    if transaction.parent is None:
        session.info.pop(_WAKE, None)


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
    before: dict[str, bulk.Row] | None, after: dict[str, bulk.Row] | None
) -> list[_Change]:
    if before is None or after is None:
        return [_EVERYBODY]
    changes = []
    for key, old in before.items():
        row = after.get(key, old)
        decision = row.box if row.box is not None and row.box is not old.box else None
        changes.append(
            _Change(
                tenant=old.tenant,
                key=key,
                address=row.address if decision is not None else None,
                decision=decision,
                value=decision,
                previous=old.box,
            )
        )
    return changes
