"""How a call of an ability is carried out: looked at, then sent with no transaction open or done in one.

Whatever goes wrong is a `SkillFailed`, which the model is told of in place of a result.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from core.chat.provider import Deadline, ToolCall
from core.context import Context
from core.errors import Conflict, InvalidInput, NotAuthorized, NotFound
from core.outbound.allowance import Allowance
from core.privacy.declared import restored_arguments
from core.searching import search_dataset
from core.secrets import open_secret
from core.skills.abilities import SEARCH, Skill
from core.skills.actions import ACTIONS
from core.skills.request_json import storable
from core.skills.requests import call_request
from core.skills.schemas import check_arguments
from core.skills.skill import Acting, SkillFailed

Do = Callable[[Session], Any]
BROKEN = {
    "not_json": "The arguments are not JSON.",
    "not_an_object": "The arguments are not a JSON object.",
    "too_long": "The arguments are too long.",
}


@dataclass(frozen=True)
class Means:
    """What calls of a turn are carried out with. `restore` puts values behind tokens: done where a schema
    declares it and nowhere else. `conceal` undoes it in what comes back.
    """

    context: Context
    acting: Acting
    deadline: Deadline
    restore: Callable[[Any], Any] = field(repr=False)
    conceal: Callable[[Any], Any] = field(default=lambda value: value, repr=False)


def prepared(skill: Skill | None, call: ToolCall, means: Means) -> Do:
    """What a call comes to, to be done in the transaction that writes its response down. A request has been
    made by then, under `call.id` as its Idempotency-Key.

    Raises:
        What `deadline.wanted` raises: nobody wants it any more.

    """
    try:
        skill, arguments = _looked_at(skill, call, means.restore)
        if skill.leaves:
            answer = means.conceal(_asked(skill, arguments, call.id, means))
            return lambda _: answer
    except SkillFailed as failed:
        return _raises(failed)
    return lambda session: done(session, skill, arguments, means.acting)


def _asked(skill: Skill, arguments: Mapping[str, Any], key: str, means: Means) -> dict[str, Any]:
    settings = means.context.settings
    secret = None
    if skill.secret is not None:
        try:
            with means.context.transaction(means.acting.account_id) as session:
                secret = open_secret(session, skill.secret)
        except (NotFound, NotAuthorized, Conflict):
            sentence = "The secret that the ability needs is missing; its owner has to mend it."
            raise SkillFailed("secret", sentence) from None
    means.deadline.check()
    return call_request(
        Allowance.parse(settings.outbound_allow),
        skill.action,
        arguments,
        secret,
        key=key,
        within=min(settings.call_time, timedelta(seconds=max(0.0, means.deadline.remaining()))),
        wanted=means.deadline.wanted,
    )


def done(session: Session, skill: Skill, arguments: Mapping[str, Any], acting: Acting) -> Any:
    """An action of our own, in this transaction.

    Raises:
        SkillFailed.

    """
    kind = skill.action.get("type")
    if kind is None:
        return {"instruction": skill.instruction}
    if kind == SEARCH:
        return _searched(session, arguments, skill.action.get("datasetId") or acting.dataset_id)
    return ACTIONS[kind].act(session, acting, skill.action, arguments)


def _searched(session: Session, arguments: Mapping[str, Any], dataset_id: uuid.UUID | str | None) -> Any:
    """The best records of a dataset, and what it says to do with them, or without any."""
    if dataset_id is None:
        raise SkillFailed("no_dataset", "There is no dataset to search.")
    try:
        dataset, matches = search_dataset(session, dataset_id, str(arguments.get("search") or ""))
    except (NotFound, NotAuthorized):
        raise SkillFailed("no_dataset", "The dataset is gone.") from None
    except InvalidInput:
        raise SkillFailed("search", "This cannot be searched for.") from None
    told = dataset.config.get("matchInstruction" if matches else "mismatchInstruction")
    found = [{"text": m.record.text, "source": m.record.source, "score": m.score} for m in matches]
    return {"records": found, **({"instruction": told} if told else {})}


def shortened(result: Any, most: int, protect: Callable[[Any], Any] = lambda value: value) -> Any:
    """A result that can be stored and shown; what is longer than `most` bytes is cut, and says so.

    `protect` looks at it before it is cut: half an address is none to a detector.
    """
    plain = storable(result)
    written = json.dumps(plain, ensure_ascii=False)
    if len(written.encode()) <= most:
        return plain
    safe: str = protect(written[: 2 * most])
    return {"truncated": True, "text": safe.encode()[:most].decode(errors="ignore")}


def _looked_at(
    skill: Skill | None, call: ToolCall, restore: Callable[[Any], Any]
) -> tuple[Skill, Mapping[str, Any]]:
    if call.broken is not None:
        raise SkillFailed("arguments", BROKEN.get(call.broken, "The arguments cannot be read."))
    if skill is None:
        raise SkillFailed("unknown_function", "There is no function of this name.")
    check_arguments(skill.parameters, call.arguments)
    arguments = restored_arguments(skill.parameters, call.arguments, restore)
    return skill, arguments


def _raises(failed: SkillFailed) -> Do:
    def do(_: Session) -> Any:
        raise failed

    return do
