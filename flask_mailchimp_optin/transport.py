"""The only HTTP to Mailchimp: the library's requests over pooled connections with one deadline each.

For ``client``; and for ``doctor``, which looks from outside at our own address. A socket's timeout
starts anew with every byte that arrives, so a server that drips would hold a worker for as long as it
likes: here each read gets only what is left of the request's time. Nothing that leaves here holds a
key, an address or a body.
"""

from __future__ import annotations

import io
import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from http.client import HTTPResponse
from typing import Any, TypeVar

import requests
from mailchimp3 import MailChimp
from requests.adapters import HTTPAdapter
from urllib3 import Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from .errors import MailchimpError, OutcomeUnknown, TryLater
from .problems import CERTIFICATE, CUT_OFF, UNREACHABLE, classified
from .texts import N_

T = TypeVar("T")
_BODY_LIMIT = 32 * 1024 * 1024  # bytes; a page of 1,000 members has about 3 MB
#: A UUID, in whatever form; too little for a key, a secret or an address.
_REQUEST_ID = re.compile(r"[0-9a-fA-F-]{8,36}", re.ASCII)
_OWN_LIMIT = 1024  # bytes that are read of what our own address answers


class Transport(MailChimp):  # type: ignore[misc]  # mailchimp3 ships no types
    """mailchimp3 over one pooled session: a total deadline, no redirects, no proxies, a body cap.

    The library itself has no timeout, follows redirects with the key, honours proxy variables and
    logs bodies; all its requests pass through ``_make_request``.

    :ivar date: the ``Date`` header of the last answer, whatever it said; "" before.
    """

    date = ""

    def __init__(self, api_key: str, *, api_url: str | None, timeout_s: float) -> None:
        super().__init__(mc_api=api_key, mc_user="flask-mailchimp-optin")
        if api_url is not None:
            self.base_url = api_url
        self._timeout_s = timeout_s
        self._session = _session(pool_maxsize=10)

    def _make_request(self, **kwargs: Any) -> requests.Response:
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
        response._content = _without_context(lambda: _body(response, deadline))
        response.encoding = "utf-8"  # else requests guesses it, for minutes with a large body
        if response.status_code >= 300:
            raise _with_id(_refused(response), response)
        return response

    def close(self) -> None:
        self._session.close()


def _refused(response: requests.Response) -> MailchimpError:
    if response.status_code >= 400:
        return classified(response.status_code, _problem(response.content))
    return OutcomeUnknown(
        N_(
            "Mailchimp answered with a redirect, which is never followed with a key. "
            "It will be tried again."
        ),
        status=response.status_code,
    )


def _with_id(error: MailchimpError, response: requests.Response) -> MailchimpError:
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


def _body(response: requests.Response, deadline: float) -> bytes | MailchimpError:
    cut_off = OutcomeUnknown(CUT_OFF, status=response.status_code)
    chunks: list[bytes] = []
    size = 0
    with response:
        try:
            for chunk in response.iter_content(65536):
                chunks.append(chunk)
                size += len(chunk)
                if size > _BODY_LIMIT or time.monotonic() > deadline:
                    return _with_id(cut_off, response)
        except requests.exceptions.RequestException:
            return _with_id(cut_off, response)
    return b"".join(chunks)


def _problem(body: bytes) -> dict[str, Any]:
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
