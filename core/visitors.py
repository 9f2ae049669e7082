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
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.accounts import find_account
from core.agent import converse
from core.bots import find_bot
from core.chat.provider import Deadline
from core.cipher import Unopened, decrypt, encrypt
from core.context import Context
from core.equipping import equipped_stateless, without_actions
from core.errors import CrontalkError, InvalidInput, KeyReused, LimitReached, NotFound, Unavailable
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
# What is kept of a session, and so what anybody may fill the memory of a server with.
MOST_KEPT = 200  # messages
MOST_BYTES = 256 * 1024
LONGEST = 16 * 1024  # bytes of what a visitor says at once
ADDRESS_KEY = "visitors:"
# A session is kept behind the mark of the connection that goes on with it. The latest to open it has it: what
# an earlier one keeps then is left out.
MARK = 16  # bytes
OPEN = f"""
local kept = redis.call('GET', KEYS[1])
if not kept then return false end
redis.call('SETRANGE', KEYS[1], 0, ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return string.sub(kept, {MARK + 1})
"""
KEEP = f"""
local mark = redis.call('GETRANGE', KEYS[1], 0, {MARK - 1})
if mark ~= '' and mark ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'EX', ARGV[3])
return 1
"""


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
    own: str | None = None  # the id that the visitor's client gave it


@dataclass
class Visitor:
    """A session as a connection has it: its id is told to everybody, its secret opens it again."""

    account_id: uuid.UUID
    id: uuid.UUID = field(default_factory=new_id)
    secret: str = field(default_factory=lambda: PREFIX + secrets.token_urlsafe(32), repr=False)
    lines: list[Line] = field(default_factory=list, repr=False)
    said: int = 0
    seq: int = 0
    counted: bool = False
    mark: bytes = field(default_factory=lambda: secrets.token_bytes(MARK), repr=False)

    def add(self, kind: MessageType, text: str, own: str | None = None) -> Line:
        self.seq += 1
        line = Line(new_id(), self.seq, kind.value, text, datetime.now(UTC), own)
        self.lines = _latest([*self.lines[-MOST_KEPT + 1 :], line])
        self.said += kind == MessageType.USER
        return line

    def said_as(self, own: str | None, text: str) -> Line | None:
        """What was said already under this id of the client's own.

        Raises:
            KeyReused: it was something else.

        """
        line = next((line for line in self.lines if own is not None and line.own == own), None)
        if line is not None and line.text != text:
            raise KeyReused("This id was used for another message.")
        return line


def _latest(lines: list[Line]) -> list[Line]:
    """Those that are kept: the last one always, and before it as many as there is room for."""
    size = 0
    for place in range(len(lines) - 1, -1, -1):
        size += len(lines[place].text.encode("utf-8", "replace"))
        if size > MOST_BYTES and place < len(lines) - 1:
            return lines[place + 1 :]
    return lines


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
        open_ones = select(Account).where(Account.closed_at.is_(None))
        return session.scalars(open_ones.order_by(Account.id).limit(1)).one_or_none()
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
        """The session that a secret opens, as long as it lives; whoever had it before has it no longer.

        Raises:
            Unavailable: nobody knows; Valkey is away.

        """
        if self._client is None:
            return None
        key, place = _key(secret)
        mark = secrets.token_bytes(MARK)
        sealed = self._try(lambda client: (client.eval(OPEN, 1, place, mark, self._life),))
        if sealed is None:
            raise Unavailable("Earlier sessions cannot be opened at the moment; come back later.")
        if sealed[0] is None:
            return None
        try:
            fields = orjson.loads(decrypt(key, sealed[0], place))
        except Unopened:
            return None
        lines = [
            Line(
                uuid.UUID(one["id"]),
                one["seq"],
                one["type"],
                one["text"],
                datetime.fromisoformat(one["at"]),
                one.get("own"),
            )
            for one in fields["lines"]
        ]
        account, own = uuid.UUID(fields["account"]), uuid.UUID(fields["id"])
        return Visitor(account, own, secret, lines, fields["said"], fields["seq"], counted=True, mark=mark)

    def keep(self, visitor: Visitor) -> bool:
        """Keeps what was said so far, for as long as a session lives from now on; False: another connection
        has gone on with the session, and nothing is kept. While Valkey is away nobody can have.
        """
        key, place = _key(visitor.secret)
        fields = {
            "id": str(visitor.id),
            "account": str(visitor.account_id),
            "said": visitor.said,
            "seq": visitor.seq,
            "lines": [
                {"id": str(o.id), "seq": o.seq, "type": o.type, "text": o.text, "at": o.at.isoformat()}
                | ({"own": o.own} if o.own else {})
                for o in visitor.lines
            ],
        }
        words = [visitor.mark, encrypt(key, orjson.dumps(fields), place), self._life]
        return bool(self._try(lambda client: client.eval(KEEP, 1, place, *words)) != 0)

    def taken(self, visitors: Sequence[Visitor]) -> set[uuid.UUID]:
        """The ids of those sessions that another connection has gone on with."""

        def ask(client: Any) -> list[bytes]:
            with client.pipeline(transaction=False) as pipe:
                for visitor in visitors:
                    pipe.getrange(_key(visitor.secret)[1], 0, MARK - 1)
                found: list[bytes] = pipe.execute()
                return found

        marks = self._try(ask) or [b""] * len(visitors)
        return {one.id for one, mark in zip(visitors, marks, strict=True) if mark not in {b"", one.mark}}

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
