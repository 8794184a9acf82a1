"""One key, one signing secret and one address on every way through the package, and then looked for.

(Every other test's log is searched, too: ``tests/canary.py``.)
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sentry_sdk.scrubber import DEFAULT_DENYLIST
from sqlalchemy import text as sql
from sqlalchemy.exc import IntegrityError

import flask_mailchimp_optin
from flask_mailchimp_optin import cli, hooks
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import KEY, Clock, Host, db
from tests.views.admin import ROOT, Admin
from tests.views.test_login import answered, asked, returned, with_login

ADDRESS = "canary-5d1f@example.com"
PAGES = ["/", "/activity", "/activity/progress", "/activity/attention", "/activity/attention.csv"]
PAGES += ["/activity/webhooks", "/customers/{}", "/export/{}", "/erase/{}"]
COMMANDS = ["lists --refresh", "fields", "status", "status --json", "sync --preview", "attention"]
COMMANDS += [
    "attention --json",
    "doctor --offline",
    "doctor --offline --json",
    "history {}",
    "export {}",
    "look {}",
]
COMMANDS += [
    "webhook verify",
    "webhook register",
    "webhook rotate",
    "webhook log",
    "retry",
    "sweep",
]
COMMANDS += ["moved", "rotate-keys", "disable", "enable", "connect", "erase {} --yes"]
COMMANDS += ["disconnect --yes"]
#: What is for finding people, and for answering them.
OWNERS = {*PAGES} - {"/", "/activity/progress", "/activity/webhooks"}
OWNERS |= {"export {}", "attention --json"}

PACKAGE = str(Path(flask_mailchimp_optin.__file__).parent)
TESTING = str(Path(PACKAGE, "testing"))


def secrets_of(host: Host) -> list[str]:
    """Every secret that there is now."""
    with host.app.app_context(), host.services.begin() as tx:
        table = host.services.tables.audience
        signing = [
            one
            for row in tx.rows(table.select().where(table.c.sealed_secret.isnot(None)))
            for one in hooks.signing_secrets(host.services, row)
        ]
    tokens = [
        hook["url"].rpartition("/")[2]
        for list_id in host.sandbox.audiences
        for hook in host.sandbox.webhooks(list_id)
    ]
    assert signing
    assert tokens
    return [host.sandbox.api_key, KEY, *signing, *tokens]


class Locals:
    """All that our functions' local variables ever held, as an error tracker would show it."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], set[str]] = {}  # by file and function
        self._texts: dict[int, tuple[Any, str]] = {}

    def places_of(self, secrets: set[str]) -> set[tuple[str, str]]:
        """The files and functions whose variables showed one of them."""
        return {
            place
            for place, texts in self.seen.items()
            if any(secret in text for text in texts for secret in secrets)
        }

    def look(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event != "return" or not code.co_filename.startswith(PACKAGE):
            return
        if code.co_filename.startswith(TESTING) or not code.co_filename.endswith(".py"):
            return
        for name, value in frame.f_locals.items():
            if name not in DEFAULT_DENYLIST:
                place = Path(code.co_filename).name, f"{code.co_qualname}: {name}"
                self.seen.setdefault(place, set()).add(self._shown(value))

    def _shown(self, value: Any, depth: int = 0) -> str:
        """As Sentry shows it: ten of a container, four levels deep; all else by its ``repr``."""
        if isinstance(value, (str, bytes, int, float, type(None))):
            return str(value)
        if isinstance(value, Mapping) and depth < 4:
            some = [(k, v) for k, v in islice(value.items(), 10) if k not in DEFAULT_DENYLIST]
            return str([(str(k), self._shown(v, depth + 1)) for k, v in some])
        if isinstance(value, (list, tuple, set, frozenset)) and depth < 4:
            return str([self._shown(one, depth + 1) for one in islice(value, 10)])
        if id(value) not in self._texts:  # (kept, so that no other gets its id)
            self._texts[id(value)] = value, repr(value)
        return self._texts[id(value)][1]


@contextmanager
def watched() -> Iterator[Locals]:
    found = Locals()
    sys.setprofile(found.look)
    try:
        yield found
    finally:
        sys.setprofile(None)


def test_no_local_variable_shows_a_key_but_under_a_name_that_error_trackers_hide(
    host: Host,
) -> None:
    admin = Admin(host.app.test_client())
    host.list_id, second = next(iter(host.sandbox.audiences)), MailchimpSandbox().api_key
    with watched() as found:
        admin.connect(host.sandbox.api_key)
        admin.save(enabled="y")
        host.work()
        key = host.add(ADDRESS, wants_news=True)
        host.work()
        before = secrets_of(host)
        host.sandbox.unsubscribe(host.list_id, ADDRESS)
        admin.send("/webhooks/rotate")
        admin.send("/lists/refresh")
        host.work()
        host.sandbox.fail_next(401)
        host.change(key, wants_news=True)
        host.work()
        admin.connect(second)
        admin.connect(host.sandbox.api_key)
        after = secrets_of(host)
    keys = {host.sandbox.api_key, second, KEY}
    assert len({*before, *after} - keys) == 4, "two secrets and two tokens"
    assert found.places_of(keys) == set()
    # What Mailchimp is told and tells of a webhook comes in as it is; docs/recipes.rst has the rest.
    raw = {file for file, _ in found.places_of({*before, *after} - keys)}
    assert raw <= {"client.py", "transport.py", "hooks.py"}


def test_nor_an_access_token_a_code_or_a_client_secret(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
) -> None:
    with with_login(tmp_path, sandbox, clock) as host:
        admin = Admin(host.app.test_client())
        with watched() as found:
            back = answered(asked(admin))
            returned(admin.client, back)
            admin.save(enabled="y")
            host.work()
            host.add(ADDRESS, wants_news=True)
            host.work()
            sandbox.revoke_tokens()
            admin.send("/lists/refresh")
        (code,) = parse_qs(urlsplit(back).query)["code"]
        (row,) = host.rows("connection")
        token = host.services.vault.open(row.sealed_key, "api-key:").rpartition(":")[2]
        client_secret = host.services.config.OAUTH_CLIENT_SECRET
    assert len(token) == len(code) == 32
    assert client_secret is not None
    assert found.places_of({token, code, client_secret}) == set()


def test_no_page_and_no_command_tells_a_secret_and_few_tell_an_address(connected: Host) -> None:
    key, client = troubled(connected), connected.app.test_client()
    commands = connected.app.test_cli_runner()
    told, secrets = {}, set(secrets_of(connected))
    for path in PAGES:
        answer = client.get(ROOT + path.format(key), follow_redirects=True)
        assert answer.status_code == 200
        told[path] = answer.text
    for line in COMMANDS:
        words = line.format(key).split()
        answered = commands.invoke(args=["mailchimp", *words], input=connected.sandbox.api_key)
        assert answered.exit_code in (0, 1), answered.output
        told[line] = answered.output
        secrets |= set() if "disconnect" in line else set(secrets_of(connected))
    assert {line.split()[0] for line in COMMANDS} == {*cli.group.commands} - {"worker", "sandbox"}
    for where, text in told.items():
        assert not any(secret in text for secret in secrets), where
    assert {where for where, text in told.items() if ADDRESS in text} == OWNERS


def test_the_database_holds_no_secret_as_it_is_and_an_address_where_it_belongs(
    connected: Host,
) -> None:
    troubled(connected)
    secrets = secrets_of(connected)
    rows = {f.name: str(connected.rows(f.name)) for f in fields(connected.services.tables)}
    for table, text in rows.items():
        assert not any(secret in text for secret in secrets), table
    owners = {"customer", "contact", "decision", "webhook_event"}
    assert {table for table, text in rows.items() if ADDRESS in text} == owners


def test_an_error_of_the_database_names_nobody(connected: Host) -> None:
    connected.add("ada@example.com", wants_news=True)
    connected.work()
    with connected.app.app_context(), db.engine.begin() as connection:
        one = "CREATE UNIQUE INDEX only_one ON mailchimp_optin_customer (connection_id)"
        connection.execute(sql(one))
    connected.add(ADDRESS, wants_news=True)
    with pytest.raises(IntegrityError, match="INSERT INTO mailchimp_optin_customer") as raised:
        connected.work()
    assert ADDRESS not in "".join(traceback.format_exception(raised.value))


def test_what_others_wrote_makes_no_line_of_a_log(
    connected: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "flask_mailchimp_optin")
    evil = "evil\r\nCRITICAL forged"
    for status in (429, 500, 404, 400, 403):
        connected.sandbox.fail_next(status, body={"title": evil, "detail": evil})
        connected.add(f"c{status}@example.com", wants_news=True, given_name=evil)
        connected.work()
        connected.clock.turn(minutes=5)
    assert "Mailchimp is not asked for a while" in caplog.messages
    for record in caplog.records:
        assert "forged" not in f"{record.getMessage()} {vars(record)!r}"


def troubled(host: Host) -> int:
    """Somebody with a history whom Mailchimp refused in the end; their key."""
    key = host.add(ADDRESS, wants_news=True, given_name="Canary")
    host.work()
    host.sandbox.unsubscribe(host.list_id, ADDRESS)
    host.work()
    host.change(key, wants_news=True)
    host.work()
    host.sandbox.clean(host.list_id, ADDRESS)
    host.work()
    assert host.attention()
    return key
