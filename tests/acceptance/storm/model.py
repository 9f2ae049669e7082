"""The storm's model server: mostly right, sometimes refusing, hanging or babbling; a process of its own."""

from __future__ import annotations

import random
import sys
import threading
from pathlib import Path

from tests.model_server import BEHAVIOURS, Exchange, ModelServer, behaviour

# What of a hundred calls go wrong, and how.
WRONG = (
    (2, "retry-after:1"),
    (2, "status:500"),
    (1, "garbage"),
    (1, "hang-body"),
    (1, "cut"),
    (1, "empty"),
)
SHORTEST, LONGEST = 0.05, 0.6


@behaviour
def stormy(exchange: Exchange, argument: str) -> None:
    """Drawn by the seed (the argument) and the number of the call."""
    drawn = random.Random(f"{argument}/{exchange.entry['n']}")
    lot = drawn.randrange(100)
    for share, name in WRONG:
        lot -= share
        if lot < 0:
            kind, _, how = name.partition(":")
            exchange.entry["went"] = kind
            BEHAVIOURS[kind](exchange, how)
            return
    BEHAVIOURS["slow"](exchange, str(drawn.uniform(SHORTEST, LONGEST)))


def main(ledger: str) -> None:
    with ModelServer(ledger=Path(ledger)) as server:
        print(server.base_url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
