"""The settings page's forms. Edge.

They say which field is wrong; ``connect`` has the last word on every value. Labels and errors are
English, said in the reader's language where they are shown. Texts with fixed choices
are plain string fields, drawn by the templates, so that every choice has an explanation beside it.
A field that a request leaves out keeps the value that is stored, but for checkboxes.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from wtforms import BooleanField, PasswordField, StringField
from wtforms.validators import AnyOf, InputRequired, Regexp, ValidationError

from .overviews import DELETION_POLICIES, Overview, Settings
from .texts import N_

if TYPE_CHECKING:  # Flask-WTF ships no types; what it adds to WTForms' form is not called here
    from wtforms import Form as FlaskForm
else:
    from flask_wtf import FlaskForm

AT_ONCE, DAILY = "at_once", "daily"


@cache
def zones() -> tuple[str, ...]:
    """The names of all time zones that a person may mean, UTC first."""
    names = (
        name
        for name in available_timezones()
        if "/" in name and not name.startswith(("Etc/", "SystemV/", "US/"))
    )
    return ("UTC", *sorted(names))


class ConnectForm(FlaskForm):
    """The API key. A password field: what was typed never comes back in a page."""

    api_key: PasswordField = PasswordField(N_("API key"), [InputRequired(N_("Enter an API key."))])


class SettingsForm(FlaskForm):
    """Everything else that an administrator chooses."""

    enabled: BooleanField = BooleanField(N_("Enable the integration"))
    master_list: StringField = StringField(N_("Master list"))
    mode: StringField = StringField(
        N_("When changes are sent"), [AnyOf((AT_ONCE, DAILY), N_("Choose when to send."))]
    )
    daily_at: StringField = StringField(
        N_("Time of day"),
        [Regexp(r"([01]\d|2[0-3]):[0-5]\d\Z", message=N_("Enter a time of day such as 03:00."))],
    )
    daily_zone: StringField = StringField(N_("Time zone"))
    on_delete: StringField = StringField(
        N_("When a customer is deleted"),
        [AnyOf(DELETION_POLICIES, N_("Choose what happens when a customer is deleted."))],
    )
    always_confirm: BooleanField = BooleanField(
        N_("Always ask by mail before subscribing somebody again")
    )

    @classmethod
    def of(cls, overview: Overview, **options: Any) -> SettingsForm:
        """The form as it is stored, with what the request sends on top.

        :param options: for the form itself, such as ``formdata``.
        """
        now = overview.settings
        form = cls(
            **options,
            enabled=now.enabled,
            master_list=now.master_list,
            mode=DAILY if now.daily else AT_ONCE,
            daily_at=now.daily_at,
            daily_zone=now.daily_zone,
            on_delete=now.on_delete,
            always_confirm=now.always_confirm,
        )
        form.known_lists = {row.list_id for row in overview.lists if not row.gone}
        return form

    known_lists: set[str]

    def validate_master_list(self, field: StringField) -> None:
        """One of the stored lists; none only while the integration is off."""
        if field.data and field.data not in self.known_lists:
            raise ValidationError(N_("This list is not stored. Refresh and store the lists first."))
        if self.enabled.data and not field.data:
            raise ValidationError(N_("Choose a master list before enabling the integration."))

    def validate_daily_zone(self, field: StringField) -> None:
        """A name that the time zone database knows."""
        if field.data not in available_timezones():
            raise ValidationError(
                N_("This time zone is not known. Choose one such as Europe/Berlin.")
            )

    def settings(self) -> Settings:
        """What was chosen, for :func:`.connect.save_settings`."""
        return Settings(
            enabled=self.enabled.data,
            master_list=self.master_list.data or None,
            daily=self.mode.data == DAILY,
            daily_at=self.daily_at.data or "",
            daily_zone=self.daily_zone.data or "",
            on_delete=self.on_delete.data or "",
            always_confirm=self.always_confirm.data,
        )


class MovedForm(FlaskForm):
    """A copy that goes on as the real site would change real people's mail: this needs a tick, too."""

    same_site: BooleanField = BooleanField(
        N_("Yes, and the site that was connected no longer runs"),
        [InputRequired(N_("Tick the box to confirm that this is the same site, moved."))],
    )


class DisconnectForm(FlaskForm):
    """Disconnecting needs a tick, so that nobody does it by a slip."""

    confirm: BooleanField = BooleanField(
        N_("Yes, disconnect Mailchimp"),
        [InputRequired(N_("Tick the box to confirm that Mailchimp is to be disconnected."))],
    )
