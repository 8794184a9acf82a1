"""Who needs attention: the few on the activity page, and everybody on a page of their own."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from flask_mailchimp_optin import acts, attention
from flask_mailchimp_optin.attention import Which
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.house import Clock, Customer, Host, db, hosting
from tests.views.admin import ROOT, Admin

BOUNCED = "Mail to this address bounced for good."
FAKE = "Mailchimp takes this address for fake or invalid. Correct the customer's address."


@pytest.fixture
def admin(connected: Host) -> Admin:
    return Admin(connected.app.test_client())


@pytest.fixture
def bounced(connected: Host) -> int:
    """Ada, whose mail bounces."""
    ada = connected.add("ada@example.com", wants_news=True)
    connected.work()
    connected.sandbox.clean(connected.list_id, "ada@example.com")
    connected.work()
    return ada


def fill(
    host: Host, number: int, reason: str = "bounced", name: str = "c{:05}", **values: Any
) -> None:
    """So many contacts that Mailchimp refused, whose addresses are numbered."""
    table, audience = host.services.tables.contact, host.rows("audience")[0]
    whole = {"version", "acked_version", "decided_version", "settled_version", "attempts"}
    rows = [
        {
            **dict.fromkeys(whole, 0),
            "connection_id": audience.connection_id,
            "audience_id": audience.id,
            "address": f"{name.format(i)}@example.com",
            "wanted": True,
            "agreed": "nothing",
            "look": False,
            "refusal": reason,
            "refusal_text": {"bounced": BOUNCED, "fake": FAKE}.get(reason),
            "refused_at": host.clock(),
            **values,
        }
        for i in range(number)
    ]
    with host.app.app_context():
        host.services.transact(lambda tx: tx.execute(insert(table), rows))


def change_contacts(host: Host, **values: Any) -> None:
    table = host.services.tables.contact
    with host.app.app_context():
        host.services.transact(lambda tx: tx.execute(update(table).values(**values)))


def table_of(admin: Admin, query: str = "") -> list[list[str]]:
    """The download, read as a spreadsheet reads it."""
    answer = admin.client.get(f"{ROOT}/activity/attention.csv{query}")
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(answer.get_data().decode("utf-8-sig"), newline="")))


def next_link(admin: Admin, rel: str = "next") -> str:
    link = admin.page.split(f'rel="{rel}" href="{ROOT}')[1].split('"')[0]
    return link.replace("&amp;", "&")


class TestOnTheActivityPage:
    def test_nobody(self, admin: Admin) -> None:
        admin.open("/activity")
        assert "Nobody. Customers whose wish could not be carried out appear here" in admin.text
        assert "Try all again" not in admin.text

    def test_it_says_who_why_and_what_to_do(self, bounced: int, admin: Admin) -> None:
        admin.open("/activity")
        assert "Mail bounces" in admin.text
        assert admin.text.count("Correct the customer's address") == 1
        assert "ada@example.com" in admin.text
        assert f'href="{ROOT}/customers/{bounced}"' in admin.page

    def test_the_first_few_of_each_reason_lead_to_the_rest(
        self, connected: Host, admin: Admin
    ) -> None:
        fill(connected, 1000)
        fill(connected, 2, "fake", name="f{:05}")
        admin.open("/activity")
        assert "Customers that need attention 1,002" in admin.text
        assert "c00002@example.com" in admin.text
        assert "c00003@example.com" not in admin.text
        assert "See all 1,000" in admin.text
        assert "f00001@example.com" in admin.text
        admin.open("/activity/attention?reason=bounced")
        assert "1 to 50 of 1,000" in admin.text
        assert "f00001@example.com" not in admin.text

    def test_after_trying_again_one_is_where_one_was(
        self, connected: Host, bounced: int, admin: Admin
    ) -> None:
        contact_id = connected.rows("contact")[0].id
        admin.open("/activity")
        data = {"csrf_token": admin.token(), "contact_id": contact_id}
        answer = admin.client.post(f"{ROOT}/activity/retry", data=data)
        assert (answer.status_code, answer.location) == (303, f"{ROOT}/activity#attention")


class TestTryingAgain:
    def test_one(self, connected: Host, bounced: int, admin: Admin) -> None:
        contact_id = connected.rows("contact")[0].id
        admin.open("/activity")
        assert f'name="contact_id" value="{contact_id}"' in admin.page
        admin.send("/activity/retry", contact_id=contact_id, open_first="/activity")
        assert "1 is tried again" in admin.text
        assert "ada@example.com" not in admin.text
        assert connected.rows("contact")[0].refusal is None

    def test_all_of_a_reason(self, connected: Host, admin: Admin) -> None:
        fill(connected, 3)
        fill(connected, 2, "fake", name="f{:05}")
        admin.send("/activity/retry?page=attention", reason="fake", open_first="/activity")
        assert "2 are tried again" in admin.text
        assert "1 to 3 of 3" in admin.text
        assert {row.refusal for row in connected.rows("contact")} == {"bounced", None}

    def test_all(self, connected: Host, bounced: int, admin: Admin) -> None:
        connected.add("not an address", wants_news=True)
        connected.work()
        admin.open("/activity")
        assert "correct the customer’s details" in admin.text
        admin.send("/activity/retry", all="yes", open_first="/activity")
        assert "2 are tried again" in admin.text

    def test_a_customer_whose_row_is_the_problem(self, connected: Host, admin: Admin) -> None:
        bob = connected.add("bob@example.com", wants_news=True, own_list="0123456789")
        connected.work()
        admin.open("/activity")
        assert f'name="customer_key" value="{bob}"' in admin.page
        before = len(connected.rows("outbox"))
        admin.send("/activity/retry", customer_key=bob, open_first="/activity")
        assert "1 is tried again" in admin.text
        assert len(connected.rows("outbox")) == before + 1

    def test_a_customer_by_their_key_and_nobody_else(
        self, connected: Host, bounced: int, admin: Admin
    ) -> None:
        fill(connected, 2)
        admin.send("/activity/retry", customer_key=bounced, open_first="/activity")
        assert "1 is tried again" in admin.text
        refused = {row.address for row in connected.rows("contact") if row.refusal}
        assert refused == {"c00000@example.com", "c00001@example.com"}

    @pytest.mark.parametrize("contact_id", ["999999", "x", "", "9" * 40, "-1", "١"])
    def test_an_unknown_one_does_nothing(
        self, connected: Host, bounced: int, admin: Admin, contact_id: str
    ) -> None:
        admin.send("/activity/retry", contact_id=contact_id, open_first="/activity")
        assert connected.rows("contact")[0].refusal == "bounced"

    def test_one_returns_to_the_same_page_and_search(self, connected: Host, admin: Admin) -> None:
        fill(connected, 3)
        shown = admin.search("c0000", "bounced")
        assert "c0000" not in shown, "no address may get into a log of addresses"
        contact_id = connected.rows("contact")[0].id
        action = admin.page.split('action="/integrations/mailchimp/activity/retry')[-1].split('"')[
            0
        ]
        data = {"csrf_token": admin.token(), "contact_id": contact_id}
        path = f"{ROOT}/activity/retry{action.replace('&amp;', '&')}"
        answer = admin.client.post(path, data=data)
        assert answer.location == ROOT + shown

    def test_in_a_copy_nothing_can_be_tried(self, connected: Host, admin: Admin) -> None:
        fill(connected, 2)
        connected.app.config["MAILCHIMP_OPTIN_PUBLIC_URL"] = "https://other.example.com"
        table = connected.services.tables.connection
        with connected.app.app_context():
            values = {"site": '{"database": "another"}'}
            connected.services.transact(lambda tx: tx.execute(update(table).values(**values)))
        admin.open("/activity/attention")
        assert "c00001@example.com" in admin.text
        assert "Try" not in admin.text


class TestAPageOfTheirOwn:
    def test_nobody(self, admin: Admin) -> None:
        admin.open("/activity/attention")
        assert "Nobody" in admin.text
        assert "Download" not in admin.text

    def test_before_connecting_it_leads_to_the_settings(self, host: Host) -> None:
        admin = Admin(host.app.test_client())
        admin.open("/activity/attention")
        assert "Mailchimp is not connected." in admin.text
        assert table_of(admin)[1:] == []

    def test_every_page_leads_to_the_next_and_back(self, connected: Host, admin: Admin) -> None:
        fill(connected, 70)
        fill(connected, 45, "fake", name="f{:05}")
        admin.open("/activity/attention")
        assert "1 to 50 of 115" in admin.text
        assert 'rel="prev"' not in admin.page
        admin.open(next_link(admin))
        assert "51 to 100 of 115" in admin.text
        assert "c00050@example.com" in admin.text
        assert "f00029@example.com" in admin.text
        admin.open(next_link(admin))
        assert "101 to 115 of 115" in admin.text
        assert 'rel="next"' not in admin.page
        admin.open(next_link(admin, "prev"))
        assert "51 to 100 of 115" in admin.text
        admin.open(next_link(admin, "prev"))
        assert "1 to 50 of 115" in admin.text

    def test_whoever_is_helped_meanwhile_moves_nobody_to_another_page(
        self, connected: Host, admin: Admin
    ) -> None:
        fill(connected, 120)
        admin.open("/activity/attention")
        following = next_link(admin)
        table = connected.services.tables.contact
        helped = update(table).where(table.c.id <= 40).values(refusal=None)
        with connected.app.app_context():
            connected.services.transact(lambda tx: tx.execute(helped))
        admin.open(following)
        assert "c00050@example.com" in admin.text
        assert "c00049@example.com" not in admin.text
        assert "11 to 60 of 80" in admin.text

    def test_the_last_ones_helped_it_begins_again(self, connected: Host, admin: Admin) -> None:
        fill(connected, 60)
        admin.open("/activity/attention")
        following = next_link(admin)
        table = connected.services.tables.contact
        helped = update(table).where(table.c.address >= "c00050").values(refusal=None)
        with connected.app.app_context():
            connected.services.transact(lambda tx: tx.execute(helped))
        admin.open(following)
        assert "1 to 50 of 50" in admin.text

    @pytest.mark.parametrize(
        "place", ["x", ".", "bounced.", "bounced.x", "bounced." + "9" * 30, "\0.1"]
    )
    @pytest.mark.parametrize("word", ["after", "before"])
    def test_a_place_without_sense_is_the_beginning(
        self, connected: Host, admin: Admin, place: str, word: str
    ) -> None:
        fill(connected, 2)
        answer = admin.client.get(f"{ROOT}/activity/attention", query_string={word: place})
        assert "1 to 2 of 2" in " ".join(answer.get_data(as_text=True).split())

    def test_ten_thousand_are_shown_fifty_at_a_time(self, connected: Host, admin: Admin) -> None:
        fill(connected, 10_000)
        admin.open("/activity/attention")
        assert "1 to 50 of 10,000" in admin.text
        assert len(admin.page) < 100_000

    def test_who_came_back_after_being_erased(self, connected: Host, admin: Admin) -> None:
        connected.settings(on_delete="delete")
        ada = connected.add("ada@example.com", wants_news=True)
        connected.work()
        connected.delete(ada)
        connected.work()
        with connected.app.app_context():
            row = {"mail": "ada@example.com", "wants_news": True}
            db.session.connection().execute(Customer.__table__.insert(), [row])
            db.session.commit()
            acts.start_sync(connected.services, "")
        connected.work()
        admin.open("/activity/attention?reason=erased")
        assert "1 to 1 of 1" in admin.text
        assert "ada@example.com" in admin.text
        assert "If the person agreed anew" in admin.text
        assert "Try again" not in admin.text

    def test_a_reason_of_which_there_is_nobody_is_a_match_of_none(
        self, connected: Host, admin: Admin
    ) -> None:
        fill(connected, 1)
        admin.open("/activity/attention?reason=archived")
        assert "Nobody who needs attention matches." in admin.text
        assert "Archived at Mailchimp (0)" in admin.page


class TestSearch:
    @pytest.mark.parametrize(
        ("looked_for", "found"),
        [
            ("c00004@example.com", ["c00004@example.com"]),
            ("  C00004@Example.com ", ["c00004@example.com"]),
            ("0004", ["c00004@example.com"]),
            ("EXAMPLE.COM", [f"c{i:05}@example.com" for i in range(5)] + ["a_b%c@example.com"]),
            ("a_b", ["a_b%c@example.com"]),
            ("c0_", []),
            ("%", ["a_b%c@example.com"]),
            ("/", []),
            ("\\", []),
            ("'; DROP TABLE", []),
            ("\0", [f"c{i:05}@example.com" for i in range(5)] + ["a_b%c@example.com"]),
            ("00\x0004", ["c00004@example.com"]),
            ("🦆", []),
            ("x" * 300, []),
            ("x" * 60_000, []),
            ("%" * 254, []),
        ],
        ids=lambda value: ascii(value)[:20] if isinstance(value, str) else "",
    )
    def test_a_part_of_an_address_is_taken_literally(
        self, connected: Host, looked_for: str, found: list[str]
    ) -> None:
        fill(connected, 5)
        fill(connected, 1, name="a_b%c")
        with connected.app.app_context():
            which = Which(search=looked_for)
            every = list(attention.everybody(connected.services, "", which))
            assert attention.page(connected.services, "", which).total == len(found)
        assert [one.address for one in every] == found

    def test_an_international_address_is_found_as_it_is_written(self, connected: Host) -> None:
        fill(connected, 1, address="ada@xn--mller-kva.example")
        with connected.app.app_context():
            which = Which(search="Ada@Müller.example")
            assert attention.page(connected.services, "", which).total == 1

    def test_a_customers_key_finds_their_contact(
        self, connected: Host, bounced: int, admin: Admin
    ) -> None:
        fill(connected, 3)
        key = 1_000_000 + bounced
        table = connected.services.tables.customer
        with connected.app.app_context():
            values = {"customer_key": str(key)}
            connected.services.transact(lambda tx: tx.execute(update(table).values(**values)))
        admin.search(str(key))
        assert "1 to 1 of 1" in admin.text
        assert "ada@example.com" in admin.text

    def test_and_their_row_without_an_address(self, connected: Host, admin: Admin) -> None:
        connected.add("not an address", wants_news=True)
        bob = connected.add(None, wants_news=True)
        connected.work()
        admin.search(str(bob))
        assert "1 to 1 of 1" in admin.text
        assert f"History of customer {bob}" in admin.text

    def test_no_match_says_so_and_leads_back(self, connected: Host, admin: Admin) -> None:
        fill(connected, 2)
        admin.search("<nobody>")
        assert "No match" in admin.text
        assert 'value="&lt;nobody&gt;"' in admin.page
        assert "Show everybody" in admin.text
        assert "Try all again" not in admin.text

    @pytest.mark.parametrize("typed", ["c0", "gAAAAA", "１", "%00", "x" * 5000])
    def test_an_address_with_what_is_not_ours_finds_everybody(
        self, connected: Host, admin: Admin, typed: str
    ) -> None:
        fill(connected, 2)
        admin.open(f"/activity/attention?q={typed}")
        assert "1 to 2 of 2" in admin.text

    def test_a_search_is_kept_from_page_to_page(self, connected: Host, admin: Admin) -> None:
        fill(connected, 60)
        fill(connected, 10, name="other{:05}")
        admin.search("c0")
        assert "1 to 50 of 60" in admin.text
        admin.open(next_link(admin))
        assert "51 to 60 of 60" in admin.text
        assert "other" not in admin.text


class TestDownload:
    def test_it_has_all_that_is_filtered_in_a_spreadsheets_form(
        self, connected: Host, bounced: int, admin: Admin
    ) -> None:
        fill(connected, 3, "fake")
        answer = admin.client.get(f"{ROOT}/activity/attention.csv")
        assert answer.mimetype == "text/csv"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
        assert answer.get_data().startswith(b"\xef\xbb\xbf")
        head, *rows = table_of(admin)
        assert head[:4] == ["Address", "Customer", "List", "Reason"]
        assert [row[0] for row in rows] == [
            "ada@example.com",
            *(f"c{i:05}@example.com" for i in range(3)),
        ]
        assert rows[0][1:5] == [str(bounced), "Newsletter", "Mail bounces", BOUNCED]
        assert len(table_of(admin, "?reason=fake")) == 4
        found = admin.search("c00001")
        assert len(table_of(admin, found.removeprefix("/activity/attention"))) == 2

    @pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
    def test_no_cell_is_a_formula(self, connected: Host, admin: Admin, first: str) -> None:
        fill(
            connected,
            1,
            address=f"{first}cmd|'/c calc'!a1@example.com",
            refusal_text=f"{first}1,2\n3",
        )
        (_, row) = table_of(admin)
        assert row[0] == f"'{first}cmd|'/c calc'!a1@example.com"
        assert row[4] == f"'{first}1,2\n3"

    def test_very_many_are_read_some_at_a_time(
        self, connected: Host, admin: Admin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flask_mailchimp_optin.attention._AT_ONCE", 7)
        fill(connected, 30)
        fill(connected, 14, "fake", name="f{:05}")
        with connected.app.app_context():
            rows = attention.everybody(connected.services, "", Which())
            read = [next(rows) for _ in range(8)]
            fill(connected, 1, "fake", name="late{:05}")  # while it is under way
            read += rows
        assert len({one.place for one in read}) == len(read) == 45
        assert read[-1].address == "late00000@example.com"
        assert len(table_of(admin)) == 46


def test_only_this_tenants(tmp_path: Path, sandbox: MailchimpSandbox, clock: Clock) -> None:
    tenant = ["a"]
    with hosting(tmp_path, sandbox, clock, tenant=lambda: tenant[0]) as host:
        from flask_mailchimp_optin import connect

        with host.app.app_context():
            connect.connect(host.services, "b", sandbox.api_key)
            connect.connect(host.services, "a", sandbox.api_key)
        fill(host, 3)  # the first list is b's
        admin = Admin(host.app.test_client())
        for path in ("/activity", "/activity/attention", admin.search("c0")):
            assert "c00001@" not in admin.open(path)
        assert len(table_of(admin)) == 1
        theirs = host.rows("contact")[0].id
        admin.send("/activity/retry", contact_id=theirs)
        admin.send("/activity/retry", reason="bounced")
        admin.send("/activity/retry", all="yes")
        assert {row.refusal for row in host.rows("contact")} == {"bounced"}
        tenant[0] = "b"
        admin.open("/activity/attention")
        assert "1 to 3 of 3" in admin.text
