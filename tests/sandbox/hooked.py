"""A webhook's other end: a WSGI application that keeps what it is sent."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request, Response


@dataclass(frozen=True)
class Received:
    """One request to the webhook."""

    method: str
    url: str
    headers: Headers
    body: bytes
    form: dict[str, str]


class Receiver:
    """Answers with the statuses it is given, then 200."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.statuses: list[int] = []
        self.lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        body = request.get_data()
        form = Request({**environ, "wsgi.input": _stream(body)}).form.to_dict()
        with self.lock:
            self.received.append(Received(request.method, request.url, request.headers, body, form))
            status = self.statuses.pop(0) if self.statuses else 200
        return Response(b"", status)(environ, start_response)

    @property
    def rings(self) -> list[dict[str, str]]:
        """The forms that were posted, in order."""
        with self.lock:
            return [one.form for one in self.received if one.method == "POST"]

    @property
    def kinds(self) -> list[str]:
        return [ring["type"] for ring in self.rings]


def _stream(body: bytes) -> object:
    return io.BytesIO(body)
