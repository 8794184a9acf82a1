"""What is known of Mailchimp's behaviour, and the test that holds the sandbox to each fact."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent

# Facts from Mailchimp's documentation, recorded answers and reports of other integrations.
FACTS: dict[str, str] = {
    # Host, authentication, transport.
    "the key is 32 hex digits and the data centre": "account:a_made_up_key_looks_like_a_real_one",
    "the key may come as a Bearer token": "account:a_key_may_come_as_a_token",
    "a wrong key is 401 API Key Invalid": "account:a_wrong_key_is_refused",
    "a key dies when it is revoked": "account:a_revoked_key_is_dead_and_a_new_one_works",
    "a deactivated account is 403": "account:a_deactivated_account_answers_nobody",
    "a role may lack permission, 403": "account:a_viewer_only_reads",
    "/3.0 redirects to plain http": (
        "account:without_its_last_slash_the_root_redirects_to_plain_http"
    ),
    "the 11th call at once is 429, without Retry-After": (
        "account:one_call_too_many_at_once_is_refused_at_once"
    ),
    "a call may take effect after the client gave up": (
        "faults:a_request_takes_effect_after_the_client_gave_up"
    ),
    "403, 429 and 5xx may come without JSON": "faults:any_body_can_be_answered",
    "X-Trigger-Error is answered": "account:an_error_can_be_asked_for_by_header",
    "lists come ten at a time": "reading:ten_come_unless_more_are_asked_for",
    "audiences come ten at a time": "reading:only_ten_audiences_come_unless_more_are_asked_for",
    "count is at most 1,000": "reading:a_page_that_makes_no_sense_is_refused",
    "fields trims answers": "reading:fields_trim_an_answer",
    "there are no batches here": "account:what_is_not_there_is_not_found",
    # Errors.
    "Invalid Resource names merge fields": (
        "merge_values:a_value_that_does_not_fit_is_refused_and_named"
    ),
    "an address may look fake": "consent:an_address_that_is_none_is_refused",
    "an address may be refused for some days": "consent:an_address_can_be_refused_for_a_while",
    "Member Exists": "members:a_second_member_with_one_address_is_refused_whatever_the_case",
    "Member In Compliance State": (
        "consent:who_unsubscribed_themselves_cannot_be_subscribed_by_the_api"
    ),
    "Forgotten Email Not Subscribed": (
        "consent:a_forgotten_address_is_refused_whatever_the_status"
    ),
    "405 for archiving the archived, bounced or waiting": (
        "members:who_is_archived_bounced_or_waiting_cannot_be_archived"
    ),
    # Members.
    "the id is the MD5 of the lower-case address": "members:a_member_looks_as_mailchimp_shows_one",
    "web_id and contact_id survive an address change": (
        "members:an_address_moves_and_the_contact_stays"
    ),
    "an address cannot move to a member's": "members:an_address_cannot_move_to_another_member",
    "a bounced member's address does not move": "members:a_bounced_members_address_does_not_move",
    "archived cannot be written": "consent:archived_cannot_be_written",
    "status_if_new never touches a status": "consent:an_upsert_never_touches_an_existing_status",
    "a batch tells new from updated": "batch:new_and_existing_members_are_told_apart",
    "a batch holds at most 500": "batch:at_most_500_members",
    "a batch answers 200 even if all failed": "batch:all_rows_bad_is_still_200",
    "an existing address is an error row": (
        "batch:existing_members_are_error_rows_unless_updates_are_wanted"
    ),
    "an address twice is an error row": "batch:an_address_twice_is_an_error_row_whatever_its_case",
    "sync_tags replaces tags": "batch:tags_are_added_or_synced",
    "subscribed skips confirmation": (
        "consent:subscribed_skips_the_confirmation_of_a_double_optin_audience"
    ),
    "pending asks, and only the person answers": (
        "consent:who_unsubscribed_themselves_may_be_asked_and_only_they_can_answer"
    ),
    "pending again mails nobody": "consent:asking_again_without_change_mails_nobody",
    "whom the API unsubscribed may rejoin": (
        "consent:whom_somebody_else_unsubscribed_may_be_subscribed_again"
    ),
    "an archived member comes back": "consent:an_archived_member_comes_back",
    "a forgotten one comes back by the hosted form": (
        "consent:a_forgotten_person_comes_back_through_the_hosted_form"
    ),
    "a page past the end is empty": "reading:a_page_past_the_end_is_empty_and_tells_the_total",
    "archived members must be asked for": (
        "reading:archived_members_are_listed_only_when_asked_for"
    ),
    "offsets shift while others write": "reading:pages_stay_right_while_others_write",
    "what changed since can be read": "reading:what_changed_since_is_found",
    "last_changed moves on any edit": "members:last_changed_moves_with_any_edit_and_not_without",
    "unsubscribe_reason is of the unsubscribed": (
        "members:only_an_unsubscribed_member_has_a_reason"
    ),
    "timestamp_opt may be sent": "members:the_integrations_word_on_the_optin_wins",
    "ADDRESS needs four parts, birthday is MM/DD": "merge_values:a_fitting_value_is_stored",
    "a required field blocks": (
        "merge_values:a_required_field_blocks_unless_validation_is_skipped"
    ),
    # Webhooks.
    "a webhook's URL is checked with a GET": "webhooks:a_new_webhook_is_checked_with_a_get",
    "or with an empty POST": "webhooks:a_new_webhook_may_be_checked_with_an_empty_post_too",
    "one URL, one webhook": "webhooks:one_url_is_registered_once",
    "the signing secret is told once": "webhooks:the_signing_secret_is_told_once",
    "older accounts do not sign": "webhooks:accounts_without_signing_know_nothing_of_it",
    "v1 is the HMAC of time and raw body": "webhooks:a_delivery_is_signed_over_its_raw_body",
    "two v1 during rotation": "webhooks:during_a_rotation_a_delivery_is_signed_twice",
    "api false silences our own writes": (
        "webhooks:what_the_api_does_rings_only_who_wants_to_hear_it"
    ),
    "failures are retried": "webhooks:a_refused_ring_is_tried_again",
    "and at last dropped": "webhooks:a_ring_that_is_never_taken_is_lost",
    "410 disables": "webhooks:a_410_disables_the_webhook_at_once",
    "any order": "webhooks:held_rings_are_released_in_any_order",
    "at least once, or never": "webhooks:rings_are_dropped_and_repeated",
    "the body is a form with bracketed keys": "webhooks:a_subscribe_ring_has_mailchimps_shape",
    "action and reason of an unsubscribe": "webhooks:each_act_rings_its_event",
    "cleaned has no id": "webhooks:a_bounce_has_no_id",
    "upemail has neither id nor email": "webhooks:a_change_of_address_rings_twice",
    "campaign is not about a person": "webhooks:a_campaign_is_about_nobody",
    "fired_at, action, ip_opt may be absent": "webhooks:quirks_of_real_deliveries_can_be_had",
    "groups come as GROUPINGS": "webhooks:groups_come_as_groupings",
    "a re-subscription may ring only profile": "webhooks:a_resubscription_may_ring_only_profile",
    "editing the unsubscribed rings profile": (
        "webhooks:editing_an_unsubscribed_member_rings_profile"
    ),
    "archiving in bulk rings for each": "webhooks:archiving_many_rings_for_each",
}


@cache
def _tests_in(module: str) -> frozenset[str]:
    tree = ast.parse((TESTS / "sandbox" / f"test_{module}.py").read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("fact", FACTS)
def test_the_fact_has_its_test(fact: str) -> None:
    module, name = FACTS[fact].split(":")
    assert f"test_{name}" in _tests_in(module)
