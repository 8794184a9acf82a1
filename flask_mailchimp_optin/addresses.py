"""Email addresses in their one canonical form, and Mailchimp's name for them.

Pure: no I/O. Both journeys compare addresses only in this form.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from .errors import BadAddress
from .texts import N_, Text

#: What almost every address looks like: nothing in it needs the careful way, which costs 50 times as
#: much. A label with two hyphens may be an encoded international one.
_PLAIN = re.compile(
    r"[a-z0-9_+-]{1,64}(?:\.[a-z0-9_+-]{1,64}){0,8}"
    r"@(?:(?![a-z0-9-]*--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24}",
    re.ASCII,
)


def canonical(raw: object) -> str:
    """The canonical form of an address as a host or Mailchimp wrote it.

    Surrounding space goes, Unicode is normalised to NFC, everything is lower-cased (Mailchimp names
    members by the lower-cased address), an international domain is written in its ASCII form.
    Plus tags and dots stay: only the receiving server knows whether they matter.

    :raises BadAddress: the text is not one deliverable-looking address (RFC 5321 lengths included).
    """
    if not isinstance(raw, str) or not raw.strip():
        raise BadAddress(N_("There is no email address. Enter one."))
    text = raw.strip()
    plain = text.lower()
    if text.isascii() and len(plain) <= 254 and _PLAIN.fullmatch(plain):
        local, _, domain = plain.partition("@")
        if len(local) <= 64 and len(domain) <= 253:
            return plain
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in text):
        raise BadAddress(
            N_("The email address holds an invisible character. Type it again by hand.")
        )
    # Only here: it takes longer to import than all of ours, and few addresses need it.
    from email_validator import EmailNotValidError, validate_email

    try:
        parsed = validate_email(
            text, check_deliverability=False, test_environment=True, allow_quoted_local=True
        )
    except EmailNotValidError as error:
        raise BadAddress(Text("This is not an email address: %(why)s", why=str(error))) from None
    # Lower-case before NFC: "İ".lower() is two code points, which NFC leaves as they are.
    local = unicodedata.normalize("NFC", parsed.local_part.lower())
    if len(local.encode()) > 64:
        raise BadAddress(N_("The part before the @ is longer than the 64 bytes that mail allows."))
    result = f"{local}@{(parsed.ascii_domain or parsed.domain).lower()}"
    if len(result.encode()) > 254:
        raise BadAddress(N_("The email address is longer than the 254 bytes that mail allows."))
    return result


def canonical_or_none(raw: object) -> str | None:
    """:func:`canonical`, and None where there is no such address."""
    try:
        return canonical(raw)
    except BadAddress:
        return None


def subscriber_hash(address: str) -> str:
    """Mailchimp's path name of a member: MD5 of the lower-cased address, in hexadecimal.

    :param address: in canonical form.
    """
    return hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()
