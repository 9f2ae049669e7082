"""The conversations: found, looked through, and deleted many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from api.auth import context_of
from api.dashboard.cookies import Editor, Visitor
from api.dashboard.rendering import page_for
from api.dashboard.views import instant
from api.dashboard.views_conversations import chips_of, fresh_path, list_path, row_views, title_of
from core.accounts import Caller
from core.browsing import find_conversations, glimpses_of, names_of, selected_by
from core.conversations import get_conversation
from core.delete_jobs import create_delete_job, preview_deletion
from core.errors import Conflict, InvalidInput
from core.queries import Query, read_query
from models import Bot, Contact, Conversation, Task

router = APIRouter(prefix="/conversations")

ON_A_PAGE = 40
MOST_PICKED = 1000
WHAT = "conversations"


@router.get("")
def show_conversations(
    request: Request, visitor: Visitor, q: str = "", before: str = "", since: str = ""
) -> Response:
    """A query that cannot be read shows why, over an empty list. `since`: only those above one of it."""
    values: dict[str, Any] = {
        "q": q[:1000],
        "conversations": [],
        "older": None,
        "first": not before,
        "crowd": False,
    }
    query, wrong = Query(), None
    try:
        query = read_query(q)
        with context_of(request).transaction(visitor.account_id) as session:
            found = find_conversations(session, query, take=ON_A_PAGE + 1, before=before or None)
            shown, more = found[:ON_A_PAGE], len(found) > ON_A_PAGE
            if since:
                above = list(takewhile(lambda one: str(one.id) > since, shown))
                values["crowd"] = len(above) == ON_A_PAGE
                shown, more = [] if values["crowd"] else above, False
            values["conversations"] = row_views(shown, *_about(session, shown, query))
        if more:
            values["older"] = list_path(q, str(shown[-1].id))
    except InvalidInput as error:
        wrong = str(error)
    newest = values["conversations"][0].id if values["conversations"] else since
    return page_for(
        visitor,
        "conversations",
        "conversations.html",
        400 if wrong else 200,
        wrong=wrong,
        chips=chips_of(query),
        newest=list_path(q),
        fresh=fresh_path(q, newest),
        only=bool(since),
        **values,
    )


@router.get("/{conversation_id}/row")
def show_row(request: Request, visitor: Visitor, conversation_id: str, q: str = "") -> Response:
    """One conversation as it stands in a list."""
    query = read_query(q.replace("\0", " "))
    with context_of(request).transaction(visitor.account_id) as session:
        shown = [get_conversation(session, conversation_id)]
        one = row_views(shown, *_about(session, shown, query))[0]
    return page_for(visitor, "conversations", "row_part.html", one=one, q=q[:1000])


def _about(session: Session, shown: Sequence[Conversation], query: Query) -> tuple[Any, ...]:
    """What the rows of a list need besides themselves."""
    return (
        glimpses_of(session, [one.id for one in shown], query.words),
        names_of(session, Task, [one.task_id for one in shown]),
        names_of(session, Bot, [one.bot_id for one in shown]),
        names_of(session, Contact, [one.contact_id for one in shown]),
    )


@dataclass(frozen=True)
class Picked:
    """What is selected: by hand, or everything that a query finds."""

    q: str
    scope: str
    ids: list[str]


def _picked(
    q: Annotated[str, Form()] = "",
    scope: Annotated[str, Form()] = "picked",
    ids: Annotated[list[str] | None, Form()] = None,
) -> Picked:
    return Picked(q, scope, ids or [])


PickedPart = Annotated[Picked, Depends(_picked)]


@router.post("/delete/preview")
def preview_delete(request: Request, editor: Editor, picked: PickedPart) -> Response:
    with context_of(request).transaction(editor.account_id) as session:
        return _preview_page(session, editor, picked)


@router.post("/delete")
def delete(
    request: Request,
    editor: Editor,
    picked: PickedPart,
    confirmation: Annotated[str, Form(max_length=100)],
) -> Response:
    """Begins what was previewed; where something else is selected by now, it is previewed again."""
    context = context_of(request)
    try:
        with context.transaction(editor.account_id, actor=editor.name) as session:
            job, _ = create_delete_job(session, WHAT, _selected(session, picked), confirm=confirmation)
    except Conflict as error:
        with context.transaction(editor.account_id) as session:
            return _preview_page(session, editor, picked, str(error))
    return RedirectResponse(f"/jobs/{job.id}", 303)


def _selected(session: Session, picked: Picked) -> dict[str, Any]:
    if picked.scope == "all":
        return selected_by(session, read_query(picked.q))
    if not picked.ids:
        raise InvalidInput("Nothing is selected. Go back and select some conversations first.")
    if len(picked.ids) > MOST_PICKED:
        raise InvalidInput(f"Up to {MOST_PICKED} conversations are selected by hand; search for more.")
    return {"ids": picked.ids}


def _preview_page(session: Session, editor: Caller, picked: Picked, wrong: str | None = None) -> Response:
    preview = preview_deletion(session, WHAT, _selected(session, picked))
    counted = preview.counted
    sample = [session.get(Conversation, one) for one in counted.sample]
    return page_for(
        editor,
        "conversations",
        "delete_preview.html",
        409 if wrong else 200,
        wrong=wrong,
        q=picked.q,
        scope=picked.scope,
        ids=picked.ids if picked.scope != "all" else [],
        back=list_path(picked.q),
        count=counted.count,
        held=counted.held,
        oldest=instant(counted.oldest, None) if counted.oldest else None,
        newest=instant(counted.newest, None) if counted.newest else None,
        rate=str(preview.rate) if preview.rate else None,
        sample=[{"id": str(one.id), "title": title_of(one)} for one in sample if one is not None],
        confirmation=preview.confirmation,
    )
