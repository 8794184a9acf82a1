"""The sandbox's login is as strict as Mailchimp's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.sandbox.login import App
from tests.sandbox.conftest import Clock

BACK = "https://host.example.com/back?from=there"


@pytest.fixture
def url(sandbox: MailchimpSandbox) -> Iterator[str]:
    with sandbox.serve() as api:
        yield api.removesuffix("/3.0/")


@pytest.fixture
def registered(sandbox: MailchimpSandbox) -> App:
    return sandbox.register_app(BACK)


def query(registered: App, **other: str) -> dict[str, str]:
    found = {"response_type": "code", "client_id": registered.client_id}
    return found | {"redirect_uri": BACK, "state": "s & t"} | other


def agreed(url: str, registered: App, agree: str = "yes") -> dict[str, list[str]]:
    answer = requests.post(
        f"{url}/oauth2/authorize",
        params=query(registered),
        data={"agree": agree},
        allow_redirects=False,
        timeout=5,
    )
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(BACK)
    return parse_qs(urlsplit(answer.headers["Location"]).query)


def exchanged(url: str, registered: App, code_: str, **other: str) -> requests.Response:
    form = {
        "grant_type": "authorization_code",
        "client_id": registered.client_id,
        "client_secret": registered.client_secret,
        "redirect_uri": BACK,
        "code": code_,
    }
    return requests.post(f"{url}/oauth2/token", data=form | other, timeout=5)


def token(url: str, registered: App) -> str:
    found: dict[str, Any] = exchanged(url, registered, agreed(url, registered)["code"][0]).json()
    assert found == {"access_token": found["access_token"], "expires_in": 0, "scope": None}
    return str(found["access_token"])


def metadata(url: str, header: str) -> requests.Response:
    return requests.get(f"{url}/oauth2/metadata", headers={"Authorization": header}, timeout=5)


def test_the_page_says_who_asks_and_may_send_the_answer_there(url: str, registered: App) -> None:
    page = requests.get(f"{url}/oauth2/authorize", params=query(registered), timeout=5)
    assert page.status_code == 200
    assert "Sandbox Ltd" in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "form-action 'self' https://host.example.com;" in policy


def test_a_token_opens_the_api_until_it_is_revoked(
    url: str, registered: App, sandbox: MailchimpSandbox
) -> None:
    found = token(url, registered)
    about = metadata(url, f"OAuth {found}").json()
    assert (about["dc"], about["accountname"]) == ("us6", "Sandbox Ltd")
    headers = {"Authorization": f"Bearer {found}"}
    assert requests.get(f"{url}/3.0/", headers=headers, timeout=5).status_code == 200
    assert requests.get(f"{url}/3.0/", auth=("x", found), timeout=5).status_code == 401
    sandbox.revoke_tokens()
    assert requests.get(f"{url}/3.0/", headers=headers, timeout=5).status_code == 401
    assert metadata(url, f"OAuth {found}").status_code == 401


def test_who_declines_is_sent_back_without_a_code(url: str, registered: App) -> None:
    assert agreed(url, registered, "no") == {
        "from": ["there"],
        "error": ["access_denied"],
        "state": ["s & t"],
    }


@pytest.mark.parametrize(
    "other",
    [
        {"client_id": "1"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": f"{BACK}&more=yes"},
        {"response_type": "token"},
    ],
)
def test_who_is_not_registered_so_is_sent_nowhere(
    url: str, registered: App, other: dict[str, str]
) -> None:
    for method in ("GET", "POST"):
        answer = requests.request(
            method,
            f"{url}/oauth2/authorize",
            params=query(registered, **other),
            data={"agree": "yes"} if method == "POST" else None,
            allow_redirects=False,
            timeout=5,
        )
        assert answer.status_code == 400


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"client_secret": "0" * 50}, "invalid_client"),
        ({"client_id": "1"}, "invalid_client"),
        ({"redirect_uri": "https://host.example.com/back"}, "invalid_grant"),
        ({"code": "0" * 32}, "invalid_grant"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_a_code_is_exchanged_for_nobody_else(
    url: str, registered: App, other: dict[str, str], error: str
) -> None:
    answer = exchanged(url, registered, agreed(url, registered)["code"][0], **other)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_nor_for_another_application(url: str, registered: App, sandbox: MailchimpSandbox) -> None:
    code = agreed(url, registered)["code"][0]
    assert exchanged(url, sandbox.register_app(BACK), code).status_code == 400


def test_a_code_is_good_for_once_and_ten_minutes(url: str, registered: App, clock: Clock) -> None:
    code = agreed(url, registered)["code"][0]
    assert exchanged(url, registered, code).status_code == 200
    assert exchanged(url, registered, code).status_code == 400
    code = agreed(url, registered)["code"][0]
    clock.advance(601)
    assert exchanged(url, registered, code).status_code == 400


@pytest.mark.parametrize("header", ["", "Bearer {}", "OAuth x", "oauth {}"])
def test_metadata_wants_a_header_of_its_own(url: str, registered: App, header: str) -> None:
    assert metadata(url, header.format(token(url, registered))).status_code == 401


@pytest.mark.parametrize("address", ["http://localhost:5000/x", "ftp://host/x", "/x", ""])
def test_some_addresses_are_not_registered(sandbox: MailchimpSandbox, address: str) -> None:
    with pytest.raises(ValueError, match=r"127|http"):
        sandbox.register_app(address)
