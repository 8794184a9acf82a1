"""``python -m example_app.demo``: start, say where, wait for Ctrl-C, stop. Or ``--check``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from .processes import Broken, Stopped, stop_on_signals
from .stage import ADMIN, HOST, Plan, Stage, staged


def main() -> int:
    """Run the demo; the exit code."""
    arguments = _arguments()
    stop_on_signals()
    try:
        if arguments.check:
            return _check(arguments)
        with staged(_plan(arguments)) as stage:
            print(_welcome(stage), flush=True)
            while True:
                stage.check()
                time.sleep(0.5)
    except Stopped:
        print("\nStopped.")
        return 0 if not arguments.check else 130
    except Broken as error:
        print(f"\n{error}", file=sys.stderr)
        return 1


def _arguments() -> argparse.Namespace:
    get = os.environ.get
    parser = argparse.ArgumentParser(prog="python -m example_app.demo", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=get("PORT") or 5000, help="the application's [PORT]")
    add("--sandbox-port", type=int, default=get("SANDBOX_PORT") or 5001, help="[SANDBOX_PORT]")
    add("--folder", type=Path, default=get("DEMO_DIR") or ".demo", help="for all files [DEMO_DIR]")
    add("--public-url", default=get("PUBLIC_URL") or None, help="a tunnel's address [PUBLIC_URL]")
    add("--redis-url", default=get("REDIS_URL") or None, help="a Redis that runs [REDIS_URL]")
    add("--sandbox", choices=["yes", "no"], default=get("SANDBOX") or "yes", help="[SANDBOX]")
    add("--check", action="store_true", help="drive both journeys over HTTP, then stop")
    return parser.parse_args()


def _plan(arguments: argparse.Namespace) -> Plan:
    return Plan(
        folder=arguments.folder,
        port=arguments.port,
        sandbox_port=arguments.sandbox_port,
        sandbox=arguments.sandbox == "yes",
        public_url=arguments.public_url,
        redis_url=arguments.redis_url,
    )


def _check(arguments: argparse.Namespace) -> int:
    """Everything on free ports, in a folder that goes again if all is well."""
    from .check import free_ports, run  # only here: the demo itself needs none of it

    port, sandbox_port = free_ports(2)
    folder = Path(tempfile.mkdtemp(prefix="demo-check-"))
    plan = replace(
        _plan(arguments),
        folder=folder,
        port=port,
        sandbox_port=sandbox_port,
        sandbox=True,
        public_url=None,
    )
    failed = True
    try:
        failed = run(plan)
    finally:
        if failed:
            print(f"Logs and database are kept in {folder}.", file=sys.stderr)
        else:
            shutil.rmtree(folder)
    return int(failed)


def _welcome(stage: Stage) -> str:
    plan = stage.plan
    lines = [
        ("Example application", f"{plan.app_url}/"),
        ("Log in with", f"{ADMIN}  {stage.password}"),
        ("Mailchimp settings", f"{plan.app_url}/integrations/mailchimp/"),
    ]
    if plan.sandbox:
        lines += [
            ("Mailchimp sandbox", f"{plan.sandbox_url}/"),
            ("Its API key", stage.api_key),
        ]
    else:
        lines += [
            ("Mailchimp", "the real one: enter an API key of your own in the settings"),
            ("", "(it refuses example.com: give a customer an address of yours)"),
            ("Webhooks come to", plan.public_url or f"nobody: {HOST} needs a tunnel, PUBLIC_URL="),
        ]
    lines.append(("Files and logs", str(plan.folder)))
    width = max(len(name) for name, _ in lines)
    rows = "\n".join(f"  {name:{width}}  {text}" for name, text in lines)
    return f"\n{rows}\n\n  Stop with Ctrl-C.\n"


if __name__ == "__main__":
    raise SystemExit(main())
