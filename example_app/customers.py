"""Customers: the checkbox, who decides about it, and what is true of it at Mailchimp."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required
from sqlalchemy import func, or_, select
from werkzeug.wrappers import Response
from wtforms.fields.choices import SelectChoice  # type: ignore[attr-defined]  # stubs lag

from .auth import admin_required
from .extensions import mailchimp
from .forms import CustomerForm
from .models import Customer, db
from .samples import made_up_customers

blueprint = Blueprint("customers", __name__, url_prefix="/customers")
blueprint.before_request(login_required(lambda: None))

PER_PAGE = 20
IMPORT_SIZE = 300


@blueprint.get("/")
def index() -> str:
    """All customers, or those who were searched for, each with their state at Mailchimp."""
    text = request.args.get("q", "").strip()
    query = select(Customer).order_by(Customer.last_name, Customer.first_name, Customer.id)
    if text:
        columns = (Customer.first_name + " " + Customer.last_name, Customer.email, Customer.phone)
        query = query.where(or_(*(column.icontains(text, autoescape=True) for column in columns)))
    page = db.paginate(query, per_page=PER_PAGE, error_out=False)
    states = mailchimp.states_of(page.items)
    return render_template("customers/index.html", page=page, states=states, q=text)


@blueprint.route("/new", methods=["GET", "POST"])
def create() -> str | Response:
    """A new customer."""
    form = _form()
    if form.validate_on_submit():
        customer = Customer()
        _save(form, customer)
        flash(f"{customer.full_name} was added.", "success")
        return redirect(url_for(".edit", customer_id=customer.id))
    return render_template("customers/edit.html", form=form, customer=None)


@blueprint.route("/<int:customer_id>", methods=["GET", "POST"])
def edit(customer_id: int) -> str | Response:
    """A customer's details, checkbox and jobs."""
    customer = db.get_or_404(Customer, customer_id)
    form = _form(customer)
    if form.validate_on_submit():
        _save(form, customer)
        flash(f"{customer.full_name} was saved.", "success")
        return redirect(url_for(".edit", customer_id=customer.id))
    return render_template("customers/edit.html", form=form, customer=customer)


@blueprint.post("/<int:customer_id>/delete")
def delete(customer_id: int) -> Response:
    """Delete a customer and their jobs."""
    customer = db.get_or_404(Customer, customer_id)
    db.session.delete(customer)
    db.session.commit()
    flash(f"{customer.full_name} was deleted.", "success")
    return redirect(url_for(".index"))


@blueprint.post("/import")
@admin_required
def import_() -> Response:
    """Import made-up customers, as if from another system.

    Nobody decides anything here, hence no ``decided_by``: a ticked box on an imported row is a yes
    without a time, which never stands against a no that is found at Mailchimp.
    """
    already = db.session.scalar(select(func.count(Customer.id))) or 0
    db.session.add_all(made_up_customers(IMPORT_SIZE, seed=already))
    db.session.commit()
    flash(f"{IMPORT_SIZE} customers were imported.", "success")
    return redirect(url_for(".index"))


def _save(form: CustomerForm, customer: Customer) -> None:
    """Save the form. If the checkbox changes, the ledger says who decided and where.

    On what words, it knows from the form: ``opt_in_field`` showed them.
    """
    with mailchimp.decided_by(actor=current_user.name, source="customer form"):
        form.populate_obj(customer)
        db.session.add(customer)
        db.session.commit()


def _form(customer: Customer | None = None) -> CustomerForm:
    """The form, with the stored Mailchimp lists to choose from."""
    form = CustomerForm(obj=customer)
    names = {row.list_id: row.name for row in mailchimp.lists() if not row.gone}
    own = customer.mailchimp_list_id if customer is not None else None
    if own is not None:
        names.setdefault(own, f"{own} (not stored)")
    choices = [SelectChoice(value=key, label=name) for key, name in names.items()]
    form.mailchimp_list_id.choices = [SelectChoice(value="", label="The master list"), *choices]
    return form
