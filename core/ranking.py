# ruff: noqa: S608 (statements are put together from constants)
"""How well texts answer a question: by the rarity of the words they share, in PostgreSQL, and bounded.

A word is looked for as it is written and by its stem; one that few records hold, as a beginning too. Each
weighs by its rarity in the dataset (the idf of BM25). A record's score is the weight of what it holds over
the weight of the question, from 0 to 1: less for a beginning, a little more for words said often and for
words side by side.

No word makes a search read all its records: those held by more than COMMON are looked for together, two of
them at least, and so many records are ranked and no more.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

from sqlalchemy import ColumnElement, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core.errors import InvalidInput
from models import Language, Record

MOST_WORDS = 50
COMMON = 1000  # records that hold a word: those of a commoner one are not all looked at
LARGE = 10_000  # records of a dataset that are counted
SOME = 300  # records that are ranked for what common words they share
FEW = 20  # records that hold a word: it is looked for as a beginning too
SHORTEST = 4  # letters of a beginning
BEGINNING, SAID, OFTEN, BESIDE = 0.5, 0.8, 0.2, 0.08
TOO_LATE = "57014"

# Lexemes as queries of a word each: quoted by PostgreSQL itself, so that no word is read as an operator.
WORDS = text(
    "SELECT CAST(plainto_tsquery('simple', lexeme) AS text) AS written,"
    " CAST(plainto_tsquery(CAST(:language AS regconfig), lexeme) AS text) AS stem"
    " FROM unnest(to_tsvector('simple', :asked)) ORDER BY positions[1] LIMIT :most"
)
# The dataset is a word of its records. IS TRUE keeps its index out of it, which would read all of them.
HERE = "r.search @@ (CAST(:here AS tsquery) && {words}) AND (r.dataset_id = :dataset) IS TRUE"
QUERIES = "unnest(CAST(CAST(:words AS text[]) AS tsquery[])) WITH ORDINALITY AS t(query, place)"
HELD = text(
    "SELECT (SELECT count(*) FROM (SELECT FROM records r WHERE "
    + HERE.format(words="t.query")
    + f" LIMIT :most) AS held) FROM {QUERIES} ORDER BY t.place"
)
SIZE = text("SELECT count(*) FROM (SELECT FROM records WHERE dataset_id = :dataset LIMIT :most) AS counted")
GIVEN = (
    "(SELECT place, to_tsvector('simple', said) || to_tsvector(CAST(:language AS regconfig), said) AS search"
    " FROM unnest(CAST(:texts AS text[])) WITH ORDINALITY AS given(said, place))"
)
HELD_GIVEN = text(
    f"WITH given AS MATERIALIZED {GIVEN} SELECT (SELECT count(*) FROM given WHERE search @@ t.query)"
    f" FROM {QUERIES} ORDER BY t.place"
)
SCORE = (
    "(SELECT sum(CASE WHEN r.search @@ t.query THEN t.weight * (:said + :often"
    " * ts_rank('{1,1,1,1}', r.search, t.query))"
    " WHEN r.search @@ t.beginning THEN t.weight * :beginning ELSE 0 END)"
    " FROM unnest(CAST(CAST(:words AS text[]) AS tsquery[]), CAST(CAST(:beginnings AS text[]) AS tsquery[]),"
    " CAST(:weights AS float8[])) AS t(query, beginning, weight))"
    " * (1 - :beside + :beside * COALESCE((SELECT avg(CAST(r.search @@ p.query AS int))"
    " FROM unnest(CAST(CAST(:pairs AS text[]) AS tsquery[])) AS p(query)), 1))"
)
SCORED = text(
    f"SELECT r.id, {SCORE} AS score FROM records r WHERE r.id = ANY(:found) ORDER BY score DESC, r.id"
)
SCORED_GIVEN = text(
    f"WITH r AS MATERIALIZED {GIVEN} SELECT place, {SCORE} AS score FROM r ORDER BY score DESC, place"
)


@dataclass(frozen=True)
class Word:
    """A word of a question, as queries of PostgreSQL's; `weight` is its share, between 0 and 1."""

    written: str
    stem: str
    held: int = 0
    weight: float = 0.0

    @property
    def query(self) -> str:
        return self.written if self.stem in {"", self.written} else f"({self.written}) | ({self.stem})"

    @property
    def beginning(self) -> str | None:
        """What it may be the beginning of; None: it is too short, or known well enough."""
        letters = re.fullmatch(r"'([^\W\d_]+)'", self.written)
        if letters is None or len(letters.group(1)) < SHORTEST or self.held >= FEW:
            return None
        return f"{self.written}:*"


@dataclass(frozen=True)
class Ranked:
    """Where a text is, a record's id or a place, and how well it answers."""

    at: Any
    score: float


def rank_records(
    session: Session,
    dataset_id: uuid.UUID,
    asked: str,
    language: Language,
    *conditions: ColumnElement[bool],
    most: int,
    least: float = 0,
) -> list[Ranked]:
    """The best of a dataset's records that pass the conditions, best first.

    Raises:
        InvalidInput: it takes long.

    """
    with _within_time(session):
        here = {"here": f"'{dataset_id}'", "dataset": dataset_id}
        words = _words(session, asked, language)
        if not words:
            return []
        size = session.execute(SIZE, {"dataset": dataset_id, "most": LARGE}).scalar_one()
        queries = {"words": [word.query for word in words]}
        held = session.scalars(HELD, {**here, **queries, "most": COMMON + 1}).all()
        weighed = _weighed(words, held, size)
        found = {one for part in _looked_for(weighed) for one in _found(session, here, part, conditions)}
        if not found:
            return []
        rows = session.execute(SCORED, {**_values(weighed), "found": list(found)}).all()
    return [one for one in _ranked(rows) if one.score >= least][:most]


def rank_texts(
    session: Session, texts: Sequence[str], asked: str, language: Language, *, most: int, least: float = 0
) -> list[Ranked]:
    """The best of some texts by their places, from 0, best first; none is stored."""
    with _within_time(session):
        words = _words(session, asked, language)
        if not words or not texts:
            return []
        given = {"texts": [one[:100_000] for one in texts], "language": language}
        held = session.scalars(HELD_GIVEN, {**given, "words": [word.query for word in words]}).all()
        weighed = _weighed(words, held, len(texts))
        rows = session.execute(SCORED_GIVEN, {**given, **_values(weighed)}).all()
    ranked = (Ranked(one.at - 1, one.score) for one in _ranked(rows))
    return [one for one in ranked if one.score >= max(least, 0.0001)][:most]


def _words(session: Session, asked: str, language: Language) -> list[Word]:
    """Those that mean something in the language; all of them where none does."""
    rows = session.execute(WORDS, {"asked": asked, "language": language, "most": MOST_WORDS}).all()
    words = [Word(row.written, row.stem) for row in rows if row.written]
    return [word for word in words if word.stem] or words


def _weighed(words: Sequence[Word], held: Sequence[int], size: int) -> list[Word]:
    """Each with its share of what the question weighs; what no record holds weighs as if one did."""
    rarity = [math.log(1 + (max(size, n) - n + 0.5) / (n + 0.5)) for n in (max(1, one) for one in held)]
    whole = sum(rarity)
    return [
        Word(word.written, word.stem, n, rare / whole)
        for word, n, rare in zip(words, held, rarity, strict=True)
    ]


def _looked_for(words: Sequence[Word]) -> Iterator[tuple[str, int]]:
    """Queries that find what is to be ranked, and how much of each: what holds a rare word, and what holds
    two common ones; only where all are common, one of them.
    """
    rare: list[str] = []
    left = COMMON
    by_rarity = sorted(words, key=lambda word: word.held)
    for word in by_rarity:
        if word.held > left:
            break
        left -= word.held
        rare += [one for one in (word.query if word.held else None, word.beginning) if one]
    common = [word.query for word in by_rarity if word.held and word.query not in rare]
    if rare:
        yield _any_of(rare), COMMON
    if len(common) > 1:
        yield " & ".join(f"({one})" for one in common), SOME
        yield _any_of(f"({one}) & ({other})" for one, other in combinations(common[:3], 2)), SOME
    if common and not rare:
        yield common[0], SOME


def _any_of(queries: Any) -> str:
    return " | ".join(f"({one})" for one in queries)


def _found(
    session: Session,
    here: Mapping[str, Any],
    part: tuple[str, int],
    conditions: Sequence[ColumnElement[bool]],
) -> Sequence[uuid.UUID]:
    query, most = part
    words = text(HERE.format(words="CAST(:query AS tsquery)").replace("r.", "records."))
    statement = select(Record.id).where(words, *conditions).limit(most)
    return session.scalars(statement, {**here, "query": query}).all()


def _values(words: Sequence[Word]) -> dict[str, Any]:
    pairs = [f"({one.query}) <-> ({other.query})" for one, other in pairwise(words)]
    return {
        "words": [word.query for word in words],
        "beginnings": [word.beginning for word in words],
        "weights": [word.weight for word in words],
        "pairs": pairs,
        "said": SAID,
        "often": OFTEN,
        "beginning": BEGINNING,
        "beside": BESIDE,
    }


def _ranked(rows: Sequence[Any]) -> list[Ranked]:
    return [Ranked(row[0], min(1.0, round(float(row.score), 4))) for row in rows]


@contextmanager
def _within_time(session: Session) -> Iterator[None]:
    """Two seconds a statement; what was there before holds again afterwards.

    Raises:
        InvalidInput: it took longer, and would again.

    """
    change = text("SELECT current_setting('statement_timeout'), set_config('statement_timeout', :to, true)")
    before = session.execute(change, {"to": "2s"}).one()[0]
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == TOO_LATE:
            raise InvalidInput("The search takes too long; look for rarer words, or filter.") from error
        raise
    session.execute(change, {"to": before})
