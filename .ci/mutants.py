"""The score of ``make mutants``, and each change to the rule that no test noticed: fails below 95 %."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ENOUGH = 95.0  # percent
MUTMUT = Path(sys.executable).with_name("mutmut")


def main() -> None:
    """Print what ``mutmut export-cicd-stats`` has written, in words."""
    counts = json.loads(Path("mutants/mutmut-cicd-stats.json").read_text(encoding="utf-8"))
    # A mutant that runs for ever was noticed; one that no test reaches was not.
    killed, total = counts["killed"] + counts["timeout"], counts["total"]
    for name in _survivors():
        print(_mutmut("show", name))
    score = 100 * killed / total if total else 0.0
    print(f"{total} mutants: {killed} killed, {total - killed} survived: {score:.1f} %")
    if score < ENOUGH:
        raise SystemExit(f"Fewer than {ENOUGH:.0f} % were killed: tests of the rule are missing.")


def _survivors() -> list[str]:
    lines = [line.strip() for line in _mutmut("results").splitlines()]
    return [
        name for name, _, state in (line.partition(": ") for line in lines) if state != "timeout"
    ]


def _mutmut(*arguments: str) -> str:
    command = [MUTMUT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  # our own


if __name__ == "__main__":
    main()
