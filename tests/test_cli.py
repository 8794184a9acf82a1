"""``flask mailchimp``: what the pages can do, the commands can do."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.blocks import ROOT
from tests.house import Clock, Host, hosting


def run(host: Host, *arguments: str, typed: str | None = None) -> Result:
    return host.app.test_cli_runner().invoke(args=["mailchimp", *arguments], input=typed)


def test_connecting_asks_for_the_key_without_showing_it(
    host: Host, sandbox: MailchimpSandbox
) -> None:
    result = run(host, "connect", "--enable", typed=f"{sandbox.api_key}\n")
    assert result.exit_code == 0, result.output
    assert "Connected with" in result.output
    assert sandbox.api_key not in result.output
    assert "Newsletter" in result.output
    ada = host.add(wants_news=True)
    host.work()
    assert host.state(ada) == "subscribed"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("rubbish", "This is not a Mailchimp API key"),
        ("0123456789abcdef0123456789abcdef-us6", "Mailchimp refused the API key"),
        ("0123456789abcdef0123456789abcdef-us1@evil.example", "This is not a Mailchimp API key"),
    ],
    ids=["malformed", "wrong", "hostile"],
)
def test_a_bad_key_is_one_clear_line(host: Host, key: str, words: str) -> None:
    result = run(host, "connect", "--api-key", key)
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_configured_key_is_used_without_being_asked_for(
    tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock
) -> None:
    with hosting(tmp_path, sandbox, clock, MAILCHIMP_OPTIN_API_KEY=sandbox.api_key) as host:
        result = run(host, "connect", "--enable")
        assert result.exit_code == 0, result.output
        assert "Connected with" in result.output
        other = run(host, "connect", "--api-key", "0123456789abcdef0123456789abcdef-us6")
        assert other.exit_code == 1
        assert "The key comes from the application’s configuration" in other.output


def test_enabling_can_count_first_and_wait_for_an_answer(host: Host) -> None:
    host.add("ada@example.com", wants_news=True)
    run(host, "connect", "--api-key", host.sandbox.api_key)
    shown = run(host, "enable", "--preview").output
    assert "add or update 1 people" in shown
    host.list_id = next(iter(host.sandbox.audiences))
    assert host.status("ada@example.com") is None
    assert run(host, "sync").exit_code == 1
    run(host, "sync", "--resume")
    host.work()
    assert host.status("ada@example.com") == "subscribed"
    assert "Next daily sync: " in run(host, "status").output
    assert "enabled already" in run(host, "enable", "--preview").output


def test_merge_fields_are_compared_and_made(connected: Host) -> None:
    audience = connected.sandbox._account.audiences[connected.list_id]
    audience.merge_fields = [field for field in audience.merge_fields if field.tag != "LNAME"]
    audience.fields_changed()
    lacking = run(connected, "fields")
    assert lacking.exit_code == 1
    assert "Newsletter: LNAME (text), family_name: missing" in lacking.output
    made = run(connected, "fields", "--create")
    assert made.exit_code == 0
    assert "made: LNAME" in made.output


def test_webhooks_can_be_rotated(connected: Host) -> None:
    (before,) = connected.sandbox.webhooks(connected.list_id)
    run(connected, "webhook", "rotate")
    connected.work()
    (after,) = connected.sandbox.webhooks(connected.list_id)
    assert before["url"] != after["url"]


def test_a_list_created_later_appears_after_a_refresh(connected: Host) -> None:
    connected.sandbox.add_audience("Later")
    assert "Later" not in run(connected, "lists").output
    refreshed = run(connected, "lists", "--refresh").output
    assert "new: Later" in refreshed
    assert "Later" in run(connected, "lists").output


def test_status_tells_people_and_machines(connected: Host) -> None:
    connected.add("not an address", wants_news=True)
    connected.work()
    text = run(connected, "status").output
    assert "enabled" in text
    assert "initial sync" in text
    assert "100 %" in text
    assert "needs attention" in text
    facts = json.loads(run(connected, "status", "--json").output)
    assert facts["overview"]["connected"] is True
    assert facts["syncs"][0]["percent"] == 100
    assert facts["attention"] == 1


_TYPES: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "true or false": bool,
    "number": (int, float),
    "null": type(None),
}


def _values(facts: Any, path: list[str]) -> list[Any]:
    """What is at a path such as ``syncs[].state``; of every one, where there are several."""
    if not path:
        return [facts]
    name = path[0].removesuffix("[]")
    assert name in facts, name
    several = facts[name] if path[0] != name else [facts[name]]
    return [value for one in several for value in _values(one, path[1:])]


def test_the_shape_of_status_for_machines_is_as_documented(connected: Host) -> None:
    text = (ROOT / "docs/monitoring.rst").read_text(encoding="utf-8")
    section = text.split("``status --json``\n---")[1].split("Probes\n---")[0]
    named = re.findall(r"^``([\w.\[\]]+)`` +([a-z ]+?)  ", section, re.MULTILINE)
    assert len(named) > 40
    connected.add("not an address", wants_news=True)
    connected.work()
    run(connected, "sync")
    here, nowhere = (
        json.loads(run(connected, "status", "--json", "--tenant", tenant).output)
        for tenant in ("", "nobody")
    )
    for name, types in named:
        values = _values(here, name.split("."))
        assert values, name
        for value in [*values, *_values(nowhere, name.split("."))]:
            words = ["true or false"] if types == "true or false" else types.split(" or ")
            kinds = [_is_a(value, word) for word in words]
            assert any(kinds), (name, value)


def _is_a(value: Any, word: str) -> bool:
    if word == "time":
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    return isinstance(value, _TYPES[word]) and (word != "number" or not isinstance(value, bool))


def test_status_and_acts_before_connecting_say_what_to_do(host: Host) -> None:
    assert "Not connected" in run(host, "status").output
    for command in (["sync"], ["enable"], ["retry"], ["lists", "--refresh"]):
        result = run(host, *command)
        assert result.exit_code == 1, command
        assert "Enter an API key first" in result.output


def test_sync_previews_and_starts(connected: Host) -> None:
    with connected.app.app_context():
        from tests.house import Customer, db

        db.session.connection().execute(
            Customer.__table__.insert(), [{"mail": "raw@example.com", "wants_news": True}]
        )
        db.session.commit()
    assert "1 contacts would be looked after" in run(connected, "sync", "--preview").output
    assert connected.status("raw@example.com") is None
    assert run(connected, "sync").exit_code == 0
    assert run(connected, "sweep").exit_code == 0
    assert connected.status("raw@example.com") == "subscribed"


def test_sync_pauses_resumes_and_cancels(connected: Host) -> None:
    assert run(connected, "sync", "--pause").exit_code == 1
    assert run(connected, "sync").exit_code == 0
    assert "Opt-outs still go out" in run(connected, "sync", "--pause").output
    assert "paused, 0 %" in run(connected, "status").output
    connected.work()
    assert "goes on" in run(connected, "sync", "--resume").output
    connected.work()
    assert "done, 100 %" in run(connected, "status").output
    assert run(connected, "sync").exit_code == 0
    assert "Cancelled" in run(connected, "sync", "--cancel").output


def test_disabling_pauses_and_disconnecting_ends(connected: Host) -> None:
    assert run(connected, "disable").exit_code == 0
    connected.add("bob@example.com", wants_news=True)
    connected.work()
    assert connected.status("bob@example.com") is None
    assert run(connected, "enable").exit_code == 0
    connected.work()
    assert connected.status("bob@example.com") == "subscribed"
    assert run(connected, "disconnect", "--yes").exit_code == 0
    assert connected.sandbox.webhooks(connected.list_id) == []


def test_doctor_says_what_is_wrong_and_fails(connected: Host) -> None:
    result = run(connected, "doctor", "--offline")
    assert result.exit_code == 1  # no Redis in this test
    assert "Redis can't be reached" in result.output
    assert "Start Redis" in result.output
    found = json.loads(run(connected, "doctor", "--json", "--offline").output)
    assert {c["code"]: c["level"] for c in found}["connection"] == "ok"


def test_retry_and_history(connected: Host) -> None:
    connected.sandbox.refuse("ada@example.com", "Invalid Resource", "looks fake or invalid")
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.sandbox.accept("ada@example.com")
    assert "1 will be tried again" in run(connected, "retry").output
    connected.work()
    assert connected.state(ada) == "subscribed"
    assert "yes, code" in run(connected, "history", str(ada)).output


def test_a_person_is_exported_looked_at_and_erased(connected: Host) -> None:
    ada = str(connected.add("ada@example.com", wants_news=True))
    connected.work()
    found = json.loads(run(connected, "export", ada).output)
    assert found["at_mailchimp"][0]["status"] == "subscribed"
    assert "A worker looks now" in run(connected, "look", ada).output
    assert "still ticked" in run(connected, "erase", ada, "--yes").output
    connected.work()
    connected.delete(int(ada))
    connected.work()
    assert "Aborted" in run(connected, "erase", ada, typed="n\n").output
    assert run(connected, "erase", ada, typed="y\n").output.endswith("Erased.\n")
    assert connected.status("ada@example.com") is None
    assert "Nothing is known" in run(connected, "export", "999").output


def test_who_needs_attention_is_listed_and_tried_again_by_reason_or_alone(connected: Host) -> None:
    for name in ("ada", "bob"):
        connected.sandbox.refuse(f"{name}@example.com", "Invalid Resource", "looks fake or invalid")
    ada = connected.add("ada@example.com", wants_news=True)
    connected.add("bob@example.com", wants_news=True)
    connected.work()
    shown = run(connected, "attention", "--search", "ada@").output
    assert f"customer {ada}: Mailchimp takes this address for fake" in shown
    assert shown.count("needs attention") == 1
    lines = run(connected, "attention", "--json", "--reason", "fake").output.splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["fake", "fake"]
    assert "0 will be tried again" in run(connected, "retry", "--reason", "bounced").output
    assert "1 will be tried again" in run(connected, "retry", "--customer", str(ada)).output
    assert "1 will be tried again" in run(connected, "retry", "--reason", "fake").output


def test_the_log_of_webhooks_and_a_replay(connected: Host) -> None:
    connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    ring = connected.rows("webhook_event")[-1].id
    log = run(connected, "webhook", "log").output
    assert f"{ring}  " in log
    assert "unsubscribe  Newsletter  (signature)  looked at" in log
    assert "ada@example.com" not in log
    assert "looked at again" not in run(connected, "webhook", "replay").output
    assert (
        "looks at this address again"
        in run(connected, "webhook", "replay", "--ring", str(ring)).output
    )
    assert f"{ring}  " in run(connected, "webhook", "log", "--state", "waiting").output
    assert run(connected, "webhook", "replay", "--ring", "4711").exit_code == 1


def test_webhooks_can_be_registered_anew(connected: Host) -> None:
    (before,) = connected.sandbox.webhooks(connected.list_id)
    assert run(connected, "webhook", "register").exit_code == 0
    connected.work()
    (after,) = connected.sandbox.webhooks(connected.list_id)
    assert after["url"] != before["url"]
