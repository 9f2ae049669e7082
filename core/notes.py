"""Where a turn writes down what it does before its last answer: in its run's conversation, or nowhere."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import Context
from core.messages import append
from core.outcomes import Answer, Outdated
from core.privacy.policy import Direction
from core.settlement import LOCK_CONVERSATION, LOCK_RUN, close_model_steps, count, patiently
from core.shield import Shield
from core.shields import offer_tokens, take_minted
from core.talk import Entry
from core.usage import a_slot, count_usage
from core.work import Claim, Lease, LeaseLost

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
# What attempts before this one wrote down keeps its number: (run, step) is written once.
WRITTEN = text("SELECT count(*) FROM messages WHERE run_id = :id AND step LIKE 'note.%'")


@dataclass
class StoredNotes:
    """A run's own: every step is stored under its natural key, fenced by epoch and purge_epoch."""

    context: Context
    claimed: Claim
    lease: Lease
    seen: int  # the purge_epoch of the conversation the model was shown
    shield: Shield | None = None

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
        return patiently(self.context, self.lease, lambda session: self._keep(session, entries, answer))

    def _begin(self, session: Session, model: str) -> str:
        claimed = self.claimed
        values = {"id": claimed.id, "epoch": claimed.epoch, "model": model, "slot": a_slot()}
        step: str | None = session.execute(BEGIN_CALL, values).scalar_one_or_none()
        if step is None:
            raise LeaseLost("The run went on without us.")
        return step

    def _keep(self, session: Session, entries: Sequence[Entry], answer: Answer | None) -> list[Entry]:
        claimed = self.claimed
        place = session.execute(LOCK_CONVERSATION, {"id": claimed.conversation_id}).scalar_one_or_none()
        guard = {"id": claimed.id, "epoch": claimed.epoch}
        if place is None or session.execute(LOCK_RUN, guard).one_or_none() is None:
            raise LeaseLost("The run went on without us.")
        if place != self.seen:
            raise Outdated
        assert claimed.conversation_id is not None  # noqa: S101 (it was locked)
        written = session.execute(WRITTEN, {"id": claimed.id}).scalar_one()
        offer_tokens(session, self.shield)
        kept = []
        for number, entry in enumerate(entries, written + 1):
            message = append(
                session,
                claimed.conversation_id,
                entry.type,
                entry.text,
                run_id=claimed.id,
                step=f"note.{number}",
                account_id=claimed.account_id,
                meta=dict(entry.meta),
                author=Direction.OUTBOUND,
            ).message
            kept.append(Entry(entry.type, message.text, message.meta))
        take_minted(session, self.shield)
        if answer is not None:
            close_model_steps(session, claimed, answer)
        count(session, claimed, answer or Answer(""), runs=0, messages=len(entries))
        return kept


@dataclass
class MemoryNotes:
    """A stateless turn's: nothing is stored but what it used."""

    context: Context
    account_id: uuid.UUID
    still_wanted: Callable[[], None]
    shield: Shield | None = None
    calls: int = 0
    used: list[Answer] = field(default_factory=list)

    def wanted(self) -> None:
        self.still_wanted()

    def begin_call(self, model: str) -> None:
        del model
        self.calls += 1

    def keep(self, entries: Sequence[Entry], answer: Answer | None) -> Sequence[Entry]:
        if answer is not None:
            self.used.append(answer)
        if self.shield is None:
            return entries
        return [_protected(self.shield, entry) for entry in entries]

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


def _protected(shield: Shield, entry: Entry) -> Entry:
    honoured = shield.tokens()
    said = shield.said(entry.text, author=Direction.OUTBOUND, honoured=honoured)
    return Entry(entry.type, said.text, shield.tree(entry.meta, Direction.OUTBOUND, honoured))
