"""Actions on tasks: a bot schedules what it is to say, looks at it and changes it.

Only within the ability's scope: the tasks of the acting bot with the acting contact, unless the document says
`bot` (all of the bot's) or `account`. How many may be scheduled at once and how close their runs may lie is
bounded, so that a model which does all it is told floods nobody.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, select, text
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput
from core.leaving import leaving, without_tokens
from core.rows import database_now
from core.schedule import Form, check_minimum, next_after, parse
from core.skills.action import (
    Action,
    Json,
    action,
    alone,
    an_id,
    at_once,
    checked_document,
    elsewhere,
    flag,
    hold_off_holds,
    keep_company,
    missing,
    one_of,
    schema,
    unattended,
    whole,
)
from core.skills.skill import Acting, SkillFailed
from core.tasks import create_task, delete_task, pause_task, resume_task, update_task
from models import Task, TaskClock, TaskState

MOST = 20
LEAST_INTERVAL = "15m"
LISTED = 50
SHOWN = 500  # characters of a description in a list
LONGEST = 8000
SCOPES = ("contact", "bot", "account")

# Before anything of a task changes, as whoever fires or edits it does. The order of locks has it before the
# conversation, which is locked already: so nobody is waited for.
LOCK_CLOCK = text("SELECT task_id FROM task_clocks WHERE task_id = :id FOR UPDATE NOWAIT")
SCHEDULED = (
    "SELECT count(*) FROM tasks t JOIN task_clocks k ON k.task_id = t.id WHERE t.account_id = :account"
    " AND t.bot_id = :bot AND (k.next_run_at IS NOT NULL OR t.state = 'paused')"
    " AND t.id IS DISTINCT FROM CAST(:but AS uuid)"
)
COUNT_OF_BOT = text(SCHEDULED)
COUNT_OF_BOTH = text(f"{SCHEDULED} AND t.contact_id = :contact")

SCHEDULE = {
    "type": "string",
    "maxLength": 200,
    "description": "When: a date and time such as 2030-12-25T10:00 for once, a time of day such as 09:30,"
    " daily, weekly, monthly, a cron of five fields, or @every 2h.",
}
TIMEZONE = {
    "type": "string",
    "maxLength": 100,
    "description": "Such as Europe/Berlin; UTC unless told.",
}
NAME = {"type": "string", "minLength": 1, "maxLength": 200, "description": "A short name for the task."}
PROMPT = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST,
    "description": "What the bot is asked each time the task is due.",
}
ID = {"type": "string", "description": "The id of the task, as the list has it."}


def _interval(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput("The least interval is a duration such as 15m or 2h.")
    try:
        return parse(f"@every {value}", None).text.removeprefix("@every ")
    except InvalidInput:
        raise InvalidInput("The least interval is a duration such as 15m or 2h.") from None


def _zone(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput("The timezone is a text such as Europe/Berlin.")
    parse("never", value)
    return value


_scope = one_of("The scope", *SCOPES)
SCHEDULING = {
    "scope": _scope,
    "most": whole("The most", 1, 1000),
    "least_interval": _interval,
    "timezone": _zone,
    "in_tasks": flag("in_tasks"),
}


def _create(session: Session, acting: Acting, document: Json, arguments: Json) -> Any:
    if acting.bot_id is None:
        raise SkillFailed("no_bot", "This conversation has no bot that a task could be for.")
    if unattended(session, acting) and not document.get("in_tasks"):
        raise SkillFailed("refused", "What runs by itself makes no tasks; somebody has to ask for them.")
    _reach(acting, document)
    safe = leaving(session, acting.conversation_id)
    fields = {
        "name": safe.label(_words(arguments.get("name"))),
        "description": safe.label(_words(arguments["description"])),
        "schedule": _words(arguments["schedule"]),
        "timezone": _words(arguments.get("timezone")) or document.get("timezone"),
    }
    _check_timing(session, acting, document, fields["schedule"], fields["timezone"])
    if parse(str(fields["schedule"]), fields["timezone"]).form is Form.NEVER:
        raise InvalidInput("A task of a bot needs a schedule that fires.")
    keep_company(session, acting)
    _refuse_a_crowd(session, acting, document)
    with elsewhere(session):
        task = create_task(session, bot_id=acting.bot_id, contact_id=acting.contact_id, **fields)
    return _shown(task, session.get_one(TaskClock, task.id))


def _update(session: Session, acting: Acting, document: Json, arguments: Json) -> Any:
    task = _locked(session, acting, document, arguments["id"])
    safe = leaving(session, acting.conversation_id)
    fields: dict[str, Any] = {
        name: safe.label(_words(arguments[name])) for name in ("name", "description") if name in arguments
    }
    fields |= {name: _words(arguments[name]) for name in ("schedule", "timezone") if name in arguments}
    paused, timed = arguments.get("paused"), bool(fields.keys() & {"schedule", "timezone"})
    if timed or paused is False:
        schedule = fields.get("schedule", task.schedule)
        _check_timing(session, acting, document, schedule, fields.get("timezone", task.timezone))
    if (timed or paused is not None) and not _is_scheduled(session, task):
        _refuse_a_crowd(session, acting, document, task)
    with elsewhere(session):
        if fields:
            task = update_task(session, task.id, **fields)
        if paused is not None:
            task = pause_task(session, task.id, "bot") if paused else resume_task(session, task.id)
    return _shown(task, session.get_one(TaskClock, task.id))


def _list(session: Session, acting: Acting, document: Json, arguments: Json) -> Any:
    del arguments
    query = (
        select(Task, TaskClock)
        .join(TaskClock, TaskClock.task_id == Task.id)
        .where(Task.account_id == account_of(session), Task.state != TaskState.DELETED)
        .where(*_reach(acting, document))
        .order_by(Task.id.desc())
        .limit(LISTED)
    )
    return {"tasks": [_shown(row.Task, row.TaskClock, whole=True) for row in session.execute(query)]}


def _delete(session: Session, acting: Acting, document: Json, arguments: Json) -> Any:
    task = _found(session, acting, document, arguments["id"])
    if task.id == acting.task_id:
        raise SkillFailed("refused", "A task does not delete itself while it runs; pause it instead.")
    hold_off_holds(session)
    task = _locked(session, acting, document, arguments["id"])
    return {"id": str(delete_task(session, task.id))}


def _reach(acting: Acting, document: Json) -> list[ColumnElement[bool]]:
    """Which tasks an ability reaches.

    Raises:
        SkillFailed: it needs a bot or a contact that this conversation has not.

    """
    scope = document.get("scope") or ("contact" if acting.contact_id else "bot")
    if scope == "account":
        return []
    if acting.bot_id is None:
        raise SkillFailed("no_bot", "This conversation has no bot whose tasks these could be.")
    mine = [Task.bot_id == acting.bot_id]
    if scope == "bot":
        return mine
    if acting.contact_id is None:
        raise SkillFailed("no_contact", "This conversation has no contact whose tasks these could be.")
    return [*mine, Task.contact_id == acting.contact_id]


def _found(session: Session, acting: Acting, document: Json, task_id: Any) -> Task:
    mine = (Task.id == an_id(task_id, "task"), Task.account_id == account_of(session))
    query = select(Task).where(*mine, Task.state != TaskState.DELETED, *_reach(acting, document))
    task = session.scalars(query, execution_options={"populate_existing": True}).one_or_none()
    if task is None:
        raise missing("task")
    return task


def _locked(session: Session, acting: Acting, document: Json, task_id: Any) -> Task:
    """The task under its clock, as it is then."""
    task = _found(session, acting, document, task_id)
    at_once(session, LOCK_CLOCK, id=task.id)
    return _found(session, acting, document, task_id)


def _check_timing(
    session: Session, acting: Acting, document: Json, schedule: str | None, timezone: str | None
) -> None:
    """Refuses a schedule that is too close for this ability; whether it works at all the verbs tell."""
    if not schedule:
        raise InvalidInput("A task of a bot needs a schedule.")
    read = parse(schedule, timezone)
    least = parse(f"@every {document.get('least_interval') or LEAST_INTERVAL}", None).interval or timedelta()
    check_minimum(read, least)
    if not unattended(session, acting):
        return
    now = database_now(session)
    first = next_after(read, now)
    if first is not None and first < now + least:
        raise InvalidInput(f"What runs by itself schedules nothing within {least} from now.")


def _is_scheduled(session: Session, task: Task) -> bool:
    """What counts: it will run, or would if it were not paused."""
    clock = session.get_one(TaskClock, task.id, populate_existing=True)
    return clock.next_run_at is not None or task.state == TaskState.PAUSED


def _refuse_a_crowd(session: Session, acting: Acting, document: Json, but: Task | None = None) -> None:
    """Counts what is scheduled or paused: what has had its last run makes room."""
    bot, contact = acting.bot_id, acting.contact_id
    scope = document.get("scope") or ("contact" if contact else "bot")
    if but is not None and scope == "account":
        bot, contact = but.bot_id, but.contact_id
    alone(session, f"tasks:{account_of(session)}:{bot}")
    most = document.get("most") or MOST
    values = {"account": account_of(session), "bot": bot, "contact": contact, "but": but and but.id}
    count = COUNT_OF_BOTH if scope == "contact" else COUNT_OF_BOT
    if session.execute(count, values).scalar_one() >= most:
        raise SkillFailed("limit", f"There are {most} scheduled tasks already; one of them has to go first.")


def _words(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidInput("The fields of a task are texts.")
    if value is not None and len(value) > LONGEST:
        raise InvalidInput(f"A text has up to {LONGEST} characters here.")
    return value


def _shown(task: Task, clock: TaskClock, *, whole: bool = False) -> dict[str, Any]:
    """A task as the model is told of it: the tokens of its prompt are words, since they mean nothing here."""
    document = {
        "id": str(task.id),
        "name": task.name and without_tokens(task.name),
        "description": without_tokens(task.description)[:SHOWN] if whole and task.description else None,
        "schedule": task.schedule,
        "timezone": task.timezone,
        "state": task.state,
        "nextRunAt": _instant(clock.next_run_at),
    }
    return {name: value for name, value in document.items() if value is not None}


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


ACTIONS: dict[str, Action] = {
    "task.create": action(
        "Schedules something: from then on the bot is asked it at the times of the schedule.",
        schema(
            {"name": NAME, "description": PROMPT, "schedule": SCHEDULE, "timezone": TIMEZONE},
            "description",
            "schedule",
        ),
        lambda document: checked_document(document, **SCHEDULING),
        _create,
    ),
    "task.update": action(
        "Changes a scheduled task: what is asked, when, or whether it is paused.",
        schema(
            {
                "id": ID,
                "name": NAME,
                "description": PROMPT,
                "schedule": SCHEDULE,
                "timezone": TIMEZONE,
                "paused": {"type": "boolean"},
            },
            "id",
        ),
        lambda document: checked_document(
            document, **{name: check for name, check in SCHEDULING.items() if name != "in_tasks"}
        ),
        _update,
    ),
    "task.list": action(
        "Lists the scheduled tasks with their ids and times, newest first.",
        schema({}),
        lambda document: checked_document(document, scope=_scope),
        _list,
    ),
    "task.delete": action(
        "Deletes a scheduled task for good.",
        schema({"id": ID}, "id"),
        lambda document: checked_document(document, scope=_scope),
        _delete,
    ),
}
