"""One conversation: what was said, what it is linked to, how it ran; edited, revealed and deleted."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Form, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from api.auth import context_of
from api.dashboard.cookies import Editor, Visitor, own_form
from api.dashboard.rendering import page_for
from api.dashboard.views import instant, task_title
from api.dashboard.views_conversations import (
    filter_path,
    is_active,
    list_path,
    run_line,
    said_view,
    title_of,
)
from api.pace import refuse_quota, refuse_rate
from api.streams import sent
from core.accounts import Caller
from core.attachments import list_attachments, open_attachment
from core.audit import Action
from core.browsing import names_of
from core.contacts import list_conversations_of
from core.conversations import (
    delete_conversation,
    get_conversation,
    update_conversation,
)
from core.conversing import Reach, say
from core.errors import InvalidInput, KeyReused, LimitReached, NotAuthorized, PrivacyFailed
from core.holds import is_held
from core.idempotency import begin, finish, make_key
from core.messages import get_message, list_messages
from core.overviews import runs_in, size_of
from core.sight import SCOPE, seen_messages
from core.tasks import tasks_by_id
from models import Bot, Contact, Conversation, ConversationStatus, Dataset, Skillset, TaskState

router = APIRouter(prefix="/conversations/{conversation_id}")

ON_A_PAGE = 100
LAST_SEQ = 2**31 - 1
OTHERS = 6
ATTACHED = 50


@router.get("")
def show_conversation(
    request: Request,
    visitor: Visitor,
    conversation_id: str,
    after: Annotated[int, Query(ge=0, le=LAST_SEQ)] = 0,
) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        return _conversation_page(session, visitor, get_conversation(session, conversation_id), after=after)


@router.post("/say")
def say_something(
    request: Request,
    editor: Editor,
    conversation_id: str,
    once: Annotated[str, Form(max_length=100)] = "",
    words: Annotated[str, Form()] = "",
) -> Response:
    """Goes on with the conversation: a bot answers, now or after the turn that is under way.

    A form that is sent twice says it once.
    """
    context, doorkeeper = context_of(request), request.app.state.doorkeeper
    said = words.replace("\r\n", "\n")
    try:
        refuse_rate(doorkeeper, editor)
        with context.transaction(editor.account_id, actor=editor.name) as session:
            key = make_key(once, f"page:{editor.account_id}", conversation_id, said) if once else None
            if key is None or begin(session, key) is None:
                refuse_quota(session, doorkeeper, editor.account_id, editor.limits)
                message = say(session, Reach(), conversation_id, said).message
                if key:
                    finish(session, key, {"messageId": str(message.id)})
            end = end_of(get_conversation(session, conversation_id))
    except (InvalidInput, KeyReused, LimitReached, PrivacyFailed) as error:
        with context.transaction(editor.account_id) as session:
            conversation = get_conversation(session, conversation_id)
            after = end_of(conversation)
            return _conversation_page(session, editor, conversation, after=after, unsaid=(said, str(error)))
    return RedirectResponse(f"/conversations/{conversation_id}?after={end}#say", 303)


def end_of(conversation: Conversation) -> int:
    """Where a page begins that shows the last of a conversation."""
    return max(0, conversation.next_seq - 1 - ON_A_PAGE // 2)


def _typed(
    name: Annotated[str, Form()] = "",
    description: Annotated[str, Form()] = "",
    meta: Annotated[str, Form()] = "{}",
) -> dict[str, str]:
    return {"name": name, "description": description, "meta": meta}


Typed = Annotated[dict[str, str], Depends(_typed)]


@router.post("/edit")
def edit(request: Request, editor: Editor, conversation_id: str, typed: Typed) -> Response:
    """Changes what has changed; what cannot be stored is said above the form."""
    context = context_of(request)
    try:
        with context.transaction(editor.account_id, actor=editor.name) as session:
            _change(session, get_conversation(session, conversation_id), **typed)
    except InvalidInput as error:
        with context.transaction(editor.account_id) as session:
            conversation = get_conversation(session, conversation_id)
            return _conversation_page(session, editor, conversation, wrong=str(error), typed=typed)
    return RedirectResponse(f"/conversations/{conversation_id}", 303)


def _change(session: Session, conversation: Conversation, name: str, description: str, meta: str) -> None:
    try:
        given = json.loads(meta.strip() or "{}")
    except (ValueError, RecursionError):
        raise InvalidInput('The meta must be a JSON object, such as {"order": 42}.') from None
    if not isinstance(given, dict):
        raise InvalidInput('The meta must be a JSON object, such as {"order": 42}.')
    fields: dict[str, Any] = {}
    for field, value in (("name", name), ("description", description)):
        plain = value.replace("\r\n", "\n").strip() or None
        if plain != (getattr(conversation, field) or None):
            fields[field] = plain
    if given != conversation.meta:
        if conversation.meta.keys() - given.keys():
            update_conversation(session, conversation.id, meta=None)  # an update only adds and replaces
        fields["meta"] = given
    if fields:
        update_conversation(session, conversation.id, **fields)


@router.post("/messages/{message_id}/reveal")
def reveal(request: Request, visitor: Visitor, conversation_id: str, message_id: str) -> Response:
    """A message with the values behind its tokens; whoever looks is written down."""
    own_form(request)
    if SCOPE not in visitor.scopes:
        raise NotAuthorized(f"This login may not {SCOPE}.")
    with context_of(request).transaction(visitor.account_id, actor=visitor.name) as session:
        message = get_message(session, conversation_id, message_id)
        seen = seen_messages(session, [message], Action.REVEAL)[0]
        said = said_view(seen, may_see=True, revealed=True)
    part = request.headers.get("hx-request") == "true"
    return page_for(
        visitor,
        "conversations",
        "revealed_part.html" if part else "revealed.html",
        said=said,
        seq=message.seq,
        conversation_id=conversation_id,
    )


@router.get("/delete")
def preview_delete(request: Request, visitor: Visitor, conversation_id: str) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        conversation = get_conversation(session, conversation_id)
        messages, attachments = size_of(session, conversation)
        return page_for(
            visitor,
            "conversations",
            "delete_conversation.html",
            id=str(conversation.id),
            title=title_of(conversation),
            messages=messages,
            attachments=attachments,
            held=is_held(session, conversation.id),
            created=instant(conversation.created_at, None),
        )


@router.post("/delete")
def delete(request: Request, editor: Editor, conversation_id: str) -> Response:
    with context_of(request).transaction(editor.account_id, actor=editor.name) as session:
        delete_conversation(session, conversation_id)
    return RedirectResponse("/conversations", 303)


@router.get("/attachments/{attachment_id}")
def download(request: Request, visitor: Visitor, conversation_id: str, attachment_id: str) -> Response:
    context = context_of(request)
    with context.transaction(visitor.account_id) as session:
        stored = open_attachment(session, conversation_id, attachment_id)
    return sent(context, stored)


def _conversation_page(
    session: Session,
    visitor: Caller,
    conversation: Conversation,
    *,
    after: int = 0,
    wrong: str | None = None,
    typed: dict[str, str] | None = None,
    unsaid: tuple[str, str] | None = None,
) -> Response:
    messages = list_messages(session, conversation.id, take=ON_A_PAGE + 1, after=after)
    shown = messages[:ON_A_PAGE]
    runs, steps = runs_in(session, conversation)
    tasks = tasks_by_id(session, [conversation.task_id] if conversation.task_id else [])
    task = tasks.get(conversation.task_id) if conversation.task_id else None
    may_see = SCOPE in visitor.scopes
    stored = {
        "name": conversation.name or "",
        "description": conversation.description or "",
        "meta": json.dumps(conversation.meta, indent=2, ensure_ascii=False),
    }
    return page_for(
        visitor,
        "conversations",
        "conversation.html",
        400 if wrong or unsaid else 200,
        id=str(conversation.id),
        title=title_of(conversation, task.name if task else None),
        description=conversation.description,
        archived=conversation.status == ConversationStatus.ARCHIVED,
        source=conversation.source,
        source_path=filter_path("source", conversation.source) if '"' not in conversation.source else None,
        model=conversation.model,
        created=instant(conversation.created_at, task.timezone if task else None),
        messages=[said_view(one, may_see=may_see) for one in shown],
        after=after,
        later=shown[-1].seq if len(messages) > ON_A_PAGE else None,
        last=shown[-1].seq if shown else after,
        end=end_of(conversation),
        once=str(uuid4()),
        unsaid=unsaid,
        runs=[run_line(run, steps[run.id]) for run in runs],
        active=is_active(runs),
        task=task_title(task) if task and task.state != TaskState.DELETED else None,
        task_id=str(conversation.task_id) if conversation.task_id else None,
        run_id=str(conversation.run_id) if conversation.run_id else None,
        form=typed or stored,
        wrong=wrong,
        **_linked(session, conversation),
    )


def _linked(session: Session, one: Conversation) -> dict[str, Any]:
    """The bot, what it draws on, the contact with its other conversations, and the attachments."""
    links = []
    for kind, table, row_id in (
        ("Bot", Bot, one.bot_id),
        ("Dataset", Dataset, one.dataset_id),
        ("Skillset", Skillset, one.skillset_id),
        ("Contact", Contact, one.contact_id),
    ):
        if row_id is not None:
            names = names_of(session, table, [row_id])
            links.append((kind, names.get(row_id) or "unnamed", f"/{kind.lower()}s/{row_id}"))
    others = []
    if one.contact_id is not None:
        found = list_conversations_of(session, contact_id=one.contact_id, take=OTHERS)
        others = [(str(other.id), title_of(other)) for other in found if other.id != one.id]
    attached = list_attachments(session, one.id, take=ATTACHED)
    return {
        "links": links,
        "others": others,
        "others_path": list_path(f"contact:{one.contact_id}") if one.contact_id else None,
        "attachments": [
            {"id": str(attachment.id), "name": blob.name or "attachment", "size": _size(blob.size)}
            for attachment, blob in attached
        ],
    }


def _size(size: int | None) -> str:
    if size is None:
        return ""
    return (
        f"{size} B"
        if size < 1024
        else f"{size / 1024:.0f} KB"
        if size < 1024**2
        else f"{size / 1024**2:.1f} MB"
    )
