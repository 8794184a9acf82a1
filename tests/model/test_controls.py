"""Positive controls: each broken variant is caught by the promises, and only the variant is.

A harness that lets one of them pass is itself broken, and so is this suite then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.model import stories, variants
from tests.model.variants import Variant
from tests.model.world import Stage, World, stage

Story = Callable[[World], None]

CONTROLS: list[tuple[Variant, Story]] = [
    (variants.payload_trusted, stories.rings_out_of_order),
    (variants.last_writer_wins, stories.an_edit_after_a_no),
    (variants.upsert_with_status, stories.a_leave_crosses_an_edit),
    (variants.acknowledged_before_sent, stories.death_before_a_no_is_sent),
    (variants.acknowledged_without_version, stories.a_no_while_a_yes_is_on_its_way),
    (variants.no_look_after_an_unknown_answer, stories.a_no_whose_request_is_lost),
    (variants.cursor_in_the_outbox, stories.a_change_that_commits_later),
    (variants.outbox_after_the_commit, stories.death_after_a_commit),
    (variants.own_late_request_is_a_decision, stories.a_late_yes),
    (variants.anybody_rejoins, stories.a_return_after_somebody_else_removed_them),
    (variants.box_without_fence, stories.a_no_while_a_yes_is_read),
    (variants.no_lease_fence, stories.a_worker_that_stalls),
    (variants.a_tie_is_a_yes, stories.two_at_once),
    (variants.archived_by_any_edit, stories.an_edit_of_somebody_archived),
    (variants.a_no_waits_for_the_night, stories.a_no_in_daily_mode),
    (variants.bulk_writes_unseen, stories.a_bulk_no),
    (variants.only_one_of_two, stories.shared),
    (variants.written_down_afterwards, stories.everyday),
    (variants.deleted_with_their_no, stories.unticked_and_deleted),
    (variants.silence_is_success, stories.a_lie_about_a_row),
    (variants.no_is_agreed_at_once, stories.everyday),
    (variants.nothing_goes_to_another_master_list, stories.unheard_before_another_master_list),
    (variants.nothing_goes_to_another_own_list, stories.unheard_before_a_list_of_their_own),
]


@pytest.fixture(scope="module")
def on_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("stage")) as made:
        yield made


def tell(on_stage: Stage, story: Story) -> None:
    with on_stage.world(always_confirm=False) as world:
        story(world)


@pytest.mark.parametrize("story", dict.fromkeys(s for _, s in CONTROLS), ids=lambda s: s.__name__)
def test_the_code_keeps_its_promises(on_stage: Stage, story: Story) -> None:
    tell(on_stage, story)


@pytest.mark.parametrize(
    ("variant", "story"), CONTROLS, ids=[variant.__name__ for variant, _ in CONTROLS]
)
def test_a_broken_variant_is_caught(
    on_stage: Stage, monkeypatch: pytest.MonkeyPatch, variant: Variant, story: Story
) -> None:
    variant(monkeypatch)
    with pytest.raises(AssertionError, match=r"[SLCVP]: "):
        tell(on_stage, story)
