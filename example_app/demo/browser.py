"""A person's browser for the check: opens pages, reads them, fills in their forms and sends them.

Whatever a page does not offer (a field, a button, a hidden token) can't be sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

from .stage import direct

_VOID = frozenset(["area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source"])
_TIMEOUT_S = 20.0

#: Names of fields, and what is entered into them.
Entries = Mapping[str, str | bool]


class NotThere(Exception):
    """The page has no such thing, or was refused; the message says what was looked for."""


@dataclass
class Element:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text inside, blanks collapsed."""
        parts = (child if isinstance(child, str) else child.text for child in self.children)
        return " ".join(" ".join(parts).split())

    def all(self, tag: str = "", **attributes: str) -> Iterator[Element]:
        """Every element inside of this tag and these attributes; `_` stands for `-`."""
        wanted = {name.strip("_").replace("_", "-"): value for name, value in attributes.items()}
        for child in self.children:
            if isinstance(child, Element):
                if tag in ("", child.tag) and wanted.items() <= child.attributes.items():
                    yield child
                yield from child.all(tag, **attributes)

    def first(self, tag: str = "", **attributes: str) -> Element:
        """
        :raises NotThere: there is none.
        """
        for found in self.all(tag, **attributes):
            return found
        raise NotThere(f"no <{tag}> {attributes or ''} in “{self.text[:200]}”")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("page", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if any(element.tag == tag for element in self.open):
            while self.open.pop().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self.open[-1].tag not in ("script", "style"):
            self.open[-1].children.append(data)


def parsed(html: str) -> Element:
    """A page's elements."""
    reader = _Reader()
    reader.feed(html)
    return reader.open[0]


class Browser:
    """One person, on one site."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._session = direct()
        self.url = base_url
        self.page = Element("page", {})

    def open(self, path: str) -> Element:
        """Open a page.

        :raises NotThere: the answer is no page.
        """
        return self._ask("GET", urljoin(self._base_url, path), {})

    def json(self, path: str) -> dict[str, object]:
        """What a page's script would read."""
        answer = self._session.get(urljoin(self._base_url, path), timeout=_TIMEOUT_S)
        answer.raise_for_status()
        found: dict[str, object] = answer.json()
        return found

    def submit(self, button: str, entries: Entries | None = None, within: str = "") -> Element:
        """Fill in the form that has this button, and send it.

        :param entries: what is entered into its fields; True or False for a checkbox.
        :param within: a value that the form must hold, where a button is there twice.
        :raises NotThere: there is no such form or field.
        """
        for form in self.page.all("form"):
            values = _values(form)
            labels = [found.text for found in form.all("button")]
            labels += [found.attributes.get("value", "") for found in form.all("input")]
            if button in labels and (not within or within in values.values()):
                _enter(form, values, entries or {})
                action = urljoin(self.url, form.attributes.get("action") or self.url)
                return self._ask(form.attributes.get("method", "get").upper(), action, values)
        raise NotThere(f"no button “{button}” on {self.url}")

    def _ask(self, method: str, url: str, values: dict[str, str]) -> Element:
        answer = self._session.request(
            method,
            url,
            params=values if method == "GET" else None,
            data=values if method != "GET" else None,
            headers={"Referer": self.url},
            timeout=_TIMEOUT_S,
        )
        if answer.status_code not in (200, 422):  # 422: a form comes back with what is wrong
            raise NotThere(f"{method} {url} answered {answer.status_code}: {answer.text[:300]}")
        self.url, self.page = answer.url, parsed(answer.text)
        return self.page


def _values(form: Element) -> dict[str, str]:
    """What a form would send as it is."""
    values = {}
    for found in form.all("input"):
        a = found.attributes
        kind = a.get("type", "text")
        chosen = "checked" in a or kind not in ("checkbox", "radio")
        if "name" in a and chosen and kind != "submit":
            values[a["name"]] = a.get("value", "on" if kind == "checkbox" else "")
    for found in form.all("select"):
        options = list(found.all("option"))
        chosen_options = [option for option in options if "selected" in option.attributes]
        for option in (chosen_options or options)[:1]:
            values[found.attributes["name"]] = option.attributes.get("value", option.text)
    return values


def _enter(form: Element, values: dict[str, str], entries: Entries) -> None:
    for name, entry in entries.items():
        fields = [found for tag in ("input", "select") for found in form.all(tag, name=name)]
        if not fields:
            raise NotThere(f"no field “{name}” in the form")
        if isinstance(entry, str):
            values[name] = entry
        elif entry:
            values[name] = fields[0].attributes.get("value", "on")
        else:
            values.pop(name, None)
