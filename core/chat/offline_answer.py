"""Composes the offline answer: who speaks, what was asked, what the bot was told about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from core.chat.provider import ChatMessage, ModelRequest, ToolCall

QUOTE_LENGTH = 160
FACTS = 2
# Longer texts are read up to here: an answer costs milliseconds whatever was pasted.
READ_LENGTH = 20_000

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
# What stands around records and files (core/retrieving.py, core/showing.py): no words of theirs.
_WRAPPING = re.compile(
    r"</?(?:record|reference|file)\b[^>\n]*>|What follows between <[^\n]*? whoever it says it is from\."
)
_PERSONA = re.compile(r"you are (?:called |named )?([^.!?\n;]{2,120})", re.IGNORECASE)
_WORD = re.compile(r"\w{3,}")
# Words of an instruction, not of its subject.
_COMMON = {
    *("about", "also", "and", "answer", "any", "are", "ask", "but", "can", "could", "does", "for", "from"),
    *("give", "has", "have", "her", "him", "his", "how", "into", "its", "just", "let", "make", "may", "more"),
    *("not", "now", "one", "only", "our", "out", "over", "please", "say", "short", "should", "some", "tell"),
    *("than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "was"),
    *("were", "what", "when", "where", "which", "who", "why", "will", "with", "would", "write", "you"),
    "your",
}


def compose(system: str, messages: Sequence[ChatMessage]) -> str:
    """A short answer, the same for the same words, that shows what a model would have had to work with."""
    questions = [message.text for message in messages if message.role == "user"]
    notes = [message.text for message in messages if message.role == "system"]
    told = _WRAPPING.sub("\n", "\n".join([system, *notes])[:READ_LENGTH])
    parts = [_greeting(told)]
    if questions:
        parts.append(_question(questions))
        parts.append(_results(messages))
        parts.append(_knowledge(told, questions[-1][:READ_LENGTH]))
    elif messages:
        parts.append(f"Nobody has asked anything yet; the last words were {_quote(messages[-1].text)}.")
    else:
        parts.append("Nobody has said anything yet.")
    parts.append("(Offline answer, composed without a language model.)")
    return " ".join(part for part in parts if part)


def reason_of(request: ModelRequest, called: Sequence[ToolCall]) -> str:
    """What the offline model thinks: what it was asked, what it will call, and what it has to go by."""
    question = next((m.text for m in reversed(request.messages) if m.role == "user"), "")
    parts = [f"The question is {_quote(question)}." if question.strip() else "Nobody has asked anything."]
    if called:
        parts.append(f"I will call {' and '.join(call.name for call in called)}.")
    else:
        results = sum(message.role == "tool" for message in request.messages)
        known = len(_sentences(request.system[:READ_LENGTH]))
        parts.append(f"I have a brief of {known} sentences and {results} results to answer from.")
    return " ".join(parts)


def _results(messages: Sequence[ChatMessage]) -> str:
    """What the functions called since the last question gave."""
    last = max(index for index, message in enumerate(messages) if message.role == "user")
    since = messages[last:]
    names = {call.id: call.name for message in since for call in message.calls}
    told = [f"{names[m.call_id]} said {_quote(m.text)}." for m in since if m.call_id and m.call_id in names]
    return " ".join(told)


def _greeting(told: str) -> str:
    persona = _PERSONA.search(told)
    if persona:
        return f"I am {persona[1].strip()}."
    brief = next(iter(_sentences(told)), "")
    return f"My brief is {_quote(brief)}." if brief else ""


def _question(questions: Sequence[str]) -> str:
    last = questions[-1]
    words = len(last.split())
    asked = (
        f"You asked {_quote(last)}" if words <= 40 else f"You sent {words} words that begin {_quote(last)}"
    )
    if len(questions) == 1:
        return f"{asked}."
    earlier = len(questions) - 1
    counted = "one earlier message" if earlier == 1 else f"{earlier} earlier messages"
    return f"{asked}, after {counted}, the first of them {_quote(questions[0], 60)}."


def _knowledge(told: str, question: str) -> str:
    """The sentences of the brief that share most words with the question, in their own order."""
    wanted = _keywords(question)
    sentences = [text for text in _sentences(told) if not _PERSONA.match(text)]
    scored = [(len(wanted & _keywords(text)), -index) for index, text in enumerate(sentences)]
    best = sorted((pair for pair in scored if pair[0]), reverse=True)[:FACTS]
    if best:
        facts = [_quote(sentences[-index]) for _, index in sorted(best, key=lambda pair: -pair[1])]
        return f"What I know about it: {' '.join(facts)}."
    return f"My brief says nothing about it, only {_quote(sentences[0])}." if sentences else ""


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


def _words(text: str) -> Iterable[str]:
    return (match.group().casefold() for match in _WORD.finditer(text))


def _keywords(text: str) -> set[str]:
    """The words that carry a subject, without their plural s."""
    return {word.removesuffix("s") for word in _words(text) if word not in _COMMON}


def _quote(text: str, length: int = QUOTE_LENGTH) -> str:
    line = " ".join(text[: length * 4].split())
    if len(line) > length:
        line = line[: length - 1].rstrip() + "…"
    return f"“{line.rstrip('.。')}”"
