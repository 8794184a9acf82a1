"""Every ``MAILCHIMP_OPTIN_*`` key in one place: name, type, default and one line of documentation.

Pure. Read once by ``init_app``; what is wrong is refused there, with a message that says what to do.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .errors import ConfigError

PREFIX = "MAILCHIMP_OPTIN_"
#: Mailchimp's data centres, such as us6. Nothing else may become part of a host name.
DATACENTRE = r"[a-z]{2,4}[0-9]{1,3}"
#: Mailchimp's API keys: 32 hexadecimal digits, a hyphen, the data centre.
KEY_FORM = re.compile(rf"[0-9a-f]{{32}}-{DATACENTRE}", re.ASCII)
#: What may stand after the ? of Redis' address. Its client takes more: some would undo our short
#: timeouts or break RQ, and a misspelt one would show only when a worker is to be woken.
_REDIS_OPTIONS = ("db", "username", "password", "protocol", "health_check_interval", "client_name")
_REDIS_TLS_OPTIONS = (
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_min_version",
)
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
_SENTINEL_URL = re.compile(
    r"(?P<scheme>rediss?)\+sentinel://(?P<user>[^@/?#]*@)?(?P<hosts>[^@/?#]+)"
    r"/(?P<service>[\w.-]+)(?P<database>/[0-9]*)?(?P<options>\?[^#]*)?",
    re.ASCII,
)
_SENTINEL_HOST = re.compile(r"(\[[0-9A-Fa-f:]+\]|[\w.-]+)(?::([0-9]{1,5}))?", re.ASCII)

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


def _key(doc: str, default: Any = MISSING, *, secret: bool = False) -> Any:
    if default is MISSING:
        return field(metadata={"doc": doc}, repr=not secret)
    return field(default=default, metadata={"doc": doc}, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The developer's configuration; an administrator's settings are in the database instead."""

    ENCRYPTION_KEYS: tuple[str, ...] = _key(
        "Fernet keys that encrypt API keys and signing secrets, newest first. Make one with "
        "`python -m flask_mailchimp_optin`. Required.",
        secret=True,
    )
    API_KEY: str | None = _key(
        "Mailchimp's API key, where it is kept with the application's other secrets; the settings page "
        "then uses it and asks for none. Not with several tenants. None: an administrator enters it.",
        None,
        secret=True,
    )
    OAUTH_CLIENT_ID: str | None = _key(
        "The client id of the application as it is registered at Mailchimp: the settings page then has "
        '"Connect with Mailchimp" beside the API key. Needs OAUTH_CLIENT_SECRET and PUBLIC_URL; not '
        "with API_KEY. None: by API key only.",
        None,
    )
    OAUTH_CLIENT_SECRET: str | None = _key(
        "The client secret that belongs to OAUTH_CLIENT_ID.", None, secret=True
    )
    REDIS_URL: str = _key(
        "Redis for RQ: redis://, rediss:// (TLS), unix://, or redis+sentinel:// and rediss+sentinel://, "
        "which ask Sentinel for the master; after a ? such options as ssl_ca_certs.",
        "redis://127.0.0.1:6379/0",
        secret=True,
    )
    QUEUE: str = _key("Name of the RQ queue.", "mailchimp_optin")
    PUBLIC_URL: str | None = _key(
        "The site's address as Mailchimp reaches it, such as https://crm.example.com; without it "
        "changes at Mailchimp come in with the daily sync only.",
        None,
    )
    URL_PREFIX: str = _key("Where the pages and the webhook live.", "/integrations/mailchimp")
    PROBES_PREFIX: str | None = _key(
        "Where `live` and `ready` answer, without a login, such as /healthz for /healthz/live; None: "
        "nowhere.",
        None,
    )
    API_URL: str | None = _key(
        "Another server that speaks Mailchimp's API 3.0 (the sandbox), ending in /3.0/; None: "
        "Mailchimp, in the key's data centre.",
        None,
    )
    CONNECTIONS: int = _key(
        "Most members read at once from one Mailchimp account; Mailchimp allows 10 requests.", 8
    )
    TIMEOUT_S: float = _key("Total time for one request to Mailchimp, in seconds.", 30.0)
    STOP_SHARE: float = _key(
        "A sync that would untick, remove or ask more than this share of the customers stops ...",
        0.01,
    )
    STOP_COUNT: int = _key("... if it is also more than this many of them.", 100)
    EVIDENCE_IP: str = _key(
        "How the ledger keeps the IP address of a decision: off, truncated or full.", "truncated"
    )
    REDIS_TIMEOUT_S: float = _key(
        "Longest time to connect to Redis or wait for its answer, in seconds, when a worker is asked "
        "for after a commit; then it is left alone for 5 s. No commit waits for it.",
        0.04,
    )
    KEEP_DAYS: int = _key(
        "After so many days, webhooks that were worked off and syncs that ended are deleted; 0: never.",
        90,
    )
    KEEP_DECISIONS_DAYS: int = _key(
        "After so many days (30 or more), a decision is deleted from the ledger if a later one of the "
        "same customer replaced it, or if the customer is gone; 0: never.",
        0,
    )

    @property
    def oauth_redirect(self) -> str:
        """Where Mailchimp sends an administrator back to who agreed there."""
        return f"{(self.PUBLIC_URL or '').rstrip('/')}{self.URL_PREFIX}/login/done"

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Config:
        """The checked configuration from ``app.config``.

        :raises ConfigError: a key is missing, unknown or has a wrong value.
        """
        known = {f.name: f for f in fields(cls)}
        given = {k.removeprefix(PREFIX): v for k, v in settings.items() if k.startswith(PREFIX)}
        for name in given:
            if name not in known:
                names = ", ".join(PREFIX + n for n in known)
                raise ConfigError(f"{PREFIX}{name} is not a setting of ours. Known: {names}.")
        _require_keys(given)
        if isinstance(given.get("ENCRYPTION_KEYS"), list):
            given["ENCRYPTION_KEYS"] = tuple(given["ENCRYPTION_KEYS"])
        # Mailchimp's are made of digits, which the environment takes for a number.
        if type(given.get("OAUTH_CLIENT_ID")) is int:
            given["OAUTH_CLIENT_ID"] = str(given["OAUTH_CLIENT_ID"])
        for name, value in given.items():
            _check_type(known[name], value)
        config = cls(**given)
        _check_values(config)
        return config


def _require_keys(given: Mapping[str, Any]) -> None:
    if not given.get("ENCRYPTION_KEYS"):
        raise ConfigError(
            f"{PREFIX}ENCRYPTION_KEYS is not set. API keys are stored encrypted only. Make a key "
            "with `python -m flask_mailchimp_optin`, keep it outside the code and the "
            f"database, and set {PREFIX}ENCRYPTION_KEYS = [key]."
        )


_CHECKS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "tuple[str, ...]": (tuple, "a list of texts"),
    "str": (str, "a text"),
    "str | None": ((str, type(None)), "a text or None"),
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
}


def _check_type(key: Field[Any], value: Any) -> None:
    types, words = _CHECKS[str(key.type)]
    wrong_items = isinstance(value, tuple) and not all(isinstance(v, str) for v in value)
    if not isinstance(value, types) or isinstance(value, bool) or wrong_items:
        strange = next((v for v in value if not isinstance(v, str)), "") if wrong_items else value
        kind = f"{'holds' if wrong_items else 'is'} {type(strange).__name__}"
        raise ConfigError(f"{PREFIX}{key.name} must be {words}, but {kind}.")


def _check_values(config: Config) -> None:
    if not 1 <= config.CONNECTIONS <= 10:
        raise ConfigError(f"{PREFIX}CONNECTIONS must be 1 to 10: Mailchimp allows 10 at once.")
    if not 1 <= config.TIMEOUT_S <= 120:
        raise ConfigError(f"{PREFIX}TIMEOUT_S must be 1 to 120 seconds.")
    if not 0 <= config.STOP_SHARE <= 1 or config.STOP_COUNT < 0:
        raise ConfigError(f"{PREFIX}STOP_SHARE must be 0 to 1, {PREFIX}STOP_COUNT not negative.")
    if not 0 < config.REDIS_TIMEOUT_S <= 5:
        raise ConfigError(f"{PREFIX}REDIS_TIMEOUT_S must be above 0 and at most 5 seconds.")
    if config.KEEP_DAYS < 0:
        raise ConfigError(f"{PREFIX}KEEP_DAYS must be 0 (for ever) or more days.")
    if config.KEEP_DECISIONS_DAYS and config.KEEP_DECISIONS_DAYS < 30:
        raise ConfigError(f"{PREFIX}KEEP_DECISIONS_DAYS must be 0 (for ever), or 30 days or more.")
    if config.EVIDENCE_IP not in ("off", "truncated", "full"):
        raise ConfigError(f"{PREFIX}EVIDENCE_IP must be off, truncated or full.")
    if not _PATH.fullmatch(config.URL_PREFIX):
        raise ConfigError(f"{PREFIX}URL_PREFIX must look like /integrations/mailchimp.")
    if config.PROBES_PREFIX is not None and not _PATH.fullmatch(config.PROBES_PREFIX):
        raise ConfigError(f"{PREFIX}PROBES_PREFIX must look like /healthz, or be None.")
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,100}", config.QUEUE):
        raise ConfigError(f"{PREFIX}QUEUE may hold letters, digits and _ . : - only.")
    if config.API_KEY is not None and not KEY_FORM.fullmatch(config.API_KEY):
        raise ConfigError(
            f"{PREFIX}API_KEY is not a Mailchimp API key: 32 digits and letters a-f, a hyphen and the "
            "data centre, such as us6. Copy it again, without blanks or line ends, or set it to None."
        )
    _check_redis_url(config.REDIS_URL)
    for name in ("PUBLIC_URL", "API_URL"):
        _check_url(name, getattr(config, name))
    _check_oauth(config)


def _check_oauth(config: Config) -> None:
    given = [
        name
        for name in ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET")
        if getattr(config, name) is not None
    ]
    if not given:
        return
    if len(given) == 1:
        raise ConfigError(
            f"{PREFIX}OAUTH_CLIENT_ID and {PREFIX}OAUTH_CLIENT_SECRET belong together: only "
            f"{PREFIX}{given[0]} is set. Set both, or none."
        )
    for name in given:
        if not re.fullmatch(r"[!-~]{1,200}", getattr(config, name)):
            raise ConfigError(f"{PREFIX}{name} is empty, or holds blanks or line ends.")
    if config.API_KEY is not None:
        raise ConfigError(
            f"{PREFIX}API_KEY and {PREFIX}OAUTH_CLIENT_ID are two ways to connect. Leave one out."
        )
    if config.PUBLIC_URL is None:
        raise ConfigError(
            f"{PREFIX}OAUTH_CLIENT_ID needs {PREFIX}PUBLIC_URL: there Mailchimp sends an administrator "
            "back to who agreed."
        )
    if urlsplit(config.PUBLIC_URL).hostname == "localhost":
        raise ConfigError(
            f"{PREFIX}PUBLIC_URL must have 127.0.0.1 instead of localhost where "
            f"{PREFIX}OAUTH_CLIENT_ID is set: Mailchimp sends nobody back to localhost."
        )


def in_the_clear(url: str) -> bool:
    """Whether it can be read on the way: HTTP, beyond this machine and private networks."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_near = not ipaddress.ip_address(host).is_global
    except ValueError:
        is_near = "." not in host or host.endswith(".localhost")
    return parts.scheme == "http" and not is_near


@dataclass(frozen=True, kw_only=True)
class Sentinels:
    """Whom to ask for the master, as ``redis+sentinel://`` says.

    :param hosts: Sentinel's own, each with its port.
    :param service: the name that Sentinel gives the master.
    :param master: the master's address, but for its host: with user, database, options.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str
    master: str = field(repr=False)

    @classmethod
    def of(cls, url: str) -> Sentinels | None:
        """What a Redis address says of Sentinel; None: it is no such address."""
        found = _SENTINEL_URL.fullmatch(url)
        if found is None or found["service"].isdecimal():  # that is a database: the name is missing
            return None
        hosts = [_SENTINEL_HOST.fullmatch(host) for host in found["hosts"].split(",")]
        pairs = tuple((host[1].strip("[]"), int(host[2] or 26379)) for host in hosts if host)
        if len(pairs) < len(hosts) or not all(0 < port < 65536 for _, port in pairs):
            return None
        rest = f"{found['user'] or ''}{found['database'] or ''}{found['options'] or ''}"
        return cls(hosts=pairs, service=found["service"], master=f"{found['scheme']}://{rest}")


def _check_redis_url(url: str) -> None:
    name = f"{PREFIX}REDIS_URL"
    more: tuple[str, ...] = ()
    hosts = url.partition("://")[2].partition("?")[0].rpartition("@")[2].partition("/")[0]
    if "sentinel" in url.partition(":")[0] or "," in hosts:
        sentinels = Sentinels.of(url)
        if sentinels is None:
            raise ConfigError(
                f"{name} must, with Sentinel, look like redis+sentinel://:password@host1:26379,"
                "host2:26379/mymaster/0: where Sentinel runs, the master's name there, the database; "
                "rediss+sentinel:// is for TLS. A list of servers without Sentinel is not understood."
            )
        url, more = sentinels.master, _SENTINEL_OPTIONS
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("redis", "rediss", "unix") and parts.port != 0
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        good = False
    if good:
        place = r"/.+" if parts.scheme == "unix" else r"(/[0-9]*)?"
        good = re.fullmatch(place, parts.path) is not None and not parts.fragment
    if not good or not url.isprintable():
        raise ConfigError(
            f"{name} must look like redis://127.0.0.1:6379/0, with redis://, rediss://, unix:// "
            "or redis+sentinel:// at its start."
        )
    known = _REDIS_OPTIONS + (_REDIS_TLS_OPTIONS if parts.scheme == "rediss" else ()) + more
    for option, value in options:
        _check_redis_option(known, option, value)


def _check_redis_option(known: tuple[str, ...], option: str, value: str) -> None:
    if option not in known:
        hint = " Options of TLS need rediss://." if option in _REDIS_TLS_OPTIONS else ""
        raise ConfigError(
            f"{PREFIX}REDIS_URL has an option that is none of {', '.join(known)}.{hint}"
        )
    numbers = ("db", "protocol", "health_check_interval", "ssl_min_version")
    words = {
        "ssl_cert_reqs": ("none", "optional", "required"),
        "ssl_check_hostname": ("true", "false"),
    }
    allowed = words.get(option, (value.lower(),))
    if not value or (option in numbers and not value.isdecimal()) or value.lower() not in allowed:
        raise ConfigError(f"{PREFIX}REDIS_URL: {option} has a value that it can't have.")


def _check_url(name: str, url: str | None) -> None:
    if url is None:
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        _ = parts.port  # raises ValueError for a port that is no number
    except ValueError:
        good = False
    good = good and url.isprintable() and " " not in url  # urlsplit drops line ends silently
    if not good or parts.query or parts.fragment:
        raise ConfigError(f"{PREFIX}{name} must be a plain http(s) address without a password.")
    if name == "API_URL" and in_the_clear(url):
        raise ConfigError(
            f"{PREFIX}API_URL must begin with https://, or the API key could be read on the way. Plain "
            "http:// is for this machine and private networks."
        )
    if name == "API_URL" and not parts.path.endswith("/3.0/"):
        raise ConfigError(f"{PREFIX}API_URL must end in /3.0/ (with the last slash).")
