"""The dashboard, and the settings that lead to the extension's pages."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask_login import login_required
from sqlalchemy import func, select

from .auth import admin_required
from .models import Customer, Job, JobStatus, db

blueprint = Blueprint("main", __name__)


@blueprint.get("/")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login ships no types
def dashboard() -> str:
    """What there is, and what is due next."""
    is_open = Job.status != JobStatus.DONE
    due = select(Job).where(is_open, Job.due_on.isnot(None)).order_by(Job.due_on).limit(6)
    return render_template(
        "main/dashboard.html",
        customers=_count(select(func.count(Customer.id))),
        opted_in=_count(select(func.count(Customer.id)).where(Customer.marketing_opt_in)),
        open_jobs=_count(select(func.count(Job.id)).where(is_open)),
        due=db.session.scalars(due).all(),
    )


@blueprint.get("/settings")
@admin_required
def settings() -> str:
    """Settings: the integrations."""
    return render_template("main/settings.html")


def _count(query: object) -> int:
    return int(db.session.scalar(query) or 0)  # type: ignore[call-overload]
