"""Serves the sandbox over HTTP on this machine, for as long as a ``with`` block lasts.

Imports Werkzeug only.
"""

from __future__ import annotations

import errno
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

_BACKLOG = 256


class _QuietHandler(WSGIRequestHandler):
    """Requests are recorded by the sandbox, not logged."""

    def log_request(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    def log_error(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: broken connections are broken on purpose."""

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        self.close_connection = True


@contextmanager
def served(
    app: Callable[..., Any], host: str, port: int, closing: Callable[[], None]
) -> Iterator[str]:
    """Serve the application in a thread of its own; yields ``http://host:port/``.

    :param closing: called when the block ends, to wake requests that wait on purpose.
    :raises OSError: the port is taken, or may not be used.
    """
    listener = _listener(host, port)
    with listener:
        server = make_server(
            host, port, app, threaded=True, request_handler=_QuietHandler, fd=listener.fileno()
        )
    thread = threading.Thread(
        target=server.serve_forever,
        kwargs={"poll_interval": 0.01},
        name="mailchimp-sandbox-server",
        daemon=True,
    )
    thread.start()
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_address[1]}/"
    finally:
        closing()
        server.shutdown()
        thread.join(5)
        server.server_close()


def hangs_up(environ: Mapping[str, Any], seconds: float) -> bool:
    """Whether the client closes its connection in that time; else all of it has passed."""
    connection = environ.get("werkzeug.socket")
    if not isinstance(connection, socket.socket) or connection.fileno() < 0:
        time.sleep(seconds)
        return False
    readable, _, _ = select.select([connection], [], [], seconds)
    if not readable:
        return False
    try:
        more = connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return True
    if more:  # the next request, before this one's answer
        time.sleep(seconds)
    return not more


def _listener(host: str, port: int) -> socket.socket:
    # Werkzeug would end the process if it could not bind.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(
            error.errno,
            f"Port {port} on {host} is in use: another sandbox? Choose another port, or 0 for any.",
        ) from None
