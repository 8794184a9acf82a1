"""Log in, log out, and who may see what an administrator sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required, login_user, logout_user
from sqlalchemy import select
from werkzeug.wrappers import Response

from .forms import LoginForm
from .models import User, db

blueprint = Blueprint("auth", __name__)


def admin_required(view: Callable[..., Any]) -> Callable[..., Any]:
    """For administrators only."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not current_user.is_admin:
            abort(403)
        return view(*args, **kwargs)

    return login_required(guarded)  # type: ignore[no-any-return]  # Flask-Login ships no types


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> str | Response:
    """Log in with email and password."""
    if current_user.is_authenticated:
        return redirect(url_for("main.dashboard"))
    form = LoginForm()
    if form.validate_on_submit():
        email = (form.email.data or "").lower()
        user = db.session.scalar(select(User).where(User.email == email))
        if user is not None and user.check_password(form.password.data or ""):
            login_user(user)
            return redirect(_next_page())
        flash("Email and password don't match.", "danger")
    return render_template("auth/login.html", form=form)


@blueprint.post("/logout")
def logout() -> Response:
    """Log out."""
    logout_user()
    return redirect(url_for("auth.login"))


def _next_page() -> str:
    """The page that was asked for before logging in, if it is one of ours."""
    target = request.args.get("next", "").replace("\\", "/")
    parts = urlsplit(target)
    ours = target.startswith("/") and not target.startswith("//") and not parts.netloc
    return target if ours else url_for("main.dashboard")
