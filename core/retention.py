"""Retention: rules that say when what was said is anonymised and when it is deleted, and the jobs they start.

The narrowest rule that fits a conversation decides, alone: its task's, else its bot's, else its source's,
else the account's. Rows decide: who starts a rule's jobs holds its row and moves `next_run_at`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.anonymise_jobs import end_anonymise_job
from core.context import account_of
from core.conversation_fields import LONGEST_SOURCE
from core.database import violated
from core.delete_jobs import end_delete_job
from core.durations import read_days
from core.errors import Conflict, InvalidInput
from core.job_states import wake
from core.rows import MetaFilter, checked_text, database_now, own, page
from core.selection import Selection, What, count_selected
from models import UNFINISHED, Bot, Job, JobKind, JobState, Kept, RetentionRule, Task, new_id

# A new rule, or a changed one, begins a day later: there is time to simulate it.
EVERY = timedelta(days=1)
SCOPES = ("task_id", "bot_id", "source")
AFTER = ("anonymise_after", "delete_after")
ACTIONS = (JobKind.DELETE, JobKind.ANONYMISE)
END = {JobKind.DELETE: end_delete_job, JobKind.ANONYMISE: end_anonymise_job}


def create_rule(session: Session, **fields: Any) -> RetentionRule:
    """A rule of a task, a bot, a source (`task_id`, `bot_id`, `source`), or of the account.

    `anonymise_after` and `delete_after` are durations such as 30d, 12w, 1y; `what`: conversations, or
    messages. It is due for the first time in a day.

    Raises:
        InvalidInput: a field, or nothing to do. Conflict: there is one of this scope.
        NotFound, NotAuthorized: the task or the bot.

    """
    rule = drafted_rule(session, **fields)
    rule.next_run_at = database_now(session) + EVERY
    try:
        with session.begin_nested():
            session.add(rule)
            session.flush()
    except IntegrityError as error:
        if violated(error) == "uq_retention_rules_scope":
            raise Conflict("There is a rule of this scope already; change that one.") from None
        raise
    session.refresh(rule)
    return rule


def drafted_rule(session: Session, **fields: Any) -> RetentionRule:
    """A rule that is not stored: to be created, or simulated. Raises as `create_rule`."""
    given = {name: value for name, value in fields.items() if value is not None}
    if len(given.keys() & set(SCOPES)) > 1:
        raise InvalidInput("A rule is of a task, a bot, a source or the account: name one of them.")
    rule = RetentionRule(id=new_id(), account_id=account_of(session), what=Kept.CONVERSATIONS)
    if "task_id" in given:
        rule.task_id = own(session, Task, given["task_id"]).id
    if "bot_id" in given:
        rule.bot_id = own(session, Bot, given["bot_id"]).id
    rule.source = checked_text(given.get("source"), "The source", longest=4 * LONGEST_SOURCE)
    _write(rule, {name: given[name] for name in ("what", *AFTER) if name in given})
    return rule


def update_rule(session: Session, rule_id: uuid.UUID | str, **fields: Any) -> RetentionRule:
    """Changes what a rule does (`what`, `anonymise_after`, `delete_after`); null clears a duration.

    What it has under way is cancelled, and it is due again in a day.

    Raises:
        InvalidInput: a field, or nothing is left to do. NotFound, NotAuthorized.

    """
    rule = own(session, RetentionRule, rule_id, lock=True)
    with session.no_autoflush:
        _write(rule, fields)
    _cancel_jobs(session, rule)
    rule.updated_at = database_now(session)
    rule.next_run_at = rule.updated_at + EVERY
    session.flush()
    return rule


def set_rule(session: Session, **fields: Any) -> RetentionRule:
    """The rule of a scope as it is given, made or changed; raises as both. Asked again it changes nothing."""
    wanted = drafted_rule(session, **fields)
    same = [getattr(RetentionRule, name).is_not_distinct_from(getattr(wanted, name)) for name in SCOPES]
    rule = session.scalar(select(RetentionRule).where(RetentionRule.account_id == wanted.account_id, *same))
    if rule is None:
        return create_rule(session, **fields)
    after = {name: getattr(wanted, name) for name in ("what", *AFTER)}
    if all(getattr(rule, name) == value for name, value in after.items()):
        return rule
    return update_rule(session, rule.id, **after)


def delete_rule(session: Session, rule_id: uuid.UUID | str) -> uuid.UUID:
    """Takes a rule away; what it has under way is cancelled, what it has done stays done.

    Raises:
        NotFound, NotAuthorized.

    """
    rule = own(session, RetentionRule, rule_id, lock=True)
    _cancel_jobs(session, rule)
    session.delete(rule)
    session.flush()
    return rule.id


def get_rule(session: Session, rule_id: uuid.UUID | str) -> RetentionRule:
    """The rule. Raises NotFound, NotAuthorized."""
    return own(session, RetentionRule, rule_id)


def list_rules(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[RetentionRule]:
    """The account's rules, newest first or `ascending`."""
    return page(session, RetentionRule, take=take, before=before, ascending=ascending, meta=meta)


def run_rule(session: Session, rule_id: uuid.UUID | str) -> list[Job]:
    """Starts what a rule has to do, at once: nothing where nothing is due, or where it is under way.

    Raises:
        NotFound, NotAuthorized. Unavailable: counting takes too long.

    """
    return start_jobs(session, own(session, RetentionRule, rule_id, lock=True))


def start_jobs(session: Session, rule: RetentionRule, *, counted: bool = True) -> list[Job]:
    """The jobs of a rule that is locked, and its next time; `counted`: none where nothing is due."""
    now = database_now(session)
    mine = (Job.rule_id == rule.id, Job.state.in_(UNFINISHED))
    under_way = set(session.scalars(select(Job.kind).where(*mine)))
    started = []
    for kind, selection in selections_of(rule, now).items():
        if kind in under_way:
            continue
        found = count_selected(session, selection, rule.account_id) if counted else None
        if found is not None and not found.count:
            continue
        job = Job(
            account_id=rule.account_id,
            kind=kind,
            state=JobState.PENDING,
            rule_id=rule.id,
            total=None if found is None else found.count,
            counts={} if found is None or not found.held else {"held": found.held},
            params={**selection.params(), "actor": actor_of_rule(rule.id)},
        )
        session.add(job)
        session.flush()
        wake(session, job)
        started.append(job)
    rule.last_run_at, rule.next_run_at = now, now + EVERY
    session.flush()
    return started


def actor_of_rule(rule_id: uuid.UUID) -> str:
    """How receipts name a rule."""
    return f"retention:{rule_id}"


def selections_of(rule: RetentionRule, now: datetime, at: datetime | None = None) -> dict[JobKind, Selection]:
    """What a rule selects by the ages of `at` (now unless told) of what is there now, by what it does to it.

    What it deletes now it does not anonymise.
    """
    reached = at or now
    found = {}
    ages = {JobKind.DELETE: rule.delete_days, JobKind.ANONYMISE: rule.anonymise_days}
    older, newer = ("before", "after") if rule.what == Kept.MESSAGES else ("idle", "active")
    for kind, days in ages.items():
        if days is None:
            continue
        chosen = {**_scope(rule), older: (reached - timedelta(days=days)).isoformat()}
        if kind is JobKind.ANONYMISE:
            chosen["named"] = True
            if rule.delete_days is not None:
                chosen[newer] = (now - timedelta(days=rule.delete_days)).isoformat()
        found[kind] = Selection(What(rule.what), chosen, now)
    return found


def _scope(rule: RetentionRule) -> dict[str, Any]:
    if rule.task_id is not None:
        return {"tasks": [str(rule.task_id)], "broader": 3}
    if rule.bot_id is not None:
        return {"bots": [str(rule.bot_id)], "broader": 2}
    if rule.source is not None:
        return {"source": rule.source, "broader": 1}
    return {"broader": 0}


def _write(rule: RetentionRule, fields: Mapping[str, Any]) -> None:
    if unknown := fields.keys() - {"what", *AFTER}:
        raise InvalidInput(f"A rule has no field {min(unknown)}.")
    if "what" in fields:
        if fields["what"] not in set(Kept):
            raise InvalidInput(f"A rule is about {' or '.join(Kept)}.")
        rule.what = fields["what"]
    if "anonymise_after" in fields:
        rule.anonymise_after = fields["anonymise_after"]
        rule.anonymise_days = _days(fields["anonymise_after"], "anonymiseAfter")
    if "delete_after" in fields:
        rule.delete_after = fields["delete_after"]
        rule.delete_days = _days(fields["delete_after"], "deleteAfter")
    if rule.anonymise_days is None and rule.delete_days is None:
        raise InvalidInput("A rule anonymises or deletes: give anonymiseAfter, deleteAfter or both.")
    if None not in {rule.anonymise_days, rule.delete_days} and rule.delete_days <= rule.anonymise_days:  # type: ignore[operator]
        raise InvalidInput("A rule deletes later than it anonymises.")


def _days(value: str | None, name: str) -> int | None:
    return None if value is None else read_days(value, name)


def _cancel_jobs(session: Session, rule: RetentionRule) -> None:
    mine = (Job.rule_id == rule.id, Job.state.in_(UNFINISHED))
    for job in session.scalars(select(Job).where(*mine).order_by(Job.id).with_for_update()):
        END[JobKind(job.kind)](session, job, JobState.CANCELLED)
