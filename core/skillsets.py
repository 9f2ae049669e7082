"""Skillsets and their abilities: what bots can do, as it is stored (core/skills carries it out)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import InvalidInput
from core.fields import ALIAS, checked_fields, kept, update_row
from core.rows import MetaFilter, checked_text, not_found, own, page
from core.skills.abilities import checked_action
from models import MAX_TEXT_BYTES, Ability, Bot, File, Secret, Skillset

FIELDS = {
    "name": "name",
    "description": "description",
    "alias": "alias",
    "blueprintId": "blueprint_id",
    "visibility": "visibility",
    "meta": "meta",
    "state": "state",
}
STATES = {"enabled": True, "disabled": False}
ABILITY_FIELDS = {
    "name": "name",
    "description": "description",
    "instruction": "instruction",
    "parameters": "parameters",
    "action": "action",
    "meta": "meta",
}
# What an ability uses, by the contract's names. Secrets, bots and files are the account's own; the others are
# not nouns of ours and are kept as they were given.
LINKS = ("secretId", "fileId", "botId", "spaceId", "blueprintId")
OWN_LINKS: dict[str, Any] = {"secretId": Secret, "botId": Bot, "fileId": File}


def create_skillset(session: Session, **fields: Any) -> Skillset:
    """A new skillset. Fields: see FIELDS; the state is `enabled` unless told.

    Raises:
        InvalidInput.

    """
    skillset = Skillset(account_id=account_of(session), **{"meta": {}, **checked_fields(_stated(fields))})
    session.add(skillset)
    session.flush()
    session.refresh(skillset)
    return skillset


def update_skillset(session: Session, skillset_id: uuid.UUID | str, **fields: Any) -> Skillset:
    """Changes the given fields only; null clears, meta is merged.

    Raises:
        InvalidInput, NotFound, NotAuthorized.

    """
    skillset = own(session, Skillset, skillset_id, lock=True)
    update_row(session, skillset, _stated(fields))
    return skillset


def get_skillset(session: Session, skillset_id: uuid.UUID | str) -> Skillset:
    """Raises NotFound, NotAuthorized."""
    return own(session, Skillset, skillset_id)


def list_skillsets(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Skillset]:
    """The account's skillsets, newest first or `ascending`."""
    return page(session, Skillset, take=take, before=before, ascending=ascending, meta=meta)


def delete_skillset(session: Session, skillset_id: uuid.UUID | str) -> uuid.UUID:
    """Removes a skillset with its abilities; bots and conversations lose their link to it."""
    skillset = own(session, Skillset, skillset_id, lock=True)
    session.delete(skillset)
    session.flush()
    return skillset.id


def create_ability(
    session: Session,
    skillset_id: uuid.UUID | str,
    *,
    links: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Ability:
    """A new ability: what is not given of its texts is empty. `links`: see LINKS; the rest: core/skills.

    Raises:
        InvalidInput; NotFound, NotAuthorized: the skillset, or what it uses.

    """
    skillset = kept(session, Skillset, skillset_id)
    values = {"name": "", "description": "", "instruction": "", "meta": {}, **_checked_ability(fields)}
    action, parameters = checked_action(session, values.get("action"), values.get("parameters"))
    values |= {"action": action, "parameters": parameters}
    ability = Ability(
        account_id=skillset.account_id,
        skillset_id=skillset.id,
        links=_merged(session, {}, links or {}),
        **values,
    )
    session.add(ability)
    session.flush()
    return ability


def update_ability(
    session: Session,
    skillset_id: uuid.UUID | str,
    ability_id: uuid.UUID | str,
    *,
    links: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Ability:
    """Changes the given fields only; null empties, meta is merged.

    Raises:
        InvalidInput, NotFound, NotAuthorized.

    """
    ability = get_ability(session, skillset_id, ability_id, lock=True)
    if links:
        ability.links = _merged(session, ability.links, links)
    changed = _checked_ability({name: value for name, value in fields.items() if name != "meta"})
    if changed.keys() & {"action", "parameters"}:
        given = changed.get("action", ability.action), changed.get("parameters", ability.parameters)
        changed["action"], changed["parameters"] = checked_action(session, *given)
    for name, value in changed.items():
        setattr(ability, name, value)
    update_row(session, ability, {name: value for name, value in fields.items() if name == "meta"})
    return ability


def get_ability(
    session: Session, skillset_id: uuid.UUID | str, ability_id: uuid.UUID | str, *, lock: bool = False
) -> Ability:
    """Raises NotFound, also for another skillset's ability; NotAuthorized."""
    skillset = own(session, Skillset, skillset_id)
    ability = own(session, Ability, ability_id, lock=lock)
    if ability.skillset_id != skillset.id:
        raise not_found(Ability)
    return ability


def list_abilities(
    session: Session,
    skillset_id: uuid.UUID | str,
    *,
    take: int = 100,
    before: uuid.UUID | str | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Ability]:
    """The abilities of a skillset, newest first or `ascending`."""
    skillset = own(session, Skillset, skillset_id)
    here = Ability.skillset_id == skillset.id
    return page(session, Ability, here, take=take, before=before, ascending=ascending, meta=meta)


def delete_ability(session: Session, skillset_id: uuid.UUID | str, ability_id: uuid.UUID | str) -> uuid.UUID:
    """Removes an ability for good."""
    ability = get_ability(session, skillset_id, ability_id, lock=True)
    session.delete(ability)
    session.flush()
    return ability.id


def _stated(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`state` as the column it is."""
    stated = {name: value for name, value in fields.items() if name != "state"}
    if "state" in fields:
        state = fields["state"] or "enabled"
        if state not in STATES:
            raise InvalidInput(f"The state must be one of {', '.join(STATES)}.")
        stated["enabled"] = STATES[state]
    return stated


def _checked_ability(fields: Mapping[str, Any]) -> dict[str, Any]:
    checked = checked_fields(fields)
    if "instruction" in fields:
        checked["instruction"] = checked_text(
            fields["instruction"], "The instruction", longest=MAX_TEXT_BYTES, empty=True
        )
    empty: dict[str, Any] = {"action": {}, "parameters": {}}
    return {name: empty.get(name, "") if value is None else value for name, value in checked.items()}


def _merged(session: Session, stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(stored)
    for name, value in given.items():
        if value in {None, ""}:
            merged.pop(name, None)
        elif name in OWN_LINKS:
            merged[name] = str(own(session, OWN_LINKS[name], value).id)
        else:
            merged[name] = checked_text(value, f"The {name}", longest=ALIAS)
    return merged
