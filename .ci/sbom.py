"""What the wheel draws in, as a CycloneDX SBOM: ``python .ci/sbom.py dist VENV FILE``.

VENV holds the wheel and what was installed with it, and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CYCLONEDX = str(Path(sys.executable).with_name("cyclonedx-py"))


def main(dist: Path, environment: Path, file: Path) -> None:
    """Write it; raise if it is not valid CycloneDX, or lacks something that the wheel needs."""
    (wheel,) = distributions(path=[str(path) for path in dist.glob("*.whl")])
    declared = [Requirement(text) for text in wheel.requires or ()]
    needed = [one for one in declared if not one.marker or one.marker.evaluate({"extra": ""})]
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "pyproject.toml")
        project.write_text(_project(wheel, needed), encoding="utf-8")
        command = [CYCLONEDX, "environment", "--validate", "--output-reproducible"]
        command += ["--pyproject", str(project), "--mc-type", "library"]
        command += ["--output-file", str(file), str(environment)]
        subprocess.run(command, check=True)  # noqa: S603  # our own
    sbom = json.loads(file.read_text(encoding="utf-8"))
    listed = {canonicalize_name(component["name"]) for component in sbom["components"]}
    if missing := {canonicalize_name(one.name) for one in needed} - listed:
        raise SystemExit(f"missing in the SBOM: {', '.join(sorted(missing))}")
    print(f"{len(needed)} dependencies, {len(listed)} with theirs, in {file}")


def _project(wheel: Distribution, needed: list[Requirement]) -> str:
    """What the SBOM is about, in the one form in which cyclonedx-py can be told."""
    of = wheel.metadata
    fields = {
        "name": of["Name"],
        "version": of["Version"],
        "description": of["Summary"],
        "license": of["License"],
        "dependencies": [str(one) for one in needed],
    }
    # A text or a list of texts in JSON is one in TOML, too.
    return "\n".join(["[project]", *(f"{name} = {json.dumps(fields[name])}" for name in fields)])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
