"""What may be told to nobody: keys, signing secrets, tokens and addresses, wherever they turn up.

Every test's log is searched (``conftest.py``), down to its debug messages, and what processes that tests
start have written.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

#: What tests make up looks like what it stands for, so that it is found whatever it is.
SECRETS = {
    "an API key": re.compile(r"[0-9a-f]{32}-us[0-9]+"),
    "a password in a header": re.compile(r"(?i)\bbasic [A-Za-z0-9+/]{20,}"),
    "an access token": re.compile(
        r"(?i)(?:\bbearer |\boauth |\boauth:us6:|access_token\W{1,4})[0-9a-f]{32}"
    ),
    "a client secret": re.compile(r"(?<![0-9a-f])[0-9a-f]{50}(?![0-9a-f])"),
    "a webhook's address": re.compile(r"/webhook/[A-Za-z0-9_-]{40,}"),
    "a signing secret": re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"),
    "an encryption key": re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}=(?![A-Za-z0-9_=-])"),
}
ADDRESS = {
    "an address": re.compile(r"[\w.+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|test)\b")
}

#: Who speaks while we work. Not the web server and SQLAlchemy, whose logs are the host's to choose:
#: docs/security.rst says how.
_SPEAKERS = ("flask_mailchimp_optin", "host", "rq", "urllib3", "requests", "mailchimp3")
_FORMAT = logging.Formatter("%(name)s %(message)s")


def found_in(text: str, *, addresses: bool = True) -> list[str]:
    """What is told there that must not be, with its kind."""
    kinds = SECRETS | (ADDRESS if addresses else {})
    return [f"{kind}: {hit[0]}" for kind, one in kinds.items() for hit in one.finditer(text)]


class _Ear(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("urllib3") and "/3.0/" not in f"{record.msg} {record.args!r}":
            return  # what a test or the sandbox asked, and not we
        known = vars(logging.makeLogRecord({}))
        extra = {name: value for name, value in vars(record).items() if name not in known}
        text = f"{_FORMAT.format(record)} {record.args!r} {extra!r}"
        self.told += [f"{one} in {text[:2000]}" for one in found_in(text)]


@contextmanager
def listening() -> Iterator[list[str]]:
    """What is told meanwhile, in any thread of this process, that must not be."""
    ear, speakers = _Ear(), [logging.getLogger(name) for name in _SPEAKERS]
    before = [one.level for one in speakers]
    for one in speakers:
        one.setLevel(logging.DEBUG)
        one.addHandler(ear)
    try:
        yield ear.told
    finally:
        for one, level in zip(speakers, before, strict=True):
            one.setLevel(level)
            one.removeHandler(ear)
