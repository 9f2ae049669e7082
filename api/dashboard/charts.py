"""Small charts as SVG, drawn here: shapes with classes, no style and no script. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.overviews import Hour

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 1040, 180, 44, 20, 10
STRIP_WIDTH, STRIP_HEIGHT = 288, 24
# Which states are drawn together, the lowest first.
LAYERS = (
    ("succeeded", "succeeded", ("succeeded",)),
    ("failed", "failed", ("failed",)),
    ("missed", "missed", ("missed",)),
    ("skipped", "skipped or cancelled", ("skipped", "cancelled")),
    ("open", "not ended", ("waiting", "pending", "running")),
)


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    layer: str
    words: str


@dataclass(frozen=True)
class Chart:
    """Bars, and what stands at the axes: (x, words) below, (y, words) at the left."""

    width: int
    height: int
    base: int
    left: int
    bars: tuple[Bar, ...]
    below: tuple[tuple[float, str], ...]
    beside: tuple[tuple[float, str], ...]
    words: str


@dataclass(frozen=True)
class Strip:
    """One class of failure over the hours."""

    name: str
    total: int
    width: int
    height: int
    bars: tuple[Bar, ...]
    words: str


def runs_chart(hours: Sequence[Hour]) -> Chart | None:
    """Runs by the hour, each hour's states upon each other; None without an hour."""
    if not hours:
        return None
    most = top_of(max(sum(hour.runs.values()) for hour in hours))
    base, room = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    step = (WIDTH - LEFT) / len(hours)
    bars: list[Bar] = []
    for number, hour in enumerate(hours):
        height = 0.0
        for layer, words, states in LAYERS:
            count = sum(hour.runs.get(state, 0) for state in states)
            if count:
                tall = room * count / most
                told = f"{hour.begin:%H}:00 UTC: {count} {words}"
                bars.append(
                    Bar(
                        round(LEFT + number * step + 1.5, 1),
                        round(base - height - tall, 1),
                        round(step - 3, 1),
                        round(tall, 1),
                        layer,
                        told,
                    )
                )
                height += tall
    below = [(LEFT + (n + 0.5) * step, f"{hour.begin:%H}") for n, hour in enumerate(hours) if n % 3 == 0]
    total = sum(sum(hour.runs.values()) for hour in hours)
    return Chart(
        WIDTH,
        HEIGHT,
        base,
        LEFT,
        tuple(bars),
        tuple((round(x, 1), words) for x, words in below),
        ((TOP, str(most)), (TOP + room / 2, str(most // 2) if most > 1 else ""), (base, "0")),
        f"Runs begun in each of the last {len(hours)} hours, {total} in all",
    )


def strips(hours: Sequence[Hour]) -> list[Strip]:
    """A small chart for every class of failure, the most frequent first, all on one scale."""
    totals: dict[str, int] = {}
    for hour in hours:
        for name, count in hour.failures.items():
            totals[name] = totals.get(name, 0) + count
    most = max((count for hour in hours for count in hour.failures.values()), default=1)
    step = STRIP_WIDTH / len(hours) if hours else 0.0
    found = []
    for name, total in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        bars = []
        for number, hour in enumerate(hours):
            count = hour.failures.get(name, 0)
            tall = max(2.0, STRIP_HEIGHT * count / most)
            if count:
                x, y = round(number * step + 1, 1), round(STRIP_HEIGHT - tall, 1)
                told = f"{hour.begin:%H}:00 UTC: {count} {name}"
                bars.append(Bar(x, y, round(step - 2, 1), round(tall, 1), "failed", told))
        words = f"{name} by the hour, {total} in all"
        found.append(Strip(name, total, STRIP_WIDTH, STRIP_HEIGHT, tuple(bars), words))
    return found


def top_of(most: int) -> int:
    """A round number that is not below."""
    unit = 1
    while True:
        for step in (1, 2, 4, 6, 8):
            if step * unit >= most:
                return step * unit
        unit *= 10
