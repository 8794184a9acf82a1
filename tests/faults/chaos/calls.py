"""System calls: which ones a process makes, and a fault at one of them, by ``strace``.

Knows nothing of the project.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

#: Calls that change what others can see, or wait for what others answered. Dying at a call means
#: that it is not made. What lies between two of these (reading files, memory, locks, waiting for a
#: socket, the clock) leaves nothing behind that outlives the process, so dying there is the same as
#: dying at the next of them.
CHANGING = (
    "connect",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "write",
    "pwrite64",
    "ftruncate",
    "fsync",
    "fdatasync",
    "unlink",
    "shutdown",
)
#: For a process whose work is other processes.
FORKING = ("clone", "clone3", "vfork", "fork", "wait4", "kill")

#: The errors that a call may meet, by its name; with a ``+`` all later calls of the name meet it too:
#: a disk that stays full, a server that stays away.
ERRORS = {
    "connect": ("ECONNREFUSED", "ETIMEDOUT", "EINTR", "ECONNREFUSED+"),
    "sendto": ("ECONNRESET", "EPIPE", "ETIMEDOUT", "EINTR"),
    "recvfrom": ("ECONNRESET", "ETIMEDOUT", "EINTR"),
    "pwrite64": ("ENOSPC", "EIO", "ENOSPC+"),
    "ftruncate": ("EIO",),
    "fsync": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO", "ENOSPC"),
    "unlink": ("EIO", "EACCES"),
    "fcntl": ("ENOLCK", "EINTR"),
}


#: Of these, one in so many. They are SQLite's: whatever it had written and locked when it died within
#: a transaction, the next who opens the file rolls back to the same rows.
ONE_IN = {"pwrite64": 4, "fdatasync": 4, "fcntl": 8}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens at the n-th call of a name.

    :param how: ``signal=SIGKILL`` or ``error=…``.
    :param lasting: at all later ones too.
    :param late: the n-th HTTP request, whose answer the call waits for, takes effect only when all
        has been started again and looked at; 0: as soon as it arrives.
    """

    call: str
    number: int
    how: str
    lasting: bool = False
    late: int = 0

    @property
    def is_kill(self) -> bool:
        return self.how == "signal=SIGKILL"

    @property
    def spec(self) -> str:
        """As ``strace -e inject=`` has it."""
        return f"{self.call}:{self.how}:when={self.number}{'+' if self.lasting else ''}"

    def __str__(self) -> str:
        return self.spec + (f" late={self.late}" if self.late else "")


@dataclass(frozen=True)
class Calls:
    """The calls of a dry run: by name, and number in its thread, the port that it spoke to (0: none).

    ``when=`` counts for each thread, so a number stands for the first thread that gets there; what
    the others do then is read from Mailchimp, a few members at once, which changes nothing.
    """

    made: dict[str, dict[int, int]] = field(default_factory=dict)
    #: By the number of a ``recvfrom``: the HTTP request, counted from 1, that it reads the answer to, if
    #: that was to change something.
    awaits: dict[int, int] = field(default_factory=dict)


def missing() -> str | None:
    """Why processes can't be traced here; None if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    try:
        done = subprocess.run(
            ["strace", "-o", "/dev/null", "true"], capture_output=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"strace does not run: {error}"
    return None if done.returncode == 0 else "strace may not trace processes here"


class Strace:
    """``strace`` at work on a process that has stopped itself, which goes on once it is traced."""

    def __init__(
        self, pid: int, names: tuple[str, ...], log: Path, fault: Fault | None, *, follow: bool
    ) -> None:
        self.log = log
        command = ["strace", "-o", str(log)]
        if fault is None:
            command += ["-e", f"trace={','.join('?' + name for name in names)}"]
        else:
            command += ["-e", f"trace={fault.call}", "-e", f"inject={fault.spec}"]
        self._process = subprocess.Popen(
            [*command, *(["-f"] if follow else []), "-p", str(pid)],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        said = self._process.stderr.readline()
        if "attached" not in said:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"strace could not trace: {said}")
        os.kill(pid, signal.SIGCONT)

    def end(self, within_s: float = 30.0) -> bool:
        """Wait until all that it traced has ended; False, and no longer traced, if that never was."""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        finally:
            assert self._process.stderr is not None
            self._process.stderr.close()
        return True

    def calls(self) -> Calls:
        """Which calls were made."""
        calls, ports = Calls(), dict[str, int]()
        each: dict[tuple[str, str], int] = {}
        requests, open_ = 0, dict[str, int]()
        for line in self.log.read_text(errors="replace").splitlines():
            found = re.match(r"(?:(\d+) +)?(\w+)\((\d*)", line)
            if not found:
                continue
            thread, name, file = found[1] or "", found[2], found[3]
            port = re.search(r"sin6?_port=htons\((\d+)\)", line) if name == "connect" else None
            if port:
                ports[file], open_[file] = int(port[1]), 0
            number = each[thread, name] = each.get((thread, name), 0) + 1
            calls.made.setdefault(name, {}).setdefault(number, ports.get(file, 0))
            if name == "sendto":
                verb = re.search(r'\(\d+, "(GET|POST|PUT|PATCH|DELETE) /', line)
                requests += verb is not None
                if verb:
                    open_[file] = 0 if verb[1] == "GET" else requests
            elif name == "recvfrom" and open_.get(file):
                calls.awaits.setdefault(number, open_[file])
        return calls

    def struck(self) -> bool:
        """Whether the fault came to pass."""
        text = self.log.read_text(errors="replace")
        return "(INJECTED)" in text or "+++ killed by SIGKILL" in text

    def struck_a_database(self) -> bool:
        """Whether a write failed that was neither HTTP nor Redis: in a thread that the dry run's
        numbers do not stand for, it may be the database's.
        """
        failed = re.findall(
            r'sendto\(\d+, "(.*) = -1 .*\(INJECTED\)', self.log.read_text(errors="replace")
        )
        return any(not re.match(r"(GET|POST|PUT|PATCH|DELETE) /|\*\d", text) for text in failed)


def kills(calls: Calls, names: Iterable[str]) -> list[Fault]:
    """Death at each call."""
    return [
        Fault(call=name, number=number, how="signal=SIGKILL")
        for name in names
        for number in calls.made.get(name, ())
        if number % ONE_IN.get(name, 1) == 0
    ]


def landing_late(calls: Calls, faults: Iterable[Fault]) -> list[Fault]:
    """Of these, those in which the answer to a request fails to come; now the request is late too."""
    return [
        replace(fault, late=calls.awaits[fault.number])
        for fault in faults
        if fault.call == "recvfrom" and fault.number in calls.awaits and "EINTR" not in fault.how
    ]


def errors(calls: Calls, deaf_port: int | None) -> list[Fault]:
    """An error at each call, in turn those that it may meet.

    :param deaf_port: where nobody notices a failed write: there it is only interrupted.
    """
    found = []
    for name, words in ERRORS.items():
        each = ONE_IN.get(name, 1)
        for number, port in calls.made.get(name, {}).items():
            if number % each:
                continue
            word = words[number // each % len(words)]
            if name == "sendto" and deaf_port is not None and port in (0, deaf_port):
                word = "EINTR"
            how, lasting = f"error={word.rstrip('+')}", word.endswith("+")
            found.append(Fault(call=name, number=number, how=how, lasting=lasting))
    return found
