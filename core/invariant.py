"""An invariant: a promise of the product, and the query that finds what breaks it."""

from __future__ import annotations

from dataclasses import dataclass

REPORT_IT = "This is a bug: please report it with the ids and the version."
RESTORE = "An index or a constraint is missing: compare the schema with `crontalk migrate`. " + REPORT_IT


@dataclass(frozen=True)
class Invariant:
    """A promise and the query that finds what breaks it: rows with an `id`, none when the promise is kept.

    `constraint` names what the database itself refuses (empty where no constraint can say it). `always` holds
    at any instant; the others only once the installation has had a quiet minute.
    """

    name: str
    promise: str
    sql: str
    advice: str
    constraint: str = ""
    always: bool = True
