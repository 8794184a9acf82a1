"""Code blocks out of reStructuredText, so that tests can run what the documentation shows."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import flask_mailchimp_optin

ROOT = Path(__file__).parent.parent
#: The package's own files, which are elsewhere when it is installed.
PACKAGE = Path(flask_mailchimp_optin.__file__).parent
_BLOCK = re.compile(
    r"^(?P<indent> *)\.\. code-block:: (?P<language>\w+)\n"
    r"(?:(?P=indent)   +:[a-z-]+:.*\n)*"
    r"\n(?P<code>(?:(?P=indent)   +.*\n|\n)+)",
    re.MULTILINE,
)


def blocks(path: Path, language: str) -> list[str]:
    """The code blocks of a file that are in this language, without their indentation."""
    text = path.read_text(encoding="utf-8") + "\n"
    found = [m for m in _BLOCK.finditer(text) if m["language"] == language]
    return [textwrap.dedent(m["code"]).strip() + "\n" for m in found]
