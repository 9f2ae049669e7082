"""What a caller may send along with a turn: functions, extensions, limits (contract section 3.5).

Checked where it is read from the wire; kept sealed with the run until it ends, since it holds content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from core.chat.provider import Tool
from core.privacy.declared import unmarked

# What is told of a turn while somebody waits for it: every event, or that it has ended.
ALL = "all"
END = "end"
PLAIN = (
    *("iterations", "calls", "timezone", "compacts", "privacy", "bot_id", "contact_id"),
    *("dataset_id", "skillset_id", "moderation"),
)


@dataclass(frozen=True)
class Function:
    """A function of the caller's. `result` says who answers a call: None is the caller itself, after the
    turn; {"data": …} is the answer; {"channel": …} is where it will be published.

    `start`: it is called first. `end`: once it was called the turn ends.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    result: Mapping[str, Any] | None = None
    start: bool = False
    end: bool = False

    def tool(self) -> Tool:
        return Tool(self.name, self.description, unmarked(self.parameters))


@dataclass(frozen=True)
class TurnRequest:
    """What came along. Limits that are None are the installation's; `timezone` is the caller's own.

    `datasets` and `abilities` go with this turn only (core/retrieving.py, core/skills). The rest is of a
    stateless turn, which has no conversation to read; `privacy` and the ids of its bot and contact say how
    its texts are protected.
    """

    functions: tuple[Function, ...] = ()
    extra_backstory: str = ""
    datasets: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    abilities: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    iterations: int | None = None
    calls: int | None = None
    timezone: str | None = None
    compacts: bool = False
    attachments: tuple[str, ...] = field(default=(), repr=False)
    messages: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    backstory: str | None = field(default=None, repr=False)
    model: str | None = None
    privacy: bool = False
    moderation: bool = False
    bot_id: str | None = None
    contact_id: str | None = None
    dataset_id: str | None = None
    skillset_id: str | None = None

    def params(self) -> dict[str, Any]:
        """The part that holds no content: numbers and names."""
        return {name: getattr(self, name) for name in PLAIN if getattr(self, name)}

    def content(self) -> bytes | None:
        """The part that does, packed; None when there is none."""
        kept = {name: value for name, value in asdict(self).items() if value and name not in PLAIN}
        return json.dumps(kept).encode() if kept else None

    @classmethod
    def read(cls, params: Mapping[str, Any], content: bytes | None) -> TurnRequest:
        """What `params` and `content` were made of."""
        fields: dict[str, Any] = json.loads(content) if content else {}
        functions = tuple(Function(**function) for function in fields.pop("functions", ()))
        for name in ("datasets", "abilities", "attachments", "messages"):
            fields[name] = tuple(fields.get(name, ()))
        fields |= {name: params[name] for name in PLAIN if name in params}
        return cls(functions=functions, **fields)
