"""Mailchimp's login: OAuth 2's authorization code, which becomes an access token.

Beside ``client`` the only one who speaks to Mailchimp, over the same protected connections. The
token's data centre is checked before anything is sent there.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any
from urllib.parse import urlencode, urlsplit

from .config import Config
from .credential import TOKEN_FORM, Credential
from .errors import MailchimpError, OutcomeUnknown, RefusedInput, TryLater
from .problems import TOKEN_REFUSED, classified
from .texts import N_
from .transport import Form, Header, Wire, problem_of

SERVER = "https://login.mailchimp.com/oauth2/"
_UNREADABLE = N_(
    "Mailchimp’s login did not answer as it should. Nothing was changed: connect again in a little "
    "while."
)


def server(config: Config) -> str:
    """Where one logs in: at Mailchimp, or at the server that stands for it."""
    return SERVER if config.API_URL is None else f"{config.API_URL.removesuffix('3.0/')}oauth2/"


def origins(config: Config) -> str:
    """Where a browser is sent to log in, for a content security policy."""
    if config.API_URL is None:
        return "https://*.mailchimp.com"
    parts = urlsplit(config.API_URL)
    return f"{parts.scheme}://{parts.netloc}"


def address(config: Config, state: str) -> str:
    """The page at Mailchimp where an administrator agrees.

    :param state: comes back with the answer, and shows that it is the answer to this.
    """
    query = {
        "response_type": "code",
        "client_id": config.OAUTH_CLIENT_ID,
        "redirect_uri": config.oauth_redirect,
        "state": state,
    }
    return f"{server(config)}authorize?{urlencode(query)}"


def fetch(config: Config, authorization: str) -> Credential:
    """The access token for a code that Mailchimp gave, and where its account is.

    :raises RefusedInput: Mailchimp doesn't take the code, or doesn't know the application.
    :raises MailchimpError: it could not be reached, or answered with something else.
    """
    with closing(Wire(config.TIMEOUT_S)) as wire:
        token = _text(_told(wire, config, "token", _form(config, authorization)), "access_token")
        if not TOKEN_FORM.fullmatch(token):
            raise TryLater(_UNREADABLE)
        about = _told(wire, config, "metadata", Header(f"OAuth {token}"))
        found = Credential.of_token(token, _text(about, "dc"))
    if found is None:
        raise TryLater(_UNREADABLE)
    return found


def _form(config: Config, authorization: str) -> Form:
    return Form(
        grant_type="authorization_code",
        client_id=config.OAUTH_CLIENT_ID,
        client_secret=config.OAUTH_CLIENT_SECRET,
        redirect_uri=config.oauth_redirect,
        code=authorization,
    )


def _told(wire: Wire, config: Config, what: str, auth: Form | Header) -> Any:
    """The answer of one of the two, not yet read: it holds the token."""
    method = "POST" if what == "token" else "GET"
    try:
        answer = wire.request(method=method, url=f"{server(config)}{what}", auth=auth)
    except OutcomeUnknown:
        # A code is good for once: whatever became of it, there is nothing to send again.
        answer = None
    if answer is None or (answer.status_code != 200 and answer.status_code < 400):
        raise TryLater(_UNREADABLE)
    if answer.status_code >= 400:
        raise _refusal(what, answer.status_code, problem_of(answer.content))
    return answer


def _refusal(what: str, status: int, problem: dict[str, Any]) -> MailchimpError | RefusedInput:
    error = str(problem.get("error"))
    if what == "metadata" and status == 401:
        return RefusedInput(TOKEN_REFUSED)
    if what == "token" and (status == 401 or error in ("invalid_client", "unauthorized_client")):
        return RefusedInput(
            N_(
                "Mailchimp does not know this application: its MAILCHIMP_OPTIN_OAUTH_CLIENT_ID or "
                "MAILCHIMP_OPTIN_OAUTH_CLIENT_SECRET is wrong. Ask whoever runs it. Nothing was changed."
            )
        )
    if what == "token" and status == 400:
        return RefusedInput(
            N_(
                "Mailchimp did not take back what it had answered with: it was used already, is too "
                "old, or the redirect address that is registered there is another one. Nothing was "
                "changed: connect again."
            )
        )
    found = classified(status, problem, by_token=True)
    return TryLater(_UNREADABLE) if isinstance(found, OutcomeUnknown) else found


def _text(answer: Any, name: str) -> str:
    try:
        api_key = answer.json()[name]
    except (ValueError, RecursionError, LookupError, TypeError):
        api_key = None
    if not isinstance(api_key, str):
        raise TryLater(_UNREADABLE)
    return api_key
