"""What the soak runs: the sandbox, a Redis of its own, and the host's processes, which may all die."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.redis_server import die_with_parent
from tests.faults.servers import OwnRedis, own_redis
from tests.faults.soak_actor import shut, write
from tests.house import Host, SharedClock, hosting

TIMEOUT_S = 1.0
_QUEUE = "soak"


class World:
    """All parts of one soak, and what was done to them.

    :ivar counts: faults by kind, and what else is counted.
    """

    def __init__(self, host: Host, redis: OwnRedis, folder: Path, seed: int, port: int) -> None:
        self.host, self.redis, self.sandbox = host, redis, host.sandbox
        self.random = random.Random(seed)
        self.folder, self.seed, self.port = folder, seed, port
        self.gate, self.history = folder / "gate", folder / "history"
        self.lists: list[str] = list(host.sandbox.audiences)
        self.counts: Counter[str] = Counter()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._made = 0

    def note(self, line: str) -> None:
        write(self.history, line)

    # Processes

    def ensure(self) -> None:
        """Start what is not there, as a supervisor would."""
        commands = {
            "worker-0": ["flask", "mailchimp", "worker"],
            "worker-1": ["flask", "mailchimp", "worker"],
            "web": ["flask", "run", "--port", str(self.port), "--no-reload"],
            "actor-0": [],
            "actor-1": [],
        }
        for name, command in commands.items():
            process = self.processes.get(name)
            if process is None or process.poll() is not None:
                if process is not None:
                    self.counts["restarts"] += 1
                    self.note(f"restart {name} after {process.returncode}")
                self.processes[name] = self._start(name, command or self._actor())

    def _actor(self) -> list[str]:
        self._made += 1
        seed = str(self.seed * 1000 + self._made)
        return ["tests.faults.soak_actor", seed, str(self.gate), str(self.history)]

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "TEST_FOLDER": str(self.folder),
            "TEST_SANDBOX_URL": self.host.app.config["MAILCHIMP_OPTIN_API_URL"],
            "TEST_QUEUE": _QUEUE,
            "TEST_CLOCK": str(self.folder / "clock"),
            "TEST_TIMEOUT_S": str(TIMEOUT_S),
            "TEST_PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            "TEST_LISTS": ",".join(self.lists),
            "REDIS_URL": self.redis.url,
            "FLASK_APP": "tests.served:create_app",
            # With every other seed two customers are very many, and shared out.
            "TEST_BATCH": str(1 - self.seed % 2),
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )

    def children(self, name: str) -> list[int]:
        """What a worker has forked."""
        pid = self.processes[name].pid
        with suppress(OSError):
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            return [int(child) for child in text.split()]
        return []

    def signal(self, number: int, *pids: int) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self) -> None:
        """Kill whatever runs."""
        for name, process in self.processes.items():
            self.signal(signal.SIGKILL, *self.children(name), process.pid)
            process.wait(10)

    # Time

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Undo something after a while."""
        self._later.append((time.monotonic() + seconds, act))

    def undo(self, *, everything: bool = False) -> None:
        """Do what was put off and is due by now."""
        now = time.monotonic()
        due = [act for at, act in self._later if everything or at <= now]
        self._later = [] if everything else [(at, a) for at, a in self._later if at > now]
        for act in due:
            act()

    @contextmanager
    def nobody_acts(self) -> Iterator[None]:
        """Hold the host's people back; nobody is stopped any more in the middle of something."""
        self.undo(everything=True)
        with shut(self.gate, fcntl.LOCK_EX):
            yield

    def web_answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
            return True
        return False


@contextmanager
def world(folder: Path, seed: int) -> Iterator[World]:
    """Everything started and connected, the initial sync still to come."""
    with ExitStack() as stack:
        redis = stack.enter_context(own_redis())
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port: int = listener.getsockname()[1]
        clock = SharedClock(folder / "clock")
        sandbox = MailchimpSandbox(audiences=("News", "Offers"), clock=clock)
        host = stack.enter_context(
            hosting(
                folder,
                sandbox,
                clock,
                MAILCHIMP_OPTIN_QUEUE=_QUEUE,
                MAILCHIMP_OPTIN_REDIS_URL=redis.url,
                MAILCHIMP_OPTIN_PUBLIC_URL=f"http://127.0.0.1:{port}",
                MAILCHIMP_OPTIN_TIMEOUT_S=TIMEOUT_S,
            )
        )
        sandbox.deliver_to(None)
        made = World(host, redis, folder, seed, port)
        made.gate.touch()
        stack.callback(made.end)
        yield made
