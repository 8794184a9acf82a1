"""What the demo consists of: Redis, the Mailchimp sandbox, the example application, a worker.

Its files (database, secrets, logs) are in one folder and are kept, so that the next start goes on
where this one stopped; but for the sandbox, which forgets, so that Mailchimp is connected anew.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess  # nosec B404  # to run the demo's own commands
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from cryptography.fernet import Fernet
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker

from flask_mailchimp_optin.testing.redis_server import NoRedisServer, embedded_redis

from .processes import Broken, Processes

HOST = "127.0.0.1"
ADMIN = "admin@example.com"
OTHER_AUDIENCE = "Special offers"
_FLASK = (sys.executable, "-m", "flask", "--app", "example_app")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to start, and where.

    :param folder: the demo's own; made if it is not there.
    :param sandbox: False: talk to the real Mailchimp.
    :param public_url: how Mailchimp reaches the application; None: the sandbox needs no tunnel.
    :param redis_url: a server that runs already; None: start one.
    """

    folder: Path
    port: int = 5000
    sandbox_port: int = 5001
    sandbox: bool = True
    public_url: str | None = None
    redis_url: str | None = None

    @property
    def app_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def queue(self) -> str:
        """One of its own: a Redis that runs already may serve others too."""
        return f"mailchimp_optin_demo_{self.port}"

    @property
    def sandbox_url(self) -> str:
        return f"http://{HOST}:{self.sandbox_port}"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A demo that runs."""

    plan: Plan
    password: str
    api_key: str
    processes: Processes
    redis: Redis

    def check(self) -> None:
        """
        :raises Broken: something ended that should run.
        """
        if not answers_ping(self.redis):  # first: a worker ends without it
            raise Broken("Redis does not answer any more.")
        self.processes.check()


@contextmanager
def staged(plan: Plan) -> Iterator[Stage]:
    """Run everything while the block lasts.

    :raises Broken: something does not start.
    """
    _require_free_ports(plan)
    logs = plan.folder / "logs"
    plan.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    logs.mkdir(exist_ok=True)
    kept = _secrets(plan.folder / "secrets.json")
    with ExitStack() as stack:
        redis_url = plan.redis_url or stack.enter_context(_redis())
        environment = _environment(plan, kept, redis_url)
        stage = Stage(
            plan=plan,
            password=kept["password"],
            api_key=kept["api_key"],
            processes=Processes(logs),
            redis=_client(redis_url),
        )
        stack.callback(_stop, stage)
        _start(stage, environment)
        yield stage


def _stop(stage: Stage) -> None:
    left = stage.processes.stop()
    stage.redis.close()
    if left:
        raise Broken(f"These processes would not end: {left}")


@contextmanager
def _redis() -> Iterator[str]:
    try:
        with embedded_redis() as url:
            yield url
    except NoRedisServer as error:
        raise Broken(str(error)) from None


def _client(url: str) -> Redis:
    try:
        client = Redis.from_url(url, socket_timeout=2.0, socket_connect_timeout=2.0)
    except ValueError as error:
        raise Broken(f"REDIS_URL: {error}.") from None
    if not answers_ping(client):
        raise Broken("No Redis answers at REDIS_URL. Unset it, and the demo starts one of its own.")
    return client


def _require_free_ports(plan: Plan) -> None:
    ports = [("PORT", plan.port)]
    ports += [("SANDBOX_PORT", plan.sandbox_port)] if plan.sandbox else []
    for name, port in ports:
        if not is_free(port):
            raise Broken(
                f"Port {port} is in use on this machine. Choose another one, such as:\n"
                f"  make demo {name}={port + 10}"
            )


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        if probe.connect_ex((HOST, port)) == 0:
            return False
    try:
        socket.create_server((HOST, port)).close()
    except (OSError, OverflowError):
        return False
    return True


def _secrets(path: Path) -> dict[str, str]:
    """Made at the first start; only this user may read them."""
    if not path.exists():
        made = {
            "secret_key": secrets.token_hex(32),
            "encryption_key": Fernet.generate_key().decode(),
            "password": secrets.token_urlsafe(9),
            "api_key": f"{secrets.token_hex(16)}-us6",
        }
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(made, file)
    found: dict[str, str] = json.loads(path.read_text())
    return found


def _environment(plan: Plan, kept: dict[str, str], redis_url: str) -> dict[str, str]:
    """The children's: this process's own, with the configuration of the demo and no other."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MAILCHIMP_OPTIN_", "EXAMPLE_", "FLASK_"))
    }
    database = plan.folder / ("sandbox.sqlite3" if plan.sandbox else "mailchimp.sqlite3")
    made = {
        "EXAMPLE_SECRET_KEY": kept["secret_key"],
        "EXAMPLE_DATABASE_URL": f"sqlite:///{database.absolute()}",
        "MAILCHIMP_OPTIN_ENCRYPTION_KEYS": kept["encryption_key"],
        "MAILCHIMP_OPTIN_REDIS_URL": redis_url,
        "MAILCHIMP_OPTIN_QUEUE": plan.queue,
        "PYTHONUNBUFFERED": "1",
    }
    public_url = plan.public_url or (plan.app_url if plan.sandbox else None)
    if public_url:
        made["MAILCHIMP_OPTIN_PUBLIC_URL"] = public_url
    if plan.sandbox:
        made["MAILCHIMP_OPTIN_API_URL"] = f"{plan.sandbox_url}/3.0/"
        made["NO_PROXY"] = made["no_proxy"] = f"{HOST},localhost"
    return inherited | made


def _start(stage: Stage, environment: dict[str, str]) -> None:
    plan, processes = stage.plan, stage.processes
    if plan.sandbox:
        command = ("mailchimp", "sandbox", "--port", str(plan.sandbox_port))
        key = ("--api-key", stage.api_key)
        processes.start("sandbox", [*_FLASK, *command, *key], environment)
    known = Path(environment["EXAMPLE_DATABASE_URL"].removeprefix("sqlite:///")).exists()
    _run(environment, "init-db", "--admin-email", ADMIN, "--admin-password", stage.password)
    if plan.sandbox:
        processes.wait_for("The sandbox", lambda: _answers(plan.sandbox_url))
        _add_audience(plan.sandbox_url, OTHER_AUDIENCE)
    if plan.sandbox and known:
        # It forgets when it stops: a connection from last time would be with lists that are gone.
        _run(environment, "mailchimp", "disconnect", "--yes", may_fail=True)
    processes.start("worker", [*_FLASK, "mailchimp", "worker"], environment)
    processes.start(
        "example application",
        [*_FLASK, "run", "--host", HOST, "--port", str(plan.port), "--no-reload"],
        environment,
    )
    processes.wait_for("The example application", lambda: _answers(f"{plan.app_url}/login"))
    processes.wait_for("The worker", lambda: _works(stage))


def _run(environment: dict[str, str], *command: str, may_fail: bool = False) -> None:
    done = subprocess.run(  # noqa: S603  # nosec B603  # our own commands
        [*_FLASK, *command], env=environment, capture_output=True, text=True, timeout=60
    )
    if done.returncode != 0 and not may_fail:
        raise Broken(f"flask {command[0]} failed:\n{done.stdout}{done.stderr}")


def direct() -> requests.Session:
    """An HTTP session that uses no proxy: everything is on this machine."""
    session = requests.Session()
    session.trust_env = False
    return session


def _answers(url: str) -> bool:
    try:
        return direct().get(url, timeout=5).ok
    except requests.RequestException:
        return False


def _add_audience(sandbox_url: str, name: str) -> None:
    direct().post(f"{sandbox_url}/audiences", data={"name": name}, timeout=5)


def answers_ping(redis: Redis) -> bool:
    """Whether the server is there."""
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def _works(stage: Stage) -> bool:
    try:
        return bool(Worker.count(queue=Queue(stage.plan.queue, connection=stage.redis)))
    except RedisError:
        return False
