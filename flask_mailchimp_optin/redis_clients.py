"""Clients of Redis, directly or by its Sentinels. Edge; imported when Redis is first spoken to."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from .config import Config, Sentinels

_PATIENCE_S = 5.0  # how long a Sentinel is waited for, by who may block


def redis_client(config: Config, timeout_s: float | None) -> Redis:
    """A Redis client that neither waits nor retries.

    The defaults take 4 s when Redis refuses and a minute when it doesn't answer.

    :param timeout_s: for connecting and answering, in seconds; None: blocking, for the worker.
    """
    limits = {} if timeout_s is None else _limits(timeout_s)
    sentinels = Sentinels.of(config.REDIS_URL)
    if sentinels is None:
        return Redis.from_url(config.REDIS_URL, **limits)
    options = parse_url(sentinels.master)  # type: ignore[no-untyped-call]
    options["ssl"] = options.pop("connection_class", None) is not None
    # A Sentinel that is down must not keep us from the next.
    asking = _limits(timeout_s or _PATIENCE_S)
    for name in ("username", "password"):
        asking[name] = options.pop(f"sentinel_{name}", None)
    alike = {name: options[name] for name in options.keys() - {"db", "username", "password"}}
    sentinel = _Sentinel(sentinels.hosts, sentinel_kwargs=alike | asking)  # type: ignore[no-untyped-call]
    master: Redis = sentinel.master_for(sentinels.service, **options | limits)  # type: ignore[no-untyped-call]
    return master


def _limits(timeout_s: float) -> dict[str, Any]:
    return {
        "socket_connect_timeout": timeout_s,
        "socket_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
    }


class _Sentinel(Sentinel):
    """Asked for each new connection, so that a client finds the new master after a failover."""

    def discover_master(self, service_name: str) -> Any:
        """Its host and port."""
        try:
            return super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except MasterNotFoundError:  # redis-py 6 and 7 write Sentinel's password into the text
            words = f"No Sentinel answers that knows a master {service_name!r} that is up."
            raise MasterNotFoundError(words) from None
