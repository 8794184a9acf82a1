"""The tables, all named ``mailchimp_optin_*``, on the metadata of the host's customer model.

Plain SQLAlchemy types, so that ``flask db migrate`` writes migrations that need no import of ours.
Times are UTC; SQLite and MySQL return them without a zone, which :func:`utc` puts back.
Imports nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, overload

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    select,
    text,
)
from sqlalchemy.dialects import mysql

PREFIX = "mailchimp_optin_"

#: MySQL's DATETIME has whole seconds unless asked; SQLite counts ids only for INTEGER.
Time: DateTime = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
Id: BigInteger = BigInteger().with_variant(Integer, "sqlite")


def _exact(length: int) -> String:
    # MySQL's default collations take é for e; addresses and keys must differ where their bytes do.
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(exact, "mysql", "mariadb")


#: MySQL's TEXT ends at 64 KB.
LongText: Text = Text().with_variant(mysql.MEDIUMTEXT, "mysql", "mariadb")
Address: String = _exact(254)
Key: String = _exact(190)


@overload
def utc(time: datetime) -> datetime: ...
@overload
def utc(time: None) -> None: ...
def utc(time: datetime | None) -> datetime | None:
    """A time from the database as aware UTC."""
    if time is None:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The ten tables of one host."""

    connection: Table
    shard: Table
    audience: Table
    customer: Table
    contact: Table
    erasure: Table
    outbox: Table
    decision: Table
    webhook_event: Table
    sync_run: Table


def define(metadata: MetaData) -> Tables:
    """The tables on this metadata; the same ones if it has them already."""
    makers = {
        "connection": _connection,
        "shard": _shard,
        "audience": _audience,
        "customer": _customer,
        "contact": _contact,
        "erasure": _erasure,
        "outbox": _outbox,
        "decision": _decision,
        "webhook_event": _webhook_event,
        "sync_run": _sync_run,
    }
    found: dict[str, Table] = {}
    for name, columns in makers.items():
        full = PREFIX + name
        known = metadata.tables.get(full)
        if known is None:
            # A contact that is gone never lends its id to another: somebody may be settling it.
            once = name == "contact"
            known = Table(full, metadata, *columns(), sqlite_autoincrement=once)
        found[name] = known
    return Tables(**found)


def all_there(tables: Tables) -> Any:
    """The query that fails unless every table has every column. It reads no row."""
    nothing = (select(*table.c).where(false()) for table in vars(tables).values())
    return select(*(one.exists() for one in nothing))


def _pk(name: str) -> list[Any]:
    return [
        Column("id", Id, nullable=False, autoincrement=True),
        PrimaryKeyConstraint("id", name=f"pk_{PREFIX}{name}"),
    ]


def _fk(name: str, column: str, target: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        [column], [f"{PREFIX}{target}.id"], name=f"fk_{PREFIX}{name}_{column}", ondelete="CASCADE"
    )


def _some(name: str, condition: str, *columns: str) -> Index:
    """An index of the few rows that need attention; of all rows where a database knows no such index."""
    return Index(name, *columns, postgresql_where=text(condition), sqlite_where=text(condition))


def _connection() -> list[Any]:
    """A tenant's link to one Mailchimp account, its settings, and the lease of its drain."""
    return [
        *_pk("connection"),
        Column("tenant", Key, nullable=False),
        Column("sealed_key", Text, nullable=False),
        Column("key_hint", String(40), nullable=False),  # Credential.hint
        Column("account_name", String(255), nullable=False),
        Column("site", Text, nullable=False),  # where it was connected; see site.py
        Column("enabled", Boolean, nullable=False),
        Column("master_audience_id", Id),
        Column("left_audience_id", Id),  # the one before, until all said there has been heard
        Column("daily", Boolean, nullable=False),  # False: at once, as changes happen
        Column("daily_at", String(5), nullable=False),  # "HH:MM"
        Column("daily_zone", String(64), nullable=False),
        Column("always_confirm", Boolean, nullable=False),
        Column("on_delete", String(20), nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("suspended", Text),  # why nothing is sent, in plain words
        Column("paused_until", Time),  # Mailchimp asked us to slow down
        Column("fetched_lists", Text),  # what "Refresh lists" fetched, as JSON
        Column("fetched_at", Time),
        Column("last_daily_on", String(10)),  # date of the last daily sync, in daily_zone
        Column("synced_at", Time),
        Column("lease_owner", String(40)),
        Column("lease_until", Time),
        Column("fence", Integer, nullable=False),
        Column(
            "shards", Integer, nullable=False
        ),  # that others may lease, too; 0: none; see shards.py
        Column("created_at", Time, nullable=False),
        UniqueConstraint("tenant", name=f"uq_{PREFIX}connection_tenant"),
    ]


def _shard() -> list[Any]:
    """A part of a connection's contacts, and the lease of whoever settles it."""
    return [
        *_pk("shard"),
        Column("connection_id", Id, nullable=False),
        Column("number", Integer, nullable=False),
        Column("lease_owner", String(40)),
        Column("lease_until", Time),
        Column("fence", Integer, nullable=False),
        Column("asked", Boolean, nullable=False),  # somebody else waits for it
        _fk("shard", "connection_id", "connection"),
        UniqueConstraint("connection_id", "number", name=f"uq_{PREFIX}shard_number"),
    ]


def _audience() -> list[Any]:
    """A Mailchimp list that "Store lists" kept, and its webhook."""
    return [
        *_pk("audience"),
        Column("connection_id", Id, nullable=False),
        Column("list_id", String(40), nullable=False),
        Column("web_id", String(40), nullable=False),
        Column("name", String(255), nullable=False),
        Column("double_optin", Boolean, nullable=False),
        Column("member_count", Integer, nullable=False),
        Column("subscribe_url", String(500), nullable=False),
        Column("stored_at", Time, nullable=False),
        Column("gone_at", Time),
        Column("read_at", Time),  # start of the last complete reading of what changed
        Column("read_in_full_at", Time),  # and of the last one of all members
        Column("webhook_id", String(40)),
        Column("webhook_url_hint", String(255)),
        Column("token_hash", String(64)),
        Column("token_hash_before", String(64)),  # accepted during rotation
        Column("sealed_secret", Text),
        Column("webhook_checked_at", Time),
        Column("merge_fields", Text),  # as last read, as JSON; see fields.py
        Column("merge_fields_at", Time),
        Column("webhook_problem", Text),
        _fk("audience", "connection_id", "connection"),
        UniqueConstraint("connection_id", "list_id", name=f"uq_{PREFIX}audience_list"),
        Index(f"ix_{PREFIX}audience_token", "token_hash"),
        Index(f"ix_{PREFIX}audience_token_before", "token_hash_before"),
    ]


def _customer() -> list[Any]:
    """What a customer's row said when we last looked, by its canonical address.

    It finds customers by address without an index on the host's table, tells an old address from a
    new one however the host wrote it, and tells "never asked" from "no".
    """
    return [
        *_pk("customer"),
        Column("customer_key", Key, nullable=False),
        Column("connection_id", Id, nullable=False),
        Column("audience_id", Id),
        Column("own_list", Boolean, nullable=False),  # False: the master list
        Column("address", Address),
        Column("opt_in", Boolean),
        Column("decided_at", Time),  # None: never decided, or a yes found without a time
        Column("erased_at", Time),  # see erasures.py: this yes is held back
        Column("leaves_at", Time),  # since when another list waits for what was said in this one
        Column("problem", Text),  # an impossible address or list, in plain words
        Column("seen_at", Time, nullable=False),  # when the row was last found to say something new
        _fk("customer", "connection_id", "connection"),
        UniqueConstraint("customer_key", name=f"uq_{PREFIX}customer_key"),
        Index(f"ix_{PREFIX}customer_address", "audience_id", "address"),
        Index(f"ix_{PREFIX}customer_connection", "connection_id", "address"),
        _some(
            f"ix_{PREFIX}customer_problem",
            "problem IS NOT NULL OR erased_at IS NOT NULL",
            "connection_id",
            "id",
        ),
    ]


def _contact() -> list[Any]:
    """Our record of one address in one audience: what is wanted, what Mailchimp showed, what is open."""
    return [
        *_pk("contact"),
        Column("connection_id", Id, nullable=False),
        Column("audience_id", Id, nullable=False),
        Column("address", Address, nullable=False),
        # The host's side. `version` moves with every change, `decided_version` with every decision.
        Column("wanted", Boolean),
        Column("wanted_at", Time),
        Column("version", Integer, nullable=False),
        Column("acked_version", Integer, nullable=False),
        Column("decided_version", Integer, nullable=False),
        Column("settled_version", Integer, nullable=False),
        Column("agreed", String(10), nullable=False),
        Column("agreed_opt_at", Time),
        Column("agreed_at", Time),
        # Mailchimp's side, as last read.
        Column("seen_status", String(20)),
        Column("seen_changed_at", Time),
        Column("seen_opt_at", Time),
        Column("seen_at", Time),
        Column("subscribed_seen_at", Time),
        # Requests. `late`: those without a usable answer, which may still land, as JSON.
        Column("open_verb", String(10)),
        Column("open_version", Integer),
        Column("open_at", Time),
        Column("open_opt_at", Time),
        Column("late", Text),
        Column("removed_at", Time),
        Column("asked_version", Integer),
        # The profile.
        Column("profile", String(64)),
        Column("profile_tags", Text),  # merge tags that we have sent a value for
        Column("moved_from", Address),  # the address this one replaces
        Column("renamed_to", Address),  # the address that the person has at Mailchimp, says a ring
        Column("orphan", String(20)),  # nobody owns it any more: what to do with the member
        # The work.
        Column("due_at", Time),
        Column("look", Boolean, nullable=False),
        Column("run_id", Id),
        Column("attempts", Integer, nullable=False),
        Column("refusal", String(30)),
        Column("refusal_text", Text),
        Column("refused_at", Time),
        _fk("contact", "connection_id", "connection"),
        _fk("contact", "audience_id", "audience"),
        UniqueConstraint("audience_id", "address", name=f"uq_{PREFIX}contact_address"),
        _some(
            f"ix_{PREFIX}contact_due",
            "due_at IS NOT NULL",
            *("connection_id", "wanted", "due_at", "id"),
        ),
        _some(
            f"ix_{PREFIX}contact_refusal", "refusal IS NOT NULL", "connection_id", "refusal", "id"
        ),
        _some(f"ix_{PREFIX}contact_run", "run_id IS NOT NULL", "run_id"),
    ]


_COLUMNS = [column for column in _contact() if isinstance(column, Column)]
#: In the order of the table.
CONTACT_COLUMNS = tuple(column.name for column in _COLUMNS)
CONTACT_TIMES = tuple(column.name for column in _COLUMNS if column.type is Time)


def _erasure() -> list[Any]:
    """An address that was erased for good, as a keyed hash. Outlives the connection."""
    return [
        *_pk("erasure"),
        Column("tenant", Key, nullable=False),
        Column("mark", String(64), nullable=False),
        Column("erased_at", Time, nullable=False),
        UniqueConstraint("tenant", "mark", name=f"uq_{PREFIX}erasure_mark"),
    ]


def _outbox() -> list[Any]:
    """Changes waiting to be looked at. Append-only: two transactions of the host never wait here."""
    return [
        *_pk("outbox"),
        Column("tenant", Key),  # None: not known at the time of writing
        Column("customer_key", Key),  # None: several customers, or every one
        Column("number", Integer, nullable=False),  # of changes
        Column("has_no", Boolean, nullable=False),  # somebody among them decided no
        Column("changes", LongText),  # see outbox.py; None: look at every customer
        Column("created_at", Time, nullable=False),
        Index(f"ix_{PREFIX}outbox_tenant", "tenant", "has_no", "id"),
        Index(f"ix_{PREFIX}outbox_customer", "customer_key"),
    ]


def _decision() -> list[Any]:
    """The ledger: who said yes or no, when, how, with which wording. Rows are only ever added."""
    return [
        *_pk("decision"),
        Column("tenant", Key, nullable=False),
        Column("customer_key", Key, nullable=False),
        Column("address", Address),
        Column("list_id", String(40)),
        Column("value", Boolean, nullable=False),
        Column("previous", Boolean),
        Column("decided_at", Time, nullable=False),
        Column("recorded_at", Time, nullable=False),
        Column("actor", String(190)),
        Column("source", String(60), nullable=False),
        Column("page", String(255)),
        Column("wording", Text),
        Column("ip", String(45)),
        Column("receipt", Text),  # what Mailchimp answered
        Index(f"ix_{PREFIX}decision_customer", "customer_key", "id"),
        Index(f"ix_{PREFIX}decision_tenant", "tenant", "recorded_at"),
    ]


def _webhook_event() -> list[Any]:
    """A ring: a webhook that told us "look at this address"."""
    return [
        *_pk("webhook_event"),
        Column("audience_id", Id, nullable=False),
        Column("digest", String(64), nullable=False),
        Column("type", String(20), nullable=False),
        Column("address", Address),
        Column("new_address", Address),
        Column("fired_at", Time),
        Column("received_at", Time, nullable=False),
        Column("verified", String(20), nullable=False),  # signature, or token
        Column("outcome", String(255)),  # None: not worked off yet
        Column("answered_at", Time),  # when it was
        _fk("webhook_event", "audience_id", "audience"),
        UniqueConstraint("audience_id", "digest", name=f"uq_{PREFIX}webhook_event_digest"),
        Index(f"ix_{PREFIX}webhook_event_outcome", "outcome"),
        Index(f"ix_{PREFIX}webhook_event_audience", "audience_id", "id"),
    ]


def _sync_run() -> list[Any]:
    """One sync: what it is at, how far it is, and what it did."""
    return [
        *_pk("sync_run"),
        Column("connection_id", Id, nullable=False),
        Column("kind", String(20), nullable=False),  # see runs.py
        Column("state", String(20), nullable=False),  # see runs.py
        Column("phase", String(20), nullable=False),  # leaving, customers, members, plan, send
        Column("cursor", Text),
        Column("epoch", Integer, nullable=False),
        Column("started_at", Time, nullable=False),
        Column("finished_at", Time),  # or paused
        Column("phase_at", Time),  # when this phase began, but for pauses: so fast it is
        Column("subscribed", Integer),  # of our contacts, when it was done: the curve over time
        Column("customers", Integer, nullable=False),
        Column("customers_done", Integer, nullable=False),
        Column("members", Integer, nullable=False),
        Column("members_done", Integer, nullable=False),
        Column("to_send", Integer, nullable=False),
        Column("failed", Integer, nullable=False),
        Column("boxes_on", Integer, nullable=False),
        Column("boxes_off", Integer, nullable=False),
        Column("removals", Integer, nullable=False),
        Column("asks", Integer, nullable=False),
        Column("message", Text),
        _fk("sync_run", "connection_id", "connection"),
        Index(f"ix_{PREFIX}sync_run_state", "connection_id", "state"),
    ]
