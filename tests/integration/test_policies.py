"""Policies of tasks, in the rows: what runs, what waits, what is skipped, and that nothing vanishes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.accounts import authenticate, close_account, create_token, find_account, open_account
from core.advancing import advance_backfills
from core.errors import Conflict, InvalidInput, NotAuthenticated
from core.firing import fire
from core.rows import database_now
from core.runs import cancel_run
from core.tasks import (
    cancel_task,
    create_task,
    delete_task,
    pause_task,
    preview_task,
    resume_task,
    trigger_task,
    update_task,
)
from core.turns import carry_out
from core.waiting import promote
from tests.factories import (
    a_backfill,
    a_bot,
    a_due_task,
    a_task,
    crash_and_reap,
    execute,
    make_due,
    one,
    rows,
)

MINUTE = timedelta(minutes=1)
LEDGER = "SELECT state, reason, COALESCE(covers_count, 1) AS n FROM runs ORDER BY scheduled_for, id"


def states(context):
    return [row["state"] for row in rows(context, "SELECT state FROM runs ORDER BY id")]


def ledger(context):
    return [(row["state"], row["reason"], row["n"]) for row in rows(context, LEDGER)]


def fire_again(context, task, **late):
    make_due(context, task.id, **late)
    assert fire(context) == 1


def work(context, leases):
    found = rows(context, "SELECT id FROM runs WHERE state = 'pending' ORDER BY id")
    return [carry_out(context, leases, row["id"], worker="tests") for row in found]


def the(context, column, task):
    return one(context, f"SELECT {column} FROM tasks WHERE id = :id", id=task.id)


def verb(context, account, do, *arguments, **fields):
    with context.transaction(account) as session:
        return do(session, *arguments, **fields)


# Overlap.


def test_a_queued_run_waits_and_is_promoted_when_the_one_before_has_ended(context, account, leases):
    task = a_due_task(context, account, overlap="queue")
    fire(context)
    fire_again(context, task)
    fire_again(context, task)
    assert ledger(context)[:2] == [("pending", None, 1), ("waiting", None, 1)]
    assert sorted(states(context)) == ["pending", "skipped", "waiting"]
    assert promote(context) == 0
    assert work(context, leases) == ["succeeded"]
    assert promote(context) == 1
    assert work(context, leases) == ["succeeded"]
    assert one(context, "SELECT count(*) FROM conversations") == 2


@pytest.mark.parametrize("end", ["cancel", "poison"])
def test_a_waiting_run_goes_on_however_the_one_before_has_ended(context, account, end):
    task = a_due_task(context, account, overlap="queue")
    fire(context)
    fire_again(context, task)
    first = one(context, "SELECT id FROM runs WHERE state = 'pending'")
    if end == "cancel":
        verb(context, account, cancel_run, first)
    else:
        for _ in range(3):
            crash_and_reap(context, first)
    assert promote(context) == 1
    assert states(context)[-1] == "pending"


def test_a_run_cancels_the_one_before_where_the_policy_says_so(context, account):
    task = a_due_task(context, account, overlap="cancel_previous")
    fire(context)
    fire_again(context, task)
    assert rows(context, "SELECT state, reason FROM runs ORDER BY id") == [
        {"state": "cancelled", "reason": "superseded"},
        {"state": "pending", "reason": None},
    ]


def test_runs_side_by_side_where_overlap_is_allowed(context, account):
    task = a_due_task(context, account, overlap="allow")
    fire(context)
    fire_again(context, task)
    assert states(context) == ["pending", "pending"]


def test_a_trigger_obeys_the_overlap_policy(context, account):
    task = a_task(context, account, overlap="queue")
    assert verb(context, account, trigger_task, task.id).state == "pending"
    assert verb(context, account, trigger_task, task.id).state == "waiting"
    with pytest.raises(Conflict):
        verb(context, account, trigger_task, task.id)
    verb(context, account, update_task, task.id, overlap="cancel_previous")
    assert verb(context, account, trigger_task, task.id).state == "pending"
    assert states(context) == ["cancelled", "cancelled", "pending"]


def test_cancelling_a_task_ends_what_waits_as_well(context, account):
    task = a_due_task(context, account, overlap="queue")
    fire(context)
    fire_again(context, task)
    verb(context, account, cancel_task, task.id)
    assert states(context) == ["cancelled", "cancelled"]


# Catch-up.


def test_all_missed_occurrences_run_one_after_the_other(context, account, leases):
    a_due_task(context, account, schedule="@every 10m", late=timedelta(minutes=35), catch_up="all")
    fire(context)
    assert sorted(states(context)) == ["pending", "waiting", "waiting", "waiting"]
    for _ in range(4):
        assert work(context, leases) == ["succeeded"]
        promote(context)
    assert ledger(context) == [("succeeded", None, 1)] * 4


# Pauses.


def test_what_falls_into_a_pause_is_one_row_when_it_ends(context, account):
    task = a_task(context, account, schedule="@every 1m")
    verb(context, account, pause_task, task.id)
    execute(context, "UPDATE task_clocks SET rests_from = now() - interval '10 minutes 30 seconds'")
    verb(context, account, resume_task, task.id)
    assert ledger(context) == [("skipped", "paused", 11)]
    assert one(context, "SELECT next_run_at > now() AND rests_from IS NULL FROM task_clocks")


def test_a_pause_with_an_end_ends_by_itself(context, account):
    task = a_task(context, account, schedule="@every 1m")
    with context.transaction(account) as session:
        pause_task(session, task.id, until=database_now(session) + MINUTE)
    execute(context, "UPDATE task_clocks SET rests_from = now() - interval '5 minutes 30 seconds'")
    assert fire(context) == 0
    execute(context, "UPDATE tasks SET paused_until = now() - interval '1 second'")
    execute(context, "UPDATE task_clocks SET next_run_at = (SELECT paused_until FROM tasks)")
    assert fire(context) == 1
    assert (the(context, "state", task), the(context, "paused_until", task)) == ("active", None)
    assert ledger(context) == [("skipped", "paused", 6)]
    assert one(context, "SELECT next_run_at > now() FROM task_clocks")


@pytest.mark.parametrize("until", [timedelta(0), timedelta(days=7000 * 366)])
def test_a_pause_ends_in_the_future_and_within_the_calendar(context, account, until):
    task = a_task(context, account, schedule="@every 1m")
    with pytest.raises(InvalidInput), context.transaction(account) as session:
        pause_task(session, task.id, until=database_now(session) + until)


def test_the_end_of_a_pause_is_no_occurrence(context, account):
    task = a_task(context, account, schedule="0 9 * * *")
    with context.transaction(account) as session:
        upcoming = preview_task(session, task.id, 3)
        pause_task(session, task.id, until=database_now(session) + timedelta(hours=30))
        assert preview_task(session, task.id, 3) == upcoming
    execute(context, "UPDATE task_clocks SET rests_from = NULL, next_run_at = now() - interval '1 hour'")
    execute(context, "UPDATE tasks SET paused_until = now() - interval '1 hour'")
    verb(context, account, update_task, task.id, schedule="0 10 * * *")
    assert ledger(context) == []


def test_a_preview_ends_with_the_task(context, account):
    task = a_task(context, account, schedule="@every 1h")
    with context.transaction(account) as session:
        ends = preview_task(session, task.id, 3)[2]
        update_task(session, task.id, expires_at=ends)
        assert len(preview_task(session, task.id, 10)) == 2


# Edits.


@pytest.mark.parametrize(
    ("do", "fields", "reason"),
    [
        (update_task, {"schedule": "@every 5m"}, "rescheduled"),
        (pause_task, {}, None),
        (delete_task, {}, "deleted"),
    ],
)
def test_what_was_due_at_an_edit_is_written_down_and_never_runs(context, account, do, fields, reason):
    task = a_due_task(context, account, schedule="@every 1m")
    verb(context, account, do, task.id, **fields)
    assert fire(context) == 0
    if reason is None:
        verb(context, account, resume_task, task.id)
        reason = "paused"
    assert ledger(context) == [("skipped", reason, 1)]


def test_an_edit_of_the_prompt_leaves_the_clock_alone(context, account):
    task = a_due_task(context, account, schedule="@every 1m")
    verb(context, account, update_task, task.id, description="Something else.")
    fire(context)
    assert one(context, "SELECT text FROM messages") == "Something else."


def test_a_schedule_changed_in_a_pause_starts_a_new_span(context, account):
    task = a_task(context, account, schedule="@every 1m")
    verb(context, account, pause_task, task.id)
    execute(context, "UPDATE task_clocks SET rests_from = now() - interval '3 minutes 30 seconds'")
    verb(context, account, update_task, task.id, schedule="@every 1h")
    assert ledger(context) == [("skipped", "paused", 4)]
    verb(context, account, resume_task, task.id)
    assert len(ledger(context)) == 1


# Budgets.


def test_a_day_whose_budget_is_spent_skips_also_after_successes(context, account, leases):
    task = a_due_task(context, account, max_tokens_per_day=10_000)
    fire(context)
    work(context, leases)
    assert one(context, "SELECT input_tokens + output_tokens FROM task_usage_days") > 0
    execute(context, "UPDATE task_usage_days SET input_tokens = 10000")
    fire_again(context, task)
    assert [row[:2] for row in ledger(context)][-1] == ("skipped", "budget")
    with pytest.raises(Conflict, match="budget"):
        verb(context, account, trigger_task, task.id)
    execute(context, "UPDATE task_usage_days SET day = day - 1")
    fire_again(context, task)
    assert states(context)[-1] == "pending"


def test_a_budget_in_money_without_a_price_fails_rather_than_spends(context, account, leases, monkeypatch):
    bot = a_bot(context, account, model="unheard-of")
    a_due_task(context, account, bot_id=bot.id, max_cost=1)
    fire(context)
    provider = context.providers._offline
    monkeypatch.setattr(
        type(context.providers), "provider_for", lambda _self, _model: (provider, "unheard-of", {})
    )
    run = one(context, "SELECT id FROM runs")
    with pytest.raises(Exception, match="budget"):
        carry_out(context, leases, run, worker="tests")
    assert rows(context, "SELECT error_class, error_code, model_calls FROM runs") == [
        {"error_class": "budget", "error_code": "no_price", "model_calls": 0}
    ]


def test_the_offline_model_costs_nothing(context, account, leases):
    a_due_task(context, account, max_cost="0.01", max_cost_per_day=1)
    fire(context)
    assert work(context, leases) == ["succeeded"]


# Failures.


def failing(context, account, **fields):
    bot = a_bot(context, account, model="offline/fail_rate=1")
    return a_due_task(context, account, bot_id=bot.id, max_attempts=1, **fields)


def test_a_task_that_keeps_failing_is_paused_and_says_so(context, account, leases):
    task = failing(context, account, max_consecutive_failures=2)
    for _ in range(2):
        make_due(context, task.id)
        fire(context)
        run = one(context, "SELECT id FROM runs WHERE state = 'pending'")
        with pytest.raises(Exception, match="provider_error"):
            carry_out(context, leases, run, worker="tests")
    assert (the(context, "state", task), the(context, "pause_reason", task)) == ("paused", "failures")
    assert one(context, "SELECT next_run_at IS NULL AND rests_from IS NOT NULL FROM task_clocks")
    verb(context, account, resume_task, task.id)
    assert the(context, "consecutive_failures", task) == 0


def test_a_run_that_kills_its_workers_counts_as_a_failure_of_its_task(context, account):
    task = a_due_task(context, account, max_consecutive_failures=1)
    fire(context)
    run = one(context, "SELECT id FROM runs")
    for _ in range(3):
        crash_and_reap(context, run)
    assert (the(context, "state", task), the(context, "pause_reason", task)) == ("paused", "failures")


def test_only_the_chosen_classes_are_tried_again(context, account, leases):
    task = failing(context, account, retry_on=["timeout"])
    verb(context, account, update_task, task.id, max_attempts=3)
    fire(context)
    with pytest.raises(Exception, match="provider_error"):
        work(context, leases)
    verb(context, account, update_task, task.id, retry_on=["provider_error"])
    fire_again(context, task)
    assert work(context, leases) == ["retried"]


def test_an_answer_that_breaks_an_assertion_fails_and_is_kept(context, account, leases):
    a_due_task(context, account, assertions={"not_contains": ["OFFLINE"]})
    fire(context)
    with pytest.raises(Exception, match="assertion"):
        work(context, leases)
    (kept,) = rows(context, "SELECT type, meta FROM messages WHERE step = 'partial'")
    assert kept["type"] == "bot"
    assert kept["meta"] == {"incomplete": True, "hidden": True, "errorClass": "assertion"}
    assert rows(context, "SELECT error_code FROM runs") == [{"error_code": "not_contains"}]


# Conversations.


def test_runs_of_one_conversation_follow_each_other_in_it(context, account, leases):
    task = a_due_task(context, account, conversation_mode="one")
    fire(context)
    work(context, leases)
    fire_again(context, task)
    assert work(context, leases) == ["succeeded"]
    assert one(context, "SELECT count(*) FROM conversations") == 1
    said = rows(context, "SELECT seq, type, step FROM messages ORDER BY seq")
    assert [(m["seq"], m["type"]) for m in said] == [(1, "user"), (2, "bot"), (3, "user"), (4, "bot")]
    back = "SELECT created_at <= lag(created_at) OVER (ORDER BY seq) AS back FROM messages"
    assert not any(row["back"] for row in rows(context, back))


def test_a_session_that_is_too_old_is_left_for_a_new_one(context, account, leases):
    task = a_due_task(context, account, session_duration=timedelta(hours=1))
    fire(context)
    work(context, leases)
    fire_again(context, task)
    work(context, leases)
    execute(context, "UPDATE conversations SET created_at = now() - interval '61 minutes'")
    fire_again(context, task)
    assert one(context, "SELECT count(*) FROM conversations") == 2


def test_a_queued_run_of_a_session_speaks_after_the_reply_before_it(context, account, leases):
    task = a_due_task(context, account, conversation_mode="one", overlap="queue")
    fire(context)
    fire_again(context, task)
    assert one(context, "SELECT count(*) FROM messages") == 1
    work(context, leases)
    promote(context)
    work(context, leases)
    said = [row["type"] for row in rows(context, "SELECT type FROM messages ORDER BY seq")]
    assert said == ["user", "bot", "user", "bot"]


# Times.


def test_a_task_starts_and_expires(context, account):
    with context.transaction(account) as session:
        now = database_now(session)
        span = {"starts_at": now + 3 * MINUTE, "expires_at": now + 9 * MINUTE}
        task = create_task(session, description="Hi", schedule="hourly", **span)
    clock = one(context, "SELECT next_run_at FROM task_clocks WHERE task_id = :id", id=task.id)
    assert clock == now + 3 * MINUTE
    with pytest.raises(InvalidInput, match="expires"), context.transaction(account) as session:
        create_task(session, description="Hi", schedule="hourly", expires_at=now + MINUTE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"overlap": "sometimes"}, {"jitter": timedelta(days=2)}, {"jitter": 5}, {"catch_up_max": 0.5},
        {"max_cost": -1}, {"max_cost": float("nan")}, {"retry_on": ["cancelled"]}, {"starts_at": "now"},
        {"assertions": {"contains": "text"}}, {"assertions": {"else": []}}, {"session_duration": True},
        {"conversation_mode": "reuse"}, {"max_attempts": 101},
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_is_refused_with_a_sentence(context, account, wrong):
    with pytest.raises(InvalidInput) as refused, context.transaction(account) as session:
        create_task(session, description="Hi", **wrong)
    assert str(refused.value).endswith(".")


# Accounts.


def test_a_closed_account_has_no_doors_and_no_clocks_until_it_is_opened(context, account):
    a_due_task(context, account, schedule="@every 1m")
    with context.transaction(account) as session:
        _, secret = create_token(session, account, "door")
        close_account(session, find_account(session, str(account)))
    with pytest.raises(NotAuthenticated), context.transaction() as session:
        authenticate(session, secret)
    fire(context)
    assert ledger(context) == [("skipped", "account_closed", 1)]
    execute(context, "UPDATE task_clocks SET rests_from = rests_from - interval '10 minutes'")
    execute(context, "DELETE FROM runs")
    with context.transaction() as session:
        open_account(session, find_account(session, str(account)))
        authenticate(session, secret)
    assert ledger(context) == [("skipped", "account_closed", 10)]
    assert one(context, "SELECT next_run_at > now() FROM task_clocks")


# What is told.


def told(context):
    return [row["event"] for row in rows(context, "SELECT event FROM deliveries ORDER BY id")]


@pytest.fixture
def subscribed(context):
    """Subscribes to everything of a task, whatever the address."""

    def subscribe(task):
        execute(
            context,
            "INSERT INTO subscriptions (id, account_id, task_id, kind, target, secret, hint, events)"
            " SELECT gen_random_uuid(), account_id, id, 'webhook', '', '', 'host',"
            " ARRAY['success', 'recovery', 'failure', 'missed', 'budget', 'paused'] FROM tasks"
            " WHERE id = :id",
            id=task.id,
        )

    return subscribe


def test_missed_and_skipped_occurrences_are_told_and_a_spent_budget_once_a_day(context, account, subscribed):
    task = a_due_task(context, account, schedule="@every 1m", max_tokens_per_day=1)
    subscribed(task)
    execute(
        context,
        "INSERT INTO task_usage_days (task_id, day, account_id, input_tokens)"
        " SELECT id, current_date, account_id, 5 FROM tasks",
    )
    fire(context)
    assert told(context) == ["budget"]
    fire_again(context, task)
    assert told(context) == ["budget"]
    fire_again(context, task, late=timedelta(hours=3))
    assert told(context) == ["budget", "missed"]


def test_a_task_that_the_program_pauses_is_told(context, account, leases, subscribed):
    task = failing(context, account, max_consecutive_failures=1)
    subscribed(task)
    fire(context)
    with pytest.raises(Exception, match="provider_error"):
        work(context, leases)
    assert sorted(told(context)) == ["failure", "paused"]


# Backfills.


def test_how_a_backfill_ends_says_nothing_of_the_task(context, account, leases):
    task = failing(context, account, max_consecutive_failures=1)
    execute(context, "UPDATE task_clocks SET next_run_at = now() + interval '1 day'")
    a_backfill(context, account, task.id)
    advance_backfills(context)
    with pytest.raises(Exception, match="provider_error"):
        work(context, leases)
    assert (the(context, "state", task), the(context, "consecutive_failures", task)) == ("active", 0)


def test_cancelling_a_task_leaves_its_backfills(context, account):
    task = a_task(context, account, schedule="@every 1m")
    a_backfill(context, account, task.id, "2020-01-01T00:00Z", "2020-01-01T00:10Z")
    advance_backfills(context)
    verb(context, account, cancel_task, task.id)
    assert states(context) == ["pending"]
