"""What must always be true of the rows: the promises of the product, each as one query that finds nothing.

The storm tests ask them while everything is being killed, `crontalk doctor` asks them of an installation, and
docs/guarantees.md prints them. They read ids and times, never a text that somebody wrote.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.work import CRASHES

MOST = 1000
SAMPLE = 5
EVERYTHING = uuid.UUID(int=0)


@dataclass(frozen=True)
class Invariant:
    """A promise and the query that finds what breaks it: rows with an `id`, none when the promise is kept.

    `constraint` names what the database itself refuses (empty where no constraint can say it). `always` holds
    at any instant; the others only once the installation has had a quiet minute.
    """

    name: str
    promise: str
    sql: str
    advice: str
    constraint: str = ""
    always: bool = True


@dataclass(frozen=True)
class Violation:
    """Rows that break an invariant: how many (counted up to MOST) and the ids of some."""

    invariant: Invariant
    count: int
    sample: tuple[str, ...]


REPORT_IT = "This is a bug: please report it with the ids and the version."
RESTORE = "An index or a constraint is missing: compare the schema with `crontalk migrate`. " + REPORT_IT

INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "occurrence_once",
        "An instant of a task's schedule has one row, however many schedulers fired it.",
        "SELECT task_id AS id FROM runs WHERE trigger IN ('schedule', 'catch_up') AND task_id IS NOT NULL"
        " AND id >= :since GROUP BY task_id, scheduled_for HAVING count(*) > 1",
        RESTORE,
        "uq_runs_occurrence",
    ),
    Invariant(
        "run_has_conversation",
        "A run that waits or works has its conversation from the moment it exists.",
        "SELECT r.id FROM runs r LEFT JOIN conversations c ON c.id = r.conversation_id"
        " WHERE r.state IN ('pending', 'running') AND c.id IS NULL AND r.id >= :since",
        "Cancel the run. " + REPORT_IT,
    ),
    Invariant(
        "conversation_is_its_own",
        "A task's run speaks in a conversation of its task, and one that says otherwise in one of its own.",
        "SELECT r.id FROM runs r JOIN conversations c ON c.id = r.conversation_id"
        " LEFT JOIN tasks t ON t.id = r.task_id WHERE r.trigger <> 'api' AND r.id >= :since"
        " AND (c.task_id IS DISTINCT FROM r.task_id OR c.run_id IS DISTINCT FROM r.id AND NOT EXISTS ("
        "SELECT FROM runs f WHERE f.id = c.run_id AND f.task_id = r.task_id))",
        REPORT_IT,
    ),
    Invariant(
        "one_conversation_a_run",
        "A task's run opens one conversation, never two.",
        "SELECT run_id AS id FROM conversations WHERE run_id IS NOT NULL AND id >= :since"
        " GROUP BY run_id HAVING count(*) > 1",
        REPORT_IT,
    ),
    Invariant(
        "active_turn_once",
        "A conversation has at most one turn under way.",
        "SELECT conversation_id AS id FROM runs WHERE state IN ('pending', 'running')"
        " AND conversation_id IS NOT NULL GROUP BY conversation_id HAVING count(*) > 1",
        RESTORE,
        "uq_runs_active_turn",
    ),
    Invariant(
        "effect_once",
        "A run's prompt and its reply are stored once, however often it is attempted.",
        "SELECT run_id AS id FROM messages WHERE run_id IS NOT NULL AND id >= :since"
        " GROUP BY run_id, step HAVING count(*) > 1",
        RESTORE,
        "uq_messages_run_step",
    ),
    Invariant(
        "success_has_reply",
        "A run that succeeded has stored a reply with words in it, or the prompt it sent.",
        "SELECT r.id FROM runs r JOIN conversations c ON c.id = r.conversation_id"
        " WHERE r.state = 'succeeded' AND c.purge_epoch = 0 AND r.id >= :since AND NOT EXISTS ("
        "SELECT FROM messages m WHERE m.run_id = r.id AND btrim(m.text) <> ''"
        " AND m.step = CASE r.action WHEN 'send' THEN 'prompt' ELSE 'reply' END)",
        REPORT_IT,
    ),
    Invariant(
        "reply_has_success",
        "A reply is stored by a run that succeeded, in the same transaction.",
        "SELECT r.id FROM messages m JOIN runs r ON r.id = m.run_id"
        " WHERE m.step = 'reply' AND r.state <> 'succeeded' AND m.id >= :since",
        REPORT_IT,
    ),
    Invariant(
        "order_once",
        "A place in a conversation belongs to one message.",
        "SELECT conversation_id AS id FROM messages WHERE id >= :since"
        " GROUP BY conversation_id, seq HAVING count(*) > 1",
        RESTORE,
        "uq_messages_conversation_id_seq",
    ),
    Invariant(
        "order_goes_on",
        "A place in a conversation is never handed out twice.",
        "SELECT DISTINCT c.id FROM messages m JOIN conversations c ON c.id = m.conversation_id"
        " WHERE m.seq >= c.next_seq AND m.id >= :since",
        REPORT_IT,
    ),
    Invariant(
        "messages_have_a_home",
        "A message belongs to a conversation of its own account.",
        "SELECT m.id FROM messages m LEFT JOIN conversations c"
        " ON c.id = m.conversation_id AND c.account_id = m.account_id WHERE c.id IS NULL AND m.id >= :since",
        RESTORE,
        "fk_messages_account_id_conversation_id",
    ),
    Invariant(
        "runs_stay_with_their_tenant",
        "A run, its task and its conversation belong to one account.",
        "SELECT r.id FROM runs r LEFT JOIN tasks t ON t.id = r.task_id"
        " LEFT JOIN conversations c ON c.id = r.conversation_id WHERE r.id >= :since"
        " AND (t.account_id <> r.account_id OR c.account_id <> r.account_id"
        " OR (r.task_id IS NOT NULL AND t.id IS NULL) OR (r.conversation_id IS NOT NULL AND c.id IS NULL))",
        RESTORE,
        "fk_runs_account_id_task_id, fk_runs_conversation",
    ),
    Invariant(
        "steps_have_a_run",
        "A step of a timeline belongs to a run of its own account.",
        "SELECT s.run_id AS id FROM run_steps s LEFT JOIN runs r"
        " ON r.id = s.run_id AND r.account_id = s.account_id WHERE r.id IS NULL AND s.run_id >= :since",
        RESTORE,
        "fk_run_steps_account_id_run_id",
    ),
    Invariant(
        "steps_end_with_their_attempt",
        "A step is open only while its run is being worked on.",
        "SELECT s.run_id AS id FROM run_steps s JOIN runs r ON r.id = s.run_id"
        " WHERE s.finished_at IS NULL AND r.state <> 'running' AND s.run_id >= :since",
        REPORT_IT,
    ),
    Invariant(
        "calls_are_counted",
        "Every call of a model is counted and in the timeline before it is made.",
        "SELECT r.id FROM runs r WHERE r.id >= :since AND r.model_calls <> ("
        "SELECT count(*) FROM run_steps s WHERE s.run_id = r.id AND s.step LIKE 'model.%')",
        REPORT_IT,
    ),
    Invariant(
        "calls_are_bounded",
        "An attempt calls the model once, or a second time with half of a history that was too long.",
        "SELECT r.id FROM runs r WHERE r.id >= :since AND r.model_calls > 2 * ("
        "SELECT count(*) FROM run_steps s WHERE s.run_id = r.id AND s.step LIKE 'attempt.%')",
        REPORT_IT,
    ),
    Invariant(
        "attempts_are_bounded",
        "A run is attempted as often as the settings say and a few crashes more; discarded answers are free.",
        "SELECT r.id FROM runs r LEFT JOIN tasks t ON t.id = r.task_id WHERE r.id >= :since"
        " AND (r.epoch < r.attempt OR r.attempt > :attempts + :crashes"
        " AND r.attempt > GREATEST(:attempts, t.max_attempts) + :crashes + ("
        "SELECT count(*) FROM run_steps s WHERE s.run_id = r.id AND s.outcome = 'discarded'))",
        "Lowering CRONTALK_ATTEMPTS makes older runs look like this; otherwise cancel the run. " + REPORT_IT,
    ),
    Invariant(
        "crashes_are_bounded",
        "A run whose worker is lost three times is given up.",
        "SELECT id FROM runs WHERE id >= :since AND (crashes > :crashes"
        " OR crashes >= :crashes AND state IN ('pending', 'running'))",
        "Cancel the run. " + REPORT_IT,
        "ck_runs_counters",
    ),
    Invariant(
        "running_has_a_lease",
        "A run is worked on under a lease, and nothing else has one.",
        "SELECT id FROM runs WHERE (state = 'running') <> (lease_until IS NOT NULL) AND id >= :since",
        RESTORE,
        "ck_runs_running_has_lease",
    ),
    Invariant(
        "final_is_final",
        "A run has an end exactly when it has ended.",
        "SELECT id FROM runs WHERE (state IN ('waiting', 'pending', 'running')) <> (finished_at IS NULL)"
        " AND id >= :since",
        RESTORE,
        "ck_runs_final_has_finished_at",
    ),
    Invariant(
        "tombstones_are_blank",
        "A deleted task keeps nothing of what it said, and has no clock.",
        "SELECT t.id FROM tasks t LEFT JOIN task_clocks k ON k.task_id = t.id WHERE t.state = 'deleted'"
        " AND (t.name IS NOT NULL OR t.description IS NOT NULL OR t.schedule IS NOT NULL"
        " OR t.bot_id IS NOT NULL OR t.meta <> '{}' OR t.assertions <> '{}' OR k.task_id IS NOT NULL)",
        RESTORE,
        "ck_tasks_tombstone_is_blank",
    ),
    Invariant(
        "backfill_once",
        "A backfill runs an instant once, whatever is killed.",
        "SELECT backfill_id AS id FROM runs WHERE backfill_id IS NOT NULL AND id >= :since"
        " GROUP BY backfill_id, scheduled_for HAVING count(*) > 1",
        RESTORE,
        "uq_runs_backfill",
    ),
    Invariant(
        "ended_backfill_rests",
        "A backfill that has ended has no run that waits or works.",
        "SELECT DISTINCT j.id FROM jobs j JOIN runs r ON r.backfill_id = j.id WHERE j.finished_at IS NOT NULL"
        " AND r.state IN ('waiting', 'pending', 'running') AND r.id >= :since",
        "Cancel the runs. " + REPORT_IT,
    ),
    Invariant(
        "backfill_adds_up",
        "What an ended backfill says it did is what its runs came to, and all of it where it completed.",
        "SELECT j.id FROM jobs j CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE r.state = 'succeeded')"
        " AS done, count(*) FILTER (WHERE r.state IN ('failed', 'cancelled')) AS failed"
        " FROM runs r WHERE r.backfill_id = j.id) AS c WHERE j.kind = 'backfill' AND j.id >= :since"
        " AND j.finished_at IS NOT NULL AND (j.done <> c.done OR j.failed <> c.failed"
        " OR j.state LIKE 'completed%' AND j.done + j.skipped + j.failed <> j.total)",
        REPORT_IT,
        "ck_jobs_counters, ck_jobs_completed_adds_up",
    ),
    Invariant(
        "active_repeats",
        "A task that repeats and is not paused has a next instant.",
        "SELECT t.id FROM tasks t LEFT JOIN task_clocks k ON k.task_id = t.id"
        " JOIN accounts a ON a.id = t.account_id WHERE t.state = 'active' AND k.next_run_at IS NULL"
        " AND t.expires_at IS NULL AND a.closed_at IS NULL"
        " AND (k.task_id IS NULL OR btrim(t.schedule) ~ '^(@|[a-z]+ly$|[0-9]{1,2}:[0-9]{2}$)'"
        " OR (t.schedule !~ ':' AND btrim(t.schedule) ~ '^\\S+(\\s+\\S+){4}$'))",
        "`crontalk task pause` and `crontalk task resume` set its clock anew. " + REPORT_IT,
    ),
    Invariant(
        "paused_rests",
        "A task that is paused has no next instant but the end of its pause.",
        "SELECT t.id FROM tasks t JOIN task_clocks k ON k.task_id = t.id"
        " WHERE t.state = 'paused' AND k.next_run_at IS DISTINCT FROM t.paused_until",
        "The next firing clears its clock. If it stays: `crontalk task pause` does.",
    ),
    Invariant(
        "one_waits",
        "Behind a task's run at most one scheduled run waits; those of a catch-up wait in a row.",
        "SELECT task_id AS id FROM runs WHERE state = 'waiting' AND trigger = 'schedule'"
        " GROUP BY task_id HAVING count(*) > 1",
        RESTORE,
        "uq_runs_waiting",
    ),
    Invariant(
        "spans_do_not_overlap",
        "An instant that a span of the ledger covers has no other row.",
        "SELECT s.id FROM runs s JOIN runs r ON r.task_id = s.task_id AND r.id <> s.id"
        " AND r.scheduled_for BETWEEN s.covers_from AND s.scheduled_for"
        " WHERE s.covers_from IS NOT NULL AND s.trigger IN ('schedule', 'catch_up')"
        " AND r.trigger IN ('schedule', 'catch_up') AND s.id >= :since",
        REPORT_IT,
    ),
    Invariant(
        "waiting_runs_are_promoted",
        "A waiting run goes on within a minute of the end of what it waited for.",
        "SELECT w.id FROM runs w JOIN task_clocks k ON k.task_id = w.task_id WHERE w.state = 'waiting'"
        " AND w.created_at < now() - interval '60 seconds' AND NOT EXISTS (SELECT FROM runs r"
        "  WHERE r.task_id = w.task_id AND (r.state IN ('pending', 'running')"
        "   OR r.finished_at > now() - interval '60 seconds'))"
        " AND NOT EXISTS (SELECT FROM runs r JOIN conversations c ON c.id = r.conversation_id"
        "  WHERE c.task_id = w.task_id AND r.state IN ('pending', 'running'))",
        "No scheduler promotes: start `crontalk scheduler`, and look at its log for turn_failed.",
        always=False,
    ),
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
        "no_lease_is_forgotten",
        "A run whose worker is lost is given back to the queue within seconds.",
        "SELECT id FROM runs WHERE state = 'running' AND lease_until < now() - interval '15 seconds'",
        "No scheduler reaps: start `crontalk scheduler`, and look at its log for turn_failed.",
        always=False,
    ),
    Invariant(
        "nothing_waits_for_ever",
        "A due run is taken up within a minute.",
        "SELECT id FROM runs WHERE state = 'pending' AND run_at < now() - interval '60 seconds'",
        "Workers are away or too few: start `crontalk worker`, and `crontalk worker --poll` beside it.",
        always=False,
    ),
    Invariant(
        "no_backfill_stands_still",
        "A job whose time has come is moved on within a minute.",
        "SELECT id FROM jobs WHERE state IN ('pending', 'running')"
        " AND run_at < now() - interval '60 seconds'",
        "No scheduler advances it: start `crontalk scheduler`, and look at its log for turn_failed.",
        always=False,
    ),
    Invariant(
        "no_clock_stands_still",
        "A due task is fired within a minute.",
        "SELECT task_id AS id FROM task_clocks WHERE next_run_at < now() - interval '60 seconds'",
        "No scheduler fires: start `crontalk scheduler`, and look at its log for turn_failed.",
        always=False,
    ),
    Invariant(
        "nothing_stays_untold",
        "A delivery that is due is sent within five minutes, where the receiver answers.",
        "SELECT d.id FROM deliveries d JOIN subscriptions s ON s.id = d.subscription_id"
        " WHERE d.state IN ('pending', 'sending') AND d.run_at < now() - interval '5 minutes'"
        " AND s.consecutive_failures = 0",
        "Workers are away or too few: start `crontalk worker`, and `crontalk worker --poll` beside it.",
        always=False,
    ),
    Invariant(
        "nothing_stays_unannotated",
        "A message that is due to be annotated is taken up within five minutes.",
        "SELECT message_id AS id FROM annotations WHERE state IN ('pending', 'running')"
        " AND run_at < now() - interval '5 minutes'",
        "Workers are away or too few: start `crontalk worker`, and `crontalk worker --poll` beside it.",
        always=False,
    ),
)


def violations(
    session: Session,
    *,
    since: uuid.UUID = EVERYTHING,
    attempts: int = 5,
    invariants: Sequence[Invariant] = INVARIANTS,
) -> list[Violation]:
    """What is broken; empty when every promise is kept. Reads only.

    `since` is the oldest id of interest (`first_id_of`): the cost of what looks back follows the rows made
    after it. `attempts` is the setting of that name.
    """
    values = {"since": since, "attempts": attempts, "crashes": CRASHES, "most": MOST}
    found = []
    for invariant in invariants:
        bounded = text(f"SELECT id FROM ({invariant.sql} LIMIT :most) AS broken")  # noqa: S608 (constants)
        named = {name: value for name, value in values.items() if name in bounded.compile().params}
        ids = list(session.scalars(bounded, named))
        if ids:
            found.append(Violation(invariant, len(ids), tuple(str(one) for one in ids[:SAMPLE])))
    return found


ALWAYS = tuple(invariant for invariant in INVARIANTS if invariant.always)
