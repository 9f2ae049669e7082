"""What must always be true of tasks, their clocks and their ledger; asked by core/invariants.py."""

from __future__ import annotations

from core.invariant import REPORT_IT, RESTORE, Invariant

TASKS: tuple[Invariant, ...] = (
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
)
