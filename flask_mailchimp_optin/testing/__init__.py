"""What a host needs to test its own use of the extension: the sandbox, and jobs run in process.

Only tests and demos import this; the package itself never does.
"""

from __future__ import annotations

from flask import Flask

from .sandbox import MailchimpSandbox

__all__ = ["MailchimpSandbox", "run_jobs"]


def run_jobs(app: Flask) -> None:
    """Work everything off in this process until nothing is due, as workers would; needs no Redis."""
    from flask_mailchimp_optin.jobs import run_until_idle

    run_until_idle(app)
