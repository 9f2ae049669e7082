"""Every promise has a query that finds what breaks it, and the doctor tells of it."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from cli.doctor import ILL
from cli.main import main
from core.checkup import examine
from core.context import make_context
from core.firing import fire
from core.invariants import INVARIANTS, violations
from core.turns import carry_out
from core.work import claim
from tests.factories import a_bot, a_due_task, a_pending_turn, a_subscription, a_task, abandon, execute, one

BY_NAME = {invariant.name: invariant for invariant in INVARIANTS}
# What a reply by hand needs; the id sorts by time as those of the program do.
WAITING = (
    "INSERT INTO runs (id, account_id, task_id, trigger, action, scheduled_for, state, created_at)"
    " SELECT gen_random_uuid(), account_id, task_id, trigger, action, scheduled_for + nth * interval '1 day',"
    " 'waiting', now() - interval '2 minutes' FROM runs, generate_series(1, {count}) AS nth"
    " WHERE scheduled_for IS NOT NULL"
)
FOLLOWING = (
    "INSERT INTO runs (id, account_id, conversation_id, trigger, action, state, created_at)"
    " SELECT gen_random_uuid(), account_id, id, 'api', 'receive', 'waiting', now() - interval '2 minutes'"
    " FROM conversations, generate_series(1, {count})"
)
COPY = (
    "INSERT INTO messages (id, account_id, conversation_id, seq, type, text, run_id, step)"
    " SELECT gen_random_uuid(), account_id, conversation_id, {seq}, type, text, run_id, step FROM messages"
)
AN_ENDED_JOB = (
    "INSERT INTO jobs (id, account_id, kind, task_id, state, total, started_at, finished_at)"
    " SELECT gen_random_uuid(), account_id, 'backfill', id, 'completed', 0, now(), now() FROM tasks"
)
A_RUN_OF_IT = (
    "INSERT INTO runs (id, account_id, task_id, trigger, action, backfill_id, scheduled_for, state,"
    " finished_at) SELECT gen_random_uuid(), account_id, task_id, 'backfill', 'complete', id,"
    " '2020-01-01', 'succeeded', now() FROM jobs"
)
AN_ANNOTATION = (
    "INSERT INTO annotations (message_id, account_id, conversation_id, state)"
    " SELECT id, account_id, conversation_id, '{state}' FROM messages WHERE step = 'reply'"
)
# How each promise is broken. Statements before the last clear what the database would refuse.
A_RULE = (
    "INSERT INTO retention_rules (id, account_id, delete_after, delete_days, next_run_at)"
    " SELECT gen_random_uuid(), id, '1d', 1, now() - interval '1 hour' FROM accounts"
)
BROKEN = {
    "occurrence_once": [
        "DROP INDEX uq_runs_occurrence",
        (
            "INSERT INTO runs (id, account_id, task_id, trigger, action, scheduled_for, state, reason,"
            " finished_at) SELECT gen_random_uuid(), account_id, task_id, trigger, action, scheduled_for,"
            " 'skipped', 'overlap', now() FROM runs WHERE state = 'succeeded'"
        ),
    ],
    "run_has_conversation": ["UPDATE runs SET conversation_id = NULL WHERE state = 'pending'"],
    "conversation_is_its_own": [
        (
            "UPDATE runs SET conversation_id = (SELECT id FROM conversations WHERE run_id IS NULL)"
            " WHERE state = 'succeeded'"
        )
    ],
    "one_conversation_a_run": [
        "UPDATE conversations SET run_id = (SELECT id FROM runs WHERE task_id IS NOT NULL)"
    ],
    "active_turn_once": [
        "DROP INDEX uq_runs_active_turn",
        (
            "INSERT INTO runs (id, account_id, conversation_id, trigger, action) SELECT gen_random_uuid(),"
            " account_id, conversation_id, 'api', 'complete' FROM runs WHERE state = 'pending'"
        ),
    ],
    "effect_once": ["DROP INDEX uq_messages_run_step", COPY.format(seq="seq + 1000")],
    "success_has_reply": ["UPDATE messages SET text = ' ' WHERE step = 'reply'"],
    "reply_has_success": [
        "UPDATE runs SET state = 'failed', error_class = 'timeout' WHERE state = 'succeeded'"
    ],
    "order_once": [
        "ALTER TABLE messages DROP CONSTRAINT uq_messages_conversation_id_seq",
        "DROP INDEX uq_messages_run_step",
        COPY.format(seq="seq"),
    ],
    "order_goes_on": ["UPDATE conversations SET next_seq = 1"],
    "messages_have_a_home": [
        "ALTER TABLE messages DROP CONSTRAINT fk_messages_account_id_conversation_id",
        "DELETE FROM conversations WHERE run_id IS NOT NULL",
    ],
    "runs_stay_with_their_tenant": [
        "ALTER TABLE runs DROP CONSTRAINT fk_runs_account_id_task_id",
        "UPDATE runs SET task_id = gen_random_uuid() WHERE state = 'succeeded'",
    ],
    "steps_have_a_run": [
        "ALTER TABLE run_steps DROP CONSTRAINT fk_run_steps_account_id_run_id",
        "DELETE FROM runs WHERE state = 'succeeded'",
    ],
    "steps_end_with_their_attempt": ["UPDATE run_steps SET finished_at = NULL"],
    "calls_are_counted": ["UPDATE runs SET model_calls = 1 WHERE state = 'pending'"],
    "calls_are_bounded": ["UPDATE runs SET model_calls = 3 WHERE state = 'succeeded'"],
    "attempts_are_bounded": ["UPDATE runs SET attempt = 9, epoch = 9 WHERE state = 'succeeded'"],
    "crashes_are_bounded": ["UPDATE runs SET crashes = 3 WHERE state = 'pending'"],
    "running_has_a_lease": [
        "ALTER TABLE runs DROP CONSTRAINT ck_runs_running_has_lease",
        "UPDATE runs SET state = 'running' WHERE state = 'pending'",
    ],
    "final_is_final": [
        "ALTER TABLE runs DROP CONSTRAINT ck_runs_final_has_finished_at",
        "UPDATE runs SET finished_at = NULL WHERE state = 'succeeded'",
    ],
    "tombstones_are_blank": [
        "ALTER TABLE tasks DROP CONSTRAINT ck_tasks_tombstone_is_blank",
        "UPDATE tasks SET state = 'deleted'",
    ],
    "backfill_once": [
        "DROP INDEX uq_runs_backfill",
        f"WITH jobs AS ({AN_ENDED_JOB} RETURNING *) {A_RUN_OF_IT}, generate_series(1, 2)",
    ],
    "ended_backfill_rests": [
        AN_ENDED_JOB,
        A_RUN_OF_IT,
        "UPDATE runs SET state = 'pending', finished_at = NULL WHERE backfill_id IS NOT NULL",
    ],
    "backfill_adds_up": [AN_ENDED_JOB, A_RUN_OF_IT],
    "active_repeats": ["UPDATE task_clocks SET next_run_at = NULL"],
    "paused_rests": ["UPDATE tasks SET state = 'paused'"],
    "one_waits": ["DROP INDEX uq_runs_waiting", WAITING.format(count=2)],
    "spans_do_not_overlap": [
        (
            "INSERT INTO runs (id, account_id, task_id, trigger, action, scheduled_for, covers_from,"
            " covers_count, state, reason, finished_at) SELECT gen_random_uuid(), account_id, task_id,"
            " trigger, action, scheduled_for + interval '1 second', scheduled_for - interval '1 day', 2,"
            " 'skipped', 'paused', now() FROM runs WHERE scheduled_for IS NOT NULL"
        )
    ],
    "waiting_runs_are_promoted": [
        "UPDATE runs SET finished_at = now() - interval '2 minutes' WHERE finished_at IS NOT NULL",
        WAITING.format(count=1),
    ],
    "turns_ask_on_three_times": ["UPDATE runs SET params = '{\"hops\": 4}'"],
    "memories_are_of_what_was_said": [
        (
            "INSERT INTO memories (id, account_id, conversation_id, seq, text)"
            " SELECT gen_random_uuid(), account_id, id, next_seq, 'm' FROM conversations"
        )
    ],
    "one_follow_up": ["DROP INDEX uq_runs_follow_up", FOLLOWING.format(count=2)],
    "follow_ups_go_on": [
        "UPDATE runs SET finished_at = now() - interval '2 minutes' WHERE finished_at IS NOT NULL",
        FOLLOWING.format(count=1),
    ],
    "told_once": [
        "ALTER TABLE deliveries DROP CONSTRAINT uq_deliveries_subscription_id_event_occasion",
        (
            "INSERT INTO deliveries (id, account_id, subscription_id, task_id, event, occasion)"
            " SELECT gen_random_uuid(), account_id, subscription_id, task_id, event, occasion FROM deliveries"
        ),
    ],
    "deliveries_stay_with_their_tenant": [
        (
            "WITH other AS (INSERT INTO tasks (id, account_id, name) SELECT gen_random_uuid(), account_id,"
            " 'o' FROM tasks RETURNING id) UPDATE deliveries SET task_id = other.id FROM other"
        )
    ],
    "sending_has_a_lease": [
        "ALTER TABLE deliveries DROP CONSTRAINT ck_deliveries_sending_has_lease",
        "UPDATE deliveries SET state = 'sending'",
    ],
    "tombstones_tell_nobody": [
        (
            "UPDATE tasks SET state = 'deleted', name = NULL, description = NULL, schedule = NULL,"
            " bot_id = NULL, meta = '{}'"
        )
    ],
    "unannotated_is_asked_for": ["UPDATE messages SET pii_state = 'pending' WHERE step = 'reply'"],
    "annotations_stay_with_their_message": [
        (
            "INSERT INTO annotations (message_id, account_id, conversation_id)"
            " SELECT m.id, m.account_id, c.id"
            " FROM messages m JOIN conversations c ON c.id <> m.conversation_id WHERE m.step = 'reply'"
        )
    ],
    "annotating_has_a_lease": [
        "ALTER TABLE annotations DROP CONSTRAINT ck_annotations_running_has_lease",
        AN_ANNOTATION.format(state="running"),
    ],
    "history_is_annotated_once": [
        "DROP INDEX uq_jobs_annotate",
        (
            "INSERT INTO jobs (id, account_id, kind) SELECT gen_random_uuid(), id, 'annotate'"
            " FROM accounts, generate_series(1, 2)"
        ),
    ],
    "retention_once": [
        "DROP INDEX uq_jobs_rule",
        (
            f"WITH r AS ({A_RULE} RETURNING *) INSERT INTO jobs (id, account_id, kind, rule_id)"
            " SELECT gen_random_uuid(), account_id, 'delete', id FROM r, generate_series(1, 2)"
        ),
    ],
    "imported_places_are_the_conversations": [
        AN_ENDED_JOB,
        (
            "INSERT INTO import_keys (account_id, kind, key, number, job_id, target_id, made, first_seq,"
            "  last_seq) SELECT j.account_id, 'conversation', decode(repeat('00', 16), 'hex'), 1, j.id, c.id,"
            "  true, 1,"
            "  c.next_seq FROM jobs j JOIN conversations c USING (account_id) LIMIT 1"
        ),
    ],
    "an_ended_import_keeps_no_file": [
        AN_ENDED_JOB,
        (
            "WITH f AS (INSERT INTO files (id, account_id) SELECT gen_random_uuid(), account_id FROM jobs"
            " LIMIT 1 RETURNING id) UPDATE jobs SET kind = 'import', file_id = f.id FROM f"
        ),
    ],
    "anonymous_messages_name_nobody": ["UPDATE messages SET anonymised_at = now(), name = 'Ada'"],
    "retention_is_started": [A_RULE],
    "no_lease_is_forgotten": [
        "UPDATE runs SET state = 'running', lease_until = now() - interval '1 minute' WHERE state = 'pending'"
    ],
    "nothing_waits_for_ever": [
        "UPDATE runs SET run_at = now() - interval '2 minutes' WHERE state = 'pending'"
    ],
    "no_backfill_stands_still": [
        AN_ENDED_JOB,
        "UPDATE jobs SET state = 'running', finished_at = NULL, run_at = now() - interval '2 minutes'",
    ],
    "no_clock_stands_still": ["UPDATE task_clocks SET next_run_at = now() - interval '2 minutes'"],
    "nothing_stays_untold": ["UPDATE deliveries SET run_at = now() - interval '1 hour'"],
    "nothing_stays_unannotated": [
        AN_ANNOTATION.format(state="pending"),
        "UPDATE annotations SET run_at = now() - interval '1 hour'",
    ],
}


@pytest.fixture
def installation(context, account, leases):
    """A task that has fired and succeeded, and a turn that waits."""
    task = a_due_task(context, account, bot_id=a_bot(context, account).id)
    a_subscription(context, account, task.id)
    fire(context)
    run = one(context, "SELECT id FROM runs WHERE task_id = :id", id=task.id)
    assert carry_out(context, leases, run, worker="tests") == "succeeded"
    a_pending_turn(context, account)
    return context


@contextmanager
def rolled_back(context):
    with context.engine.connect() as connection:
        yield connection
        connection.rollback()


def test_an_installation_at_work_breaks_no_promise(installation):
    with installation.transaction() as session:
        assert violations(session) == []


def test_every_promise_is_tested():
    assert BROKEN.keys() == BY_NAME.keys()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_found(installation, name):
    """Breaks it in a transaction that is rolled back."""
    with rolled_back(installation) as connection:
        for statement in BROKEN[name]:
            connection.execute(text(statement))
        found = violations(connection, invariants=[BY_NAME[name]])
        assert [violation.invariant.name for violation in found] == [name]
        assert found[0].count >= 1
        assert all(len(one_id) == 36 for one_id in found[0].sample)


# Their foreign keys take the children along with the parent, so nothing is refused.
CASCADES = {"messages_have_a_home", "steps_have_a_run"}
GUARDED = [name for name, steps in BROKEN.items() if "DROP" in steps[0] and name not in CASCADES]


@pytest.mark.parametrize("name", GUARDED)
def test_a_promise_with_a_constraint_cannot_be_broken_while_it_stands(installation, name):
    assert BY_NAME[name].constraint
    breaking = BROKEN[name][-1]
    with rolled_back(installation) as connection, pytest.raises(IntegrityError):
        connection.execute(text(breaking))


def test_a_named_constraint_exists(installation):
    named = {name for one in INVARIANTS for name in one.constraint.split(", ") if name}
    known = "SELECT conname FROM pg_constraint UNION SELECT indexname FROM pg_indexes"
    with installation.transaction() as session:
        assert named <= set(session.scalars(text(known)))


def test_what_was_discarded_does_not_count_as_an_attempt(installation):
    with rolled_back(installation) as connection:
        connection.execute(text("UPDATE runs SET attempt = 9, epoch = 9 WHERE state = 'succeeded'"))
        connection.execute(
            text(
                "INSERT INTO run_steps (run_id, step, account_id, epoch, outcome, finished_at)"
                " SELECT id, 'attempt.9', account_id, 9, 'discarded', now() FROM runs"
                " WHERE state = 'succeeded'"
            )
        )
        assert violations(connection, invariants=[BY_NAME["attempts_are_bounded"]]) == []


def test_a_task_may_ask_for_more_attempts_than_the_installation(installation):
    bounded = [BY_NAME["attempts_are_bounded"]]
    with rolled_back(installation) as connection:
        connection.execute(text("UPDATE runs SET attempt = 12, epoch = 12 WHERE state = 'succeeded'"))
        assert violations(connection, invariants=bounded)
        connection.execute(text("UPDATE tasks SET max_attempts = 10"))
        assert violations(connection, invariants=bounded) == []


def test_a_task_for_one_date_rests_after_it(installation, account):
    task = a_task(installation, account, schedule="2999-01-01T00:00:00Z")
    execute(installation, "UPDATE task_clocks SET next_run_at = NULL WHERE task_id = :id", id=task.id)
    with installation.transaction() as session:
        assert violations(session) == []


def names(context) -> set[str]:
    return {finding.name for finding in examine(context)}


def test_a_healthy_installation_has_no_findings(installation):
    assert examine(installation) == []
    assert examine(installation, timedelta(days=7)) == []


def test_looking_back_is_bounded(installation):
    execute(
        installation,
        "UPDATE messages SET id = '00000000-0000-7000-8000-000000000001', text = ' ' WHERE step = 'reply'",
    )
    execute(
        installation,
        "INSERT INTO messages (id, account_id, conversation_id, seq, type, text)"
        " SELECT '00000000-0000-7000-8000-000000000002', account_id, id, 99, 'user', 'x' FROM conversations"
        " WHERE run_id IS NOT NULL",
    )
    assert names(installation) == {"success_has_reply", "order_goes_on"}
    assert {finding.name for finding in examine(installation, timedelta(days=7))} == {"success_has_reply"}


def test_a_schema_of_another_version_is_found(installation, monkeypatch):
    monkeypatch.setattr("core.schema.newest", lambda: "0000")
    assert names(installation) == {"schema"}


def test_a_broker_that_is_away_is_found(installation, monkeypatch):
    monkeypatch.setattr(installation.publisher, "waiting", lambda queue: None)
    assert names(installation) == {"broker"}


def test_runs_that_nobody_claims_are_found(installation):
    execute(installation, "UPDATE runs SET run_at = now() - interval '20 seconds' WHERE state = 'pending'")
    execute(installation, "UPDATE run_steps SET started_at = now() - interval '2 minutes'")
    assert names(installation) == {"no_worker"}


def test_runs_in_somebodys_hands_are_not(installation):
    execute(installation, "UPDATE run_steps SET started_at = now() - interval '2 minutes'")
    run = one(installation, "SELECT id FROM runs WHERE state = 'pending'")
    with installation.transaction() as session:
        minute = timedelta(minutes=1)
        assert claim(session, run, lease=minute, run_time=minute, worker="tests", delivery=None)
    assert examine(installation) == []


def test_a_clock_that_is_off_is_found(installation, monkeypatch):
    now = time.time
    monkeypatch.setattr("core.checkup.time.time", lambda: now() - 3600)
    assert names(installation) == {"clock_skew"}


def test_commits_that_may_be_lost_are_found(installation):
    careless = make_context(installation.settings, "careless")

    @event.listens_for(careless.engine, "connect")
    def _careless(connection, _record):
        connection.execute("SET synchronous_commit = off")
        connection.commit()

    assert names(careless) == {"synchronous_commit"}
    careless.close()


@pytest.fixture
def command(installation, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DATABASE_URL", installation.settings.database_url)
    monkeypatch.setenv("REDIS_URL", installation.settings.redis_url)
    monkeypatch.setenv("CRONTALK_HOME", str(tmp_path / "home"))

    def ask(*words: str):
        monkeypatch.setattr(sys, "argv", ["crontalk", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, capsys.readouterr().out

    return ask


@pytest.fixture
def doctor(command):
    return lambda *words: command("doctor", *words)


@pytest.fixture
def status(command):
    return lambda *words: command("status", *words)


LATE_CLOCK = "UPDATE task_clocks SET next_run_at = now() - interval '20 seconds'"
LATE_RUN = "UPDATE runs SET run_at = now() - interval '20 seconds' WHERE state = 'pending'"
OLD_CLAIMS = "UPDATE run_steps SET started_at = now() - interval '2 minutes'"
LATE_JOB = (
    "INSERT INTO jobs (id, account_id, kind, state, run_at)"
    " SELECT gen_random_uuid(), id, 'delete', 'pending', now() - interval '3 minutes' FROM accounts"
)


@pytest.mark.parametrize(
    ("name", "broken", "advice"),
    [
        ("no_scheduler", [LATE_CLOCK], "crontalk scheduler"),
        ("no_worker", [LATE_RUN, OLD_CLAIMS], "crontalk worker"),
        ("no_bulk_worker", [LATE_JOB], "crontalk worker --queues annotate,bulk"),
    ],
)
def test_who_is_missing_is_told_with_since_when_and_what_to_type(
    status, doctor, installation, name, broken, advice
):
    assert status()[0] == 0
    for statement in broken:
        execute(installation, statement)
    for ask in (status, doctor):
        code, told = ask()
        assert code == ILL
        assert f"{name}: 1, since 20" in told
        assert f"`{advice}`" in told
    code, told = status("--json")
    document = json.loads(told)
    assert (code, document["healthy"]) == (ILL, False)
    (trouble,) = document["troubles"]
    assert trouble["name"] == name
    age = datetime.now(UTC) - datetime.fromisoformat(trouble["since"])
    assert timedelta(seconds=15) < age < timedelta(minutes=5)


def test_a_schema_that_is_behind_or_ahead_is_told_with_what_to_do(status, installation, monkeypatch):
    monkeypatch.setattr("core.schema.newest", lambda: "9999")
    code, told = status()
    assert code == ILL
    assert "not at 9999" in told
    assert "`crontalk migrate`" in told
    assert json.loads(status("--json")[1])["waiting"] is None
    monkeypatch.undo()
    version = one(installation, "SELECT version_num FROM alembic_version")
    execute(installation, "UPDATE alembic_version SET version_num = '9999'")
    try:
        assert "install that version here" in names_and_advice(installation)["schema"]
    finally:
        execute(installation, "UPDATE alembic_version SET version_num = :version", version=version)


def names_and_advice(context) -> dict[str, str]:
    return {finding.name: finding.advice for finding in examine(context)}


def test_a_status_without_a_broker_says_that_poll_workers_carry_on(status, monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    code, told = status()
    assert code == ILL
    assert "broker away" in told
    assert "nothing is lost" in told


@pytest.mark.parametrize("command_name", ["status", "doctor"])
def test_without_a_database_or_any_setting_the_exit_code_is_6(
    command, monkeypatch, capsys, tmp_path, command_name
):
    monkeypatch.setenv("DATABASE_URL", "postgresql://crontalk@127.0.0.1:1/nowhere")
    assert command(command_name)[0] == 6
    monkeypatch.delenv("DATABASE_URL")
    assert command(command_name, "--home", str(tmp_path / "none"))[0] == 6
    code, told = command(command_name, "--json")
    assert (code, json.loads(told)["code"]) == (6, "SERVICE_UNAVAILABLE")
    assert "crontalk up" in json.loads(told)["message"]


def test_the_doctor_is_content_with_a_healthy_installation(doctor):
    assert doctor() == (0, "All is well; every promise is kept in the last 7 days.\n")
    assert doctor("--days", "0") == (0, "All is well; every promise is kept in every row.\n")
    code, told = doctor("--json")
    assert (code, json.loads(told)) == (0, {"healthy": True, "items": []})


def test_the_doctor_tells_what_is_broken_and_what_to_do(doctor, installation):
    run = one(installation, "SELECT id FROM runs WHERE state = 'pending'")
    abandon(installation, run)
    execute(installation, "UPDATE runs SET lease_until = now() - interval '1 minute' WHERE id = :id", id=run)
    code, told = doctor("--json")
    assert code == ILL
    finding = json.loads(told)["items"][0]
    assert (finding["name"], finding["count"], finding["ids"]) == ("no_lease_is_forgotten", 1, [str(run)])
    code, told = doctor()
    assert code == ILL
    assert "crontalk scheduler" in told
    assert str(run) in told
