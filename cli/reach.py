"""How a command reaches the database: DATABASE_URL, or the `up` that runs on this home."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InvalidInput, NotAuthenticated, NotAuthorized, Unavailable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from core.context import Context
    from core.settings import Settings

ACTOR = "cli"  # as receipts and the audit name whoever sits at the terminal


@dataclass(frozen=True)
class Reach:
    """A context and the account a command acts for."""

    context: Context
    account: uuid.UUID

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with self.context.transaction(self.account, actor=ACTOR) as session:
            yield session


def settings_for(home: Path | None) -> Settings:
    """The environment's settings; where it names no servers, those of the `up` on this home.

    Raises:
        Unavailable: neither.

    """
    from cli.local.home import Home
    from core.settings import read_settings

    settings = with_key(read_settings() if home is None else read_settings(home=home))
    if settings.database_url:
        return settings
    place = Home.seen(settings.home)
    running = place.read_running()
    if running is None and (pid := place.holder()) is not None:
        raise Unavailable(f"The `crontalk up` on {settings.home} (pid {pid}) is not up yet, or not any more.")
    if running is None:
        raise Unavailable(
            f"Nothing runs on {settings.home} and DATABASE_URL is not set. Start `crontalk up` first."
        )
    return settings.model_copy(
        update={
            "database_url": running.database_url,
            "redis_url": settings.redis_url or running.redis_url,
            "flower_url": settings.flower_url or running.flower_url,
        }
    )


def with_key(settings: Settings) -> Settings:
    """The settings with the key that an `up` keeps in the home, where the environment names none."""
    from pydantic import SecretStr

    from cli.local.keyfile import stored_key

    stored = None if settings.key else stored_key(settings.home)
    return settings.model_copy(update={"key": SecretStr(stored)}) if stored else settings


@contextmanager
def context_for(home: Path | None) -> Iterator[Context]:
    """A context for one command; quiet, because what it has to say it says on standard output."""
    from core.context import make_context
    from core.logs import configure

    configure("error")
    context = make_context(settings_for(home).model_copy(update={"pool_size": 2}), "cli")
    try:
        yield context
    finally:
        context.close()


@contextmanager
def reach(home: Path | None, account: str | None) -> Iterator[Reach]:
    """A context and an account: `--account`, else the token's, else the only one there is.

    Raises:
        InvalidInput: several accounts and no word which.
        NotAuthenticated: CRONTALK_TOKEN is not valid.

    """
    with context_for(home) as context:
        yield Reach(context, _account(context, account))


def _account(context: Context, name: str | None) -> uuid.UUID:
    from core.accounts import authenticate, find_account, list_accounts

    with context.transaction() as session:
        if name is not None:
            return find_account(session, name).id
        secret = os.environ.get("CRONTALK_TOKEN")
        if secret:
            caller = authenticate(session, secret)
            if caller.contact_id is not None:
                raise NotAuthorized("CRONTALK_TOKEN is a contact's, which opens the conversations API only.")
            return caller.account_id
        stored = _stored_token(context.settings.home)
        if stored:
            try:
                return authenticate(session, stored).account_id
            except NotAuthenticated:
                pass  # The file belongs to another database, or its token was revoked.
        accounts = list_accounts(session)
    if len(accounts) != 1:
        hint = (
            "Make one with `crontalk account create NAME`." if not accounts else "Choose one with --account."
        )
        raise InvalidInput(f"The database holds {len(accounts)} accounts. {hint}")
    return accounts[0].id


def _stored_token(home: Path) -> str | None:
    try:
        return (home.expanduser() / "token").read_text(encoding="utf-8").strip()
    except OSError:
        return None
