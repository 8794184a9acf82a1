"""Jobs: what is to be done for whom, and when. Has nothing to do with Mailchimp."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import login_required
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response
from wtforms.fields.choices import SelectChoice  # type: ignore[attr-defined]  # stubs lag

from .forms import JobForm
from .models import Customer, Job, db

blueprint = Blueprint("jobs", __name__, url_prefix="/jobs")
blueprint.before_request(login_required(lambda: None))


@blueprint.get("/")
def index() -> str:
    """All jobs, the next ones first."""
    query = select(Job).options(joinedload(Job.customer))
    query = query.order_by(Job.due_on.is_(None), Job.due_on, Job.id)
    return render_template("jobs/index.html", page=db.paginate(query, error_out=False))


@blueprint.route("/new", methods=["GET", "POST"])
def create() -> str | Response:
    """A new job."""
    form = _form(customer_id=request.args.get("customer_id", type=int))
    if form.validate_on_submit():
        return _save(form, Job())
    return render_template("jobs/edit.html", form=form, job=None)


@blueprint.route("/<int:job_id>", methods=["GET", "POST"])
def edit(job_id: int) -> str | Response:
    """A job's details."""
    job = db.get_or_404(Job, job_id)
    form = _form(obj=job)
    if form.validate_on_submit():
        return _save(form, job)
    return render_template("jobs/edit.html", form=form, job=job)


def _save(form: JobForm, job: Job) -> Response:
    form.populate_obj(job)
    db.session.add(job)
    db.session.commit()
    flash(f"“{job.title}” was saved.", "success")
    return redirect(url_for(".index"))


def _form(**data: object) -> JobForm:
    form = JobForm(**data)
    people = db.session.scalars(select(Customer).order_by(Customer.last_name, Customer.first_name))
    form.customer_id.choices = [
        SelectChoice(value=person.id, label=f"{person.last_name}, {person.first_name}")
        for person in people
    ]
    return form
