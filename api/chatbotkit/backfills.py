"""Backfills of a task's past: our own, in the style of the dialect."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import Tenant
from api.chatbotkit.answers import also_answers, answer, returns
from api.chatbotkit.lists import ListPart, as_list, each, listed, pages
from api.chatbotkit.shapes import BackfillAnswer, BackfillPlan, BackfillRequest, Identified
from api.once import Route
from core import backfills
from core.backfills import Progress
from core.documents import backfill_document, plan_document
from core.tasks import get_task
from models import Job

router = APIRouter(tags=["backfill"], route_class=Route)


@router.post("/task/{taskId}/backfill/create", responses=returns(BackfillPlan))
@also_answers(409)
def create_backfill(session: Tenant, taskId: str, body: BackfillRequest) -> JSONResponse:
    """Runs the occurrences of a past range, oldest first, in new conversations.

    A dry run answers the same without an id, and stores nothing.
    """
    if body.dryRun:
        plan = backfills.plan_backfill(session, taskId, body.since, body.until, everything=body.everything)
        return answer(plan_document(plan))
    job, plan = backfills.create_backfill(
        session,
        taskId,
        body.since,
        body.until,
        everything=body.everything,
        at_once=1 if body.atOnce is None else body.atOnce,
        pace=body.pace,
        prompt=body.prompt,
    )
    return answer(plan_document(plan, job))


@router.get("/task/{taskId}/backfill/list", responses=pages(BackfillAnswer))
@as_list
def list_backfills(taskId: str, part: ListPart) -> Response:
    """The backfills of a task, newest first."""

    def fetch(session: Session, **window: Any) -> list[tuple[Job, Progress]]:
        task, _ = get_task(session, taskId)
        return backfills.list_backfills(session, task_id=task.id, **window)

    return listed(part, fetch, each(lambda pair: backfill_document(*pair)))


@router.get("/backfill/{backfillId}/fetch", responses=returns(BackfillAnswer))
def fetch_backfill(session: Tenant, backfillId: str) -> JSONResponse:
    """A backfill and how far it is."""
    return answer(backfill_document(*backfills.get_backfill(session, backfillId)))


@router.post("/backfill/{backfillId}/pause", responses=returns(Identified))
@also_answers(409)
def pause_backfill(session: Tenant, backfillId: str) -> JSONResponse:
    """Begins no further run; those under way go on. 409 when it has ended."""
    return answer({"id": str(backfills.pause_backfill(session, backfillId).id)})


@router.post("/backfill/{backfillId}/resume", responses=returns(Identified))
@also_answers(409)
def resume_backfill(session: Tenant, backfillId: str) -> JSONResponse:
    """Goes on after the last occurrence dealt with. 409 when it has ended."""
    return answer({"id": str(backfills.resume_backfill(session, backfillId).id)})


@router.post("/backfill/{backfillId}/cancel", responses=returns(Identified))
@also_answers(409)
def cancel_backfill(session: Tenant, backfillId: str) -> JSONResponse:
    """Ends it with its runs that wait or work. 409 when it has ended otherwise."""
    return answer({"id": str(backfills.cancel_backfill(session, backfillId).id)})
