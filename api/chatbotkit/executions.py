"""The runs of a task, as the contract's executions (section 3.8)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import Tenant
from api.chatbotkit.answers import also_answers, answer, returns
from api.chatbotkit.lists import ListPart, as_list, each, listed, pages
from api.chatbotkit.shapes import CancelledExecution, ExecutionAnswer
from api.once import Route
from core.documents import execution_document
from core.errors import NotFound
from core.runs import cancel_run, get_run, list_runs
from core.tasks import get_task
from models import OPEN, Run, RunState, Task

router = APIRouter(prefix="/task/{taskId}/execution", tags=["task"], route_class=Route)

# An occurrence that was skipped or missed never began, so it is no execution; `run/list` shows it.
STATES = {
    "running": OPEN,
    "idle": (RunState.SUCCEEDED, RunState.FAILED),
    "canceled": (RunState.CANCELLED,),
}
BEGUN = tuple(state for states in STATES.values() for state in states)


@router.get("/list", responses=pages(ExecutionAnswer))
@as_list
def list_executions(
    taskId: str,
    part: ListPart,
    status: Annotated[str, Query(description="idle, running or canceled.")] = "",
) -> Response:
    """What the task ran, newest first."""
    states = STATES.get(status, ()) if status else BEGUN

    def fetch(session: Session, **window: Any) -> list[tuple[Run, Task]]:
        task, _ = get_task(session, taskId)
        runs = list_runs(session, task_id=task.id, states=states, **window) if states else []
        return [(run, task) for run in runs]

    return listed(part, fetch, each(lambda pair: execution_document(*pair)))


@router.post("/{executionId}/cancel", responses=returns(CancelledExecution))
@also_answers(409)
def cancel_execution(session: Tenant, taskId: str, executionId: str) -> JSONResponse:
    """Ends the execution if it waits or works; 409 when it has ended otherwise."""
    task, _ = get_task(session, taskId)
    run, _ = get_run(session, executionId)
    if run.task_id != task.id:
        raise NotFound("This task has no such execution.")
    return answer({"id": str(cancel_run(session, run.id).id), "taskId": str(task.id)})
