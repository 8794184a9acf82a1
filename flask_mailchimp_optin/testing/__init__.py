"""What a host needs to test its own use of the extension: the sandbox, time, and jobs run in process.

``plugin`` makes pytest fixtures of it. Only tests and demos import this; the package itself never does.
What takes time to import is imported when it is needed, since pytest loads the plugin everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from .clock import Clock

if TYPE_CHECKING:
    from flask import Flask

    from .sandbox import MailchimpSandbox

__all__ = [
    "Clock",
    "Connect",
    "Connected",
    "MailchimpSandbox",
    "Ring",
    "attach",
    "config",
    "connect",
    "run_jobs",
]

if not TYPE_CHECKING:  # a type checker then knows which names there are

    def __getattr__(name: str) -> Any:
        if name != "MailchimpSandbox":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .sandbox import MailchimpSandbox

        return MailchimpSandbox


def config(api_url: str) -> dict[str, Any]:
    """The keys of ``app.config`` that point an application at a sandbox; needs no Redis.

    :param api_url: the sandbox's ``api_url``.
    """
    return {
        "MAILCHIMP_OPTIN_API_URL": api_url,
        "MAILCHIMP_OPTIN_PUBLIC_URL": "https://app.example.com",
        "MAILCHIMP_OPTIN_ENCRYPTION_KEYS": [_made_up_key()],
        "MAILCHIMP_OPTIN_REDIS_URL": "redis://127.0.0.1:1/0",  # none: work is done in this process
        "MAILCHIMP_OPTIN_TIMEOUT_S": 5.0,
    }


@cache
def _made_up_key() -> str:
    """One for the whole run, so that a database that outlives a test can still be read."""
    from flask_mailchimp_optin.vault import new_key

    return new_key()


def attach(
    app: Flask, sandbox: MailchimpSandbox, clock: Callable[[], datetime] | None = None
) -> None:
    """Have a served sandbox ring an application in process, whatever host its public address names.

    :param clock: the application's time from now on, which should be the sandbox's; None: as it is.
    :raises RuntimeError: the application speaks to somebody else than this sandbox.
    """
    from flask_mailchimp_optin import state

    here = state.of(app)
    if not sandbox.api_url or sandbox.api_url != here.config.API_URL:
        raise RuntimeError(
            "The application does not speak to this sandbox, but to "
            f"{here.config.API_URL or 'Mailchimp itself'}. Put what the fixture mailchimp_config or "
            "testing.config(sandbox.api_url) has into its configuration before init_app."
        )
    sandbox.deliver_to(app)
    if clock is not None:
        services = replace(here.services, clock=clock)
        app.extensions[state.NAME] = replace(here, services=services)


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


def run_jobs(app: Flask, sandbox: MailchimpSandbox | None = None) -> None:
    """Work everything off in this process until nothing is due, as workers would; needs no Redis.

    Objects that a surrounding application context's session holds are read anew when next used, unless
    it has changes that are not flushed.

    :param sandbox: wait for its rings that are under way, and work them off, too.
    """
    from flask_mailchimp_optin.jobs import run_until_idle

    run_until_idle(app)
    if sandbox is not None and sandbox.wait_for_rings():
        run_until_idle(app)
    _read_anew(app)


def _read_anew(app: Flask) -> None:
    from flask import has_app_context

    from flask_mailchimp_optin import state

    if not has_app_context():
        return
    session = state.of(app).db.session
    if not (session.new or session.dirty or session.deleted):
        session.expire_all()


@dataclass(frozen=True, kw_only=True)
class Connected:
    """A tenant that is connected with the sandbox, as ``mailchimp_connected`` gives it.

    :param list_id: the master list's id at Mailchimp, which the sandbox's acts want to know.
    :param tenant: "" where there is one.
    """

    sandbox: MailchimpSandbox
    list_id: str
    tenant: str = ""

    def status(self, email: str) -> str | None:
        """A member's status in the master list, such as ``subscribed``; None for no member."""
        member = self.sandbox.member(self.list_id, email)
        return None if member is None else str(member["status"])


class Connect(Protocol):
    """What the fixture ``mailchimp_connect`` is."""

    def __call__(self, tenant: str = "", **settings: Any) -> Connected:
        """Connect a tenant, and work its initial sync off.

        :param settings: what an administrator chooses otherwise: ``master_list``, ``daily``,
            ``daily_at``, ``daily_zone``, ``on_delete``, ``always_confirm``, ``enabled``.
        """


class Ring(Protocol):
    """What the fixture ``mailchimp_ring`` is."""

    def __call__(self, email: str, list_id: str | None = None) -> None:
        """Ring for a member as they are now, and work it off.

        :param list_id: None: the master list.
        """
