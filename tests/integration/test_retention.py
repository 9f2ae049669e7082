"""Rules of retention: which one decides, what it would do, and that it does it once and nothing else."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from core.bots import delete_bot
from core.carrying import carry_on
from core.erasures import list_erasures
from core.errors import Conflict, InvalidInput, NotAuthorized, NotFound, Unavailable
from core.jobs import cancel_job, get_job, list_jobs, pause_job, resume_job
from core.retaining import start_retention
from core.retention import (
    create_rule,
    delete_rule,
    drafted_rule,
    get_rule,
    list_rules,
    run_rule,
    set_rule,
    update_rule,
)
from core.simulating import simulate
from core.talking import send
from core.tasks import delete_task
from models import JobKind
from scheduler.loop import run
from tests.deletions import age, conversations_left, left, old_talks, some_talks, the_job
from tests.factories import (
    a_bot,
    a_due_rule,
    a_hold,
    a_rule,
    a_task,
    an_account,
    execute,
    one,
    rows,
)

FRESH = "SELECT count(*) FROM conversations WHERE anonymised_seq IS DISTINCT FROM next_seq"


@pytest.fixture(autouse=True)
def _unlimited(context, monkeypatch):
    monkeypatch.setattr(context.settings, "rate_bulk", None)


def ran(context, account, rule):
    """Starts a rule's jobs and carries them out; answers them by kind, as they ended."""
    with context.transaction(account) as session:
        started = run_rule(session, rule.id)
    for job in started:
        assert carry_on(context, job.id).startswith("completed")
    return {job.kind: the_job(context, account, job.id) for job in started}


def forecast(context, account, rule):
    with context.transaction(account) as session:
        return simulate(session, rule)


def test_what_nobody_has_spoken_in_for_so_long_goes(context, account):
    old = old_talks(context, account, 31, 2, 3)
    young = old_talks(context, account, 29, 2, 3)
    rule = a_rule(context, account, delete_after="30d")
    jobs = ran(context, account, rule)
    assert (jobs["delete"].total, jobs["delete"].done) == (2, 2)
    assert conversations_left(context, account) == set(young)
    assert not conversations_left(context, account) & set(old)


def test_the_last_message_counts_and_not_the_first(context, account):
    (talk,) = old_talks(context, account, 400, 1, 3)
    with context.transaction(account) as session:
        send(session, talk, "Still here?")
    assert ran(context, account, a_rule(context, account, delete_after="30d")) == {}
    assert left(context, account) == 4


def test_an_empty_conversation_is_as_old_as_itself(context, account):
    (old,) = some_talks(context, account, 1, 0)
    some_talks(context, account, 1, 0)
    execute(
        context, "UPDATE conversations SET created_at = now() - interval '31 days' WHERE id = :id", id=old
    )
    assert ran(context, account, a_rule(context, account, delete_after="30d"))["delete"].done == 1
    assert old not in conversations_left(context, account)


def test_of_messages_each_has_its_own_age_and_the_conversation_stays(context, account):
    (talk,) = old_talks(context, account, 400, 1, 3)
    with context.transaction(account) as session:
        send(session, talk, "Still here?")
    jobs = ran(context, account, a_rule(context, account, what="messages", delete_after="30d"))
    assert jobs["delete"].done == 3
    assert left(context, account) == 1
    assert conversations_left(context, account) == {talk}


@pytest.mark.parametrize("narrowest", ["task", "bot", "source", "account"])
def test_the_narrowest_rule_decides_alone(context, account, narrowest):
    task, bot = a_task(context, account), a_bot(context, account, name="b")
    (talk,) = old_talks(context, account, 50, 1, 2, task_id=task.id, bot_id=bot.id, source="chat")
    scopes = {
        "task": {"task_id": task.id},
        "bot": {"bot_id": bot.id},
        "source": {"source": "chat"},
        "account": {},
    }
    names = list(scopes)
    rules = {}
    for name in names[names.index(narrowest) :]:
        days = "100d" if name == narrowest else "10d"
        rules[name] = a_rule(context, account, delete_after=days, **scopes[name])
    for rule in rules.values():
        ran(context, account, rule)
    assert conversations_left(context, account) == {talk}, "the narrowest keeps what broader ones delete"
    with context.transaction(account) as session:
        update_rule(session, rules[narrowest].id, delete_after="20d")
    for name in names[names.index(narrowest) + 1 :]:
        assert ran(context, account, rules[name]) == {}
    assert ran(context, account, rules[narrowest])["delete"].done == 1
    assert conversations_left(context, account) == set()


def test_a_rule_reaches_what_is_its_own_and_nothing_else(context, account):
    task, bot = a_task(context, account), a_bot(context, account, name="b")
    of = [{"task_id": task.id}, {"bot_id": bot.id}, {"source": "chat"}, {}]
    talks = [old_talks(context, account, 50, 1, 1, **fields)[0] for fields in of]
    stranger = an_account(context, "Grace")
    old_talks(context, stranger, 50, 1, 1, source="chat")
    expected = set(talks)
    for fields, talk in zip(of[:3], talks[:3], strict=True):
        ran(context, account, a_rule(context, account, delete_after="30d", **fields))
        expected -= {talk}
        assert conversations_left(context, account) == expected
    ran(context, account, a_rule(context, account, delete_after="30d"))
    assert conversations_left(context, account) == set()
    assert left(context, stranger) == 1


def test_a_rule_that_is_made_while_a_broader_one_works_is_heard_at_once(context, account):
    task = a_task(context, account)
    (talk,) = old_talks(context, account, 50, 1, 1, task_id=task.id)
    with context.transaction(account) as session:
        (job,) = run_rule(session, create_rule(session, delete_after="30d").id)
    a_rule(context, account, task_id=task.id, delete_after="7y")
    assert carry_on(context, job.id) == "completed"
    assert conversations_left(context, account) == {talk}
    ended = the_job(context, account, job.id)
    assert (ended.total, ended.done, ended.skipped) == (1, 0, 1)


def test_a_rule_goes_with_its_bot_and_stays_with_a_deleted_task(context, account):
    task, bot = a_task(context, account), a_bot(context, account, name="b")
    old_talks(context, account, 50, 1, 1, task_id=task.id)
    a_rule(context, account, bot_id=bot.id, delete_after="30d")
    kept = a_rule(context, account, task_id=task.id, delete_after="30d")
    with context.transaction(account) as session:
        delete_bot(session, bot.id)
        delete_task(session, task.id)
    with context.transaction(account) as session:
        assert [rule.id for rule in list_rules(session)] == [kept.id]
    assert ran(context, account, kept)["delete"].done == 1


# Simulation


@pytest.mark.parametrize("what", ["conversations", "messages"])
def test_a_simulation_is_what_is_then_done(context, account, what):
    for days in (5, 15, 40, 70):
        old_talks(context, account, days, 2, 3)
    back = old_talks(context, account, 40, 1, 4) + old_talks(context, account, 70, 1, 5)
    for talk in back:
        a_hold(context, account, conversation_id=talk)
    rule = a_rule(context, account, what=what, anonymise_after="30d", delete_after="60d")
    told = forecast(context, account, rule)
    assert left(context, account) == 33, "nothing was changed"
    assert rows(context, "SELECT 1 FROM jobs") == []
    anonymise, delete = told.now[JobKind.ANONYMISE], told.now[JobKind.DELETE]
    assert (anonymise.conversations, anonymise.messages) == (2, 6)
    assert (anonymise.held_conversations, anonymise.held_messages) == (1, 4)
    assert (delete.conversations, delete.messages) == (2, 6)
    assert (delete.held_conversations, delete.held_messages) == (1, 5)
    jobs = ran(context, account, rule)
    erased = one(context, "SELECT sum(messages) FROM erasures")
    done = {"conversations": 2, "messages": 6}[what]
    assert (jobs["anonymise"].total, jobs["anonymise"].done) == (done, done)
    assert jobs["anonymise"].counts["messages"] == anonymise.messages
    assert (jobs["delete"].total, jobs["delete"].done, erased) == (done, done, delete.messages)
    assert jobs["delete"].counts["held"] == {"conversations": 1, "messages": 5}[what]
    again = forecast(context, account, rule)
    assert {kind: (tally.conversations, tally.messages) for kind, tally in again.now.items()} == {
        JobKind.ANONYMISE: (0, 0),
        JobKind.DELETE: (0, 0),
    }
    assert ran(context, account, rule) == {}, "and a second time there is nothing to do"


def test_a_simulation_tells_what_comes_of_age_within_thirty_days(context, account):
    for days, talks in ((5, 1), (15, 2), (40, 3), (70, 4)):
        old_talks(context, account, days, talks, 1)
    with context.transaction(account) as session:
        told = simulate(session, drafted_rule(session, anonymise_after="30d", delete_after="60d"))
    # Of 15 days by then 45, of 40 days 70, of 70 days 100; 5 days are 35.
    assert told.ahead[JobKind.DELETE].conversations == 3 + 4
    assert told.ahead[JobKind.ANONYMISE].conversations == 1 + 2 + 3
    assert told.now[JobKind.DELETE].conversations == 4
    assert told.now[JobKind.ANONYMISE].conversations == 3
    oldest = told.now[JobKind.DELETE].oldest
    age_of_it = one(context, "SELECT now() - CAST(:at AS timestamptz)", at=oldest)
    assert timedelta(days=70) <= age_of_it < timedelta(days=71)
    assert rows(context, "SELECT 1 FROM retention_rules") == []


def test_a_rule_that_is_only_described_gives_way_to_narrower_ones_that_are_stored(context, account):
    task = a_task(context, account)
    old_talks(context, account, 50, 1, 1, task_id=task.id)
    old_talks(context, account, 50, 1, 1)
    a_rule(context, account, task_id=task.id, delete_after="1y")
    with context.transaction(account) as session:
        told = simulate(session, drafted_rule(session, delete_after="30d"))
        instead = simulate(session, drafted_rule(session, task_id=task.id, delete_after="30d"))
    assert told.now[JobKind.DELETE].conversations == 1
    assert instead.now[JobKind.DELETE].conversations == 1


# Execution


def test_a_due_rule_starts_its_jobs_and_is_due_again_in_a_day(context, account):
    old_talks(context, account, 40, 2, 2)
    old_talks(context, account, 70, 3, 2)
    rule = a_due_rule(context, account, anonymise_after="30d", delete_after="60d")
    assert start_retention(context) == 2
    with context.transaction(account) as session:
        jobs = {job.kind: job for job, _ in list_jobs(session)}
        stored = get_rule(session, rule.id)
    assert {kind: (job.state, job.total, job.rule_id) for kind, job in jobs.items()} == {
        "delete": ("pending", 3, rule.id),
        "anonymise": ("pending", 2, rule.id),
    }
    assert stored.next_run_at - stored.last_run_at == timedelta(days=1)
    assert start_retention(context) == 0


def test_the_receipts_name_the_rule(context, account):
    old_talks(context, account, 40, 2, 2)
    rule = a_due_rule(context, account, delete_after="30d")
    start_retention(context)
    job = one(context, "SELECT id FROM jobs")
    assert carry_on(context, job) == "completed"
    with context.transaction(account) as session:
        (receipt,) = list_erasures(session)
    assert (receipt.actor, receipt.job_id, receipt.conversations) == (f"retention:{rule.id}", job, 2)


def test_two_schedulers_start_it_once(context, account):
    old_talks(context, account, 40, 1, 1)
    for _ in range(5):
        execute(context, "DELETE FROM jobs")
        execute(context, "DELETE FROM retention_rules")
        a_due_rule(context, account, anonymise_after="20d", delete_after="30d")
        started, ready = [], threading.Barrier(4)

        def start(ready=ready, started=started):
            ready.wait()
            started.append(start_retention(context))

        schedulers = [threading.Thread(target=start) for _ in range(4)]
        for one_ in schedulers:
            one_.start()
        for one_ in schedulers:
            one_.join()
        assert sorted(started) == [0, 0, 0, 1]
        assert one(context, "SELECT count(*) FROM jobs") == 1


def test_the_database_refuses_a_second_unfinished_job_of_a_rule(context, account):
    old_talks(context, account, 40, 1, 1)
    a_due_rule(context, account, delete_after="30d")
    start_retention(context)
    from sqlalchemy.exc import IntegrityError

    with pytest.raises(IntegrityError, match="uq_jobs_rule"):
        execute(
            context,
            "INSERT INTO jobs (id, account_id, kind, rule_id)"
            " SELECT gen_random_uuid(), account_id, kind, rule_id FROM jobs",
        )


def test_a_job_that_is_unfinished_when_its_rule_is_due_again_is_not_doubled(context, account):
    old_talks(context, account, 40, 1, 1)
    rule = a_due_rule(context, account, delete_after="30d")
    assert start_retention(context) == 1
    job = one(context, "SELECT id FROM jobs")
    with context.transaction(account) as session:
        pause_job(session, job)
    execute(context, "UPDATE retention_rules SET next_run_at = now()")
    assert start_retention(context) == 0
    with context.transaction(account) as session:
        assert run_rule(session, rule.id) == []
        resume_job(session, job)
    assert carry_on(context, job) == "completed"
    assert left(context, account) == 0


def test_where_nothing_is_due_there_is_no_job(context, account):
    old_talks(context, account, 10, 1, 1)
    a_due_rule(context, account, anonymise_after="20d", delete_after="30d")
    assert start_retention(context) == 0
    assert rows(context, "SELECT 1 FROM jobs") == []
    assert one(context, "SELECT next_run_at > now() + interval '23 hours' FROM retention_rules")


def test_a_new_rule_and_a_changed_one_wait_for_a_day(context, account):
    old_talks(context, account, 40, 1, 1)
    rule = a_rule(context, account, delete_after="30d")
    assert start_retention(context) == 0
    execute(context, "UPDATE retention_rules SET next_run_at = now()")
    with context.transaction(account) as session:
        update_rule(session, rule.id, delete_after="20d")
    assert start_retention(context) == 0
    assert left(context, account) == 1


@pytest.mark.parametrize("end", ["update", "delete"])
def test_what_a_rule_has_under_way_ends_with_it_or_with_its_change(context, account, end):
    old_talks(context, account, 40, 1, 1)
    rule = a_due_rule(context, account, delete_after="30d")
    start_retention(context)
    job = one(context, "SELECT id FROM jobs")
    with context.transaction(account) as session:
        if end == "update":
            update_rule(session, rule.id, delete_after="1y")
        else:
            delete_rule(session, rule.id)
    assert the_job(context, account, job).state == "cancelled"
    assert carry_on(context, job) == "ignored"
    assert left(context, account) == 1


def test_a_cancelled_job_is_made_anew_the_next_time(context, account):
    old_talks(context, account, 40, 1, 1)
    a_due_rule(context, account, delete_after="30d")
    start_retention(context)
    with context.transaction(account) as session:
        cancel_job(session, one(context, "SELECT id FROM jobs"))
    execute(context, "UPDATE retention_rules SET next_run_at = now()")
    assert start_retention(context) == 1


def test_somebody_who_speaks_at_the_last_moment_keeps_the_conversation(context, account, monkeypatch):
    """Between the look ahead of a batch and its lock."""
    from core import deleting

    first, second = old_talks(context, account, 40, 2, 1)
    rule = a_rule(context, account, delete_after="30d")
    with context.transaction(account) as session:
        (job,) = run_rule(session, rule.id)
    real = deleting.lock_selected

    def spoken(session, selection, of, ids):
        if len(ids) == 2:
            with context.transaction(account) as other:
                send(other, first, "Wait!")
        return real(session, selection, of, ids)

    monkeypatch.setattr(deleting, "lock_selected", spoken)
    assert carry_on(context, job.id) == "completed"
    assert conversations_left(context, account) == {first}
    ended = the_job(context, account, job.id)
    assert (ended.total, ended.done, ended.skipped) == (2, 1, 1)
    assert second not in conversations_left(context, account)


def test_a_hold_that_comes_while_a_job_works_beats_it(context, account):
    talks = old_talks(context, account, 40, 2, 2)
    with context.transaction(account) as session:
        rule = create_rule(session, anonymise_after="10d", delete_after="30d")
        (job,) = run_rule(session, rule.id)
    a_hold(context, account, conversation_id=talks[0])
    assert carry_on(context, job.id) == "completed"
    assert conversations_left(context, account) == {talks[0]}


def test_a_rule_that_cannot_be_started_keeps_no_other(context, account, monkeypatch):
    import core.retaining

    old_talks(context, account, 40, 1, 1)
    bad = a_due_rule(context, account, delete_after="30d")
    good = a_due_rule(context, an_account(context, "Grace"), delete_after="30d")
    real = core.retaining.start_jobs

    def stumbling(session, rule, **fields):
        if rule.id == bad.id:
            raise ValueError
        return real(session, rule, **fields)

    monkeypatch.setattr(core.retaining, "start_jobs", stumbling)
    start_retention(context)
    due = {row["id"]: row["far"] for row in rows(
        context, "SELECT id, next_run_at > now() + interval '2 hours' AS far FROM retention_rules"
    )}  # fmt: skip
    assert due == {bad.id: False, good.id: True}
    assert one(context, "SELECT count(*) FROM retention_rules WHERE next_run_at <= now()") == 0


def test_what_takes_too_long_to_count_begins_uncounted(context, account, monkeypatch):
    import core.retention

    old_talks(context, account, 40, 3, 1)
    a_due_rule(context, account, delete_after="30d")

    def slow(*_):
        raise Unavailable("too slow")

    monkeypatch.setattr(core.retention, "count_selected", slow)
    assert start_retention(context) == 1
    job = one(context, "SELECT id FROM jobs")
    assert the_job(context, account, job).total is None
    assert carry_on(context, job) == "completed"
    ended = the_job(context, account, job)
    assert (ended.total, ended.done) == (3, 3)


def test_the_rules_of_a_closed_account_rest(context, account):
    old_talks(context, account, 40, 1, 1)
    a_due_rule(context, account, delete_after="30d")
    execute(context, "UPDATE accounts SET closed_at = now() WHERE id = :id", id=account)
    assert start_retention(context) == 0


def test_the_scheduler_starts_it(context, account, eventually):
    old_talks(context, account, 40, 1, 1)
    a_due_rule(context, account, delete_after="30d")
    stop = threading.Event()
    scheduler = threading.Thread(target=run, args=(context, stop))
    scheduler.start()
    try:
        eventually(lambda: one(context, "SELECT count(*) FROM jobs") == 1)
    finally:
        stop.set()
        scheduler.join(10)


def test_what_a_backup_brings_back_is_dealt_with_by_the_next_day(context, account):
    """After a restore the rows are old again: the rule simply runs."""
    (talk,) = old_talks(context, account, 40, 1, 2)
    rule = a_rule(context, account, anonymise_after="30d")
    ran(context, account, rule)
    assert one(context, FRESH) == 0
    execute(context, "UPDATE messages SET text = 'Write to a@b.example', anonymised_at = NULL")
    execute(context, "UPDATE conversations SET anonymised_seq = NULL")
    age(context, [talk], 40)
    assert ran(context, account, rule)["anonymise"].done == 1
    assert one(context, "SELECT count(*) FROM messages WHERE text = 'Write to <EMAIL_ADDRESS>'") == 2


# Words of rules


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"delete_after": "30"},
        {"delete_after": "0d"},
        {"delete_after": "-1d"},
        {"delete_after": "1.5d"},
        {"delete_after": "30D"},
        {"delete_after": "30d "},
        {"delete_after": "101y"},
        {"delete_after": "٣d"},
        {"delete_after": 30},
        {"delete_after": "6m"},
        {"anonymise_after": "30d", "delete_after": "30d"},
        {"anonymise_after": "60d", "delete_after": "8w"},
        {"what": "files", "delete_after": "30d"},
        {"source": "", "delete_after": "30d"},
        {"source": "x" * 401, "delete_after": "30d"},
    ],
)
def test_a_rule_that_cannot_work_is_refused_in_a_sentence(context, account, fields):
    with pytest.raises(InvalidInput, match=r"\.$"), context.transaction(account) as session:
        create_rule(session, **fields)


def test_a_rule_is_of_one_thing_of_ones_own(context, account):
    task, bot = a_task(context, account), a_bot(context, account)
    with pytest.raises(InvalidInput), context.transaction(account) as session:
        create_rule(session, task_id=task.id, bot_id=bot.id, delete_after="30d")
    stranger = an_account(context, "Grace")
    for name, value in (("task_id", task.id), ("bot_id", bot.id)):
        with pytest.raises(NotAuthorized), context.transaction(stranger) as session:
            create_rule(session, **{name: value}, delete_after="30d")
        with pytest.raises(NotFound), context.transaction(account) as session:
            create_rule(session, **{name: "nonsense"}, delete_after="30d")


def test_there_is_one_rule_of_a_scope(context, account):
    task, bot = a_task(context, account), a_bot(context, account)
    for fields in ({}, {"task_id": task.id}, {"bot_id": bot.id}, {"source": "x"}):
        a_rule(context, account, delete_after="30d", **fields)
        with pytest.raises(Conflict), context.transaction(account) as session:
            create_rule(session, delete_after="60d", **fields)
    a_rule(context, an_account(context, "Grace"), delete_after="30d")


def test_setting_a_rule_makes_it_changes_it_or_leaves_it(context, account):
    with context.transaction(account) as session:
        made = set_rule(session, source="x", anonymise_after="30d").id
        before = get_rule(session, made).next_run_at
    with context.transaction(account) as session:
        assert set_rule(session, source="x", anonymise_after="30d").next_run_at == before
        changed = set_rule(session, source="x", delete_after="1y")
        assert (changed.id, changed.anonymise_after, changed.delete_days) == (made, None, 365)
        assert set_rule(session, source="y", delete_after="1y").id != made
        assert len(list_rules(session)) == 2


def test_progress_of_a_rules_job_is_told_as_any_other(context, account):
    old_talks(context, account, 40, 2, 2)
    a_due_rule(context, account, anonymise_after="30d")
    start_retention(context)
    job = one(context, "SELECT id FROM jobs")
    carry_on(context, job)
    with context.transaction(account) as session:
        told, progress = get_job(session, job)
    assert (told.state, progress.done, progress.failed) == ("completed", 2, 0)
