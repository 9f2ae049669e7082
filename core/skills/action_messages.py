"""The action that speaks in another conversation: the bot says something there, or asks the bot there.

Only in conversations within the ability's scope, and never in the acting one. What was said under privacy
leaves anonymous (core/leaving.py), and the privacy of the other conversation applies to it as to all that is
said there. A turn that is asked for is one hop further than the turn that asks; after HOPS nobody asks on, so
that two conversations do not talk to each other for ever. One turn asks ASKS times.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, select, text
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput
from core.leaving import leaving
from core.messages import append
from core.privacy.policy import Direction
from core.skills.action import (
    Action,
    Json,
    action,
    an_id,
    at_once,
    checked_document,
    elsewhere,
    flag,
    hops_of,
    missing,
    one_of,
    schema,
)
from core.skills.skill import Acting, SkillFailed
from core.talking import complete
from core.usage import count_usage
from models import Conversation, MessageType

HOPS = 3
ASKS = 5  # of one turn
LONGEST = 16_000
SCOPES = ("contact", "bot", "account")
# Counted on the run, which is locked: with its effect, so that an attempt after a crash counts on.
ASK = text(
    "UPDATE runs SET params ="
    " params || jsonb_build_object('asks', COALESCE(CAST(params ->> 'asks' AS int), 0) + 1)"
    " WHERE id = :run AND account_id = :account RETURNING CAST(params ->> 'asks' AS int)"
)
LOCK = text("SELECT id FROM conversations WHERE id = :id AND account_id = :account FOR UPDATE NOWAIT")


def _conversation(value: Any) -> str:
    try:
        return str(an_id(value, "conversation"))
    except SkillFailed:
        raise InvalidInput("The conversation is the id of one.") from None


def _send(session: Session, acting: Acting, document: Json, arguments: Json) -> Any:
    words = arguments["text"]
    if not isinstance(words, str) or len(words) > LONGEST:
        raise InvalidInput(f"The text has up to {LONGEST} characters.")
    answers = bool(document.get("answer"))
    hops = hops_of(session, acting) + 1
    if answers and hops > HOPS:
        raise SkillFailed("too_far", "Conversations have asked each other often enough; a person goes on.")
    target = _target(session, acting, document, arguments)
    safe = leaving(session, acting.conversation_id).text(words)
    if at_once(session, LOCK, id=target.id, account=target.account_id) is None:
        raise missing("conversation")
    with elsewhere(session):
        if not answers:
            written = append(session, target.id, MessageType.BOT, safe, author=Direction.OUTBOUND)
            count_usage(session, target.account_id, messages=1)
            return {"conversationId": str(target.id), "id": str(written.message.id)}
        if (session.scalar(ASK, {"run": acting.run_id, "account": target.account_id}) or 0) > ASKS:
            raise SkillFailed("too_far", f"This turn has asked {ASKS} times already; that is enough.")
        run = complete(session, target.id, safe)
        run.params = {**run.params, "hops": hops}
        session.flush()
        return {"conversationId": str(target.id), "runId": str(run.id)}


def _target(session: Session, acting: Acting, document: Json, arguments: Json) -> Conversation:
    """Where it is said: as the document says, or the arguments, or in the newest other conversation."""
    fixed, given = document.get("conversation"), arguments.get("conversationId")
    where = [Conversation.account_id == account_of(session)]
    if fixed is not None:
        where.append(Conversation.id == an_id(fixed, "conversation"))
    else:
        where += _reach(acting, document)
        if given is not None:
            where.append(Conversation.id == an_id(given, "conversation"))
    if acting.conversation_id is not None:
        where.append(Conversation.id != acting.conversation_id)
    query = select(Conversation).where(*where).order_by(Conversation.id.desc()).limit(1)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise missing("conversation")
    return found


def _reach(acting: Acting, document: Json) -> list[ColumnElement[bool]]:
    scope = document.get("scope") or "contact"
    if scope == "account":
        return []
    if scope == "bot":
        if acting.bot_id is None:
            raise SkillFailed("no_bot", "This conversation has no bot whose conversations these could be.")
        return [Conversation.bot_id == acting.bot_id]
    if acting.contact_id is None:
        raise SkillFailed(
            "no_contact", "This conversation has no contact whose conversations these could be."
        )
    return [Conversation.contact_id == acting.contact_id]


ACTIONS: dict[str, Action] = {
    "message.send": action(
        "Says something in another conversation with the same person: the newest one, unless an id is given.",
        schema(
            {
                "text": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": LONGEST,
                    "description": "What is said.",
                },
                "conversationId": {"type": "string", "description": "The id of the other conversation."},
            },
            "text",
        ),
        lambda document: checked_document(
            document,
            scope=one_of("The scope", *SCOPES),
            conversation=_conversation,
            answer=flag("The answer"),
        ),
        _send,
    ),
}
