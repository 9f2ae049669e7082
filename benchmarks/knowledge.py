"""Searching a dataset of a hundred thousand records, beside another as large, and whether questions find
their answers.

The words of the large datasets are made up and as frequent as words are (Zipf's law): the commonest is in
nearly every record. Recall is measured on records and questions of our own
(benchmarks/knowledge_questions.py), with the stems of English and without.
"""

from __future__ import annotations

import argparse
import random
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from sqlalchemy import text

from benchmarks import support
from benchmarks.knowledge_questions import QUESTIONS, RECORDS
from cli.local.servers import Servers
from core.context import Context
from core.datasets import create_dataset, create_record
from core.errors import InvalidInput
from core.retrieving import retrieve
from core.searching import search_dataset
from models import new_ids

LARGE = 100_000
VOCABULARY = 30_000
LENGTH = 100  # words of a record
ASKED = 300
SYLLABLES = [consonant + vowel for consonant in "bdklmnprst" for vowel in "aeiou"]


def vocabulary(chance: random.Random) -> list[str]:
    """So many different words, the commonest first."""
    found: dict[str, None] = {}
    while len(found) < VOCABULARY:
        found["".join(chance.choices(SYLLABLES, k=chance.choice((2, 3, 3, 4))))] = None
    return list(found)


def weights() -> list[float]:
    """How often each is said, added up, as `random.choices` takes them."""
    total, found = 0.0, []
    for rank in range(1, VOCABULARY + 1):
        total += 1 / rank
        found.append(total)
    return found


def store(context: Context, both: Servers, words: Sequence[str], count: int, seed: int) -> uuid.UUID:
    """A dataset of so many records, copied in without a verb, in an account of its own."""
    chance, often = random.Random(seed), weights()
    account = support.an_account(context, f"Bench {seed}")
    with context.transaction(account) as session:
        dataset = create_dataset(session, name="Large").id
    rows = zip(new_ids(count), range(count), strict=True)
    with psycopg.connect(support.superuser(context, both)) as connection, connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        with cursor.copy("COPY records (id, account_id, dataset_id, text) FROM STDIN") as copy:
            for row_id, _ in rows:
                said = " ".join(chance.choices(words, cum_weights=often, k=LENGTH))
                copy.write_row((row_id, account, dataset, said))
    return dataset


def questions(words: Sequence[str]) -> dict[str, Callable[[random.Random], str]]:
    """Searches by their kind."""
    often = weights()
    pick = lambda chance, low, high, count: [words[chance.randrange(low, high)] for _ in range(count)]  # noqa: E731
    return {
        "a rare word": lambda chance: " ".join(pick(chance, 5000, VOCABULARY, 1)),
        "three words, one of them common": lambda chance: " ".join(
            [*pick(chance, 0, 20, 1), *pick(chance, 500, 5000, 2)]
        ),
        "the three commonest words": lambda _: " ".join(words[:3]),
        "eight common words": lambda chance: " ".join(pick(chance, 0, 100, 8)),
        "a sentence of twelve words": lambda chance: " ".join(chance.choices(words, cum_weights=often, k=12)),
        "beginnings of three words": lambda chance: " ".join(
            word[:5] for word in pick(chance, 2000, VOCABULARY, 3)
        ),
        "a common word and a filter that nothing passes": lambda _: words[0],
        "words that are nowhere": lambda chance: " ".join(f"xyz{chance.randrange(10**6)}q" for _ in range(5)),
    }


def latencies(context: Context, dataset: uuid.UUID, words: Sequence[str], asked: int) -> dict[str, Any]:
    with context.transaction() as session:
        account = session.execute(
            text("SELECT account_id FROM datasets WHERE id = :id"), {"id": dataset}
        ).scalar_one()
    figures = {}
    for name, make in questions(words).items():
        chance, spans, found = random.Random(7), [], 0
        where = {"none": "such"} if "filter" in name else None
        for _ in range(asked if where is None else max(5, asked // 20)):
            said = make(chance)
            began = time.perf_counter()
            try:
                with context.transaction(account) as session:
                    found += len(search_dataset(session, dataset, said, where)[1])
            except InvalidInput:
                pass
            spans.append((time.perf_counter() - began) * 1000)
        figures[name] = {
            "p50_ms": support.median(spans),
            "p99_ms": support.percentile(spans, 0.99),
            "found": found / len(spans),
        }
    return figures


def recall(context: Context, language: str) -> dict[str, float]:
    """Of how many questions the answer is the first, among five, and among what a model is shown."""
    account = support.an_account(context, f"Questions in {language}")
    with context.transaction(account) as session:
        dataset = create_dataset(session, name="Boats", config={"language": language}).id
        ids = [create_record(session, dataset, text=text).id for text in RECORDS]
    first = five = shown = 0
    missed = []
    for question, answer in QUESTIONS:
        with context.transaction(account) as session:
            found = [match.record.id for match in search_dataset(session, dataset, question)[1]]
            told = retrieve(session, question, dataset_ids=[dataset]).used()
        first += found[:1] == [ids[answer]]
        five += ids[answer] in found[:5]
        shown += str(ids[answer]) in {use["recordId"] for use in told}
        if ids[answer] not in found[:5]:
            missed.append(question)
    count = len(QUESTIONS)
    return {"at_1": first / count, "at_5": five / count, "shown": shown / count, "missed": missed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=LARGE)
    parser.add_argument("--asked", type=int, default=ASKED)
    given = support.options(parser)
    words = vocabulary(random.Random(1))
    with support.servers() as both, support.fresh_context(both) as context:
        found = {language: recall(context, language) for language in ("simple", "english")}
        title = f"{len(QUESTIONS)} questions over {len(RECORDS)} records"
        rows = [
            (language, *(f"{one[name]:.1%}" for name in ("at_1", "at_5", "shown")))
            for language, one in found.items()
        ]
        support.show(title, ("language", "the first", "among five", "shown to a model"), rows)
        figures: dict[str, Any] = {"recall": found}
        if given.records:
            dataset = store(context, both, words, given.records, 1)
            store(context, both, words, given.records, 2)
            support.settle_down(context, "records")
            spans = latencies(context, dataset, words, given.asked)
            rows = [
                (name, f"{one['p50_ms']:.1f}", f"{one['p99_ms']:.1f}", f"{one['found']:.1f}")
                for name, one in spans.items()
            ]
            title = f"Searching one of two datasets of {given.records:,} records, {given.asked} times each"
            support.show(title, ("search", "p50 ms", "p99 ms", "found"), rows)
            figures["latency"] = spans
    support.write("knowledge", given, figures)


if __name__ == "__main__":
    main()
