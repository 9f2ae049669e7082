"""Visitors: people without a token, who talk to the default bot of the account that the operator names.

Nothing of it is stored but what a turn used. What was said lives in the process of the connection and in
Valkey, sealed with a secret that only the visitor is told, and goes with the session: after so long without a
word, or when Valkey forgets it. A turn is a stateless one: the same agent, and the same privacy.
"""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import structlog
from sqlalchemy.orm import Session

from core.accounts import find_account, list_accounts
from core.agent import converse
from core.bots import find_bot
from core.chat.provider import Deadline
from core.cipher import Unopened, decrypt, encrypt
from core.context import Context
from core.equipping import equipped_stateless, without_actions
from core.errors import CrontalkError, InvalidInput, LimitReached, NotFound
from core.keys import KeyUnusable
from core.limits import AccountLimits
from core.notes import MemoryNotes
from core.outcomes import Answer, Failure, Postponed
from core.quotas import read_limits
from core.shields import stateless_shield
from core.sight import Sight
from core.suggestions import Suggestion, with_suggestions
from core.talk import stateless_talk
from core.telling import Silence, Telling
from core.turn_requests import TurnRequest
from core.turn_results import cut
from core.valkey import Absence, make_client, second_database
from models import Account, ErrorClass, MessageType, new_id

log = structlog.get_logger()

PREFIX = "ctv_"
FIRST = "first"  # of the setting: the account that was made first
# Messages of a session that are kept, and their characters in all; the model is shown fewer.
MOST_KEPT = 200
MOST_KEPT_TEXT = 512 * 1024
ADDRESS_KEY = "visitors:"


@dataclass(frozen=True)
class Host:
    """Whose default bot visitors talk to."""

    account_id: uuid.UUID
    bot_id: uuid.UUID
    bot_name: str
    limits: AccountLimits
    backstory: str | None = field(repr=False)
    model: str | None
    suggestions: Any = field(repr=False)
    dataset_id: uuid.UUID | None = None
    skillset_id: uuid.UUID | None = None
    moderation: bool = False


@dataclass(frozen=True)
class Line:
    """A message of a session."""

    id: uuid.UUID
    seq: int
    type: str
    text: str = field(repr=False)
    at: datetime


@dataclass
class Visitor:
    """A session: its id is told to everybody, its secret opens it again."""

    account_id: uuid.UUID
    id: uuid.UUID = field(default_factory=new_id)
    secret: str = field(default_factory=lambda: PREFIX + secrets.token_urlsafe(32), repr=False)
    lines: list[Line] = field(default_factory=list, repr=False)
    said: int = 0
    seq: int = 0
    counted: bool = False

    def add(self, kind: MessageType, text: str) -> Line:
        self.seq += 1
        line = Line(new_id(), self.seq, kind.value, text, datetime.now(UTC))
        kept, left = [line], MOST_KEPT_TEXT - len(text)
        for earlier in self.lines[:-MOST_KEPT:-1]:
            left -= len(earlier.text)
            if left < 0:
                break
            kept.append(earlier)
        self.lines = kept[::-1]
        self.said += kind == MessageType.USER
        return line


@dataclass(frozen=True)
class Reply:
    """What came of a turn: a text and its suggestions, or the class of its failure."""

    text: str = field(default="", repr=False)
    suggestions: Sequence[Suggestion] = ()
    error_class: ErrorClass | None = None


def host_of(context: Context) -> Host | None:
    """The account that takes visitors in; None: nobody does.

    Raises:
        Unavailable: the database is away.

    """
    wanted = context.settings.anonymous
    if not wanted:
        return None
    with context.reading() as session:
        account = _account(session, wanted)
    if account is None or account.closed_at is not None:
        return None
    with context.reading(account.id) as session:
        try:
            bot = find_bot(session, None)
        except InvalidInput:
            return None
    limits = read_limits((account.settings or {}).get("limits"))
    suggestions = (bot.meta or {}).get("suggestions")
    means = bot.dataset_id, bot.skillset_id, bot.moderation
    return Host(account.id, bot.id, bot.name or "", limits, bot.backstory, bot.model, suggestions, *means)


def _account(session: Session, wanted: str) -> Account | None:
    if wanted == FIRST:
        return next((one for one in list_accounts(session) if one.closed_at is None), None)
    try:
        return find_account(session, wanted)
    except (NotFound, InvalidInput):
        log.warning("no_account_for_visitors")
        return None


class Visitors:
    """The sessions in Valkey. While it is away nothing is kept and nobody is counted."""

    def __init__(self, redis_url: str | None, *, life: timedelta) -> None:
        self._client = make_client(second_database(redis_url)) if redis_url else None
        self._absence = Absence("visitors_away")
        self._life = max(1, round(life.total_seconds()))

    def find(self, secret: str) -> Visitor | None:
        """The session that a secret opens, as long as it lives."""
        key, place = _key(secret)
        sealed = self._try(lambda client: client.getex(place, ex=self._life))
        if sealed is None:
            return None
        try:
            fields = orjson.loads(decrypt(key, sealed, place))
        except Unopened:
            return None
        lines = [
            Line(
                uuid.UUID(one["id"]), one["seq"], one["type"], one["text"], datetime.fromisoformat(one["at"])
            )
            for one in fields["lines"]
        ]
        account, own = uuid.UUID(fields["account"]), uuid.UUID(fields["id"])
        return Visitor(account, own, secret, lines, fields["said"], fields["seq"], counted=True)

    def keep(self, visitor: Visitor) -> None:
        """Keeps what was said so far, for as long as a session lives from now on."""
        key, place = _key(visitor.secret)
        fields = {
            "id": str(visitor.id),
            "account": str(visitor.account_id),
            "said": visitor.said,
            "seq": visitor.seq,
            "lines": [
                {"id": str(o.id), "seq": o.seq, "type": o.type, "text": o.text, "at": o.at.isoformat()}
                for o in visitor.lines
            ],
        }
        sealed = encrypt(key, orjson.dumps(fields), place)
        self._try(lambda client: client.set(place, sealed, ex=self._life))

    def forget(self, visitor: Visitor) -> None:
        _, place = _key(visitor.secret)
        self._try(lambda client: client.delete(place))

    def count(self, visitor: Visitor, address: str, most: int) -> None:
        """Counts a session that begins to talk, once.

        Raises:
            LimitReached: so many of this address are alive already.

        """
        if visitor.counted:
            return
        # Under a hash with the account's id: an address is not to be read there.
        digest = hashlib.sha256(f"{visitor.account_id}\n{address}".encode()).hexdigest()
        place, now = f"{ADDRESS_KEY}{digest}", time.time()

        def count(client: Any) -> int:
            with client.pipeline() as pipe:
                pipe.zremrangebyscore(place, "-inf", now - self._life)
                pipe.zadd(place, {str(visitor.id): now})
                pipe.zcard(place)
                pipe.expire(place, self._life)
                return int(pipe.execute()[2])

        alive = self._try(count)
        if alive is not None and alive > most:
            self._try(lambda client: client.zrem(place, str(visitor.id)))
            raise LimitReached(
                "Too many anonymous sessions from here; come back later.", timedelta(minutes=1)
            )
        visitor.counted = True

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _try(self, ask: Callable[[Any], Any]) -> Any:
        if self._client is None or self._absence.is_away():
            return None
        try:
            return ask(self._client)
        except Exception as error:  # noqa: BLE001 (whatever it is, the session goes on here)
            self._absence.note(error)
            return None


def _key(secret: str) -> tuple[bytes, str]:
    """What seals a session, and where it is kept: neither tells the other."""
    raw = secret.encode("utf-8", "surrogatepass")
    return hashlib.sha256(b"seal\n" + raw).digest(), f"visitor:{hashlib.sha256(b'place' + raw).hexdigest()}"


def answer_visitor(
    context: Context,
    host: Host,
    lines: Sequence[Line],
    telling: Callable[[Sight], Telling] = lambda _: Silence(),
    wanted: Callable[[], None] = lambda: None,
) -> Reply:
    """One turn of the default bot on what was said; blocks while the model speaks. It raises nothing.

    `telling` is given what the visitor may see of the values that privacy has taken out.
    """
    turn = new_id()
    notes = MemoryNotes(context, host.account_id, turn, wanted)
    answer: Answer | None = None
    sight = Sight()
    try:
        request, deadline = _request(host, lines), Deadline.after(context.settings.turn_time)
        with context.transaction(host.account_id) as session:
            notes.shield = stateless_shield(session, host.account_id, turn, request)
            talk = stateless_talk(turn, host.account_id, request, deadline, notes.shield)
            talk = without_actions(equipped_stateless(session, talk, notes.shield))
        if notes.shield is not None:
            sight = Sight(notes.shield.vault.key(), notes.shield.vault.minted)
        answer = converse(context, talk, notes, telling(sight))
        reply = _reply(host, answer, sight)
    except Failure as failure:
        answer, short = failure.answer, cut(failure)
        reply = _reply(host, short, sight) if short else Reply(error_class=failure.error_class)
    except Postponed:
        reply = Reply(error_class=ErrorClass.PROVIDER_ERROR)
    except KeyUnusable:
        reply = Reply(error_class=ErrorClass.MISCONFIGURED)
    except Exception as error:  # noqa: BLE001 (the thread's last line of defence)
        log.error("visitors_turn_broke", error=type(error).__name__)
        reply = Reply(error_class=ErrorClass.INTERNAL_ERROR)
    try:
        notes.settle(answer)
    except CrontalkError as error:
        log.warning("usage_not_counted", error=type(error).__name__)
    return reply


def _request(host: Host, lines: Sequence[Line]) -> TurnRequest:
    return TurnRequest(
        messages=tuple({"type": line.type, "text": line.text} for line in lines),
        backstory=host.backstory,
        model=host.model,
        bot_id=str(host.bot_id),
        dataset_id=str(host.dataset_id) if host.dataset_id else None,
        skillset_id=str(host.skillset_id) if host.skillset_id else None,
        moderation=host.moderation,
    )


def _reply(host: Host, answer: Answer, sight: Sight) -> Reply:
    words, meta = with_suggestions(sight.tree(answer.text), host.suggestions)
    if not words.strip():
        return Reply(error_class=ErrorClass.EMPTY_OUTPUT)
    return Reply(words, meta.get("suggestions", ()))
