"""Detectors of personal data on our labelled messages, each judged by the kinds it says it has."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import support
from benchmarks.peers.environment import SCRIPTS
from benchmarks.peers.measures import markdown
from benchmarks.privacy import ours, presidio, speed
from benchmarks.privacy.corpus import UNSEEN, labelled_messages
from benchmarks.privacy.labelled import Labelled
from benchmarks.privacy.run import HELD_OUT
from benchmarks.privacy.scoring import Scores, score
from core.privacy.detect import detect
from core.privacy.spans import Span

# What their kinds are in our words. A kind that means something else is left out of both sides: scrubadub's
# credentials are a user's name with a password, DataFog's dates are of anything.
KINDS: Mapping[str, Mapping[str, str]] = {
    "scrubadub": {
        "email": "EMAIL_ADDRESS", "phone": "PHONE_NUMBER", "credit_card": "CREDIT_CARD", "url": "URL",
        "social_security_number": "US_SSN", "national_insurance_number": "UK_NINO",
        "date_of_birth": "DATE_OF_BIRTH",
    },
    "datafog": {
        "EMAIL": "EMAIL_ADDRESS", "PHONE": "PHONE_NUMBER", "CREDIT_CARD": "CREDIT_CARD", "SSN": "US_SSN",
        "IP_ADDRESS": "IP_ADDRESS", "DE_TAX_ID": "DE_TAX_ID",
    },
}  # fmt: skip
ROUNDS = 3


def measure(python: str, count: int, *, quick: bool) -> dict[str, Any]:
    """Prints a table of accuracy, and of messages a second; the phrases are those nothing was tuned on."""
    labelled = labelled_messages(count, HELD_OUT, UNSEEN)
    timed = speed.short15(500 if quick else 3_000, HELD_OUT)
    rows, figures = [], {}
    for name, version, spans, seconds, kinds in found(python, labelled, timed):
        theirs = score(labelled, spans, kinds)
        same = score(labelled, map(ours.found_in, labelled), kinds)
        rate = len(timed) / support.median(seconds)
        rows.append((f"{name} {version}", len(kinds), *_row(theirs, rate)))
        rows.append(("Crontalk, the same kinds", len(kinds), *_row(same, None)))
        # Their words that tell a number's kind are English ones.
        pairs = [pair for pair in zip(labelled, spans, strict=True) if pair[0].language == "en"]
        english = [message for message, _ in pairs]
        in_english = score(english, [one for _, one in pairs], kinds)
        rows.append((f"{name}, English messages alone", len(kinds), *_row(in_english, None)))
        same_english = score(english, map(ours.found_in, english), kinds)
        rows.append(("Crontalk, the same", len(kinds), *_row(same_english, None)))
        figures[name] = {"version": version, "theirs": theirs.figures(), "ours": same.figures(), "rate": rate}
        figures[name] |= {"English": in_english.figures(), "ours in English": same_english.figures()}
        print(f"\n{kinds_table(name, theirs, same)}", flush=True)
    mine = score(labelled, map(ours.found_in, labelled))
    scopes = {id(message): ours.scope_of(message) for message in timed}
    seconds = timings(lambda message: detect(message.text, scopes[id(message)]), timed)
    rate = len(timed) / support.median(seconds)
    rows.append(("Crontalk, all kinds", len(mine.kinds), *_row(mine, rate)))
    figures["Crontalk"] = {"ours": mine.figures(), "rate": rate}
    columns = (f"{count:,} messages", "kinds", "precision", "recall", "F2", "leaked", "messages/s of a core")
    print(f"\n{markdown(columns, rows)}", flush=True)
    return figures


def found(
    python: str, labelled: Sequence[Labelled], timed: Sequence[Labelled]
) -> list[tuple[str, str, list[list[Span]], list[float], frozenset[str]]]:
    """(name, version, spans by message, seconds by round, kinds) of each."""
    answers = []
    if presidio.installed():
        from importlib.metadata import version

        other = presidio.Presidio()
        spans = [other.detect(message.text) for message in labelled]
        seconds = timings(lambda message: other.detect(message.text), timed[: len(timed) // 4], 1)
        answers.append(
            (
                "Presidio, no model",
                version("presidio-analyzer"),
                spans,
                [4 * one for one in seconds],
                other.kinds,
            )
        )
    else:
        print(presidio.MISSING)
    for name, names in KINDS.items():
        told = elsewhere(python, name, labelled, timed)
        spans = [
            [Span(names[kind], begin, end, 1.0) for kind, begin, end in one if kind in names]
            for one in told["spans"]
        ]
        answers.append((name, told["version"], spans, told["seconds"], frozenset(names.values())))
    return answers


def elsewhere(python: str, name: str, labelled: Sequence[Labelled], timed: Sequence[Labelled]) -> Any:
    """What a library in the peers' environment finds."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "messages.json"
        path.write_text(
            json.dumps({"labelled": [one.text for one in labelled], "timed": [one.text for one in timed]})
        )
        words = [python, str(SCRIPTS / "find.py"), name, str(path), str(ROUNDS)]
        return json.loads(subprocess.run(words, check=True, capture_output=True).stdout)


def timings(
    run: Callable[[Labelled], object], messages: Sequence[Labelled], rounds: int = ROUNDS
) -> list[float]:
    for message in messages[:200]:
        run(message)
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        for message in messages:
            run(message)
        seconds.append(time.process_time() - began)
    return seconds


def kinds_table(name: str, theirs: Scores, same: Scores) -> str:
    rows = [
        (kind, same.kinds[kind].gold, *_three(theirs, kind), *_three(same, kind))
        for kind in sorted(theirs.kinds)
        if same.kinds[kind].gold
    ]
    return markdown((name, "gold", "precision", "recall", "F2", "ours: precision", "recall", "F2"), rows)


def _three(scores: Scores, kind: str) -> tuple[str, ...]:
    one = scores.kinds[kind]
    return (f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f2:.3f}")


def _row(scores: Scores, rate: float | None) -> tuple[str, ...]:
    whole = scores.overall()
    return (
        f"{whole.precision:.3f}", f"{whole.recall:.3f}", f"{whole.f2:.3f}", f"{scores.leak:.1%}",
        f"{rate:,.0f}" if rate else "",
    )  # fmt: skip
