"""Encryption of API keys and signing secrets, and hashes of webhook tokens.

One outside thing: ``cryptography``. A secret is bound to its purpose and owner: a ciphertext moved to
another tenant's row is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from .errors import ConfigError, MailchimpOptinError
from .texts import N_

_LOST = N_(
    "A stored Mailchimp secret can't be decrypted. Put the encryption key that was in use back into "
    "MAILCHIMP_OPTIN_ENCRYPTION_KEYS, or connect again."
)


class CannotDecrypt(MailchimpOptinError):
    """A stored secret doesn't open: its encryption key is missing, or it was moved or changed."""


class Vault:
    """Seals and opens secrets with the configured Fernet keys, newest first."""

    def __init__(self, keys: Sequence[str]) -> None:
        try:
            fernets = [Fernet(key) for key in keys]
            self._fernet, self._newest = MultiFernet(fernets), fernets[0]
        except ValueError:
            raise ConfigError(
                "MAILCHIMP_OPTIN_ENCRYPTION_KEYS holds something that is not a Fernet key. Make one "
                "with `python -m flask_mailchimp_optin`."
            ) from None
        self._peppers = [
            hashlib.sha256(b"mailchimp-optin:" + key.encode()).digest() for key in keys
        ]

    def seal(self, secret: str, owner: str) -> str:
        """The ciphertext of a secret, bound to its owner.

        :param owner: purpose and tenant, such as ``api-key:acme``.
        """
        return self._fernet.encrypt(json.dumps([owner, secret]).encode()).decode()

    def open(self, sealed: str, owner: str) -> str:
        """The secret again.

        :raises CannotDecrypt: no configured key opens it, or it belongs to another owner.
        """
        try:
            sealed_for, secret = json.loads(self._fernet.decrypt(sealed.encode()))
        except InvalidToken:
            raise CannotDecrypt(_LOST) from None
        if not hmac.compare_digest(str(sealed_for).encode(), owner.encode()):
            raise CannotDecrypt(N_("A stored Mailchimp secret belongs to another connection."))
        return str(secret)

    def is_newest(self, sealed: str) -> bool:
        """Whether a secret is sealed with the newest key."""
        with suppress(InvalidToken):
            self._newest.decrypt(sealed.encode())
            return True
        return False

    def reseal(self, sealed: str) -> str:
        """The same secret for the same owner, sealed with the newest key; as it is if it was already.

        :raises CannotDecrypt: no configured key opens it.
        """
        if self.is_newest(sealed):
            return sealed
        try:
            return self._fernet.rotate(sealed.encode()).decode()
        except InvalidToken:
            raise CannotDecrypt(_LOST) from None

    def fingerprints(self, text: str) -> list[str]:
        """The keyed hashes that stand for a text: 32 hexadecimal digits for each key, newest first.

        Keep the first; compare with all, so that a key that was put in front changes nothing.
        """
        return [
            hmac.new(pepper, text.encode(), hashlib.sha256).hexdigest()[:32]
            for pepper in self._peppers
        ]


def new_key() -> str:
    """A fresh encryption key for ``MAILCHIMP_OPTIN_ENCRYPTION_KEYS``."""
    return Fernet.generate_key().decode()


def new_token() -> str:
    """A fresh webhook token: 32 random bytes, URL-safe."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What the database keeps of a webhook token. Unkeyed on purpose: the token is random enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
