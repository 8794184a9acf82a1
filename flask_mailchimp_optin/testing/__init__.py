"""What a host needs to test its own use of the extension: the sandbox, and jobs run in process.

Only tests and demos import this; the package itself never does.
"""

from __future__ import annotations

from typing import Any

from flask import Flask

from .sandbox import MailchimpSandbox

__all__ = ["MailchimpSandbox", "connect", "run_jobs"]


def connect(app: Flask, sandbox: MailchimpSandbox, *, tenant: str = "", **settings: Any) -> str:
    """Connect an application with a sandbox and enable the integration, as an administrator would.

    :param settings: fields of ``overviews.Settings`` that are to be otherwise.
    :returns: the master list's Mailchimp id, which is the sandbox's first list unless given.
    """
    from flask_mailchimp_optin import connect as acts
    from flask_mailchimp_optin import overviews, state

    with app.app_context():
        services = state.of(app).services
        lists = acts.connect(services, tenant, sandbox.api_key).lists
        values: dict[str, Any] = {"enabled": True, "master_list": lists[0].list_id, **settings}
        acts.save_settings(services, tenant, overviews.Settings(**values))
    return str(values["master_list"])


def run_jobs(app: Flask) -> None:
    """Work everything off in this process until nothing is due, as workers would; needs no Redis."""
    from flask_mailchimp_optin.jobs import run_until_idle

    run_until_idle(app)
