"""The pytest plugin as a host meets it: found by its entry point, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_mailchimp_optin.testing import MailchimpSandbox, attach
from tests import outside
from tests.blocks import PACKAGE
from tests.house import Clock, Host

MODULE = "flask_mailchimp_optin.testing.plugin"
CONFTEST = """
    import socket

    import pytest
    from shop import create_app, db

    @pytest.fixture(autouse=True)
    def called(monkeypatch):
        called, real = set(), socket.socket.connect
        def connect(self, address):
            called.add(address[0])
            return real(self, address)
        monkeypatch.setattr(socket.socket, "connect", connect)
        yield called
        assert called <= {"127.0.0.1"}, "only this machine is spoken to"

    @pytest.fixture
    def app(mailchimp_config, tmp_path):
        url = f"sqlite:///{tmp_path}/test.db"
        app = create_app({"SQLALCHEMY_DATABASE_URI": url, **mailchimp_config})
        with app.app_context():
            db.create_all()
            yield app
            db.engine.dispose()
"""
TESTS = """
    from datetime import timedelta

    import pytest
    from flask import abort
    from flask_mailchimp_optin import state
    from flask_mailchimp_optin.testing import MailchimpSandbox, attach
    from shop import Customer, db

    ADA = "ada@example.com"

    @pytest.fixture
    def ada(app):
        ada = Customer(email=ADA, marketing_opt_in=True)
        db.session.add(ada)
        db.session.commit()
        return ada

    def test_out_and_in(ada, called, mailchimp_sandbox, mailchimp_connected, mailchimp_run_jobs):
        assert mailchimp_connected.status(ADA) == "subscribed"
        assert mailchimp_connected.status("bob@example.com") is None
        mailchimp_sandbox.unsubscribe(mailchimp_connected.list_id, ADA)
        assert ada.marketing_opt_in is True
        mailchimp_run_jobs()
        assert ada.marketing_opt_in is False
        assert called

    def test_what_a_test_has_not_flushed_stays(ada, mailchimp_connected, mailchimp_run_jobs):
        ada.marketing_opt_in = False
        mailchimp_run_jobs()
        assert ada.marketing_opt_in is False
        assert mailchimp_connected.status(ADA) == "subscribed"

    def test_a_ring_that_was_lost(ada, mailchimp_sandbox, mailchimp_connected, mailchimp_ring):
        mailchimp_sandbox.drop_rings(1)
        mailchimp_sandbox.unsubscribe(mailchimp_connected.list_id, ADA)
        mailchimp_ring(ADA)
        assert ada.marketing_opt_in is False

    def test_a_ring_of_any_kind(app, mailchimp_sandbox, mailchimp_connected, mailchimp_ring):
        for status in ("subscribed", "pending", "unsubscribed", "cleaned", "archived"):
            email = f"{status}@example.com"
            mailchimp_sandbox.add_members(mailchimp_connected.list_id, [email], status)
            mailchimp_ring(email)
        assert len(mailchimp_sandbox.rings) == 5

    def test_a_ring_that_is_refused(app, ada, mailchimp_sandbox, mailchimp_connected, mailchimp_ring):
        app.before_request_funcs[None] = [lambda: abort(403)]
        mailchimp_sandbox.ringer.retries_s = ()
        with pytest.raises(pytest.fail.Exception, match="answered 403"):
            mailchimp_ring(ADA)

    def test_both_sides_have_the_same_time(mailchimp_app, mailchimp_sandbox, mailchimp_clock):
        before = mailchimp_clock()
        mailchimp_clock.turn(days=3)
        assert mailchimp_clock() - before >= timedelta(days=3)
        assert state.of(mailchimp_app).services.now() >= before + timedelta(days=3)
        mailchimp_sandbox.add_members(next(iter(mailchimp_sandbox.audiences)), [ADA])
        [member] = mailchimp_sandbox.members(next(iter(mailchimp_sandbox.audiences))).values()
        assert member["last_changed"] > (before + timedelta(days=2)).isoformat()

    def test_settings(app, ada, mailchimp_connect, mailchimp_run_jobs):
        connected = mailchimp_connect(on_delete="archive")
        db.session.delete(ada)
        db.session.commit()
        mailchimp_run_jobs()
        assert connected.status(ADA) == "archived"
"""
UNUSED = """
    import sys

    def test_nothing_is_imported():
        assert "flask_mailchimp_optin.testing.plugin" in sys.modules
        heavy = {"flask", "sqlalchemy", "werkzeug", "rq", "redis", "requests", "mailchimp3"}
        assert heavy.isdisjoint(sys.modules)
"""
USED = "def test_it(mailchimp_clock): assert mailchimp_clock()"


def test_a_host_needs_nothing_but_the_fixtures(tmp_path: Path) -> None:
    files = {"conftest.py": CONFTEST, "test_it.py": TESTS}
    done = outside.run(tmp_path, files, "-m", "pytest", "test_it.py")
    assert " 7 passed" in done.stdout, done.stdout + done.stderr


def test_who_uses_none_of_it_imports_none_of_it(tmp_path: Path) -> None:
    done = outside.run(tmp_path, {"test_it.py": UNUSED}, "-m", "pytest", "test_it.py")
    assert " 1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "conftest", "environment", "outcome"),
    [
        pytest.param([], "", {}, "1 passed", id="found"),
        pytest.param(["-W", "error", "-p", MODULE], "", {}, "1 passed", id="named, too"),
        pytest.param([], f"pytest_plugins = [{MODULE!r}]", {}, "1 passed", id="in conftest, too"),
        pytest.param(
            ["-p", f"no:{MODULE}"], "", {}, "'mailchimp_clock' not found", id="not wanted"
        ),
        pytest.param(
            ["-p", MODULE],
            "",
            {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            "1 passed",
            id="without autoload",
        ),
    ],
)
def test_however_it_is_asked_for_it_is_loaded_once(
    tmp_path: Path,
    arguments: list[str],
    conftest: str,
    environment: dict[str, str],
    outcome: str,
) -> None:
    files = {"conftest.py": conftest, "test_it.py": USED}
    done = outside.run(tmp_path, files, "-m", "pytest", *arguments, "test_it.py", **environment)
    assert outcome in done.stdout, done.stdout + done.stderr


def test_an_application_that_speaks_to_mailchimp_itself_is_not_attached(host: Host) -> None:
    other = MailchimpSandbox()
    with pytest.raises(RuntimeError, match="does not speak to this sandbox"):
        attach(host.app, other)  # it is not even served
    with other.serve(), pytest.raises(RuntimeError, match="mailchimp_config"):
        attach(host.app, other)
    attach(host.app, host.sandbox, Clock(real=True))


def test_no_fixture_can_clash_with_a_hosts_and_none_is_used_unasked() -> None:
    code = (PACKAGE / "testing/plugin.py").read_text("utf-8")
    assert code.count("@pytest.fixture\ndef mailchimp_") == code.count("@pytest.fixture") > 0
    assert "pytest_" not in code.replace("pytest_plugins", "")
