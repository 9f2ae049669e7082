"""What the installation offers an account: its models, and the account itself as a team of one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from core.chat.model_name import parse_model
from core.chat.providers import OFFLINE
from core.context import account_of, settings_of
from core.rows import MetaFilter
from models import Account

# What an answer may have at most where no budget says less (core/turns.py).
ANSWER = 32_768


@dataclass(frozen=True)
class Model:
    """A model that a bot may name, and how many tokens go into and come out of a turn."""

    name: str
    provider: str
    input_tokens: int
    output_tokens: int = ANSWER


def list_models(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Model]:
    """The offline model, and the operator's where one is configured: one page, and no other."""
    if before is not None or meta:
        return []
    settings = settings_of(session)
    models = [Model(OFFLINE, "crontalk", settings.history_tokens)]
    name = parse_model(settings.llm_model).name if settings.llm_model else OFFLINE
    if name != OFFLINE and (settings.llm_base_url or settings.llm_api_key):
        models.append(Model(name, "openai", settings.history_tokens))
    return (models if ascending else models[::-1])[:take]


def list_teams(
    session: Session,
    *,
    take: int = 100,  # noqa: ARG001 (a listing verb takes it; there is one)
    before: uuid.UUID | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Account]:
    """The account itself."""
    account = session.get_one(Account, account_of(session))
    is_next = before is None or (account.id > before if ascending else account.id < before)
    return [account] if is_next and not meta else []
