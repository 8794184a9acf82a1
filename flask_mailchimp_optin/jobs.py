"""RQ: the queue, the jobs' entry points, and the worker. Edge.

Waking is a hint: all truth is in the database, and :func:`sweep` finds whatever no job was made for.
Job arguments are opaque ids, the serializer is JSON, and only functions of this module run.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import email_validator  # noqa: F401  # jobs fork: what a job imports, each imports anew
from flask import Flask, current_app, has_app_context
from flask.cli import ScriptInfo
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker, get_current_job, worker_registration
from rq.job import Job
from rq.serializers import JSONSerializer

from . import drain, lease, retention, state, waiting
from .config import Config
from .redis_clients import redis_client
from .waking import FLAG_S, PREFIX, enqueue, flag

if TYPE_CHECKING:
    from rq.webhook import Webhook  # not in every version

logger: logging.Logger = logging.getLogger("flask_mailchimp_optin")

ALLOWED = ("work", "drain_connection", "sweep")
_PATIENCE_S = 5.0  # how long a worker waits for Redis
_SLICE_S = 2.0  # after which a connection lets others have their turn
_LONGEST_S = 30.0  # and after which its job ends, if nobody else has anything to do


def queue(name: str, redis: Redis) -> Queue:
    """Our queue: JSON, and our jobs only."""
    return Queue(name, connection=redis, serializer=JSONSerializer, job_class=OurJob)


def crew(config: Config, redis: Redis) -> tuple[int, int]:
    """How many workers listen on our queue, and how many jobs wait there."""
    ours = queue(config.QUEUE, redis)
    return len(Worker.all(queue=ours)), ours.count


class OurJob(Job):
    """A job that runs nothing but the functions of this module, whatever Redis says.

    A job of RQ's may also name functions that are called, and addresses that are told, when it ends:
    ours has none.
    """

    @property
    def success_callback(self) -> None:
        """None."""

    @property
    def failure_callback(self) -> None:
        """None."""

    @property
    def stopped_callback(self) -> None:
        """None."""

    def restore(self, raw_data: Any) -> Any:
        """Read from Redis; what it says of callbacks and webhooks is dropped."""
        found = super().restore(raw_data)
        self.webhooks: list[Webhook] = []
        return found

    @property
    def func(self) -> Any:
        """The function to run.

        :raises PermissionError: it is not one of ours.
        """
        name = self.func_name or ""
        function = name.removeprefix(PREFIX)
        if not name.startswith(PREFIX) or function not in ALLOWED or self.instance is not None:
            raise PermissionError("This job is not one of Flask-Mailchimp-Optin's; it was not run.")
        return globals()[function]


# What jobs do


def work() -> None:
    """Work everything off that is due; the job that a commit or a ring asks for."""
    _in_app(_work)


def drain_connection(connection_id: int) -> None:
    """Go on with one connection whose work is more than one job's time."""
    _in_app(_drain, connection_id)


def sweep() -> None:
    """Find due work in the database. Idempotent; safe anywhere, at any time."""
    _in_app(_sweep)


def _in_app(function: Any, *ids: int) -> None:
    """Inside the application: the worker's, or the one that the ``flask`` command would load."""
    if has_app_context():
        function(current_app._get_current_object(), *ids)  # type: ignore[attr-defined]
        return
    app = ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()
    with app.app_context():
        function(app, *ids)


def _work(app: Flask) -> None:
    here = state.of(app)
    # Before anything is read: whoever commits from now on wakes the next job.
    _with_redis(here.config, lambda redis: redis.delete(flag(here.config.QUEUE)))
    found = waiting.connections_with_work(here.services)
    if get_current_job() is not None:  # other workers may take the others
        for connection_id in reversed(found[1:]):
            _ask_for(here.config, connection_id, at_front=True)
        found = found[:1]
    for connection_id in found:
        _drain(app, connection_id)


def _sweep(app: Flask) -> None:
    retention.tidy(state.of(app).services)
    _work(app)


def _drain(app: Flask, connection_id: int) -> None:
    """A slice, and another as long as nobody else has anything to do."""
    here = state.of(app)
    _with_redis(here.config, lambda redis: redis.delete(flag(here.config.QUEUE, connection_id)))
    more = drain.drain(
        here.services, connection_id, owner(), budget_s=_SLICE_S, longest_s=_LONGEST_S
    )
    if more:
        _ask_for(here.config, connection_id)


def _ask_for(config: Config, connection_id: int, *, at_front: bool = False) -> None:
    """A job for this connection, unless one is waiting."""
    name = flag(config.QUEUE, connection_id)

    def ask(redis: Redis) -> None:
        if redis.set(name, b"1", nx=True, ex=FLAG_S):
            enqueue(queue(config.QUEUE, redis), "drain_connection", connection_id, front=at_front)

    _with_redis(config, ask)


def _with_redis(config: Config, act: Callable[[Redis], Any]) -> None:
    """Something that is only a hint, with more patience than a commit has; a sweep makes up for it."""
    redis = redis_client(config, _PATIENCE_S)
    try:
        act(redis)
    except (RedisError, OSError):
        logger.warning("redis is not reachable")
    finally:
        redis.close()


def owner() -> str:
    """Names this process in a lease."""
    return f"{socket.gethostname()[:24]}:{os.getpid()}"[:40]


def run_until_idle(app: Flask) -> None:
    """Work everything off in this process until nothing is due: for tests and ``--burst``."""
    with app.app_context():
        retention.tidy(state.of(app).services)
        for _ in range(1000):
            pending = waiting.connections_with_work(state.of(app).services)
            if not pending:
                return
            for connection_id in pending:
                drain.drain(state.of(app).services, connection_id, owner())
    raise RuntimeError("The work does not come to an end: something is due again and again.")


# The worker


class OurWorker(Worker):
    """An RQ worker inside the loaded application: forks, runs our jobs only, sweeps every minute."""

    app: Flask

    def __init__(self, app: Flask, redis: Redis) -> None:
        self.app = app
        name = state.of(app).config.QUEUE
        super().__init__(
            [queue(name, redis)],
            connection=redis,
            serializer=JSONSerializer,
            job_class=OurJob,
            worker_ttl=75,  # an idle worker looks after its maintenance every minute
            maintenance_interval=60,
            log_job_description=False,
            work_horse_killed_handler=self._horse_killed,
        )

    def run_maintenance_tasks(self) -> None:
        """RQ's own maintenance, our sweep, and our name again, should Redis have been restarted."""
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]  # RQ's
        if self.connection.hexists(self.key, "birth"):
            worker_registration.register(self)
        else:  # RQ's heartbeat has made the key again, with nothing else in it
            self.connection.delete(self.key)
            self.register_birth()  # type: ignore[no-untyped-call]  # RQ's
        enqueue(self.queues[0], "sweep")

    def perform_job(self, *args: Any, **kwargs: Any) -> bool:
        """In the forked child: its own database connections, a fresh application context."""
        with self.app.app_context():
            for engine in state.of(self.app).db.engines.values():
                engine.dispose(close=False)
            return bool(super().perform_job(*args, **kwargs))

    def _horse_killed(self, _job: Any, pid: int, *_: Any) -> None:
        """Free what the child held, and have somebody go on."""
        with self.app.app_context():
            lease.release_all_of(
                state.of(self.app).services, f"{socket.gethostname()[:24]}:{pid}"[:40]
            )
            for engine in state.of(self.app).db.engines.values():
                engine.dispose()
        enqueue(self.queues[0], "sweep")


def run_worker(app: Flask, *, burst: bool = False) -> None:
    """Run a worker in the foreground until it is told to stop.

    :param burst: stop when the queue is empty.
    """
    config = state.of(app).config
    # What is loaded by now stays: looking through it for garbage took a sixth of a sync's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)
    OurWorker(app, redis_client(config, None)).work(
        burst=burst, logging_level=logging.getLevelName(logging.getLogger().level or logging.INFO)
    )
