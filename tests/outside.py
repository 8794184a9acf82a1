"""A host's tests, run by pytest from outside: another process, with the package as if installed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from tests.blocks import ROOT

#: The host's own module; its customers have tenants if ``TENANTS`` is set.
SHOP = """
    import os

    from flask import Flask
    from flask_sqlalchemy import SQLAlchemy
    from flask_mailchimp_optin import CustomerMapping, MailchimpOptin

    db = SQLAlchemy()
    tenants = {"tenant": "tenant"} if "TENANTS" in os.environ else {}

    class Customer(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        tenant = db.Column(db.String(20))
        email = db.Column(db.String(254))
        marketing_opt_in = db.Column(db.Boolean)

    def create_app(config):
        app = Flask(__name__)
        app.config.update(SECRET_KEY="x", **config)
        db.init_app(app)
        mapping = CustomerMapping(email="email", opt_in="marketing_opt_in", **tenants)
        MailchimpOptin(
            app, db, Customer, mapping=mapping, authorize=lambda: True, tenant=lambda: "red"
        )
        return app
"""
_SETTINGS = """
    [pytest]
    addopts = -p no:cacheprovider -p no:flask --strict-config --strict-markers
    filterwarnings =
        error
        ignore:invalid escape sequence:SyntaxWarning
        ignore:invalid escape sequence:DeprecationWarning
"""


def run(
    folder: Path, files: Mapping[str, str], *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python`` with these arguments in a folder with these files and ``shop.py``.

    :param environment: what is set there but for the way to the package; nothing else is.
    """
    for name, text in {"shop.py": SHOP, "pytest.ini": _SETTINGS, **files}.items():
        (folder / name).write_text(textwrap.dedent(text), encoding="utf-8")
    path = os.pathsep.join([str(_installed(folder)), str(ROOT)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": path, "PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _installed(folder: Path) -> Path:
    """What pip would write down of our entry points, whatever the checkout at hand was installed as."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    (points,) = (
        ast.literal_eval(word.value)
        for word in ast.walk(tree)
        if isinstance(word, ast.keyword) and word.arg == "entry_points"
    )
    metadata = folder / "installed" / "flask_mailchimp_optin-0.1.0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text("Name: Flask-Mailchimp-Optin\nVersion: 0.1.0\n", "utf-8")
    lines = [line for group, some in points.items() for line in (f"[{group}]", *some)]
    (metadata / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return metadata.parent
