"""Which functions the offline model calls, and with what: decided by words, the same every time.

docs/models.md describes the rules for people; `obey` and `loop` are there for tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from core.chat.offline_arguments import arguments_for
from core.chat.provider import ChatMessage, ModelRequest, Tool, ToolCall

MOST_READ = 4_000  # characters of a question that may name a function
MOST_CALLS = 8  # in one answer
# Names on either side of these words are called one after the other, those between them together.
_STAGES = re.compile(r"\b(?:then|afterwards|after that|finally)\b", re.IGNORECASE)
_ORDER = re.compile(r"\bCALL\s+([A-Za-z_][\w.-]{0,63})\s*(?=\{)|\b([A-Za-z_][\w.-]{0,63})\((?=\s*\{)")


def tool_calls(request: ModelRequest) -> tuple[ToolCall, ...]:
    """The calls to make now; none when every function that the question names was called.

    The function that must be called comes alone. Otherwise all that the question names in its first part that
    has any left: parts are divided by "then".
    """
    since = _since_the_question(request.messages)
    if not request.tools:
        return ()
    if request.options.get("loop") == 1:
        return _numbered([_for_ever(request.tools[0], since)], since)
    question = since[0].text[:MOST_READ] if since and since[0].role == "user" else ""
    called = {call.name for message in since for call in message.calls}
    forced = [tool for tool in request.tools if tool.name == request.forced and tool.name not in called]
    wanted = [(tool.name, arguments_for(tool, question)) for tool in forced]
    for part in _STAGES.split(question) if not wanted else ():
        wanted = [one for one in _named(part, question, request.tools) if one[0] not in called]
        if wanted:
            break
    if request.options.get("obey") == 1:
        wanted += [order for order in _orders(request, since) if order not in wanted]
    return _numbered(wanted[:MOST_CALLS], since)


Wanted = tuple[str, dict[str, Any]]


def _numbered(wanted: Sequence[Wanted], since: Sequence[ChatMessage]) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(f"offline_{len(since)}_{number}", name, arguments)
        for number, (name, arguments) in enumerate(wanted)
    )


def _since_the_question(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    asked = [index for index, message in enumerate(messages) if message.role == "user"]
    return messages[asked[-1] :] if asked else messages


def _named(part: str, question: str, tools: Sequence[Tool]) -> list[Wanted]:
    """The tools that a part of the question names, in its order, with arguments of what follows the name."""
    places = ((_place_of(tool.name, part), tool) for tool in tools)
    found = sorted(((place, tool) for place, tool in places if place >= 0), key=lambda one: one[0])
    ends = [*(place for place, _ in found), len(part)][1:]
    return [
        (tool.name, arguments_for(tool, question, near=part[place + len(tool.name) : end]))
        for (place, tool), end in zip(found, ends, strict=True)
    ]


def _place_of(name: str, text: str) -> int:
    """Where a text names a tool: `getWeather`, `get_weather` and "get weather" are one name; -1 nowhere.

    A name that is part of another word is not named.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_-]", " ", name).lower()
    spelt = {name.lower(), words} if len(words) > 2 else {name.lower()}
    pattern = "|".join(re.escape(one) for one in sorted(spelt))
    found = re.search(rf"(?<!\w)(?:{pattern})(?!\w)", text.lower())
    return found.start() if found else -1


def _for_ever(tool: Tool, since: Sequence[ChatMessage]) -> Wanted:
    """The same call with other arguments each time."""
    count = sum(len(message.calls) for message in since) + 1
    arguments = arguments_for(tool, f"call {count}")
    for name, value in arguments.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            arguments[name] = count
    return tool.name, arguments or {"count": count}


def _orders(request: ModelRequest, since: Sequence[ChatMessage]) -> Iterator[Wanted]:
    """What a model without any judgement would be made to call by what it reads, each order once."""
    done = [
        (call.name, json.dumps(call.arguments, sort_keys=True)) for message in since for call in message.calls
    ]
    read = [request.system, *(message.text for message in request.messages if message.role != "assistant")]
    for text in (words for one in read for words in _texts(one)):
        for name, arguments in (*_written_out(text), *_mentioned(text, request, since)):
            mark = (name, json.dumps(arguments, sort_keys=True))
            if mark not in done:
                done.append(mark)
                yield name, arguments


def _texts(words: str) -> list[str]:
    """A text, or the texts in it where it is JSON, as the results of functions are."""
    try:
        value = json.loads(words)
    except (ValueError, RecursionError):
        return [words]
    found: list[str] = []
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            left += [*one.values(), *one]
        elif isinstance(one, list):
            left += one
    return found


def _written_out(text: str) -> Iterator[Wanted]:
    """`CALL name {…}` and `name({…})`, whether there is such a function or not."""
    for found in _ORDER.finditer(text):
        try:
            arguments, _ = json.JSONDecoder().raw_decode(text[found.end() :].lstrip())
        except (ValueError, RecursionError):
            continue
        if isinstance(arguments, dict):
            yield found[1] or found[2], arguments


def _mentioned(text: str, request: ModelRequest, since: Sequence[ChatMessage]) -> Iterator[Wanted]:
    """Functions of its own that a text merely names, the user's own words apart, which have their rule."""
    called = {call.name for message in since for call in message.calls}
    if any(text == message.text for message in request.messages if message.role == "user"):
        return
    for name, arguments in _named(text[:MOST_READ], text[:MOST_READ], request.tools):
        if name not in called and not any(name == order for order, _ in _written_out(text)):
            yield name, arguments
