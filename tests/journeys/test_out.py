"""Journey out, in business words: what happens in the host reaches Mailchimp."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from flask_mailchimp_optin.overviews import DELETION_POLICIES
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import Customer, Host, db


def test_a_ticked_customer_is_subscribed_with_their_details(connected: Host) -> None:
    connected.add("Ada@Example.com", given_name="Ada", family_name="Lovelace", wants_news=True)
    connected.work()
    member = connected.sandbox.members(connected.list_id)["ada@example.com"]
    assert member["status"] == "subscribed"
    assert member["merge_fields"]["FNAME"] == "Ada"
    assert member["merge_fields"]["LNAME"] == "Lovelace"


def test_an_unticked_customer_never_reaches_mailchimp(connected: Host) -> None:
    connected.add("no@example.com", wants_news=False)
    connected.add("unset@example.com", wants_news=None)
    connected.work()
    assert connected.sandbox.members(connected.list_id) == {}


def test_unticking_unsubscribes_and_ticking_again_subscribes(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.clock.turn(minutes=1)
    connected.change(ada, wants_news=False)
    connected.work()
    assert connected.status("ada@example.com") == "unsubscribed"
    connected.clock.turn(minutes=1)
    connected.change(ada, wants_news=True)
    connected.work()
    # Our own removal, and nothing since: they come back without being asked again.
    assert connected.status("ada@example.com") == "subscribed"
    assert connected.state(ada) == "subscribed"


def test_who_left_at_mailchimp_is_asked_and_never_just_subscribed(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    assert connected.box(ada) is False
    connected.change(ada, wants_news=True)
    connected.work()
    assert connected.status("ada@example.com") == "pending"
    assert connected.state(ada) == "asked"
    assert len(connected.sandbox.mails) == 1
    connected.sandbox.confirm(connected.list_id, "ada@example.com")
    connected.work()
    assert connected.state(ada) == "subscribed"
    assert connected.box(ada) is True


def test_declining_the_question_unticks_the_box(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    connected.change(ada, wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    assert connected.box(ada) is False


def test_a_list_with_double_opt_in_asks_first(connected: Host) -> None:
    careful = connected.sandbox.add_audience("Careful", double_optin=True)
    with connected.app.app_context():
        from flask_mailchimp_optin import connect

        connect.refresh(connected.services, "")
        connect.store_lists(connected.services, "")
    connected.settings(master_list=careful)
    ada = connected.add(wants_news=True)
    connected.work()
    assert connected.status("ada@example.com", careful) == "pending"
    assert connected.state(ada) == "asked"
    connected.sandbox.confirm(careful, "ada@example.com")
    connected.work()
    assert connected.state(ada) == "subscribed"


def test_changed_details_follow_and_unchanged_ones_cost_no_call(connected: Host) -> None:
    ada = connected.add(wants_news=True, given_name="Ada")
    connected.work()
    connected.change(ada, given_name="Augusta")
    connected.work()
    fields = connected.sandbox.members(connected.list_id)["ada@example.com"]["merge_fields"]
    assert fields["FNAME"] == "Augusta"
    before = len(connected.sandbox.requests)
    connected.change(ada, notes="likes engines")
    connected.change(ada, given_name="Augusta")
    connected.work()
    assert len(connected.sandbox.requests) == before
    assert connected.rows("outbox") == []


def test_a_blank_never_wipes_but_clearing_does(connected: Host) -> None:
    ada = connected.add(wants_news=True, given_name="Ada", family_name=None)
    connected.work()
    connected.sandbox.edit_profile(connected.list_id, "ada@example.com", LNAME="Lovelace")
    connected.change(ada, given_name=None)
    connected.work()
    fields = connected.sandbox.members(connected.list_id)["ada@example.com"]["merge_fields"]
    assert fields["LNAME"] == "Lovelace"  # never set here: not ours to wipe
    assert fields["FNAME"] == ""  # set here, then cleared here


def test_a_new_address_moves_the_member(connected: Host) -> None:
    ada = connected.add("old@example.com", wants_news=True)
    connected.work()
    web_id = connected.sandbox.members(connected.list_id)["old@example.com"]["web_id"]
    connected.change(ada, mail="new@example.com")
    connected.work()
    members = connected.sandbox.members(connected.list_id)
    assert set(members) == {"new@example.com"}
    assert members["new@example.com"]["web_id"] == web_id
    assert members["new@example.com"]["status"] == "subscribed"


def test_a_new_address_that_is_a_member_already_leaves_two_members_apart(connected: Host) -> None:
    ada = connected.add("old@example.com", wants_news=True)
    connected.work()
    connected.sandbox.subscribe(connected.list_id, "new@example.com")
    connected.change(ada, mail="new@example.com")
    connected.work()
    assert connected.status("new@example.com") == "subscribed"
    assert connected.status("old@example.com") == "unsubscribed"


@pytest.mark.parametrize("policy", DELETION_POLICIES)
def test_an_old_address_leaves_the_list_whatever_happens_to_deleted_customers(
    connected: Host, policy: str
) -> None:
    connected.settings(on_delete=policy)
    ada = connected.add("old@example.com", wants_news=True)
    connected.add("new@example.com", wants_news=True)
    connected.work()
    connected.change(ada, mail="new@example.com")
    connected.work()
    # Nobody was deleted: no mail to the old address, and nothing that can't be undone.
    assert connected.status("old@example.com") == "unsubscribed"
    assert connected.state(ada) == "subscribed"


def test_an_old_address_that_somebody_else_owns_stays(connected: Host) -> None:
    ada = connected.add("both@example.com", wants_news=True)
    connected.add("both@example.com", wants_news=True)
    connected.work()
    connected.change(ada, mail="ada@example.com")
    connected.work()
    assert connected.status("both@example.com") == "subscribed"
    assert connected.status("ada@example.com") == "subscribed"


def test_whoever_takes_over_an_address_is_not_taken_for_the_one_before(connected: Host) -> None:
    ada = connected.add("shared@example.com", wants_news=True)
    connected.work()
    connected.change(ada, mail="ada@example.com")
    bob = connected.add("shared@example.com", wants_news=False)  # never asked
    connected.work()
    assert connected.status("shared@example.com") == "subscribed"
    assert connected.box(bob) is True  # as for anybody who is found subscribed at Mailchimp


def test_a_no_stays_with_an_address_that_somebody_takes_over(connected: Host) -> None:
    ada = connected.add("shared@example.com", wants_news=True)
    connected.work()
    connected.sandbox.fail_next(503, times=9)
    connected.change(ada, wants_news=False)
    connected.work()
    connected.change(ada, mail="ada@example.com")
    bob = connected.add("shared@example.com", wants_news=False)
    connected.work()
    connected.sandbox.stop_failing()
    connected.clock.turn(minutes=5)
    connected.work()
    connected.clock.turn(minutes=5)
    connected.work()
    assert connected.status("shared@example.com") == "unsubscribed"
    assert connected.box(bob) is False


def test_who_takes_over_an_address_before_its_member_moved_is_not_lost(connected: Host) -> None:
    ada = connected.add("shared@example.com", wants_news=True)
    connected.work()
    connected.sandbox.fail_next(429)
    connected.add("cy@example.com", wants_news=True)
    connected.work()  # Mailchimp wants to be left alone: what changes is absorbed, and waits
    connected.change(ada, mail="ada@example.com")
    connected.work()
    bob = connected.add("shared@example.com", wants_news=True)
    connected.work()
    connected.clock.turn(minutes=5)
    connected.work()
    assert (connected.state(ada), connected.state(bob)) == ("subscribed", "subscribed")
    assert connected.status("shared@example.com") == "subscribed"
    assert connected.status("ada@example.com") == "subscribed"


@pytest.mark.parametrize("answer", ["moved", "lost", "refused"])
def test_a_look_at_the_old_address_does_not_get_between_a_move(
    connected: Host, answer: str
) -> None:
    ada = connected.add("old@example.com", wants_news=True)
    connected.work()
    connected.sandbox.fail_next(429)
    connected.add("cy@example.com", wants_news=True)
    connected.work()  # Mailchimp wants to be left alone: what changes is absorbed, and waits
    connected.change(ada, mail="new@example.com")
    connected.sandbox.edit_profile(connected.list_id, "old@example.com", FNAME="Ada")
    connected.work()
    if answer == "lost":
        connected.sandbox.fail_next(500, path="PATCH")
    if answer == "refused":
        connected.sandbox.add_members(connected.list_id, ["new@example.com"])
    for _ in range(3):
        connected.clock.turn(minutes=3)
        connected.work()
    assert connected.status("new@example.com") == "subscribed"
    assert connected.status("old@example.com") in (None, "unsubscribed")


def test_a_no_stays_a_no_under_a_new_address(connected: Host) -> None:
    ada = connected.add("old@example.com", wants_news=True)
    connected.work()
    connected.change(ada, wants_news=False, mail="new@example.com")
    connected.work()
    statuses = {m["status"] for m in connected.sandbox.members(connected.list_id).values()}
    assert statuses <= {"unsubscribed"}


@pytest.mark.parametrize("bulk", [False, True])
def test_the_no_of_somebody_who_was_gone_before_anybody_looked_counts(
    connected: Host, bulk: bool
) -> None:
    connected.sandbox.subscribe(connected.list_id, "ada@example.com")
    connected.clock.turn(minutes=10)
    ada = connected.add("ada@example.com", wants_news=None)
    if bulk:
        with connected.app.app_context():
            change = sa.update(Customer).where(Customer.id == ada).values(wants_news=False)
            db.session.execute(change)
            db.session.commit()
    else:
        connected.change(ada, wants_news=False)
    connected.delete(ada)
    connected.work()
    assert connected.status("ada@example.com") == "unsubscribed"


@pytest.mark.parametrize("lost", [True, False])
def test_who_comes_back_to_an_address_that_they_just_left_keeps_their_yes(
    connected: Host, lost: bool
) -> None:
    ada = connected.add("old@example.com", wants_news=None)
    connected.work()
    if lost:  # it is remembered until it can't land once more
        connected.sandbox.fail_next(503, path="POST /3.0/lists", applied=True)
    connected.change(ada, wants_news=True)
    connected.work()
    connected.clock.turn(seconds=30)
    connected.work()
    assert connected.status("old@example.com") == "subscribed"
    connected.sandbox.subscribe(connected.list_id, "new@example.com")  # a member there already
    connected.change(ada, mail="new@example.com")
    connected.work()
    assert connected.status("old@example.com") in (None, "unsubscribed")
    connected.change(ada, mail="old@example.com")
    connected.work()
    assert connected.box(ada) is True
    assert connected.status("old@example.com") in ("pending", "subscribed")


def test_who_was_asked_and_comes_back_to_an_address_that_they_left_is_asked_again(
    connected: Host,
) -> None:
    sandbox, list_id, old = connected.sandbox, connected.list_id, "old@example.com"
    ada = connected.add(old, wants_news=True)
    connected.work()
    sandbox.unsubscribe(list_id, old)
    connected.work()
    connected.clock.turn(minutes=10)
    connected.change(ada, wants_news=True)
    connected.work()
    assert connected.status(old) == "pending"
    sandbox.subscribe(list_id, "new@example.com")  # a member there already
    # Lost are the answers to what brings the new one up to date, and to what takes the old one out.
    sandbox.fail_next(503, 2, path="POST /3.0/lists", applied=True)
    connected.change(ada, mail="new@example.com")
    connected.work()
    connected.clock.turn(seconds=20)
    connected.work()
    assert connected.status(old) == "unsubscribed"
    connected.change(ada, mail=old)
    for _ in range(4):
        connected.clock.turn(minutes=1)
        connected.work()
    assert (connected.box(ada), connected.status(old)) == (True, "pending")


def _delete_with(policy: str, connected: Host) -> None:
    connected.settings(on_delete=policy)
    ada = connected.add(wants_news=True)
    connected.sandbox.subscribe(connected.list_id, "stranger@example.com")
    connected.work()
    connected.delete(ada)
    connected.work()
    assert connected.status("stranger@example.com") == "subscribed"


def test_a_deleted_customer_is_unsubscribed(connected: Host) -> None:
    _delete_with("unsubscribe", connected)
    assert connected.status("ada@example.com") == "unsubscribed"


def test_a_deleted_customer_is_left_alone_if_so_chosen(connected: Host) -> None:
    _delete_with("leave", connected)
    assert connected.status("ada@example.com") == "subscribed"


def test_a_deleted_customer_is_archived_if_so_chosen(connected: Host) -> None:
    _delete_with("archive", connected)
    assert connected.status("ada@example.com") == "archived"


def test_a_deleted_customer_is_deleted_for_good_if_so_chosen(connected: Host) -> None:
    _delete_with("delete", connected)
    assert connected.status("ada@example.com") is None


def test_a_no_past_the_listeners_stands_against_the_yes_before_it(connected: Host) -> None:
    one, other = connected.add(wants_news=None), connected.add(wants_news=None)
    connected.work()
    connected.clock.turn(minutes=1)
    connected.change(one, given_name="Ada")  # a worker's look, which finds the no, is for this
    connected.clock.turn(minutes=1)
    connected.change(other, wants_news=True)
    with connected.app.app_context(), db.engine.begin() as connection:
        say = sa.text("UPDATE customer SET wants_news = :no WHERE id = :id")
        connection.execute(say, {"no": False, "id": one})
    connected.clock.turn(minutes=1)
    connected.work()
    assert (connected.box(one), connected.box(other)) == (False, False)
    assert connected.status("ada@example.com") is None


def test_a_yes_past_the_listeners_stands_against_the_no_before_it(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.change(ada, wants_news=False)
    with connected.app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE customer SET wants_news = TRUE"))
    connected.work()
    assert (connected.box(ada), connected.status("ada@example.com")) == (True, "subscribed")
    sources = [decision.source for decision in connected.history(ada)]
    assert sources[:2] == ["found in the database", "code"]


def test_customers_go_to_their_own_list_or_to_the_master_list(connected: Host) -> None:
    vip = connected.another_list("VIP")
    ada = connected.add("ada@example.com", wants_news=True, own_list=vip)
    connected.add("bob@example.com", wants_news=True)
    connected.work()
    assert connected.status("ada@example.com", vip) == "subscribed"
    assert connected.status("ada@example.com") is None
    assert connected.status("bob@example.com") == "subscribed"
    connected.change(ada, own_list=None)
    connected.work()
    assert connected.status("ada@example.com", vip) == "unsubscribed"
    assert connected.status("ada@example.com") == "subscribed"


def test_a_list_that_is_not_stored_needs_attention(connected: Host) -> None:
    ada = connected.add(wants_news=True, own_list="0123456789")
    connected.work()
    assert connected.state(ada) == "bad_address"
    assert connected.sandbox.members(connected.list_id) == {}


def test_customers_who_share_an_address_share_the_last_word(connected: Host) -> None:
    ada = connected.add("office@example.com", wants_news=True)
    bob = connected.add("Office@Example.com ", wants_news=True)
    connected.work()
    connected.change(bob, wants_news=False)
    connected.work()
    assert connected.status("office@example.com") == "unsubscribed"
    assert connected.box(ada) is False


def test_an_impossible_address_is_shown_and_stops_nobody_else(connected: Host) -> None:
    bad = connected.add("not an address", wants_news=True)
    none = connected.add(None, wants_news=True)
    good = connected.add("good@example.com", wants_news=True)
    connected.work()
    assert (connected.state(bad), connected.state(none)) == ("bad_address", "bad_address")
    assert connected.state(good) == "subscribed"
    connected.change(bad, mail="better@example.com")
    connected.work()
    assert connected.state(bad) == "subscribed"


def test_a_thousand_customers_go_in_batches_of_five_hundred(connected: Host) -> None:
    with connected.app.app_context():
        db.session.add_all(Customer(mail=f"c{n}@example.com", wants_news=True) for n in range(1001))
        db.session.commit()
    before = len(connected.calls("POST", f"/lists/{connected.list_id}"))
    connected.work()
    members = connected.sandbox.members(connected.list_id)
    assert len(members) == 1001
    assert {m["status"] for m in members.values()} == {"subscribed"}
    assert len(connected.calls("POST", f"/lists/{connected.list_id}")) - before == 3


def test_who_signs_up_while_we_send_keeps_the_time_of_their_own_opt_in(connected: Host) -> None:
    sandbox, list_id = connected.sandbox, connected.list_id
    ada = connected.add(wants_news=True, given_name="Ada")

    theirs: list[str] = []

    def signs_up() -> None:
        connected.clock.turn(seconds=5)
        sandbox.subscribe(list_id, "ada@example.com")
        theirs.append(sandbox.members(list_id)["ada@example.com"]["timestamp_opt"])
        connected.clock.turn(seconds=5)

    sandbox.before_answer(signs_up, path=f"POST /3.0/lists/{list_id}?")
    connected.work()
    member = sandbox.members(list_id)["ada@example.com"]
    assert (member["status"], connected.state(ada)) == ("subscribed", "subscribed")
    assert [member["timestamp_opt"]] == theirs
    assert member["ip_signup"]  # theirs, and not ours
    assert member["merge_fields"]["FNAME"] == "Ada"


def test_a_bulk_opt_out_reaches_everybody(connected: Host) -> None:
    with connected.app.app_context():
        db.session.add_all(Customer(mail=f"c{n}@example.com", wants_news=True) for n in range(60))
        db.session.commit()
    connected.work()
    before = len(connected.sandbox.requests)
    with connected.app.app_context():
        db.session.execute(sa.update(Customer).where(Customer.id > 0).values(wants_news=False))
        db.session.commit()
    connected.work()
    statuses = {m["status"] for m in connected.sandbox.members(connected.list_id).values()}
    assert statuses == {"unsubscribed"}
    assert len(connected.sandbox.requests) - before <= 3  # one paged reading, one batch


def test_details_of_many_are_sent_without_reading_them_and_who_left_meanwhile_is_found(
    connected: Host,
) -> None:
    with connected.app.app_context():
        db.session.add_all(Customer(mail=f"c{n}@example.com", wants_news=True) for n in range(60))
        db.session.commit()
    connected.work()
    sandbox, list_id = connected.sandbox, connected.list_id
    connected.clock.turn(minutes=30)
    sandbox.drop_rings(2)
    sandbox.unsubscribe(list_id, "c7@example.com")
    sandbox.archive(list_id, "c8@example.com")
    connected.clock.turn(minutes=30)
    before = len(sandbox.requests)
    with connected.app.app_context():
        db.session.execute(sa.update(Customer).values(given_name="Grace"))
        db.session.commit()
    connected.work()
    asked = [(r.method, r.query.get("status")) for r in sandbox.requests[before:]]
    assert asked == [("GET", "archived"), ("POST", None)]
    members = sandbox.members(list_id)
    left = {address: m["status"] for address, m in members.items() if m["status"] != "subscribed"}
    assert left == {"c7@example.com": "unsubscribed", "c8@example.com": "archived"}
    named = [address for address, m in members.items() if m["merge_fields"]["FNAME"] != "Grace"]
    assert named == ["c8@example.com"]
    with connected.app.app_context():
        nos = db.session.scalars(sa.select(Customer.mail).where(Customer.wants_news.is_(False)))
        assert nos.all() == ["c7@example.com"]


def test_changes_made_before_connecting_come_with_the_initial_sync(
    host: Host, sandbox: MailchimpSandbox
) -> None:
    ada = host.add("ada@example.com", wants_news=False)
    host.change(ada, wants_news=True)
    host.add("bob@example.com", wants_news=True)
    host.connect()
    assert host.status("ada@example.com") == "subscribed"
    assert host.status("bob@example.com") == "subscribed"
    assert host.rows("outbox") == []


def test_nothing_goes_out_while_disabled_but_a_no(connected: Host) -> None:
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.settings(enabled=False)
    connected.change(ada, wants_news=False)
    connected.add("bob@example.com", wants_news=True)
    connected.work()
    assert connected.status("ada@example.com") == "unsubscribed"
    assert connected.status("bob@example.com") is None
    connected.settings(enabled=True)
    connected.work()
    assert connected.status("bob@example.com") == "subscribed"


def test_the_ledger_keeps_who_said_what_with_mailchimps_answer(connected: Host) -> None:
    with (
        connected.app.app_context(),
        connected.mailchimp.decided_by(
            actor="clerk 7", source="phone", wording="v3: news by mail", ip="192.0.2.77"
        ),
    ):
        ada = Customer(mail="ada@example.com", wants_news=True)
        db.session.add(ada)
        db.session.commit()
        ada_id = ada.id
    connected.work()
    connected.change(ada_id, wants_news=False)
    connected.work()
    last, first = connected.history(ada_id)
    assert (first.value, first.actor, first.source) == (True, "clerk 7", "phone")
    assert first.wording == "v3: news by mail"
    assert first.ip == "192.0.2.0"
    assert first.receipt.startswith("subscribed (subscribed")
    assert (last.value, last.previous, last.source) == (False, True, "code")
    assert last.receipt.startswith("unsubscribed, as decided")


def test_a_no_that_comes_while_mailchimp_is_read_is_never_overtaken(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com")
    connected.work()
    connected.change(ada, wants_news=True)  # to be asked, for they left by themselves
    connected.sandbox.before_answer(
        lambda: connected.change(ada, wants_news=False), path="GET /3.0/lists/"
    )
    connected.work()
    assert connected.sandbox.mails == []
    assert connected.status("ada@example.com") == "unsubscribed"
    assert connected.box(ada) is False


def test_a_typo_in_the_address_removes_nobody_and_a_no_still_counts(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    connected.change(ada, mail="ada at example")
    connected.work()
    assert connected.status("ada@example.com") == "subscribed"
    assert connected.state(ada) == "bad_address"
    connected.change(ada, wants_news=False)
    connected.work()
    assert connected.status("ada@example.com") == "unsubscribed"


def test_a_mapping_that_fails_stops_neither_the_host_nor_a_no(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()

    def boom(_customer: Customer) -> str:
        raise KeyError("given_name")

    good = connected.services.mapping.mapping
    connected.services.mapping.mapping = replace(good, merge_fields={"FNAME": boom})
    connected.change(ada, given_name="Ada")
    connected.work()
    assert connected.status("ada@example.com") == "subscribed"
    assert connected.state(ada) == "bad_address"
    connected.change(ada, wants_news=False)
    connected.work()
    assert connected.status("ada@example.com") == "unsubscribed"


def test_who_leaves_in_the_very_second_after_rejoining_is_asked(connected: Host) -> None:
    ada = connected.add(wants_news=True)
    connected.work()
    for wish in (False, True):
        connected.change(ada, wants_news=wish)
        connected.work()
    connected.sandbox.unsubscribe(connected.list_id, "ada@example.com", by="admin")
    connected.work()
    connected.change(ada, wants_news=True)
    connected.work()
    assert connected.status("ada@example.com") == "pending"


def test_a_key_that_is_given_again_is_another_customer(connected: Host) -> None:
    cyd = connected.add("cyd@example.com", wants_news=True)
    bob = connected.add("bob@example.com", id=70, wants_news=True)
    connected.work()
    connected.change(bob, wants_news=False)
    connected.work()
    connected.clock.turn(hours=1)
    connected.change(cyd, wants_news=False)
    connected.delete(bob)
    # An import's tick is no decision: Bob's unticked box must not make it one.
    connected.add("cyd@example.com", id=70, wants_news=True)
    connected.work()
    assert connected.status("cyd@example.com") == "unsubscribed"
    assert (connected.box(cyd), connected.box(70)) == (False, False)


@pytest.mark.parametrize("arrived", [True, False])
def test_who_changes_their_mind_while_a_rejoin_is_unanswered_is_not_asked(
    connected: Host, arrived: bool
) -> None:
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    for minutes, wanted in ((10, False), (10, True), (1, False)):
        connected.clock.turn(minutes=minutes)
        connected.change(ada, wants_news=wanted)
        if wanted:
            connected.sandbox.fail_next(how="reset", path="PATCH", applied=arrived)
        connected.work()
    connected.clock.turn(minutes=10)
    connected.work()
    assert connected.status("ada@example.com") == "unsubscribed"
    assert connected.sandbox.mails == []
