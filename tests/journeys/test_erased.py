"""Deleted customers, and those who come back: an erased address is brought back by nobody's import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_mailchimp_optin import acts, connect
from flask_mailchimp_optin.ledger import decided_by
from flask_mailchimp_optin.overviews import DELETION_POLICIES
from flask_mailchimp_optin.vault import new_key
from tests.house import KEY, Customer, Host, db, make_app
from tests.views.admin import Admin

ADA = "ada@example.com"


@pytest.fixture
def erased(connected: Host) -> Host:
    """Ada was a customer, and was deleted where deleted customers are deleted permanently.

    She never was in the list, so that Mailchimp itself has forgotten nobody.
    """
    connected.settings(on_delete="delete")
    ada = connected.add("Ada@Example.com", wants_news=False)
    connected.work()
    connected.delete(ada)
    connected.work()
    connected.clock.turn(minutes=1)
    return connected


def imported(host: Host, mail: str = ADA) -> int:
    """A ticked customer of whom nobody said who decided."""
    key = host.add(mail, wants_news=True)
    host.work()
    return key


def test_an_import_brings_nobody_back_silently(erased: Host) -> None:
    ada = imported(erased)
    assert erased.status(ADA) is None
    assert erased.state(ada) == "erased"
    assert erased.box(ada) is True  # whose box it is decides; we only don't act on it
    erased.change(ada, given_name="Ada")
    erased.work()
    with erased.app.app_context():
        acts.start_sync(erased.services, "")
        acts.retry(erased.services, "")
    erased.work()
    assert erased.status(ADA) is None
    assert erased.calls("POST", "members") == []


def test_neither_does_a_bulk_insert_or_raw_sql(erased: Host) -> None:
    with erased.app.app_context():
        db.session.execute(sa.insert(Customer), [{"mail": ADA, "wants_news": True}])
        db.session.commit()
        db.session.connection().execute(
            sa.text("INSERT INTO customer (mail, wants_news) VALUES ('ADA@example.com', true)")
        )
        db.session.commit()
        acts.start_sync(erased.services, "")
    erased.work()
    assert len(erased.rows("customer")) == 2
    assert erased.status(ADA) is None


def test_the_pages_say_why_and_what_to_do(erased: Host) -> None:
    ada = imported(erased)
    admin = Admin(erased.app.test_client())
    admin.open("/activity")
    assert "Erased, and ticked again by an import" in admin.text
    assert "untick and tick the box" in admin.text
    assert "Sign-up form for ada@example.com" in admin.text
    admin.open(f"/customers/{ada}")
    assert "This address was erased" in admin.text
    assert "The list’s sign-up form" in admin.text
    status = erased.app.test_cli_runner().invoke(args=["mailchimp", "status"]).output
    assert f"customer {ada}: This address was erased" in status


def test_a_person_who_ticks_the_box_anew_lifts_it(erased: Host) -> None:
    ada = imported(erased)
    erased.change(ada, wants_news=False)
    erased.work()
    assert erased.state(ada) != "erased"
    erased.change(ada, wants_news=True)
    erased.work()
    assert erased.state(ada) == "subscribed"
    assert erased.rows("erasure") == []


def test_a_named_decision_on_the_new_customer_lifts_it(erased: Host) -> None:
    with erased.app.app_context(), decided_by(actor="ada", source="checkout"):
        db.session.add(Customer(mail=ADA, wants_news=True))
        db.session.commit()
    erased.work()
    assert erased.status(ADA) == "subscribed"
    assert erased.state(imported(erased)) == "subscribed"  # and whoever shares the address


def test_a_new_yes_of_who_shares_the_address_lifts_it_for_both(erased: Host) -> None:
    ada = imported(erased)
    bob = erased.add(ADA, wants_news=False)
    erased.work()
    erased.change(bob, wants_news=True)
    erased.work()
    assert (erased.state(ada), erased.state(bob)) == ("subscribed", "subscribed")


def test_it_lifts_it_also_in_another_list_and_whoever_is_looked_at_first(erased: Host) -> None:
    other = erased.another_list("Other")
    ada = erased.add(ADA, wants_news=True, own_list=other)
    erased.work()
    assert erased.state(ada) == "erased"
    erased.clock.turn(minutes=1)
    with erased.app.app_context(), decided_by("ada", source="her account"):
        db.session.add(Customer(mail=ADA, wants_news=True))
        db.session.execute(sa.update(Customer).where(Customer.id == ada).values(given_name="Ada"))
        db.session.commit()
    erased.work()
    assert (erased.status(ADA), erased.status(ADA, other)) == ("subscribed", "subscribed")


def test_who_had_the_address_before_a_no_that_went_ahead_is_not_erased_with_it(
    connected: Host,
) -> None:
    connected.settings(on_delete="delete")
    other = connected.another_list("Other")
    ada = connected.add(ADA, wants_news=True)
    connected.work()
    bob = connected.add(ADA, wants_news=True, own_list=other)
    connected.clock.turn(seconds=5)
    connected.change(ada, wants_news=False)  # goes ahead, with all else of hers
    connected.delete(ada)
    connected.work()
    assert connected.state(bob) == "subscribed"
    assert connected.status(ADA, other) == "subscribed"


def test_who_signs_up_at_mailchimp_themselves_lifts_it(erased: Host) -> None:
    ada = imported(erased)
    erased.sandbox.subscribe(erased.list_id, ADA)
    erased.work()
    assert erased.state(ada) == "subscribed"
    (yes,) = [d for d in erased.history(ada) if d.source == "mailchimp"]
    assert yes.value is True


def test_another_address_is_nobodys_erasure(erased: Host) -> None:
    ada = imported(erased)
    bob = imported(erased, "bob@example.com")
    assert erased.state(bob) == "subscribed"
    erased.change(ada, mail="lovelace@example.com")
    erased.work()
    assert erased.state(ada) == "subscribed"


def test_a_decision_made_before_the_erasure_is_none_after_it(connected: Host) -> None:
    connected.settings(on_delete="delete")
    ada = connected.add(ADA, wants_news=False)
    connected.change(ada, wants_news=True)
    connected.work()
    connected.clock.turn(minutes=1)
    connected.delete(ada)
    connected.work()
    with connected.app.app_context():  # the same row again, from a backup
        db.session.add(Customer(id=ada, mail=ADA, wants_news=True))
        db.session.commit()
    before = len(connected.sandbox.requests)
    connected.work()
    assert connected.state(ada) == "erased"
    assert len(connected.sandbox.requests) == before


def test_an_address_that_somebody_still_has_is_not_erased(connected: Host) -> None:
    connected.settings(on_delete="delete")
    ada = connected.add(ADA, wants_news=True)
    connected.add(ADA, wants_news=True)
    connected.work()
    connected.delete(ada)
    connected.work()
    assert connected.rows("erasure") == []
    assert connected.status(ADA) == "subscribed"


@pytest.mark.parametrize("policy", ["leave", "unsubscribe", "archive"])
def test_only_deleting_permanently_erases(connected: Host, policy: str) -> None:
    connected.settings(on_delete=policy)
    ada = connected.add(ADA, wants_news=True)
    connected.work()
    connected.delete(ada)
    connected.work()
    assert connected.rows("erasure") == []
    assert connected.state(imported(connected)) != "erased"


def test_what_mailchimp_forgot_is_shown_after_a_new_yes(connected: Host) -> None:
    connected.settings(on_delete="delete")
    ada = connected.add(ADA, wants_news=True)
    connected.work()
    connected.delete(ada)
    connected.work()
    connected.clock.turn(minutes=1)
    with connected.app.app_context(), decided_by(actor="ada", source="checkout"):
        db.session.add(Customer(mail=ADA, wants_news=True))
        db.session.commit()
    connected.work()
    (item,) = connected.rows("contact")
    assert item.refusal == "forgotten"


def test_it_outlives_the_connection_and_a_new_encryption_key(
    connected: Host, tmp_path: Path
) -> None:
    connected.settings(on_delete="delete")
    connected.delete(imported(connected))
    connected.work()
    with connected.app.app_context():
        connect.disconnect(connected.services, "")
    app = make_app(
        tmp_path,
        connected.app.config["MAILCHIMP_OPTIN_API_URL"],
        connected.clock,
        MAILCHIMP_OPTIN_ENCRYPTION_KEYS=[new_key(), KEY],
    )
    later = Host(app, connected.sandbox, connected.clock, Customer)
    later.connect()
    assert later.state(imported(later)) == "erased"
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def test_what_is_kept_is_not_the_address(erased: Host) -> None:
    (row,) = erased.rows("erasure")
    assert "ada" not in row.mark
    assert len(row.mark) == 32
    for table in ("customer", "contact"):
        assert erased.rows(table) == []


# Deleted while their job runs

#: What may become of the member; there may be none in any case, if it had not come that far.
AFTERWARDS: dict[str, set[str | None]] = {
    "leave": {None, "subscribed", "unsubscribed", "pending"},
    "unsubscribe": {None, "unsubscribed"},
    "archive": {None, "archived"},
    "delete": {None},
}


def _says_yes(host: Host, address: str) -> int:
    return host.add(address, wants_news=True)


def _says_no(host: Host, address: str) -> int:
    key = imported(host, address)
    host.change(key, wants_news=False)
    return key


def _comes_back(host: Host, address: str) -> int:
    key = imported(host, address)
    host.sandbox.unsubscribe(host.list_id, address)
    host.work()
    host.change(key, wants_news=True)  # a reading, then a question
    return key


def _has_a_new_address(host: Host, address: str) -> int:
    key = imported(host, f"old-{address}")
    host.change(key, mail=address)
    return key


@pytest.mark.parametrize("when", ["before_answer", "after_effect"])
@pytest.mark.parametrize("change", [_says_yes, _says_no, _comes_back, _has_a_new_address])
def test_a_customer_deleted_while_their_change_is_told_leaves_as_chosen(
    connected: Host, when: str, change: Callable[[Host, str], int]
) -> None:
    for policy in DELETION_POLICIES:
        connected.settings(on_delete=policy)
        moment = 1
        while _deleted_at(connected, when, moment, change, f"{policy}{moment}@example.com"):
            assert connected.rows("customer") == []
            assert [c for c in connected.rows("contact") if c.due_at] == []
            for address in (f"{policy}{moment}@example.com", f"old-{policy}{moment}@example.com"):
                assert connected.status(address) in AFTERWARDS[policy], moment
            assert bool(connected.rows("erasure")) == (policy == "delete")
            moment += 1
        assert moment > 1  # the change needs no more calls than these


def _deleted_at(
    host: Host, when: str, k: int, change: Callable[[Host, str], int], address: str
) -> bool:
    """Delete a customer during the k-th call for their change; whether there was one."""
    key = change(host, address)
    done: list[int] = []

    def delete() -> None:
        host.delete(key)
        done.append(key)

    getattr(host.sandbox, when)(delete, k=k)
    host.work()
    host.sandbox.stop_failing()
    host.clock.turn(minutes=10)  # whatever may still land has landed
    host.work()
    in_time = bool(done)
    if not in_time:
        host.delete(key)
        host.work()
    return in_time
