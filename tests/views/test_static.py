"""What the pages bring along stays small, and is all that they bring along."""

from __future__ import annotations

import re
from pathlib import Path

import flask_mailchimp_optin

HERE = Path(flask_mailchimp_optin.__file__).parent
STATIC = sorted((HERE / "static").iterdir())


def _bytes(suffix: str) -> int:
    return sum(file.stat().st_size for file in STATIC if file.suffix == suffix)


def test_the_stylesheet_is_one_file_of_at_most_12_kilobytes() -> None:
    assert [file.name for file in STATIC if file.suffix == ".css"] == ["mailchimp_optin.css"]
    assert 0 < _bytes(".css") <= 12 * 1024


def test_all_script_together_is_at_most_6_kilobytes() -> None:
    assert 0 < _bytes(".js") <= 6 * 1024


def test_there_is_nothing_else_and_each_is_used() -> None:
    assert {file.suffix for file in STATIC} == {".css", ".js"}
    templates = "".join(
        file.read_text("utf-8") for file in (HERE / "templates" / "mailchimp_optin").iterdir()
    )
    assert set(re.findall(r"filename='([^']+)'", templates)) == {file.name for file in STATIC}
