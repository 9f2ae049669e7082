r"""Altered tokens: models write `[ Email : A7X2B ]`, `\[email:a7x2b\]`, `【email:a7x2b】` or `email:a7x2b`.

Each is taken for the one token it can be, where it can be only one. A token has one colon, so the text is
looked at colon by colon: the code after it first, which seldom is one that is known, and then the label
before it. What is looked at around a colon is bounded, so the time is linear.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from core.privacy.kinds import LABELS
from core.privacy.placeholders import LONGEST_TOKEN

_OPEN, _CLOSE = r"\\?[\[［【]", r"\\?[\]］】]"
_AROUND = r"[ \t\u00a0*`]{0,3}"
_WORD = r"[^\W\d_](?:\\?_|[^\W_]|-)*"
_AFTER = re.compile(rf"({_AROUND})([A-Za-z2-7]{{5,26}})(?![A-Za-z0-9])({_AROUND}{_CLOSE})?")
_AFTER_BEGUN = re.compile(rf"{_AROUND}(?:[A-Za-z2-7]{{1,26}}(?:{_AROUND}\\?)?)?")
_BEFORE = re.compile(rf"({_OPEN}){_AROUND}({_WORD}(?:[ ]{_WORD}){{0,3}}){_AROUND}")
_BEFORE_BEGUN = re.compile(rf"{_OPEN}{_AROUND}(?:{_WORD}(?:[ ]{_WORD}){{0,3}}\\?{_AROUND})?")
_COLON = re.compile("[:：]")
_OPENING = "[［【"
_SEPARATORS = re.compile(r"\\?_|[ -]")
_BEGINS = re.compile(r"(?<!\w)[A-Za-z]")
# How much before a colon may belong to it: with a bracket, and without.
_REACH, _BARE_REACH = 45, 32


@dataclass(frozen=True, slots=True)
class Found:
    """`[begin, end)` of the text is this token, altered or not."""

    begin: int
    end: int
    token: str


class Known:
    """Tokens that may occur, found however they are written."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._codes: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for token in tokens:
            label, _, code = token[1:-1].partition(":")
            self._codes[code][label] = token
        self._labels = {label for labels in self._codes.values() for label in labels}
        self._beginnings = {label[:end] for label in self._labels for end in range(1, len(label) + 1)}

    def find(self, text: str) -> list[Found]:
        """Every token of a whole text, in order."""
        return self.scan(text, 0, whole=True)[0]

    def scan(self, text: str, begin: int, *, whole: bool) -> tuple[list[Found], int]:
        """Every token of the text from `begin` on, and where what more text could make a token of begins.

        The character before `begin`, if any, still tells whether a word begins there.
        """
        tokens: list[Found] = []
        if not self._codes:
            return tokens, len(text)
        done = least = begin
        for colon in _COLON.finditer(text, begin):
            place = colon.start()
            if not whole and _AFTER_BEGUN.fullmatch(text, place + 1):
                first = self._label_begins(text, place, done)
                if first < place:
                    return tokens, first
            found = self._at(text, place, done)
            if found:
                tokens.append(found)
            done = found.end if found else done
            least = max(place + 1, done)
        return tokens, len(text) if whole else self._label_begins(text, len(text), least, begun=True)

    def _at(self, text: str, colon: int, least: int) -> Found | None:
        after = _AFTER.match(text, colon + 1)
        labels = self._codes.get(after[2].lower()) if after else None
        if not after or not labels:
            return None
        begin = _bracket(text, colon, least)
        before = _BEFORE.fullmatch(text, begin, colon) if after[3] and begin < colon else None
        token = self._token(before[2], labels) if before else None
        if token and after.end() - begin <= LONGEST_TOKEN:
            # One that escapes nothing is no part of it.
            return Found(begin + (text[begin] == "\\" and "\\" not in after[3]), after.end(), token)
        if after[1]:
            return None
        for begin in _words(text, colon, least):
            token = labels.get(_plain(text[begin:colon]))
            if token:
                return Found(begin, after.end(2), token)
        return None

    def _token(self, word: str, labels: Mapping[str, str]) -> str | None:
        """By its label; or by its code alone, where the model has put a word of its own for the label."""
        plain = _plain(word)
        if plain in labels:
            return labels[plain]
        foreign = plain not in LABELS and plain not in self._labels and " " not in word
        return next(iter(labels.values())) if foreign and len(labels) == 1 else None

    def _label_begins(self, text: str, end: int, least: int, *, begun: bool = False) -> int:
        """Where the earliest label begins that ends here, or that may if more text follows; else `end`.

        One that is so long already that no token comes of it does not count.
        """
        least = max(least, len(text) - LONGEST_TOKEN + 1)
        bracket = _bracket(text, end, least)
        before, labels = (_BEFORE_BEGUN, self._beginnings) if begun else (_BEFORE, self._labels)
        if bracket < end and before.fullmatch(text, bracket, end):
            return bracket
        if begun and text.endswith("\\", least):
            end -= 1
        return next((at for at in _words(text, end, least) if _plain(text[at:end]) in labels), end)


def _bracket(text: str, end: int, least: int) -> int:
    """Where the last bracket before `end` begins, its backslash with it; `end` if there is none near."""
    least = max(least, end - _REACH)
    place = max(text.rfind(bracket, least, end) for bracket in _OPENING)
    if place < 0:
        return end
    if place and text[place - 1] == "\\":
        return place - 1 if place > least else end
    return place


def _words(text: str, end: int, least: int) -> Iterator[int]:
    return (found.start() for found in _BEGINS.finditer(text, max(least, end - _BARE_REACH), end))


def _plain(word: str) -> str:
    return _SEPARATORS.sub("_", word).lower()
