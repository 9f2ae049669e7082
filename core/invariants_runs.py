"""What must always be true of runs and of what they say; asked by core/invariants.py."""

from __future__ import annotations

from core.invariant import REPORT_IT, RESTORE, Invariant

RUNS: tuple[Invariant, ...] = (
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
        "one_follow_up",
        "Behind a conversation's turn at most one waits, for all that was said meanwhile.",
        "SELECT conversation_id AS id FROM runs WHERE state = 'waiting' AND trigger = 'api'"
        " GROUP BY conversation_id HAVING count(*) > 1",
        RESTORE,
        "uq_runs_follow_up",
    ),
    Invariant(
        "follow_ups_go_on",
        "A turn that waits behind its conversation's turn goes on within a minute of the end of that.",
        "SELECT w.id FROM runs w WHERE w.state = 'waiting' AND w.trigger = 'api'"
        " AND w.created_at < now() - interval '60 seconds' AND NOT EXISTS (SELECT FROM runs r"
        "  WHERE r.conversation_id = w.conversation_id AND (r.state IN ('pending', 'running')"
        "   OR r.finished_at > now() - interval '60 seconds'))",
        "No scheduler follows up: start `crontalk scheduler`, and look at its log for turn_failed.",
        always=False,
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
)
