"""The quickstart, followed word by word: its file, its environment, its commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.blocks import ROOT, blocks

PAGE = ROOT / "docs" / "quickstart.rst"
FILE, SAVE = blocks(PAGE, "python")
_INSTALL, SET, TABLES = blocks(PAGE, "sh")

FOLLOW = """
import re
from types import SimpleNamespace
from crm import *
from save import save
from flask_mailchimp_optin.testing import MailchimpSandbox, run_jobs
import os

sandbox = MailchimpSandbox()
with sandbox.serve() as url:
    os.environ["FLASK_MAILCHIMP_OPTIN_API_URL"] = url
    os.environ["FLASK_MAILCHIMP_OPTIN_REDIS_URL"] = "redis://127.0.0.1:1/0"
    app = create_app()
    sandbox.deliver_to(app)
    client = app.test_client()
    assert client.get("/integrations/mailchimp/").status_code == 403
    assert "/integrations/mailchimp/" in client.get("/log-in").text
    page = client.get("/integrations/mailchimp/")
    token = re.search('name="csrf_token"[^>]* value="([^"]+)"', page.text)[1]
    form = {"csrf_token": token, "api_key": sandbox.api_key}
    done = client.post("/integrations/mailchimp/", data=form)
    assert done.status_code == 303, done.text
    command = ["mailchimp", "connect", "--enable"]
    answer = app.test_cli_runner().invoke(args=command, input=sandbox.api_key)
    assert "Connected with" in answer.output, answer.output
    run_jobs(app)
    with app.app_context():
        save(Client(given_name="Ada"), {"mail": "ada@example.com", "wants_news": "y"},
             SimpleNamespace(name="Grace"))
    run_jobs(app)
    (list_id,) = sandbox.audiences
    assert sandbox.members(list_id)["ada@example.com"]["status"] == "subscribed"
    sandbox.unsubscribe(list_id, "ada@example.com")
    assert sandbox.wait_for_rings()
    run_jobs(app)
    told = app.test_cli_runner().invoke(args=["mailchimp", "history", "1"]).output
    assert "yes, client form by Grace" in told and "no, mailchimp" in told, told
print("followed")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "crm.py").write_text(FILE, encoding="utf-8")
    (tmp_path / "save.py").write_text(SAVE, encoding="utf-8")
    (tmp_path / "follow.py").write_text(FOLLOW, encoding="utf-8")
    return tmp_path


def test_whoever_follows_it_has_both_sides_in_agreement(folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{SET}\n{TABLES}\npython follow.py"],
        cwd=folder,
        env={"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("followed\n")


def test_as_many_tables_as_it_says() -> None:
    from sqlalchemy import MetaData

    from flask_mailchimp_optin import models

    number = len(vars(models.define(MetaData())))
    words = {9: "Nine", 10: "Ten", 11: "Eleven", 12: "Twelve"}
    assert f"{words[number]} tables named" in PAGE.read_text(encoding="utf-8")
