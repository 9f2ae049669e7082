"""A task's past, run after all: asked for, previewed, begun; and the backfills that it has had."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from api.auth import context_of
from api.dashboard.cookies import Editor, Visitor, own_form
from api.dashboard.rendering import page_for
from api.dashboard.views import instant, money, task_title
from api.dashboard.views_jobs import job_view
from core.accounts import Caller
from core.backfills import MOST_A_MINUTE, MOST_AT_ONCE, Plan, create_backfill, list_backfills, plan_backfill
from core.errors import Conflict, InvalidInput
from core.idempotency import begin, finish, make_key
from core.tasks import get_task

router = APIRouter(prefix="/tasks/{task_id}/backfill")

ON_A_PAGE = 20
BLANK = {"since": "", "until": "", "everything": "", "at_once": "1", "pace": "", "prompt": ""}


def _typed(  # noqa: PLR0917 (each is a field of the form)
    since: Annotated[str, Form(max_length=60)] = "",
    until: Annotated[str, Form(max_length=60)] = "",
    everything: Annotated[str, Form(max_length=10)] = "",
    at_once: Annotated[str, Form(max_length=10)] = "1",
    pace: Annotated[str, Form(max_length=10)] = "",
    prompt: Annotated[str, Form()] = "",
) -> dict[str, str]:
    return {
        "since": since.strip(),
        "until": until.strip(),
        "everything": everything,
        "at_once": at_once.strip(),
        "pace": pace.strip(),
        "prompt": prompt.replace("\r\n", "\n").strip(),
    }


@dataclass(frozen=True)
class Sent:
    """What a preview sends along: how many runs it told of, and the name of this one form."""

    expected: str
    once: str


def _sent(
    expected: Annotated[str, Form(max_length=10)] = "", once: Annotated[str, Form(max_length=100)] = ""
) -> Sent:
    return Sent(expected, once)


Typed = Annotated[dict[str, str], Depends(_typed)]
SentPart = Annotated[Sent, Depends(_sent)]


@router.get("")
def show_backfills(request: Request, visitor: Visitor, task_id: str) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        return _page(session, visitor, task_id, BLANK)


@router.post("/preview", dependencies=[Depends(own_form)])
def preview(request: Request, visitor: Visitor, task_id: str, typed: Typed) -> Response:
    """What it would come to: nothing is stored."""
    with context_of(request).transaction(visitor.account_id) as session:
        try:
            plan = _planned(session, task_id, typed)
        except InvalidInput as error:
            return _page(session, visitor, task_id, typed, wrong=str(error))
        return _page(session, visitor, task_id, typed, plan=plan)


@router.post("")
def start(request: Request, editor: Editor, task_id: str, typed: Typed, sent: SentPart) -> Response:
    """Begins what was previewed; where it comes to something else by now, it is previewed again."""
    context = context_of(request)
    try:
        with context.transaction(editor.account_id, actor=editor.name) as session:
            job_id = _begun(session, editor, task_id, typed, sent)
    except (Conflict, InvalidInput) as error:
        with context.transaction(editor.account_id) as session:
            return _again(session, editor, task_id, typed, str(error))
    return RedirectResponse(f"/jobs/{job_id}", 303)


def _begun(session: Session, editor: Caller, task_id: str, typed: Mapping[str, str], sent: Sent) -> str:
    """The backfill's id: of the one that this form has begun before, or of a new one.

    Raises:
        Conflict: it comes to something else than was previewed. InvalidInput.

    """
    key = make_key(sent.once, f"page:{editor.account_id}", task_id, repr(typed)) if sent.once else None
    earlier = begin(session, key) if key else None
    if earlier is not None:
        return str(earlier["jobId"])
    plan = _planned(session, task_id, typed)
    if str(plan.to_run) != sent.expected:
        raise Conflict(f"It comes to {plan.to_run:,} runs: see below, and begin it.")
    job, _ = create_backfill(session, task_id, **_fields(typed))
    if key:
        finish(session, key, {"jobId": str(job.id)})
    return str(job.id)


def _again(session: Session, editor: Caller, task_id: str, typed: Mapping[str, str], wrong: str) -> Response:
    try:
        plan = _planned(session, task_id, typed)
    except InvalidInput:
        plan = None
    return _page(session, editor, task_id, typed, plan=plan, wrong=wrong)


def _planned(session: Session, task_id: str, typed: Mapping[str, str]) -> Plan:
    fields = _fields(typed)
    return plan_backfill(session, task_id, fields["since"], fields["until"], everything=fields["everything"])


def _fields(typed: Mapping[str, str]) -> dict[str, Any]:
    """The form as the verb takes it.

    Raises:
        InvalidInput: an end is missing, or a number is none.

    """
    for name, words in (("since", "From"), ("until", "Until")):
        if not typed[name]:
            raise InvalidInput(f"{words} is missing: a day or an instant, such as 2026-11-30T09:00.")
    return {
        "since": typed["since"],
        "until": typed["until"],
        "everything": bool(typed["everything"]),
        "at_once": _number(typed["at_once"] or "1", "At once"),
        "pace": _number(typed["pace"], "The pace") if typed["pace"] else None,
        "prompt": typed["prompt"] or None,
    }


def _number(words: str, label: str) -> int:
    if not (words.isascii() and words.isdecimal()):
        raise InvalidInput(f"{label} must be a whole number.")
    return int(words)


def _page(
    session: Session,
    visitor: Caller,
    task_id: str,
    form: Mapping[str, str],
    *,
    plan: Plan | None = None,
    wrong: str | None = None,
) -> Response:
    task, _ = get_task(session, task_id)
    found = list_backfills(session, task_id=task.id, take=ON_A_PAGE)
    zone = task.timezone
    return page_for(
        visitor,
        "tasks",
        "backfill.html",
        400 if wrong else 200,
        id=str(task.id),
        title=task_title(task),
        zone=zone or "UTC",
        form=form,
        wrong=wrong,
        once=str(uuid.uuid4()),
        most=(MOST_AT_ONCE, MOST_A_MINUTE),
        plan=plan,
        first=instant(plan.first, zone) if plan else None,
        last=instant(plan.last, zone) if plan else None,
        cost=money(plan.cost) if plan else None,
        jobs=[job_view(job, progress) for job, progress in found],
    )
