"""One way to break the program on purpose, and what must see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import TextClause, text

Put = Callable[[object, str, object], None]


@dataclass(frozen=True)
class Sabotage:
    """What is broken, in the code (`patch`) and the database (`ddl`), and the scenario that must see it."""

    name: str
    patch: Callable[[Put], None]
    detector: str
    ddl: str = ""


def changed(statement: TextClause, old: str, new: str) -> TextClause:
    assert old in statement.text, f"{old!r} is not in the statement any more"
    return text(statement.text.replace(old, new))
