"""The macros on a host's own pages: the checkbox with its words, the state as a badge, the history."""

from __future__ import annotations

import html
import re

import pytest
import sqlalchemy as sa
from flask import request
from flask.testing import FlaskClient
from flask_babel import Babel
from jinja2 import DictLoader
from markupsafe import Markup

from tests.house import Customer, Host, db

IMPORT = '{% from "mailchimp_optin/macros.html" import opt_in_field, state_badge, history %}'
WORDS = "Yes, send me <news> & offers"
PAGES = {
    "form.html": IMPORT + "{{ opt_in_field('news', words, checked=ticked, **more) }}",
    "state.html": IMPORT + "{{ state_badge(customer) }}",
    "list.html": IMPORT
    + "{% for one in customers %}{{ state_badge(state=states[one.id|string], brief=true) }}"
    "{% endfor %}",
    "history.html": IMPORT + "{{ history(customer) }}",
}


@pytest.fixture
def host(host: Host) -> Host:
    """A host with pages and a form of its own."""
    host.app.jinja_loader = DictLoader(PAGES)

    @host.app.post("/sign-up")
    def sign_up() -> str:
        with host.mailchimp.decided_by(actor="visitor", source="sign-up"):
            db.session.add(Customer(mail="ada@example.com", wants_news="news" in request.form))
            db.session.commit()
        return ""

    @host.app.post("/without-a-name")
    def without_a_name() -> str:
        db.session.add(Customer(mail="ada@example.com", wants_news="news" in request.form))
        db.session.commit()
        return ""

    return host


def show(host: Host, page: str, **values: object) -> str:
    with host.app.test_request_context():
        return host.app.jinja_env.get_template(page).render(**values)


def field(host: Host, words: object = WORDS, *, ticked: bool = False, **more: str) -> str:
    return show(host, "form.html", words=words, ticked=ticked, more=more)


def sealed(page: str) -> str:
    [value] = re.findall(r'name="mailchimp_optin_wording" value="([^"]+)"', page)
    return html.unescape(value)


def wording(host: Host, client: FlaskClient, path: str = "/sign-up", **form: object) -> str | None:
    assert client.post(path, data={"news": "y", **form}).status_code == 200
    found: str | None = host.history(1)[0].wording
    return found


class TestTheCheckbox:
    def test_it_is_a_labelled_box_that_nobody_ticked(self, host: Host) -> None:
        page = field(host)
        assert '<input type="checkbox" name="news" id="news" value="y">' in page
        assert '<label for="news">Yes, send me &lt;news&gt; &amp; offers</label>' in page
        assert " checked" in field(host, ticked=True)

    def test_a_host_gives_it_its_own_classes(self, host: Host) -> None:
        page = field(host, group="form-check", input="form-check-input", label="l", id="other")
        assert '<div class="form-check">' in page
        assert 'id="other" value="y" class="form-check-input"' in page
        assert '<label for="other" class="l">' in page

    @pytest.mark.parametrize("path", ["/sign-up", "/without-a-name"])
    def test_the_ledger_gets_exactly_what_was_shown(
        self, host: Host, client: FlaskClient, path: str
    ) -> None:
        shown = sealed(field(host))
        assert WORDS not in shown
        assert wording(host, client, path, mailchimp_optin_wording=shown) == WORDS

    def test_words_with_a_link_in_them(self, host: Host, client: FlaskClient) -> None:
        words = Markup('News, see <a href="/privacy">privacy</a>')
        page = field(host, words)
        assert words in page
        assert wording(host, client, mailchimp_optin_wording=sealed(page)) == str(words)

    @pytest.mark.parametrize(
        "forged",
        [
            pytest.param([WORDS], id="plain"),
            pytest.param([""], id="empty"),
            pytest.param(["gAAAAABé"], id="rubbish"),
            pytest.param(["news", "more"], id="two"),
            pytest.param([], id="none"),
        ],
    )
    def test_other_words_are_not_believed(
        self, host: Host, client: FlaskClient, forged: list[str]
    ) -> None:
        assert wording(host, client, mailchimp_optin_wording=forged) is None

    def test_two_checkboxes_in_one_form_name_none(self, host: Host, client: FlaskClient) -> None:
        two = [sealed(field(host)), sealed(field(host, "Other words"))]
        assert wording(host, client, mailchimp_optin_wording=two) is None

    def test_another_secret_of_ours_is_no_wording(self, host: Host, client: FlaskClient) -> None:
        stolen = host.services.vault.seal("a key", "api-key:")
        assert wording(host, client, mailchimp_optin_wording=stolen) is None


class TestTheBadge:
    def test_it_has_a_symbol_and_a_word_and_says_the_way_out(self, host: Host) -> None:
        host.connect()
        host.sandbox.subscribe(host.list_id, "ada@example.com")
        host.sandbox.unsubscribe(host.list_id, "ada@example.com")
        key = host.add("ada@example.com", wants_news=True)
        host.work()
        with host.app.app_context():
            page = show(host, "state.html", customer=db.session.get(Customer, key))
        state = host.state(key)
        assert f'data-state="{state}"' in page
        assert '<span aria-hidden="true">–</span> Not subscribed' in page
        assert "Not subscribed at Mailchimp." in page

    def test_whoever_can_only_come_back_themselves_has_the_link(self, host: Host) -> None:
        host.connect()
        host.sandbox.refuse("ada@example.com", "Member In Compliance State", "compliance state")
        key = host.add("ada@example.com", wants_news=True)
        host.work()
        with host.app.app_context():
            page = show(host, "state.html", customer=db.session.get(Customer, key))
        assert '<span class="mco-tag mco-tag-warning"' in page
        assert "The list’s sign-up form</a>" in page

    def test_a_list_of_customers_costs_no_query_each(self, host: Host) -> None:
        host.connect()
        for number in range(30):
            host.add(f"{number}@example.com", wants_news=True)
        host.work()
        counted: list[str] = []
        with host.app.app_context():
            customers = db.session.scalars(sa.select(Customer)).all()
            sa.event.listen(db.engine, "before_cursor_execute", lambda *a: counted.append(a[2]))
            states = host.mailchimp.states_of(customers)
            page = show(host, "list.html", customers=customers, states=states)
        assert page.count('data-state="subscribed"') == 30
        assert "Subscribed at Mailchimp." not in page
        assert len(counted) < 10


class TestTheHistory:
    def test_it_tells_every_decision(self, host: Host, client: FlaskClient) -> None:
        wording(host, client, mailchimp_optin_wording=sealed(field(host)))
        with host.app.app_context():
            page = show(host, "history.html", customer=db.session.get(Customer, 1))
        assert '<th scope="row">Yes</th>' in page
        assert 'data-label="Who">visitor</td>' in page
        assert "Yes, send me &lt;news&gt; &amp; offers" in page

    def test_who_decided_nothing_has_none(self, host: Host) -> None:
        key = host.add("ada@example.com")
        with host.app.app_context():
            page = show(host, "history.html", customer=db.session.get(Customer, key))
        assert page.strip() == '<p class="mco-empty">No decision yet.</p>'


def test_our_texts_are_ours_where_the_host_translates_its_own(host: Host) -> None:
    Babel(host.app, locale_selector=lambda: "de")
    host.app.jinja_env.globals["_"] = lambda text: f"HOST {text}"
    key = host.add("ada@example.com")
    with host.app.app_context():
        page = show(host, "state.html", customer=db.session.get(Customer, key))
    assert "HOST" not in page
