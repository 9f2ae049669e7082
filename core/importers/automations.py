"""Tasks from elsewhere: Open WebUI's automations and the lines of a crontab. All of them come paused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import InvalidInput
from core.importers.parts import identity, label, mapping, said, short
from core.importers.records import Notes, Reject, Task, Unreadable, short_digest
from core.importers.repetition import read_rule
from core.importers.rows import mended_text
from core.schedule import parse
from models import MAX_TEXT_BYTES

_SETTING = re.compile(r"""([A-Za-z_]\w{0,63})\s*=\s*["']?([^"']{0,200}?)["']?\s*""")
_LINE = re.compile(r"(@\w+|(?:\S+\s+){4}\S+)\s+(\S.*)", re.DOTALL)
_ZONES = frozenset({"CRON_TZ", "TZ"})
NAME = 100


def read_row(row: Mapping[str, Any], notes: Notes) -> Iterator[Task]:
    """One automation of Open WebUI.

    Raises:
        Unreadable: `no_conversation`, `rrule_unsupported`, `bad_schedule`, `too_large`.

    """
    inner = mapping(row.get("data"))
    prompt, rule = said(inner.get("prompt")), said(inner.get("rrule"))
    if not prompt.strip() or not rule:
        raise Unreadable("no_conversation")
    if len(prompt.encode()) > MAX_TEXT_BYTES:
        raise Unreadable("too_large")
    read = read_rule(rule, notes.timezone)
    name = label(row.get("name")) or prompt[:NAME]
    if inner.get("terminal"):
        notes.unknown("automation_terminal")
    yield Task(
        key=identity(row.get("id")) or short_digest("automation", name, prompt, rule),
        name=name,
        prompt=prompt,
        schedule=read.schedule,
        timezone=read.timezone,
        expires_at=read.until,
        meta=short(
            {
                "model": inner.get("model_id"),
                "rrule": rule,
                "folder": row.get("folder_id"),
                "was_active": row.get("is_active"),
            }
        ),
    )


def read_crontab(lines: Iterator[bytes | str], notes: Notes, after: int = 0) -> Iterator[Task | Reject]:
    """The lines of one user's crontab: five fields or an alias, then the prompt. CRON_TZ counts below it."""
    zone, seen = notes.timezone, dict[str, int]()
    for row, line in enumerate(lines, 1):
        try:
            text = _decoded(line, notes)
            setting = _SETTING.fullmatch(text)
            if setting and setting[1] in _ZONES:
                zone = setting[2] or notes.timezone
            if not text or text.startswith("#") or setting:
                continue
            task = _task(text, zone, row)
        except Unreadable as why:
            if row > after:
                yield Reject(row, str(why))
            continue
        count = seen[task.key] = seen.get(task.key, 0) + 1
        if row > after:
            yield task if count == 1 else _again(task, count)


def _decoded(line: bytes | str, notes: Notes) -> str:
    if isinstance(line, str):
        raise Unreadable(line)
    try:
        return mended_text(line.decode(), notes).strip()
    except UnicodeDecodeError:
        raise Unreadable("bad_utf8") from None


def _task(text: str, zone: str | None, row: int) -> Task:
    found = _LINE.fullmatch(text)
    if found is None:
        raise Unreadable("no_conversation")
    fields, prompt = " ".join(found[1].split()), found[2]
    if len(prompt.encode()) > MAX_TEXT_BYTES:
        raise Unreadable("too_large")
    try:
        schedule = parse(fields, zone).text
    except InvalidInput:
        raise Unreadable("bad_schedule") from None
    key = short_digest("crontab", schedule, zone, prompt)
    return Task(key, prompt[:NAME], prompt, schedule, zone, row=row)


def _again(task: Task, count: int) -> Task:
    return Task(f"{task.key}~{count}", task.name, task.prompt, task.schedule, task.timezone, row=task.row)
