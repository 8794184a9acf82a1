"""``flask mailchimp doctor``: what is wrong has its code, its level and a hint; and 1 says so."""

from __future__ import annotations

import ast
import json
import re
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.redis_server import embedded_redis
from flask_mailchimp_optin.testing.sandbox.server import served
from flask_mailchimp_optin.vault import new_key
from tests.blocks import PACKAGE, ROOT
from tests.faults.processes import Parts
from tests.house import KEY, Clock, Host, database_url, db, hosting, make_app
from tests.wire import wire

Found = dict[str, dict[str, str]]


def doctor(host: Host, *options: str) -> tuple[int, Found]:
    """Its exit code, and what it found, by code."""
    result = host.app.test_cli_runner().invoke(args=["mailchimp", "doctor", "--json", *options])
    found = json.loads(result.output)
    assert all(set(check) == {"code", "level", "text", "hint"} for check in found)
    assert all(check["hint"] for check in found if check["level"] == "error")
    return result.exit_code, {check["code"]: check for check in found}


def levels(found: Found) -> dict[str, str]:
    return {code: check["level"] for code, check in found.items()}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def at_home(folder: Path, sandbox: MailchimpSandbox, clock: Clock, **config: Any) -> Iterator[Host]:
    """A connected host that is served at its public address."""
    port = free_port()
    config["MAILCHIMP_OPTIN_PUBLIC_URL"] = f"http://127.0.0.1:{port}"
    with (
        hosting(folder, sandbox, clock, **config) as host,
        served(host.app, "127.0.0.1", port, lambda: None),
    ):
        host.connect()
        yield host


@pytest.fixture
def clock() -> Clock:
    return Clock(real=True)


@pytest.fixture
def connected(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
    with at_home(tmp_path, sandbox, clock) as host:
        yield host


def test_with_everything_in_place_all_is_well(tmp_path: Path, clock: Clock) -> None:
    queue = f"test-{uuid.uuid4().hex}"
    sandbox = MailchimpSandbox(clock=clock)
    with embedded_redis() as url:
        config = {"MAILCHIMP_OPTIN_QUEUE": queue, "MAILCHIMP_OPTIN_REDIS_URL": url}
        with at_home(tmp_path, sandbox, clock, **config) as host:
            parts = Parts(host, tmp_path, url, queue)
            try:
                parts.worker()
                code, found = doctor(host)
                assert set(levels(found).values()) == {"ok"}, found
                assert code == 0
                asked = {"api_key", "mailchimp_clock", "list_there", "webhook_there", "reachable"}
                assert asked < set(found)
                calls = len(sandbox.requests)
                code, found = doctor(host, "--offline")
                assert code == 0
                assert not asked & set(found)
                assert len(sandbox.requests) == calls
            finally:
                parts.stop()
            code, found = doctor(host, "--offline")
            assert (code, found["worker"]["level"]) == (1, "error")


def test_tables_that_are_missing_and_a_database_that_is_away(
    host: Host, tmp_path: Path, clock: Clock
) -> None:
    with host.app.app_context():
        db.drop_all()
    code, found = doctor(host)
    assert (code, levels(found)) == (1, {"tables": "error"})
    nowhere: dict[str, Any] = {
        "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'no folder' / 'host.sqlite3'}"
    }
    app = make_app(tmp_path, "http://127.0.0.1:1/3.0/", clock, **nowhere)
    code, found = doctor(Host(app, host.sandbox, clock, host.model))
    assert (code, levels(found)) == (1, {"database": "error"})


@pytest.mark.skipif("sqlite" not in database_url(Path()), reason="drops columns of a table in use")
def test_a_column_that_an_upgrade_brought_is_named(connected: Host) -> None:
    with connected.app.app_context():
        for column in ("outbox.has_no", "connection.shards"):
            table, name = column.split(".")
            if table == "outbox":
                db.session.execute(sa.text("DROP INDEX ix_mailchimp_optin_outbox_tenant"))
            db.session.execute(sa.text(f"ALTER TABLE mailchimp_optin_{table} DROP COLUMN {name}"))
        db.session.commit()
    code, found = doctor(connected)
    assert (code, levels(found)) == (1, {"columns": "error"})
    named = "mailchimp_optin_connection.shards, mailchimp_optin_outbox.has_no"
    assert named in found["columns"]["text"]
    assert "flask db migrate" in found["columns"]["hint"]
    page = connected.app.test_client().get("/integrations/mailchimp/activity")
    assert "mailchimp_optin_outbox.has_no" in page.text


def test_a_key_that_was_revoked_at_mailchimp(connected: Host) -> None:
    assert doctor(connected)[1]["api_key"]["level"] == "ok"
    connected.sandbox.revoke_key()
    code, found = doctor(connected)
    assert (code, found["api_key"]["level"]) == (1, "error")
    assert "list_there" not in found
    assert doctor(connected, "--offline")[1]["connection"]["level"] == "ok"  # nobody has asked yet


def test_mailchimp_that_is_away_is_no_error(connected: Host) -> None:
    connected.sandbox.fail_next(503, times=1)
    _, found = doctor(connected)
    assert found["api_key"]["level"] == "warning"
    assert "request " in found["api_key"]["hint"]  # its id


def test_a_list_that_is_gone_and_webhooks_that_are_not_as_they_were(connected: Host) -> None:
    (hook,) = connected.sandbox.webhooks(connected.list_id)
    assert levels(doctor(connected)[1])["webhook_there"] == "ok"
    connected.sandbox.remove_webhooks(connected.list_id)
    found = doctor(connected)[1]
    assert found["webhook_there"]["level"] == "warning"
    assert "webhook verify" in found["webhook_there"]["hint"]
    connected.sandbox.delete_audience(connected.list_id)
    code, found = doctor(connected)
    assert (code, found["list_there"]["level"]) == (1, "error")
    assert hook["url"] not in str(found)


def test_a_site_with_other_keys_at_our_address_is_not_ours(
    tmp_path: Path, connected: Host, sandbox: MailchimpSandbox, clock: Clock
) -> None:
    assert doctor(connected)[1]["reachable"]["level"] == "ok"
    config: dict[str, Any] = {
        "MAILCHIMP_OPTIN_PUBLIC_URL": connected.app.config["MAILCHIMP_OPTIN_PUBLIC_URL"],
        "MAILCHIMP_OPTIN_ENCRYPTION_KEYS": [new_key(), KEY],
        "SQLALCHEMY_DATABASE_URI": connected.app.config["SQLALCHEMY_DATABASE_URI"],
    }
    url = connected.app.config["MAILCHIMP_OPTIN_API_URL"]
    worker = Host(make_app(tmp_path, url, clock, **config), sandbox, clock, connected.model)
    found = doctor(worker)[1]
    assert found["reachable"]["level"] == "warning"
    assert "answered 404" in found["reachable"]["text"]
    assert found["keys"]["level"] == "warning"
    assert "rotate-keys" in found["keys"]["hint"]
    with worker.app.app_context():
        db.engine.dispose()


def _says(answer: bytes) -> Callable[[socket.socket, bytes, threading.Event], object]:
    def script(connection: socket.socket, _request: bytes, _over: threading.Event) -> str:
        connection.sendall(answer)
        return "close"

    return script


def _drips(connection: socket.socket, _request: bytes, over: threading.Event) -> str:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not over.wait(0.1):
        connection.sendall(b"x")
    return "close"


_BODY = b"this is the site\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(
            _says(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
            "answered 302",
            id="redirect",
        ),
        pytest.param(
            _says(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n<html>\r\n"), "200", id="page"
        ),
        pytest.param(
            _says(b"HTTP/1.1 200 OK\r\n\r\n" + _BODY + b"x" * 5_000_000), "200", id="huge"
        ),
        pytest.param(_says(b"nonsense"), "did not answer", id="nonsense"),
        pytest.param(_drips, "did not answer in time", id="drips"),
    ],
)
def test_who_else_answers_at_our_address_is_not_taken_for_us(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock, script: Any, words: str
) -> None:
    with wire(script) as other:
        config: dict[str, Any] = {
            "MAILCHIMP_OPTIN_PUBLIC_URL": f"http://127.0.0.1:{other.port}",
            "MAILCHIMP_OPTIN_TIMEOUT_S": 1.0,
        }
        with hosting(tmp_path, sandbox, clock, **config) as host:
            host.connect()
            found = doctor(host)[1]
            assert found["reachable"]["level"] == "warning"
            assert words in found["reachable"]["text"]
            assert other.connections == 1


def test_a_knock_is_for_who_has_the_keys_alone(connected: Host) -> None:
    client = connected.app.test_client()
    for token in ("x", "gAAAAA", connected.services.vault.seal("x", "api-key:")):
        assert client.get(f"/integrations/mailchimp/webhook/{token}").status_code == 404
        assert client.post(f"/integrations/mailchimp/webhook/{token}").status_code == 404
    knock = connected.services.vault.seal("x", "knock")
    assert client.get(f"/integrations/mailchimp/webhook/{knock}").data == _BODY
    assert client.post(f"/integrations/mailchimp/webhook/{knock}").status_code == 404


@pytest.mark.parametrize(
    ("seconds", "words"), [(31, "ahead of"), (-31, "behind"), (20, ""), (-20, "")]
)
def test_clocks_that_differ(connected: Host, clock: Clock, seconds: int, words: str) -> None:
    connected.sandbox._account.clock = Clock(real=True)
    clock.turn(seconds=seconds)
    found = doctor(connected)[1]
    for code in ("clock", "mailchimp_clock"):
        assert found[code]["level"] == ("warning" if words else "ok")
        assert words in found[code]["text"]


def test_secrets_whose_key_is_gone(connected: Host, tmp_path: Path, clock: Clock) -> None:
    config: dict[str, Any] = {
        "MAILCHIMP_OPTIN_ENCRYPTION_KEYS": [new_key()],
        "SQLALCHEMY_DATABASE_URI": connected.app.config["SQLALCHEMY_DATABASE_URI"],
    }
    url = connected.app.config["MAILCHIMP_OPTIN_API_URL"]
    other = Host(make_app(tmp_path, url, clock, **config), connected.sandbox, clock, Any)
    code, found = doctor(other)
    assert (code, found["keys"]["level"]) == (1, "error")
    assert "2 of 2" in found["keys"]["text"]
    with other.app.app_context():
        db.engine.dispose()


def test_work_that_is_overdue(connected: Host, clock: Clock) -> None:
    connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.sandbox.wait_for_rings(10)
    assert connected.rows("webhook_event")
    connected.add("bob@example.com", wants_news=True)
    assert levels(doctor(connected, "--offline")[1])["rings"] == "ok"
    clock.turn(minutes=11)
    found = doctor(connected, "--offline")[1]
    assert (found["rings"]["level"], found["changes"]["level"]) == ("warning", "warning")
    assert "that wait: 1," in found["rings"]["text"]


def test_a_copy_is_told_what_it_is_and_asks_nobody(
    connected: Host, tmp_path: Path, clock: Clock
) -> None:
    config: dict[str, Any] = {
        "MAILCHIMP_OPTIN_PUBLIC_URL": "https://staging.example.com",
        "SQLALCHEMY_DATABASE_URI": connected.app.config["SQLALCHEMY_DATABASE_URI"],
    }
    url = connected.app.config["MAILCHIMP_OPTIN_API_URL"]
    copy = Host(make_app(tmp_path, url, clock, **config), connected.sandbox, clock, Any)
    before = len(connected.sandbox.requests)
    code, found = doctor(copy)
    assert (code, found["site"]["level"]) == (1, "error")
    assert len(connected.sandbox.requests) == before
    with copy.app.app_context():
        db.engine.dispose()


def test_every_code_is_explained_with_its_levels() -> None:
    text = (ROOT / "docs/monitoring.rst").read_text(encoding="utf-8")
    section = text.split("The codes\n")[1].split("``status --json``\n")[0]
    explained = {
        code: set(said.split(" or "))
        for code, said in re.findall(
            r"^``(\w+)``, (error or warning|error|warning)$", section, re.M
        )
    }
    raised: dict[str, set[str]] = {}
    for name in ("health", "doctor"):
        source = (PACKAGE / f"{name}.py").read_text(encoding="utf-8")
        for call in ast.walk(ast.parse(source)):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                code, found = _code_and_levels(call)
                raised.setdefault(code, set()).update(found)
    del raised[""]
    assert explained == raised


def _code_and_levels(call: ast.Call) -> tuple[str, set[str]]:
    """What a call that makes a finding makes; levels other than "ok"."""
    known = {"ERROR": "error", "WARNING": "warning"}
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    names = [n.id for n in ast.walk(given.get("level", call)) if isinstance(n, ast.Name)]
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    first = given.get("code") if name == "Check" else next(iter(call.args), None)
    if name == "Check" and isinstance(first, ast.Constant):
        return str(first.value), {known[one] for one in names if one in known}
    if name in ("_compared", "_unanswered", "_asked") and isinstance(first, ast.Constant):
        return str(first.value), {"warning"}
    return "", set()
