"""The runs, newest first, and each with its timeline and its transcript."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.auth import context_of
from api.dashboard.cookies import Visitor
from api.dashboard.rendering import page_for
from api.dashboard.views import flower_link, message_view, run_view, step_view
from core.messages import list_messages
from core.runs import get_run, list_runs
from core.tasks import tasks_by_id
from models import OPEN

router = APIRouter()

ON_A_PAGE = 50
MESSAGES_ON_A_PAGE = 200
LAST_SEQ = 2**31 - 1


@router.get("/")
def show_runs(request: Request, visitor: Visitor, before: str | None = None) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        runs = list_runs(session, take=ON_A_PAGE + 1, before=before or None)
        tasks = tasks_by_id(session, {run.task_id for run in runs if run.task_id})
    views = [run_view(run, tasks.get(run.task_id) if run.task_id else None) for run in runs[:ON_A_PAGE]]
    older = views[-1].id if len(runs) > ON_A_PAGE else None
    return page_for(visitor, "runs", "runs.html", runs=views, older=older, first=not before)


@router.get("/runs/{run_id}")
def show_run(
    request: Request,
    visitor: Visitor,
    run_id: str,
    after: Annotated[int, Query(ge=0, le=LAST_SEQ)] = 0,
) -> Response:
    context = context_of(request)
    with context.transaction(visitor.account_id) as session:
        run, steps = get_run(session, run_id)
        tasks = tasks_by_id(session, [run.task_id] if run.task_id else [])
        messages = []
        if run.conversation_id:
            messages = list_messages(session, run.conversation_id, take=MESSAGES_ON_A_PAGE + 1, after=after)
    flower = context.settings.flower_url
    return page_for(
        visitor,
        "runs",
        "run.html",
        run=run_view(run, tasks.get(run.task_id) if run.task_id else None),
        steps=[step_view(step, flower) for step in steps],
        flower=flower_link(flower, run.delivery_id),
        messages=[message_view(message) for message in messages[:MESSAGES_ON_A_PAGE]],
        more=messages[MESSAGES_ON_A_PAGE - 1].seq if len(messages) > MESSAGES_ON_A_PAGE else None,
        after=after,
        active=run.state in OPEN,
    )
