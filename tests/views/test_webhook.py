"""The webhook's route: what a stranger, a broken sender and Mailchimp itself get for an answer."""

from __future__ import annotations

import hashlib
import hmac
import io
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import requests
import sqlalchemy as sa
from flask import Flask, request
from flask_wtf import CSRFProtect
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder, TestResponse, run_wsgi_app

from flask_mailchimp_optin import acts, connect, hooks
from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.sandbox.server import served
from flask_mailchimp_optin.webhook import MAX_BODY
from tests.house import Clock, Host, database_url, db, hosting, make_app

FORM = "application/x-www-form-urlencoded"
PREFIX = "/integrations/mailchimp/webhook/"


class Door:
    """The webhook of a connected host, as somebody outside sees it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.path = urlsplit(host.sandbox.webhooks(host.list_id)[0]["url"]).path
        audience = next(row for row in host.rows("audience") if row.list_id == host.list_id)
        with host.app.app_context():
            self.secrets = hooks.signing_secrets(host.services, audience)

    def form(self, **changed: str) -> bytes:
        """A ring's body; ``data__email`` is ``data[email]``."""
        form = {
            "type": "unsubscribe",
            "fired_at": "2026-03-26 21:35:57",
            "data[email]": "ada@example.com",
            "data[list_id]": self.host.list_id,
        }
        for name, value in changed.items():
            form[name.replace("__", "[") + "]" if "__" in name else name] = value
        return urlencode(form).encode()

    def signature(self, body: bytes, at: datetime | None = None, secret: str | None = None) -> str:
        seconds = int((at or self.host.clock()).timestamp())
        key = (secret or self.secrets[0]).encode()
        mark = hmac.new(key, b"%d." % seconds + body, hashlib.sha256).hexdigest()
        return f"t={seconds},v1={mark}"

    def post(self, body: bytes, signed: str | bool = True, **more: Any) -> TestResponse:
        """What is answered to a POST; signed as Mailchimp would, if the hook signs."""
        headers = dict(more.pop("headers", {}))
        if signed is True and self.secrets:
            signed = self.signature(body)
        if isinstance(signed, str):
            headers["X-Mailchimp-Signature"] = signed
        more.setdefault("content_type", FORM)
        path = more.pop("path", self.path)
        return self.host.app.test_client().post(path, data=body, headers=headers, **more)

    @property
    def events(self) -> list[Any]:
        return self.host.rows("webhook_event")


@pytest.fixture
def door(connected: Host) -> Door:
    """A hook that signs."""
    made = Door(connected)
    assert made.secrets
    return made


@pytest.fixture
def unsigned(tmp_path: Path, clock: Clock) -> Iterator[Door]:
    """A hook of an account without signatures: the token is all there is."""
    with hosting(tmp_path, MailchimpSandbox(clock=clock, signing=False), clock) as host:
        host.connect()
        made = Door(host)
        assert not made.secrets
        yield made


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A hook that signs, for tests that leave nothing behind; on a database of its own."""
    folder, clock = tmp_path_factory.mktemp("standing"), Clock()
    own = f"sqlite:///{folder / 'standing.sqlite3'}"
    sandbox = MailchimpSandbox(clock=clock)
    with hosting(folder, sandbox, clock, SQLALCHEMY_DATABASE_URI=own) as host:
        host.connect()
        yield Door(host)


@pytest.fixture
def silent(standing: Door) -> Iterator[Door]:
    """The standing hook; no event may come of the test."""
    before = len(standing.events)
    yield standing
    assert len(standing.events) == before


# What Mailchimp itself does


def test_the_address_answers_a_get_and_an_empty_post(silent: Door) -> None:
    client = silent.host.app.test_client()
    assert client.get(silent.path).status_code == 200
    assert client.head(silent.path).status_code == 200
    assert client.post(silent.path).status_code == 200


def test_a_sandbox_that_checks_by_post_too_can_register(host: Host) -> None:
    host.sandbox.quirks.checks_url_by_post_too = True
    host.connect()
    assert len(host.sandbox.webhooks(host.list_id)) == 1


def test_a_real_ring_is_stored_as_signed(door: Door) -> None:
    door.host.sandbox.subscribe(door.host.list_id, "Ada@Example.com")
    assert door.host.sandbox.wait_for_rings()
    (ring,) = door.host.sandbox.rings
    assert (ring.status, ring.attempts) == (200, 1)
    (event,) = door.events
    assert (event.type, event.address, event.verified) == (
        "subscribe",
        "ada@example.com",
        "signature",
    )


def test_a_real_ring_without_a_signature_is_stored_by_its_token(unsigned: Door) -> None:
    unsigned.host.sandbox.subscribe(unsigned.host.list_id, "ada@example.com")
    assert unsigned.host.sandbox.wait_for_rings()
    (event,) = unsigned.events
    assert event.verified == "token"


def test_all_six_events_are_answered_with_200(door: Door) -> None:
    box, list_id = door.host.sandbox, door.host.list_id
    box.subscribe(list_id, "ada@example.com")
    box.edit_profile(list_id, "ada@example.com", FNAME="Ada")
    box.change_email(list_id, "ada@example.com", "new@example.com")
    box.unsubscribe(list_id, "new@example.com")
    box.subscribe(list_id, "bob@example.com")
    box.clean(list_id, "bob@example.com")
    assert box.wait_for_rings()
    assert {ring.status for ring in box.rings} == {200}
    kinds = {event.type for event in door.events}
    assert kinds >= {"subscribe", "profile", "upemail", "unsubscribe", "cleaned"}
    assert door.post(door.form(type="campaign", data__email="")).status_code == 200
    moved = next(event for event in door.events if event.type == "upemail")
    assert (moved.address, moved.new_address) == ("ada@example.com", "new@example.com")


def test_a_secret_rotated_at_mailchimp_with_overlap_keeps_ringing(door: Door) -> None:
    box, list_id = door.host.sandbox, door.host.list_id
    box.rotate_signing_secret(list_id, box.webhooks(list_id)[0]["id"])
    box.subscribe(list_id, "ada@example.com")
    assert box.wait_for_rings()
    assert [ring.status for ring in box.rings] == [200]
    assert len(door.events) == 1


def test_a_ring_is_stored_once_however_often_it_is_repeated(door: Door) -> None:
    body = door.form()
    for minutes in range(4):  # each repetition is signed anew
        door.host.clock.turn(minutes=minutes)
        assert door.post(body).status_code == 200
    assert len(door.events) == 1
    assert door.post(body + b"&x=1").status_code == 200
    assert len(door.events) == 2


# What a stranger tries


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("x", id="wrong"),
        pytest.param("A" * 43, id="wrong-of-the-right-length"),
        pytest.param("%C3%A4", id="not-ascii"),
        pytest.param("%FF%FE", id="not-utf-8"),
        pytest.param("%00", id="nul"),
        pytest.param("%0d%0aX:y", id="line-end"),
        pytest.param("None", id="none"),
        pytest.param("' OR '1'='1", id="sql"),
        pytest.param("a" * 100_000, id="100-kB"),
        pytest.param("", id="missing"),
        pytest.param("a/b", id="two-parts"),
    ],
)
def test_a_wrong_token_finds_nothing(silent: Door, token: str) -> None:
    client = silent.host.app.test_client()
    assert client.get(PREFIX + token).status_code == 404
    assert silent.post(silent.form(), path=PREFIX + token).status_code == 404
    assert silent.post(b"", path=PREFIX + token).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: path[:-1], id="a-letter-short"),
        pytest.param(lambda path: path + "x", id="a-letter-long"),
        pytest.param(lambda path: path[: len(PREFIX)] + path[len(PREFIX) :].swapcase(), id="case"),
        pytest.param(lambda path: path + "/", id="slash"),
        pytest.param(lambda path: path + "%00", id="nul"),
        pytest.param(lambda path: path + "%20", id="space"),
    ],
)
def test_a_token_that_is_nearly_right_is_wrong(silent: Door, change: Callable[[str], str]) -> None:
    assert silent.post(silent.form(), path=change(silent.path)).status_code == 404


def test_what_the_database_keeps_of_a_token_does_not_open_the_door(silent: Door) -> None:
    (row,) = [r for r in silent.host.rows("audience") if r.token_hash]
    token = silent.path[len(PREFIX) :]
    assert token not in str(tuple(row))
    assert silent.post(silent.form(), path=PREFIX + row.token_hash).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE"])
def test_another_method_is_refused(silent: Door, method: str) -> None:
    answer = silent.host.app.test_client().open(silent.path, method=method, data=silent.form())
    assert answer.status_code == 405


@pytest.mark.parametrize(
    "signed",
    [
        pytest.param(False, id="missing"),
        pytest.param("", id="blank"),
        pytest.param("t=1,v1=" + "0" * 64, id="made-up"),
        pytest.param("\xe9\xff", id="not-ascii"),
        pytest.param("t=" + "9" * 4000 + ",v1=" + "a" * 4000, id="long"),
        pytest.param(lambda d, b: d.signature(b, secret="guess"), id="wrong-secret"),
        pytest.param(lambda d, b: d.signature(b + b" "), id="another-body"),
        pytest.param(
            lambda d, b: d.signature(b, at=d.host.clock() - timedelta(seconds=302)), id="stale"
        ),
        pytest.param(
            lambda d, b: d.signature(b, at=d.host.clock() + timedelta(seconds=310)), id="future"
        ),
    ],
)
def test_where_the_hook_signs_the_token_is_not_enough(standing: Door, signed: Any) -> None:
    door, before = standing, len(standing.events)
    body = door.form(data__x=str(before))
    header = signed(door, body) if callable(signed) else signed
    answer = door.post(body, signed=header)
    assert (answer.status_code, answer.text) == (404, "not found\n")
    assert len(door.events) == before
    assert door.post(body).status_code == 200  # the very same ring, signed
    assert len(door.events) == before + 1


def test_a_forged_flood_writes_no_row_and_asks_mailchimp_nothing(door: Door) -> None:
    asked = len(door.host.sandbox.requests)
    statuses = set()
    for n in range(150):
        body = door.form(data__email=f"c{n}@example.com")
        statuses.add(door.post(body, path=f"{PREFIX}forged-{n}").status_code)
        statuses.add(door.post(body, signed="t=1,v1=" + "0" * 64).status_code)
    assert statuses == {404}
    door.host.work()
    assert (door.events, door.host.rows("contact")) == ([], [])
    assert len(door.host.sandbox.requests) == asked


def _statements(host: Host, act: Callable[[], object]) -> list[str]:
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    with host.app.app_context():
        engine = db.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        act()
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    return seen


def test_what_a_process_remembers_of_the_address_counts_only_while_it_holds(door: Door) -> None:
    services, table = door.host.services, door.host.services.tables.audience

    def another_process_writes(**values: Any) -> None:
        with door.host.app.app_context(), services.begin() as tx:
            tx.execute(sa.update(table).values(**values))

    rings = (door.form(type="profile", fired_at=f"2026-03-26 21:35:{n}") for n in range(10, 60))
    assert door.post(next(rings)).status_code == 200
    (audience,) = (row for row in door.host.rows("audience") if row.webhook_id)
    sealed = services.vault.seal("another secret", f"webhook:{audience.id}")
    another_process_writes(sealed_secret=sealed)
    assert door.post(next(rings)).status_code == 404
    body = next(rings)
    assert door.post(body, door.signature(body, secret="another secret")).status_code == 200
    another_process_writes(sealed_secret=None)  # it does not sign any more
    assert door.post(next(rings), signed=False).status_code == 200
    another_process_writes(token_hash="0" * 64, token_hash_before=None)
    assert door.post(next(rings), signed=False).status_code == 404
    assert len(door.events) == 3


def test_known_and_unknown_addresses_get_the_same_answer_for_the_same_work(door: Door) -> None:
    door.host.add("ada@example.com", wants_news=True)
    door.host.work()
    answers: list[TestResponse] = []

    def ring(email: str) -> Callable[[], object]:
        return lambda: answers.append(door.post(door.form(data__email=email)))

    assert door.post(door.form(type="profile")).status_code == 200  # from now on it is remembered
    emails = ("ada@example.com", "stranger@example.com", "no address")
    work = [_statements(door.host, ring(email)) for email in emails]
    assert {a.status_code for a in answers} == {200}
    assert len({(a.data, tuple(a.headers)) for a in answers}) == 1
    assert work[0] == work[1] == work[2] != []
    door.host.work()
    assert [row.address for row in door.host.rows("contact")] == ["ada@example.com"]
    stranger = next(e for e in door.events if e.address == "stranger@example.com")
    assert stranger.outcome == "nobody here has this address"


def test_known_and_unknown_tokens_make_the_same_work_until_the_body_is_read(silent: Door) -> None:
    client = silent.host.app.test_client()
    known = _statements(silent.host, lambda: client.get(silent.path))
    unknown = _statements(silent.host, lambda: client.get(f"{PREFIX}unknown"))
    assert known == unknown
    assert len(known) == 1


def test_a_ring_about_another_list_is_ignored(silent: Door) -> None:
    other = silent.host.sandbox.add_audience("Other")
    for list_id in (other, "0000000000"):
        assert silent.post(silent.form(data__list_id=list_id)).status_code == 200


# Bodies


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        pytest.param(b"{}", "application/json", 400, id="json"),
        pytest.param(b"--x\r\n\r\n", "multipart/form-data; boundary=x", 400, id="multipart"),
        pytest.param(b"--", "multipart/form-data", 400, id="multipart-without-boundary"),
        pytest.param(b"hello", "text/plain", 400, id="text"),
        pytest.param(b"\x00", FORM, 400, id="nul"),
        pytest.param(b"\xff\xfe\xfd", FORM, 400, id="not-utf-8"),
        pytest.param(b"a&" * 30_000, FORM, 400, id="30,000-fields"),
        pytest.param(b"&" * MAX_BODY, FORM, 400, id="65,536-blank-fields"),
        pytest.param(b"a&" * 80_000, FORM, 413, id="80,000-fields"),
        pytest.param(b"x" * (MAX_BODY + 1), FORM, 413, id="a-byte-too-many"),
        pytest.param(b"x" * 5_000_000, FORM, 413, id="5-MB"),
        pytest.param(b"type=subscribe", FORM, 400, id="no-list"),
    ],
)
def test_what_is_no_ring_is_refused_with_the_status_that_says_why(
    silent: Door, body: bytes, kind: str, status: int
) -> None:
    assert silent.post(body, content_type=kind).status_code == status


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(FORM, id="plain"),
        pytest.param(f"{FORM}; charset=utf-8", id="utf-8"),
        pytest.param(f"{FORM}; charset=utf-7", id="utf-7"),
        pytest.param(f"{FORM}; charset=no-such-charset", id="unknown-charset"),
        pytest.param("", id="no-content-type"),
        pytest.param("\xe9/;;=", id="junk"),
    ],
)
def test_a_ring_is_read_whatever_its_content_type_says(standing: Door, kind: str) -> None:
    before = len(standing.events)
    body = standing.form(data__x=f"kind {before}")
    assert standing.post(body, content_type=kind).status_code == 200
    assert [e.address for e in standing.events[before:]] == ["ada@example.com"]


def test_a_body_of_exactly_the_limit_is_read(standing: Door) -> None:
    door, before = standing, len(standing.events)
    body = door.form(data__x="")
    body += b"y" * (MAX_BODY - len(body))
    assert door.post(body).status_code == 200
    assert len(door.events) == before + 1


@pytest.mark.parametrize(
    "email",
    [
        pytest.param("ada@example.com\x00", id="nul"),
        pytest.param("a" * 5000 + "@example.com", id="long"),
        pytest.param("' OR 1=1 --", id="sql"),
        pytest.param("💥", id="emoji"),
    ],
)
def test_an_impossible_address_is_a_ring_about_nobody(standing: Door, email: str) -> None:
    assert standing.post(standing.form(data__email=email)).status_code == 200
    event = standing.events[-1]
    assert (event.address, event.outcome) == (None, "not about a person")


class Endless(io.RawIOBase):
    """A body without an end, that counts what is taken of it."""

    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.taken += len(buffer)
        buffer[:] = b"x" * len(buffer)
        return len(buffer)


def _raw(app: Flask, path: str, stream: object, **environ: Any) -> int:
    found = EnvironBuilder(path, method="POST", content_type=FORM).get_environ()
    found.pop("CONTENT_LENGTH", None)
    found.update(environ)
    found["wsgi.input"] = stream
    body, status, _ = run_wsgi_app(app, found)
    b"".join(body)
    return int(status.split()[0])


def test_a_long_body_is_refused_without_reading_it(silent: Door) -> None:
    stream = Endless()
    assert _raw(silent.host.app, silent.path, stream, CONTENT_LENGTH="5000000") == 413
    assert stream.taken == 0


def test_a_chunked_body_is_read_up_to_the_limit_only(silent: Door) -> None:
    stream = Endless()
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    assert _raw(silent.host.app, silent.path, stream, **chunked) == 413
    assert stream.taken <= 2 * MAX_BODY


def test_a_chunked_body_that_the_server_hands_over_is_a_ring(unsigned: Door) -> None:
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    stream = io.BytesIO(unsigned.form())
    assert _raw(unsigned.host.app, unsigned.path, stream, **chunked) == 200
    assert len(unsigned.events) == 1


def test_a_chunked_body_that_the_server_keeps_to_itself_is_not_lost_silently(silent: Door) -> None:
    stream = io.BytesIO(silent.form())
    assert _raw(silent.host.app, silent.path, stream, HTTP_TRANSFER_ENCODING="chunked") == 411


@pytest.mark.parametrize("length", ["-1", "x", "1e9", "9" * 30])
def test_an_odd_content_length_is_no_fault_of_ours(silent: Door, length: str) -> None:
    stream = io.BytesIO(silent.form())
    assert _raw(silent.host.app, silent.path, stream, CONTENT_LENGTH=length) in (200, 400, 413)


def test_over_a_real_connection_sizes_are_limited_too(unsigned: Door) -> None:
    app = unsigned.host.app
    with served(app, "127.0.0.1", 0, lambda: None) as base, requests.Session() as session:
        session.trust_env = False
        url = base.rstrip("/") + unsigned.path
        form = unsigned.form()
        headers = {"Content-Type": FORM}
        sent = session.post(url, data=iter([form[:9], form[9:]]), headers=headers, timeout=5)
        assert sent.status_code == 200
        assert len(unsigned.events) == 1

        def flood() -> Iterator[bytes]:
            for _ in range(80):
                yield b"x" * MAX_BODY

        for body in (flood(), b"x" * 5_000_000):
            try:
                answer = session.post(url, data=body, headers=headers, timeout=5)
                assert answer.status_code == 413
            except requests.ConnectionError:
                pass  # the server stopped reading and closed
        address = urlsplit(base)
        assert address.hostname is not None
        with socket.create_connection((address.hostname, address.port or 0), timeout=5) as raw:
            head = f"POST {unsigned.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n"
            raw.sendall(head.encode() + form[:50])
            raw.shutdown(socket.SHUT_WR)
            assert raw.recv(100).split(b" ")[1] == b"400"
        assert len(unsigned.events) == 1


# The host around it


@pytest.fixture(params=["csrf-first", "csrf-last"])
def guarded(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    sandbox: MailchimpSandbox,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Host]:
    """A connected host with CSRFProtect set up before or after the extension."""
    if request.param == "csrf-first":

        class Guarded(Flask):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                CSRFProtect(self)

        monkeypatch.setattr("tests.house.Flask", Guarded)
    with hosting(tmp_path, sandbox, clock) as host:
        if request.param == "csrf-last":
            CSRFProtect(host.app)
        host.connect()
        yield host


def test_mailchimp_needs_no_csrf_token_but_everybody_else_does(guarded: Host) -> None:
    door = Door(guarded)
    assert door.post(door.form()).status_code == 200
    assert len(door.events) == 1
    client = guarded.app.test_client()
    assert client.post("/integrations/mailchimp/", data={"api_key": "x"}).status_code == 400
    assert client.post("/integrations/mailchimp/webhook/x", data={"a": 1}).status_code == 404


def test_a_host_that_reads_every_form_first_loses_no_ring(host: Host) -> None:
    seen: list[str] = []
    host.app.before_request(lambda: seen.append(request.form.get("type", "")))
    host.connect()
    door = Door(host)
    assert door.post(door.form()).status_code == 200
    assert seen[-1] == "unsubscribe"
    assert len(door.events) == 1
    assert door.post(b"x" * 5_000_000).status_code == 413


def test_the_hosts_own_limit_and_error_pages_do_not_change_the_answer(host: Host) -> None:
    host.app.config["MAX_CONTENT_LENGTH"] = 100
    host.app.register_error_handler(HTTPException, lambda _error: ("a page for people", 200))
    host.app.register_error_handler(Exception, lambda _error: ("another page", 500))
    host.connect()
    door = Door(host)
    assert len(door.form()) > 100
    assert door.post(door.form()).status_code == 200
    assert len(door.events) == 1
    assert door.post(b"x" * 5_000_000).status_code == 413
    assert door.post(b"no form").status_code == 400


def test_the_answer_is_short_plain_text(door: Door) -> None:
    for answer in (door.post(door.form()), door.post(door.form(), signed=False)):
        assert answer.mimetype == "text/plain"
        assert len(answer.data) < 40
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


# The database


def test_a_database_that_cannot_be_reached_is_503(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
) -> None:
    nowhere = f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'x.sqlite3'}"
    with sandbox.serve() as url:
        client = make_app(tmp_path, url, clock, SQLALCHEMY_DATABASE_URI=nowhere).test_client()
        assert client.get(f"{PREFIX}token").status_code == 503
        assert client.post(f"{PREFIX}token", data=b"type=subscribe").status_code == 503


def test_missing_tables_are_503(door: Door) -> None:
    with door.host.app.app_context():
        db.session.remove()
        db.drop_all()
    assert door.post(door.form()).status_code == 503
    assert door.host.app.test_client().get(door.path).status_code == 503


def test_a_locked_database_is_503_and_the_repeated_ring_is_stored(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
) -> None:
    if not database_url(tmp_path).startswith("sqlite"):
        pytest.skip("only SQLite locks the whole database")
    impatient = {"connect_args": {"timeout": 0.05}}
    with hosting(tmp_path, sandbox, clock, SQLALCHEMY_ENGINE_OPTIONS=impatient) as host:
        host.connect()
        door = Door(host)
        with closing(sqlite3.connect(tmp_path / "host.sqlite3")) as other:
            for lock in ("BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"):
                other.execute(lock)
                assert door.post(door.form()).status_code == 503
                other.rollback()
        assert door.post(door.form()).status_code == 200
        assert len(door.events) == 1


def test_a_missing_encryption_key_is_no_open_door(door: Door) -> None:
    table = door.host.services.tables.audience
    with door.host.app.app_context(), door.host.services.begin() as tx:
        tx.execute(sa.update(table).values(sealed_secret="not sealed with our key"))
    assert door.post(door.form()).status_code == 404
    assert door.events == []


# Rotation


def _rotate(host: Host) -> None:
    with host.app.app_context():
        acts.repair_webhooks(host.services, "", anew=True)
    host.work()


@pytest.mark.parametrize("kind", ["signed", "unsigned"])
def test_what_was_on_its_way_during_a_rotation_is_accepted(
    request: pytest.FixtureRequest, kind: str
) -> None:
    before: Door = request.getfixturevalue("door" if kind == "signed" else "unsigned")
    host = before.host
    _rotate(host)
    after = Door(host)
    assert after.path != before.path
    assert before.post(before.form(), path=before.path).status_code == 200
    assert after.post(after.form(data__email="bob@example.com")).status_code == 200
    assert len(after.events) == 2
    host.sandbox.subscribe(host.list_id, "eve@example.com")
    assert host.sandbox.wait_for_rings()
    assert [ring.status for ring in host.sandbox.rings] == [200]


@pytest.mark.parametrize("kind", ["signed", "unsigned"])
def test_a_day_after_a_rotation_the_old_token_and_secret_are_worth_nothing(
    request: pytest.FixtureRequest, kind: str
) -> None:
    before: Door = request.getfixturevalue("door" if kind == "signed" else "unsigned")
    host = before.host
    _rotate(host)
    host.clock.turn(days=1, hours=1)
    host.work()
    after = Door(host)
    assert len(after.secrets) == len(before.secrets)
    assert before.post(before.form()).status_code == 404
    if before.secrets:
        old = before.signature(before.form())
        assert after.post(after.form(), signed=old).status_code == 404
    assert after.post(after.form()).status_code == 200
    assert len(after.events) == 1


def test_two_rotations_leave_two_tokens(unsigned: Door) -> None:
    host = unsigned.host
    _rotate(host)
    second = Door(host)
    _rotate(host)
    third = Door(host)
    statuses = [d.post(d.form(), path=d.path).status_code for d in (unsigned, second, third)]
    assert statuses == [404, 200, 200]


def test_after_disconnecting_the_door_is_shut(door: Door) -> None:
    with door.host.app.app_context():
        connect.disconnect(door.host.services, "")
    assert door.post(door.form()).status_code == 404


def test_rows_without_a_token_match_nothing(door: Door) -> None:
    table = door.host.services.tables.audience
    with door.host.app.app_context(), door.host.services.begin() as tx:
        tx.execute(sa.update(table).values(token_hash=None, token_hash_before=None))
        for token in ("", "None", "NULL", "\x00", door.path):
            assert hooks.by_token(tx, door.host.services, token) is None
    assert door.post(door.form()).status_code == 404
