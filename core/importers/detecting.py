"""Which format is this? Told from the names at the beginning of the file, without reading the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator

from core.errors import InvalidInput
from core.importers.table import columns_of, delimiter_of
from core.schedule import parse

HEAD = 512 * 1024
DEEPEST = 6
BOM = "\ufeff"
_TOKEN = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+")(\s*+:)?|([{}\[\]])', re.DOTALL)
_CRON = re.compile(r"(@\w+|(?:\S+\s+){4}\S+)\s+\S")
_SETTING = re.compile(r"[A-Za-z_]\w*\s*=")
_CONVERSATIONS = re.compile(r"(?:.*/)?conversations(-\d+)?\.json", re.IGNORECASE)

Paths = frozenset[str]
# In this order: what is surest first. A path is relative to a row; `[]` is any element.
RULES: tuple[tuple[str, Callable[[Paths], bool]], ...] = (
    ("chatgpt", lambda has: "mapping" in has or {"current_node", "create_time"} <= has),
    ("claude", lambda has: "chat_messages" in has),
    ("openwebui", lambda has: bool(has & {"chat.history", "chat.messages", "history.currentId"})),
    ("openwebui", lambda has: "history.messages" in has),
    ("openwebui-automations", lambda has: {"data.rrule", "data.prompt"} <= has),
    ("librechat", lambda has: "conversationId" in has and bool(has & {"messages", "messagesTree"})),
    ("generalbots", lambda has: {"messages[].sender", "messages[].content"} <= has),
    ("chatbotkit", lambda has: {"messages[].type", "messages[].text"} <= has),
    ("chatbotkit", lambda has: {"data.id", "data.createdAt", "type"} <= has),
    ("chatbotkit", lambda has: {"id", "createdAt"} <= has and "messages[].role" not in has),
    ("sharegpt", lambda has: {"conversations[].from", "conversations[].value"} <= has),
    ("openai", lambda has: "messages[].role" in has),
)
# Formats that may lie in a member of an object around them, beside `RULES` for what is in it.
WRAPPED = {"chatgpt": "conversations", "openwebui-automations": "automations", "chatbotkit": "items"}


def detect_format(head: bytes, name: str | None = None, members: Iterable[str] = ()) -> str | None:
    """The format of what begins with `head`, or None. `members` are the names beside it in an archive."""
    text = head.decode("utf-8", "replace").removeprefix(BOM).lstrip()
    if text[:1] in {"[", "{"}:
        found = _of_json(text)
        if found is None and any(_CONVERSATIONS.fullmatch(each) for each in (name or "", *members)):
            return "claude" if '"uuid"' in text and '"mapping"' not in text else "chatgpt"
        return found
    return _of_lines(text, whole=len(head) < HEAD)


def _of_json(text: str) -> str | None:
    if _is_export(text):
        return "crontalk"
    rows: dict[int, set[str]] = {}
    for row, path in paths(text):
        rows.setdefault(row, set()).add(path)
    every = [frozenset(names) for names in rows.values()]
    for names in every:
        if {"version", "history"} <= names and any(path.startswith("history[].") for path in names):
            return "chatbotui"
    for name, rule in RULES:
        if any(rule(names) or _wrapped(name, rule, names) for names in every):
            return name
    return None


def _wrapped(name: str, rule: Callable[[Paths], bool], names: Paths) -> bool:
    around = WRAPPED.get(name)
    if around is None:
        return False
    start = f"{around}[]."
    return rule(frozenset(path[len(start) :] for path in names if path.startswith(start)))


def _is_export(text: str) -> bool:
    first = text.partition("\n")[0]
    if len(first) > 65_536:
        return False
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("format") == "crontalk" and "version" in value


def paths(text: str) -> Iterator[tuple[int, str]]:
    """The names of members, as far as the text goes and six levels down, with the row they are in."""
    stack: list[str] = []  # the path of each open container; an array's ends with []
    row, name = 0, ""
    for found in _TOKEN.finditer(text):
        string, colon, mark = found.groups()
        inside = stack[-1] if stack else ""
        if string:
            name = string[1:-1] if colon else ""
            if colon and len(stack) <= DEEPEST and len(name) <= 64:
                yield row, _below(inside, name)
        elif mark in "{[":
            path = _below(inside, name) if len(stack) <= DEEPEST else inside
            if mark == "{" and not path:
                row += 1
            stack.append(f"{path}[]" if mark == "[" and path else path)
            name = ""
        else:
            name = ""
            if stack:
                stack.pop()


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _of_lines(text: str, *, whole: bool) -> str | None:
    every = text.split("\n")
    rows = [line.strip() for line in (every if whole else every[:-1])]
    rows = [line for line in rows if line]
    if not rows:
        return None
    header = rows[0].split(delimiter_of(rows[0]))
    if len(header) > 1 and columns_of([cell.strip('" ') for cell in header], {}).keys() & {
        "text",
        "question",
    }:
        return "csv"
    entries = [line for line in rows if not line.startswith("#") and not _SETTING.match(line)]
    if entries and sum(map(_is_cron, entries[:100])) * 2 > len(entries[:100]):
        return "crontab"
    return None


def _is_cron(line: str) -> bool:
    found = _CRON.match(line)
    if found is None:
        return False
    try:
        parse(" ".join(found[1].split()), None)
    except InvalidInput:
        return found[1] == "@reboot"
    return True
