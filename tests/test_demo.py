"""The demo's parts. The whole of it is driven by ``make demo-check``."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from example_app.demo.browser import Browser, NotThere, parsed
from example_app.demo.processes import Broken, Processes, session_members
from example_app.demo.stage import Plan, is_free, staged

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.mark.parametrize("name", ["PORT", "SANDBOX_PORT"])
def test_a_busy_port_is_told_with_the_way_to_choose_another(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        busy = listener.getsockname()[1]
        ports = {"PORT": "port", "SANDBOX_PORT": "sandbox_port"}
        free = {"port": 0, "sandbox_port": 0} | {ports[name]: busy}
        with (
            pytest.raises(
                Broken, match=rf"Port {busy} is in use.*\n  make demo {name}={busy + 10}"
            ),
            staged(Plan(folder=tmp_path, **free)),
        ):
            pytest.fail("it started")
    assert is_free(busy)
    assert list(tmp_path.iterdir()) == []


def test_a_redis_that_does_not_answer_is_told(tmp_path: Path) -> None:
    plan = Plan(folder=tmp_path, port=0, sandbox_port=0, redis_url="redis://127.0.0.1:1/0")
    with pytest.raises(Broken, match="No Redis answers at REDIS_URL"), staged(plan):
        pytest.fail("it started")


def test_the_secrets_are_for_this_user_only_and_are_kept(tmp_path: Path) -> None:
    from example_app.demo.stage import _secrets

    path = tmp_path / "secrets.json"
    made = _secrets(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert _secrets(path) == made


def test_a_child_that_ends_is_named_with_its_last_words(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("small child", [sys.executable, "-c", "print('bye'); exit(3)"], os.environ)
    with pytest.raises(Broken, match=r"The small child ended \(exit code 3\):\n  bye"):
        processes.wait_for("Nothing", lambda: False)
    assert processes.stop() == []


def test_stopping_ends_children_and_what_they_started(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    code = (
        "import os, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"
        "if os.fork() == 0: os.setpgrp(); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True); time.sleep(60)"
    )
    processes.start("parent", [sys.executable, "-c", code], os.environ)
    log = tmp_path / "parent.log"
    processes.wait_for("The parent", lambda: log.read_text().count("up") == 2)
    [leader] = processes.ids
    assert len(session_members(leader)) == 2
    assert processes.stop() == []
    assert session_members(leader) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can do this")
def test_children_end_if_the_demo_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from example_app.demo.processes import Processes\n"
        f"p = Processes(pathlib.Path({str(tmp_path)!r})); p.start('child', {SLEEP!r}, os.environ)\n"
        "print(p.ids[0], flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    child = int(done.stdout)
    Processes(tmp_path).wait_for("Its end", lambda: not session_members(child), timeout_s=5)


PAGE = """<form method=post><input name=token value=t><input type=checkbox name=box value=y checked>
<input type=checkbox name=other><select name=list><option value=1>a<option value=2 selected>b
</select><button>Send</button></form>"""


def test_the_browser_sends_what_a_form_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []
    browser = Browser("http://127.0.0.1:1/")
    monkeypatch.setattr(browser, "_ask", lambda _method, _url, values: sent.append(values))
    browser.page = parsed(PAGE)
    browser.submit("Send")
    browser.submit("Send", {"box": False, "other": True, "list": "1"})
    assert sent == [
        {"token": "t", "box": "y", "list": "2"},
        {"token": "t", "other": "on", "list": "1"},
    ]


def test_the_browser_sends_nothing_that_a_page_does_not_offer() -> None:
    browser = Browser("http://127.0.0.1:1/")
    browser.page = parsed(PAGE)
    with pytest.raises(NotThere, match="no field"):
        browser.submit("Send", {"hidden": "x"})
    with pytest.raises(NotThere, match="no button"):
        browser.submit("Delete")
