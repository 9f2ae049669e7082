"""Runs with their timelines: our own, in the style of the dialect."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from api.auth import Tenant
from api.chatbotkit.answers import also_answers, answer, returns
from api.chatbotkit.lists import ListPart, alternatives, as_list, each, listed, pages
from api.chatbotkit.shapes import Identified, RunAnswer
from api.once import Route
from core import runs
from core.documents import run_document

router = APIRouter(prefix="/run", tags=["run"], route_class=Route)


@router.get("/list", responses=pages(RunAnswer))
@as_list
def list_runs(
    part: ListPart,
    task_id: Annotated[str, Query(alias="taskId", description="One task, or several by commas.")] = "",
    state: Annotated[str, Query(description="One state, or several by commas.")] = "",
) -> Response:
    """Every occurrence and turn, newest first: what ran, what was skipped or missed, and why."""
    fetch = partial(runs.list_runs, task_id=alternatives(task_id), states=alternatives(state) or ())
    return listed(part, fetch, each(run_document))


@router.get("/{runId}/fetch", responses=returns(RunAnswer))
def fetch_run(session: Tenant, runId: str) -> JSONResponse:
    """A run and its timeline."""
    return answer(run_document(*runs.get_run(session, runId)))


@router.post("/{runId}/cancel", responses=returns(Identified))
@also_answers(409)
def cancel_run(session: Tenant, runId: str) -> JSONResponse:
    """Ends a run that waits or works; 409 when it has ended otherwise."""
    return answer({"id": str(runs.cancel_run(session, runId).id)})
