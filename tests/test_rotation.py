"""Encryption keys are replaced while rings come in and work goes on, and nobody notices."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_mailchimp_optin import acts
from flask_mailchimp_optin import state as states
from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.vault import new_key
from tests.house import KEY, Clock, Host, database_url, db, hosting, make_app
from tests.views.test_webhook import Door

NEW = new_key()
WithKeys = Callable[..., Host]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def before(folder: Path, sandbox: MailchimpSandbox, clock: Clock) -> Iterator[Host]:
    """A host that is connected, with the old key alone."""
    with hosting(folder, sandbox, clock) as host:
        host.connect()
        yield host


@pytest.fixture
def with_keys(before: Host, folder: Path) -> Iterator[WithKeys]:
    """Makes the same site, as it runs with these keys."""
    made: list[Host] = []

    def make(*keys: str) -> Host:
        config: dict[str, Any] = {
            "SQLALCHEMY_DATABASE_URI": database_url(folder),
            "MAILCHIMP_OPTIN_ENCRYPTION_KEYS": list(keys),
        }
        url = before.app.config["MAILCHIMP_OPTIN_API_URL"]
        app = make_app(folder, url, before.clock, **config)
        host = Host(app, before.sandbox, before.clock, before.model)
        host.list_id = before.list_id
        before.sandbox.deliver_to(app)
        made.append(host)
        return host

    yield make
    for host in made:
        with host.app.app_context():
            db.session.remove()
            db.engine.dispose()


def rotate(host: Host) -> Any:
    return host.app.test_cli_runner().invoke(args=["mailchimp", "rotate-keys"])


def test_after_it_the_old_key_may_go(with_keys: WithKeys) -> None:
    both = with_keys(NEW, KEY)
    assert rotate(both).output == "2 stored secrets are sealed with the newest encryption key.\n"
    after = with_keys(NEW)
    ada = after.add("ada@example.com", wants_news=True)
    after.work()
    assert after.status("ada@example.com") == "subscribed"
    assert Door(after).post(Door(after).form()).status_code == 200
    after.sandbox.unsubscribe(after.list_id, "ada@example.com")
    after.work()
    assert after.box(ada) is False


def test_without_it_the_old_key_is_missed(with_keys: WithKeys) -> None:
    after = with_keys(NEW)
    done = rotate(after)
    assert done.exit_code == 1
    assert "can't be decrypted" in done.output
    assert KEY not in done.output


def test_no_ring_is_refused_or_lost_meanwhile(with_keys: WithKeys) -> None:
    both, back = with_keys(KEY, NEW), with_keys(NEW, KEY)
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
