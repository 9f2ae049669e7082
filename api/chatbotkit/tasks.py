"""Tasks: contract section 3.8, and our own pause, resume and preview beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import Tenant
from api.chatbotkit.answers import CSV, also_answers, answer, returns
from api.chatbotkit.lists import ListPart, alternatives, as_export, as_list, listed, pages
from api.chatbotkit.shapes import (
    ExplanationAnswer,
    HistoryAnswer,
    Identified,
    Instants,
    PauseRequest,
    TaskAnswer,
    TaskRequest,
    Triggered,
    TriggerRequest,
)
from api.once import Route
from core import explain, tasks
from core.documents import (
    Document,
    explanation_document,
    history_document,
    milliseconds,
    task_document,
    task_status,
)
from core.errors import InvalidInput
from core.runs import latest_runs
from core.schedule import read_instant
from models import Run, Task, TaskClock

router = APIRouter(prefix="/task", tags=["task"], route_class=Route)

VERB_NAMES = {
    "name": "name",
    "description": "description",
    "botId": "bot_id",
    "contactId": "contact_id",
    "schedule": "schedule",
    "timezone": "timezone",
    "action": "action",
    "maxTime": "max_time_ms",
    "maxIterations": "max_iterations",
    "maxCalls": "max_calls",
    "maxTokens": "max_tokens",
    "maxCost": "max_cost",
    "maxTokensPerDay": "max_tokens_per_day",
    "maxCostPerDay": "max_cost_per_day",
    "overlap": "overlap",
    "catchUp": "catch_up",
    "catchUpWindow": "catch_up_window",
    "catchUpMax": "catch_up_max",
    "jitter": "jitter",
    "startsAt": "starts_at",
    "expiresAt": "expires_at",
    "maxAttempts": "max_attempts",
    "retryDelay": "retry_delay",
    "retryOn": "retry_on",
    "conversationMode": "conversation_mode",
    "sessionDuration": "session_duration",
    "assertions": "assertions",
    "maxConsecutiveFailures": "max_consecutive_failures",
    "meta": "meta",
}
ASSERTIONS = {"contains": "contains", "notContains": "not_contains", "minLength": "min_length"}
RUNNING = {"running": True, "idle": False}


def _fields(body: TaskRequest) -> dict[str, Any]:
    """A null action means the default, as an absent one does."""
    fields = body.given(VERB_NAMES)
    if fields.get("action", "") is None:
        del fields["action"]
    if body.assertions is not None:
        given = body.assertions.model_dump(exclude_none=True)
        fields["assertions"] = {ASSERTIONS[name]: value for name, value in given.items()}
    return fields


def _document(task: Task, clock: TaskClock, latest: Run | None) -> Document:
    return task_document(task, clock) | task_status(latest)


def task_documents(session: Session, found: Sequence[tuple[Task, TaskClock]]) -> list[Document]:
    """A page of tasks, their status looked up at once."""
    latest = latest_runs(session, [task.id for task, _ in found])
    return [_document(task, clock, latest.get(task.id)) for task, clock in found]


@router.post("/create", responses=returns(Identified))
def create_task(session: Tenant, body: TaskRequest) -> JSONResponse:
    """A new task. Without a schedule it runs when it is triggered."""
    return answer({"id": str(tasks.create_task(session, **_fields(body)).id)})


@router.get("/list", responses=pages(TaskAnswer))
@as_list
def list_tasks(
    part: ListPart,
    bot_id: Annotated[str, Query(alias="botId", description="One bot, or several by commas.")] = "",
    contact_id: Annotated[
        str, Query(alias="contactId", description="One contact, or several by commas.")
    ] = "",
    status: Annotated[str, Query(description="idle or running.")] = "",
) -> Response:
    """The account's tasks, newest first."""
    if status and status not in RUNNING:
        return listed(part, lambda *_args, **_window: [], task_documents)
    fetch = partial(
        tasks.list_tasks,
        bot_id=alternatives(bot_id),
        contact_id=alternatives(contact_id),
        running=RUNNING.get(status),
    )
    return listed(part, fetch, task_documents)


@router.get("/export", responses=pages(TaskAnswer, CSV))
@as_export
def export_tasks(part: ListPart) -> Response:
    """The account's tasks, newest first, also as CSV."""
    return listed(part, tasks.list_tasks, task_documents)


@router.get("/{taskId}/fetch", responses=returns(TaskAnswer))
def fetch_task(session: Tenant, taskId: str) -> JSONResponse:
    """A task, and what became of its latest run."""
    task, clock = tasks.get_task(session, taskId)
    return answer(_document(task, clock, latest_runs(session, [task.id]).get(task.id)))


@router.post("/{taskId}/update", responses=returns(Identified))
def update_task(session: Tenant, taskId: str, body: TaskRequest) -> JSONResponse:
    """Changes the fields that are sent; null clears. A sent schedule or timezone sets the next run anew."""
    return answer({"id": str(tasks.update_task(session, taskId, **_fields(body)).id)})


@router.post("/{taskId}/delete", responses=returns(Identified))
@also_answers(409)
def delete_task(session: Tenant, taskId: str) -> JSONResponse:
    """Deletes the task; its runs in flight are cancelled and its conversations stay."""
    return answer({"id": str(tasks.delete_task(session, taskId))})


@router.post("/{taskId}/trigger", responses=returns(Triggered))
@also_answers(409)
def trigger_task(session: Tenant, taskId: str, body: TriggerRequest) -> JSONResponse:
    """Starts a run in the background. 409 while one is under way. The schedule does not change.

    With a prompt this one run is told something else; the task keeps its own.
    """
    if body.prompt is not None and body.description is not None:
        raise InvalidInput("prompt and description are two names of one thing: send one of them.")
    prompt = body.description if body.prompt is None else body.prompt
    run = tasks.trigger_task(session, taskId, prompt)
    return answer({"id": str(run.task_id), "runId": str(run.id)})


@router.post("/{taskId}/cancel", responses=returns(Identified))
def cancel_task(session: Tenant, taskId: str) -> JSONResponse:
    """Cancels the run under way; 200 as well when there is none."""
    return answer({"id": str(tasks.cancel_task(session, taskId))})


@router.post("/{taskId}/pause", responses=returns(Identified))
def pause_task(session: Tenant, taskId: str, body: PauseRequest | None = None) -> JSONResponse:
    """Stops the schedule, for good or until an instant; a run under way goes on."""
    until = body.until if body else None
    return answer({"id": str(tasks.pause_task(session, taskId, until=until).id)})


@router.post("/{taskId}/resume", responses=returns(Identified))
def resume_task(session: Tenant, taskId: str) -> JSONResponse:
    """Starts the schedule from now; what fell into the pause does not run."""
    return answer({"id": str(tasks.resume_task(session, taskId).id)})


@router.get("/{taskId}/preview", responses=returns(Instants))
def preview_task(
    session: Tenant,
    taskId: str,
    count: Annotated[int, Query(description="1 to 1000 instants.")] = 10,
) -> JSONResponse:
    """The next instants the task is due."""
    return answer({"items": [milliseconds(at) for at in tasks.preview_task(session, taskId, count)]})


@router.get("/{taskId}/why", responses=returns(ExplanationAnswer))
def why(
    session: Tenant,
    taskId: str,
    at: Annotated[str, Query(description="Epoch milliseconds, or ISO 8601, local to the task's zone.")],
) -> JSONResponse:
    """Why the task ran, or did not, at an instant; a whole minute stands for all of its seconds."""
    task, _ = tasks.get_task(session, taskId)
    instant = read_instant(at, task.timezone)
    return answer(explanation_document(instant, explain.why(session, task.id, instant)))


@router.get("/{taskId}/history", responses=returns(HistoryAnswer))
def history(
    session: Tenant, taskId: str, take: Annotated[int, Query(description="1 to 1000 runs.")] = 50
) -> JSONResponse:
    """What came of the task's latest occurrences: outcomes, durations, lateness, tokens, cost."""
    return answer(history_document(explain.history(session, taskId, take)))
