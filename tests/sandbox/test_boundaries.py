"""The sandbox shares no code with the package that it tests, and needs little else."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from flask_mailchimp_optin.testing import sandbox

FOLDER = Path(sandbox.__file__).parent
ALLOWED = {"werkzeug", "jinja2", "requests"} | sys.stdlib_module_names


def imported(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append(node.module or "")
        elif isinstance(node, ast.ImportFrom) and node.level > 1:
            found.append("a parent package")
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_a_module_imports_only_its_neighbours_and_a_few_libraries(path: Path) -> None:
    assert {name.split(".")[0] for name in imported(path)} <= ALLOWED
