"""Redacting an answer while it is still told: what is released was looked at with what comes after it.

What differs from the redaction of the whole text, which is the one that is stored:
- a span that only a cue more than `CONTEXT` characters before it, or `HOLD` after it, gives away is told;
- of something longer than `HOLD` without a break the part within `MOST` is judged by itself;
- numbers and tokens are given in the order of telling, as in the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from core.privacy.choosing import Choice, chosen
from core.privacy.operators import Tools, rewritten
from core.privacy.placeholders import PLACEHOLDERS
from core.privacy.policy import Policy
from core.privacy.spans import Span

# Longer than nearly all personal data: what ends before it is seen whole.
HOLD = 128
# Left of what is judged, for the words that announce it.
CONTEXT = 160
# Text that has no break at all is cut all the same.
MOST = 4096
_STEP = 64
# Between words, and between the characters of scripts that do not part them.
_BREAK = re.compile(r"\s|(?<=[。！？、，；])|(?=[\u3040-\u30ff\u3400-\u9fff])")


class Redactor:
    """Redacts a text that comes in chunks. `find` is the detector: spans of the text it is given.

    The text is looked at again only when it has grown by a part of what is held, so the time is linear.
    """

    def __init__(self, find: Callable[[str], Iterable[Span]], policy: Policy, tools: Tools) -> None:
        self._find = find
        self._policy = policy
        self._tools = tools
        self._context = ""
        self._held: list[str] = []
        self._size = 0
        self._next = HOLD + _STEP

    def feed(self, chunk: str) -> str:
        """What may be told now."""
        if not self._policy.alters:
            return chunk
        self._held.append(chunk)
        self._size += len(chunk)
        return self._told(whole=False) if self._size >= self._next else ""

    def finish(self) -> str:
        """The rest."""
        return self._told(whole=True) if self._size else ""

    def _told(self, *, whole: bool) -> str:
        text = self._context + "".join(self._held)
        begin = len(self._context)
        choices = chosen(text, self._find(text), self._policy)
        end = len(text) if whole else _cut(text, begin, choices)
        told = rewritten(text[begin:end], _within(choices, begin, end), self._tools).text
        self._context = text[:end][-CONTEXT:]
        self._held, self._size = [text[end:]], len(text) - end
        self._next = max(HOLD + _STEP, self._size + max(_STEP, self._size // 2))
        return told


def _cut(text: str, begin: int, choices: Sequence[Choice]) -> int:
    """The last place, `HOLD` before the end, where the text may be cut; `begin` where it may nowhere."""
    last = len(text) - HOLD
    kept = sorted(
        [(one.begin, one.end) for one in choices] + [found.span() for found in PLACEHOLDERS.finditer(text)]
    )
    free = _free(range(last, begin, -1), kept)
    breaks = (place for place in free if _BREAK.match(text, place))
    cut = next(breaks, begin)
    if cut == begin and last - begin >= MOST:
        cut = next(_free(range(last, begin, -1), kept), begin)
    return cut


def _free(places: Iterable[int], kept: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The places, the last first, that are within none of what is kept."""
    at = len(kept)
    for place in places:
        while at and kept[at - 1][0] >= place:
            at -= 1
        if not at or kept[at - 1][1] <= place:
            yield place


def _within(choices: Sequence[Choice], begin: int, end: int) -> list[Choice]:
    """The choices of `[begin, end)`, as places in it."""
    return [
        one._replace(begin=max(one.begin, begin) - begin, end=one.end - begin)
        for one in choices
        if one.end > begin and one.begin < end
    ]
