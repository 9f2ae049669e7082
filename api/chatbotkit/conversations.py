"""Conversations and their messages: contract sections 3.3 and 3.4, as far as they are read and deleted."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from api.auth import Tenant
from api.chatbotkit.answers import answer, returns, takes_session_tokens
from api.chatbotkit.lists import ListPart, alternatives, as_list, each, listed, pages
from api.chatbotkit.shapes import ConversationAnswer, Identified, MessageAnswer
from api.once import Route
from core import conversations
from core.documents import conversation_document, message_document
from core.messages import page_messages

router = APIRouter(prefix="/conversation", tags=["conversation"], route_class=Route)


@router.get("/list", responses=pages(ConversationAnswer))
@as_list
def list_conversations(
    part: ListPart,
    task_id: Annotated[str, Query(alias="taskId", description="One task, or several by commas.")] = "",
    bot_id: Annotated[str, Query(alias="botId", description="One bot, or several by commas.")] = "",
) -> Response:
    """The account's conversations, newest first."""
    fetch = partial(
        conversations.list_conversations, task_id=alternatives(task_id), bot_id=alternatives(bot_id)
    )
    return listed(part, fetch, each(conversation_document))


@router.get("/{conversationId}/fetch", responses=returns(ConversationAnswer))
def fetch_conversation(session: Tenant, conversationId: str) -> JSONResponse:
    """A conversation, without its messages."""
    return answer(conversation_document(conversations.get_conversation(session, conversationId)))


@router.get("/{conversationId}/message/list", responses=pages(MessageAnswer))
@takes_session_tokens
@as_list
def list_messages(conversationId: str, part: ListPart) -> Response:
    """The messages of a conversation, oldest first."""
    fetch = partial(page_messages, conversation_id=conversationId)
    return listed(part, fetch, each(message_document), ascending=True)


@router.post("/{conversationId}/delete", responses=returns(Identified))
def delete_conversation(session: Tenant, conversationId: str) -> JSONResponse:
    """Removes the conversation with its messages; a turn under way is cancelled."""
    return answer({"id": str(conversations.delete_conversation(session, conversationId))})
