"""The sandbox's own pages, driven as a browser without script does."""

from __future__ import annotations

import re

import pytest
import requests

from flask_mailchimp_optin.testing.sandbox import MailchimpSandbox

ADA = "ada@example.com"


@pytest.fixture
def home(url: str) -> str:
    return url.removesuffix("3.0/")


def act(home: str, list_id: str, name: str, **form: str) -> requests.Response:
    """The page after the act."""
    where = f"{home}audiences/{list_id}/acts"
    return requests.post(where, data={"act": name, **form}, timeout=5)


def test_the_page_says_what_it_is_and_shows_the_key(sandbox: MailchimpSandbox, home: str) -> None:
    page = requests.get(home, timeout=5)
    assert "<title>Overview · Mailchimp sandbox</title>" in page.text
    assert "not Mailchimp" in page.text
    assert sandbox.api_key in page.text
    assert f"{home}3.0/" in page.text


def test_the_pages_need_no_script_and_no_other_host(home: str) -> None:
    page = requests.get(home, timeout=5)
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert (
        requests.get(home + "sandbox.css", timeout=5).headers["Content-Type"].startswith("text/css")
    )


def test_a_person_signs_up_confirms_and_unsubscribes(
    sandbox: MailchimpSandbox, home: str, list_id: str
) -> None:
    sandbox.set_double_optin(list_id, True)
    page = act(home, list_id, "subscribe", email=ADA, FNAME="Ada", LNAME="")
    assert "A confirmation mail waits in the inbox." in page.text
    assert f"Confirm the subscription of {ADA}" in page.text
    assert "confirmed" in act(home, list_id, "confirm", email=ADA).text
    assert sandbox.members(list_id)[ADA]["status"] == "subscribed"
    page = act(home, list_id, "unsubscribe", email=ADA, reason="abuse")
    assert f"{ADA} complained about spam." in page.text
    assert sandbox.status_changes[-1].by == "contact"


def test_a_person_edits_their_profile_and_moves(
    sandbox: MailchimpSandbox, home: str, list_id: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    act(home, list_id, "edit", email=ADA, FNAME="Ada", LNAME="Lovelace", PHONE="")
    page = act(home, list_id, "change", email=ADA, new_email="a+b/c@example.com")
    assert "<h1>a+b/c@example.com</h1>" in page.text
    assert sandbox.members(list_id)["a+b/c@example.com"]["full_name"] == "Ada Lovelace"


@pytest.mark.parametrize(("name", "status"), [("clean", "cleaned"), ("archive", "archived")])
def test_an_administrator_bounces_and_archives(
    sandbox: MailchimpSandbox, home: str, list_id: str, name: str, status: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    act(home, list_id, name, email=ADA)
    assert sandbox.members(list_id)[ADA]["status"] == status


def test_an_administrator_deletes_permanently(
    sandbox: MailchimpSandbox, home: str, list_id: str
) -> None:
    sandbox.subscribe(list_id, ADA)
    assert "Only the hosted form" in act(home, list_id, "delete", email=ADA).text
    assert sandbox.members(list_id) == {}


def test_an_administrator_adds_changes_and_removes_an_audience(
    sandbox: MailchimpSandbox, home: str
) -> None:
    form = {"name": 'A"><b>', "double_optin": "on"}
    page = requests.post(f"{home}audiences", data=form, timeout=5)
    assert "A&#34;&gt;&lt;b&gt;" in page.text
    assert "<b>" not in page.text
    (list_id,) = (key for key, name in sandbox.audiences.items() if name == form["name"])
    assert "Double opt-in is now off." in act(home, list_id, "optin").text
    assert "was deleted" in act(home, list_id, "remove").text
    assert list_id not in sandbox.audiences


def test_members_are_searched_and_paged(sandbox: MailchimpSandbox, home: str, list_id: str) -> None:
    sandbox.add_members(list_id, [f"p{n}@example.com" for n in range(120)])
    where = f"{home}audiences/{list_id}"
    page = requests.get(where, params={"page": "3"}, timeout=5).text
    assert "Page 3 of 3 (120 members)" in page
    assert len(re.findall(r"/members/p\d+%40", page)) == 20
    assert re.findall(r"/members/(p\d+)%40", requests.get(where, {"q": "P77"}, timeout=5).text) == [
        "p77"
    ]


def test_a_mistake_is_explained(home: str, list_id: str) -> None:
    page = act(home, list_id, "subscribe", email="nobody")
    assert "Please enter an email address." in page.text
    assert "no member" in act(home, list_id, "confirm", email=ADA).text


def test_a_message_is_shown_once(home: str, list_id: str) -> None:
    page = act(home, list_id, "subscribe", email=ADA)
    assert "is subscribed to" in page.text
    assert "is subscribed to" not in requests.get(page.url, timeout=5).text


def test_the_hosted_form_signs_up(sandbox: MailchimpSandbox, home: str, list_id: str) -> None:
    form = {"id": list_id, "email": ADA, "FNAME": "Ada"}
    assert "is subscribed to" in requests.post(f"{home}subscribe", data=form, timeout=5).text
    assert sandbox.members(list_id)[ADA]["source"] == "Hosted Signup Form"


def test_other_sites_cannot_act_here(home: str, list_id: str) -> None:
    answer = requests.post(
        f"{home}audiences/{list_id}/acts",
        data={"act": "remove"},
        headers={"Origin": "https://evil.example"},
        timeout=5,
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["audiences/none", "nowhere", "subscribe?id=none"])
def test_what_is_not_there_is_not_found(home: str, path: str) -> None:
    assert requests.get(home + path, timeout=5).status_code == 404
