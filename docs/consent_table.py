"""Writes ``consent-table.csv``, the situations of ``consent.rst`` with what the rule answers to them.

Run ``python docs/consent_table.py`` after changing the rule; a test compares the file with the code.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask_mailchimp_optin.consent import (
    Act,
    Agreed,
    Host,
    Member,
    Memory,
    Outcome,
    Status,
    Verb,
    decide,
)

FILE = Path(__file__).parent / "consent-table.csv"
HEADER = ("Checkbox", "At Mailchimp", "What happened", "What follows", "Reason shown")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER, LATER = NOON - timedelta(hours=1), NOON + timedelta(hours=1)
#: Decided at noon, since both sides last agreed.
TICKED, UNTICKED = Host(wanted=True, at=NOON, moved=True), Host(wanted=False, at=NOON, moved=True)
#: Nothing new from the host.
YES, NO = Host(wanted=True, at=NOON), Host(wanted=False, at=NOON)
#: Ticked on a row that was seen for the first time: nobody knows since when.
FOUND, NEVER = Host(wanted=True, moved=True), Host(wanted=None)

SUBSCRIBED, UNSUBSCRIBED, PENDING, CLEANED, ARCHIVED, TRANSACTIONAL, ABSENT = (
    Member(status=status, last_changed=NOON) for status in Status
)
BLANK = Memory()
KNEW_YES, KNEW_NO = Memory(agreed=Agreed.YES), Memory(agreed=Agreed.NO)


def _member(status: Status, *, changed: datetime, opted_in: datetime | None = None) -> Member:
    return Member(status=status, last_changed=changed, timestamp_opt=opted_in)


@dataclass(frozen=True)
class Situation:
    """A row of the table: the story in words, and what the rule is given for it."""

    story: str
    host: Host
    member: Member
    memory: Memory = BLANK
    always_confirm: bool = False

    @property
    def outcome(self) -> Outcome:
        """What the rule answers."""
        return decide(self.host, self.member, self.memory, always_confirm=self.always_confirm)

    def row(self) -> tuple[str, str, str, str, str]:
        """As it stands in the table."""
        box = {True: "ticked", False: "unticked", None: "never touched"}[self.host.wanted]
        status = "unknown there" if self.member.status is Status.ABSENT else self.member.status
        return box, str(status), self.story, told(self.outcome), self.outcome.why


def told(outcome: Outcome) -> str:
    """An outcome in plain words."""
    if outcome.act is Act.SEND and outcome.verb is not None:
        return {
            Verb.UPSERT: "**Added** at Mailchimp (UPSERT)",
            Verb.ASK: "**Asked** by Mailchimp's confirmation mail (ASK)",
            Verb.REMOVE: "**Unsubscribed** at Mailchimp (REMOVE)",
            Verb.REJOIN: "**Subscribed again** at Mailchimp (REJOIN)",
        }[outcome.verb]
    if outcome.act is Act.BOX:
        return "The box is **ticked**" if outcome.box else "The box is **unticked**"
    return {
        Act.AGREE: "Nothing: both sides agree",
        Act.WAIT: "Nothing for now",
        Act.UNREACHABLE: "The box stays",
    }[outcome.act]


SITUATIONS = (
    Situation("Somebody ticked the box.", TICKED, ABSENT),
    Situation("A ticked row was imported.", FOUND, ABSENT),
    Situation("The box was ticked for somebody who is on the list.", TICKED, SUBSCRIBED),
    Situation("Somebody unticked the box.", UNTICKED, SUBSCRIBED, KNEW_YES),
    Situation("Somebody unticked the box of a person who was never there.", UNTICKED, ABSENT),
    Situation("The person unsubscribed at Mailchimp.", YES, UNSUBSCRIBED, KNEW_YES),
    Situation("The person signed up at Mailchimp.", NO, SUBSCRIBED, KNEW_NO),
    Situation("The person signed up at Mailchimp.", NEVER, SUBSCRIBED),
    Situation("The person unsubscribed at Mailchimp.", NEVER, UNSUBSCRIBED),
    Situation("Nobody decided anything.", NEVER, ABSENT),
    Situation("A ticked row was imported; the person had left at Mailchimp.", FOUND, UNSUBSCRIBED),
    Situation(
        "The person had left at Mailchimp; later the box was ticked again.",
        TICKED,
        _member(Status.UNSUBSCRIBED, changed=EARLIER),
        KNEW_NO,
    ),
    Situation(
        "We unsubscribed them when the box was unticked; now it is ticked again.",
        TICKED,
        _member(Status.UNSUBSCRIBED, changed=EARLIER),
        Memory(agreed=Agreed.NO, removed_at=EARLIER),
    ),
    Situation(
        "The same, on a list with double opt-in or with “always ask”.",
        TICKED,
        _member(Status.UNSUBSCRIBED, changed=EARLIER),
        Memory(agreed=Agreed.NO, removed_at=EARLIER),
        always_confirm=True,
    ),
    Situation(
        "The person was asked before about this very tick, and has not agreed.",
        TICKED,
        _member(Status.UNSUBSCRIBED, changed=EARLIER),
        Memory(agreed=Agreed.NO, asked=True),
    ),
    Situation(
        "Ticked here, and certainly later unsubscribed there.",
        TICKED,
        _member(Status.UNSUBSCRIBED, changed=LATER),
        Memory(agreed=Agreed.YES, subscribed_seen_at=LATER),
    ),
    Situation(
        "Ticked here and unsubscribed there; nobody can tell what came last.",
        TICKED,
        _member(Status.UNSUBSCRIBED, changed=NOON),
        KNEW_YES,
    ),
    Situation(
        "Unsubscribed there, and certainly later ticked here.",
        TICKED,
        _member(Status.UNSUBSCRIBED, changed=EARLIER),
        KNEW_YES,
    ),
    Situation(
        "Unticked here, and certainly later subscribed there by the person.",
        UNTICKED,
        _member(Status.SUBSCRIBED, changed=LATER, opted_in=LATER),
        KNEW_NO,
    ),
    Situation(
        "Subscribed there, and certainly later unticked here.",
        UNTICKED,
        _member(Status.SUBSCRIBED, changed=EARLIER),
        KNEW_NO,
    ),
    Situation(
        "Unticked here and subscribed there; nobody can tell what came last.",
        UNTICKED,
        _member(Status.SUBSCRIBED, changed=NOON),
        KNEW_NO,
    ),
    Situation(
        "Unticked here; certainly later the person left there and signed up again.",
        UNTICKED,
        _member(Status.SUBSCRIBED, changed=LATER, opted_in=LATER),
        Memory(agreed=Agreed.YES, opted_at=EARLIER),
    ),
    Situation("Waiting for the person's answer to the confirmation mail.", YES, PENDING),
    Situation("Unticked while the confirmation mail was unanswered.", UNTICKED, PENDING),
    Situation("Mail bounced for good.", YES, CLEANED, KNEW_YES),
    Situation("Unticked here; mail had bounced for good.", UNTICKED, CLEANED, KNEW_YES),
    Situation("Archived by somebody at Mailchimp.", YES, ARCHIVED, KNEW_YES),
    Situation(
        "Archived at Mailchimp; later the box was unticked and ticked again.",
        TICKED,
        _member(Status.ARCHIVED, changed=EARLIER),
    ),
    Situation("Ticked here and archived there; nobody can tell what came last.", TICKED, ARCHIVED),
    Situation(
        "Unticked here, and our request to unsubscribe them is answered.",
        UNTICKED,
        UNSUBSCRIBED,
        Memory(agreed=Agreed.YES, sent=frozenset({Verb.REMOVE})),
    ),
    Situation(
        "Our request to unsubscribe them was lost, and landed after they had come back.",
        YES,
        _member(Status.UNSUBSCRIBED, changed=LATER),
        Memory(agreed=Agreed.YES, sent=frozenset({Verb.REMOVE})),
    ),
    Situation(
        "Unticked here; our request unsubscribed them just after they had signed up anew.",
        UNTICKED,
        _member(Status.UNSUBSCRIBED, changed=LATER, opted_in=NOON),
        Memory(agreed=Agreed.NO, opted_at=EARLIER, sent=frozenset({Verb.REMOVE})),
    ),
    Situation(
        "Unticked here; our own earlier request, whose answer was lost, then made them a member.",
        NO,
        _member(Status.SUBSCRIBED, changed=LATER, opted_in=EARLIER),
        Memory(agreed=Agreed.NO, sent=frozenset({Verb.UPSERT})),
    ),
    Situation(
        "Unticked here; our earlier question, whose answer was lost, then reached them.",
        NO,
        PENDING,
        Memory(agreed=Agreed.NO, sent=frozenset({Verb.ASK})),
    ),
    Situation(
        "Unticked here; soon after, a lost request of ours or the person made them a member.",
        NO,
        _member(Status.SUBSCRIBED, changed=NOON, opted_in=NOON),
        Memory(agreed=Agreed.NO, sent=frozenset({Verb.UPSERT})),
    ),
    Situation(
        "Archived when last seen; a lost request of ours or the person brought them back.",
        YES,
        SUBSCRIBED,
        Memory(agreed=Agreed.NOTHING, sent=frozenset({Verb.UPSERT}), revived=True),
    ),
    Situation("Only got order mails so far; the box was ticked.", TICKED, TRANSACTIONAL),
)


def table() -> str:
    """The whole file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(situation.row() for situation in SITUATIONS)
    return text.getvalue()


if __name__ == "__main__":
    FILE.write_text(table(), encoding="utf-8")
