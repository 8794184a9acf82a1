"""``MailchimpOptin``: reads the configuration, wires everything, nothing else. Edge."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
from flask import Flask, current_app, has_request_context, request
from flask.cli import AppGroup
from flask_sqlalchemy import SQLAlchemy

from . import capture, ledger, models, state, views, wordings
from .config import Config
from .errors import ConfigError
from .ledger import Decision, Facts, truncate_ip
from .mapping import BoundMapping, CustomerMapping
from .services import Services, utc_now
from .vault import Vault
from .waking import Waker, ask

if TYPE_CHECKING:
    from .metrics import Collector
    from .overviews import ListView
    from .standing import CustomerState


class _Commands(AppGroup):
    """``flask mailchimp``, whose commands are imported when one is asked for."""

    def __init__(self) -> None:
        super().__init__(
            "mailchimp", help="Connect with Mailchimp, look after the sync, run its worker."
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        from . import cli

        return cli.group.list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from . import cli

        return cli.group.get_command(ctx, cmd_name)


class MailchimpOptin:
    """Keeps the opt-in checkbox of a host's customers and a Mailchimp list in agreement.

    With arguments it calls :meth:`init_app` at once.
    """

    def __init__(
        self,
        app: Flask | None = None,
        db: SQLAlchemy | None = None,
        model: type[Any] | None = None,
        **options: Any,
    ) -> None:
        if app is not None:
            if db is None or model is None:
                raise ConfigError(
                    "MailchimpOptin(app, ...) also needs the db, the customer model, mapping and "
                    "authorize."
                )
            self.init_app(app, db, model, **options)

    def init_app(
        self,
        app: Flask,
        db: SQLAlchemy,
        model: type[Any],
        *,
        mapping: CustomerMapping,
        authorize: Callable[[], Any] | None = None,
        tenant: Callable[[], Any] | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """Connect the extension with an application.

        :param db: the host's Flask-SQLAlchemy, already bound to the application.
        :param model: the customers' model.
        :param mapping: which of its attributes is what to Mailchimp.
        :param authorize: called in each request for a page; only ``True`` opens it.
        :param tenant: called in each request for a page where the mapping has tenants: the one that
            the signed-in administrator belongs to. Never taken from the request's own data.
        :param clock: aware UTC now; for tests.
        :raises ConfigError: something is missing or wrong; the message says what to do.
        """
        _check(app, mapping, authorize, tenant)
        config = Config.read(app.config)
        if config.API_KEY is not None and mapping.tenant is not None:
            raise ConfigError(
                "MAILCHIMP_OPTIN_API_KEY is one key, and the mapping has tenants, each with their own "
                "account. Leave it out: each tenant's administrator enters a key."
            )
        bound = BoundMapping(model, mapping)
        services = Services(
            config=config,
            tables=models.define(bound.metadata),
            mapping=bound,
            vault=Vault(config.ENCRYPTION_KEYS),
            session_factory=db.session.session_factory,
            wake=Waker(lambda: ask(config, here.redis), config.REDIS_TIMEOUT_S),
            facts=lambda: _facts(config),
            webhook_url=lambda token: _webhook_url(config, token),
            sender=app,
            clock=clock or utc_now,
        )
        here = state.State(
            services=services,
            config=config,
            db=db,
            authorize=authorize or _nobody,
            tenant=lambda: "" if tenant is None else str(tenant()),
        )
        app.extensions[state.NAME] = here
        capture.watch(model, lambda: state.current_or(here).services)
        views.register(app, config)
        app.jinja_env.globals["mailchimp_optin"] = self
        app.cli.add_command(_Commands())

    def state_of(self, customer: Any) -> CustomerState:
        """A customer's real state at Mailchimp, for the host's own pages. Mailchimp is not asked for it.

        :param customer: an instance of the customers' model that was stored.
        :raises RuntimeError: outside an application context.
        """
        from . import standing

        return standing.state_of(state.current().services, customer)

    def states_of(self, customers: Iterable[Any]) -> dict[str, CustomerState]:
        """The states of many customers with a handful of queries, by their primary key as text.

        :param customers: instances of the customers' model, of any tenants.
        """
        from . import standing

        return standing.states_of(state.current().services, customers)

    def lists(self, tenant: str = "") -> tuple[ListView, ...]:
        """The stored lists (audiences), for choosing a customer's own list; none before it is connected.

        :param tenant: whose; "" where there are no tenants.
        """
        from . import overviews

        return overviews.read(state.current().services, tenant).lists

    def history_of(self, customer: Any) -> list[Decision]:
        """Every decision about a customer, newest first, those that no worker has seen yet included.

        :param customer: an instance of the customers' model that was stored.
        """
        from . import standing

        return standing.history_of(state.current().services, customer)

    def metrics_collector(self, app: Flask) -> Collector:
        """Our gauges, for a registry of ``prometheus_client``; who may read them is the host's to say.

        :raises ConfigError: ``prometheus_client`` is not installed.
        """
        from .metrics import Collector

        return Collector(app)

    def seal_wording(self, wording: object) -> str:
        """What the macro ``opt_in_field`` puts into a form, so that the ledger knows what it showed."""
        return wordings.seal(wording)

    def decided_by(
        self,
        actor: str | None = None,
        source: str = "code",
        wording: str | None = None,
        ip: str | None = None,
    ) -> AbstractContextManager[None]:
        """Name who decides, for the ledger, for every change flushed inside the ``with`` block.

        A box ticked on a new customer inside it is a decision with a time; outside it is a yes without
        a time, which never stands against a no found at Mailchimp.

        :param actor: the person's id or name in the host.
        :param source: a word such as ``import`` or ``checkout``.
        :param wording: the text beside the checkbox, or its id and version; if it is not given, what
            the macro ``opt_in_field`` showed in the form that was sent.
        :param ip: the person's IP address; kept as ``MAILCHIMP_OPTIN_EVIDENCE_IP`` says.
        """
        wording = wordings.seen() if wording is None else wording
        return ledger.decided_by(actor=actor, source=source, wording=wording, ip=ip)


def _check(app: Flask, mapping: Any, authorize: Any, tenant: Any) -> None:
    if state.NAME in app.extensions:
        raise ConfigError("MailchimpOptin.init_app was called twice for the same application.")
    if "sqlalchemy" not in app.extensions:
        raise ConfigError("Call db.init_app(app) before MailchimpOptin.init_app.")
    if not isinstance(mapping, CustomerMapping):
        raise ConfigError("mapping must be a CustomerMapping.")
    if not callable(authorize):
        raise ConfigError(
            "authorize is required: a function that says who may open the Mailchimp pages, such as "
            "authorize=lambda: current_user.is_authenticated and current_user.is_admin."
        )
    if mapping.tenant is not None and not callable(tenant):
        raise ConfigError(
            "The mapping has tenants, so init_app needs tenant=: a function that returns the "
            "signed-in administrator's tenant."
        )


def _nobody() -> bool:
    return False


def _facts(config: Config) -> Facts:
    """Who decides, if the host names nobody: the request's user, page and address."""
    if not has_request_context():
        return Facts(source="code")
    return Facts(
        actor=_user_id(),
        source="request",
        page=(request.endpoint or request.path)[:255],
        wording=wordings.seen(parse=False),
        ip=truncate_ip(request.remote_addr, config.EVIDENCE_IP),
    )


def _user_id() -> str | None:
    """The user that Flask-Login knows, if the host has it."""
    if not hasattr(current_app, "login_manager"):
        return None
    from flask_login import current_user  # the host's dependency, not ours

    user_id = getattr(current_user, "get_id", lambda: None)()
    return None if user_id is None else str(user_id)[:190]


def _webhook_url(config: Config, token: str) -> str | None:
    if config.PUBLIC_URL is None:
        return None
    return f"{config.PUBLIC_URL.rstrip('/')}{config.URL_PREFIX}/webhook/{quote(token)}"
