"""What the database holds of one account, in the words of the model, and what it must never hold."""

from __future__ import annotations

from sqlalchemy import text

from core.invariants import ALWAYS, EVERYTHING
from core.work import CRASHES

RUNS = (
    "SELECT r.id, r.state, r.reason, r.error_class, r.error_code, r.conversation_id AS conversation,"
    " r.epoch, r.attempt, r.crashes, r.model_calls, r.input_tokens + r.output_tokens AS tokens,"
    " r.run_at <= now() AS due, r.hinted_at IS NOT NULL AS hinted,"
    " COALESCE(r.lease_until < clock_timestamp(), false) AS expired,"
    " (SELECT m.text FROM messages m WHERE m.run_id = r.id AND m.step = 'reply') AS reply,"
    " (SELECT COALESCE(json_object_agg(s.step, s.outcome), '{}') FROM run_steps s"
    "  WHERE s.run_id = r.id) AS steps"
    " FROM runs r WHERE r.account_id = :account"
)
TASKS = (
    "SELECT t.id, t.state, t.consecutive_failures AS failures, c.next_run_at IS NOT NULL AS scheduled,"
    " COALESCE(c.next_run_at <= now(), false) AS due"
    " FROM tasks t LEFT JOIN task_clocks c ON c.task_id = t.id WHERE t.account_id = :account"
)
CONVERSATIONS = (
    "SELECT c.id, count(m.id) AS messages, c.next_seq, c.purge_epoch FROM conversations c"
    " LEFT JOIN messages m ON m.conversation_id = c.id WHERE c.account_id = :account GROUP BY c.id"
)
USAGE = (
    "SELECT COALESCE(sum(model_calls), 0) AS calls, COALESCE(sum(input_tokens + output_tokens), 0) AS tokens"
    " FROM usage_days WHERE account_id = :account"
)
# Beside what is never true of any installation: what the rules of this test do not let happen either.
NEVER = {
    "a_task_has_two_runs_under_way": "SELECT task_id AS id FROM runs WHERE state IN ('pending', 'running')"
    " AND task_id IS NOT NULL GROUP BY task_id HAVING count(*) > 1",
    "time_goes_back_in_a_conversation": "SELECT conversation_id AS id FROM (SELECT conversation_id,"
    " created_at <= lag(created_at) OVER (PARTITION BY conversation_id ORDER BY seq) AS back"
    " FROM messages) AS pairs WHERE back",
    "a_running_run_has_no_open_attempt": "SELECT r.id FROM runs r WHERE state = 'running' AND NOT EXISTS"
    " (SELECT FROM run_steps s WHERE s.run_id = r.id AND s.step = 'attempt.' || r.epoch"
    "  AND s.finished_at IS NULL)",
    **{invariant.name: invariant.sql for invariant in ALWAYS},
}
BROKEN = " UNION ALL ".join(
    f"SELECT '{name}' AS name WHERE EXISTS ({query})" for name, query in NEVER.items()
)
# One statement, because it is asked after every step.
LOOK = text(
    "SELECT "
    + ", ".join(
        f"(SELECT COALESCE(json_agg(found), '[]') FROM ({query}) AS found) AS {name}"
        for name, query in {
            "tasks": TASKS,
            "conversations": CONVERSATIONS,
            "runs": RUNS,
            "used": USAGE,
            "broken": BROKEN,
        }.items()
    )
)


def look(context, account):
    """Lists of dicts: tasks, conversations, runs, what the account used, and what must never be and is."""
    attempts = context.settings.attempts
    values = {"account": account, "since": EVERYTHING, "attempts": attempts, "crashes": CRASHES}
    with context.transaction() as session:
        return session.execute(LOOK, values).mappings().one()
