"""The tasks: when they run next and how they fare; made, edited, run, paused, resumed and deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from api.auth import context_of
from api.dashboard.cookies import Editor, Visitor
from api.dashboard.rendering import address, page, page_for
from api.dashboard.views import instant, task_title
from api.dashboard.views_conversations import filter_path
from api.dashboard.views_tasks import (
    outcome_view,
    rate_of,
    row_view,
    run_row,
    schedule_words,
    seconds,
    upcoming_view,
)
from core.accounts import Caller
from core.bots import list_bots
from core.browsing import names_of
from core.errors import Conflict, InvalidInput, NotFound
from core.explain import history, told_of, upcoming
from core.overviews import outcomes_of, preview_schedule
from core.rows import database_now
from core.tasks import (
    cancel_task,
    create_task,
    delete_task,
    get_task,
    list_tasks,
    pause_task,
    preview_task,
    resume_task,
    trigger_task,
    update_task,
)
from models import Action, Bot, CatchUp, Contact, ConversationMode, Overlap, Task, TaskState

router = APIRouter(prefix="/tasks")

ON_A_PAGE = 50
HISTORY = 30
NEXT = 10
MOST_BOTS = 500
CHOICES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "action": (
        (Action.COMPLETE, "Say the prompt and have the bot answer"),
        (Action.RECEIVE, "Have the bot speak"),
        (Action.SEND, "Say the prompt; nobody answers"),
    ),
    "overlap": (
        (Overlap.SKIP, "Skip this one"),
        (Overlap.QUEUE, "Wait, and run when the other has ended"),
        (Overlap.ALLOW, "Run side by side"),
        (Overlap.CANCEL_PREVIOUS, "Cancel the other and run"),
    ),
    "catch_up": (
        (CatchUp.LATEST, "The latest of those missed runs"),
        (CatchUp.ALL, "All of those missed run, one after the other"),
        (CatchUp.NONE, "None runs"),
    ),
    "conversation_mode": (
        (ConversationMode.NEW, "A conversation of its own for every run"),
        (ConversationMode.ONE, "One conversation for all runs"),
    ),
}
BLANK = {
    "name": "",
    "description": "",
    "bot_id": "",
    "schedule": "",
    "timezone": "",
    "action": Action.COMPLETE.value,
    "overlap": Overlap.SKIP.value,
    "catch_up": CatchUp.LATEST.value,
    "conversation_mode": ConversationMode.NEW.value,
}


def _text(value: str) -> str:
    return value.replace("\r\n", "\n").strip()


def _typed(  # noqa: PLR0917 (each is a field of the form)
    name: Annotated[str, Form()] = "",
    description: Annotated[str, Form()] = "",
    bot_id: Annotated[str, Form()] = "",
    schedule: Annotated[str, Form()] = "",
    timezone: Annotated[str, Form()] = "",
    action: Annotated[str, Form()] = "",
    overlap: Annotated[str, Form()] = "",
    catch_up: Annotated[str, Form()] = "",
    conversation_mode: Annotated[str, Form()] = "",
) -> dict[str, str]:
    return {
        "name": _text(name),
        "description": _text(description),
        "bot_id": bot_id,
        "schedule": schedule.strip(),
        "timezone": timezone.strip(),
        "action": action or BLANK["action"],
        "overlap": overlap or BLANK["overlap"],
        "catch_up": catch_up or BLANK["catch_up"],
        "conversation_mode": conversation_mode or BLANK["conversation_mode"],
    }


Typed = Annotated[dict[str, str], Depends(_typed)]


@router.get("")
def show_tasks(request: Request, visitor: Visitor, before: str = "", q: str = "") -> Response:
    """A name that cannot be looked for says why, over an empty list."""
    q, found, wrong = q.strip(), [], None
    with context_of(request).transaction(visitor.account_id) as session:
        try:
            found = list_tasks(session, named=q or None, take=ON_A_PAGE + 1, before=before or None)
        except InvalidInput as error:
            wrong = str(error)
        shown = found[:ON_A_PAGE]
        outcomes = outcomes_of(session, [task.id for task, _ in shown])
        bots = names_of(session, Bot, [task.bot_id for task, _ in shown])
        rows = [
            row_view(task, clock, outcomes[task.id], bots.get(task.bot_id) if task.bot_id else None)
            for task, clock in shown
        ]
    return page_for(
        visitor,
        "tasks",
        "tasks.html",
        400 if wrong else 200,
        tasks=rows,
        q=q,
        wrong=wrong,
        older=address("/tasks", q=q, before=str(shown[-1][0].id)) if len(found) > ON_A_PAGE else None,
        newest=address("/tasks", q=q),
        first=not before,
    )


@router.get("/new")
def show_new(request: Request, visitor: Visitor) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        return _form_page(session, visitor, None, BLANK)


@router.get("/preview")
def preview(request: Request, visitor: Visitor, schedule: str = "", timezone: str = "") -> Response:
    """When a schedule that is being written is due; a part of the form."""
    with context_of(request).transaction(visitor.account_id) as session:
        return page("task_preview.html", **_preview(session, schedule.strip(), timezone.strip()))


@router.post("/new")
def create(request: Request, editor: Editor, typed: Typed) -> Response:
    context = context_of(request)
    try:
        with context.transaction(editor.account_id, actor=editor.name) as session:
            task = create_task(session, **{name: value or None for name, value in typed.items()})
    except (InvalidInput, NotFound) as error:
        with context.transaction(editor.account_id) as session:
            return _form_page(session, editor, None, typed, str(error))
    return RedirectResponse(f"/tasks/{task.id}", 303)


@router.get("/{task_id}")
def show_task(request: Request, visitor: Visitor, task_id: str) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        return _task_page(session, visitor, task_id)


@router.get("/{task_id}/edit")
def show_edit(request: Request, visitor: Visitor, task_id: str) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        task, _ = get_task(session, task_id)
        return _form_page(session, visitor, task, _stored(task))


@router.post("/{task_id}/edit")
def edit(request: Request, editor: Editor, task_id: str, typed: Typed) -> Response:
    """Changes what has changed: a schedule that is sent again as it is would set the clock anew."""
    context = context_of(request)
    try:
        with context.transaction(editor.account_id, actor=editor.name) as session:
            task, _ = get_task(session, task_id)
            stored = _stored(task)
            changed = {name: value or None for name, value in typed.items() if value != stored[name]}
            if changed:
                update_task(session, task_id, **changed)
    except InvalidInput as error:
        with context.transaction(editor.account_id) as session:
            return _form_page(session, editor, get_task(session, task_id)[0], typed, str(error))
    return RedirectResponse(f"/tasks/{task_id}", 303)


ACTS: Mapping[str, Callable[[Session, str], object]] = {
    "run": trigger_task,
    "pause": pause_task,
    "resume": resume_task,
    "cancel": cancel_task,
}


@router.post("/{task_id}/delete")
def delete(request: Request, editor: Editor, task_id: str) -> Response:
    with context_of(request).transaction(editor.account_id, actor=editor.name) as session:
        delete_task(session, task_id)
    return RedirectResponse("/tasks", 303)


@router.post("/{task_id}/{act}")
def act_on(request: Request, editor: Editor, task_id: str, act: str) -> Response:
    """Run, pause, resume, cancel; what speaks against it is said on the task's page."""
    if act not in ACTS:
        raise NotFound("There is nothing at this address.")
    context = context_of(request)
    try:
        with context.transaction(editor.account_id, actor=editor.name) as session:
            ACTS[act](session, task_id)
    except Conflict as error:
        with context.transaction(editor.account_id) as session:
            return _task_page(session, editor, task_id, str(error))
    return RedirectResponse(f"/tasks/{task_id}", 303)


def _task_page(session: Session, visitor: Caller, task_id: str, wrong: str | None = None) -> Response:
    task, clock = get_task(session, task_id)
    past = history(session, task.id, HISTORY)
    now = database_now(session)
    following = upcoming(session, preview_task(session, task.id, NEXT), task.timezone)
    bots = names_of(session, Bot, [task.bot_id])
    contacts = names_of(session, Contact, [task.contact_id])
    outcomes = outcomes_of(session, [task.id], HISTORY)[task.id]
    return page_for(
        visitor,
        "tasks",
        "task.html",
        409 if wrong else 200,
        wrong=wrong,
        id=str(task.id),
        title=task_title(task),
        description=task.description,
        state=task.state,
        paused=task.state == TaskState.PAUSED,
        pause_reason=task.pause_reason,
        paused_until=instant(task.paused_until, task.timezone) if task.paused_until else None,
        words=schedule_words(task),
        schedule=task.schedule,
        zone=task.timezone or "UTC",
        next=instant(clock.next_run_at, task.timezone) if clock.next_run_at else None,
        following=[upcoming_view(one, task.timezone) for one in following],
        bot=bots.get(task.bot_id) if task.bot_id else None,
        bot_id=str(task.bot_id) if task.bot_id else None,
        contact=contacts.get(task.contact_id) if task.contact_id else None,
        contact_id=str(task.contact_id) if task.contact_id else None,
        policies=_policies(task),
        outcomes=[outcome_view(one, task.timezone) for one in outcomes],
        runs=[run_row(run, task.timezone, told_of(run, now)) for run in past.runs],
        rate=rate_of(past.success_rate),
        counts=past.counts,
        took=seconds(past.took),
        late=seconds(past.late),
        tokens=past.tokens,
        conversations_path=filter_path("task", str(task.id)),
    )


def _policies(task: Task) -> list[tuple[str, str]]:
    names = {
        "action": "A run",
        "overlap": "While a run is under way",
        "catch_up": "After an outage",
        "conversation_mode": "Where it speaks",
    }
    found = [
        (words, dict(CHOICES[field]).get(getattr(task, field), getattr(task, field)))
        for field, words in names.items()
    ]
    if task.max_consecutive_failures:
        found.append(("Pauses itself after", f"{task.max_consecutive_failures} failures in a row"))
    return found


def _form_page(
    session: Session,
    visitor: Caller,
    task: Task | None,
    form: Mapping[str, str],
    wrong: str | None = None,
) -> Response:
    bots = [(str(bot.id), bot.name or "unnamed") for bot in list_bots(session, take=MOST_BOTS)]
    return page_for(
        visitor,
        "tasks",
        "task_form.html",
        400 if wrong else 200,
        task_id=str(task.id) if task else None,
        title=task_title(task) if task else None,
        form=form,
        bots=bots,
        choices=_choices(form),
        wrong=wrong,
        **_preview(session, form["schedule"], form["timezone"]),
    )


def _choices(form: Mapping[str, str]) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """With what is stored and not offered here, so that saving does not change it."""
    known = {name: {value for value, _ in offered} for name, offered in CHOICES.items()}
    return {
        name: offered if form[name] in known[name] else (*offered, (form[name], form[name]))
        for name, offered in CHOICES.items()
    }


def _stored(task: Task) -> dict[str, str]:
    values = {name: getattr(task, name) for name in BLANK}
    return {name: "" if value is None else str(value) for name, value in values.items()}


def _preview(session: Session, schedule: str, timezone: str) -> dict[str, Any]:
    """What a schedule means and when it is due, or what is wrong with it."""
    if not schedule:
        return {"meant": "Without a schedule it runs when somebody starts it.", "due": [], "why_not": None}
    try:
        due = preview_schedule(session, schedule, timezone or None, 5)
    except InvalidInput as error:
        return {"meant": None, "due": [], "why_not": str(error)}
    return {
        "meant": f"{schedule_words(schedule, timezone).capitalize()}, {timezone or 'UTC'}",
        "due": [upcoming_view(one, timezone or None) for one in due],
        "why_not": None,
    }
