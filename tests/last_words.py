"""Who said what last, for each list and address: the truth that ``tests.invariants`` holds us to.

Kept apart from the code that it judges: it is told what was written to the host's rows and what people
did at Mailchimp, each with its true time. Where nobody can know which of two words is the last (a
change past the listeners is dated when it is found), all that it may be are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

#: A list's id at Mailchimp and an address in it.
Place = tuple[str, str]
#: Yes or no, and when; without a time: a yes on a row that was there when we first looked.
Word = tuple[bool, datetime | None]
#: What a last word may be; None for no word at all.
Words = frozenset[Word | None]

SILENT: Words = frozenset({None})
#: The time of a word that was written past the listeners: whenever it is found.
WHEN_FOUND = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What counts of a customer's row.

    :param place: None where there is no list or no possible address.
    """

    place: Place | None
    box: bool | None


@dataclass(kw_only=True)
class _Customer:
    place: Place | None
    words: Words = SILENT
    said_at: Place | None = None  # where they were when they said so
    came_from: frozenset[Place] = frozenset()  # where they may be heard until somebody has looked
    before_raw: Words | None = None  # while a change past the listeners has not been found
    before_no: dict[Place, Words] = field(default_factory=dict)  # that they took along from there


class LastWords:
    """The record. Times are true times: neither the host's clock nor Mailchimp's."""

    def __init__(self) -> None:
        self.customers: dict[int, _Customer] = {}
        self._mailchimp: dict[Place, Words] = {}
        self._left: dict[Place, dict[int, Words]] = {}
        self._been: dict[Place, set[int]] = {}
        self._alone: set[Place] = set()  # where people acted at Mailchimp while it was nobody's
        self._told: dict[Place, datetime] = {}
        self._yeses: list[tuple[int, datetime]] = []
        self._found_at = datetime.min.replace(tzinfo=UTC)  # nothing was left to be found then

    # What the host's rows tell

    def wrote(
        self,
        key: int,
        before: Row | None,
        after: Row | None,
        at: datetime,
        *,
        named: bool = False,
        raw: bool = False,
        unseen: bool = False,
    ) -> None:
        """A customer's row was written.

        :param before: None for a new row.
        :param after: None for a deleted one.
        :param named: somebody was named for the box of a new row, so that its yes has a time.
        :param raw: past the listeners.
        :param unseen: what was there before has not been looked at either, so that nobody can tell
            that it changed.
        """
        if after is None:
            self._leave(key, before, at)
            self.customers.pop(key, None)
            return
        if before is None or key not in self.customers:
            # Databases may give a number a second time: that is another customer.
            self._forget_number(key)
            self.customers[key] = _Customer(place=None)
            self._arrive(key, after.place)
            self.customers[key].said_at = after.place
            if after.box and (named or before is not None):
                self._say(key, after.box, at, raw=raw, unseen=unseen)
            elif after.box:
                self.customers[key].words = frozenset({(True, None)})
            return
        if after.place is not None and after.place != self.customers[key].place:
            old = self.customers[key].place
            if old is not None and old[0] != after.place[0]:
                self._take_a_no_along(key)
            self._leave(key, before, at)
            self._arrive(key, after.place)
            if old is not None:
                self.customers[key].came_from |= {old}
        customer = self.customers[key]
        if after.box is None and unseen:  # nobody looked at what was there in time
            first = SILENT if (True, None) in customer.words else frozenset()
            customer.words |= first | (customer.before_raw or frozenset())
        if after.box is not None and after.box is not before.box:
            self._say(key, after.box, at, raw=raw, unseen=unseen)

    def _forget_number(self, key: int) -> None:
        """What its last owner said stays where they said it, and nobody adds to it."""
        for of in self._left.values():
            if key in of:
                unused = min(-1, *of) - 1
                of[unused] = of.pop(key)

    def _say(self, key: int, yes: bool, at: datetime, *, raw: bool, unseen: bool) -> None:
        customer = self.customers[key]
        customer.said_at = customer.place
        if yes:
            self._yeses.append((key, at))
        for place, of in self._left.items():
            # A no also reaches the lists that they were left in when they got another one, unless a
            # yes comes before anybody looked, they had nothing to say there (so that nobody may know
            # of them), they were there on their own account since, or nobody can tell which address
            # they had when they said it.
            if key in of and customer.place is not None and place[1] == customer.place[1]:
                certain = not (yes or raw or None in of[key] or place in self._alone)
                of[key] = frozenset({(yes, at)}) if certain else of[key] | {(yes, at)}
                # If nobody looked in between, it was said by who had the address there, too.
                for mate in () if yes else self.owners(place):
                    self.customers[mate].words |= {(False, at)}
        self._share(customer, yes, at, raw=raw)
        if not raw:
            customer.words, customer.before_raw = frozenset({(yes, at)}), None
            customer.before_no.clear()
            return
        earlier = customer.before_raw
        before = customer.words if earlier is None else earlier
        customer.words = self._past_the_listeners(yes, at)
        if unseen or earlier is not None:  # it may look like no change, or like a row's first box
            customer.words |= before | {(True, None) if yes else None}
        customer.before_raw = before

    def _past_the_listeners(self, yes: bool, at: datetime) -> Words:
        """Nobody knows when: a no may be from when it is found, a yes from as early as can be."""
        words: Words = frozenset({(yes, at), (yes, WHEN_FOUND)})
        return words | {(True, self._found_at)} if yes else words

    def _share(self, customer: _Customer, yes: bool, at: datetime, *, raw: bool) -> None:
        """Who shares the address shares its decisions, if whoever said it is there until seen."""
        if customer.place is None:
            return
        said: Words = self._past_the_listeners(yes, at) if raw else frozenset({(yes, at)})
        said |= self.words(customer.place)  # what they said before, if somebody looked meanwhile
        for mate in (self.customers[key] for key in self.owners(customer.place)):
            if mate is not customer:
                mate.words |= said
                if mate.before_raw is not None:  # their own may come to look like no change
                    mate.before_raw |= said

    def _leave(self, key: int, row: Row | None, at: datetime) -> None:
        """Out of a place: the word goes along, if it is sure that it was theirs."""
        customer = self.customers[key]
        place = customer.place
        if place is None:
            return
        shared = self.words(place)
        box = row.box if row is not None else None
        # What somebody else said here is theirs, too, if somebody looked since: as their box tells,
        # unless they may have said the same themselves.
        like_the_box = {word for word in customer.words if word is not None and word[0] is box}
        if len(shared) == 1 and shared == like_the_box and None not in customer.words:
            customer.words = shared
        else:
            customer.words |= shared
        customer.words |= customer.before_raw or frozenset()
        customer.place = None
        for mate in self.owners(place):  # who came later, too, if somebody looked meanwhile
            self.customers[mate].words |= shared
        # Carried in and out again, perhaps nobody ever saw it here.
        carried = SILENT if customer.said_at != place else frozenset()
        self._left.setdefault(place, {})[key] = customer.words | carried
        if not self.owners(place):
            # We may unsubscribe a member whom nobody owns: that stands against a yes without a time.
            self._mailchimp[place] = self._mailchimp.get(place, SILENT) | {(False, at)}
        if all(
            other.place is None or other.place[1] != place[1] for other in self.customers.values()
        ):
            # The same of the lists where the customers of this address were left.
            for left in self._left:
                if left[1] == place[1]:
                    self._mailchimp[left] = self._mailchimp.get(left, SILENT) | {(False, at)}

    def _take_a_no_along(self, key: int) -> None:
        """To another list: what a person said in the one that their yes was told to."""
        customer = self.customers[key]
        place = customer.place
        if place is None or self.owners(place) != [key] or customer.before_raw is not None:
            return
        told_at, words = self._told.get(place), customer.words
        said = self._mailchimp.get(place, SILENT)
        if told_at is None or len(words) != 1 or len(said) != 1:
            return
        (word,), (no,) = words, said
        is_yes = word is not None and word[0] and (word[1] is None or word[1] <= told_at)
        if is_yes and no is not None and not no[0] and no[1] is not None and no[1] > told_at:
            customer.before_no[place] = words
            customer.words = said

    def _arrive(self, key: int, place: Place | None) -> None:
        self.customers[key].place = place
        if place is not None:
            self._been.setdefault(place, set()).add(key)
            self._left.pop(place, None)
            self._alone.discard(place)

    # What happens at Mailchimp

    def mailchimp(self, place: Place, yes: bool, at: datetime) -> None:
        """A person or an administrator gave a member this status."""
        self._mailchimp[place] = frozenset({(yes, at)})
        if not self.owners(place):
            self._alone.add(place)
            # We may be about to unsubscribe them, because their customer has left.
            if place in self._left:
                self._mailchimp[place] |= {(False, at)}
        for customer in self.customers.values():
            if (
                place in customer.came_from
            ):  # it may be said before anybody looked, or they followed
                customer.words |= {(yes, at)}

    def told(self, place: Place, at: datetime) -> None:
        """We have made a member subscribed."""
        self._told[place] = at

    def hidden(self, place: Place) -> None:
        """Archived, bounced or deleted: what nobody has read yet can't be read any more."""
        if any(word is not None and word[0] for word in self._mailchimp.get(place, ())):
            self._mailchimp[place] |= SILENT
        for customer in self.customers.values():
            customer.words |= customer.before_no.pop(place, frozenset())

    def moved(self, old: Place, new: Place, yes: bool | None, at: datetime) -> None:
        """A person gave their membership another address: of the old one, nothing is known now.

        That is no decision: the member may be there by what was said before.
        """
        if yes is not None:
            self._mailchimp[new] = self._mailchimp.get(old, SILENT) | {(yes, at)}
        self._mailchimp[old] = frozenset({(True, at), (False, at)})

    # What follows

    def owners(self, place: Place) -> list[int]:
        """The customers who have this address in this list."""
        return [key for key, customer in self.customers.items() if customer.place == place]

    def places(self) -> list[Place]:
        """Wherever anybody ever was or said anything."""
        return sorted({*self._mailchimp, *self._been})

    def words(self, place: Place) -> Words:
        """What the last word about a place may be."""
        parts = [self.customers[key].words for key in self.owners(place)]
        parts = parts or list(self._left.get(place, {}).values())
        parts.append(self._mailchimp.get(place, SILENT))
        return frozenset(latest(choice) for choice in itertools.product(*parts))

    def said(self, place: Place) -> set[bool | None]:
        """Whether the last word is a yes, a no or none; several where nobody can know."""
        return {None if word is None else word[0] for word in self.words(place)}

    def yes_after(self, place: Place, at: datetime) -> bool:
        """Whether somebody of this place ticked a box after that time."""
        return any(key in self._been.get(place, ()) and when > at for key, when in self._yeses)

    def found(self, boxes: dict[int, bool | None], at: datetime) -> None:
        """Everything has landed, a sync has found everything: each box is the last word now."""
        self._found_at = at
        for key, customer in self.customers.items():
            customer.before_raw, customer.came_from = None, frozenset()
            customer.before_no.clear()
            possible = customer.words | (
                self.words(customer.place) if customer.place is not None else frozenset()
            )
            kept = [w for w in _dated(possible, at) if w is not None and w[0] is boxes.get(key)]
            if kept:
                customer.words = frozenset({latest(kept)})
        for of in self._left.values():
            of |= {key: _dated(words, at) for key, words in of.items()}


def _dated(words: Words, at: datetime) -> Words:
    """The same words, now that what was written past the listeners has been found."""
    return frozenset((w[0], at) if w is not None and w[1] == WHEN_FOUND else w for w in words)


def latest(words: Iterable[Word | None]) -> Word | None:
    """The last of these words: of two at the same time the no, and any time before none."""
    spoken = [word for word in words if word is not None]
    timed = [(at, not yes) for yes, at in spoken if at is not None]
    if timed:
        at, is_no = max(timed)
        return not is_no, at
    return (True, None) if any(yes for yes, _ in spoken) else None
