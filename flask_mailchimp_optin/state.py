"""The one reader of ``app.extensions["mailchimp_optin"]``. Edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app, has_app_context

from .config import Config
from .services import Services

if TYPE_CHECKING:
    from redis import Redis

NAME = "mailchimp_optin"


@dataclass(frozen=True, kw_only=True)
class State:
    """What ``init_app`` made for one application.

    :param authorize: the host's answer to "may this request open the pages?"; only ``True`` is a yes.
    :param tenant: the tenant of the current request; "" where there is one.
    """

    services: Services
    config: Config
    db: Any
    authorize: Callable[[], Any]
    tenant: Callable[[], str]

    @cached_property
    def redis(self) -> Redis:
        """A client that gives up fast, for commits and pages."""
        from .redis_clients import redis_client

        return redis_client(self.config, self.config.REDIS_TIMEOUT_S)


def of(app: Flask) -> State:
    """The state of an application.

    :raises RuntimeError: ``init_app`` was not called for it.
    """
    state = app.extensions.get(NAME)
    if state is None:
        raise RuntimeError(
            "This application has no Mailchimp opt-in. Did you forget to call "
            "'mailchimp.init_app(app, db, Customer, ...)'?"
        )
    found: State = state
    return found


def current() -> State:
    """The state of the application at work."""
    return of(current_app)


def current_or(default: State) -> State:
    """The state of the application at work; the default outside an application context."""
    found: State = current_app.extensions.get(NAME, default) if has_app_context() else default
    return found
