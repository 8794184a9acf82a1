"""Child processes that end with us, whatever happens. Standard library, and one helper for Linux.

Each child leads a session of its own: Ctrl-C reaches us alone, and we end the children in order. On
Linux the kernel ends them too if we are killed.
"""

from __future__ import annotations

import os
import signal
import subprocess  # nosec B404  # to start the demo's own processes
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from flask_mailchimp_optin.testing.redis_server import die_with_parent

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_S = 6.0  # a worker finishes its job first
_LAST_LINES = 15


class Stopped(BaseException):
    """Somebody asked us to stop: Ctrl-C, SIGTERM or a closed terminal."""


class Broken(Exception):
    """The demo can't go on; the message is for people."""


def stop_on_signals() -> None:
    """Have the first signal raise :class:`Stopped`; those that follow are too late to matter."""

    def stop(_number: int, _frame: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    for number in _SIGNALS:
        signal.signal(number, stop)


class Processes:
    """The children of the demo, in the order of their start."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a child whose output goes to a log file of its name."""
        with self._log(name).open("wb") as log:
            self._children[name] = subprocess.Popen(  # noqa: S603  # nosec B603  # our own commands
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )

    def _log(self, name: str) -> Path:
        return self._logs / f"{name.replace(' ', '-')}.log"

    def wait_for(self, what: str, ready: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait until something is ready.

        :raises Broken: it took too long, or a child died.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise Broken(f"{what} did not start within {timeout_s:.0f} s. See {self._logs}.")
            time.sleep(0.02)

    def check(self) -> None:
        """
        :raises Broken: a child died; the message says which, and its last words.
        """
        for name, child in self._children.items():
            if child.poll() is not None:
                lines = self._log(name).read_text("utf-8", "replace").splitlines()
                last = "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
                raise Broken(f"The {name} ended (exit code {child.returncode}):\n{last}")

    @property
    def ids(self) -> list[int]:
        """The children's process ids, which are those of their sessions too."""
        return [child.pid for child in self._children.values()]

    def stop(self) -> list[int]:
        """End all children, the last one first; the ids of processes that would not end."""
        for child in reversed(self._children.values()):
            _end(child)
        return [pid for leader in self.ids for pid in session_members(leader)]


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ask twice (a worker then drops its job), then kill."""
    for number, patience_s in ((signal.SIGTERM, _PATIENCE_S), (signal.SIGTERM, 2.0)):
        if child.poll() is not None:
            break
        _signal_group(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience_s)
    for pid in session_members(child.pid):  # a worker's job has a group of its own
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + 1.0
    while session_members(child.pid) and time.monotonic() < deadline:
        time.sleep(0.01)


def _signal_group(leader: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, number)


def session_members(session: int) -> list[int]:
    """The ids of the running processes of a session."""
    if not Path("/proc/self/stat").exists():  # macOS: the group is what can be asked for
        try:
            os.killpg(session, 0)
        except (ProcessLookupError, PermissionError):
            return []
        return [session]
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # pid (name) state parent group session; a name may hold blanks and brackets
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.append(int(stat.parent.name))
    return found
