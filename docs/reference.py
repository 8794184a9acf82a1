"""The parts of the documentation that are read out of the code: ``.. reference:: configuration``.

So that they can't be out of date. The functions return reStructuredText.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from flask_mailchimp_optin import cli
from flask_mailchimp_optin.config import PREFIX, Config

_TYPES = {
    "tuple[str, ...]": "list of texts",
    "str": "text",
    "str | None": "text or None",
    "int": "whole number",
    "float": "number",
}


def configuration() -> str:
    """Every configuration key with type, default and its line of documentation."""
    return "\n".join(_key(key) for key in fields(Config))


def _key(key: Field[Any]) -> str:
    default = "required" if key.default is MISSING else f"default ``{key.default!r}``"
    doc = str(key.metadata["doc"]).replace("`", "``")
    return f"``{PREFIX}{key.name}``\n    *{_TYPES[str(key.type)]}, {default}.* {doc}\n"


def commands() -> str:
    """Every command of ``flask mailchimp`` with its arguments, options and help."""
    return "\n".join(
        _command(name, cli.group.commands[name]) for name in sorted(cli.group.commands)
    )


def _command(name: str, command: click.Command) -> str:
    arguments = [_argument(p) for p in command.params if isinstance(p, click.Argument)]
    title = " ".join(["flask mailchimp", name, *arguments])
    lines = [f"``{title}``", f"    {_prose(command.help or '')}", ""]
    for option in command.params:
        if isinstance(option, click.Option):
            lines += [f"    ``{_usage(option)}``", f"        {_prose(option.help or '')}", ""]
    return "\n".join(lines)


def _argument(argument: click.Parameter) -> str:
    if isinstance(argument.type, click.Choice):
        return "{" + ",".join(argument.type.choices) + "}"
    return (argument.name or "").upper()


def _usage(option: click.Option) -> str:
    names = ", ".join(option.opts)
    return names if option.is_flag else f"{names} {option.make_metavar(click.Context(cli.group))}"


def _prose(text: str) -> str:
    return " ".join(text.split())


_MAKERS = {"configuration": configuration, "commands": commands}


class Reference(SphinxDirective):
    """``.. reference:: configuration`` or ``commands``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes in place of the directive."""
        return self.parse_text_to_nodes(_MAKERS[self.arguments[0]]())


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("reference", Reference)
    return {"parallel_read_safe": True}
