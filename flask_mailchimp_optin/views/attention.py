"""Who needs attention: everybody, a page at a time, to search, to download and to try again. Edge."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from flask import Response as FlaskResponse
from flask import flash, redirect, request, stream_with_context, url_for
from werkzeug.wrappers import Response

from .. import acts, attention, overviews
from ..attention import Attention, Group, Page, Which
from ..i18n import gettext as _
from ..i18n import ngettext, said
from ..vault import CannotDecrypt
from . import words
from .show import attempt, here, render, row_id

_SIZE = 50  # customers on one page
_SEARCH = "search"


def everybody() -> str:
    """Whom a search finds, or all, grouped by reason."""
    services, tenant = here()
    which = _which()
    found = attention.page(
        services,
        tenant,
        which,
        after=request.args.get("after"),
        before=request.args.get("before"),
        size=_SIZE,
    )
    return render(
        "attention.html",
        overview=overviews.read(services, tenant),
        which=which,
        found=found,
        groups=_grouped(found),
    )


def search() -> Response:
    """Look for somebody; what was typed is sealed, so that no address gets into a log of addresses."""
    services, _tenant = here()
    text, reason = request.form.get("q", "").strip(), request.form.get("reason")
    sealed = services.vault.seal(text, _SEARCH) if text else None
    return redirect(url_for(".everybody", reason=reason or None, q=sealed), 303)


def _which() -> Which:
    services, _tenant = here()
    text = ""
    with suppress(CannotDecrypt):
        text = services.vault.open(request.args.get("q", ""), _SEARCH)
    return Which(reason=request.args.get("reason") or None, search=text)


def _grouped(found: Page) -> list[Group]:
    of_each: dict[str, list[Attention]] = {}
    for one in found.members:
        of_each.setdefault(one.reason, []).append(one)
    return [
        Group(reason=reason, number=found.shares.get(reason, 0), members=tuple(members))
        for reason, members in of_each.items()
    ]


def download() -> Response:
    """Whom a search finds, or all, for a spreadsheet."""
    services, tenant = here()
    rows = attention.everybody(services, tenant, _which())
    name = f"needs-attention-{services.now():%Y-%m-%d}.csv"
    return FlaskResponse(
        stream_with_context(_lines(rows)),
        mimetype="text/csv",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )


def _lines(rows: Iterator[Attention]) -> Iterator[str]:
    heads = _("Address"), _("Customer"), _("List"), _("Reason"), _("Why"), _("What to do")
    # Excel takes a file without the mark for one in the machine's old code page.
    yield "\ufeff" + _csv([(*heads, _("Sign-up form"), _("Since (UTC)"))])
    while some := list(islice(rows, 100)):
        yield _csv([_cells(row) for row in some])


def _cells(row: Attention) -> tuple[str, ...]:
    return (
        row.address or "",
        ", ".join(row.customer_keys),
        row.list_name or "",
        said(words.reason(row.reason)),
        said(row.text),
        said(row.way_out) if row.way_out else "",
        row.link or "",
        row.since.strftime("%Y-%m-%d %H:%M:%S") if row.since else "",
    )


def _csv(rows: list[tuple[str, ...]]) -> str:
    lines = io.StringIO()
    csv.writer(lines).writerows([_harmless(cell) for cell in row] for row in rows)
    return lines.getvalue()


def _harmless(cell: str) -> str:
    """A spreadsheet takes what begins so for a formula, whoever wrote it; an apostrophe stops that."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else cell


def retry() -> Response:
    """Try again: one contact, one customer, all of a reason, or all."""
    form = request.form
    contact_id, key = row_id(form.get("contact_id")), form.get("customer_key")
    reason = form.get("reason")
    if contact_id is None and not key and not reason and form.get("all") != "yes":
        return _back()

    number = attempt(
        lambda services, tenant: acts.retry(
            services, tenant, contact_id, reason=reason or None, customer_key=key or None
        )
    )
    if number:
        flash(
            ngettext(
                "%(n)s is tried again. It may take a minute.",
                "%(n)s are tried again. It may take a minute.",
                number,
            ),
            "success",
        )
    elif number == 0:
        flash(_("There was nothing to try again."), "info")
    return _back()


def _back() -> Response:
    """To where the button was pressed."""
    if request.args.get("page") != "attention":
        return redirect(url_for(".activity", _anchor="attention"), 303)
    known: dict[str, Any] = {
        name: request.args[name] for name in ("reason", "q", "after") if name in request.args
    }
    return redirect(url_for(".everybody", **known), 303)
