"""``make bench``: what the extension costs, always as a ratio against a baseline of the same run.

Each figure is the median of rounds in which ours and the baseline take turns. Prints one table and
writes ``benchmarks/results.json``. The database is SQLite unless ``BENCH_DATABASE_URL`` names another;
``ONLY`` measures some groups only.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from flask_mailchimp_optin.testing.redis_server import embedded_redis

from . import commits, imports, latency, rings, scale, sync, tenants

GROUPS = {
    "commits": commits.measure,
    "imports": imports.measure,
    "latency": latency.measure,
    "rings": rings.measure,
    "sync": sync.measure,
    "tenants": tenants.measure,
    "scale": scale.measure,
}


def main() -> None:
    """Measure, print, write."""
    names = os.environ.get("ONLY", "").split() or list(GROUPS)
    rows = []
    print(f"{'name':42} {'ours':>10} {'baseline':>10} {'ratio':>6}  against")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis_url = os.environ.get("REDIS_URL") or stack.enter_context(embedded_redis())
        for name in names:
            for row in GROUPS[name](folder, redis_url):
                rows.append(row)
                print(
                    f"{row['name']:42} {row['value']:8.3f} {row['unit'][:1]} "
                    f"{row['baseline']:8.3f} {row['unit'][:1]} {row['ratio']:6.2f}  "
                    f"{row['note']} (n={row['n']})",
                    flush=True,
                )
    if len(names) == len(GROUPS):
        Path(__file__).with_name("results.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
