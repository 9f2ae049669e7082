"""Where a turn writes down what it does before its last answer: in its run's conversation, or nowhere."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from core.chat.provider import ToolCall
from core.context import Context
from core.messages import append
from core.outcomes import Answer, Outdated
from core.privacy.policy import Direction
from core.settlement import LOCK_CONVERSATION, LOCK_RUN, Wrote, close_model_steps, count, patiently
from core.shield import Shield
from core.shields import offer_tokens, take_minted
from core.skills.skill import SkillFailed
from core.talk import Entry, response
from core.usage import a_slot, count_usage
from core.work import Claim, Lease, LeaseLost
from models import MessageType

NEXT = 1_000_000  # places of what a stateless turn adds come after all that it brought

BEGIN_CALL = text(
    "WITH counted AS (UPDATE runs SET model_calls = model_calls + 1, model = :model WHERE id = :id"
    "  AND epoch = :epoch AND state = 'running' RETURNING id, account_id, epoch, model_calls),"
    " used AS (INSERT INTO usage_days AS u (account_id, day, slot, model_calls)"
    "  SELECT account_id, current_date, :slot, 1 FROM counted"
    "  ON CONFLICT (account_id, day, slot) DO UPDATE SET model_calls = u.model_calls + 1),"
    # A call of this attempt that gave nothing: it is made again with less, or of another model.
    " ended AS (UPDATE run_steps AS s SET finished_at = clock_timestamp(), outcome = 'failed'"
    "  FROM counted AS c WHERE s.run_id = c.id AND s.finished_at IS NULL AND s.step LIKE 'model.%')"
    " INSERT INTO run_steps (run_id, step, account_id, epoch, model)"
    " SELECT id, 'model.' || model_calls, account_id, epoch, :model FROM counted RETURNING step"
)
# What attempts before this one wrote down keeps its number: (run, step) is written once. So does a call whose
# message was deleted: its key was shown to others.
WRITTEN = text(
    "SELECT COALESCE(max(CAST(split_part(step, '.', 2) AS int)), 0) FROM ("
    " SELECT step FROM messages WHERE run_id = :id AND step LIKE 'note.%'"
    " UNION ALL SELECT step FROM run_steps WHERE run_id = :id AND step LIKE 'call.%') AS numbered"
)
# What a transaction has written whose end was never heard of.
THERE = text(
    "SELECT type, text, meta, seq, step FROM messages"
    " WHERE run_id = :id AND step = ANY(CAST(:steps AS text[])) ORDER BY seq"
)
BEGIN_TOOL = text(
    "INSERT INTO run_steps (run_id, step, account_id, epoch) VALUES (:id, :step, :account, :epoch)"
    " ON CONFLICT (run_id, step) DO NOTHING"
)
END_TOOL = text(
    "UPDATE run_steps SET finished_at = now(), outcome = :outcome, error_code = :code"
    " WHERE run_id = :id AND step = :step"
)


@dataclass
class StoredNotes:
    """A run's own: every step is stored under its natural key, fenced by epoch and purge_epoch."""

    context: Context
    claimed: Claim
    lease: Lease
    seen: int  # the purge_epoch of the conversation the model was shown
    shield: Shield | None = None
    lasting: bool = True
    _written: int | None = None

    def wanted(self) -> None:
        self.lease.check()

    def begin_call(self, model: str) -> None:
        """Counts the call before it is made, so that a crash in it is counted too.

        Raises:
            LeaseLost: the run was cancelled or given back; a call would be paid for nothing.

        """
        patiently(self.context, self.lease, lambda session: self._begin(session, model), alone=True)

    def keep(self, entries: Sequence[Entry], answer: Answer | None) -> Sequence[Entry]:
        """Stores messages and what their call has used, in one transaction; answers them as stored.

        Raises:
            LeaseLost: the run went on without us. Outdated: something the model was shown is deleted.

        """
        kept = self._patiently(lambda session: self._keep(session, entries, answer))
        self._written = (self._written or 0) + len(kept)
        return kept

    def before_acts(self) -> None:
        """What is done is written down step by step."""

    def respond(self, call: ToolCall, do: Callable[[Session], Any]) -> Entry:
        """See Notes. Repeated after an unknown outcome it finds what it wrote and does nothing.

        Raises:
            LeaseLost, Outdated: as `keep`.

        """
        return self._patiently(lambda session: self._respond(session, call, do))

    def _patiently(self, write: Callable[[Session], Wrote]) -> Wrote:
        return patiently(self.context, self.lease, write, account=self.claimed.account_id)

    def _begin(self, session: Session, model: str) -> str:
        claimed = self.claimed
        values = {"id": claimed.id, "epoch": claimed.epoch, "model": model, "slot": a_slot()}
        step: str | None = session.execute(BEGIN_CALL, values).scalar_one_or_none()
        if step is None:
            raise LeaseLost("The run went on without us.")
        return step

    def _keep(self, session: Session, entries: Sequence[Entry], answer: Answer | None) -> list[Entry]:
        claimed = self.claimed
        self._lock(session)
        if self._written is None:
            self._written = session.execute(WRITTEN, {"id": claimed.id}).scalar_one()
        steps = [f"note.{number}" for number, _ in enumerate(entries, self._written + 1)]
        there = self._there(session, steps)
        if there:
            return there
        kept = self._append(session, list(zip(entries, steps, strict=True)))
        for entry in kept:
            if entry.meta.get("activity", {}).get("type") == "request":
                self._time(session, BEGIN_TOOL, entry.key, account=claimed.account_id, epoch=claimed.epoch)
        if answer is not None and not close_model_steps(session, claimed, answer):
            answer = None
        count(session, claimed, answer or Answer(""), runs=0, messages=len(entries))
        return kept

    def _respond(self, session: Session, call: ToolCall, do: Callable[[Session], Any]) -> Entry:
        self._lock(session)
        step = f"answer.{self._step(call.id)}"
        there = self._there(session, [step])
        if there:
            return there[0]
        offer_tokens(session, self.shield)  # an action may write what the turn has minted
        result, code = resulting(session, do)
        (kept,) = self._append(session, [(response(call, result), step)])
        self._time(session, END_TOOL, call.id, outcome="failed" if code else "succeeded", code=code)
        count(session, self.claimed, Answer(""), runs=0, messages=1)
        return kept

    def _lock(self, session: Session) -> None:
        """Takes the conversation and the run: what is written from here on is theirs.

        Raises:
            LeaseLost: the run went on without us. Outdated: something the model was shown is deleted.

        """
        claimed = self.claimed
        place = session.execute(LOCK_CONVERSATION, {"id": claimed.conversation_id}).scalar_one_or_none()
        guard = {"id": claimed.id, "epoch": claimed.epoch}
        if place is None or session.execute(LOCK_RUN, guard).one_or_none() is None:
            raise LeaseLost("The run went on without us.")
        if place != self.seen:
            raise Outdated

    def _there(self, session: Session, steps: Sequence[str]) -> list[Entry]:
        found = session.execute(THERE, {"id": self.claimed.id, "steps": list(steps)})
        return [Entry(MessageType(m.type), m.text, m.meta, m.seq, self._key(m.step)) for m in found]

    def _append(self, session: Session, entries: Sequence[tuple[Entry, str]]) -> list[Entry]:
        claimed = self.claimed
        assert claimed.conversation_id is not None  # noqa: S101 (it was locked)
        offer_tokens(session, self.shield)
        kept = []
        for entry, step in entries:
            message = append(
                session,
                claimed.conversation_id,
                entry.type,
                entry.text,
                run_id=claimed.id,
                step=step,
                account_id=claimed.account_id,
                meta=dict(entry.meta),
                author=Direction.OUTBOUND,
            ).message
            kept.append(Entry(entry.type, message.text, message.meta, message.seq, self._key(step)))
        take_minted(session, self.shield)
        return kept

    def _key(self, step: str) -> str:
        return f"{self.claimed.id}-{step}"

    def _step(self, key: str) -> str:
        """What of a call's key tells it apart in this run: one of an earlier run keeps that run's id."""
        return key.removeprefix(self._key("note."))

    def _time(self, session: Session, statement: TextClause, key: str, **values: Any) -> None:
        """A call in the timeline of its run; one that an earlier run has asked for is in that run's."""
        step = f"call.{self._step(key)}"
        session.execute(statement, {"id": self.claimed.id, "step": step, **values})


@dataclass
class MemoryNotes:
    """A stateless turn's: nothing is stored but what it used."""

    context: Context
    account_id: uuid.UUID
    turn: uuid.UUID
    still_wanted: Callable[[], None]
    shield: Shield | None = None
    begins_to_act: Callable[[], None] | None = None
    lasting: bool = False
    calls: int = 0
    used: list[Answer] = field(default_factory=list)
    _written: int = 0

    def wanted(self) -> None:
        self.still_wanted()

    def begin_call(self, model: str) -> None:
        del model
        self.calls += 1

    def keep(self, entries: Sequence[Entry], answer: Answer | None) -> Sequence[Entry]:
        if answer is not None:
            self.used.append(answer)
        return [self._kept(entry) for entry in entries]

    def before_acts(self) -> None:
        if self.begins_to_act is not None:
            self.begins_to_act()

    def respond(self, call: ToolCall, do: Callable[[Session], Any]) -> Entry:
        """See Notes. Nothing remembers that it was done."""
        with self.context.transaction(self.account_id) as session:
            result, _ = resulting(session, do)
        return self._kept(response(call, result))

    def _kept(self, entry: Entry) -> Entry:
        self._written += 1
        place, key = NEXT + self._written, f"{self.turn}-note.{self._written}"
        if self.shield is not None:
            entry = _protected(self.shield, entry)
        return replace(entry, place=place, key=key)

    def tokens(self, answer: Answer) -> int:
        """What the whole turn used, its last answer included."""
        return sum(one.input_tokens + one.output_tokens for one in (*self.used, answer))

    def settle(self, answer: Answer | None) -> None:
        """Counts what the whole turn used; called once, however it ended."""
        used = [*self.used, *([answer] if answer else [])]
        with self.context.transaction(self.account_id) as session:
            count_usage(
                session,
                self.account_id,
                model_calls=self.calls,
                input=sum(one.input_tokens for one in used),
                output=sum(one.output_tokens for one in used),
                cost=sum(one.cost for one in used),
            )


def resulting(session: Session, do: Callable[[Session], Any]) -> tuple[Any, str | None]:
    """What a call comes to, and its code where it failed: then nothing of it is stored but the word."""
    try:
        with session.begin_nested():
            return do(session), None
    except SkillFailed as failed:
        return {"error": {"code": failed.code, "message": str(failed)}}, failed.code


def _protected(shield: Shield, entry: Entry) -> Entry:
    honoured = shield.tokens()
    said = shield.said(entry.text, author=Direction.OUTBOUND, honoured=honoured)
    return Entry(entry.type, said.text, shield.tree(entry.meta, Direction.OUTBOUND, honoured))
