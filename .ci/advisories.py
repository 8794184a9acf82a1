"""Whether what is installed has a known hole: ``python .ci/advisories.py VENV…``.

pip-audit ends alike when there is no hole and when nobody knows the packages, and alike when there is a
hole and when nobody answers. So it is first asked about a release that is known for its holes: only a
service that names them is believed about the others.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PIP_AUDIT = str(Path(sys.executable).with_name("pip-audit"))
SERVICES = ("pypi", "osv")
KNOWN = "jinja2==2.10"  # CVE-2019-10906, among others
OURS = "flask-mailchimp-optin"  # is looked up nowhere: it is what we are about to release


def main(*environments: Path) -> None:
    """Raise if there is a hole, or if something is not looked up although advisories can be read."""
    service = next((name for name in SERVICES if _is_read(name)), None)
    if service is None:
        print("NO ADVISORIES CAN BE READ HERE: nothing was looked up.")
        return
    bad = set()
    for environment in environments:
        (packages,) = environment.glob("lib/python*/site-packages")
        found, error = _ask(service, "--path", str(packages))
        if not found:
            raise SystemExit(f"pip-audit failed:\n{error}")
        bad |= _holes(found) | _unknown(found)
        print(f"{environment}: {service} was asked about {len(found)} packages")
    if bad:
        raise SystemExit("\n".join(sorted(bad)))


def _is_read(service: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder, "known.txt")
        known.write_text(KNOWN, encoding="utf-8")
        found, _ = _ask(service, "--no-deps", "--disable-pip", "--requirement", str(known))
    return bool(_holes(found))


def _ask(service: str, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """What it says about each package; or nothing, and why."""
    command = [PIP_AUDIT, "--vulnerability-service", service, "--format", "json", *arguments]
    command += ["--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603  # our own
    return (json.loads(done.stdout)["dependencies"] if done.stdout else []), done.stderr


def _holes(found: list[dict[str, Any]]) -> set[str]:
    return {
        f"{one['name']} {one['version']}: {hole['id']}, mended in {hole['fix_versions'] or 'none'}"
        for one in found
        for hole in one.get("vulns", ())
    }


def _unknown(found: list[dict[str, Any]]) -> set[str]:
    skipped = [one for one in found if "skip_reason" in one and one["name"] != OURS]
    return {f"{one['name']} was not looked up: {one['skip_reason']}" for one in skipped}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
