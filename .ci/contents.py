"""Whether sdist and wheel hold what they should, and nothing else: ``python .ci/contents.py dist``."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flask_mailchimp_optin"


def main(dist: Path) -> None:
    """Raise if something is missing or should not be there."""
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    foreign = {name for name in in_wheel - expected if ".dist-info/" not in name}
    _none("missing in the wheel", expected - in_wheel)
    _none("foreign in the wheel", foreign)
    _none("missing in the sdist", (expected | _beside()) - in_sdist)
    _none("foreign in the sdist", {n for n in in_sdist if "__pycache__" in n or "_build/" in n})
    for part in (
        "py.typed",
        "/templates/",
        "/static/",
        "/translations/",
        "/testing/sandbox/templates/",
    ):
        if not any(part in name for name in in_wheel):
            raise SystemExit(f"nothing in the wheel has {part} in its name")
    print(f"{len(in_wheel)} files in the wheel, {len(in_sdist)} in the sdist")


def _beside() -> set[str]:
    names = "README.rst CHANGES.rst SECURITY.rst LICENSE Makefile setup.py pyproject.toml "
    names += "docs/index.rst example_app/__init__.py tests/conftest.py .importlinter .ci/run"
    return set(names.split())


def _none(what: str, names: set[str]) -> None:
    if names:
        raise SystemExit(f"{what}: {', '.join(sorted(names))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
