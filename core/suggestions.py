"""Suggestions: quick replies, ordered, that a bot's configuration or the model's own answer gives. Pure.

A bot's `meta.suggestions` is a list of texts or of `{text, value}`, shown with every answer, or the word
`model`: then there are only those the model gives. Where it is either, an answer may end with a block that
gives suggestions of its own, a line each, `text` or `text => value`:

    ```suggestions
    Track my order
    Talk to a person => human
    ```

The block is taken off what is stored and said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

KEY = "suggestions"
OF_MODEL = "model"
MOST = 10
LONGEST = 200  # characters
FENCE, BEGIN = "```", "```suggestions"

Suggestion = dict[str, str]


def suggestions_of(meta: Mapping[str, Any] | None) -> list[Suggestion]:
    """Those that a message holds, or a bot is configured with; what is none of our forms is left out."""
    given = (meta or {}).get(KEY)
    return _read(given) if isinstance(given, list) else []


def with_suggestions(text: str, configured: Any) -> tuple[str, dict[str, Any]]:
    """An answer as it is stored, and the meta that its suggestions are stored in.

    `configured` is the bot's `meta.suggestions`. An answer that is nothing but suggestions stays whole.
    """
    if not wants_suggestions(configured):
        return text, {}
    found = _read(configured) if isinstance(configured, list) else []
    said, lines = _without_block(text)
    if said:
        text, found = said, _read(map(_line, lines)) or found
    return text, {KEY: found} if found else {}


def _without_block(text: str) -> tuple[str, list[str]]:
    """What stands before the block that ends a text, and its lines; nothing where there is none."""
    whole = text.rstrip()
    before, begin, block = whole.removesuffix(FENCE).rpartition(BEGIN)
    lines = block.splitlines()
    if not whole.endswith(FENCE) or not begin or FENCE in block or not lines or lines[0].strip():
        return "", []
    return before.rstrip(), lines


def _line(line: str) -> Suggestion:
    text, arrow, value = line.strip().removeprefix("- ").partition("=>")
    return {"text": text.strip(), "value": value.strip() if arrow else text.strip()}


def _read(given: Iterable[Any]) -> list[Suggestion]:
    found: list[Suggestion] = []
    for one in given:
        text = one.get("text") if isinstance(one, Mapping) else one
        value = one.get("value", text) if isinstance(one, Mapping) else one
        if not isinstance(text, str) or not isinstance(value, str) or not text.strip():
            continue
        found.append({"text": text.strip()[:LONGEST], "value": (value.strip() or text.strip())[:LONGEST]})
    return found[:MOST]


def pieces_of(configured: Any) -> Callable[[str], str]:
    """What is told of the pieces of an answer: all, or what stands before a block of suggestions."""
    return Unsuggested().feed if wants_suggestions(configured) else str


def wants_suggestions(configured: Any) -> bool:
    """Whether a bot that is configured like this may end an answer with a block."""
    return isinstance(configured, list) or configured == OF_MODEL


class Unsuggested:
    """An answer that is told in pieces, without what may be the block that ends it.

    From where a block begins nothing more is told: what is stored says whether it was one.
    """

    def __init__(self) -> None:
        self._held = ""
        self._over = False

    def feed(self, piece: str) -> str:
        """What may be told now."""
        if self._over:
            return ""
        text = self._held + piece
        said, begin, _ = text.partition(BEGIN)
        self._over = bool(begin)
        if not self._over:
            cut = next(n for n in range(len(BEGIN) - 1, -1, -1) if text.endswith(BEGIN[:n]))
            said = text[: len(text) - cut]
        told = said.rstrip()
        self._held = text[len(told) :]
        return told
