"""Broken variants of the product, each of which the kill sweep must notice, or it proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from flask_mailchimp_optin import capture, lease, memory
from flask_mailchimp_optin.memory import Contact
from flask_mailchimp_optin.services import Transaction
from tests.faults.chaos.points import Point


@dataclass(frozen=True, kw_only=True)
class Control:
    """One way to break it.

    :param scenario: where it shows; ``actor`` (None: whoever it is) and ``call`` say at which points.
    """

    name: str
    scenario: str
    actor: str | None
    call: str
    kills: bool = True
    late: bool = False
    apply: Callable[[], None]

    def concerns(self, point: Point) -> bool:
        """Whether it may show at this point."""
        fault = point.fault
        kind = (fault.call, fault.is_kill, bool(fault.late))
        whoever = self.actor is None or point.actor == self.actor
        return whoever and kind == (self.call, self.kills, self.late)


def _acknowledged_before_it_is_sent() -> None:
    original = memory.intend

    def intend(contact: Contact, verb: str, now: datetime, opted: datetime | None = None) -> None:
        original(contact, verb, now, opted)
        contact.acked_version, contact.due_at = contact.version, None

    memory.intend = intend


def _silence_is_success() -> None:
    def lose(contact: Contact, now: datetime) -> None:
        memory.answered(contact)
        memory.finish(contact, now)

    memory.lose = lose


def _an_open_question_was_asked() -> None:
    def adopt(contact: Contact, now: datetime) -> None:
        memory.answered(contact)

    memory.adopt = adopt


def _nobody_looks_again() -> None:
    def landed_by(contact: Contact) -> None:
        return None

    memory.landed_by = landed_by


def _the_outbox_is_written_after_the_commit() -> None:
    write = capture.Capture.write

    def later(self: Any, session: Session, changes: Any) -> None:
        read = {tenant: list(some) for tenant, some in changes.items()}
        session.info.setdefault("later", []).append((self, read))

    def after_commit(session: Session) -> None:
        for self, changes in session.info.pop("later", ()):
            with self.find().session_factory() as another:
                write(self, another, changes)
                another.commit()

    capture.Capture.write = later  # type: ignore[method-assign]
    event.listen(Session, "after_commit", after_commit)


def _a_lease_never_ends() -> None:
    take = lease.take

    def only_if_given_back(services: Any, connection_id: int, owner: str) -> Any:
        with services.begin() as tx:
            row = services.connection(tx, connection_id)
        return None if row.lease_until is not None else take(services, connection_id, owner)

    lease.take = only_if_given_back


def _no_transaction_holds_together() -> None:
    execute = Transaction.execute

    def alone(self: Transaction, statement: Any, rows: Any = None) -> int:
        touched = execute(self, statement, rows)
        self.connection.connection.commit()
        return touched

    Transaction.execute = alone  # type: ignore[method-assign]


CONTROLS = [
    Control(
        name="acknowledged before it is sent",
        scenario="opt-out",
        actor="machine",
        call="sendto",
        apply=_acknowledged_before_it_is_sent,
    ),
    Control(
        name="silence is success",
        scenario="opt-out",
        actor="worker",
        call="sendto",
        kills=False,
        apply=_silence_is_success,
    ),
    Control(
        name="an open question was asked",
        scenario="opt-in, always ask",
        actor="machine",
        call="sendto",
        apply=_an_open_question_was_asked,
    ),
    Control(
        name="nobody looks again",
        scenario="in, and out again",
        actor=None,
        call="recvfrom",
        late=True,
        apply=_nobody_looks_again,
    ),
    Control(
        name="the outbox is written after the commit",
        scenario="opt-out",
        actor="host",
        call="pwrite64",
        apply=_the_outbox_is_written_after_the_commit,
    ),
    Control(
        name="a lease never ends",
        scenario="opt-out",
        actor="machine",
        call="sendto",
        apply=_a_lease_never_ends,
    ),
    Control(
        name="no transaction holds together",
        scenario="opt-out",
        actor="worker",
        call="pwrite64",
        apply=_no_transaction_holds_together,
    ),
]
