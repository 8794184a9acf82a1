"""Two people for the check: an administrator of the application, and whoever acts at Mailchimp.

What they do and see, in business words, through pages only.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, urlsplit

from .browser import Browser, Element, Entries, NotThere

SETTINGS = "/integrations/mailchimp/"
ACTIVITY = "/integrations/mailchimp/activity"


class Administrator:
    """Somebody who works with the example application."""

    def __init__(self, url: str) -> None:
        self.browser = Browser(url)

    def log_in(self, email: str, password: str) -> str:
        """Log in; the heading that is seen then."""
        self.browser.open("/")
        self.browser.submit("Log in", {"email": email, "password": password})
        return self.browser.page.first("h1").text

    def connect(self, key: str) -> str:
        """Enter an API key; what the page then says, good or bad."""
        self.browser.open(SETTINGS)
        page = self.browser.submit("Update", {"api_key": key})
        return next((note.text for note in page.all("div") if "mco-note" in _classes(note)), "")

    def lists(self) -> dict[str, str]:
        """The lists that can be chosen as master list: name to id; the chosen one first."""
        self.browser.open(SETTINGS)
        options = list(self.browser.page.first("select", name="master_list").all("option"))
        options.sort(key=lambda option: "selected" not in option.attributes)
        return {
            option.text.rpartition(" (")[0]: option.attributes.get("value", "")
            for option in options
        }

    def enable(self) -> None:
        """Tick "Enable the integration" and save."""
        self.browser.open(SETTINGS)
        self.browser.submit("Update", {"enabled": True}, within="at_once")

    def press(self, button: str, page: str = SETTINGS) -> str:
        """Press a button on one of the extension's pages; the text of the page then."""
        self.browser.open(page)
        return self.browser.submit(button).first("main").text

    def progress(self) -> int | None:
        """How far the running sync is, in percent; None if none runs."""
        found = self.browser.json(f"{ACTIVITY}/progress").get("percent")
        return int(str(found)) if found is not None else None

    def add(self, **entries: str | bool) -> str:
        """Add a customer; the path of their page."""
        self.browser.open("/customers/new")
        return self._save(entries)

    def change(self, customer: str, **entries: str | bool) -> None:
        """Change a customer's details or checkbox."""
        self.browser.open(customer)
        self._save(entries)

    def _save(self, entries: Entries) -> str:
        page = self.browser.submit("Save customer", entries)
        if wrong := [found.text for found in page.all(_class="invalid-feedback d-block")]:
            raise NotThere(f"the form was refused: {wrong}")
        return urlsplit(self.browser.url).path

    def box(self, customer: str) -> bool:
        """Whether a customer's checkbox is ticked."""
        page = self.browser.open(customer)
        return "checked" in page.first("input", name="marketing_opt_in").attributes

    def state(self, customer: str) -> str:
        """The word for a customer's state at Mailchimp beside the checkbox."""
        page = self.browser.open(customer)
        badge = next(found for found in page.all("span") if "data-state" in found.attributes)
        return badge.attributes["data-state"]

    def history(self, customer: str) -> str:
        """What a customer's history says, on their own page."""
        return self.browser.open(customer).first("section", aria_labelledby="history").text

    def delete(self, customer: str) -> None:
        """Delete a customer."""
        self.browser.open(customer)
        self.browser.submit("Delete this customer")

    def import_customers(self) -> None:
        """Press "Import"."""
        self.browser.open("/customers/")
        self.browser.submit("Import 300")

    def customers(self) -> Iterator[tuple[str, str, bool]]:
        """Path, address and checkbox of all customers, page by page."""
        page: Element | None = self.browser.open("/customers/")
        while page is not None:
            for row in page.first("tbody").all("tr"):
                box = row.first("td", data_label="Opted in").text == "Yes"
                yield row.first("a").attributes["href"], row.first("td").text, box
            following = [a.attributes["href"] for a in page.all("a", rel="next")]
            page = self.browser.open(following[0]) if following else None


class AtMailchimp:
    """Whoever acts on the sandbox's pages: a subscriber, or an administrator of the account."""

    def __init__(self, url: str) -> None:
        self.browser = Browser(url)

    def add_audience(self, name: str, *, double_optin: bool) -> None:
        """Create an audience."""
        self.browser.open("/")
        self.browser.submit("Add audience", {"name": name, "double_optin": double_optin})

    def counts(self, name: str) -> tuple[int, int]:
        """How many are subscribed, and how many wait for their confirmation, in an audience."""
        page = self.browser.open("/")
        for row in page.first("tbody").all("tr"):
            if row.first("a").text == name:
                numbers = [int(cell.text) for cell in row.all("td", _class="n")]
                return numbers[0], numbers[1]
        raise NotThere(f"no audience {name}")

    def status(self, list_id: str, email: str) -> str:
        """A member's status; "no member" where there is none."""
        try:
            page = self._member(list_id, email)
        except NotThere:
            return "no member"
        return next(found for found in page.all("span") if "status" in _classes(found)).text

    def first_name(self, list_id: str, email: str) -> str:
        """A member's first name."""
        page = self._member(list_id, email)
        return page.first("input", name="FNAME").attributes.get("value", "")

    def act(self, list_id: str, email: str, button: str) -> None:
        """Press a button on a member's page."""
        self._member(list_id, email)
        self.browser.submit(button)

    def sign_up(self, list_id: str, email: str) -> None:
        """Fill in the audience's hosted form."""
        self.browser.open(f"/subscribe?id={list_id}")
        self.browser.submit("Subscribe", {"email": email})

    def webhooks(self, list_id: str) -> str:
        """How many webhooks an audience has, in the page's words."""
        page = self.browser.open(f"/audiences/{list_id}")
        return page.first("p", _class="quiet").text.rpartition("· ")[2]

    def _member(self, list_id: str, email: str) -> Element:
        return self.browser.open(f"/audiences/{list_id}/members/{quote(email, safe='')}")


def _classes(element: Element) -> list[str]:
    return element.attributes.get("class", "").split()
