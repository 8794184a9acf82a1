"""The files of ``docs/deploy``, which the page for operators shows: each is what it looks like."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from flask_mailchimp_optin import cli
from flask_mailchimp_optin.config import PREFIX, Config
from flask_mailchimp_optin.vault import new_key
from tests.blocks import ROOT

DEPLOY = ROOT / "docs" / "deploy"
INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "EXPOSE", "CMD"}
FILES = sorted(DEPLOY.iterdir())
UNITS = [path for path in FILES if path.suffix in (".service", ".timer")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_page_shows_it_and_it_names_what_exists(path: Path) -> None:
    assert f"deploy/{path.name}" in (ROOT / "docs" / "operators.rst").read_text(encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"mailchimp ([a-z-]+)$", text, re.M)) <= set(cli.group.commands)
    keys = set(re.findall(rf"FLASK_{PREFIX}([A-Z_]+)", text))
    assert keys <= {key.name for key in fields(Config)}


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_has_its_sections(path: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path, encoding="utf-8")
    assert unit["Unit"]["Description"]
    if path.suffix == ".timer":
        assert (path.with_suffix(".service")).exists()
        return
    service = unit["Service"]
    program, *_ = shlex.split(service["ExecStart"])
    assert program.startswith(service["WorkingDirectory"])
    assert service["EnvironmentFile"] == "/etc/crm.env"
    assert (service.get("Restart") == "always") != (service.get("Type") == "oneshot")


def test_the_environment_is_a_configuration() -> None:
    lines = (DEPLOY / "crm.env").read_text(encoding="utf-8").splitlines()
    settings: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition("=")
        (text,) = shlex.split(value)
        settings[name.removeprefix("FLASK_")] = json.loads(text) if text[0] == "[" else text
    (words,) = settings[f"{PREFIX}ENCRYPTION_KEYS"]
    assert "python -m flask_mailchimp_optin" in words
    assert Config.read(settings | {f"{PREFIX}ENCRYPTION_KEYS": [new_key()]})
    assert {"SECRET_KEY", "SQLALCHEMY_DATABASE_URI"} <= set(settings)


def test_the_procfile_names_a_process_a_line() -> None:
    lines = (DEPLOY / "Procfile").read_text(encoding="utf-8").splitlines()
    found = dict(line.split(": ", 1) for line in lines)
    assert set(found) == {"release", "web", "worker"}
    assert all(shlex.split(command) for command in found.values())


def test_the_container_file_has_instructions_only() -> None:
    lines = (DEPLOY / "Containerfile").read_text(encoding="utf-8").splitlines()
    words = [line.split(" ", 1) for line in lines]
    assert words[0][0] == "FROM"
    assert {word for word, _ in words} <= INSTRUCTIONS
    assert json.loads(words[-1][1])[0] == "gunicorn"
    assert words.index(["USER", "crm"]) > words.index(["COPY", ". ."])


def test_the_composition_runs_the_same_everywhere_and_migrates_first() -> None:
    yaml = pytest.importorskip("yaml")
    file = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    services = file["services"]
    ours = {name: services[name] for name in ("migrate", "web", "worker")}
    assert len({json.dumps(one["environment"]) for one in ours.values()}) == 1
    assert all(one["build"]["dockerfile"] == "Containerfile" for one in ours.values())
    for one in services.values():
        assert set(one.get("depends_on", {})) <= set(services)
        assert {v.split(":")[0] for v in one.get("volumes", [])} <= set(file["volumes"])
    for name in ("web", "worker"):
        assert "migrate" in ours[name]["depends_on"]
    keys = ours["web"]["environment"]["FLASK_MAILCHIMP_OPTIN_ENCRYPTION_KEYS"]
    assert json.loads(keys.replace(":?", "")) == ["${MAILCHIMP_ENCRYPTION_KEY}"]
