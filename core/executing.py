"""An ability tried on its own: what a bot would do with it, asked for by a person."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from typing import Any

from core.asking import asked
from core.chat.history import BYTES_PER_TOKEN, StoredMessage
from core.chat.provider import Deadline, ToolCall
from core.context import Context
from core.equipping import concealing, restoring
from core.notes import MemoryNotes
from core.outcomes import Failure
from core.shield import Shield
from core.skills.abilities import Skill
from core.skills.doing import Means, prepared, shortened
from core.skills.skill import Acting
from core.talk import Desk, Talk, activity
from core.telling import Telling
from models import ErrorClass, MessageType


@dataclass(frozen=True)
class Execution:
    """Who tries what with which words; it is stored nowhere. With a shield the model is shown tokens."""

    id: uuid.UUID
    skill: Skill
    text: str
    acting: Acting
    deadline: Deadline
    shield: Shield | None = None


def execute(context: Context, execution: Execution, notes: MemoryNotes, telling: Telling) -> dict[str, Any]:
    """Carries the ability out: `{usage, result or error, messages}`.

    A text that is a JSON object is its arguments; for an ability that takes one text it is that text. Else
    the model is asked to make arguments of it, and has to call the ability.

    Raises:
        Failure, Postponed: the model made none. What `notes.wanted` raises.

    """
    call = _call(context, execution, notes, telling)
    request = activity("request", call)
    (kept,) = notes.keep([request], None)
    telling.tell("message", {"type": kept.type.value, "text": kept.text, "meta": dict(kept.meta)})
    means = _means(context, execution, notes)
    do = prepared(execution.skill, replace(call, id=kept.key), means)
    most = context.settings.history_tokens * BYTES_PER_TOKEN
    response = notes.respond(call, lambda session: shortened(do(session), most))
    messages = [{"type": e.type.value, "text": e.text, "meta": dict(e.meta)} for e in (kept, response)]
    telling.tell("message", messages[1])
    result = response.meta["activity"]["function"]["result"]
    failed = isinstance(result, dict) and result.keys() == {"error"} and isinstance(result["error"], dict)
    said = {"error": result["error"]["message"]} if failed else {"result": result}
    return {"usage": {"token": sum(one.input_tokens + one.output_tokens for one in notes.used)}, **said} | {
        "messages": messages
    }


def _means(context: Context, execution: Execution, notes: MemoryNotes) -> Means:
    deadline, shield = execution.deadline.while_wanted(notes.wanted), execution.shield
    if shield is None:
        return Means(context, execution.acting, deadline, lambda value: value)
    return Means(context, execution.acting, deadline, restoring(shield), concealing(shield))


def _call(context: Context, execution: Execution, notes: MemoryNotes, telling: Telling) -> ToolCall:
    skill = execution.skill
    direct = _direct(skill, execution.text)
    if direct is not None:
        return ToolCall("", skill.name, direct)
    words = execution.text if execution.shield is None else execution.shield.said(execution.text).text
    talk = Talk(
        id=execution.id,
        account_id=execution.acting.account_id,
        has_bot=True,
        backstory="Call the function with what the user says.",
        model=None,
        history=(StoredMessage(MessageType.USER, words, {}),),
        deadline=execution.deadline,
        skills={skill.name: skill},
        forced=skill.name,
    )
    answer = asked(Desk(context, notes, telling, {}), talk)
    notes.keep([], answer)
    call = next((call for call in answer.calls if call.name == skill.name), None)
    if call is None:
        raise Failure(ErrorClass.PROVIDER_ERROR, "not_called", final=True)
    return call


def _direct(skill: Skill, text: str) -> dict[str, Any] | None:
    """The arguments, where it takes no model to make them of a text."""
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if isinstance(said, dict):
        return said
    properties, required = skill.parameters.get("properties", {}), skill.parameters.get("required", [])
    if not properties or (not text.strip() and not required):
        return {}
    names = required or list(properties)
    if len(names) == 1 and properties.get(names[0], {}).get("type") == "string":
        return {names[0]: text}
    return None
