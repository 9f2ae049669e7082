"""Operators: what is written where personal data stood, and where it then stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from core.privacy.choosing import Choice, Entry, chosen
from core.privacy.masks import masked
from core.privacy.policy import Operator, Policy
from core.privacy.spans import Span

__all__ = ["Entry", "Redacted", "Taken", "Tools", "read_stored", "redact", "stored"]

REDACTED = "<REDACTED>"
_SOURCES = {"structured": "s", "known": "k", "given": "g", "model": "m", "denied": "d"}
_SOURCES_READ = {letter: word for word, letter in _SOURCES.items()}


class Tools(Protocol):
    """What operators need of an account and a conversation."""

    def token(self, kind: str, value: str) -> str:
        """The whole token for a value, kept so that it can be restored: `[email:a7x2b]`."""

    def digest(self, kind: str, value: str) -> str:
        """Sixteen characters of base32, the same for the same value (`tokens.digest_of`)."""

    def number(self, kind: str, value: str) -> int | None:
        """Which of the conversation's values of this kind it is, from 1; None writes no number."""


class Taken(NamedTuple):
    """One entity: `[begin, end)` of the text that was given, `[stored_begin, stored_end)` of the result."""

    type: str
    begin: int
    end: int
    stored_begin: int
    stored_end: int
    score: float
    source: str
    operator: Operator


class Redacted(NamedTuple):
    """A text that may be stored, and what was taken from it, in order."""

    text: str
    taken: tuple[Taken, ...] = ()


# A named tuple is made in half the time without its own constructor; an enumeration's member is slow to name.
_made = tuple.__new__
_MASK = Operator.MASK


def redact(
    text: str, spans: Iterable[Span], policy: Policy, tools: Tools, *, settled: Sequence[Entry] = ()
) -> Redacted:
    """The text as the policy lets it be stored. Beside the spans it takes the words the policy denies.

    The result is ordered and without overlaps. Placeholders stay as they are, and `settled`, the entries of
    a text that was stored before, are carried over: redacting twice changes nothing more.
    """
    if not spans and not settled and not policy.deny:
        return _made(Redacted, (text, ()))
    choices = chosen(text, spans, policy, settled)
    if len(choices) == 1:
        return _with_one(text, choices[0], tools)
    return rewritten(text, choices, tools) if choices else _made(Redacted, (text, ()))


def rewritten(text: str, choices: Sequence[Choice], tools: Tools) -> Redacted:
    if len(choices) == 1:
        return _with_one(text, choices[0], tools)
    parts: list[str] = []
    taken: list[Taken] = []
    done = length = 0
    for choice in choices:
        kind, begin, end, score, source, operator, settled = choice
        if operator is _MASK and not settled:
            written = masked(kind, text[begin:end])
        else:
            written = _written(text[begin:end], choice, tools)
        length += begin - done
        parts += (text[done:begin], written)
        past = length + len(written)
        taken.append(_made(Taken, (kind, begin, end, length, past, score, source, operator)))
        done, length = end, past
    parts.append(text[done:])
    return Redacted("".join(parts), tuple(taken))


def _with_one(text: str, choice: Choice, tools: Tools) -> Redacted:
    """The same of one, as most texts that have any."""
    kind, begin, end, score, source, operator, settled = choice
    value = text[begin:end]
    written = masked(kind, value) if operator is _MASK and not settled else _written(value, choice, tools)
    taken = _made(Taken, (kind, begin, end, begin, begin + len(written), score, source, operator))
    return _made(Redacted, (f"{text[:begin]}{written}{text[end:]}", (taken,)))


def _written(value: str, choice: Choice, tools: Tools) -> str:
    if choice.settled:
        return value
    written = _WRITERS.get(choice.operator)
    return written(choice.type, value, tools) if written else value


def _replaced(kind: str, value: str, tools: Tools) -> str:
    number = tools.number(kind, value)
    return f"<{kind}>" if number is None else f"<{kind}_{number}>"


_WRITERS: Mapping[Operator, Callable[[str, str, Tools], str]] = {
    Operator.MASK: lambda kind, value, _: masked(kind, value),
    Operator.REPLACE: _replaced,
    Operator.HASH: lambda kind, value, tools: f"<{kind}:{tools.digest(kind, value)}>",
    Operator.TOKENISE: lambda kind, value, tools: tools.token(kind, value),
    Operator.REDACT: lambda *_: REDACTED,
}


def stored(taken: Iterable[Taken]) -> list[dict[str, Any]]:
    """Entities as they are stored: places in the stored text, and never a value."""
    return [
        {
            "t": one.type,
            "b": one.stored_begin,
            "e": one.stored_end,
            "s": round(one.score, 3),
            "o": one.operator.value,
            "d": _SOURCES.get(one.source, one.source),
        }
        for one in taken
    ]


def read_stored(entities: Sequence[dict[str, Any]] | None) -> tuple[Entry, ...]:
    """What `stored` made; None is none."""
    return tuple(
        Entry(
            one["t"], one["b"], one["e"], one["s"], _SOURCES_READ.get(one["d"], one["d"]), Operator(one["o"])
        )
        for one in entities or ()
    )
