"""Searching a dataset: PostgreSQL full text over its records, best first, within the dataset's limits."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, case, cast, false, func, literal, or_, select, text
from sqlalchemy.dialects.postgresql import JSONB, TSQUERY
from sqlalchemy.orm import Session

from core.chat.history import estimate_tokens
from core.errors import InvalidInput
from core.rows import checked_text, own
from models import Dataset, Record

LONGEST = 2000
MOST_WORDS = 50
RECORDS = 10
FILTERS = 20
COMPARISONS = {"$eq": "=", "$ne": "IS DISTINCT FROM", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
# Lexemes as a query of one word each: quoted by PostgreSQL itself, so that no word is read as an operator.
WORDS = text(
    "SELECT CAST(plainto_tsquery('simple', lexeme) AS text)"
    " FROM unnest(to_tsvector('simple', :search)) ORDER BY positions[1] LIMIT :most"
)


@dataclass(frozen=True)
class Match:
    """A record that was found, and how well: from 0 to 1, mostly the share of the words that it has."""

    record: Record
    score: float


def search_dataset(
    session: Session, dataset_id: uuid.UUID | str, search: str, where: Mapping[str, Any] | None = None
) -> tuple[Dataset, list[Match]]:
    """The dataset, and the best of its records whose meta passes `where`.

    Any word may match, because people ask in sentences. The dataset says how many records, how many tokens
    in all, and the least score.

    Raises:
        InvalidInput, NotFound, NotAuthorized.

    """
    dataset = own(session, Dataset, dataset_id)
    asked = checked_text(search, "The search", longest=LONGEST)
    conditions = _conditions(where)
    found = session.scalars(WORDS, {"search": asked, "most": MOST_WORDS})
    words = [cast(literal(word), TSQUERY) for word in found if word]
    if not words:
        return dataset, []
    score = _score(words)
    query = (
        select(Record, score.label("score"))
        .where(Record.dataset_id == dataset.id, Record.search.op("@@")(_any_of(words)), *conditions)
        .where(score >= dataset.config.get("searchMinScore", 0))
        .order_by(score.desc(), Record.id)
        .limit(int(dataset.config.get("searchMaxRecords", RECORDS)))
    )
    matches = [Match(row.Record, round(float(row.score), 4)) for row in session.execute(query)]
    return dataset, _within(matches, dataset.config.get("searchMaxTokens"))


def _any_of(words: list[Any]) -> ColumnElement[Any]:
    query: ColumnElement[Any] = words[0]
    for word in words[1:]:
        query = query.op("||")(word)
    return query


def _score(words: list[Any]) -> ColumnElement[Any]:
    """The share of the words, lowered by up to a tenth where they are rare in it (ts_rank, from 0 to 1)."""
    counted = sum((case((Record.search.op("@@")(word), 1.0), else_=0.0) for word in words), literal(0.0))
    rank = func.ts_rank(Record.search, _any_of(words), 32)
    return counted / len(words) * (0.9 + 0.1 * rank)


def _within(matches: list[Match], tokens: float | None) -> list[Match]:
    """The best ones that fit; what is too long by itself is passed by."""
    if tokens is None:
        return matches
    kept, left = [], float(tokens)
    for match in matches:
        cost = estimate_tokens(match.record.text)
        if cost <= left:
            kept.append(match)
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
