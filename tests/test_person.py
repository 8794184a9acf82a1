"""One person: what is kept of them is given out, looked at again, and erased, here and at Mailchimp."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flask_mailchimp_optin import acts, person, state
from flask_mailchimp_optin.errors import CopiedSite, MailchimpError, RefusedInput
from tests.house import Customer, Host, db, make_app

ADA, BOB = "ada@example.com", "bob@example.com"


def decided(host: Host, mail: str = ADA, *, yes: bool = True) -> str:
    """A customer who decided on a form, and whom Mailchimp knows; their key."""
    with host.app.app_context():
        with host.mailchimp.decided_by(
            actor="clerk 7", source="form", wording="Send me news", ip="192.0.2.77"
        ):
            customer = Customer(mail=mail, given_name="Ada", wants_news=yes)
            db.session.add(customer)
            db.session.commit()
        key = str(customer.id)
    host.work()
    return key


def untick(host: Host, key: str) -> None:
    host.change(int(key), wants_news=False)
    host.work()


def export(host: Host, key: str, tenant: str = "") -> dict[str, Any]:
    with host.app.app_context():
        found: dict[str, Any] = json.loads(
            person.as_json(person.export(host.services, tenant, key))
        )
        return found


def erase(host: Host, key: str) -> person.Plan:
    with host.app.app_context():
        return person.erase(host.services, "", key)


def kept(host: Host) -> str:
    """Every value in every table of ours."""
    tables = ("customer", "contact", "outbox", "decision", "webhook_event", "erasure")
    return " ".join(str(tuple(row)) for name in tables for row in host.rows(name))


class TestGivenOut:
    def test_an_export_holds_what_is_kept_in_plain_names(self, connected: Host) -> None:
        key = decided(connected)
        connected.sandbox.unsubscribe(connected.list_id, ADA)
        connected.work()
        found = export(connected, key)
        assert (found["schema"], found["schema_version"]) == ("flask-mailchimp-optin/person", 1)
        assert found["customer"] == {"address": ADA, "opt_in": False}
        assert found["state"]["state"] == "unsubscribed"
        assert found["last_seen_here"]["opt_in"] is False
        [there] = found["at_mailchimp"]
        assert (there["list_id"], there["status"], there["wanted"]) == (
            connected.list_id,
            "unsubscribed",
            False,
        )
        assert there["fields_sent"] == ["FNAME"]
        no, yes = found["decisions"]
        assert (no["yes"], no["source"]) == (False, "mailchimp")
        assert (yes["actor"], yes["wording"], yes["ip_address"]) == (
            "clerk 7",
            "Send me news",
            "192.0.2.0",
        )
        assert [ring["type"] for ring in found["webhooks"]] == ["unsubscribe"]

    def test_a_decision_that_waits_is_in_it_too(self, connected: Host) -> None:
        key = connected.add(ADA, wants_news=True)
        assert [one["yes"] for one in export(connected, str(key))["decisions"]] == [True]

    def test_it_holds_no_secret_and_nobody_else(self, connected: Host) -> None:
        decided(connected, BOB)
        text = json.dumps(export(connected, decided(connected)))
        assert BOB not in text
        assert connected.sandbox.api_key not in text
        for row in connected.rows("audience"):
            assert row.token_hash not in text
        for row in connected.rows("connection"):
            assert row.sealed_key not in text

    def test_it_works_without_a_connection(self, host: Host) -> None:
        key = decided(host)
        found = export(host, key)
        assert found["state"]["state"] == "not_connected"
        assert found["at_mailchimp"] == []
        assert len(found["decisions"]) == 1

    def test_nobody_is_no_export(self, connected: Host) -> None:
        with pytest.raises(RefusedInput, match="Nothing is known"):
            export(connected, "999")

    def test_another_tenant_has_none(self, connected: Host) -> None:
        key = decided(connected)
        with pytest.raises(RefusedInput, match="Nothing is known"):
            export(connected, key, tenant="another")


class TestLookedAtAgain:
    def test_mailchimp_is_asked_and_the_answer_followed(self, connected: Host) -> None:
        key = decided(connected)
        connected.sandbox.hold_rings()
        connected.sandbox.unsubscribe(connected.list_id, ADA)
        connected.work()
        assert connected.state(int(key)) == "subscribed"  # nobody told us
        with connected.app.app_context():
            person.look(connected.services, "", key)
        connected.work()
        assert connected.state(int(key)) == "unsubscribed"
        assert connected.box(int(key)) is False

    def test_who_is_no_customer_is_not_looked_for(self, connected: Host) -> None:
        with connected.app.app_context(), pytest.raises(RefusedInput, match="no customer"):
            person.look(connected.services, "", "999")
        assert connected.rows("outbox") == []


class TestErased:
    def test_nothing_of_them_is_left_but_what_is_said(self, connected: Host) -> None:
        key = decided(connected)
        connected.delete(int(key))
        connected.work()
        assert connected.status(ADA) == "unsubscribed"
        done = erase(connected, key)
        assert (done.exists, done.addresses) == (False, (ADA,))
        assert connected.status(ADA) is None
        assert connected.calls("POST", "delete-permanent")
        left = kept(connected)
        for word in (ADA, "clerk 7", "192.0.2"):
            assert word not in left
        [mark] = connected.rows("erasure")
        assert mark.erased_at
        [row] = connected.rows("decision")
        assert (row.value, row.source, row.wording) == (True, "form", "Send me news")

    def test_an_import_does_not_bring_them_back(self, connected: Host) -> None:
        key = decided(connected)
        connected.delete(int(key))
        connected.work()
        erase(connected, key)
        again = connected.add(ADA, wants_news=True)
        connected.work()
        assert connected.state(again) == "erased"
        assert connected.status(ADA) is None

    def test_a_ticked_customer_is_refused_and_nothing_is_done(self, connected: Host) -> None:
        key = decided(connected)
        before = kept(connected)
        with pytest.raises(RefusedInput, match="still ticked"):
            erase(connected, key)
        assert connected.status(ADA) == "subscribed"
        assert kept(connected) == before

    def test_an_unticked_customer_is_erased_and_stays_a_customer(self, connected: Host) -> None:
        key = decided(connected)
        untick(connected, key)
        erase(connected, key)
        assert connected.status(ADA) is None
        assert ADA not in kept(connected)
        assert connected.box(int(key)) is False
        with connected.app.app_context():
            acts.start_sync(connected.services, "")
        connected.work()
        assert connected.status(ADA) is None
        assert connected.state(int(key)) in ("never_asked", "unsubscribed")

    def test_a_new_yes_after_it_is_told_to_mailchimp_which_refuses(self, connected: Host) -> None:
        key = decided(connected)
        untick(connected, key)
        erase(connected, key)
        connected.clock.turn(minutes=1)
        connected.change(int(key), wants_news=True)
        connected.work()
        assert connected.state(int(key)) == "refused"  # for good: only the person can come back
        assert [one.reason for one in connected.attention()] == ["forgotten"]

    def test_what_is_on_its_way_is_waited_for(self, connected: Host) -> None:
        key = decided(connected)
        connected.change(int(key), wants_news=False)
        with pytest.raises(RefusedInput, match="on its way"):
            erase(connected, key)
        connected.work()
        erase(connected, key)
        assert connected.status(ADA) is None

    def test_a_request_that_may_still_land_is_waited_for(self, connected: Host) -> None:
        key = decided(connected)
        connected.sandbox.fail_next(how="late", path="POST /3.0/lists", delay_s=60)
        connected.change(int(key), wants_news=False)
        connected.work()
        with pytest.raises(RefusedInput, match="on its way"):
            erase(connected, key)
        connected.clock.turn(minutes=10)
        connected.work()
        erase(connected, key)
        assert connected.status(ADA) is None

    def test_an_address_that_another_customer_has_stays_theirs(self, connected: Host) -> None:
        key = decided(connected)
        decided(connected)  # the same address
        connected.delete(int(key))
        connected.work()
        done = erase(connected, key)
        assert (done.addresses, done.shared) == ((), (ADA,))
        assert connected.status(ADA) == "subscribed"
        assert connected.rows("erasure") == []

    def test_they_are_deleted_from_every_list_and_under_every_address(
        self, connected: Host
    ) -> None:
        other = connected.another_list("Trade")
        key = decided(connected)
        untick(connected, key)
        connected.sandbox.subscribe(other, ADA)
        connected.sandbox.subscribe(connected.list_id, "old@example.com")
        connected.change(int(key), mail="new@example.com")
        connected.work()
        done = erase(connected, key)
        assert done.addresses == (ADA, "new@example.com")
        assert connected.status(ADA, other) is None
        assert connected.status("new@example.com") is None
        assert connected.status("old@example.com") == "subscribed"  # nothing links it to them

    def test_if_mailchimp_cannot_be_told_nothing_is_forgotten(self, connected: Host) -> None:
        key = decided(connected)
        untick(connected, key)
        before = kept(connected)
        connected.sandbox.fail_next(503, times=20, path="delete-permanent")
        with pytest.raises(MailchimpError):
            erase(connected, key)
        assert kept(connected) == before

    def test_a_second_time_does_no_harm(self, connected: Host) -> None:
        key = decided(connected)
        untick(connected, key)
        erase(connected, key)
        erase(connected, key)
        assert len(connected.rows("erasure")) == 1

    def test_without_a_connection_the_ledger_is_stripped(self, host: Host) -> None:
        key = decided(host)
        host.delete(int(key))
        host.work()
        assert erase(host, key).connected is False
        assert ADA not in kept(host)
        assert "clerk 7" not in kept(host)

    def test_a_copy_of_the_site_deletes_nobody(self, connected: Host, tmp_path: Path) -> None:
        key = decided(connected)
        untick(connected, key)
        url, staging = (
            connected.app.config["MAILCHIMP_OPTIN_API_URL"],
            "https://staging.example.com",
        )
        copy = make_app(tmp_path, url, connected.clock, MAILCHIMP_OPTIN_PUBLIC_URL=staging)
        with copy.app_context(), pytest.raises(CopiedSite):
            person.erase(state.of(copy).services, "", key)
        assert connected.status(ADA) == "unsubscribed"
        assert ADA in kept(connected)
