"""English texts for people, kept so that they can be said in another language later. Pure.

Whatever speaks to an administrator is written here in English and translated where it is shown; a
:class:`Text` is a plain string to everybody else: to logs, the database, the command line.
"""

from __future__ import annotations

from typing import Any


class Text(str):
    """An English text that remembers what it was made of.

    :param msgid: the text, with ``%(name)s`` where values go.
    :param values: numbers, names, or other texts. Numbers are written with their thousands apart.
    """

    __slots__ = ("msgid", "values")

    msgid: str
    values: dict[str, Any]

    def __new__(cls, msgid: str, **values: Any) -> Text:
        shown = {name: _in_english(value) for name, value in values.items()}
        self = super().__new__(cls, msgid % shown if values else msgid)
        self.msgid, self.values = msgid, values
        return self


def _in_english(value: Any) -> Any:
    return f"{value:,}" if type(value) is int else value


def N_(text: str) -> str:  # noqa: N802  # gettext's own name for "to be translated later"
    """Mark a text for translation, where it is not shown yet."""
    return text
