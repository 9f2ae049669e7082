"""The runs, newest first, and each with its timeline and its transcript."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api.auth import context_of
from api.dashboard.cookies import Visitor
from api.dashboard.rendering import page, page_for
from api.dashboard.views import TRIGGERS, flower_link, message_view, run_view, step_view
from core.errors import InvalidInput
from core.messages import list_messages
from core.run_lists import NEWS, UNDER_WAY, WHYS, count_newer, find_runs, read_wanted
from core.runs import get_run
from core.tasks import tasks_by_id
from models import OPEN, RunState, Trigger

router = APIRouter()

ON_A_PAGE = 50
MESSAGES_ON_A_PAGE = 200
LAST_SEQ = 2**31 - 1


FILTERS = ("state", "error", "trigger", "task", "after", "before")
CHIPS = (("", "All"), (UNDER_WAY, "under way"), *((one, one) for one in RunState if one not in OPEN))


def _given(  # noqa: PLR0917 (each is a field of the form)
    state: str = "", error: str = "", trigger: str = "", task: str = "", after: str = "", before: str = ""
) -> dict[str, str]:
    """What is filtered by, as the address says it; what is empty is left out of it."""
    values = zip(FILTERS, (state, error, trigger, task, after, before), strict=True)
    return {name: value.strip()[:1000] for name, value in values if value.strip()}


Given = Annotated[dict[str, str], Depends(_given)]


def runs_path(given: Mapping[str, str], **more: str) -> str:
    """The address of a list that is filtered so."""
    words = urlencode({name: value for name, value in {**given, **more}.items() if value}, errors="replace")
    return f"/runs?{words}" if words else "/runs"


@router.get("/")
@router.get("/runs")
def show_runs(request: Request, visitor: Visitor, given: Given, cursor: str = "") -> Response:
    """A filter that cannot be read says why, over an empty list. `/` is the same page."""
    runs, tasks, wrong = [], {}, None
    try:
        wanted = read_wanted(given)
        with context_of(request).transaction(visitor.account_id) as session:
            runs = find_runs(session, wanted, take=ON_A_PAGE + 1, before=cursor or None)
            tasks = tasks_by_id(session, {run.task_id for run in runs if run.task_id})
    except InvalidInput as error:
        wrong = str(error)
    views = [run_view(run, tasks.get(run.task_id) if run.task_id else None) for run in runs[:ON_A_PAGE]]
    return page_for(
        visitor,
        "runs",
        "runs.html",
        400 if wrong else 200,
        wrong=wrong,
        runs=views,
        given={name: given.get(name, "") for name in FILTERS},
        filtered=bool(given),
        chips=[
            (runs_path({**given, "state": one}), words, one == given.get("state", "")) for one, words in CHIPS
        ],
        whys=WHYS,
        triggers=[(one, TRIGGERS[one]) for one in Trigger],
        older=runs_path(given, cursor=views[-1].id) if len(runs) > ON_A_PAGE else None,
        newest=runs_path(given),
        news=runs_path(given, than=views[0].id).replace("/runs", "/runs/newer", 1) if views else None,
        first=not cursor,
    )


@router.get("/runs/newer")
def show_newer(request: Request, visitor: Visitor, given: Given, than: str = "") -> Response:
    """How many runs have come since a list was shown; a part of it, which asks again by itself."""
    count = 0
    if than:
        with context_of(request).transaction(visitor.account_id) as session:
            count = count_newer(session, read_wanted(given), than)
    again = runs_path(given, than=than).replace("/runs", "/runs/newer", 1)
    return page("runs_newer.html", count=count, most=NEWS, newest=runs_path(given), news=again)


@router.get("/runs/{run_id}/row")
def show_row(request: Request, visitor: Visitor, run_id: str) -> Response:
    """A run as it stands in a list."""
    with context_of(request).transaction(visitor.account_id) as session:
        run, _ = get_run(session, run_id)
        task = tasks_by_id(session, [run.task_id]).get(run.task_id) if run.task_id else None
    return page("run_row_part.html", run=run_view(run, task))


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
