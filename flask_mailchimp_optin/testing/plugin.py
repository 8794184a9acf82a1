"""The pytest plugin: fixtures for a host's own tests, all of them named ``mailchimp_…``.

pytest loads this module in every project of an environment that has the package installed. So it imports
nothing but pytest, the rest when a fixture is first used, and changes nothing about tests that use none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from . import Clock, Connect, Connected, Ring, attach, config, connect, run_jobs

if TYPE_CHECKING:
    from flask import Flask

    from .sandbox import MailchimpSandbox


@pytest.fixture
def mailchimp_clock() -> Clock:
    """The time of the sandbox and of ``mailchimp_app``: ``mailchimp_clock.turn(days=1)``."""
    return Clock()


@pytest.fixture
def mailchimp_sandbox(mailchimp_clock: Clock) -> Iterator[MailchimpSandbox]:
    """A Mailchimp of the test's own with one list, served at ``mailchimp_sandbox.api_url``."""
    from .sandbox import MailchimpSandbox

    sandbox = MailchimpSandbox(clock=mailchimp_clock)
    with sandbox.serve():
        yield sandbox


@pytest.fixture
def mailchimp_config(mailchimp_sandbox: MailchimpSandbox) -> dict[str, Any]:
    """What your ``app`` needs in ``app.config`` before ``init_app`` to speak to the sandbox."""
    return config(mailchimp_sandbox.api_url)


@pytest.fixture
def mailchimp_app(app: Flask, mailchimp_sandbox: MailchimpSandbox, mailchimp_clock: Clock) -> Flask:
    """Your own fixture ``app``, which the sandbox rings and ``mailchimp_clock`` is the time of."""
    attach(app, mailchimp_sandbox, mailchimp_clock)
    return app


@pytest.fixture
def mailchimp_run_jobs(
    mailchimp_app: Flask, mailchimp_sandbox: MailchimpSandbox
) -> Callable[[], None]:
    """Work everything off that is due, rings included, as workers would: ``mailchimp_run_jobs()``."""
    return lambda: run_jobs(mailchimp_app, mailchimp_sandbox)


@pytest.fixture
def mailchimp_connect(
    mailchimp_app: Flask,
    mailchimp_sandbox: MailchimpSandbox,
    mailchimp_run_jobs: Callable[[], None],
) -> Connect:
    """Connect tenants one by one: ``red, blue = mailchimp_connect("red"), mailchimp_connect("blue")``.

    The first has the sandbox's list, and each other one a new list, unless ``master_list`` is given.
    """
    tenants: set[str] = set()

    def connect_tenant(tenant: str = "", **settings: Any) -> Connected:
        if tenants - {tenant} and "master_list" not in settings:
            settings["master_list"] = mailchimp_sandbox.add_audience(tenant)
        tenants.add(tenant)
        list_id = connect(mailchimp_app, mailchimp_sandbox, tenant=tenant, **settings)
        mailchimp_run_jobs()
        return Connected(sandbox=mailchimp_sandbox, list_id=list_id, tenant=tenant)

    return connect_tenant


@pytest.fixture
def mailchimp_connected(mailchimp_connect: Connect) -> Connected:
    """Your ``app`` connected and enabled, its initial sync done; knows ``list_id`` and ``status``."""
    return mailchimp_connect()


@pytest.fixture
def mailchimp_ring(
    request: pytest.FixtureRequest,
    mailchimp_sandbox: MailchimpSandbox,
    mailchimp_run_jobs: Callable[[], None],
) -> Ring:
    """Ring your webhook for a member, as Mailchimp would, and work it off: ``mailchimp_ring(email)``."""

    def ring(email: str, list_id: str | None = None) -> None:
        if list_id is None:
            list_id = request.getfixturevalue("mailchimp_connected").list_id
        before = len(mailchimp_sandbox.rings)
        mailchimp_sandbox.ring(list_id, email)
        mailchimp_run_jobs()
        for told in mailchimp_sandbox.rings[before:]:
            if told.status != 200:
                pytest.fail(f"The webhook answered {told.status or 'nothing'} to the ring.")

    return ring
