"""The processes that are killed: a script or web process of the host, and RQ's worker with its child.

Each stops itself before it begins, so that it is traced from its first call on.
"""

from __future__ import annotations

import http.client
import os
import signal
from datetime import timedelta
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from flask_mailchimp_optin import jobs, redis_clients, state
from tests.faults.chaos.forker import Marks, told
from tests.faults.chaos.parts import House
from tests.faults.chaos.scenarios import BY_NAME


class Victims:
    """What a forked child does, by a command that names scenario, actor, time and list."""

    def __init__(self, house: House, marks: Marks) -> None:
        self.house, self.host, self.marks = house, house.host, marks

    def child(self, command: dict[str, Any]) -> None:
        """In the child: be the process that the command names."""
        scenario = BY_NAME[command["scenario"]]
        self.host.clock.ahead = timedelta(seconds=command["ahead"])
        self.host.list_id = command["list_id"]
        try:
            if command["actor"] in ("worker", "machine", "parent"):
                self._work(command["actor"])
            elif scenario.web:
                self._answer_rings(command["rings"])
            else:
                _stop()
                scenario.act(self.host)
                self.marks.has_returned()
        except BaseException as error:
            self.marks.error = told(error)

    def _work(self, actor: str) -> None:
        config = state.of(self.house.app).config
        worker = _Worker(self.house.app, redis_clients.redis_client(config, None))
        worker.marks, worker.actor = self.marks, actor
        if actor == "parent":
            _stop()
        worker.work(burst=True, logging_level="CRITICAL")

    def _answer_rings(self, number: int) -> None:
        server = make_server("127.0.0.1", 0, self.house.app, request_handler=_Quiet)
        server.timeout = 3.0
        self.marks.port = server.server_address[1]
        _stop()
        for _ in range(number):
            server.handle_request()


class _Worker(jobs.OurWorker):
    """Our worker, whose first child may stop itself before it begins, and may take it along."""

    marks: Marks
    actor: str

    def main_work_horse(self, *args: Any) -> None:
        first, self.marks.child = not self.marks.child, os.getpid()
        if first and self.actor != "parent":
            _stop()
        super().main_work_horse(*args)

    def handle_work_horse_killed(self, *args: Any) -> None:
        if self.actor == "machine":
            os.kill(os.getpid(), signal.SIGKILL)
        super().handle_work_horse_killed(*args)  # type: ignore[no-untyped-call]  # RQ's

    # The thread that listens for an operator's commands takes 0.2 s to end, and would get none.
    def subscribe(self) -> None: ...

    def unsubscribe(self) -> None: ...


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Nothing: it would be calls that no host makes."""


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


class Forward:
    """A WSGI application that hands a ring to a web process over HTTP."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = {
            name[5:].replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        } | {"Content-Type": environ.get("CONTENT_TYPE", "")}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        start_response(f"{answer.status} {answer.reason}", [("Content-Type", "text/plain")])
        return [text]
