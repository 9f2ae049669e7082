"""Abilities as they are stored: which actions there are, and what of a skillset a turn can use."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.chat.provider import Tool
from core.context import settings_of
from core.errors import InvalidInput
from core.outbound import Allowance
from core.privacy.declared import unmarked
from core.rows import own
from core.skills.actions import ACTIONS
from core.skills.requests import checked_request
from core.skills.schemas import LONGEST, NOTHING, checked_schema
from models import Ability, Dataset, Secret, Skillset

REQUEST = "request"
SEARCH = "search"
MOST = 128  # abilities that a turn can use: models lose their way long before
LONGEST_TOGETHER = 4 * LONGEST  # characters of the parameters of abilities that come along
NAME = 64
ASKED: dict[str, Any] = {
    "type": "object",
    "properties": {"search": {"type": "string", "minLength": 1, "maxLength": 2000}},
    "required": ["search"],
}


@dataclass(frozen=True)
class Skill:
    """An ability as a turn uses it. `name` is what the model calls it, `secret` the id of what it shows."""

    name: str
    description: str
    parameters: Mapping[str, Any] = field(repr=False)
    action: Mapping[str, Any] = field(repr=False)
    instruction: str = field(default="", repr=False)
    secret: str | None = None

    @property
    def leaves(self) -> bool:
        """It is carried out by somebody else, with no transaction open."""
        return self.action.get("type") == REQUEST

    @property
    def changes(self) -> bool:
        """It does something within Crontalk."""
        return self.action.get("type") in ACTIONS

    def tool(self) -> Tool:
        return Tool(self.name, self.description, unmarked(self.parameters))


def checked_action(session: Session, action: Any, parameters: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """An action and the schema of its arguments as they may be stored; no action is `{}`.

    Raises:
        InvalidInput: in a sentence that does not repeat what was sent. NotFound, NotAuthorized: its dataset.

    """
    schema = checked_schema(parameters)
    if action is None or action == {}:
        return {}, schema
    if not isinstance(action, Mapping) or not isinstance(action.get("type"), str):
        raise InvalidInput('The action must be an object with a "type".')
    kind = action["type"]
    if kind == REQUEST:
        allowance = Allowance.parse(settings_of(session).outbound_allow)
        return checked_request(action, schema or NOTHING, allowance), schema
    if kind == SEARCH:
        return _checked_search(session, action), schema
    if kind not in ACTIONS:
        known = ", ".join((REQUEST, SEARCH, *ACTIONS))
        raise InvalidInput(f"The type of the action must be one of {known}.")
    return ACTIONS[kind].checked(action), schema


def checked_abilities(session: Session, given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Abilities that come along with a turn, with their actions and parameters as they would be stored.

    Raises:
        InvalidInput: also where there are too many. NotFound, NotAuthorized: what one uses.

    """
    if len(given) > MOST:
        raise InvalidInput(f"At most {MOST} abilities come along with a turn.")
    if len(json.dumps([one.get("parameters") for one in given])) > LONGEST_TOGETHER:
        raise InvalidInput(f"The parameters of all abilities have up to {LONGEST_TOGETHER} characters.")
    found = []
    for one in given:
        action, parameters = checked_action(session, one.get("action"), one.get("parameters"))
        if one.get("secretId"):
            own(session, Secret, one["secretId"])
        found.append({**one, "action": action, "parameters": parameters})
    return found


def schema_of(action: Mapping[str, Any], parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments an ability takes: its own, or those its action takes by itself."""
    if parameters:
        return parameters
    kind = action.get("type", "")
    if kind == SEARCH:
        return ASKED
    return ACTIONS[kind].parameters if kind in ACTIONS else NOTHING


def skills_of(session: Session, skillsets: Iterable[uuid.UUID | None]) -> list[Skill]:
    """What these skillsets of the account can do, where they are enabled; named apart, in their order."""
    wanted = [one for one in skillsets if one is not None]
    if not wanted:
        return []
    query = (
        select(Ability)
        .join(Skillset, Skillset.id == Ability.skillset_id)
        .where(Ability.skillset_id.in_(wanted), Skillset.enabled)
        .order_by(Ability.skillset_id, Ability.id)
        .limit(MOST)
    )
    found = sorted(session.scalars(query), key=lambda ability: wanted.index(ability.skillset_id))
    return [skill_of(one) for one in found]


def skill_of(ability: Ability) -> Skill:
    """A stored ability as a turn uses it."""
    return skill(
        ability.name,
        ability.description,
        ability.parameters,
        ability.action,
        instruction=ability.instruction,
        secret=ability.links.get("secretId"),
    )


def skill(
    name: str,
    description: str,
    parameters: Mapping[str, Any],
    action: Mapping[str, Any],
    *,
    instruction: str = "",
    secret: str | None = None,
) -> Skill:
    """An ability as a turn uses it."""
    return Skill(
        function_name(name),
        description or instruction[:1000] or name,
        schema_of(action, parameters),
        action,
        instruction,
        secret,
    )


def told_apart(skills: Sequence[Skill], taken: Iterable[str] = ()) -> dict[str, Skill]:
    """By names of their own: a second one of a name is `name_2`. `taken`: names of the caller's functions."""
    used, found = set(taken), {}
    for one in skills[:MOST]:
        name, number = one.name, 1
        while name in used:
            number += 1
            name = f"{one.name[: NAME - 4]}_{number}"
        used.add(name)
        found[name] = replace(one, name=name)
    return found


def function_name(name: str) -> str:
    """What a model may call an ability: a word of at most 64 characters, as all servers take it."""
    word = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[:NAME]
    return word if word and not word[0].isdigit() else f"ability_{word}"[:NAME].rstrip("_")


def _checked_search(session: Session, action: Mapping[str, Any]) -> dict[str, Any]:
    if action.keys() - {"type", "datasetId"}:
        raise InvalidInput("A search takes a datasetId and nothing else.")
    if action.get("datasetId") is None:
        return {"type": SEARCH}
    return {"type": SEARCH, "datasetId": str(own(session, Dataset, str(action["datasetId"])).id)}
