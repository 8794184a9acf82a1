"""``init_app``: what it needs, and what it says when it doesn't get it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_mailchimp_optin import ConfigError, CustomerMapping, MailchimpOptin
from tests.house import KEY, MAPPING, Clock, Customer, Host, make_app

OPEN: dict[str, Any] = {"mapping": MAPPING, "authorize": lambda: True}


def fresh(**config: Any) -> tuple[Flask, SQLAlchemy]:
    app, db = Flask("fresh"), SQLAlchemy()
    app.config.update(
        SQLALCHEMY_DATABASE_URI="sqlite://", MAILCHIMP_OPTIN_ENCRYPTION_KEYS=[KEY], **config
    )
    db.init_app(app)
    return app, db


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mapping": MAPPING}, "authorize is required"),
        ({"mapping": MAPPING, "authorize": True}, "authorize is required"),
        ({"mapping": {"email": "mail"}, "authorize": lambda: True}, "must be a CustomerMapping"),
        (
            {
                "mapping": CustomerMapping(email="mail", opt_in="wants_news", tenant="own_list"),
                "authorize": lambda: True,
            },
            "needs tenant=",
        ),
        (
            {
                "mapping": CustomerMapping(email="e_mail", opt_in="wants_news"),
                "authorize": lambda: True,
            },
            "no attribute 'e_mail'",
        ),
    ],
    ids=["no-authorize", "authorize-no-function", "mapping-no-mapping", "no-tenant", "typo"],
)
def test_what_is_missing_is_said_at_start(options: dict[str, Any], words: str) -> None:
    app, db = fresh()
    with pytest.raises(ConfigError, match=words):
        MailchimpOptin().init_app(app, db, Customer, **options)


def test_the_database_has_to_be_there_first() -> None:
    app = Flask("fresh")
    app.config["MAILCHIMP_OPTIN_ENCRYPTION_KEYS"] = [KEY]
    with pytest.raises(ConfigError, match=r"db\.init_app"):
        MailchimpOptin().init_app(app, SQLAlchemy(), Customer, **OPEN)


def test_a_second_call_for_the_same_application_is_refused(host: Host) -> None:
    from tests.house import db

    with pytest.raises(ConfigError, match="called twice"):
        MailchimpOptin().init_app(host.app, db, Customer, **OPEN)


def test_wrong_configuration_is_refused_with_the_key_named() -> None:
    app, db = fresh(MAILCHIMP_OPTIN_CONECTIONS=3)
    with pytest.raises(ConfigError, match="MAILCHIMP_OPTIN_CONECTIONS is not a setting"):
        MailchimpOptin().init_app(app, db, Customer, **OPEN)


def test_it_may_be_made_with_the_application_at_once() -> None:
    app, db = fresh()
    MailchimpOptin(app, db, Customer, **OPEN)
    assert "mailchimp_optin" in app.extensions
    with pytest.raises(ConfigError, match="also needs the db"):
        MailchimpOptin(Flask("other"))


def test_two_applications_with_one_model_are_kept_apart(host: Host, tmp_path: Path) -> None:
    other = make_app(tmp_path / "other", "http://127.0.0.1:1/3.0/", Clock())
    assert other.extensions["mailchimp_optin"] is not host.app.extensions["mailchimp_optin"]
    host.connect()
    ada = host.add(wants_news=True)
    host.work()
    assert host.state(ada) == "subscribed"


def test_states_of_many_cost_a_handful_of_queries(connected: Host) -> None:
    import sqlalchemy as sa

    from tests.house import db

    for n in range(30):
        connected.add(f"c{n}@example.com", wants_news=n % 2 == 0)
    connected.work()
    queries: list[str] = []
    with connected.app.app_context():
        customers = list(db.session.scalars(sa.select(Customer)))
        sa.event.listen(
            db.engine, "before_cursor_execute", lambda *a: queries.append(a[2]), named=False
        )
        states = connected.mailchimp.states_of(customers)
    words = sorted(s.state for s in states.values())
    assert words == ["never_asked"] * 15 + ["subscribed"] * 15
    assert len([query for query in queries if query.startswith("SELECT")]) <= 6


def test_the_stored_lists_are_there_for_the_hosts_own_forms(connected: Host) -> None:
    with connected.app.app_context():
        (only,) = connected.mailchimp.lists()
    assert (only.list_id, only.is_master) == (connected.list_id, True)


_STARTS = """
import sys
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column
from flask_mailchimp_optin import CustomerMapping, MailchimpOptin

db = SQLAlchemy()

class Customer(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    opt_in: Mapped[bool]

app = Flask(__name__)
app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", MAILCHIMP_OPTIN_ENCRYPTION_KEYS=[sys.argv[1]])
db.init_app(app)
mapping = CustomerMapping(email="email", opt_in="opt_in", merge_fields={})
MailchimpOptin(app, db, Customer, mapping=mapping, authorize=lambda: True)
print(*sys.modules)
"""
#: What only workers, our pages or a first call need, and takes long to import.
_HEAVY = {
    "certifi",
    "charset_normalizer",
    "dns",
    "email_validator",
    "mailchimp3",
    "prometheus_client",
    "redis",
    "requests",
    "rq",
    "urllib3",
} | {
    f"flask_mailchimp_optin.{name}"
    for name in ("cli", "client", "connect", "drain", "forms", "jobs", "person", "views.settings")
}


def test_a_process_that_starts_imports_nothing_heavy() -> None:
    started = subprocess.run(
        [sys.executable, "-c", _STARTS, KEY], check=True, capture_output=True, text=True, timeout=60
    )
    loaded = set(started.stdout.split())
    assert "flask_mailchimp_optin.extension" in loaded
    assert loaded & _HEAVY == set()
