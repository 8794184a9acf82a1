"""The documentation says what the code does, and its examples are code."""

from __future__ import annotations

import ast
import configparser
import importlib
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest
from blinker import NamedSignal
from flask import render_template_string

import flask_mailchimp_optin
from flask_mailchimp_optin import cli, signals, testing
from flask_mailchimp_optin.config import PREFIX, Config
from flask_mailchimp_optin.consent import Act, Verb
from flask_mailchimp_optin.testing import plugin
from tests import outside
from tests.blocks import PACKAGE, ROOT, blocks
from tests.house import Customer, Host, db

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.rst"))
NAMES = [page.name for page in PAGES]
LINE = re.compile(r"flask (?:--app \S+ )?mailchimp ([a-z-]+)")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of ``docs/``, which is no package."""

    def load(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(DOCS))
        return importlib.import_module(name)

    return load


def test_the_table_of_situations_is_what_the_rule_answers(
    load: Callable[[str], ModuleType],
) -> None:
    consent_table = load("consent_table")
    written = consent_table.FILE.read_text(encoding="utf-8")
    assert written == consent_table.table(), "run: python docs/consent_table.py"


def test_the_table_shows_every_verb_and_every_act(load: Callable[[str], ModuleType]) -> None:
    consent_table = load("consent_table")
    outcomes = [situation.outcome for situation in consent_table.SITUATIONS]
    assert {outcome.act for outcome in outcomes} == set(Act)
    assert {outcome.verb for outcome in outcomes} == {None, *Verb}


def test_every_line_of_the_log_is_explained() -> None:
    text = (DOCS / "operators.rst").read_text(encoding="utf-8")
    table = text.split("Fields; what it means\n")[1].split("A worker's other lines")[0]
    explained: list[list[str]] = []
    for row in table.splitlines()[1:-2]:
        words, level = row[:56].strip(), row[57:66].strip()
        if level:
            explained.append([words, level])
        else:
            explained[-1][0] = f"{explained[-1][0]} {words}".strip()
    written = set()
    for file in PACKAGE.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and _is_logging(call.func):
                (line,) = call.args
                assert isinstance(line, ast.Constant), "constant, so that it can be found again"
                level = call.func.attr  # type: ignore[attr-defined]
                written.add((line.value, "error" if level == "exception" else level))
    assert written == {(words, level) for words, level in explained}


@pytest.mark.parametrize("name", NAMES)
def test_every_test_that_a_page_names_is_there(name: str) -> None:
    text = " ".join((DOCS / name).read_text(encoding="utf-8").split())
    for path in re.findall(r"``((?:tests|\.ci|docs|example_app)/[\w./-]+)``", text):
        assert (ROOT / path).exists(), path
    written = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py"))
    for test in re.findall(r"``(test_\w+|Test\w+)``", text):
        assert re.search(rf"(def|class) {test}\b", written), test


def _is_logging(function: ast.expr) -> bool:
    levels = ("debug", "info", "warning", "error", "exception", "critical")
    if not isinstance(function, ast.Attribute) or function.attr not in levels:
        return False
    return "logg" in ast.unparse(function.value)


def test_every_configuration_key_is_explained(load: Callable[[str], ModuleType]) -> None:
    pytest.importorskip("sphinx")
    text = load("reference").configuration()
    for key in fields(Config):
        assert f"``{PREFIX}{key.name}``" in text
        assert key.metadata["doc"].replace("`", "``") in text


def test_every_command_is_explained(load: Callable[[str], ModuleType]) -> None:
    pytest.importorskip("sphinx")
    text = load("reference").commands()
    for name, command in cli.group.commands.items():
        assert f"``flask mailchimp {name}" in text
        assert command.help
        for parameter in command.params:
            assert all(f"``{option}" in text for option in parameter.opts if option[:2] == "--")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    named = set(LINE.findall(page.read_text(encoding="utf-8")))
    assert named <= set(cli.group.commands)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_key_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(rf"{PREFIX}([A-Z_]+[A-Z])(?![A-Z_])", text))
    # The quickstart keeps one key in an environment variable of the host's own.
    assert named <= {key.name for key in fields(Config)} | {"KEY"}


def test_every_recipe_is_shown_and_run() -> None:
    text = (DOCS / "recipes.rst").read_text(encoding="utf-8")
    run = "".join(
        file.read_text(encoding="utf-8") for file in (ROOT / "tests/recipes").glob("*.py")
    )
    for recipe in (DOCS / "recipes").glob("*.py"):
        assert f"recipes/{recipe.name}" in text
        assert recipe.stem in run


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_python_block_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)


def test_every_signal_is_listed() -> None:
    text = (DOCS / "api.rst").read_text(encoding="utf-8")
    names = [name for name, value in vars(signals).items() if isinstance(value, NamedSignal)]
    assert names
    assert all(f"``signals.{name}``" in text for name in names)


def test_everything_is_where_the_page_on_architecture_says() -> None:
    text = (DOCS / "architecture.rst").read_text(encoding="utf-8")
    table = text.split("Where things are\n")[1].split("Templates are in")[0]
    for name in re.findall(r"``([\w./]+)``", table):
        module, _, inside = name.partition(".")
        if "/" in name:
            assert (PACKAGE / name).exists(), name
        elif inside:
            assert hasattr(importlib.import_module(f"flask_mailchimp_optin.{module}"), inside), name
    assert len(table.splitlines()) > 20


def _contract(name: str, key: str) -> set[str]:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    return set(re.findall(r"\w+", contracts[f"importlinter:contract:{name}"][key]))


def test_every_module_has_its_place_in_the_picture_of_the_layers() -> None:
    text = (DOCS / "architecture.rst").read_text(encoding="utf-8")
    layers = text.split("The layers\n")[1].split("The tables\n")[0]
    for name in _contract("layers", "layers"):
        assert re.search(rf"^    .*\b{name}\b", layers, re.MULTILINE), name


def test_the_contracts_forget_no_module() -> None:
    modules = _contract("layers", "layers")
    edge = {
        "extension",
        "views",
        "cli",
        "doctor",
        "forms",
        "health",
        "i18n",
        "jobs",
        "metrics",
        "state",
        "redis_clients",
        "waking",
        "wordings",
    }
    assert modules - edge <= _contract("edge", "source_modules")
    assert modules - {"client", "transport"} <= _contract("http", "source_modules")


def test_what_the_page_for_administrators_says_to_press_is_on_the_pages() -> None:
    text = (DOCS / "administrators.rst").read_text(encoding="utf-8")
    names = {" ".join(name.split()) for name in re.findall(r"(?<![*\w])\*([^*`]+)\*(?!\*)", text)}
    spoken = {"Settings → Integrations → Mailchimp", "What do you have of me?", "Erase me."}
    catalogue = PACKAGE / "translations/flask_mailchimp_optin.pot"
    shown = catalogue.read_text(encoding="utf-8").replace('"\n"', "")
    assert len(names) > 20
    for name in names - spoken:
        assert name.removesuffix(" …") in shown, name


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    text = (DOCS / "api.rst").read_text(encoding="utf-8")
    for name in flask_mailchimp_optin.__all__:
        assert re.search(rf"\b{name}\b", text), name
    for name in testing.__all__:
        assert f"testing.{name}" in text


def test_every_target_of_make_that_a_page_names_exists() -> None:
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", make, re.MULTILINE))
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = re.findall(r"^    make ((?:[a-z-]+ ?)+)", text, re.M)
    named += re.findall(r"``make ([a-z -]+)``", text)
    assert named
    assert {target for line in named for target in line.split()} <= targets


@pytest.mark.parametrize("block", blocks(DOCS / "developers.rst", "jinja"))
def test_every_template_that_the_page_for_developers_shows_is_one(host: Host, block: str) -> None:
    key = host.add("ada@example.com", wants_news=True)
    with host.app.test_request_context():
        customer = db.session.get(Customer, key)
        page = render_template_string(block, customer=customer, customers=[customer])
    assert re.search('mailchimp_optin_wording|data-state="not_connected"|<th scope="row">Yes', page)


def _pages_on_testing() -> dict[str, str]:
    """The blocks of the page on testing, as the files of a host."""
    conftest, *pages, without = blocks(DOCS / "testing.rst", "python")
    tenants = next(page for page in pages if "tenant=" in page)
    pages.remove(tenants)
    return {
        "conftest.py": conftest,
        "test_it.py": "\n".join(pages),
        "test_tenants.py": f"from shop import Customer, db\n{tenants}",
        "by_hand.py": without,
    }


def test_the_examples_of_a_hosts_tests_are_tests(tmp_path: Path) -> None:
    files = _pages_on_testing()
    done = outside.run(tmp_path, files, "-m", "pytest", "test_it.py")
    written = files["test_it.py"].count("def test_")
    assert f" {written} passed" in done.stdout, done.stdout + done.stderr


def test_the_example_with_tenants_is_one(tmp_path: Path) -> None:
    files = _pages_on_testing()
    done = outside.run(tmp_path, files, "-m", "pytest", "test_tenants.py", TENANTS="yes")
    assert " 1 passed" in done.stdout, done.stdout + done.stderr


def test_the_example_without_pytest_is_one(tmp_path: Path) -> None:
    done = outside.run(tmp_path, _pages_on_testing(), "-m", "unittest", "by_hand")
    assert "Ran 1 test" in done.stderr, done.stderr
    assert done.stderr.endswith("OK\n"), done.stderr


def test_every_fixture_is_in_the_table() -> None:
    table = (DOCS / "testing.rst").read_text(encoding="utf-8").split("The fixtures\n")[1]
    shown = re.findall(r"^``(mailchimp_\w+)``  ", table, re.MULTILINE)
    tree = ast.parse(Path(plugin.__file__).read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(f.name for f in tree.body if isinstance(f, ast.FunctionDef))


def test_the_table_of_compatibility_is_what_nox_tries() -> None:
    page = (DOCS / "compatibility.rst").read_text(encoding="utf-8")
    rows = " ".join(page.split())
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    assigned = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    pythons, older, servers = (
        list(ast.literal_eval(assigned[name])) for name in ("PYTHONS", "OLDER", "SERVERS")
    )
    for tried in [*(f"Python {version}" for version in pythons), *older, *servers]:
        assert tried in rows, tried
    named = re.findall(r"^(\w+)  ", page.split("What it has")[1], flags=re.MULTILINE)
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert set(named) <= set(functions)
    assert (named.count("older"), named.count("server")) == (len(older), len(servers))
    for name in ("rq lowest, which is", "redis lowest, which is redis-py"):
        (version,) = re.findall(rf"{name} (\d+\.\d+)", rows)
        assert f'"{name.split()[0]}>={version}"' in (ROOT / "setup.py").read_text(encoding="utf-8")
