"""``live`` and ``ready``: for whoever starts and stops processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import Clock, Host, database_url, db, hosting, make_app


@pytest.fixture
def host(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
    """A host whom nobody may administer, and without a Redis."""
    config = {"TEST_MAY": lambda: False, "MAILCHIMP_OPTIN_PROBES_PREFIX": "/healthz"}
    with hosting(tmp_path, sandbox, clock, **config) as made:
        yield made


@pytest.fixture
def client(host: Host) -> FlaskClient:
    return host.app.test_client()


def test_they_are_nowhere_unless_the_configuration_says_where(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
) -> None:
    with hosting(tmp_path, sandbox, clock) as host:
        paths = [rule.rule for rule in host.app.url_map.iter_rules()]
        assert not [path for path in paths if path.endswith(("/live", "/ready"))]


@pytest.mark.parametrize("path", ["/healthz/live", "/healthz/ready"])
def test_all_is_well_without_a_login_and_without_redis(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    assert client.head(path).status_code == 200
    assert client.post(path).status_code == 405


def test_live_asks_the_database_nothing_and_ready_one_thing(
    host: Host, client: FlaskClient
) -> None:
    asked: list[str] = []
    with host.app.app_context():
        sa.event.listen(db.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    client.get("/healthz/live")
    assert asked == []
    client.get("/healthz/ready")
    assert len(asked) == 1
    assert asked[0].count("EXISTS") == len(vars(host.services.tables))


def test_without_the_database_it_lives_and_is_not_ready(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
) -> None:
    app = make_app(
        tmp_path,
        "http://127.0.0.1:1/3.0/",
        clock,
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'no folder' / 'host.sqlite3'}",
        MAILCHIMP_OPTIN_PROBES_PREFIX="/healthz",
    )
    client = app.test_client()
    assert client.get("/healthz/live").status_code == 200
    answer = client.get("/healthz/ready")
    assert (answer.status_code, answer.json) == (503, {"status": "not ready"})


def test_without_our_tables_it_is_not_ready(host: Host, client: FlaskClient) -> None:
    with host.app.app_context():
        host.services.tables.sync_run.drop(db.engine)
    assert client.get("/healthz/ready").status_code == 503
    with host.app.app_context():
        db.create_all()
    assert client.get("/healthz/ready").status_code == 200


@pytest.mark.skipif("sqlite" not in database_url(Path()), reason="drops a column of a table in use")
def test_before_a_migration_it_is_not_ready(host: Host, client: FlaskClient) -> None:
    with host.app.app_context():
        db.session.execute(sa.text("ALTER TABLE mailchimp_optin_connection DROP COLUMN shards"))
        db.session.commit()
    assert client.get("/healthz/ready").status_code == 503
