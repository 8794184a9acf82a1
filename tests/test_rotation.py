"""Encryption keys are replaced while rings come in and work goes on, and nobody notices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_mailchimp_optin import acts
from flask_mailchimp_optin import state as states
from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.vault import new_key
from tests.house import KEY, Clock, Host, database_url, hosting, make_app
from tests.views.test_webhook import Door

NEW = new_key()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def before(folder: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
    """A host that is connected, with the old key alone."""
    with hosting(folder, sandbox, clock) as host:
        host.connect()
        yield host


def with_keys(before: Host, folder: Path, *keys: str) -> Host:
    """The same site, as it runs with these keys."""
    config: dict[str, Any] = {
        "SQLALCHEMY_DATABASE_URI": database_url(folder),
        "MAILCHIMP_OPTIN_ENCRYPTION_KEYS": list(keys),
    }
    url = before.app.config["MAILCHIMP_OPTIN_API_URL"]
    app = make_app(folder, url, before.clock, **config)
    host = Host(app, before.sandbox, before.clock, before.model)
    host.list_id = before.list_id
    before.sandbox.deliver_to(app)
    return host


def rotate(host: Host) -> Any:
    return host.app.test_cli_runner().invoke(args=["mailchimp", "rotate-keys"])


def test_after_it_the_old_key_may_go(before: Host, folder: Path) -> None:
    both = with_keys(before, folder, NEW, KEY)
    assert rotate(both).output == "2 stored secrets are sealed with the newest encryption key.\n"
    after = with_keys(before, folder, NEW)
    ada = after.add("ada@example.com", wants_news=True)
    after.work()
    assert after.status("ada@example.com") == "subscribed"
    assert Door(after).post(Door(after).form()).status_code == 200
    after.sandbox.unsubscribe(after.list_id, "ada@example.com")
    after.work()
    assert after.box(ada) is False


def test_without_it_the_old_key_is_missed(before: Host, folder: Path) -> None:
    after = with_keys(before, folder, NEW)
    done = rotate(after)
    assert done.exit_code == 1
    assert "can't be decrypted" in done.output
    assert KEY not in done.output


def test_no_ring_is_refused_or_lost_meanwhile(before: Host, folder: Path) -> None:
    both, back = with_keys(before, folder, KEY, NEW), with_keys(before, folder, NEW, KEY)
    door = Door(both)
    answers: list[int] = []
    over = threading.Event()

    def ring(who: int) -> None:
        number = 0
        while not over.is_set() or not number:
            number += 1
            body = door.form(data__email=f"{who}.{number}@example.com")
            answers.append(door.post(body).status_code)

    threads = [threading.Thread(target=ring, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    rotations = 0
    while rotations < 30 or len(answers) < 100:  # there and back: each seals all anew
        host = (back, both)[rotations % 2]
        with host.app.app_context():
            assert acts.rotate_keys(states.of(host.app).services) == 2
        rotations += 1
        over.wait(0.02)  # a command is run by hand; here it is, fifty times a second
    over.set()
    for thread in threads:
        thread.join(60)
    assert set(answers) == {200}
    assert len(door.events) == len(answers)
