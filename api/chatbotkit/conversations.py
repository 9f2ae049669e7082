"""Conversations and their messages: contract sections 3.3 and 3.4, as far as they are read and deleted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from api.auth import Tenant
from api.chatbotkit import lists
from api.chatbotkit.answers import answer, returns
from api.chatbotkit.lists import ListPart, alternatives
from api.chatbotkit.shapes import ConversationAnswer, Identified, MessageAnswer, Page
from core import conversations
from core.documents import conversation_document, message_document
from core.messages import page_messages

router = APIRouter(prefix="/conversation", tags=["conversation"])


@router.get("/list", responses=returns(Page[ConversationAnswer]))
def list_conversations(
    session: Tenant,
    part: ListPart,
    task_id: Annotated[str, Query(alias="taskId", description="One task, or several by commas.")] = "",
    bot_id: Annotated[str, Query(alias="botId", description="One bot, or several by commas.")] = "",
) -> JSONResponse:
    """The account's conversations, newest first."""
    found = conversations.list_conversations(
        session, task_id=alternatives(task_id), bot_id=alternatives(bot_id), **part.window()
    )
    return answer(lists.answer([conversation_document(conversation) for conversation in found]))


@router.get("/{conversationId}/fetch", responses=returns(ConversationAnswer))
def fetch_conversation(session: Tenant, conversationId: str) -> JSONResponse:
    return answer(conversation_document(conversations.get_conversation(session, conversationId)))


@router.get("/{conversationId}/message/list", responses=returns(Page[MessageAnswer]))
def list_messages(session: Tenant, conversationId: str, part: ListPart) -> JSONResponse:
    """The messages of a conversation, oldest first."""
    found = page_messages(session, conversationId, **part.window(ascending=True))
    return answer(lists.answer([message_document(message) for message in found]))


@router.post("/{conversationId}/delete", responses=returns(Identified))
def delete_conversation(session: Tenant, conversationId: str) -> JSONResponse:
    """Removes the conversation with its messages; a turn under way is cancelled."""
    return answer({"id": str(conversations.delete_conversation(session, conversationId))})
