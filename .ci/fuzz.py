"""Bytes that nobody would send, chosen by the branches that they reach: ``python .ci/fuzz.py RUNS``.

For what strangers' bytes get to: the signature's header, the form, an address. Each may say no; whatever
else is raised is a fault.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import atheris
from email_validator import syntax

from flask_mailchimp_optin import addresses, webhook
from flask_mailchimp_optin.addresses import canonical, canonical_or_none
from flask_mailchimp_optin.webhook import Malformed, parse, signature_holds

for module in (addresses, webhook, syntax):
    for made_there in vars(module).values():
        if inspect.isfunction(made_there) and made_there.__module__ == module.__name__:
            atheris.instrument_func(made_there)

LONGEST = 1500  # bytes
NOW = datetime.now(UTC)


def ring(sent: bytes) -> None:
    """A form is a ring or malformed."""
    try:
        found = parse(sent)
    except Malformed:
        return
    assert re.fullmatch("[a-z_]{1,20}", found.type)
    assert re.fullmatch("[A-Za-z0-9_-]{1,40}", found.list_id)
    for one in (found.address, found.new_address):
        assert one is None or canonical(one) == one


def signature(sent: bytes) -> None:
    """No header that was made up signs anything."""
    header, _, body = sent.partition(b"\n")
    assert not signature_holds(header.decode("latin-1"), body, ["a secret", "another"], NOW)


def address(sent: bytes) -> None:
    """A text is an address, in a form that stays as it is, or none."""
    one = canonical_or_none(sent.decode("utf-8", "surrogateescape"))
    assert one is None or (canonical(one) == one and len(one.encode()) <= 254)


TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "ring": (
        ring,
        [
            b"type=unsubscribe&fired_at=2026-01-02+03%3A04%3A05&data%5Blist_id%5D=a1"
            b"&data%5Bemail%5D=ada%40example.com",
            b"type=upemail&data[list_id]=a1&data[old_email]=ada@example.com&data[new_email]=b@example.com",
        ],
    ),
    "signature": (signature, [b"t=1767323045,v1=" + b"0a" * 32 + b"\ntype=profile"]),
    "address": (address, [b"Ada+x@Example.com", "ädä@exämple.com".encode(), b'"a b"@x.org']),
}


def main(runs: int) -> None:
    """Each in a process of its own, since libFuzzer ends it."""
    for name, (_, samples) in TARGETS.items():
        with tempfile.TemporaryDirectory() as folder:
            for number, sample in enumerate(samples):
                Path(folder, str(number)).write_bytes(sample)
            limits = [f"-runs={runs}", f"-max_len={LONGEST}", f"-artifact_prefix={folder}/"]
            command = [sys.executable, __file__, name, *limits, folder]
            done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603  # our own
        number = re.search(r"Done (\d+) runs in (\d+) second", done.stderr)
        if done.returncode or not number:
            raise SystemExit(f"{name}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        print(f"{name}: {int(number[1]):,} inputs in {number[2]} s, no fault")


if __name__ == "__main__":
    if sys.argv[1] in TARGETS:
        atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]][0])
        atheris.Fuzz()
    main(int(sys.argv[1]))
