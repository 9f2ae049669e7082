"""What a turn is given beside what was said: what its bot knows of it, and what it can do."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from core.chat.history import StoredMessage, is_seen
from core.context import settings_of
from core.privacy.policy import Direction
from core.privacy.trees import labelled_tree
from core.retrieving import Inline, retrieve
from core.shield import Shield
from core.sight import Sight
from core.skills.abilities import Skill, skill, skills_of, told_apart
from core.skills.skill import Acting
from core.talk import Talk
from core.vault import open_value
from models import MessageType

ASKED = 4_000  # characters of a question that are searched for
SHORTEST = 3  # letters of a value that is looked for in what comes back


def equipped(
    session: Session,
    talk: Talk,
    acting: Acting,
    *,
    dataset: uuid.UUID | None,
    skillset: uuid.UUID | None,
    shield: Shield | None = None,
) -> Talk:
    """The talk with the records that fit what was asked last, and with the abilities of its skillset and of
    those that came along.
    """
    found = retrieve(
        session,
        _asked_last(talk.history),
        dataset_ids=[dataset] if dataset else [],
        inline=[Inline.of(one) for one in talk.request.datasets],
        tokens=settings_of(session).window_of(talk.model) // 2,
    )
    skills = [*_brought(talk.request.abilities), *skills_of(session, [skillset])]
    return replace(
        talk,
        knowledge=found.text(_protecting(shield)),
        records=tuple(found.used()),
        skills=told_apart(skills, [function.name for function in talk.request.functions]),
        acting=replace(acting, dataset_id=dataset),
        restore=restoring(shield) if shield is not None else talk.restore,
        protect=_redacting(shield) if shield is not None else talk.protect,
        conceal=concealing(shield) if shield is not None else talk.conceal,
    )


def equipped_stateless(session: Session, talk: Talk, shield: Shield | None) -> Talk:
    """The same for a turn that is stored nowhere: what it names itself goes before what its bot has."""
    request = talk.request
    bot, contact, dataset, skillset = (
        uuid.UUID(value) if value else None
        for value in (request.bot_id, request.contact_id, request.dataset_id, request.skillset_id)
    )
    acting = Acting(talk.account_id, bot_id=bot, contact_id=contact)
    return equipped(session, talk, acting, dataset=dataset, skillset=skillset, shield=shield)


def without_actions(talk: Talk) -> Talk:
    """The talk for somebody whom nobody knows: what its bot does within Crontalk is not done for anybody."""
    return replace(talk, skills={name: one for name, one in talk.skills.items() if not one.changes})


def _redacting(shield: Shield) -> Callable[[Any], Any]:
    """Takes out of what came back what is not to be stored."""
    return lambda value: shield.tree(value, Direction.OUTBOUND, shield.tokens())


def _asked_last(history: Sequence[StoredMessage]) -> str:
    asked = (m.text for m in reversed(history) if m.type == MessageType.USER and is_seen(m))
    return next(asked, "")[:ASKED]


def _brought(abilities: Sequence[Any]) -> list[Skill]:
    """Abilities that came along with a turn, as its door has checked them; what they use may have gone, which
    a call finds out.
    """
    return [
        skill(
            one["name"],
            one.get("description") or "",
            one.get("parameters") or {},
            one.get("action") or {},
            instruction=one.get("instruction") or "",
            secret=one.get("secretId"),
        )
        for one in abilities
    ]


def _protecting(shield: Shield | None) -> Callable[[str], str]:
    return (lambda words: words) if shield is None else (lambda words: shield.said(words).text)


def restoring(shield: Shield) -> Callable[[Any], Any]:
    """Puts their values behind the tokens that this turn may name."""
    return lambda value: Sight(values=_values(shield)).tree(value)


def concealing(shield: Shield) -> Callable[[Any], Any]:
    """Puts the tokens back for their values, in case whoever was sent one says it again: what was told us by
    a caller as somebody's is nothing that would be found in a text.
    """

    def conceal(value: Any) -> Any:
        tokens = {said: token for token, said in _values(shield).items() if len(said) >= SHORTEST}
        if not tokens:
            return value
        words = "|".join(map(re.escape, sorted(tokens, key=len, reverse=True)))
        spelt = re.compile(rf"(?<!\w)(?:{words})(?!\w)")
        return labelled_tree(value, lambda text: spelt.sub(lambda found: tokens[found.group()], text))

    return conceal


def _values(shield: Shield) -> dict[str, str]:
    vault = shield.vault
    kept = vault.kept or {}
    named = {token: kept[token] for token in vault.shown or () if token in kept} | vault.sealed
    key = vault.key()
    return {token: open_value(key, token, sealed) for token, sealed in named.items()}
