"""What the installation offers an account: its models, and the account itself as a team of one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from core.chat.endpoints import OFFLINE
from core.chat.model_name import parse_model
from core.context import account_of, settings_of
from core.prices import Price
from core.rows import MetaFilter
from core.settings import Settings
from models import Account

# What an answer may have at most where neither a budget nor its endpoint says less.
ANSWER = 32_768


@dataclass(frozen=True)
class Model:
    """A model that a bot may name, and how many tokens go into and come out of a turn."""

    name: str
    provider: str
    family: str
    input_tokens: int
    output_tokens: int
    upstream: str
    capabilities: tuple[str, ...]
    fallback: str | None
    price: Price | None


def list_models(
    session: Session,
    *,
    take: int = 100,
    before: uuid.UUID | None = None,
    ascending: bool = False,
    meta: Sequence[MetaFilter] = (),
) -> list[Model]:
    """The models of the installation: one page, and no other."""
    if before is not None or meta:
        return []
    models = models_of(settings_of(session))
    return (models if ascending else models[::-1])[:take]


def models_of(settings: Settings) -> list[Model]:
    """The offline model, the default endpoint's where there is one, and those that the operator names."""
    default = parse_model(settings.llm_model).name if settings.llm_model else OFFLINE
    names = [OFFLINE]
    if (
        default != OFFLINE
        and default not in settings.models
        and (settings.llm_base_url or settings.llm_api_key)
    ):
        names.append(default)
    return [model_of(settings, name) for name in (*names, *settings.models)]


def model_of(settings: Settings, name: str) -> Model:
    """What a bare name stands for; one that nobody configured is asked for at the default endpoint."""
    endpoint = settings.endpoint(name)
    offline = name == OFFLINE
    return Model(
        name=name,
        provider="crontalk" if offline else endpoint.provider,
        family=endpoint.family or name,
        input_tokens=endpoint.window(settings.history_tokens),
        output_tokens=endpoint.max_output_tokens or ANSWER,
        upstream=endpoint.model or name,
        capabilities=("reasoning", "tools") if offline else tuple(sorted(endpoint.capabilities)),
        fallback=endpoint.fallback,
        price=settings.price(name),
    )


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
