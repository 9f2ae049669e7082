"""How fast: messages a second of one core, the time of single messages, and what hostile messages cost.

Everything is CPU time of this process. `short15` is short chat of about 110 characters, of which 15 % are
labelled messages as they are, with one piece of personal data for the most part. `mix15` is heavier: 140
characters, the labelled messages stand behind other talk. A third of the others holds a number, a time or a
price in both. Number-heavy chat has one in nearly every message. `write_mix` puts it into a file of JSON
lines, so that a command that reads messages can be timed on the very same ones.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.privacy.chatter import clean_messages
from benchmarks.privacy.corpus import labelled_messages
from benchmarks.privacy.hostile import hostile_messages
from benchmarks.privacy.labelled import Labelled
from benchmarks.support import percentile

ROUNDS = 5
LENGTHS = (4_000, 16_000, 64_000)
_LENGTH = 120
# A command of hostile length that takes this long is not asked for a longer one.
_PATIENCE = 20.0


def mix15(count: int, seed: int) -> list[Labelled]:
    numbers = iter(clean_messages(count * 2, seed))
    talk = iter(clean_messages(count * 5, seed, talk=1.0))
    marked = iter(labelled_messages(count, seed))
    messages = []
    for number in range(count):
        text = next(numbers) if number % 3 == 0 else next(talk)
        if number % 20 in {3, 9, 16}:
            message = next(marked)
            text, of = f"{text}\n{message.text}", message
        else:
            of = Labelled("", (), "en")
        while len(text) < _LENGTH - 30:
            text += " " + next(talk)
        messages.append(replace(of, text=text, gold=()))
    return messages


def short15(count: int, seed: int) -> list[Labelled]:
    numbers = iter(clean_messages(count * 2, seed))
    talk = iter(clean_messages(count * 4, seed, talk=1.0))
    marked = iter(message for message in labelled_messages(count, seed) if message.gold)
    messages = []
    for number in range(count):
        if number % 20 in {3, 9, 16}:
            messages.append(replace(next(marked), gold=()))
            continue
        text = next(numbers) if number % 3 == 0 else next(talk)
        while len(text) < _LENGTH - 50:
            text += " " + next(talk)
        messages.append(Labelled(text, (), "en"))
    return messages


def write_mix(messages: Sequence[Labelled], path: Path) -> None:
    path.write_text(
        "".join(json.dumps({"text": message.text}, ensure_ascii=False) + "\n" for message in messages)
    )


def rate(
    run: Callable[[Labelled], object], messages: Sequence[Labelled], rounds: int = ROUNDS
) -> Mapping[str, float]:
    """Messages a second, the median of the rounds, and the time of single messages in microseconds."""
    for message in messages[:200]:
        run(message)
    rates, singles = [], []
    gc.collect()
    gc.freeze()  # the collector need not look through the benchmark's own messages
    for _ in range(rounds):
        began = time.process_time()
        for message in messages:
            run(message)
        rates.append(len(messages) / (time.process_time() - began))
        clock = time.process_time_ns
        for message in messages:
            start = clock()
            run(message)
            singles.append((clock() - start) / 1000)
    gc.unfreeze()
    points = {
        f"p{name}": percentile(singles, share) for name, share in (("50", 0.5), ("99", 0.99), ("99.9", 0.999))
    }
    size = sum(len(message.text) for message in messages) / len(messages)
    return {
        "rate": statistics.median(rates),
        "least": min(rates),
        "most": max(rates),
        "characters": size,
        **points,
    }


def hostile(run: Callable[[str], object]) -> dict[str, dict[int, float]]:
    """Microseconds per character of every shape at every length, the better of two."""
    figures: dict[str, dict[int, float]] = {}
    for length in LENGTHS:
        for shape, text in hostile_messages(length).items():
            if length > LENGTHS[0] and length // 4 not in figures[shape]:
                continue
            taken = []
            for _ in range(2):
                began = time.process_time()
                run(text)
                taken.append(time.process_time() - began)
                if taken[0] > 1:
                    break
            figures.setdefault(shape, {})
            if min(taken) < _PATIENCE:
                figures[shape][length] = min(taken) / len(text) * 1e6
    return figures
