"""The tables: users who log in, customers, and the jobs that are done for them.

The customers know nothing of Mailchimp but the id of a list of their own; the checkbox is an ordinary
Boolean column.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Any

from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, ForeignKey, String, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from werkzeug.security import check_password_hash, generate_password_hash


class Base(DeclarativeBase):
    """The declarative base."""


db = SQLAlchemy(model_class=Base)


class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # db.Model is made at run time
    """Somebody who logs in."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    is_admin: Mapped[bool] = mapped_column(default=False)

    def set_password(self, password: str) -> None:
        """Keep a salted hash of the password."""
        self.password_hash = generate_password_hash(password)

    def check_password(self, password: str) -> bool:
        """Whether this is the user's password."""
        return check_password_hash(self.password_hash, password)


class Customer(db.Model):  # type: ignore[name-defined,misc]
    """Somebody whom work is done for."""

    id: Mapped[int] = mapped_column(primary_key=True)
    first_name: Mapped[str] = mapped_column(String(100))
    last_name: Mapped[str] = mapped_column(String(100), index=True)
    email: Mapped[str] = mapped_column(String(254), index=True)
    phone: Mapped[str | None] = mapped_column(String(40))
    marketing_opt_in: Mapped[bool] = mapped_column(default=False)
    mailchimp_list_id: Mapped[str | None] = mapped_column(String(40))
    jobs: Mapped[list[Job]] = relationship(
        back_populates="customer", cascade="all, delete-orphan", order_by="Job.due_on"
    )

    @property
    def full_name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}"


class JobStatus(StrEnum):
    """How far a job is."""

    PLANNED = "Planned"
    IN_PROGRESS = "In progress"
    DONE = "Done"


class Job(db.Model):  # type: ignore[name-defined,misc]
    """Work for a customer."""

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    status: Mapped[JobStatus] = mapped_column(default=JobStatus.PLANNED)
    due_on: Mapped[date | None] = mapped_column(index=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey(Customer.id), index=True)
    customer: Mapped[Customer] = relationship(back_populates="jobs")


@event.listens_for(Engine, "connect")
def _tune_sqlite(connection: Any, _record: Any) -> None:
    """SQLite: let a web process read while a worker writes, and the other way round."""
    if type(connection).__module__ == "sqlite3":
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA busy_timeout=15000;")
