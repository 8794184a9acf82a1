"""What the check drives: connecting, both journeys, double opt-in, and taking leave."""

from __future__ import annotations

import statistics
import time

from .check import Report
from .people import ACTIVITY, Administrator, AtMailchimp
from .stage import ADMIN, OTHER_AUDIENCE, Stage

_SAVES = 10
_DOUBLE = "Trade news"


def drive(report: Report, stage: Stage) -> None:
    """Drive everything, in the order of a person's first day."""
    admin = Administrator(stage.plan.app_url)
    mailchimp = AtMailchimp(stage.plan.sandbox_url)
    report.says("log in", "Dashboard", admin.log_in(ADMIN, stage.password))
    master = _connect(report, admin, stage.api_key)
    _enable(report, admin, mailchimp, master)
    _out(report, admin, mailchimp, master)
    _in(report, admin, mailchimp, master)
    _double_optin(report, admin, mailchimp)
    _save_times(report, admin, mailchimp, master)
    _leave(report, admin, mailchimp, master)


def _connect(report: Report, admin: Administrator, key: str) -> str:
    report.says("text that is no key", "problem", admin.connect("open sesame"))
    report.says("key of nobody", "problem", admin.connect("0" * 32 + "-us6"))
    report.says("key of the sandbox", "Mailchimp is connected", admin.connect(key))
    lists = admin.lists()
    report.see("lists appear, first one chosen", ["Newsletter", OTHER_AUDIENCE], lambda: [*lists])
    return lists["Newsletter"]


def _enable(report: Report, admin: Administrator, mailchimp: AtMailchimp, master: str) -> None:
    admin.import_customers()
    everybody = list(admin.customers())
    ticked = sum(box for _, _, box in everybody)
    report.see("import customers", 312, lambda: len(everybody))
    admin.enable()
    seen: set[int] = set()

    def done() -> bool:
        percent = admin.progress()
        seen.update([] if percent is None else [percent])
        return percent is None and "Initial sync" in admin.browser.open(ACTIVITY).text

    seconds = report.see("initial sync ends", True, done, deadline_s=30)
    percents = ", ".join(f"{percent} %" for percent in sorted(seen)[:6])
    report.add("its progress was seen", "some %", percents or "nothing", seconds, ok=bool(seen))
    text = admin.browser.open(ACTIVITY).first("main").text
    report.says("its result on the page", "312 customers", text)
    report.see("subscribed at Mailchimp", (ticked, 0), lambda: mailchimp.counts("Newsletter"))
    report.see("webhook is registered", "1 webhook", lambda: mailchimp.webhooks(master))


def _out(report: Report, admin: Administrator, mailchimp: AtMailchimp, master: str) -> None:
    email = "rosa.out@example.com"
    names = {"first_name": "Rosa", "last_name": "Out", "email": email}
    customer = admin.add(**names, marketing_opt_in=True)
    report.see("new ticked customer", "subscribed", lambda: mailchimp.status(master, email))
    report.see("its state beside the box", "subscribed", lambda: admin.state(customer))
    admin.change(customer, marketing_opt_in=False)
    report.see("untick", "unsubscribed", lambda: mailchimp.status(master, email))
    admin.change(customer, marketing_opt_in=True)
    report.see("tick again", "subscribed", lambda: mailchimp.status(master, email))
    admin.change(customer, first_name="Rosalind")
    report.see("edit the name", "Rosalind", lambda: mailchimp.first_name(master, email))
    admin.delete(customer)
    report.see("delete the customer", "unsubscribed", lambda: mailchimp.status(master, email))


def _in(report: Report, admin: Administrator, mailchimp: AtMailchimp, master: str) -> None:
    everybody = list(admin.customers())
    customer, email = next((path, email) for path, email, box in everybody if box)
    mailchimp.act(master, email, "Unsubscribe")
    report.see("unsubscribes at Mailchimp: box", False, lambda: admin.box(customer))
    report.see("… state beside the box", "unsubscribed", lambda: admin.state(customer))
    report.says("… history says where", "at Mailchimp", admin.history(customer))
    customer, email = next((path, email) for path, email, box in everybody if not box)
    mailchimp.sign_up(master, email)
    report.see("unticked one signs up there: box", True, lambda: admin.box(customer))
    report.see("… state beside the box", "subscribed", lambda: admin.state(customer))


def _double_optin(report: Report, admin: Administrator, mailchimp: AtMailchimp) -> None:
    mailchimp.add_audience(_DOUBLE, double_optin=True)
    report.see("new list, before a refresh", False, lambda: _DOUBLE in admin.lists())
    report.says("refresh lists", f"{_DOUBLE} – new", admin.press("Refresh lists"))
    admin.press("Store lists")
    report.see("store lists: can be chosen", True, lambda: _DOUBLE in admin.lists())
    list_id, email = admin.lists()[_DOUBLE], "dora.double@example.com"
    customer = admin.add(
        first_name="Dora",
        last_name="Double",
        email=email,
        mailchimp_list_id=list_id,
        marketing_opt_in=True,
    )
    report.see("own list, double opt-in", "pending", lambda: mailchimp.status(list_id, email))
    report.see("… state beside the box", "asked", lambda: admin.state(customer))
    report.see("… webhook is registered", "1 webhook", lambda: mailchimp.webhooks(list_id))
    mailchimp.act(list_id, email, "Confirm the subscription")
    report.see("confirms: state", "subscribed", lambda: admin.state(customer))
    report.see("… box stays", True, lambda: admin.box(customer))
    report.says("… history keeps the wording", "Opt into marketing", admin.history(customer))


def _save_times(report: Report, admin: Administrator, mailchimp: AtMailchimp, master: str) -> None:
    """From a saved form to what Mailchimp shows, one after the other."""
    email = "tom.timed@example.com"
    names = {"first_name": "Tom", "last_name": "Timed", "email": email}
    customer = admin.add(**names, marketing_opt_in=True)
    report.see("one more ticked", "subscribed", lambda: mailchimp.status(master, email))
    seconds = []
    for number in range(_SAVES):
        name = f"Tom {number}"
        admin.change(customer, first_name=name)
        began = time.monotonic()
        while mailchimp.first_name(master, email) != name and time.monotonic() - began < 10:
            time.sleep(0.005)
        seconds.append(time.monotonic() - began)
    middle, worst = statistics.median(seconds), max(seconds)
    seen = f"median {middle:.2f} s, longest {worst:.2f} s"
    report.add(f"save → Mailchimp, {_SAVES} times", "median < 2 s", seen, middle, ok=middle < 2)


def _leave(report: Report, admin: Administrator, mailchimp: AtMailchimp, master: str) -> None:
    admin.browser.open("/integrations/mailchimp/")
    page = admin.browser.submit("Disconnect", {"confirm": True})
    report.says("disconnect", "Mailchimp is disconnected", page.first("main").text)
    report.see("… webhook is removed", "0 webhooks", lambda: mailchimp.webhooks(master))
    report.see("… state beside boxes", "not_connected", lambda: admin.state("/customers/1"))
