"""What the README shows is what works: its blocks are run as they stand."""

from __future__ import annotations

import importlib
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from flask_mailchimp_optin import cli, connect, overviews, state
from flask_mailchimp_optin.testing import MailchimpSandbox, run_jobs
from tests.blocks import ROOT, blocks
from tests.house import Clock

README = ROOT / "README.rst"
PYTHON, SHELL = blocks(README, "python"), blocks(README, "sh")


@pytest.fixture
def clock() -> Clock:
    """The application has no other clock than the real one."""
    return Clock(real=True)


@pytest.fixture
def environment(
    tmp_path: Path, sandbox: MailchimpSandbox, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The README's own ``export`` lines, with the sandbox of this test and without a Redis."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{SHELL[0]}\nenv -0"],
        env={"PATH": path, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    for line in done.stdout.split("\0"):
        name, _, value = line.partition("=")
        if name.startswith("FLASK_"):
            monkeypatch.setenv(name, value)
    with sandbox.serve() as url:
        monkeypatch.setenv("FLASK_MAILCHIMP_OPTIN_API_URL", url)
        monkeypatch.setenv("FLASK_MAILCHIMP_OPTIN_REDIS_URL", "redis://127.0.0.1:1/0")
        yield


@pytest.fixture
def shop(
    environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModuleType]:
    """``shop.py`` as the README has it, imported as the ``flask`` command would."""
    (tmp_path / "shop.py").write_text(PYTHON[0], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("shop")
    del sys.modules["shop"]


@pytest.fixture
def app(shop: ModuleType, sandbox: MailchimpSandbox) -> Iterator[Flask]:
    made: Flask = shop.create_app()
    sandbox.deliver_to(made)
    with made.app_context():
        shop.db.create_all()
    yield made
    with made.app_context():
        shop.db.session.remove()
        for engine in shop.db.engines.values():
            engine.dispose()


def test_the_quickstart_keeps_both_sides_in_agreement(
    shop: Any, app: Flask, sandbox: MailchimpSandbox
) -> None:
    exec(PYTHON[1], vars(shop))
    with app.app_context():
        services = state.of(app).services
        overview = connect.connect(services, "", sandbox.api_key)
        enabled = overviews.Settings(enabled=True, master_list=overview.lists[0].list_id)
        connect.save_settings(services, "", enabled)
    run_jobs(app)
    with app.app_context():
        assert shop.sign_up("Ada@example.com", "Ada", True) == "Waiting to be sent to Mailchimp."
        shop.sign_up("charles@example.com", "Charles", False)
    run_jobs(app)
    list_id = overview.lists[0].list_id
    members = sandbox.members(list_id)
    assert list(members) == ["ada@example.com"]
    assert members["ada@example.com"]["status"] == "subscribed"
    assert members["ada@example.com"]["merge_fields"]["FNAME"] == "Ada"

    sandbox.unsubscribe(list_id, "ada@example.com")
    assert sandbox.wait_for_rings()
    run_jobs(app)
    with app.app_context():
        ada = shop.db.session.get(shop.Customer, 1)
        assert ada.marketing_opt_in is False
        sources = [decision.source for decision in shop.mailchimp.history_of(ada)]
        assert sources == ["mailchimp", "customer form"]


def test_the_pages_open_where_the_readme_says_and_for_whom(app: Flask) -> None:
    (address,) = set(re.findall(r"http://127\.0\.0\.1:5000(/\S+/)", README.read_text("utf-8")))
    assert app.test_client().get(address).status_code == 403
    app.debug = True
    assert app.test_client().get(address).status_code == 200


def test_every_command_in_the_readme_exists() -> None:
    named = set(re.findall(r"mailchimp\s+([a-z]+)", README.read_text("utf-8")))
    assert {"worker", "sandbox", "connect", "doctor"} <= named & set(cli.group.commands)


def test_the_tables_are_made_as_the_readme_says(
    shop: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = next(line for line in SHELL[1].splitlines() if "create_all" in line)
    code = re.fullmatch(r'python -c "(.*)"', line)
    assert code is not None
    subprocess.run(
        [sys.executable, "-c", code[1]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert (tmp_path / "instance" / "shop.db").is_file()


def test_the_readme_stays_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 150
    assert len([line for line in PYTHON[0].splitlines() if line.strip()]) <= 25


def test_every_picture_of_a_page_is_one_that_make_pictures_takes() -> None:
    taken = runpy.run_path(str(ROOT / "docs" / "pictures.py"))["PICTURES"]
    texts = [README, *(ROOT / "docs").glob("*.rst")]
    shown = {
        name
        for text in texts
        for name in re.findall(r"_static/(\w+)\.png", text.read_text("utf-8"))
    }
    assert shown == set(taken) == {file.stem for file in (ROOT / "docs" / "_static").glob("*.png")}
