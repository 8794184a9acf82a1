"""Worker processes for tests: started, looked at, killed, and always ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import redis

from flask_mailchimp_optin import state
from tests import canary
from tests.house import Host


def until(what: Callable[[], object], *, within_s: float = 30.0) -> float:
    """Wait until something is true; the seconds it took.

    :raises AssertionError: it never was.
    """
    begin = time.monotonic()
    while not what():
        assert time.monotonic() - begin < within_s, f"{what} is still not so after {within_s} s"
        time.sleep(0.02)
    return time.monotonic() - begin


class Parts:
    """A host with a real queue, and its workers."""

    def __init__(self, host: Host, folder: Path, redis_url: str, queue: str) -> None:
        self.host, self.queue = host, queue
        self.redis = redis.Redis.from_url(redis_url)
        self._others = set(self.redis.scan_iter())
        self.environment = {
            **os.environ,
            "TEST_FOLDER": str(folder),
            "TEST_SANDBOX_URL": host.app.config["MAILCHIMP_OPTIN_API_URL"],
            "TEST_QUEUE": queue,
            "REDIS_URL": redis_url,
            "FLASK_APP": "tests.served:create_app",
            "TEST_LOG": "DEBUG",
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._log = (folder / "processes.log").open("ab")

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a Python module as a process that ends with the test."""
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=self.environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        """``flask mailchimp worker``, up and idle."""
        before = self.redis.scard(f"rq:workers:{self.queue}")
        process = self.run("flask", "mailchimp", "worker")
        until(lambda: self.redis.scard(f"rq:workers:{self.queue}") != before)
        until(self.idle)
        return process

    def idle(self) -> bool:
        """Whether nothing waits in the queue and nothing is due."""
        from flask_mailchimp_optin import waiting

        with self.host.app.app_context():
            due = waiting.connections_with_work(state.of(self.host.app).services)
        return not due and self.redis.llen(f"rq:queue:{self.queue}") == 0

    def children(self, process: subprocess.Popen[bytes]) -> list[int]:
        """The processes that a worker has forked."""
        path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def log(self) -> str:
        """What the processes have written, debug messages included."""
        return Path(self._log.name).read_text(errors="replace")

    def in_redis(self) -> str:
        """All that was put into Redis since, keys and values, as far as it is text."""
        keys = set(self.redis.scan_iter()) - self._others
        held = [key + b" " + (self.redis.dump(key) or b"") for key in keys]
        return b"\n".join(held).decode(errors="replace")

    def stop(self) -> None:
        """End every process, and whatever it forked; nothing secret may have been written by them."""
        for process in self._processes:
            pids = []
            with suppress(OSError):
                pids = self.children(process)
            for pid in [process.pid, *pids]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(10)
        held = canary.found_in(self.in_redis())
        for key in self.redis.scan_iter(match=f"*{self.queue}*"):
            self.redis.delete(key)
        self.redis.close()
        self._log.close()
        assert held == [], "in Redis"
        assert canary.found_in(self.log()) == [], "in the log"
