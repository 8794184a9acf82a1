"""The recipe for Flask-RQ: its worker, with its own child processes, on a real Redis."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from redis import Redis

from flask_mailchimp_optin import jobs, waking
from flask_mailchimp_optin.testing import MailchimpSandbox
from flask_mailchimp_optin.testing.redis_server import embedded_redis
from tests.recipes.conftest import RECIPES, Make, as_environment, connect_with


def test_its_worker_runs_our_jobs(
    make: Make,
    recipe: Callable[[str], ModuleType],
    config: dict[str, Any],
    sandbox: MailchimpSandbox,
    tmp_path: Path,
) -> None:
    with embedded_redis() as url:
        config["MAILCHIMP_OPTIN_REDIS_URL"] = url
        app, shop = make("with_flask_rq"), recipe("shop")
        list_id = connect_with(app, sandbox)
        with app.app_context():
            shop.db.session.add(shop.Customer(email="ada@example.com", wants_news=True))
            shop.db.session.commit()
        with Redis.from_url(url) as redis:
            waking.enqueue(jobs.queue("mailchimp_optin", redis), "work")
        command = ["--app", str(RECIPES / "with_flask_rq.py"), "rq", "worker", "--burst"]
        done = subprocess.run(
            [sys.executable, "-m", "flask", *command, "mailchimp_optin"],
            cwd=tmp_path,
            env=os.environ | as_environment(config),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    members = sandbox.members(list_id)
    assert "ada@example.com" in members, done.stdout + done.stderr
    assert members["ada@example.com"]["status"] == "subscribed"
