"""What must always be true of deliveries, annotations and jobs; asked by core/invariants.py."""

from __future__ import annotations

from core.invariant import REPORT_IT, RESTORE, Invariant

WORK: tuple[Invariant, ...] = (
    Invariant(
        "told_once",
        "An event of a run is one delivery for a subscription, with one id over all attempts.",
        "SELECT subscription_id AS id FROM deliveries WHERE id >= :since"
        " GROUP BY subscription_id, event, occasion HAVING count(*) > 1",
        RESTORE,
        "uq_deliveries_subscription_id_event_occasion",
    ),
    Invariant(
        "deliveries_stay_with_their_tenant",
        "A delivery, its subscription and its task belong to one account, and to each other.",
        "SELECT d.id FROM deliveries d LEFT JOIN subscriptions s ON s.id = d.subscription_id"
        " LEFT JOIN runs r ON r.id = d.run_id WHERE d.id >= :since AND (s.id IS NULL"
        " OR s.account_id <> d.account_id OR s.task_id <> d.task_id OR r.account_id <> d.account_id"
        " OR r.task_id <> d.task_id)",
        REPORT_IT,
    ),
    Invariant(
        "sending_has_a_lease",
        "A delivery is sent under a lease, and nothing else has one.",
        "SELECT id FROM deliveries WHERE (state = 'sending') <> (lease_until IS NOT NULL) AND id >= :since",
        RESTORE,
        "ck_deliveries_sending_has_lease",
    ),
    Invariant(
        "tombstones_tell_nobody",
        "A deleted task has no subscriptions.",
        "SELECT s.id FROM subscriptions s JOIN tasks t ON t.id = s.task_id WHERE t.state = 'deleted'",
        REPORT_IT,
    ),
    Invariant(
        "unannotated_is_asked_for",
        "A message that is still to be annotated has a row that says so.",
        "SELECT m.id FROM messages m LEFT JOIN annotations a ON a.message_id = m.id"
        " WHERE m.pii_state IN ('pending', 'blocked') AND a.message_id IS NULL AND m.id >= :since",
        "`crontalk privacy annotate` asks for it anew. " + REPORT_IT,
    ),
    Invariant(
        "annotations_stay_with_their_message",
        "An annotation belongs to the conversation and the account of its message.",
        "SELECT a.message_id AS id FROM annotations a JOIN messages m ON m.id = a.message_id"
        " WHERE (m.conversation_id, m.account_id) <> (a.conversation_id, a.account_id)",
        REPORT_IT,
    ),
    Invariant(
        "annotating_has_a_lease",
        "A message is annotated under a lease, and nothing else has one.",
        "SELECT message_id AS id FROM annotations WHERE (state = 'running') <> (lease_until IS NOT NULL)",
        RESTORE,
        "ck_annotations_running_has_lease",
    ),
    Invariant(
        "history_is_annotated_once",
        "An account has at most one annotation of its history under way.",
        "SELECT account_id AS id FROM jobs WHERE kind = 'annotate'"
        " AND state IN ('pending', 'running', 'paused') GROUP BY account_id HAVING count(*) > 1",
        RESTORE,
        "uq_jobs_annotate",
    ),
    Invariant(
        "retention_once",
        "Of what a rule of retention does it has one job under way, however many schedulers start it.",
        "SELECT rule_id AS id FROM jobs WHERE rule_id IS NOT NULL"
        " AND state IN ('pending', 'running', 'paused') GROUP BY rule_id, kind HAVING count(*) > 1",
        RESTORE,
        "uq_jobs_rule",
    ),
    Invariant(
        "anonymous_messages_name_nobody",
        "A message that was made anonymous has no author's name any more.",
        "SELECT id FROM messages WHERE anonymised_at IS NOT NULL AND name IS NOT NULL AND id >= :since",
        REPORT_IT,
    ),
    Invariant(
        "imported_places_are_the_conversations",
        "What an import says it has stored took places that its conversation has handed out.",
        "SELECT k.target_id AS id FROM import_keys k JOIN conversations c ON c.id = k.target_id"
        " WHERE k.kind = 'conversation' AND k.job_id >= :since"
        " AND (k.account_id <> c.account_id OR k.last_seq >= c.next_seq)",
        REPORT_IT,
    ),
    Invariant(
        "an_ended_import_keeps_no_file",
        "The file of an import, which holds what people said, goes with it, unless it was to be kept.",
        "SELECT id FROM jobs WHERE kind = 'import' AND finished_at IS NOT NULL AND file_id IS NOT NULL"
        " AND params ->> 'keep' IS DISTINCT FROM 'true' AND id >= :since",
        REPORT_IT,
    ),
)
