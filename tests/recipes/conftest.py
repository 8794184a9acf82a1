"""The applications of ``docs/recipes``, each with a database of its own and beside a sandbox."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from flask_mailchimp_optin import connect, overviews, state
from flask_mailchimp_optin.overviews import Settings
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.blocks import ROOT
from tests.house import KEY, Clock

RECIPES = ROOT / "docs" / "recipes"
Make = Callable[..., Flask]


@pytest.fixture
def clock() -> Clock:
    return Clock(real=True)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports one of them, as they import each other; forgotten afterwards: ``shop`` is the
    README's name for its application, too.
    """

    def load(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(RECIPES))
        return importlib.import_module(name)

    yield load
    for path in RECIPES.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def config(tmp_path: Path, sandbox: MailchimpSandbox) -> Iterator[dict[str, Any]]:
    """What such an application needs."""
    with sandbox.serve() as url:
        yield {
            "SECRET_KEY": "a test's secret",
            "TESTING": True,
            "WTF_CSRF_ENABLED": False,
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'shop.sqlite3'}",
            "MAILCHIMP_OPTIN_ENCRYPTION_KEYS": [KEY],
            "MAILCHIMP_OPTIN_API_URL": url,
            "MAILCHIMP_OPTIN_PUBLIC_URL": "https://shop.example.com",
            "MAILCHIMP_OPTIN_REDIS_URL": "redis://127.0.0.1:1/0",
        }


@pytest.fixture
def make(recipe: Callable[[str], ModuleType], config: dict[str, Any]) -> Iterator[Make]:
    """Makes a recipe's application with its tables."""
    made: list[Flask] = []
    shop = recipe("shop")

    def make(name: str, **more: Any) -> Flask:
        app: Flask = recipe(name).create_app(**config | more)
        with app.app_context():
            shop.db.create_all()
        made.append(app)
        return app

    yield make
    for app in made:
        with app.app_context():
            shop.db.engine.dispose()


def connect_with(app: Flask, sandbox: MailchimpSandbox) -> str:
    """Connect and enable it; the list's id."""
    with app.app_context():
        services = state.of(app).services
        list_id = connect.connect(services, "", sandbox.api_key).lists[0].list_id
        connect.save_settings(services, "", Settings(enabled=True, master_list=list_id))
        assert overviews.read(services, "").settings.enabled
    return list_id


def as_environment(config: dict[str, Any]) -> dict[str, str]:
    """The same for an application in another process."""
    return {
        f"FLASK_{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in config.items()
    }
