"""``python -m flask_mailchimp_optin`` prints a new key for ``MAILCHIMP_OPTIN_ENCRYPTION_KEYS``."""

from __future__ import annotations

from .vault import new_key

if __name__ == "__main__":
    print(new_key())
