"""Databases of our own on servers that run: ``python .ci/databases.py {ping|create|drop} URL``.

``create`` takes a server's address and prints that of the new database; ``drop`` takes the latter.
"""

from __future__ import annotations

import secrets
import sys

import redis
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import URL


def ping(address: str) -> None:
    """Raise unless a server answers."""
    if address.startswith("redis"):
        redis.Redis.from_url(address, socket_timeout=2, socket_connect_timeout=2).ping()
        return
    _run(make_url(address), "SELECT 1")


def create(address: str) -> None:
    """Create a database and print its address."""
    server = make_url(address)
    name = f"mailchimp_optin_ci_{secrets.token_hex(4)}"
    is_mysql = server.get_backend_name() == "mysql"
    _run(server, f"CREATE DATABASE {name}" + (" CHARACTER SET utf8mb4" if is_mysql else ""))
    print(server.set(database=name).render_as_string(hide_password=False))


def drop(address: str) -> None:
    """Drop a database that :func:`create` made."""
    url = make_url(address)
    name = url.database or ""
    if not name.startswith("mailchimp_optin_ci_"):
        raise SystemExit(f"{name} is none of ours")
    if url.get_backend_name() == "mysql":
        _run(url.set(database=None), f"DROP DATABASE IF EXISTS {name}")
    else:
        _run(url.set(database="postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _run(url: URL, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()


if __name__ == "__main__":
    {"ping": ping, "create": create, "drop": drop}[sys.argv[1]](sys.argv[2])
