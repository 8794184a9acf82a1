"""A process with the application loaded, which forks the processes that are to be killed.

Knows nothing of the project.
"""

from __future__ import annotations

import ctypes
import json
import logging
import mmap
import os
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


class Marks:
    """What a process that may be killed at any call tells without making one: shared memory."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 4096)

    def clear(self) -> None:
        self._memory[:] = bytes(4096)

    @property
    def returned(self) -> bool:
        """The act came back to its caller."""
        return self._memory[0] == 1

    def has_returned(self) -> None:
        self._memory[0] = 1

    @property
    def child(self) -> int:
        """The pid of the latest child that the process forked itself; 0: none."""
        return int(struct.unpack_from("<I", self._memory, 4)[0])

    @child.setter
    def child(self, pid: int) -> None:
        struct.pack_into("<I", self._memory, 4, pid)

    @property
    def port(self) -> int:
        """Where a web process listens."""
        return int(struct.unpack_from("<I", self._memory, 8)[0])

    @port.setter
    def port(self, number: int) -> None:
        struct.pack_into("<I", self._memory, 8, number)

    @property
    def error(self) -> str:
        return self._memory[12:].rstrip(b"\0").decode("utf-8", "replace")

    @error.setter
    def error(self, text: str) -> None:
        raw = text.encode("utf-8", "replace")[-4000:]
        self._memory[12 : 12 + len(raw)] = raw


class Forker:
    """A process without threads or connections, the application loaded: forks what is to be killed.

    A child stops itself before it begins, so that it can be traced from its first call on.
    """

    def __init__(self, child: Callable[[dict[str, Any]], None]) -> None:
        here, there = socket.socketpair()
        self._child = child
        self.pid = os.fork()
        if self.pid == 0:
            here.close()
            self._serve(there)
        there.close()
        self._file = here.makefile("rw")
        here.close()

    def start(self, command: dict[str, Any]) -> int:
        """Fork a child for this command; its pid."""
        return int(self._ask(command))

    def wait(self) -> int:
        """Wait for the end of the child; its status as ``waitpid`` gives it."""
        return int(self._ask("wait"))

    def close(self) -> None:
        self._file.close()
        os.waitpid(self.pid, 0)

    def _ask(self, what: Any) -> Any:
        self._file.write(json.dumps(what) + "\n")
        self._file.flush()
        return json.loads(self._file.readline())

    def _serve(self, connection: socket.socket) -> NoReturn:
        # What outlives its parent comes here instead of to a process that may never wait for it.
        ctypes.CDLL(None).prctl(_SUBREAPER, 1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logging.disable(logging.CRITICAL)
        file, pid = connection.makefile("rw"), 0
        for line in file:
            asked = json.loads(line)
            if asked == "wait":
                answer = os.waitpid(pid, 0)[1]
            else:
                answer = pid = self._fork(asked, connection)
            file.write(json.dumps(answer) + "\n")
            file.flush()
        os._exit(0)

    def _fork(self, command: dict[str, Any], connection: socket.socket) -> int:
        while _reap():
            pass
        pid = os.fork()
        if pid == 0:
            connection.close()
            try:
                self._child(command)
            finally:
                os._exit(0)
        return pid


def _reap() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def state_of_process(pid: int) -> str:
    """The kernel's letter for a process: ``T`` stopped, ``t`` traced, ``Z`` or "" ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


def told(error: BaseException) -> str:
    """An error with its trace, as text."""
    return "".join(traceback.format_exception(error))
