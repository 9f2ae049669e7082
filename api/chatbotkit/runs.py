"""Runs with their timelines: our own, in the style of the dialect."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from api.auth import Tenant
from api.chatbotkit import lists
from api.chatbotkit.answers import answer, returns
from api.chatbotkit.lists import ListPart, alternatives
from api.chatbotkit.shapes import Identified, Page, RunAnswer
from core import runs
from core.documents import run_document

router = APIRouter(prefix="/run", tags=["run"])


@router.get("/list", responses=returns(Page[RunAnswer]))
def list_runs(
    session: Tenant,
    part: ListPart,
    task_id: Annotated[str, Query(alias="taskId", description="One task, or several by commas.")] = "",
    state: Annotated[str, Query(description="One state, or several by commas.")] = "",
) -> JSONResponse:
    """Every occurrence and turn, newest first: what ran, what was skipped or missed, and why."""
    found = runs.list_runs(
        session, task_id=alternatives(task_id), states=alternatives(state) or (), **part.window()
    )
    return answer(lists.answer([run_document(run) for run in found]))


@router.get("/{runId}/fetch", responses=returns(RunAnswer))
def fetch_run(session: Tenant, runId: str) -> JSONResponse:
    """A run and its timeline."""
    return answer(run_document(*runs.get_run(session, runId)))


@router.post("/{runId}/cancel", responses=returns(Identified))
def cancel_run(session: Tenant, runId: str) -> JSONResponse:
    """Ends a run that waits or works; 409 when it has ended otherwise."""
    return answer({"id": str(runs.cancel_run(session, runId).id)})
