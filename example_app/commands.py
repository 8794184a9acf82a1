"""``flask --app example_app init-db``: the tables, somebody who may log in, a few customers.

A real application has migrations for the tables (``flask db migrate`` sees those of the extension).
"""

from __future__ import annotations

from datetime import UTC, datetime

import click
from flask import Flask
from flask.cli import with_appcontext
from sqlalchemy import select

from .models import User, db
from .samples import made_up_customers, made_up_jobs

SAMPLE_SIZE = 12


@click.command("init-db")
@click.option("--admin-email", default="admin@example.com", show_default=True)
@click.password_option("--admin-password", help="The administrator's password.")
@with_appcontext
def init_db(admin_email: str, admin_password: str) -> None:
    """Create the tables; in an empty database also an administrator and sample customers."""
    db.create_all()
    if db.session.scalar(select(User).limit(1)) is None:
        admin = User(name="Admin", email=admin_email.lower(), is_admin=True)
        admin.set_password(admin_password)
        today = datetime.now(UTC).date()
        customers = made_up_customers(SAMPLE_SIZE, seed=0)
        db.session.add_all([admin, *customers, *made_up_jobs(customers, today)])
        db.session.commit()
    click.echo("The database is ready.")


def register(app: Flask) -> None:
    """Add the command to ``flask``."""
    app.cli.add_command(init_db)
