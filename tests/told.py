"""Deliveries as tests look at them, and a broker that keeps its hints."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from core.context import Context
from core.delivering import deliver
from core.publisher import Hint
from core.turns import carry_out
from core.work import Leases
from models import Run
from tests.factories import a_subscription, a_task, execute, rows


class Box:
    """A broker that takes everything and delivers nothing."""

    def __init__(self, waiting: int | None = 0) -> None:
        self.hints: list[Hint] = []
        self.length = waiting

    def publish(self, hints: Sequence[Hint]) -> bool:
        self.hints.extend(hints)
        return True

    def waiting(self, queue: str) -> int | None:
        del queue
        return self.length

    def close(self) -> None:
        pass


def with_settings(context: Context, **settings: Any) -> Context:
    """The same context under other settings; they are checked as a process's own would be."""
    given = context.settings.model_dump() | settings
    return dataclasses.replace(context, settings=type(context.settings)(**given))


def a_watched_task(
    context: Context, account: uuid.UUID, target: str, **fields: Any
) -> tuple[uuid.UUID, str | None]:
    """A task with one subscription; answers its id and the subscription's secret."""
    wanted = {name: fields.pop(name) for name in ("events", "include_text", "kind") if name in fields}
    task = a_task(context, account, **fields)
    return task.id, a_subscription(context, account, task.id, target, **wanted)[1]


def run_it(context: Context, leases: Leases, run: Run) -> None:
    assert carry_out(context, leases, run.id, worker="tests") == "succeeded"


def told(context: Context) -> list[dict[str, Any]]:
    """Every delivery, oldest first."""
    return rows(context, "SELECT * FROM deliveries ORDER BY created_at, id")


def events(context: Context) -> list[str]:
    return [delivery["event"] for delivery in told(context)]


def deliver_all(context: Context) -> list[str]:
    """Sends what waits, whenever it would be due; answers what came of it, in order."""
    make_due(context)
    waiting = rows(context, "SELECT id FROM deliveries WHERE state = 'pending' ORDER BY created_at, id")
    return [deliver(context, row["id"]) for row in waiting]


def make_due(context: Context) -> None:
    execute(context, "UPDATE deliveries SET run_at = now() WHERE state = 'pending'")


def lose(context: Context, late: timedelta = timedelta(seconds=1)) -> None:
    """What a sender leaves that died after its request: a lease that has run out."""
    execute(
        context,
        "UPDATE deliveries SET state = 'sending', finished_at = NULL, lease_until = now() - CAST(:late AS"
        " interval), run_at = now() - CAST(:late AS interval)",
        late=late,
    )
