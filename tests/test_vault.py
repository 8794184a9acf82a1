"""The vault: sealed secrets open with their key, for their owner, and for nobody else."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_mailchimp_optin.errors import ConfigError
from flask_mailchimp_optin.vault import CannotDecrypt, Vault, new_key, new_token, token_hash

OLD, NEW = new_key(), new_key()


@given(secret=st.text(st.characters(codec="utf-8")), owner=st.text(st.characters(codec="utf-8")))
def test_a_sealed_secret_opens_for_its_owner(secret: str, owner: str) -> None:
    vault = Vault([OLD])
    assert vault.open(vault.seal(secret, owner), owner) == secret


def test_the_same_secret_is_never_sealed_to_the_same_text() -> None:
    vault = Vault([OLD])
    sealed = vault.seal("secret", "api-key:a")
    assert sealed != vault.seal("secret", "api-key:a")
    assert "secret" not in sealed


@pytest.mark.parametrize(
    ("sealed_for", "opened_for"),
    [
        pytest.param("api-key:acme", "api-key:other", id="tenant"),
        pytest.param("api-key:7", "webhook:7", id="purpose"),
        pytest.param("api-key:", "api-key:acme", id="no-tenant"),
        pytest.param("api-key:müller", "api-key:mueller", id="non-ascii"),
        pytest.param("api-key:müller", "api-key:Müller", id="capitals"),
    ],
)
def test_a_secret_moved_to_another_owner_is_refused(sealed_for: str, opened_for: str) -> None:
    vault = Vault([OLD])
    with pytest.raises(CannotDecrypt, match="another connection"):
        vault.open(vault.seal("secret", sealed_for), opened_for)


def test_a_new_key_in_front_still_opens_what_the_old_one_sealed() -> None:
    sealed = Vault([OLD]).seal("secret", "o")
    assert Vault([NEW, OLD]).open(sealed, "o") == "secret"


def test_the_newest_key_seals() -> None:
    sealed = Vault([NEW, OLD]).seal("secret", "o")
    assert Vault([NEW]).open(sealed, "o") == "secret"
    with pytest.raises(CannotDecrypt):
        Vault([OLD]).open(sealed, "o")


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda sealed: sealed[:-6] + "AAAA==", id="signature"),
        pytest.param(
            lambda sealed: sealed[:40] + ("A" if sealed[40] != "A" else "B") + sealed[41:],
            id="one-byte",
        ),
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda _: "secret", id="plain"),
        pytest.param(lambda _: "ü", id="non-ascii"),
    ],
)
def test_a_changed_ciphertext_is_refused_and_says_what_to_do(spoil: object) -> None:
    assert callable(spoil)
    vault = Vault([OLD])
    with pytest.raises(CannotDecrypt, match="MAILCHIMP_OPTIN_ENCRYPTION_KEYS") as refused:
        vault.open(spoil(vault.seal("canary-secret", "o")), "o")
    assert "canary" not in repr(refused.value)


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([], id="none"),
        pytest.param([""], id="empty"),
        pytest.param(["password"], id="too-short"),
        pytest.param([NEW, NEW[:-4]], id="second-cut"),
        pytest.param(["ü" * 44], id="non-ascii"),
    ],
)
def test_something_that_is_no_key_is_refused_at_start_without_showing_it(keys: list[str]) -> None:
    with pytest.raises(ConfigError, match="not a Fernet key") as refused:
        Vault(keys)
    assert all(not key or key not in str(refused.value) for key in keys)


def test_a_fingerprint_is_keyed_and_survives_a_rotation() -> None:
    (kept,) = Vault([OLD]).fingerprints("ada@example.com")
    rotated = Vault([NEW, OLD]).fingerprints("ada@example.com")
    assert kept in rotated
    assert rotated[0] in Vault([NEW]).fingerprints("ada@example.com")
    assert kept not in Vault([NEW]).fingerprints("ada@example.com")
    assert kept not in Vault([OLD]).fingerprints("bob@example.com")
    assert len(kept) == 32


def test_tokens_are_long_random_and_fit_an_address() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(t) >= 43 and t.replace("-", "").replace("_", "").isalnum() for t in tokens)


@pytest.mark.parametrize("token", ["", "a", "ü", "\x00", "\ud800", "t" * 100_000])
def test_any_text_has_a_token_hash(token: str) -> None:
    assert len(token_hash(token)) == 64


def test_the_module_prints_a_key_that_works_and_nothing_else() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "flask_mailchimp_optin"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    Vault([run.stdout.strip()]).seal("secret", "o")
