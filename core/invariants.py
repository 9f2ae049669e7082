"""What must always be true of the rows: the promises of the product, each as one query that finds nothing.

The storm tests ask them while everything is being killed, `crontalk doctor` asks them of an installation, and
docs/guarantees.md prints them. They read ids and times, never a text that somebody wrote.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.invariant import Invariant
from core.invariants_delays import DELAYS
from core.invariants_runs import RUNS
from core.invariants_skills import SKILLS
from core.invariants_tasks import TASKS
from core.invariants_work import WORK
from core.work import CRASHES

MOST = 1000
SAMPLE = 5
EVERYTHING = uuid.UUID(int=0)


@dataclass(frozen=True)
class Violation:
    """Rows that break an invariant: how many (counted up to MOST) and the ids of some."""

    invariant: Invariant
    count: int
    sample: tuple[str, ...]


INVARIANTS: tuple[Invariant, ...] = (*RUNS, *TASKS, *WORK, *SKILLS, *DELAYS)


def violations(
    session: Session,
    *,
    since: uuid.UUID = EVERYTHING,
    attempts: int = 5,
    invariants: Sequence[Invariant] = INVARIANTS,
) -> list[Violation]:
    """What is broken; empty when every promise is kept. Reads only.

    `since` is the oldest id of interest (`first_id_of`): the cost of what looks back follows the rows made
    after it. `attempts` is the setting of that name.
    """
    values = {"since": since, "attempts": attempts, "crashes": CRASHES, "most": MOST}
    found = []
    for invariant in invariants:
        bounded = text(f"SELECT id FROM ({invariant.sql} LIMIT :most) AS broken")  # noqa: S608 (constants)
        named = {name: value for name, value in values.items() if name in bounded.compile().params}
        ids = list(session.scalars(bounded, named))
        if ids:
            found.append(Violation(invariant, len(ids), tuple(str(one) for one in ids[:SAMPLE])))
    return found


ALWAYS = tuple(invariant for invariant in INVARIANTS if invariant.always)
