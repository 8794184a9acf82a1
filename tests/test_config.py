"""The configuration: read once, refused at start with a message that names the key and the way out."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import pytest

from flask_mailchimp_optin.config import PREFIX, Config
from flask_mailchimp_optin.errors import ConfigError
from flask_mailchimp_optin.vault import new_key

KEY = new_key()


def read(**settings: Any) -> Config:
    given = {"ENCRYPTION_KEYS": [KEY], **settings}
    return Config.read({PREFIX + name: value for name, value in given.items()})


def test_one_key_is_enough() -> None:
    config = read()
    assert config.ENCRYPTION_KEYS == (KEY,)
    assert (config.QUEUE, config.URL_PREFIX) == ("mailchimp_optin", "/integrations/mailchimp")
    assert (config.CONNECTIONS, config.TIMEOUT_S, config.EVIDENCE_IP) == (8, 30.0, "truncated")


def test_other_peoples_settings_are_left_alone() -> None:
    settings = {"SECRET_KEY": "x", "MAILCHIMP_API_KEY": "y", f"{PREFIX}ENCRYPTION_KEYS": [KEY]}
    assert Config.read(settings).ENCRYPTION_KEYS == (KEY,)


@pytest.mark.parametrize("name", [field.name for field in fields(Config)])
def test_every_setting_has_a_sentence_and_only_the_keys_have_no_default(name: str) -> None:
    field = next(field for field in fields(Config) if field.name == name)
    assert len(field.metadata["doc"]) > 20
    assert (field.default is MISSING) == (name == "ENCRYPTION_KEYS")


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(None, id="none"),
        pytest.param([], id="empty-list"),
        pytest.param("", id="empty-text"),
    ],
)
def test_without_encryption_keys_the_message_says_how_to_make_one(keys: object) -> None:
    with pytest.raises(ConfigError, match="python -m flask_mailchimp_optin`"):
        read(ENCRYPTION_KEYS=keys)
    with pytest.raises(ConfigError, match="ENCRYPTION_KEYS is not set"):
        Config.read({})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        pytest.param("ENCRYPTION_KEYS", KEY, "a list of texts", id="one-key-no-list"),
        pytest.param("ENCRYPTION_KEYS", [KEY.encode()], "holds bytes", id="key-of-bytes"),
        pytest.param("ENCRYPTION_KEYS", [KEY, None], "holds NoneType", id="key-none"),
        pytest.param("CONNECTIONS", "8", "a whole number", id="number-as-text"),
        pytest.param("CONNECTIONS", 8.0, "a whole number", id="number-with-point"),
        pytest.param("CONNECTIONS", True, "a whole number", id="yes-for-a-number"),
        pytest.param("CONNECTIONS", 0, "1 to 10", id="no-connection"),
        pytest.param("CONNECTIONS", 11, "1 to 10", id="too-many-connections"),
        pytest.param("TIMEOUT_S", 0, "1 to 120", id="no-time"),
        pytest.param("TIMEOUT_S", 121.0, "1 to 120", id="too-patient"),
        pytest.param("TIMEOUT_S", float("nan"), "1 to 120", id="nan"),
        pytest.param("TIMEOUT_S", None, "a number", id="no-timeout"),
        pytest.param("STOP_SHARE", 1.01, "0 to 1", id="more-than-all"),
        pytest.param("STOP_SHARE", 5, "0 to 1", id="percent"),
        pytest.param("STOP_SHARE", -0.1, "0 to 1", id="less-than-none"),
        pytest.param("STOP_COUNT", -1, "not negative", id="negative-count"),
        pytest.param("EVIDENCE_IP", "truncate", "off, truncated or full", id="near-miss"),
        pytest.param("EVIDENCE_IP", None, "a text", id="evidence-none"),
        pytest.param("KEEP_DAYS", -1, "0 (for ever) or more", id="keeps-less-than-nothing"),
        pytest.param("KEEP_DECISIONS_DAYS", 29, "30 days or more", id="forgets-at-once"),
        pytest.param("REDIS_TIMEOUT_S", 0, "above 0", id="redis-no-time"),
        pytest.param("REDIS_TIMEOUT_S", 6, "at most 5", id="redis-patient"),
        pytest.param("URL_PREFIX", "integrations", "URL_PREFIX", id="prefix-without-slash"),
        pytest.param("URL_PREFIX", "/a/", "URL_PREFIX", id="prefix-slash-last"),
        pytest.param("URL_PREFIX", "", "URL_PREFIX", id="prefix-empty"),
        pytest.param("URL_PREFIX", "/<x>", "URL_PREFIX", id="prefix-converter"),
        pytest.param("URL_PREFIX", "/a\n", "URL_PREFIX", id="prefix-line-end"),
        pytest.param("PROBES_PREFIX", "/", "PROBES_PREFIX", id="probes-everywhere"),
        pytest.param("PROBES_PREFIX", "healthz", "PROBES_PREFIX", id="probes-no-slash"),
        pytest.param("PROBES_PREFIX", "/<path:x>", "PROBES_PREFIX", id="probes-pattern"),
        pytest.param("QUEUE", "", "QUEUE", id="queue-empty"),
        pytest.param("QUEUE", "a b", "QUEUE", id="queue-space"),
        pytest.param("REDIS_URL", "localhost:6379", "REDIS_URL", id="redis-no-scheme"),
        pytest.param("REDIS_URL", "http://localhost", "REDIS_URL", id="redis-http"),
        pytest.param("REDIS_URL", "redis://localhost:port/0", "REDIS_URL", id="redis-port"),
        pytest.param("REDIS_URL", "redis://localhost\n", "REDIS_URL", id="redis-line-end"),
        pytest.param("REDIS_URL", None, "REDIS_URL", id="redis-none"),
        pytest.param(
            "REDIS_URL", "redis://localhost/first", "look like", id="redis-named-database"
        ),
        pytest.param("REDIS_URL", "unix://", "look like", id="redis-no-socket"),
        pytest.param("REDIS_URL", "rediss://h/0#a", "look like", id="redis-password-with-hash"),
        pytest.param("REDIS_URL", "redis://h/0?db", "look like", id="redis-option-without-value"),
        pytest.param("REDIS_URL", "redis://a:1,b:1/0", "with Sentinel, look", id="redis-two"),
        *(
            pytest.param("REDIS_URL", value, "with Sentinel, look like", id=word)
            for word, value in {
                "sentinel-another-scheme": "sentinel://a:1/m/0",
                "sentinel-no-name": "redis+sentinel://a:1,b:1",
                "sentinel-a-database-for-a-name": "redis+sentinel://a:1/0",
                "sentinel-no-host": "redis+sentinel:///m/0",
                "sentinel-a-comma-too-many": "redis+sentinel://a:1,/m/0",
                "sentinel-a-semicolon": "redis+sentinel://a:1;b:1/m/0",
                "sentinel-port-0": "redis+sentinel://a:0/m/0",
                "sentinel-port-too-large": "redis+sentinel://a:65536/m/0",
                "sentinel-named-database": "redis+sentinel://a:1/m/first",
                "sentinel-password-with-hash": "redis+sentinel://:a#b@a:1/m/0",
                "sentinel-line-end-in-a-host": "redis+sentinel://a\n:1/m/0",
            }.items()
        ),
        pytest.param(
            "REDIS_URL", "redis+sentinel://a/m?x=1\n", "look like", id="sentinel-line-end"
        ),
        pytest.param(
            "REDIS_URL", "redis+sentinel://a/m?pass=x", "sentinel_pass", id="sentinel-option"
        ),
        pytest.param("REDIS_URL", "redis+sentinel://a/m?db=x", "db has a", id="sentinel-database"),
        pytest.param(
            "REDIS_URL", "redis://a/0?sentinel_password=x", "none of", id="sentinels-word"
        ),
        pytest.param(
            "REDIS_URL", "rediss://h/0?ssl_ca_cert=x", "ssl_ca_certs", id="redis-misspelt"
        ),
        pytest.param(
            "REDIS_URL", "redis://h/0?ssl_ca_certs=x", "need rediss://", id="redis-no-tls"
        ),
        pytest.param("REDIS_URL", "redis://h/0?socket_timeout=9", "none of", id="redis-patience"),
        pytest.param("REDIS_URL", "redis://h/0?decode_responses=1", "none of", id="redis-decodes"),
        pytest.param("REDIS_URL", "redis://h/0?db=x", "db has a value", id="redis-database"),
        pytest.param(
            "REDIS_URL", "rediss://h/0?ssl_cert_reqs=no", "ssl_cert_reqs", id="redis-checks-no"
        ),
        pytest.param("PUBLIC_URL", "crm.example.com", "PUBLIC_URL", id="public-no-scheme"),
        pytest.param("PUBLIC_URL", "", "PUBLIC_URL", id="public-empty"),
        pytest.param("PUBLIC_URL", "https://u:p@crm.example.com", "PUBLIC_URL", id="public-user"),
        pytest.param("PUBLIC_URL", "https://:p@crm.example.com", "PUBLIC_URL", id="public-secret"),
        pytest.param("PUBLIC_URL", "https://crm.example.com/?a=1", "PUBLIC_URL", id="public-query"),
        pytest.param("PUBLIC_URL", "https://crm.exam\nple.com", "PUBLIC_URL", id="public-line-end"),
        pytest.param("PUBLIC_URL", "https://crm.example.com ", "PUBLIC_URL", id="public-space"),
        pytest.param("PUBLIC_URL", "https://[::1", "PUBLIC_URL", id="public-bracket"),
        pytest.param("PUBLIC_URL", "ftp://crm.example.com", "PUBLIC_URL", id="public-ftp"),
        pytest.param("PUBLIC_URL", "https://crm.example.com:x", "PUBLIC_URL", id="public-port"),
        pytest.param("API_URL", "http://127.0.0.1:4000/", "/3.0/", id="api-no-version"),
        pytest.param("API_URL", "http://127.0.0.1:4000/3.0", "last slash", id="api-no-slash"),
        pytest.param("API_URL", "file:///3.0/", "API_URL", id="api-file"),
        pytest.param("API_URL", "http://api.example.com/3.0/", "https://", id="api-in-the-clear"),
        pytest.param("API_URL", "http://8.8.8.8/3.0/", "https://", id="api-public-ip"),
        pytest.param("API_URL", "http://sandbox.evil.example/3.0/", "https://", id="api-dotted"),
        pytest.param("CONECTIONS", 8, "not a setting of ours", id="misspelt"),
    ],
)
def test_a_wrong_value_is_refused_and_the_key_is_named(
    name: str, value: object, words: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read(**{name: value})
    text = str(refused.value)
    assert f"{PREFIX}{name}" in text
    assert words in text
    assert KEY not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("PUBLIC_URL", "https://crm.example.com", id="site"),
        pytest.param("PUBLIC_URL", "https://example.com:8443/crm", id="site-below-a-path"),
        pytest.param("PUBLIC_URL", "http://[2001:db8::1]:8000", id="v6"),
        pytest.param("API_URL", "http://127.0.0.1:40123/3.0/", id="sandbox"),
        pytest.param("API_URL", "http://sandbox:4000/3.0/", id="sandbox-of-a-container"),
        pytest.param("API_URL", "http://10.0.0.7:4000/3.0/", id="sandbox-of-a-network"),
        pytest.param("API_URL", "https://api.example.com/3.0/", id="api-over-tls"),
        pytest.param("REDIS_URL", "rediss://user:secret@redis.example.com:6380/1", id="tls"),
        pytest.param("REDIS_URL", "unix:///run/redis.sock?db=1", id="socket"),
        pytest.param("REDIS_URL", "redis://redis", id="redis-of-a-container"),
        pytest.param("REDIS_URL", "redis+sentinel://a,b:1/my-master", id="sentinel"),
        pytest.param(
            "REDIS_URL",
            "rediss+sentinel://u:p%2C@[::1]:1/m/2?sentinel_password=x&ssl_ca_certs=/ca.pem",
            id="sentinel-tls",
        ),
        pytest.param("REDIS_URL", "rediss://:a%2Fb@h/0?ssl_ca_certs=/etc/ca.pem", id="own-ca"),
        pytest.param("REDIS_URL", "rediss://h?ssl_check_hostname=False", id="another-name"),
        pytest.param("TIMEOUT_S", 5, id="whole-seconds"),
        pytest.param("STOP_SHARE", 0, id="stop-at-once"),
        pytest.param("STOP_SHARE", 1, id="never-stop"),
        pytest.param("EVIDENCE_IP", "off", id="no-evidence"),
        pytest.param("URL_PREFIX", "/m", id="short-prefix"),
        pytest.param("PROBES_PREFIX", "/healthz", id="probes"),
        pytest.param("ENCRYPTION_KEYS", (KEY, new_key()), id="tuple-of-keys"),
    ],
)
def test_a_right_value_is_taken_as_it_is(name: str, value: object) -> None:
    assert getattr(read(**{name: value}), name) == value


SITE = {"PUBLIC_URL": "https://crm.example.com/"}
APP = {"OAUTH_CLIENT_ID": "123456789012", "OAUTH_CLIENT_SECRET": "5" * 50}


@pytest.mark.parametrize("client_id", ["123456789012", 123456789012], ids=["text", "environment"])
def test_mailchimps_login_needs_three_settings_and_says_where_one_comes_back(
    client_id: object,
) -> None:
    config = read(**SITE, **APP | {"OAUTH_CLIENT_ID": client_id})
    assert config.OAUTH_CLIENT_ID == "123456789012"
    assert config.oauth_redirect == ("https://crm.example.com/integrations/mailchimp/login/done")
    assert APP["OAUTH_CLIENT_SECRET"] not in repr(config)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({**SITE, "OAUTH_CLIENT_ID": "1"}, "Set both, or none", id="no-secret"),
        pytest.param({**SITE, "OAUTH_CLIENT_SECRET": "1"}, "Set both, or none", id="no-id"),
        pytest.param(SITE | APP | {"OAUTH_CLIENT_ID": ""}, "CLIENT_ID is empty", id="empty"),
        pytest.param(SITE | APP | {"OAUTH_CLIENT_SECRET": "x\n"}, "line ends", id="line-end"),
        pytest.param(APP, "needs MAILCHIMP_OPTIN_PUBLIC_URL", id="no-address"),
        pytest.param(APP | {"PUBLIC_URL": "http://localhost:5000"}, "127.0.0.1", id="localhost"),
        pytest.param(SITE | APP | {"API_KEY": "a" * 32 + "-us6"}, "two ways", id="key-too"),
    ],
)
def test_mailchimps_login_half_configured_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(**settings)
    assert words in str(refused.value)
    assert APP["OAUTH_CLIENT_SECRET"] not in str(refused.value)


def test_the_configuration_shows_no_secret_when_it_is_printed() -> None:
    config = read(REDIS_URL="redis://:canary@localhost/0")
    assert KEY not in repr(config)
    assert "canary" not in repr(config)
    assert "CONNECTIONS=8" in repr(config)
