"""Every state that a page can be in, each made through the real thing: the browser, the host, the
sandbox and its work.

A state is a function that leaves the browser on a page; its docstring is what a person must see there.
Add one here, and everything in ``test_states.py`` is checked about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect
from rq import Worker

from flask_mailchimp_optin import acts, connect, drain, jobs
from flask_mailchimp_optin import state as states
from flask_mailchimp_optin.testing import MailchimpSandbox
from tests.browser.looks import WIDE, offer_login, opened, served, size
from tests.house import Clock, Host, db, hosting

STATES: dict[str, Callable[[Scene], None]] = {}


@dataclass(kw_only=True)
class Scene:
    """A browser before a host.

    :param complaints: what the browser complained about up to now.
    :param policies: the policies that came with the pages.
    """

    host: Host
    address: str
    page: Page
    name: str = ""
    complaints: list[str] = field(default_factory=list)
    policies: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> None:
        """Go to one of the pages."""
        self.page.goto(self.address + path)

    def press(self, name: str) -> None:
        """Press the first button of this name, and wait for the page that follows.

        What a page still loads when it is left is a request that failed, and would be complained about.
        """
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=name, exact=True).first.click()

    def connect(self) -> None:
        """Enter the sandbox's key."""
        self.open()
        self.page.get_by_label("API key").fill(self.host.sandbox.api_key)
        self.press("Update")
        self.host.list_id = next(iter(self.host.sandbox.audiences))

    def log_in(self) -> None:
        """Connect with Mailchimp, and agree there: with the browser's cookies, without its policy."""
        offer_login(self.host, self.address)
        self.open()
        send, token = self.page.request.post, self.page.locator("[name=csrf_token]").first
        form: dict[str, Any] = {"csrf_token": token.input_value()}
        asked = send(f"{self.address}/login", form=form, max_redirects=0)
        agreed = send(asked.headers["location"], form={"agree": "yes"}, max_redirects=0)
        self.page.goto(agreed.headers["location"])

    def people(self, number: int = 12, **values: Any) -> list[int]:
        """Customers who said yes."""
        return [
            self.host.add(f"person{n}@example.com", wants_news=True, given_name=f"P{n}", **values)
            for n in range(number)
        ]

    def steps(self, number: int) -> None:
        """Some steps of the work that is due, and not the rest."""
        (connection,) = self.host.rows("connection")
        with self.host.app.app_context():
            for _ in range(number):
                drain.drain(self.host.services, connection.id, "a worker", budget_s=0.0)


@contextmanager
def staged(folder: Path, browser: Browser, redis_url: str) -> Iterator[Scene]:
    """A host and its page, with a worker that is known to Redis; the work is done by the state."""
    clock, complaints = Clock(), list[str]()
    sandbox = MailchimpSandbox(clock=clock)
    with hosting(folder, sandbox, clock, MAILCHIMP_OPTIN_REDIS_URL=redis_url) as host:
        here = states.of(host.app)
        worker = Worker([jobs.queue(here.config.QUEUE, here.redis)], connection=here.redis)
        worker.register_birth()  # type: ignore[no-untyped-call]  # of RQ
        with served(host.app) as address:
            page = opened(browser, complaints, **size(*WIDE))
            scene = Scene(host=host, address=address, page=page, complaints=complaints)
            page.on("response", lambda answer: _note(scene, answer))
            try:
                yield scene
            finally:
                page.context.close()
                worker.register_death()  # type: ignore[no-untyped-call]  # of RQ


def _note(scene: Scene, answer: Any) -> None:
    if answer.request.is_navigation_request() and answer.status not in range(300, 400):
        scene.policies.append(answer.headers.get("content-security-policy", ""))


def settle(scene: Scene, name: str) -> None:
    """Bring a scene into the state of this name."""
    make = STATES[name]
    scene.name = name
    make(scene)
    assert make.__doc__
    expect(scene.page.get_by_text(make.__doc__).first).to_be_visible()


def _state(make: Callable[[Scene], None]) -> Callable[[Scene], None]:
    STATES[make.__name__.replace("_", "-")] = make
    return make


# The settings.


@_state
def not_connected(at: Scene) -> None:
    """Connect Mailchimp"""
    at.open()


@_state
def login_offered(at: Scene) -> None:
    """Connect with Mailchimp"""
    offer_login(at.host, at.address)
    at.open()


@_state
def connected_by_login(at: Scene) -> None:
    """by a login at Mailchimp"""
    at.host.sandbox.add_audience("Trade customers", double_optin=True)
    at.log_in()


@_state
def login_revoked(at: Scene) -> None:
    """The connection is stopped"""
    at.log_in()
    at.page.get_by_label("Enable the integration").check()
    at.press("Update")
    at.host.sandbox.revoke_tokens()
    at.people(1)
    at.host.work()
    at.open()


@_state
def key_refused(at: Scene) -> None:
    """Nothing was changed"""
    at.open()
    at.page.get_by_label("API key").fill("0" * 32 + "-us6")
    at.press("Update")


@_state
def connected(at: Scene) -> None:
    """Mailchimp is connected"""
    at.host.sandbox.add_audience("Trade customers", double_optin=True)
    at.connect()


@_state
def account_without_lists(at: Scene) -> None:
    """has no list (audience) yet"""
    for list_id in at.host.sandbox.audiences:
        at.host.sandbox.delete_audience(list_id)
    at.open()
    at.page.get_by_label("API key").fill(at.host.sandbox.api_key)
    at.press("Update")


@_state
def lists_fetched(at: Scene) -> None:
    """not stored yet"""
    at.people(1)
    at.host.connect()
    at.host.sandbox.add_audience("Trade customers")
    at.host.sandbox.set_double_optin(at.host.list_id, True)
    at.open()
    at.press("Refresh lists")


@_state
def settings_saved(at: Scene) -> None:
    """Settings saved."""
    at.host.connect()
    at.open()
    at.page.get_by_label("Once a day").check()
    at.press("Update")


@_state
def settings_refused(at: Scene) -> None:
    """Error:"""
    at.host.connect()
    at.open()
    at.page.locator("[name=daily_at]").fill("")
    # What a browser's own field doesn't let through.
    at.page.evaluate("document.querySelector('[name=daily_zone] option').value = 'Mars'")
    at.page.evaluate("document.querySelector('[name=daily_zone]').selectedIndex = 0")
    at.press("Update")


@_state
def disconnecting_refused(at: Scene) -> None:
    """Tick the box to confirm"""
    at.host.connect()
    at.open()
    at.page.evaluate("document.querySelector('[name=confirm]').required = false")
    at.press("Disconnect")


@_state
def suspended(at: Scene) -> None:
    """The connection is stopped"""
    at.host.connect()
    at.host.sandbox.revoke_key()
    at.people(1)
    at.host.work()
    at.open()


@_state
def list_gone(at: Scene) -> None:
    """gone at Mailchimp"""
    at.host.connect()
    at.people(2)
    at.host.work()
    at.host.another_list("Trade customers")
    at.host.sandbox.delete_audience(at.host.list_id)
    with at.host.app.app_context():
        connect.refresh(at.host.services, "")
        connect.store_lists(at.host.services, "")
    at.open()


@_state
def other_site(at: Scene) -> None:
    """Is this a copy of your site?"""
    at.people(2)
    at.host.connect()
    at.host.configure(PUBLIC_URL="https://staging.example.com")
    at.open()


@_state
def expired(at: Scene) -> None:
    """This page was open too long"""
    at.host.connect()
    at.open()
    at.page.context.clear_cookies()
    at.press("Refresh lists")


@_state
def tables_missing(at: Scene) -> None:
    """are missing"""
    with at.host.app.app_context():
        db.drop_all()
    at.open()


# The activity page.


@_state
def activity_not_connected(at: Scene) -> None:
    """Mailchimp is not connected"""
    at.open("/activity")


@_state
def activity_empty(at: Scene) -> None:
    """No sync yet"""
    at.connect()
    at.open("/activity")


def _begin_a_sync(at: Scene) -> None:
    at.people(40)
    at.host.connect()
    with at.host.app.app_context():
        acts.start_sync(at.host.services, "")
    at.steps(1)


@_state
def sync_running(at: Scene) -> None:
    """Cancel"""
    _begin_a_sync(at)
    at.open("/activity")
    expect(at.page.get_by_role("progressbar")).to_be_visible()


@_state
def sync_stopped(at: Scene) -> None:
    """waits for you"""
    at.host.configure(STOP_COUNT=5)
    list_id = next(iter(at.host.sandbox.audiences))
    gone = [f"person{n}@example.com" for n in range(8)]
    at.host.sandbox.add_members(list_id, gone, status="unsubscribed")
    at.people(10)
    at.host.connect()
    at.open("/activity")


@_state
def all_is_well(at: Scene) -> None:
    """Everything is in order."""
    ids = at.people(6)
    at.host.connect()
    at.host.sandbox.unsubscribe(at.host.list_id, "person1@example.com")
    at.host.work()
    at.host.clock.turn(days=3)
    at.host.change(ids[2], wants_news=False)
    at.host.work()
    at.open("/activity")


@_state
def no_worker(at: Scene) -> None:
    """No worker is running."""
    at.host.connect()
    here = states.of(at.host.app)
    for worker in Worker.all(connection=here.redis):
        worker.register_death()  # type: ignore[no-untyped-call]  # of RQ
    at.people(3)
    at.open("/activity")


@_state
def webhook_refused(at: Scene) -> None:
    """did not accept"""
    at.host.sandbox.fail_next(400, times=9, path="/webhooks")
    at.host.connect()
    at.open("/activity")


def attention(host: Host) -> list[int]:
    """Customers that need attention for every kind of reason; their ids."""
    host.connect()
    list_id, sandbox = host.list_id, host.sandbox
    long = "a" * 60 + "@example.com"
    ids = [
        host.add(f"{name}@example.com", wants_news=True)
        for name in ("bounced", "bounced.too", "deleted", "archived", "left", "moved", "fake")
    ]
    ids += [host.add(long, wants_news=True), host.add("x" * 200, wants_news=True)]
    sandbox.refuse("fake@example.com")
    host.work()
    for address in ("bounced@example.com", "bounced.too@example.com", long):
        sandbox.clean(list_id, address)
    sandbox.archive(list_id, "archived@example.com")
    sandbox.unsubscribe(list_id, "left@example.com")
    sandbox.change_email(list_id, "moved@example.com", "elsewhere@example.com")
    sandbox.delete_permanently(list_id, "deleted@example.com")
    host.work()
    host.change(ids[2], wants_news=False)
    host.work()
    host.change(ids[2], wants_news=True)
    host.work()
    return ids


@_state
def needs_attention(at: Scene) -> None:
    """Mail bounces"""
    attention(at.host)
    at.open("/activity")


@_state
def tried_again(at: Scene) -> None:
    """tried again"""
    attention(at.host)
    at.open("/activity")
    at.press("Try all again")


@_state
def names_that_are_hard(at: Scene) -> None:
    """WWWW"""
    host = at.host
    host.sandbox.add_audience("W" * 100)
    host.add("b" * 64 + "@" + "example." * 15 + "com", wants_news=True, own_list="nosuchlist")
    host.connect()
    host.sandbox.add_audience('"><script>alert(1)</script>')
    with host.app.app_context():
        connect.refresh(host.services, "")
    at.open()


@_state
def whoever_needs_attention(at: Scene) -> None:
    """Download as CSV"""
    attention(at.host)
    at.open("/activity/attention")


@_state
def nobody_is_found(at: Scene) -> None:
    """No match"""
    attention(at.host)
    at.open("/activity/attention")
    at.page.get_by_label("Search", exact=True).fill("nobody")
    at.press("Search")


@_state
def webhooks_received(at: Scene) -> None:
    """Proved by its signature"""
    attention(at.host)
    at.host.sandbox.unsubscribe(at.host.list_id, "bounced.too@example.com")
    at.open("/activity/webhooks")
    at.page.locator("summary").first.click()


@_state
def no_webhook_is_found(at: Scene) -> None:
    """There is none such."""
    at.host.connect()
    at.open("/activity/webhooks?kind=campaign")


@_state
def sync_paused(at: Scene) -> None:
    """The sync is paused. Opt-outs still go out."""
    _begin_a_sync(at)
    # A look that is cut off by the press would be complained about.
    at.open("/activity?refresh=off")
    at.press("Pause this sync")


@_state
def settings_while_paused(at: Scene) -> None:
    """A sync is paused, and the integration with it."""
    sync_paused(at)
    at.open()


@_state
def counted_before_the_first_sync(at: Scene) -> None:
    """The sync is counted, and waits for your word"""
    at.people(12)
    at.connect()
    at.page.get_by_label("Enable").check()
    at.press("Update and preview")
    at.host.work()
    at.open()


@_state
def another_master_list_is_weighed(at: Scene) -> None:
    """Keep it as it is"""
    at.people(12)
    at.host.connect()
    at.host.another_list("Second list")
    at.open()
    at.page.get_by_label("Master list").select_option(index=1)
    at.press("Update")


# A customer.


@_state
def customer_with_history(at: Scene) -> None:
    """clerk 7"""
    ids = at.people(1)
    at.host.connect()
    at.host.sandbox.unsubscribe(at.host.list_id, "person0@example.com")
    at.host.work()
    at.host.clock.turn(hours=3)
    with at.host.app.app_context():
        said = at.host.mailchimp.decided_by(
            actor="clerk 7",
            source="checkout",
            wording="Yes, send me news about offers and events. I can leave at any time.",
            ip="192.0.2.77",
        )
        with said:
            db.session.get_one(at.host.model, ids[0]).wants_news = True
            db.session.commit()
    at.host.work()
    at.open(f"/customers/{ids[0]}")


@_state
def customer_without_history(at: Scene) -> None:
    """No decision yet"""
    key = at.host.add("ada@example.com")
    at.host.connect()
    at.open(f"/customers/{key}")


@_state
def customer_refused(at: Scene) -> None:
    """History of customer"""
    ids = attention(at.host)
    at.open(f"/customers/{ids[2]}")


@_state
def customer_about_to_be_erased(at: Scene) -> None:
    """What stays"""
    (key,) = at.people(1)
    at.host.connect()
    at.open(f"/erase/{key}")


@_state
def customer_deleted(at: Scene) -> None:
    """no longer exists"""
    (key,) = at.people(1)
    at.host.connect()
    at.host.delete(key)
    at.host.work()
    at.open(f"/customers/{key}")
