"""Which parts of the program a storm rages over beside its tasks, and what must be nowhere afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cli.local.valkey import redis_url
from core.context import Context
from tests.acceptance.storm.connected import Sockets
from tests.acceptance.storm.fleet import Fleet
from tests.acceptance.storm.moving import Deletions, Imports
from tests.acceptance.storm.parts import Part, Stage
from tests.acceptance.storm.turning import Private, Tools, Turns
from tests.traces import traces_of

PARTS: dict[str, type[Part]] = {
    part.called: part for part in (Turns, Sockets, Tools, Imports, Deletions, Private)
}
EACH = 2  # callers of a part


def made(names: Sequence[str], stage: Stage) -> list[Part]:
    """Raises KeyError: there is no such part."""
    return [PARTS[name](stage, number) for name in names for number in range(EACH)]


def told_of_privacy(context: Context, fleet: Fleet, parts: Sequence[Part]) -> list[str]:
    """Where a canary stands: tables, Valkey, files, logs, and what the model was shown."""
    canaries = [part.mark for part in parts if isinstance(part, Private)]
    settings = context.settings.model_copy(update={"redis_url": redis_url(fleet.home)})
    looking = replace(context, settings=settings)
    texts = {"the logs": fleet.logs(), "the model": fleet.ledger.read_text("utf-8") if canaries else ""}
    found = []
    for canary in canaries:
        places = [*traces_of(looking, canary), *(name for name, text in texts.items() if canary in text)]
        found += [f"{canary} stands in {place}" for place in places]
    return found
