"""The rule, as a table: what the host says, what Mailchimp shows, what we remember, what follows."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from flask_mailchimp_optin.consent import (
    Act,
    Agreed,
    Host,
    Member,
    Memory,
    Status,
    Verb,
    decide,
    latest,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SUB, UNSUB, PENDING = Status.SUBSCRIBED, Status.UNSUBSCRIBED, Status.PENDING


def yes(at: datetime | None = NOON, *, moved: bool = True) -> Host:
    return Host(wanted=True, at=at, moved=moved)


def no(at: datetime | None = NOON, *, moved: bool = True) -> Host:
    return Host(wanted=False, at=at, moved=moved)


ASKED = Memory(agreed=Agreed.ASKED)
YES, NO, NEW = Memory(agreed=Agreed.YES), Memory(agreed=Agreed.NO), Memory()


def member(
    status: Status, changed: datetime | None = None, opted: datetime | None = None
) -> Member:
    return Member(status=status, last_changed=changed, timestamp_opt=opted)


CASES: dict[str, tuple[Host, Member, Memory, object]] = {
    "never asked, subscribed there": (Host(wanted=None), member(SUB), NEW, True),
    "never asked, unsubscribed there": (Host(wanted=None), member(UNSUB), NEW, False),
    "never asked, not there": (Host(wanted=None), member(Status.ABSENT), NEW, Act.WAIT),
    "never asked, bounced": (Host(wanted=None), member(Status.CLEANED), NEW, Act.UNREACHABLE),
    "a yes they don't have": (yes(), member(Status.ABSENT), NEW, Verb.UPSERT),
    "a yes they have": (yes(), member(SUB), NEW, Agreed.YES),
    "a yes, waiting for confirmation": (yes(), member(PENDING), NEW, Agreed.ASKED),
    "a yes for a shopper only": (yes(), member(Status.TRANSACTIONAL), NEW, Verb.ASK),
    "a yes without a time against a no": (yes(None), member(UNSUB, NOON), NEW, False),
    "only Mailchimp moved: unsubscribed": (yes(moved=False), member(UNSUB, NOON), YES, False),
    "asked, and declined": (yes(moved=False), member(UNSUB, NOON), ASKED, False),
    "asked, and confirmed": (yes(moved=False), member(SUB, NOON), ASKED, Agreed.YES),
    "new yes, they left themselves": (yes(), member(UNSUB, NOON - HOUR), NO, Verb.ASK),
    "new yes, we removed them": (
        yes(),
        member(UNSUB, NOON - HOUR),
        Memory(agreed=Agreed.NO, removed_at=NOON - HOUR),
        Verb.REJOIN,
    ),
    "new yes, we removed them but somebody edited since": (
        yes(),
        member(UNSUB, NOON - HOUR / 2),
        Memory(agreed=Agreed.NO, removed_at=NOON - HOUR),
        Verb.ASK,
    ),
    "new yes, asked for it already": (
        yes(),
        member(UNSUB, NOON - HOUR),
        Memory(agreed=Agreed.NO, asked=True),
        Act.WAIT,
    ),
    "both moved, the no certainly later": (
        yes(),
        member(UNSUB, NOON + 2 * HOUR),
        Memory(agreed=Agreed.YES, subscribed_seen_at=NOON + HOUR),
        False,
    ),
    "both moved at about the same time": (
        yes(),
        member(UNSUB, NOON + timedelta(seconds=60)),
        Memory(agreed=Agreed.YES, subscribed_seen_at=NOON - HOUR),
        Verb.ASK,
    ),
    "a no they don't have": (no(), member(SUB), YES, Verb.REMOVE),
    "a no they have": (no(), member(UNSUB), YES, Agreed.NO),
    "a no, not there": (no(), member(Status.ABSENT), NEW, Agreed.NO),
    "a no, bounced": (no(), member(Status.CLEANED), YES, Agreed.NO),
    "a no withdraws the question": (no(), member(PENDING), ASKED, Verb.REMOVE),
    "a no, our own question is open": (
        no(),
        member(PENDING),
        Memory(agreed=Agreed.NOTHING, asked=True),
        Act.WAIT,
    ),
    "an old no, somebody signs up elsewhere": (no(moved=False), member(PENDING), NO, Act.WAIT),
    "only Mailchimp moved: subscribed": (no(moved=False), member(SUB, NOON), NO, True),
    "our own late request subscribed them": (
        no(),
        member(SUB, NOON),
        Memory(sent=frozenset({Verb.UPSERT})),
        Verb.REMOVE,
    ),
    "both moved, the yes certainly later": (
        no(),
        member(SUB, NOON + HOUR, NOON + HOUR),
        NEW,
        True,
    ),
    "both moved, our no certainly later": (
        no(),
        member(SUB, NOON - HOUR, NOON - 2 * HOUR),
        NEW,
        Verb.REMOVE,
    ),
    "they left and came back after our no": (
        no(),
        member(SUB, NOON + HOUR, NOON + HOUR),
        Memory(agreed=Agreed.YES, opted_at=NOON - HOUR),
        True,
    ),
    "they left and came back before our no": (
        no(),
        member(SUB, NOON - HOUR, NOON - HOUR),
        Memory(agreed=Agreed.YES, opted_at=NOON - 2 * HOUR),
        Verb.REMOVE,
    ),
    "both moved, nobody can tell": (no(), member(SUB, NOON + HOUR, NOON - HOUR), NEW, Verb.ASK),
    "bounced keeps the yes": (yes(moved=False), member(Status.CLEANED), YES, Act.UNREACHABLE),
    "archived is left alone": (yes(moved=False), member(Status.ARCHIVED), YES, Act.UNREACHABLE),
    "archived, found ticked": (yes(None), member(Status.ARCHIVED), NEW, Act.UNREACHABLE),
    "archived, a certainly newer yes": (
        yes(),
        member(Status.ARCHIVED, NOON - HOUR),
        YES,
        Verb.UPSERT,
    ),
    "archived, a yes since that was seen": (
        yes(),
        member(Status.ARCHIVED, NOON),
        Memory(archived_seen_at=NOON - HOUR),
        Verb.UPSERT,
    ),
    "archived at about the time of the yes": (
        yes(),
        member(Status.ARCHIVED, NOON),
        YES,
        Act.UNREACHABLE,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_rule(case: str) -> None:
    host, there, memory, expected = CASES[case]
    outcome = decide(host, there, memory)
    seen = {
        Act.SEND: outcome.verb,
        Act.BOX: outcome.box,
        Act.AGREE: outcome.agreed,
    }.get(outcome.act, outcome.act)
    if outcome.agreed is Agreed.ASKED and expected is Agreed.ASKED:
        seen = outcome.agreed
    assert seen == expected, outcome
    assert outcome.why


def test_with_the_policy_nobody_rejoins_without_being_asked() -> None:
    memory = Memory(agreed=Agreed.NO, removed_at=NOON)
    outcome = decide(yes(), member(UNSUB, NOON), memory, always_confirm=True)
    assert outcome.verb is Verb.ASK


def _every_situation() -> list[tuple[Host, Member, Memory]]:
    times = (None, NOON - HOUR, NOON + HOUR)
    hosts = [
        Host(wanted=wanted, at=at, moved=moved)
        for wanted, at, moved in itertools.product((None, True, False), (None, NOON), (True, False))
    ]
    members = [member(s, c, o) for s, c, o in itertools.product(Status, times, times)]
    memories = [
        Memory(agreed=a, removed_at=r, subscribed_seen_at=s, sent=frozenset(v), asked=q)
        for a, r, s, v, q in itertools.product(
            Agreed, times, times, ((), (Verb.UPSERT,), (Verb.REMOVE,), (Verb.ASK,)), (True, False)
        )
    ]
    return list(itertools.product(hosts, members, memories))


def test_the_rule_is_total_and_keeps_its_promises_everywhere() -> None:
    situations = _every_situation()
    for host, there, memory in situations:
        outcome = decide(host, there, memory)
        situation = (host, there, memory, outcome)
        assert (outcome.verb is None) == (outcome.act is not Act.SEND), situation
        assert (outcome.box is None) == (outcome.act is not Act.BOX), situation
        if outcome.verb is Verb.REJOIN:  # V: nothing but our own REMOVE is undone
            assert there.status is UNSUB, situation
            assert there.last_changed == memory.removed_at, situation
        if outcome.verb is Verb.ASK and not memory.sent:  # else our own request may have undone it
            assert not memory.asked, situation
        if host.wanted is False:  # S: a no is never told as a yes
            assert outcome.verb in (None, Verb.REMOVE, Verb.ASK), situation
        if outcome.verb is Verb.REMOVE:
            assert host.wanted is False, situation
            assert there.status in (SUB, PENDING), situation
        if outcome.box is False:
            assert there.status is UNSUB, situation
        if outcome.box is True:
            assert there.status is SUB, situation
    assert len(situations) > 100_000


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        ([], (None, None)),
        ([(True, None)], (True, None)),
        ([(False, None)], (None, None)),
        ([(True, NOON), (False, NOON + HOUR)], (False, NOON + HOUR)),
        ([(False, NOON), (True, NOON + HOUR)], (True, NOON + HOUR)),
        ([(True, NOON), (False, NOON)], (False, NOON)),
        ([(False, NOON), (True, None)], (False, NOON)),
    ],
    ids=[
        "nobody",
        "found-ticked",
        "found-unticked",
        "later-no",
        "later-yes",
        "tie",
        "found-ticked-after-a-no",
    ],
)
def test_customers_who_share_an_address_share_the_latest_decision(
    decisions: list[tuple[bool, datetime | None]], expected: tuple[bool | None, datetime | None]
) -> None:
    assert latest(decisions) == expected
    assert latest(reversed(decisions)) == expected
