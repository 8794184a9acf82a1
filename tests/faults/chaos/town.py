"""The test host, with what its customers said last, for the promises."""

from __future__ import annotations

import copy

import sqlalchemy as sa

from flask_mailchimp_optin import overviews
from tests.house import Host
from tests.invariants import Breach, Promises
from tests.last_words import LastWords, Row


class Town(Host):
    """A host whose customers' words are taken down, whoever wrote them, before anybody works."""

    _known: dict[int, Row]

    def begin(self, said: LastWords | None = None) -> None:
        """From now on; with what was said before."""
        self.promises = Promises(self)
        self.promises.words = copy.deepcopy(said or LastWords())
        self.promises._seen = self.promises._judged = len(self.sandbox.status_changes)
        self._known = self._rows() if said is not None else {}

    def take_down(self) -> None:
        """What was written since the last time."""
        if self.take_down_list():
            return
        now = self._rows()
        self.promises.observe()
        for key in self._known.keys() | now.keys():
            before, after = self._known.get(key), now.get(key)
            if before != after:
                self.promises.words.wrote(key, before, after, self.clock())
        self._known = now

    def take_down_list(self) -> bool:
        """Whether the master list is another one; if so, its customers are there from now on."""
        changed = self._changed_list()
        if changed:
            self.promises.settings(master_list=self.list_id)
        return changed

    def breaches(self) -> list[Breach]:
        """What was promised and is not so, now that all is done."""
        self.take_down_list()
        found = self.promises.always()
        if self.rows("connection")[0].enabled:  # else a yes may wait
            found += self.promises.settled()
        return found

    def work(self) -> None:
        self.take_down()
        super().work()
        self._known = self._rows()  # boxes that followed Mailchimp are nobody's word here

    def _changed_list(self) -> bool:
        with self.app.app_context():
            master = overviews.read(self.services, "").settings.master_list
        changed = master is not None and bool(self.list_id) and master != self.list_id
        self.list_id = master or self.list_id
        return changed

    def _rows(self) -> dict[int, Row]:
        model = self.model
        query = sa.select(model.id, model.mail, model.wants_news, model.own_list)
        with self.app.app_context(), self.services.begin() as tx:
            found = tx.rows(query)
        return {
            row.id: Row(
                place=(row.own_list or self.list_id, row.mail.strip().lower()), box=row.wants_news
            )
            for row in found
        }
