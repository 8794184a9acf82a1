"""A few points of the kill sweep; ``make chaos`` has them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.chaos import calls

_ROOT = Path(__file__).parents[3]
_WHY_NOT = calls.missing()

needs_strace = pytest.mark.skipif(_WHY_NOT is not None, reason=f"no kill sweep here: {_WHY_NOT}")


@needs_strace
def test_nothing_is_lost_wrong_or_stuck_when_a_process_dies_or_a_call_fails() -> None:
    command = [sys.executable, "-m", "tests.faults.chaos", "sqlite", "--scenario", "opt-out"]
    done = subprocess.run(
        [*command, "--sample", "12"], cwd=_ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 points" in done.stdout
