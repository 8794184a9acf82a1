"""Redis over TLS, with a server that really speaks it: what the address says is what is done."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from redis import Redis
from redis.exceptions import RedisError

from flask_mailchimp_optin import jobs, redis_clients, waking
from flask_mailchimp_optin.config import Config
from flask_mailchimp_optin.testing.redis_server import die_with_parent
from flask_mailchimp_optin.vault import new_key

PASSWORD = "of-a-test"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A server with TLS only, a password, and a certificate of its own authority: (port, folder)."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    one = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    one.private_key_pem.write_to_path(str(folder / "key.pem"))
    one.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    with _serving(folder) as port:
        yield port, folder


@pytest.fixture(scope="module")
def sentinel(server: tuple[int, Path]) -> Iterator[int]:
    """A Sentinel with TLS only that watches over the server: its port."""
    port, folder = server
    (folder / "sentinel.conf").write_text(
        "sentinel resolve-hostnames yes\n"
        "sentinel announce-hostnames yes\n"
        f"sentinel monitor crm localhost {port} 1\n"
        f"sentinel auth-pass crm {PASSWORD}\n"
        "tls-replication yes\n"
    )
    with _serving(folder, "sentinel.conf", "--sentinel") as asked:
        yield asked


@contextmanager
def _serving(folder: Path, *settings: str) -> Iterator[int]:
    """Whichever server can do it; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    for program in _programs():
        process = _start(program, port, folder, *settings)
        try:
            if _listens(process, port):
                yield port
                return
        finally:
            process.terminate()
            process.wait(10)
    pytest.skip("no Redis server here was built with TLS")


def _programs() -> list[Path]:
    """Every server on the path: the first may be one without TLS."""
    folders = os.environ["PATH"].split(os.pathsep)
    paths = [Path(f) / name for f in folders for name in ("redis-server", "valkey-server")]
    return [path for path in paths if path.is_file()]


def _start(program: Path, port: int, folder: Path, *settings: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(str(program), *settings, "--port", "0", "--tls-port", str(port)),
            *("--bind", "127.0.0.1"),
            *("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"),
            *("--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no"),
            *("--requirepass", PASSWORD, "--save", ""),
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(),
    )


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False


def connect(url: str) -> Redis:
    """As the extension does, from its checked configuration."""
    key, name = "MAILCHIMP_OPTIN_ENCRYPTION_KEYS", "MAILCHIMP_OPTIN_REDIS_URL"
    return redis_clients.redis_client(Config.read({key: [new_key()], name: url}), 5.0)


def test_a_job_goes_over_tls_with_an_authority_of_ones_own(server: tuple[int, Path]) -> None:
    port, folder = server
    url = f"rediss://:{PASSWORD}@localhost:{port}/1?ssl_ca_certs={folder / 'ca.pem'}"
    with connect(url) as redis:
        waking.enqueue(jobs.queue("tls", redis), "sweep")
        assert jobs.queue("tls", redis).count == 1


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("rediss://:{pw}@localhost:{port}/0", id="an-authority-nobody-knows"),
        pytest.param("rediss://:{pw}@127.0.0.1:{port}/0?ssl_ca_certs={ca}", id="another-name"),
        pytest.param("rediss://:wrong@localhost:{port}/0?ssl_ca_certs={ca}", id="wrong-password"),
        pytest.param("redis://:{pw}@localhost:{port}/0", id="without-tls"),
        pytest.param("rediss://:{pw}@localhost:{port}/0?ssl_ca_certs=/none.pem", id="no-such-file"),
    ],
)
def test_it_is_not_spoken_to_otherwise(server: tuple[int, Path], address: str) -> None:
    port, folder = server
    url = address.format(pw=PASSWORD, port=port, ca=folder / "ca.pem")
    with connect(url) as redis, pytest.raises(RedisError) as refused:
        redis.ping()
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_check_hostname=false"])
def test_less_can_be_asked_for(server: tuple[int, Path], option: str) -> None:
    port, folder = server
    url = f"rediss://:{PASSWORD}@127.0.0.1:{port}/0?ssl_ca_certs={folder / 'ca.pem'}&{option}"
    with connect(url) as redis:
        assert redis.ping()


def test_sentinel_and_the_master_are_both_spoken_to_over_tls(
    server: tuple[int, Path], sentinel: int
) -> None:
    authority = f"ssl_ca_certs={server[1] / 'ca.pem'}"
    hosts = f":{PASSWORD}@localhost:{sentinel}/crm/1?sentinel_password={PASSWORD}"
    with connect(f"rediss+sentinel://{hosts}&{authority}") as redis:
        waking.enqueue(jobs.queue("tls", redis), "sweep")
        assert jobs.queue("tls", redis).count >= 1
    for address in (f"rediss+sentinel://{hosts}", f"redis+sentinel://{hosts}"):
        with connect(address) as redis, pytest.raises(RedisError):
            redis.ping()
