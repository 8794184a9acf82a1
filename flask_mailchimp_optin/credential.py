"""What opens a Mailchimp account: an API key, or the access token that Mailchimp's login gave. Pure.

An API key is kept as it is; a token with its data centre behind a mark that no key can have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .config import DATACENTRE, KEY_FORM
from .errors import RefusedInput
from .texts import N_

_MARK = "oauth:"
#: What may stand in a header.
TOKEN_FORM = re.compile(r"[A-Za-z0-9._~+/=-]{16,200}", re.ASCII)
_STORED = re.compile(rf"{_MARK}({DATACENTRE}):({TOKEN_FORM.pattern})", re.ASCII)
_TOKENS_HINT = "OAuth"


def check_key(api_key: str) -> str:
    """The API key, trimmed, if it has the form of one; nothing is sent to find out.

    :raises RefusedInput: it hasn't; the message says what a key looks like.
    """
    api_key = api_key.strip()
    if not KEY_FORM.fullmatch(api_key):
        raise RefusedInput(
            N_(
                "This is not a Mailchimp API key. A key has 32 digits and letters a–f, a hyphen and the "
                "data centre, like 0123456789abcdef0123456789abcdef-us6. Copy it again in Mailchimp: "
                "Profile → Extras → API keys."
            )
        )
    return api_key


def datacentre(api_key: str) -> str:
    """The data centre that a checked key names, such as ``us6``."""
    return api_key.rpartition("-")[2]


@dataclass(frozen=True, kw_only=True)
class Credential:
    """One account's key or token.

    :param secret: what is sent: the whole API key, or the token alone.
    :param datacentre: where the account is, such as ``us6``; checked, as it becomes a host name.
    """

    secret: str = field(repr=False)
    datacentre: str
    is_token: bool = False

    @classmethod
    def of_key(cls, api_key: str) -> Credential:
        """An API key that somebody entered.

        :raises RefusedInput: it is none.
        """
        api_key = check_key(api_key)
        return cls(secret=api_key, datacentre=datacentre(api_key))

    @classmethod
    def of_token(cls, token: str, centre: str) -> Credential | None:
        """What Mailchimp's login gave; None if it is nothing that could be sent."""
        return cls.stored(f"{_MARK}{centre}:{token}")

    @classmethod
    def stored(cls, api_key: str) -> Credential | None:
        """From :attr:`text`, as the vault gave it back; None for what is neither key nor token."""
        if KEY_FORM.fullmatch(api_key):
            return cls.of_key(api_key)
        if token := _STORED.fullmatch(api_key):
            return cls(secret=token[2], datacentre=token[1], is_token=True)
        return None

    @property
    def text(self) -> str:
        """What the vault seals."""
        return f"{_MARK}{self.datacentre}:{self.secret}" if self.is_token else self.secret

    @property
    def hint(self) -> str:
        """What may be shown: a key's last four digits, or that it is a token; and the data centre."""
        return f"{_TOKENS_HINT if self.is_token else '…' + self.secret[28:32]}-{self.datacentre}"


def is_token_hint(hint: str) -> bool:
    """Whether :attr:`Credential.hint` was a token's."""
    return hint.startswith(_TOKENS_HINT)
