"""Write the catalogues of texts: the template from the code, and every language's from the template.

``make messages``. With ``--check`` nothing is written, and an old catalogue is an error.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "flask_mailchimp_optin"
NAME = "flask_mailchimp_optin"
METHODS = [("testing/**.py", "ignore"), ("**.py", "python"), ("templates/**.html", "jinja2")]
_LEFT_OUT = tuple(
    f'"{name}'.encode()
    for name in ("POT-", "PO-", "Report-", "Last-Translator", "Language-Team", "Generated-By")
)
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "N_": None, "Text": None}


def template() -> Catalog:
    """Every text that the code and the pages have."""
    catalogue = Catalog(project="Flask-Mailchimp-Optin", header_comment="")
    found = extract_from_dir(PACKAGE, METHODS, keywords=KEYWORDS)  # type: ignore[arg-type]
    for file, _line, text, comments, context in found:
        # Without line numbers, so that a catalogue only changes when a text does.
        catalogue.add(text, locations=[(file, 0)], auto_comments=comments, context=context)
    return catalogue


def written(catalogue: Catalog) -> bytes:
    """The catalogue as a file; without who wrote it when, which only makes differences."""
    file = BytesIO()
    write_po(file, catalogue, width=100, sort_by_file=True, include_lineno=False)
    lines = file.getvalue().splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(_LEFT_OUT))


def main() -> int:
    """Write or check them all; how many are old or incomplete."""
    check = "--check" in sys.argv
    new = template()
    old = []
    folder = PACKAGE / "translations"
    for path in [folder / f"{NAME}.pot", *sorted(folder.glob(f"*/LC_MESSAGES/{NAME}.po"))]:
        catalogue = new
        if path.suffix == ".po":
            with path.open("rb") as file:
                catalogue = read_po(file, locale=path.parts[-3])
            catalogue.update(new, no_fuzzy_matching=True)
            catalogue.obsolete.clear()
            missing = [text.id for text in catalogue if text.id and not all(_strings(text.string))]
            if missing:
                print(f"{path.relative_to(ROOT)}: {len(missing)} texts without a translation")
                old += [path] if check else []
        content = written(catalogue)
        if not path.is_file() or path.read_bytes() != content:
            old.append(path)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                print(f"{path.relative_to(ROOT)}: written, {len(catalogue)} texts")
    if check and old:
        print("Old or incomplete: run `make messages`, then translate what is empty.", *old)
    return len(old) if check else 0


def _strings(string: str | tuple[str, ...] | list[str] | None) -> list[str]:
    return [string or ""] if string is None or isinstance(string, str) else list(string)


if __name__ == "__main__":
    sys.exit(main())
