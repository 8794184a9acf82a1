"""The only HTTP to Mailchimp: the library's requests over pooled connections with one deadline each.

For ``client`` and ``login``; and for ``doctor``, which looks from outside at our own address. A socket's
timeout starts anew with every byte that arrives, so a server that drips would hold a worker for as long
as it likes: here each read gets only what is left of the request's time. Nothing that leaves here holds
a key, an address or a body.
"""

from __future__ import annotations

import io
import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from .credential import Credential
from .errors import MailchimpError, OutcomeUnknown, TryLater
from .problems import CERTIFICATE, CUT_OFF, UNREACHABLE, classified
from .texts import N_

if TYPE_CHECKING:

    class MailChimp:
        """mailchimp3 ships no types: what is used of it."""

        auth: AuthBase
        base_url: str

        def __init__(self, *, mc_api: str, mc_user: str) -> None: ...
        def _get(self, url: str, **query: Any) -> Any: ...
        def _post(self, url: str, data: Any = None) -> Any: ...
        def _patch(self, url: str, data: Any = None) -> Any: ...
        def _delete(self, url: str) -> Any: ...
        def _make_request(self, **kwargs: Any) -> requests.Response: ...

else:
    from mailchimp3 import MailChimp

T = TypeVar("T")
_BODY_LIMIT = 32 * 1024 * 1024  # bytes; a page of 1,000 members has about 3 MB
#: A UUID, in whatever form; too little for a key, a secret or an address.
_REQUEST_ID = re.compile(r"[0-9a-fA-F-]{8,36}", re.ASCII)
_OWN_LIMIT = 1024  # bytes that are read of what our own address answers


class Header(AuthBase):
    """An ``Authorization`` header; nothing that could be shown holds what is in it."""

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._authorization
        return request


class Form(AuthBase):
    """A form that says who asks, in place of a header; not shown either."""

    def __init__(self, **credentials: str | None) -> None:
        self._credentials = credentials

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.prepare_body(self._credentials, None)
        return request


class Wire:
    """Requests over one pooled session: a total deadline, no redirects, no proxies, a body cap.

    :ivar date: the ``Date`` header of the last answer, whatever it said; "" before.
    """

    date: str = ""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._session = _session(pool_maxsize=10)

    def request(self, **kwargs: Any) -> requests.Response:
        """The answer, whole, whatever its status.

        :raises OutcomeUnknown: it was a redirect, too large or too late.
        :raises TryLater: nothing was sent.
        """
        deadline = time.monotonic() + self._timeout_s
        connect_s = min(10.0, self._timeout_s)
        kwargs.update(
            timeout=Timeout(total=self._timeout_s, connect=connect_s, read=self._timeout_s),
            allow_redirects=False,
            stream=True,
        )
        kwargs.pop("hooks", None)
        response = _without_context(lambda: _opened(self._session, kwargs))
        self.date = response.headers.get("Date", "")
        response._content = _without_context(lambda: _body(response, deadline)).getvalue()
        response.encoding = "utf-8"  # else requests guesses it, for minutes with a large body
        if 300 <= response.status_code < 400:
            error = OutcomeUnknown(
                N_(
                    "Mailchimp answered with a redirect, which is never followed with a key. "
                    "It will be tried again."
                ),
                status=response.status_code,
            )
            raise with_id(error, response)
        return response

    def close(self) -> None:
        """Give the pooled connections back."""
        self._session.close()


class Transport(MailChimp):
    """mailchimp3 over a :class:`Wire`.

    The library itself has no timeout, follows redirects with the key, honours proxy variables and
    logs bodies; all its requests pass through ``_make_request``. For a token it would ask for the data
    centre first, and believe any answer: so it is told of a key that is none.
    """

    def __init__(self, credentials: Credential, *, api_url: str | None, timeout_s: float) -> None:
        is_token = credentials.is_token
        super().__init__(
            mc_api=f"{'0' * 32}-{credentials.datacentre}" if is_token else credentials.secret,
            mc_user="flask-mailchimp-optin",
        )
        if is_token:
            self.auth: AuthBase = Header(f"Bearer {credentials.secret}")
        if api_url is not None:
            self.base_url = api_url
        self._is_token = is_token
        self._wire = Wire(timeout_s)

    def _make_request(self, **kwargs: Any) -> requests.Response:
        response = self._wire.request(**kwargs)
        if response.status_code >= 400:
            problem = problem_of(response.content)
            error = classified(response.status_code, problem, by_token=self._is_token)
            raise with_id(error, response)
        return response

    @property
    def date(self) -> str:
        """The ``Date`` header of the last answer; "" before."""
        return self._wire.date

    def close(self) -> None:
        self._wire.close()


def with_id(error: MailchimpError, response: requests.Response) -> MailchimpError:
    """The error with the request's id, if it is one: whoever answered may have written anything."""
    told = response.headers.get("X-Request-Id", "")
    if _REQUEST_ID.fullmatch(told):
        error.request_id = told
    return error


def own_answer(url: str, timeout_s: float) -> tuple[int, bytes] | None:
    """What an address of our own answers to a GET: its status, and the first kilobyte.

    No redirect is followed, and no proxy asked.

    :returns: None if there was no answer in that time.
    """
    deadline = Timeout(total=timeout_s, connect=timeout_s, read=timeout_s)
    asked = {"timeout": deadline, "allow_redirects": False, "stream": True}
    with _session(pool_maxsize=1) as session:
        found = _opened(session, {"method": "GET", "url": url, **asked})
        if isinstance(found, MailchimpError):
            return None
        with found:
            try:
                return found.status_code, found.raw.read(_OWN_LIMIT, decode_content=False)
            except (HTTPError, OSError):
                return None


def _session(pool_maxsize: int) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    adapter = _Adapter(pool_connections=1, pool_maxsize=pool_maxsize, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _without_context(call: Callable[[], T | MailchimpError]) -> T:
    """What the call returns, raised if it is an error of ours.

    Raised here and not where another exception is handled: requests' exceptions hold the prepared
    request with its key and its body, and would stay reachable as the error's context.
    """
    found = call()
    if isinstance(found, MailchimpError):
        raise found
    return found


def _opened(
    session: requests.Session, kwargs: Mapping[str, Any]
) -> requests.Response | MailchimpError:
    try:
        return session.request(**kwargs)
    except requests.exceptions.ConnectTimeout:
        return TryLater(UNREACHABLE)
    except requests.exceptions.SSLError as error:
        # The certificate is looked at before anything is sent; what fails later may have been.
        refused = "SSLCertVerificationError" in repr(error)
        return TryLater(CERTIFICATE) if refused else OutcomeUnknown(CUT_OFF)
    except requests.exceptions.ConnectionError as error:
        return TryLater(UNREACHABLE) if _never_sent(error) else OutcomeUnknown(CUT_OFF)
    except requests.exceptions.RequestException:
        return OutcomeUnknown(CUT_OFF)


def _never_sent(error: requests.exceptions.ConnectionError) -> bool:
    # urllib3 wraps what failed while connecting; after that the request may have gone out.
    text = repr(error)
    return "NewConnectionError" in text or "NameResolutionError" in text


def _body(response: requests.Response, deadline: float) -> io.BytesIO | MailchimpError:
    """The whole body, in no variable that could be shown: an answer may hold a secret."""
    body, cut_off = io.BytesIO(), OutcomeUnknown(CUT_OFF, status=response.status_code)
    with response:
        try:
            pieces = response.iter_content(65536)
            while body.write(next(pieces, b"")):
                if body.tell() > _BODY_LIMIT or time.monotonic() > deadline:
                    return with_id(cut_off, response)
        except requests.exceptions.RequestException:
            return with_id(cut_off, response)
    return body


def problem_of(body: bytes) -> dict[str, Any]:
    """The problem document of an answer; empty where it isn't one (HTML, a list, nothing)."""
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


# The deadline


class _Until(io.RawIOBase):
    """A socket's reading end that stops at a point in time."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        # urllib3 has just set the socket's timeout to what is left of the request's time.
        left_s = sock.gettimeout()
        self._ends_at = None if left_s is None else time.monotonic() + left_s
        self._sock, self._raw = sock, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._ends_at is not None:
            left_s = self._ends_at - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("The deadline has passed.")
            self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_Until(sock, raw))


class _Plain(HTTPConnection):
    response_class = _Response


class _Tls(HTTPSConnection):
    response_class = _Response


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


class _Adapter(HTTPAdapter):
    """``requests`` over connections whose reads end when the request's total timeout does.

    To be used with ``timeout=urllib3.Timeout(total=…)``.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
