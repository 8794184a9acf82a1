"""What the extension adds to the start of a process: imported, and with ``init_app`` called.

The baseline is a process that imports Flask and SQLAlchemy, and one with the same application without
the extension. In processor time, and by the clock; what a process does when it ends does not count.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from flask_mailchimp_optin.vault import new_key

from .compared import row, seconds

_ROUNDS = 15
_BASE = "import flask, flask_sqlalchemy, sqlalchemy.orm\n"
_IMPORT = "from flask_mailchimp_optin import CustomerMapping, MailchimpOptin\n"
_APP = """
from sqlalchemy.orm import Mapped, mapped_column

db = flask_sqlalchemy.SQLAlchemy()

class Customer(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    opt_in: Mapped[bool]

app = flask.Flask("bench")
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
db.init_app(app)
"""
_INIT = f"""
app.config["MAILCHIMP_OPTIN_ENCRYPTION_KEYS"] = ["{new_key()}"]
mapping = CustomerMapping(email="email", opt_in="opt_in", merge_fields={{}})
MailchimpOptin(app, db, Customer, mapping=mapping, authorize=lambda: True)
"""
_END = "\nimport os, time; os.write(1, str(time.process_time()).encode()); os._exit(0)"


def measure(folder: Path, redis_url: str) -> list[dict[str, Any]]:
    """The rows of the table."""
    rows = []
    for name, ours, baseline, note in (
        ("import", _BASE + _IMPORT, _BASE, "Flask and SQLAlchemy alone"),
        ("init_app", _BASE + _APP + _IMPORT + _INIT, _BASE + _APP, "without the extension"),
    ):
        rounds = [(_start(ours), _start(baseline)) for _ in range(1 + _ROUNDS)][1:]
        for by, how in enumerate(("", ", wall")):
            pairs = [(one[by], other[by]) for one, other in rounds]
            rows.append(row(name + how, "s", pairs, _ROUNDS, note))
    return rows


def _start(code: str) -> tuple[float, float]:
    """The processor time and the time by the clock of a fresh process, in seconds."""
    told: list[bytes] = []

    def run() -> None:
        told.append(subprocess.check_output([sys.executable, "-c", code + _END]))

    wall_s = seconds(run)
    return float(told[0]), wall_s
