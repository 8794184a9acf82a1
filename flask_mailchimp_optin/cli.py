"""``flask mailchimp``: what the pages can do, the commands can do. Edge.

Exit codes: 0 all is well, 1 it was refused or something is wrong, 2 wrong usage.
"""

from __future__ import annotations

import functools
import json
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, TypeVar

import click
from flask import current_app
from flask.cli import AppGroup

from . import (
    acts,
    attention,
    connect,
    doctor,
    figures,
    health,
    jobs,
    overviews,
    person,
    runs,
    site,
    standing,
    state,
)
from .errors import MailchimpOptinError
from .reasons import REASONS
from .services import Services

F = TypeVar("F", bound=Callable[..., Any])

group: AppGroup = AppGroup("mailchimp")
_tenant_option = click.option("--tenant", default="", help="Which tenant, where there are several.")


def _command(*args: Any, **options: Any) -> Callable[[F], Any]:
    """A command of the group whose refusals are one clear line."""

    def wrap(function: F) -> Any:
        @functools.wraps(function)
        def guarded(*a: Any, **k: Any) -> Any:
            try:
                return function(*a, **k)
            except MailchimpOptinError as error:
                raise click.ClickException(str(error)) from None

        return group.command(*args, **options)(guarded)

    return wrap


def _services() -> Services:
    return state.current().services


@_command("connect")
@click.option(
    "--api-key",
    help="The API key; if it is not given: the configured one, or it is asked for without echo.",
)
@click.option("--list", "list_id", help="The master list's Mailchimp id; else the first list.")
@click.option("--enable", is_flag=True, help="Enable the integration, which starts a sync.")
@_tenant_option
def connect_(api_key: str | None, list_id: str | None, enable: bool, tenant: str) -> None:
    """Check an API key with Mailchimp and keep it, encrypted.

    To log in at Mailchimp instead takes a browser: "Connect with Mailchimp" on the settings page. The
    other commands work with either.
    """
    if api_key is None and _services().config.API_KEY is None:
        api_key = click.prompt("Mailchimp API key", hide_input=True)
    overview = connect.connect(_services(), tenant, api_key)
    if list_id is not None or enable:
        settings = replace(
            overview.settings,
            master_list=list_id or overview.settings.master_list,
            enabled=enable or overview.settings.enabled,
        )
        overview = connect.save_settings(_services(), tenant, settings)
    click.echo(f"Connected with {overview.account_name}.")
    _show_lists(overview)
    if not overview.lists:
        click.echo("There are no lists (audiences) yet: create one in Mailchimp, then run")
        click.echo("  flask mailchimp lists --refresh")


@_command("disconnect")
@click.confirmation_option(prompt="End the connection with Mailchimp?")
@_tenant_option
def disconnect(tenant: str) -> None:
    """End the connection. Customers, checkboxes, ledger and members stay as they are."""
    copied = overviews.read(_services(), tenant).other_site
    left = connect.disconnect(_services(), tenant)
    if copied:
        click.echo("The webhooks at Mailchimp stay: they are the other site's.")
    for name in left:
        click.echo(f"The webhook of {name} could not be removed at Mailchimp: remove it there.")
    click.echo("Disconnected.")


@_command("moved")
@click.option("--tenant", help="One tenant only; else all.")
def moved(tenant: str | None) -> None:
    """This is the same site as the one that was connected, at another place: it goes on from here.

    Not for a copy: end the connection there.
    """
    services = _services()
    tenants = overviews.tenants(services) if tenant is None else [tenant]
    number = sum(connect.moved(services, one) for one in tenants)
    click.echo(f"{number} of {len(tenants)} connections belonged elsewhere, and go on from here.")


@_command("rotate-keys")
def rotate_keys() -> None:
    """Seal all stored secrets with the newest key of MAILCHIMP_OPTIN_ENCRYPTION_KEYS.

    Once web and workers run with that key, and this has run, the others may go.
    """
    number = acts.rotate_keys(_services())
    click.echo(f"{number} stored secrets are sealed with the newest encryption key.")


@_command("lists")
@click.option("--refresh", is_flag=True, help="Fetch them from Mailchimp and store them.")
@_tenant_option
def lists(refresh: bool, tenant: str) -> None:
    """Show the stored lists (audiences)."""
    if refresh:
        changes = connect.refresh(_services(), tenant)
        for word, names in (("new", changes.added), ("gone", changes.removed)):
            for name in names:
                click.echo(f"{word}: {name}")
        for name, what in changes.changed:
            click.echo(f"changed: {name}: {what}")
        if changes.none:
            click.echo("Nothing changed.")
        connect.store_lists(_services(), tenant)
    _show_lists(overviews.read(_services(), tenant))


def _show_lists(overview: overviews.Overview) -> None:
    for row in overview.lists:
        marks = ["master list"] if row.is_master else []
        marks += ["double opt-in"] if row.double_optin else []
        marks += ["gone at Mailchimp"] if row.gone else []
        more = f" ({', '.join(marks)})" if marks else ""
        click.echo(f"{row.list_id}  {row.name}, {row.member_count} subscribers{more}")


@_command("enable")
@click.option(
    "--preview",
    is_flag=True,
    help="Count first what the sync would change, and wait for an answer.",
)
@_tenant_option
def enable(preview: bool, tenant: str) -> None:
    """Enable the integration; a sync starts."""
    services = _services()
    now = overviews.read(services, tenant).settings
    connect.save_settings(services, tenant, replace(now, enabled=True), ask_first=preview)
    if not preview:
        click.echo("Enabled. Follow the sync with: flask mailchimp status")
        return
    jobs.run_until_idle(current_app._get_current_object())  # type: ignore[attr-defined]
    first = overviews.read(services, tenant)
    if first.first_says:
        click.echo(first.first_says)
        click.echo("Continue: flask mailchimp sync --resume. Cancel: flask mailchimp sync --cancel")
    elif first.first:
        click.echo("It is being counted. Follow it with: flask mailchimp status")
    else:
        click.echo("There is no sync to preview: the integration was enabled already.")


@_command("fields")
@click.option("--create", is_flag=True, help="Make the missing ones at Mailchimp.")
@_tenant_option
def fields(create: bool, tenant: str) -> None:
    """Compare the merge fields we send with those that the lists have. Exit code 1 if some lack."""
    services = _services()
    if create:
        for tag in connect.create_fields(services, tenant):
            click.echo(f"made: {tag}")
    connect.read_fields(services, tenant)
    lacking = 0
    for row in overviews.read(services, tenant).lists:
        for field in row.fields.rows:
            state = "missing" if field.missing else "required" if field.required else "there"
            source = (field.source or "a function") if field.ours else "not sent"
            source += " and back" if field.pulled else ""
            click.echo(f"{row.name}: {field.tag} ({field.type}), {source}: {state}")
            lacking += field.missing
    if lacking:
        raise SystemExit(1)


@_command("disable")
@_tenant_option
def disable(tenant: str) -> None:
    """Pause the integration. Opt-outs still go out; everything else is kept."""
    now = overviews.read(_services(), tenant).settings
    connect.save_settings(_services(), tenant, replace(now, enabled=False))
    click.echo("Disabled. Opt-outs still go out; everything else waits.")


@_command("status")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@_tenant_option
def status(as_json: bool, tenant: str) -> None:
    """How the integration is, and how far the syncs are."""
    services = _services()
    overview = overviews.read(services, tenant)
    progress = _progress(services, tenant)
    troubled = attention.page(services, tenant, attention.Which(), size=100)
    if as_json:
        facts = {
            "overview": asdict(overview),
            "syncs": [asdict(row) for row in progress],
            "attention": troubled.total,
        }
        click.echo(json.dumps(facts, default=_plain, indent=2))
        return
    if not overview.connected:
        click.echo("Not connected. Connect with: flask mailchimp connect")
        return
    enabled = "enabled" if overview.settings.enabled else "not enabled"
    by = "by OAuth" if overview.by_login else "key"
    click.echo(f"Connected with {overview.account_name} ({by} {overview.key_hint}), {enabled}.")
    if overview.other_site:
        click.echo(f"Stopped: {overview.other_site} {site.SAY_FIRST}")
        click.echo("The same one, moved: flask mailchimp moved. A copy: flask mailchimp disconnect")
    if overview.suspended:
        click.echo(f"Stopped: {overview.suspended}")
    if overview.next_daily_at:
        click.echo(f"Next daily sync: {overview.next_daily_at:%Y-%m-%d %H:%M} UTC")
    for row in progress[:3]:
        click.echo(
            f"{row.kind} sync of {row.started_at:%Y-%m-%d %H:%M} UTC: "
            f"{'paused' if row.paused else row.state}, {row.percent} %, "
            f"{row.sent} of {row.to_send} sent, {row.failed} failed"
        )
        if row.message:
            click.echo(f"  {row.message}")
    for item in troubled.members:
        _show_attention(item)
    if troubled.after:
        click.echo(
            f"… and {troubled.total - len(troubled.members):,} more: flask mailchimp attention"
        )


def _show_attention(item: attention.Attention) -> None:
    who = ", ".join(item.customer_keys) or "nobody's"
    click.echo(f"needs attention: customer {who}: {item.text} {item.way_out or ''}".rstrip())


def _progress(services: Services, tenant: str) -> list[runs.Progress]:
    with services.begin() as tx:
        connection = overviews.find(tx, services, tenant)
        return [] if connection is None else runs.progress(tx, services, connection.id)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@_command("sync")
@click.option("--preview", is_flag=True, help="Count what would change, and change nothing.")
@click.option("--pause", is_flag=True, help="Pause what is running; opt-outs still go out.")
@click.option("--resume", is_flag=True, help="Let a sync go on that was paused, or that stopped.")
@click.option("--cancel", is_flag=True, help="Cancel what is running or waiting.")
@_tenant_option
def sync(preview: bool, pause: bool, resume: bool, cancel: bool, tenant: str) -> None:
    """Compare all customers with Mailchimp now; a worker does it."""
    if cancel:
        acts.cancel_sync(_services(), tenant)
        click.echo("Cancelled.")
    elif pause:
        acts.pause_sync(_services(), tenant)
        click.echo("Paused. Opt-outs still go out. Go on with: flask mailchimp sync --resume")
    elif resume:
        acts.resume_sync(_services(), tenant)
        click.echo("The sync goes on.")
    elif preview:
        _preview(tenant)
    else:
        acts.start_sync(_services(), tenant)
        click.echo("The sync starts. Follow it with: flask mailchimp status")


def _preview(tenant: str) -> None:
    run_id = acts.start_sync(_services(), tenant, "preview")
    jobs.run_until_idle(current_app._get_current_object())  # type: ignore[attr-defined]
    for row in _progress(_services(), tenant):
        if row.run_id == run_id:
            click.echo(f"{row.to_send} contacts would be looked after; of these would be")
            click.echo(f"  ticked: {row.boxes_on}, unticked: {row.boxes_off}")
            click.echo(f"  unsubscribed: {row.removals}, asked by mail: {row.asks}")


_REASONS = click.Choice(sorted(REASONS))


@_command("attention")
@click.option("--reason", type=_REASONS, help="Of this reason only.")
@click.option("--search", default="", help="A part of an address, or a customer's primary key.")
@click.option("--json", "as_json", is_flag=True, help="For machines: an object a line.")
@_tenant_option
def attention_(reason: str | None, search: str, as_json: bool, tenant: str) -> None:
    """Everybody who needs attention: why, and what to do."""
    which = attention.Which(reason=reason, search=search)
    for item in attention.everybody(_services(), tenant, which):
        if as_json:
            click.echo(json.dumps(asdict(item), default=_plain))
        else:
            _show_attention(item)


@_command("retry")
@click.option("--reason", type=_REASONS, help="Only those of this reason.")
@click.option("--customer", "customer_key", help="Only the customer with this primary key.")
@_tenant_option
def retry(reason: str | None, customer_key: str | None, tenant: str) -> None:
    """Try those again who need attention: all, those of a reason, or one customer."""
    number = acts.retry(_services(), tenant, reason=reason, customer_key=customer_key)
    click.echo(f"{number} will be tried again.")


@_command("sweep")
def sweep() -> None:
    """Find due work and do it, here and now: for cron or a systemd timer."""
    jobs.sweep()
    click.echo("Swept.")


@_command("doctor")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--offline", is_flag=True, help="Ask neither Mailchimp nor our own public address.")
@_tenant_option
def doctor_(as_json: bool, offline: bool, tenant: str) -> None:
    """Check everything, and say what to do.

    Exit code 0 if all is well or there are warnings only, 1 if something is broken.
    """
    found = doctor.examine(state.current(), tenant, offline=offline)
    if as_json:
        click.echo(json.dumps([asdict(check) for check in found], indent=2))
    else:
        for check in found:
            click.echo(f"{check.level:8} {check.code}: {check.text}")
            if check.hint:
                click.echo(f"{'':8} → {check.hint}")
    if any(check.level == health.ERROR for check in found):
        raise SystemExit(1)


@_command("history")
@click.argument("customer_key")
@click.option("--tenant", help="What they decided as this tenant's customer only; else all.")
def history(customer_key: str, tenant: str | None) -> None:
    """Every decision about a customer, newest first. CUSTOMER_KEY is their primary key."""
    for row in standing.history_of_key(_services(), customer_key, tenant):
        who = f" by {row.actor}" if row.actor else ""
        answer = f": {row.receipt}" if row.receipt else ""
        yes_no = "yes" if row.value else "no"
        click.echo(f"{row.decided_at:%Y-%m-%d %H:%M:%S} UTC  {yes_no}, {row.source}{who}{answer}")


@_command("export")
@click.argument("customer_key")
@_tenant_option
def export(customer_key: str, tenant: str) -> None:
    """Everything that is kept of a customer, as JSON, for a request for access."""
    click.echo(person.as_json(person.export(_services(), tenant, customer_key)))


@_command("look")
@click.argument("customer_key")
@_tenant_option
def look(customer_key: str, tenant: str) -> None:
    """Have a worker look at a customer's address at Mailchimp now."""
    person.look(_services(), tenant, customer_key)
    click.echo("A worker looks now. See: flask mailchimp history")


@_command("erase")
@click.argument("customer_key")
@click.confirmation_option(
    prompt="Delete this person permanently at Mailchimp, and erase what is kept of them here?"
)
@_tenant_option
def erase(customer_key: str, tenant: str) -> None:
    """Erase a person, here and permanently at Mailchimp. The customer themselves is not changed."""
    done = person.erase(_services(), tenant, customer_key)
    if not done.connected:
        click.echo("Mailchimp is not connected: nothing was deleted there.")
    for address in done.shared:
        click.echo(f"{address} stays: another customer has it, too.")
    click.echo("Erased.")


@_command("webhook")
@click.argument("action", type=click.Choice(["verify", "register", "rotate", "log", "replay"]))
@click.option("--ring", "ring_id", type=int, help="For replay: the number that the log shows.")
@click.option("--state", type=click.Choice(figures.RING_STATES), help="For log: only these.")
@_tenant_option
def webhook(action: str, ring_id: int | None, state: str | None, tenant: str) -> None:
    """Look after the webhooks: verify and repair them, or register them anew with new secrets.

    Or see the log of what was received, and replay one: look again at the address that it named.
    """
    if action == "log":
        for ring in figures.rings(_services(), tenant, 100, state=state):
            what = ring.outcome or "waiting"
            if ring.answered_at is not None:
                what += f", after {(ring.answered_at - ring.received_at).total_seconds():.1f} s"
            at = f"{ring.received_at:%Y-%m-%d %H:%M:%S} UTC"
            click.echo(f"{ring.id}  {at}  {ring.kind}  {ring.list_name}  ({ring.verified})  {what}")
        return
    if action == "replay":
        if ring_id is None:
            raise click.UsageError("Say which: --ring NUMBER. See: flask mailchimp webhook log")
        acts.ring_again(_services(), tenant, ring_id)
        click.echo("A worker looks at this address again.")
        return
    acts.repair_webhooks(_services(), tenant, anew=action != "verify")
    click.echo("A worker looks after the webhooks now. See: flask mailchimp doctor")


@_command("worker")
@click.option("--burst", is_flag=True, help="Stop when nothing is left to do.")
def worker(burst: bool) -> None:
    """Run a worker for our queue: it drains changes, answers rings and sweeps every minute."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    jobs.run_worker(app, burst=burst)


@_command("sandbox", with_appcontext=False)
@click.option("--port", default=5001, help="The port to listen on; 0 for any free one.")
@click.option("--api-key", help="The sandbox's API key; made up if it is not given.")
@click.option(
    "--redirect",
    help="Register an application for logging in, whose people are sent back to this address.",
)
def sandbox(port: int, api_key: str | None, redirect: str | None) -> None:
    """Run a Mailchimp sandbox with a page of its own, for trying things without an account."""
    from .testing.sandbox import MailchimpSandbox  # only here: the package never needs it

    box = MailchimpSandbox(api_key=api_key)
    try:
        with box.serve(port=port) as url:
            click.echo(f"MAILCHIMP_OPTIN_API_URL={url}")
            click.echo(f"API key: {box.api_key}")
            if redirect:
                app = box.register_app(redirect)
                click.echo(f"MAILCHIMP_OPTIN_OAUTH_CLIENT_ID={app.client_id}")
                click.echo(f"MAILCHIMP_OPTIN_OAUTH_CLIENT_SECRET={app.client_secret}")
            click.echo(f"Its page: {url.removesuffix('3.0/')}")
            click.echo("Stop with Ctrl-C.")
            _wait_for_the_end()
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(
            f"The port {port} can't be used ({error.strerror or error}). Choose another: --port"
        ) from None


def _wait_for_the_end() -> None:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
