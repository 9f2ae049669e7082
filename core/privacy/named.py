"""What a model of names finds, as spans: texts in pieces, labels as kinds, what belongs together as one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from core.privacy.policy_documents import kind_of
from core.privacy.spans import Span
from core.privacy.wire import UNKNOWN

# Labels of well-known models by Presidio's kinds. Others are kinds of their own.
_KINDS = {
    **dict.fromkeys(("PER", "NAME", "FIRSTNAME", "FIRST_NAME", "GIVENNAME", "GIVEN_NAME"), "PERSON"),
    **dict.fromkeys(("MIDDLENAME", "LASTNAME", "LAST_NAME", "SURNAME", "FAMILY_NAME"), "PERSON"),
    **dict.fromkeys(("LOC", "GPE", "FAC", "CITY", "STATE", "COUNTY", "COUNTRY"), "LOCATION"),
    **dict.fromkeys(("STREET", "STREETADDRESS"), "STREET_ADDRESS"),
    "ORG": "ORGANIZATION",
    "NORP": "NRP",
    "PHONE": "PHONE_NUMBER",
}
_NO_LETTER = re.compile(r"[^A-Z0-9]+")
_BREAK = r"\s。！？、，；"
_BETWEEN_WORDS = re.compile(f"[{_BREAK}]")
_TO_THE_LAST_BREAK = re.compile(f".*[{_BREAK}]", re.DOTALL)
# No word in any language. Tokenizers that peel off punctuation take the square of its length in time.
_ENDLESS = re.compile(f"[^{_BREAK}]{{300}}")


class Found(NamedTuple):
    """`[begin, end)` of the text that was looked at, and what the model calls it."""

    begin: int
    end: int
    label: str
    score: float


def pieces(text: str, size: int, overlap: int) -> Iterator[tuple[int, str]]:
    """The text as pieces of `size` characters at most, each with its place; cut between words where it has
    some, and within what is too long for one.

    Each begins about `overlap` characters before the end of the one before it: what is shorter is seen whole.
    """
    begin = 0
    while True:
        end = min(begin + size, len(text))
        endless = _ENDLESS.search(text, begin, end)
        if endless and endless.end() < len(text):
            end = endless.end()
        elif end < len(text):
            last = _TO_THE_LAST_BREAK.match(text, end - size // 4, end)
            end = last.end() if last else end
        yield begin, text[begin:end]
        if end == len(text):
            return
        between = _BETWEEN_WORDS.search(text, max(end - overlap, begin), end - 1)
        begin = between.end() if between else end - overlap


def spans(text: str, found: Iterable[Found]) -> list[Span]:
    """In order, without white space around them.

    Those of one kind that overlap, or that nothing or one space parts, are one: a model may tell a name word
    by word, and pieces of a text tell some twice.
    """
    joined: list[Span] = []
    last: dict[str, int] = {}
    for one in sorted(_trimmed(text, found)):
        kind = _kind(one.label)
        at = last.get(kind)
        before = None if at is None else joined[at]
        if at is not None and before is not None and text[before.end : one.begin] in {"", " "}:
            end, score = max(before.end, one.end), max(before.score, one.score)
            joined[at] = Span(kind, before.begin, end, score, "model")
        else:
            last[kind] = len(joined)
            joined.append(Span(kind, one.begin, one.end, one.score, "model"))
    return joined


def _trimmed(text: str, found: Iterable[Found]) -> Iterator[Found]:
    for one in found:
        begin, end = max(one.begin, 0), min(one.end, len(text))
        while begin < end and text[begin].isspace():
            begin += 1
        while begin < end and text[end - 1].isspace():
            end -= 1
        if begin < end:
            yield Found(begin, end, one.label, min(max(one.score, 0.0), 1.0))


def _kind(label: str) -> str:
    word = _NO_LETTER.sub("_", label.upper()).strip("_")
    return _KINDS.get(word) or kind_of(word) or UNKNOWN
