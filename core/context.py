"""What a verb needs from its process: settings, transactions, the publisher and the models."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from core.breaker import Breaker
from core.chat.providers import Providers, providers_of
from core.database import make_engine, translated
from core.errors import InvalidInput
from core.live import Live, NoLive, ValkeyLive
from core.moderation import Moderator, moderator_of
from core.publisher import CeleryPublisher, Hint, NoPublisher, Publisher
from core.settings import Settings
from models import Job


@dataclass(frozen=True)
class Context:
    """One per process. Verbs that own their transactions take it as first argument."""

    settings: Settings
    engine: Engine
    publisher: Publisher
    providers: Providers
    breaker: Breaker = field(default_factory=Breaker)
    live: Live = field(default_factory=NoLive)
    moderator: Moderator | None = None

    @contextmanager
    def transaction(self, account: uuid.UUID | None = None, *, actor: str | None = None) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back on any error.

        With an account it is the only way to a tenant's session; every verb a tenant can reach takes its
        account from there (`account_of`). Hints asked for inside are published after the commit and
        forgotten on rollback; a broker that is away changes nothing, the row is the truth. `actor` is who
        asked, as receipts and the audit name them: "token:<id>".

        Raises:
            Unavailable: the database is away or too busy.

        """
        with translated(), self._session(self.engine, account) as session:
            session.info["actor"] = actor
            with session.begin():
                yield session
                for act in session.info.pop("at_the_end", ()):
                    act(session)
            hints: list[Hint] = session.info.get("hints", [])
            silenced: list[str] = session.info.get("silenced", [])
            news: dict[uuid.UUID, set[uuid.UUID]] = session.info.get("news", {})
        if hints:
            self.publisher.publish(hints)
        if account and silenced:
            self.live.forget(account, silenced)
        if news:
            self.live.tell_news(news)

    @contextmanager
    def reading(self, account: uuid.UUID | None = None, *, actor: str | None = None) -> Iterator[Session]:
        """A session whose statements are each a transaction of their own.

        For whoever only reads, or writes in one statement: it sees what it would see in a transaction, which
        takes a new snapshot for every statement as well, and saves the round trips of BEGIN and COMMIT.
        What is asked for after the commit (hints, silence, news) needs `transaction`.

        Raises:
            Unavailable: as `transaction`.

        """
        with translated(), self._session(self._alone, account) as session:
            session.info["actor"] = actor
            yield session

    @cached_property
    def _alone(self) -> Engine:
        """The engine, its pool shared, as a statement of its own needs it."""
        return self.engine.execution_options(isolation_level="AUTOCOMMIT")

    def _session(self, engine: Engine, account: uuid.UUID | None) -> Session:
        info = {"account": account, "settings": self.settings}
        return Session(engine, expire_on_commit=False, info=info)

    def close(self) -> None:
        self.publisher.close()
        self.live.close()
        self.providers.close()
        if self.moderator is not None:
            self.moderator.close()
        self.engine.dispose()


def make_context(settings: Settings, name: str) -> Context:
    """The context of a process called `name` (seen in pg_stat_activity).

    Raises:
        InvalidInput: no database is configured.

    """
    if not settings.database_url:
        raise InvalidInput("No database: set DATABASE_URL, or start `crontalk up` on this home.")
    return Context(
        settings=settings,
        engine=make_engine(settings.database_url, pool_size=settings.pool_size, name=name),
        publisher=CeleryPublisher(settings.redis_url) if settings.redis_url else NoPublisher(),
        providers=providers_of(settings),
        live=ValkeyLive(settings.redis_url) if settings.redis_url else NoLive(),
        breaker=Breaker(settings.breaker_failures, settings.breaker_pause),
        moderator=moderator_of(settings),
    )


def act_for(session: Session, account: uuid.UUID) -> None:
    """What follows in this session is done for an account: by a worker that has claimed a row of it."""
    session.info["account"] = account


def account_of(session: Session) -> uuid.UUID:
    """The account whose session this is."""
    account = session.info.get("account")
    if not isinstance(account, uuid.UUID):
        raise RuntimeError("this verb needs a tenant's session: context.transaction(account)")  # noqa: TRY004
    return account


def actor_of(session: Session) -> str | None:
    """Who asked for what this session does; None: the program itself."""
    actor: str | None = session.info.get("actor")
    return actor


def settings_of(session: Session) -> Settings:
    """The settings of the process whose session this is."""
    settings = session.info["settings"]
    assert isinstance(settings, Settings)  # noqa: S101 (set by Context.transaction alone)
    return settings


def at_the_end(session: Session, act: Callable[[Session], None]) -> None:
    """Asks for something to be done once, as the last thing of this transaction."""
    session.info.setdefault("at_the_end", []).append(act)


def silence_after_commit(session: Session, channels: Sequence[str]) -> None:
    """Asks for what was said on live channels to be forgotten once this transaction has committed."""
    session.info.setdefault("silenced", []).extend(channels)


def news_after_commit(session: Session, account: uuid.UUID, *rows: uuid.UUID) -> None:
    """Tells who follows the account, once this transaction has committed, that something has happened to
    these conversations or jobs: their ids and nothing else.
    """
    session.info.setdefault("news", {}).setdefault(account, set()).update(rows)


@event.listens_for(Session, "after_flush")
def _tell_of_jobs(session: Session, _: object) -> None:
    """A job whose row is written, whoever writes it, is something that has happened."""
    for row in (*session.new, *session.dirty):
        if isinstance(row, Job):
            news_after_commit(session, row.account_id, row.id)


def hint_after_commit(session: Session, run_id: uuid.UUID, action: str, queue: str = "chat") -> None:
    """Asks for a hint once this transaction has committed."""
    number = session.execute(
        text("UPDATE runs SET hinted_at = now(), hints = hints + 1 WHERE id = :id RETURNING hints"),
        {"id": run_id},
    ).scalar_one()
    publish_after_commit(session, Hint(run_id, action, queue, number))


def publish_after_commit(session: Session, hint: Hint) -> None:
    """Sends a hint, which the row counts already, once this transaction has committed."""
    session.info.setdefault("hints", []).append(hint)
