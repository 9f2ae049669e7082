"""The storm's model server: mostly right, sometimes refusing, hanging or babbling; a process of its own."""

from __future__ import annotations

import json
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
    drawn = weather(exchange, argument)
    if drawn:
        BEHAVIOURS["slow"](exchange, str(drawn.uniform(SHORTEST, LONGEST)))


@behaviour
def notifying(exchange: Exchange, argument: str) -> None:
    """As stormy; calls what it is offered with the last word it was told, and answers once that is done."""
    if weather(exchange, argument):
        said = [message["content"] for message in exchange.body["messages"] if message["role"] == "user"]
        BEHAVIOURS["calling"](exchange, json.dumps({"place": said[-1].split()[-1]}))


@behaviour
def repeating(exchange: Exchange, argument: str) -> None:
    """As stormy; says everything that it was told, taking its time."""
    drawn = weather(exchange, argument)
    if drawn:
        said = [message["content"] for message in exchange.body["messages"] if message["role"] == "user"]
        exchange.wait(drawn.uniform(0.5, 2))
        BEHAVIOURS["ok"](exchange, " ".join(said) or "Nothing.")


def weather(exchange: Exchange, argument: str) -> random.Random | None:
    """Goes wrong, or lets somebody answer well."""
    drawn = random.Random(f"{argument}/{exchange.entry['n']}")
    lot = drawn.randrange(100)
    for share, name in WRONG:
        lot -= share
        if lot < 0:
            kind, _, how = name.partition(":")
            exchange.entry["went"] = kind
            BEHAVIOURS[kind](exchange, how)
            return None
    return drawn


def main(ledger: str) -> None:
    with ModelServer(ledger=Path(ledger)) as server:
        print(server.base_url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
