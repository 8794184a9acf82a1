"""A process of the soak's: the host's own people, who save, tick, untick, move, delete and import.

``python -m tests.faults.soak_actor SEED GATE HISTORY``. Every act is one transaction; none begins
while the soak holds the gate. May be killed at any time.
"""

from __future__ import annotations

import fcntl
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from tests.house import Customer, db
from tests.served import create_app

#: Few addresses, so that customers share them, leave them and come back to them.
ADDRESSES = [f"p{n}@example.com" for n in range(40)]
POPULATION = 60  # customers


@contextmanager
def shut(gate: Path, how: int) -> Iterator[None]:
    """Hold the gate: shared to act, exclusively to have nobody act. A killed process lets go of it.

    Who wants it exclusively says so first: otherwise there would always be somebody who acts.
    """
    wanted = gate.with_suffix(".wanted")
    if how == fcntl.LOCK_EX:
        wanted.touch()
    while how == fcntl.LOCK_SH and wanted.exists():
        time.sleep(0.02)
    with gate.open("a") as file:
        fcntl.flock(file, how)
        try:
            yield
        finally:
            if how == fcntl.LOCK_EX:
                wanted.unlink()


def write(history: Path, line: str) -> None:
    """One line, whole, whoever else writes."""
    with history.open("a") as file:
        file.write(f"{time.monotonic():.3f} {line}\n")


class Actor:
    """Does one random act after the other."""

    def __init__(self, seed: int, history: Path) -> None:
        self.random, self.history = random.Random(seed), history

    def act(self) -> None:
        """Do something and commit. What it is gets into the history before, should we be killed."""
        acts: list[tuple[Callable[[], str], int]] = [
            (self.box, 10),
            (self.add, 4),
            (self.bulk, 1),
            (self.address, 2),
            (self.name, 2),
            (self.delete, 1),
            (self.torn, 2),
            (self.own_list, 1),
        ]
        chosen = self.random.choices([a for a, _ in acts], [w for _, w in acts])[0]
        write(self.history, f"host {chosen()}")
        db.session.commit()

    def someone(self) -> Customer | None:
        keys = list(db.session.scalars(sa.select(Customer.id)))
        return db.session.get(Customer, self.random.choice(keys)) if keys else None

    def yes_no(self) -> bool | None:
        return self.random.choice([True, True, True, False, False, None])

    def box(self) -> str:
        customer = self.someone()
        if customer is None:
            return self.add()
        customer.wants_news = self.yes_no()
        return f"box {customer.id} {customer.mail} {customer.wants_news}"

    def add(self) -> str:
        number = db.session.scalar(sa.select(sa.func.count()).select_from(Customer)) or 0
        if number >= POPULATION:
            return self.delete()
        made = Customer(mail=self.random.choice(ADDRESSES), wants_news=self.yes_no())
        db.session.add(made)
        db.session.flush()
        return f"add {made.id} {made.mail} {made.wants_news}"

    def bulk(self) -> str:
        rest, value = self.random.randrange(7), self.yes_no()
        db.session.execute(
            sa.update(Customer).where(Customer.id % 7 == rest).values(wants_news=value)
        )
        return f"bulk {rest} {value}"

    def address(self) -> str:
        customer = self.someone()
        if customer is None:
            return "nobody"
        customer.mail = self.random.choice(ADDRESSES)
        return f"address {customer.id} {customer.mail}"

    def name(self) -> str:
        customer = self.someone()
        if customer is None:
            return "nobody"
        customer.given_name = f"N{self.random.randrange(1000)}"
        return f"name {customer.id}"

    def delete(self) -> str:
        customer = self.someone()
        if customer is None:
            return "nobody"
        db.session.delete(customer)
        return f"delete {customer.id} {customer.mail}"

    def torn(self) -> str:
        """A savepoint that is rolled back, in a transaction that is not, or the other way round."""
        customer = self.someone()
        if customer is None:
            return "nobody"
        key, value = customer.id, self.yes_no()
        with db.session.begin_nested() as inner:
            customer.wants_news = value
            db.session.flush()
            inner.rollback()
        if self.random.random() < 0.5:
            customer.given_name = "torn"
            return f"savepoint {key}"
        customer.wants_news = not value
        db.session.flush()
        db.session.rollback()
        return f"rollback {key}"

    def own_list(self) -> str:
        customer = self.someone()
        if customer is None:
            return "nobody"
        lists = [None, None, *os.environ["TEST_LISTS"].split(",")]
        customer.own_list = self.random.choice(lists)
        return f"list {customer.id} {customer.mail} {customer.own_list}"


def main(seed: int, gate: Path, history: Path) -> None:
    """Act until killed."""
    actor = Actor(seed, history)
    with create_app().app_context():
        while True:
            with shut(gate, fcntl.LOCK_SH):
                try:
                    actor.act()
                except SQLAlchemyError as error:  # locked, or gone meanwhile: a host's ordinary day
                    write(history, f"failed {type(error).__name__}")
                finally:
                    db.session.remove()
            time.sleep(actor.random.expovariate(1 / 0.1))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
