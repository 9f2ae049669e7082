"""Turns that are stored nowhere and act: once they have, nothing of them is done a second time.

Their calls are not written down, so a second attempt would not know where to go on. It is remembered that a
first one has begun to act, as a step of the run, and then there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import Context
from core.outcomes import Failure, Postponed
from core.settlement import patiently
from core.work import Claim, Lease, LeaseLost
from models import ErrorClass

STEP = "acts"
BEGIN = text(
    "INSERT INTO run_steps (run_id, step, account_id, epoch)"
    " SELECT id, :step, account_id, epoch FROM runs WHERE id = :id AND epoch = :epoch AND state = 'running'"
    " ON CONFLICT (run_id, step) DO UPDATE SET epoch = excluded.epoch RETURNING step"
)
BEGUN = text("SELECT 1 FROM run_steps WHERE run_id = :id AND step = :step")


@dataclass
class Acts:
    """Whether a run has begun to act."""

    context: Context
    claimed: Claim
    lease: Lease
    begun: bool = False

    def refuse_another(self) -> None:
        """Raises Failure where an attempt before this one has acted and not come to its end."""
        values = {"id": self.claimed.id, "step": STEP}
        with self.context.reading() as session:
            if session.execute(BEGUN, values).one_or_none() is not None:
                raise Failure(ErrorClass.INTERNAL_ERROR, "acted", final=True)

    def begin(self) -> None:
        """Remembers it, before the first act.

        Raises:
            LeaseLost: the run went on without us.

        """
        if self.begun:
            return
        values = {"id": self.claimed.id, "epoch": self.claimed.epoch, "step": STEP}

        def write(session: Session) -> bool:
            return session.execute(BEGIN, values).one_or_none() is not None

        if not patiently(self.context, self.lease, write, alone=True):
            raise LeaseLost("The run went on without us.")
        self.begun = True

    @staticmethod
    def unrepeatable(failure: Failure | Postponed) -> Failure:
        """The same failure, with no attempt after it."""
        if isinstance(failure, Postponed):
            return Failure(ErrorClass.PROVIDER_ERROR, "circuit_open", final=True)
        return Failure(failure.error_class, failure.code, failure.answer, final=True, pauses=failure.pauses)
