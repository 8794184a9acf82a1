"""The recipe for Flask-Migrate."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.recipes.conftest import RECIPES, as_environment


def test_a_migration_makes_our_tables(config: dict[str, Any], tmp_path: Path) -> None:
    app = str(RECIPES / "with_flask_migrate.py")
    for arguments in (["init"], ["migrate", "-m", "Mailchimp opt-in"], ["upgrade"]):
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", app, "db", *arguments],
            cwd=tmp_path,
            env=os.environ | as_environment(config),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    with sqlite3.connect(tmp_path / "shop.sqlite3") as database:
        names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    database.close()
    assert {"mailchimp_optin_connection", "mailchimp_optin_decision"} <= names
