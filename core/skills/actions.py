"""The actions that abilities may carry out within Crontalk, by their names (docs/skills.md).

An ability's document is `{"type": "<action>", …settings}`; what the model gives are the arguments.
"""

from __future__ import annotations

from collections.abc import Mapping

from core.skills import action_contacts, action_memories, action_messages, action_tasks
from core.skills.action import Action as Action  # noqa: PLC0414 (told on: whoever carries actions out needs it)

ACTIONS: Mapping[str, Action] = {
    **action_tasks.ACTIONS,
    **action_messages.ACTIONS,
    **action_contacts.ACTIONS,
    **action_memories.ACTIONS,
}
