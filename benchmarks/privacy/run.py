"""Accuracy and speed of the detector of personal data, beside Presidio without a model, on the same messages.

    python -m benchmarks privacy
    python -m benchmarks.privacy.run --seed 7 --half 0 --misses 5 --only accuracy

The seed that figures are reported on is not the one the detector was tuned on: that was 1. `--half` keeps to
every second phrase, so that a change can be tuned on one half of the words and measured on the other; halves
2 to 4 are sets of words of their own that nothing is tuned on, so their misses are not shown. The third has
secrets and NHS numbers only, the fourth six kinds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import support
from benchmarks.privacy import ours, presidio, speed
from benchmarks.privacy.chatter import clean_messages
from benchmarks.privacy.corpus import UNTUNED, labelled_messages
from benchmarks.privacy.labelled import Labelled
from benchmarks.privacy.lookalikes import lookalikes
from benchmarks.privacy.scoring import Score, Scores, score
from core.privacy.detect import Scope, detect
from core.privacy.known import Identity, known
from core.privacy.spans import Span

HELD_OUT = 424242
SURE = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=HELD_OUT)
    parser.add_argument(
        "--half",
        type=int,
        choices=(0, 1, *sorted(UNTUNED)),
        default=None,
        help="keep to one half of the phrases, or to those never tuned on: 2, or 3 and 4 of some kinds only",
    )
    parser.add_argument("--messages", type=int, default=12_000, help="labelled messages")
    parser.add_argument("--clean", type=int, default=50_000, help="clean messages")
    parser.add_argument(
        "--presidio", type=int, default=3_000, help="of them, how many Presidio reads; 0 leaves it out"
    )
    parser.add_argument(
        "--misses", type=int, default=0, help="print so many misses and false hits of each kind"
    )
    parser.add_argument("--only", choices=("accuracy", "speed", "hostile"), help="one part")
    parser.add_argument(
        "--write-mix", type=Path, help="write the messages of the speed part here, as JSON lines"
    )
    given = support.options(parser)
    if given.presidio and not presidio.installed():
        print(presidio.MISSING)
        given.presidio = 0
    other = presidio.Presidio() if given.presidio else None
    figures: dict[str, Any] = {}
    if given.only in {None, "accuracy"}:
        figures["accuracy"] = accuracy(given, other)
        figures["false hits"] = false_hits(given, other)
    if given.only in {None, "speed"}:
        figures["speed"] = rates(given, other)
    if given.only in {None, "hostile"}:
        figures["hostile"] = hostile(other)
    support.write("privacy", given, figures)


def accuracy(given: argparse.Namespace, other: presidio.Presidio | None) -> dict[str, Any]:
    messages = labelled_messages(given.messages, given.seed, given.half)
    mine = score(messages, map(ours.found_in, messages))
    rows = [_row(kind, mine.kinds[kind]) for kind in sorted(mine.kinds)] + [_row("all", mine.overall())]
    half = "all phrases" if given.half is None else f"phrases of half {given.half}"
    title = (
        f"{given.messages:,} labelled messages, seed {given.seed}, {half}; leak {mine.leak:.2%} of characters"
    )
    support.show(title, ("kind", "gold", "precision", "recall", "F2", "exact"), rows)
    if given.half not in UNTUNED:
        _print_misses(mine, given.misses)
    figures: dict[str, Any] = {"ours": mine.figures()}
    if other:
        some = messages[: given.presidio]
        theirs = score(some, [other.detect(message.text) for message in some], other.kinds)
        same = score(some, map(ours.found_in, some), other.kinds)
        rows = [
            (kind, same.kinds[kind].gold, *_three(same.kinds[kind]), *_three(theirs.kinds[kind]))
            for kind in sorted(other.kinds)
        ]
        rows.append(("all of these", same.overall().gold, *_three(same.overall()), *_three(theirs.overall())))
        rows.append(("leak", "", f"{same.leak:.2%}", "", "", f"{theirs.leak:.2%}", "", ""))
        columns = ("kind", "gold", "P ours", "R", "F2", "P Presidio", "R", "F2")
        support.show(f"beside Presidio without a model, the first {len(some):,}, kinds it has", columns, rows)
        figures |= {"presidio": theirs.figures(), "ours on the same": same.figures()}
    return figures


def _three(one: Score) -> tuple[str, str, str]:
    return (f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f2:.3f}")


def _row(kind: str, one: Score) -> tuple[str, ...]:
    return (kind, f"{one.gold:,}", *_three(one), f"{one.exact / one.gold:.3f}" if one.gold else "")


def _print_misses(scores: Scores, most: int) -> None:
    """For whoever tunes the detector. The messages are made up, so their text may be shown."""
    for name, pairs in (("missed", scores.missed), ("false", scores.false)):
        seen: dict[str, int] = {}
        for message, span in pairs:
            seen[span.type] = seen.get(span.type, 0) + 1
            if seen[span.type] <= most:
                value = message.text[span.begin : span.end]
                print(f"{name} {span.type} {value!r} in {message.text!r} {message.regions}")


def false_hits(given: argparse.Namespace, other: presidio.Presidio | None) -> dict[str, Any]:
    """Spans in messages that hold nobody's data."""
    likes, clean = lookalikes(given.seed), clean_messages(given.clean, given.seed)
    mine = [detect(text, ours.CLEAN) for text in likes], [detect(text, ours.CLEAN) for text in clean]
    rows = [("ours", *_false_row(*mine))]
    figures: dict[str, Any] = {"ours": rows[0][1:]}
    if given.misses:
        for text, spans in zip((*likes, *clean), (*mine[0], *mine[1]), strict=True):
            for span in spans:
                print(f"false {span.type} {span.score} {text[span.begin : span.end]!r} in {text!r}")
    if other:
        some = clean[: given.presidio * 3]
        rows.append(
            (
                "Presidio",
                *_false_row([other.detect(text) for text in likes], [other.detect(text) for text in some]),
            )
        )
        figures["presidio"] = rows[1][1:]
    columns = ("", "look-alikes", "flagged", f"flagged at {SURE}", "clean messages", "spans", "per 1,000")
    support.show("messages without personal data", columns, rows)
    return figures


def _false_row(likes: Sequence[Sequence[Span]], clean: Sequence[Sequence[Span]]) -> tuple[Any, ...]:
    sure = sum(any(span.score >= SURE for span in spans) for spans in likes)
    spans = sum(map(len, clean))
    return (
        len(likes),
        sum(map(bool, likes)),
        sure,
        f"{len(clean):,}",
        spans,
        f"{spans / len(clean) * 1000:.2f}",
    )


def rates(given: argparse.Namespace, other: presidio.Presidio | None) -> dict[str, Any]:
    mix = speed.mix15(20_000, given.seed)
    if given.write_mix:
        speed.write_mix(mix, given.write_mix)
    heavy, light = (
        [Labelled(text, (), "en") for text in clean_messages(20_000, given.seed, talk)] for talk in (0.0, 0.8)
    )
    short = speed.short15(20_000, given.seed)
    scopes = {id(message): ours.scope_of(message) for message in (*mix, *short)}
    contact = Scope(
        known=known([Identity(("María José Strauß",), ("maria@example.com",), ("+49 30 1234567",))])
    )

    def mask(message: Labelled) -> str:
        return ours.masked(message.text, scopes[id(message)])

    def clean(message: Labelled) -> str:
        return ours.masked(message.text, ours.CLEAN)

    def known_contact(message: Labelled) -> str:
        return ours.masked(message.text, contact)

    parts = {
        "short15, detect": speed.rate(lambda message: detect(message.text, scopes[id(message)]), short),
        "short15, detect and mask": speed.rate(mask, short),
        "mix15, detect": speed.rate(lambda message: detect(message.text, scopes[id(message)]), mix),
        "mix15, detect and mask": speed.rate(mask, mix),
        "chat, detect and mask": speed.rate(clean, light),
        "chat, with one contact's identities": speed.rate(known_contact, light),
        "number-heavy chat, detect and mask": speed.rate(clean, heavy),
    }
    if other:
        parts["mix15, Presidio"] = speed.rate(
            lambda message: other.detect(message.text), mix[: given.presidio], 1
        )
    rows = [
        (
            name,
            f"{one['characters']:.0f}",
            f"{one['rate']:,.0f}",
            f"{one['least']:,.0f}–{one['most']:,.0f}",
            *(f"{one[point]:,.1f}" for point in ("p50", "p99", "p99.9")),
        )
        for name, one in parts.items()
    ]
    columns = (
        "CPU time of one core",
        "characters",
        "messages/s",
        "all rounds",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
    )
    support.show(f"speed, median of {speed.ROUNDS} rounds", columns, rows)
    return parts


def hostile(other: presidio.Presidio | None) -> dict[str, Any]:
    scope = ours.EVERYTHING
    began = time.process_time()
    measured = speed.hostile(lambda text: ours.masked(text, scope))
    shapes = sorted(measured, key=lambda shape: -max(measured[shape].values()))
    rows = [(shape, *_hostile_row(measured[shape])) for shape in shapes[:10]]
    columns = ("shape", *(f"µs/char at {length // 1000} k" for length in speed.LENGTHS), "64 k to 4 k")
    spent = time.process_time() - began
    support.show(
        f"hostile messages: the 10 dearest of {len(shapes)} shapes ({spent:.1f} s for all)", columns, rows
    )
    figures: dict[str, Any] = {"ours": measured}
    if other:
        figures["presidio"] = seconds = {}
        for name, text in (("dots", "." * 200), ("dots", "." * 1000), ("digits", "7" * 4000)):
            began = time.process_time()
            other.detect(text)
            seconds[f"{len(text):,} {name}"] = time.process_time() - began
        rows = [(name, f"{taken * 1000:,.0f}") for name, taken in seconds.items()]
        support.show("Presidio on hostile messages", ("message", "ms"), rows)
    return figures


def _hostile_row(measured: Mapping[int, float]) -> Iterator[str]:
    for length in speed.LENGTHS:
        yield f"{measured[length]:.2f}" if length in measured else "–"
    last = measured.get(speed.LENGTHS[-1])
    yield f"{last / measured[speed.LENGTHS[0]]:.1f}" if last else "not linear"


if __name__ == "__main__":
    main()
