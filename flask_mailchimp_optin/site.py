"""Which site a connection belongs to, so that a copied database doesn't speak for the one it came from.

Both journeys. A connection keeps the site that it was connected from; where another one finds it,
nothing is sent and no webhook is touched until a person has said what that site is. Not even a no
goes out: what is unticked in a copy is nobody's word, and the real ones are told by the real site.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Row

from .services import Services, Transaction
from .texts import N_, Text

SAY_FIRST = N_(
    "Nothing is sent to Mailchimp from here until an administrator says on the settings page what this "
    "site is: the same one, moved, or a copy."
)
_NONE = "-"
_PORTS = {"http": 80, "https": 443}


def here(tx: Transaction, services: Services) -> str:
    """This site, as a connection keeps it: its public address and the name of its database.

    Nothing that differs between web and workers, or that an ordinary deployment changes: no host
    names, no path or password of the database, no keys, not whether it is HTTPS.
    """
    return named(services.config.PUBLIC_URL, tx.connection.engine.url.database)


def named(public_url: str | None, database: str | None) -> str:
    """A site of this public address and this database.

    :param database: its name; SQLite's, a path, whose folders may be a release's own.
    """
    return f"{_address(public_url)} {PurePath(database or '').name}"


def _address(public_url: str | None) -> str:
    if public_url is None:
        return _NONE
    parts = urlsplit(public_url)
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.hostname}{port}{parts.path.rstrip('/')}"


def difference(tx: Transaction, services: Services, connection: Row[Any]) -> str | None:
    """Why this looks like another site than the one that was connected; None if it doesn't."""
    now, then = here(tx, services), connection.site
    if now == then:
        return None
    here_at, was_at = now.split(" ")[0], then.split(" ")[0]
    if here_at == was_at:
        return N_("Mailchimp was connected from a database with another name than this one has.")
    if was_at == _NONE:
        return Text(
            "Mailchimp was connected from a site without a public address, and this site is %(here)s.",
            here=here_at,
        )
    if here_at == _NONE:
        return Text(
            "Mailchimp was connected from %(there)s, and this site has no public address.",
            there=was_at,
        )
    return Text(
        "Mailchimp was connected from %(there)s, and this site is %(here)s.",
        there=was_at,
        here=here_at,
    )


def is_other(tx: Transaction, services: Services, connection: Row[Any]) -> bool:
    """Whether the connection belongs to another site."""
    return bool(here(tx, services) != connection.site)
