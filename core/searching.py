"""Searching a dataset: PostgreSQL full text over its records, best first, within the dataset's limits."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, cast, false, func, literal, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from core.chat.history import estimate_tokens
from core.errors import InvalidInput
from core.ranking import rank_records
from core.rows import checked_text, own
from core.sync_jobs import language_of
from models import Dataset, Record

Item = TypeVar("Item")
LONGEST = 2000
RECORDS = 10
FILTERS = 20
COMPARISONS = {"$eq": "=", "$ne": "IS DISTINCT FROM", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


@dataclass(frozen=True)
class Match:
    """A record that was found, and how well: from 0 to 1, the weight of the question's words that it has."""

    record: Record
    score: float


def search_dataset(
    session: Session, dataset_id: uuid.UUID | str, search: str, where: Mapping[str, Any] | None = None
) -> tuple[Dataset, list[Match]]:
    """The dataset, and the best of its records whose meta passes `where`; see core/ranking.py.

    Any word may match, because people ask in sentences. The dataset says how many records, how many tokens
    in all, and the least score.

    Raises:
        InvalidInput, NotFound, NotAuthorized.

    """
    dataset = own(session, Dataset, dataset_id)
    asked = checked_text(search, "The search", longest=LONGEST) or ""
    return dataset, best_matches(session, dataset, asked, _conditions(where), records=RECORDS)


def best_matches(
    session: Session,
    dataset: Dataset,
    asked: str,
    conditions: Sequence[ColumnElement[bool]] = (),
    *,
    records: int,
    tokens: int | None = None,
) -> list[Match]:
    """The best of a dataset's records within its limits, or within these where it says none."""
    config = dataset.config
    ranked = rank_records(
        session,
        dataset.id,
        asked,
        language_of(dataset),
        *conditions,
        most=int(config.get("searchMaxRecords", records)),
        least=config.get("searchMinScore", 0),
    )
    query = select(Record).where(Record.id.in_([one.at for one in ranked]))
    found = {record.id: record for record in session.scalars(query)}
    matches = [Match(found[one.at], one.score) for one in ranked if one.at in found]
    return within_tokens(matches, config.get("searchMaxTokens", tokens), lambda match: match.record.text)


def within_tokens(found: Iterable[Item], tokens: float | None, text_of: Callable[[Item], str]) -> list[Item]:
    """The best ones that fit; what is too long by itself is passed by."""
    if tokens is None:
        return list(found)
    kept, left = [], float(tokens)
    for one in found:
        cost = estimate_tokens(text_of(one))
        if cost <= left:
            kept.append(one)
            left -= cost
    return kept


def _conditions(where: Mapping[str, Any] | None) -> list[ColumnElement[bool]]:
    """`{key: value}` and `{key: {$gt: value, …}}` over top-level keys of meta, all of which must hold."""
    found = []
    for key, wanted in (where or {}).items():
        checked_text(key, "A filter's key", longest=1000)
        comparisons = wanted if isinstance(wanted, Mapping) else {"$eq": wanted}
        if not comparisons or comparisons.keys() - COMPARISONS.keys():
            raise InvalidInput(f"A filter compares by {', '.join(COMPARISONS)}.")
        found += [_condition(key, operator, value) for operator, value in comparisons.items()]
    if len(found) > FILTERS:
        raise InvalidInput(f"A search takes up to {FILTERS} comparisons.")
    return found


def _condition(key: str, operator: str, value: Any) -> ColumnElement[bool]:
    """Numbers compare with numbers and texts with texts; JSON would order one kind before the other."""
    if isinstance(value, Mapping | list):
        raise InvalidInput("A filter compares with a text, a number, true, false or null.")
    if isinstance(value, str):
        checked_text(value, "A filter", longest=10_000, empty=True)
    here = Record.meta[key]
    if value is None:
        absent = or_(here.is_(None), func.jsonb_typeof(here) == "null")
        return {"$eq": absent, "$ne": ~absent}.get(operator, false())
    other = cast(literal(value, JSONB), JSONB)
    compared: ColumnElement[bool] = here.op(COMPARISONS[operator], is_comparison=True)(other)
    if operator in {"$eq", "$ne"}:
        return compared
    return (func.jsonb_typeof(here) == func.jsonb_typeof(other)) & compared
