"""Bulk deletion: as fast as it can, at a rate over three workers, and beside the API's own callers.

The workers of the first two are threads with contexts of their own, which call what the Celery task calls.
"""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import text

from benchmarks import beside, support
from cli.local.servers import Servers
from core.carrying import carry_on
from core.context import Context, make_context
from core.delete_jobs import create_delete_job, preview_deletion
from models import Job

EACH = 50  # messages of a conversation
WORKERS = 3
RATE = "500/s"
FILL = (
    "WITH made AS (INSERT INTO conversations (id, account_id, source, next_seq)"
    " SELECT uuidv7(), :account, 'bench', :each + 1 FROM generate_series(1, :talks) RETURNING id)"
    " INSERT INTO messages (id, account_id, conversation_id, seq, type, text)"
    " SELECT uuidv7(), :account, id, n, 'user', 'Message ' || n || ' of some length, as people write them.'"
    " FROM made, generate_series(1, :each) AS n"
)


def filled(context: Context, account: uuid.UUID, messages: int) -> None:
    with context.transaction() as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(text(FILL), {"account": account, "talks": messages // EACH, "each": EACH})
    support.settle_down(context, "messages, conversations")


def bare(context: Context, account: uuid.UUID) -> float:
    """One statement, with the same triggers and indexes; messages a second."""
    with context.transaction() as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        began = time.perf_counter()
        gone = session.execute(text("DELETE FROM messages WHERE account_id = :account"), {"account": account})
    return float(gone.rowcount / (time.perf_counter() - began))  # type: ignore[attr-defined]


def a_job(context: Context, account: uuid.UUID, **wanted: Any) -> Job:
    with context.transaction(account, actor="bench") as session:
        confirm = preview_deletion(session, "messages", wanted).confirmation
        return create_delete_job(session, "messages", wanted, confirm=confirm)[0]


def work(context: Context, jobs: Sequence[Job]) -> float:
    """Carries jobs out with a worker each; messages a second, from the first start to the last end."""
    contexts = [make_context(context.settings, "bench") for _ in jobs]

    def finish(pair: tuple[Context, Job]) -> None:
        while carry_on(pair[0], pair[1].id) not in {"completed", "ignored", "failed"}:
            pass

    with ThreadPoolExecutor(len(jobs)) as pool:
        list(pool.map(finish, zip(contexts, jobs, strict=True)))
    for one in contexts:
        one.close()
    took = (
        "SELECT extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM jobs WHERE id = ANY(:ids)"
    )
    gone = "SELECT sum(done) FROM jobs WHERE id = ANY(:ids) AND state = 'completed'"
    ids = [job.id for job in jobs]
    return float(support.execute(context, gone, ids=ids)) / float(support.execute(context, took, ids=ids))


def parts(context: Context, account: uuid.UUID, count: int) -> list[list[str]]:
    """The account's conversations in so many parts, up to 100 each: what a filter takes."""
    with context.transaction() as session:
        found = session.scalars(
            text("SELECT id FROM conversations WHERE account_id = :id ORDER BY id"), {"id": account}
        )
        ids = [str(one) for one in found]
    return [ids[at::count] for at in range(count)]


def unlimited(both: Servers, messages: int) -> tuple[float, float]:
    """Messages a second of one bare DELETE and of a deletion, one after the other in one database."""
    with support.fresh_context(both, rate_bulk=None) as context:
        ones = [support.an_account(context, name) for name in ("a", "b")]
        for one in ones:
            filled(context, one, messages)
        return bare(context, ones[0]), work(context, [a_job(context, ones[1], all=True)])


def limited(both: Servers, seconds: int) -> float:
    """Messages a second of three deletions of one account in three workers, under RATE."""
    with support.fresh_context(both, rate_bulk=RATE) as context:
        account = support.an_account(context)
        filled(context, account, 500 * seconds)
        return work(
            context,
            [a_job(context, account, conversation_id=part) for part in parts(context, account, WORKERS)],
        )


def noticed(both: Servers, pairs: int, window: float) -> list[tuple[beside.Window, beside.Window]]:
    """What another account's callers notice of a deletion under RATE."""
    with support.fresh_context(both, rate_bulk=RATE) as context:
        account, other = support.an_account(context), support.an_account(context, "other")
        seconds = pairs * (window + 2 * beside.SETTLING) + 30
        filled(context, account, int(500 * seconds) // EACH * EACH)
        job = a_job(context, account, all=True)
        return beside.measured(context, account, job, other, pairs=pairs, seconds=window, rate=RATE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    beside.options(parser)
    given = support.options(parser)
    rows: list[list[Any]] = []
    figures: dict[str, Any] = {}
    with support.servers() as both:
        figures["unlimited"] = [unlimited(both, given.messages) for _ in range(given.rounds)]
        for straight, ours in figures["unlimited"]:
            share = f"{ours / straight:.0%}"
            rows.append(["unlimited, beside one bare DELETE", f"{ours:,.0f}/s", f"{straight:,.0f}/s", share])
        if given.seconds:
            figures["rate"] = measured = limited(both, given.seconds)
            off = f"{measured / 500 - 1:+.1%}"
            rows.append([f"{RATE} over {WORKERS} workers", f"{measured:,.1f}/s", RATE, off])
        if given.pairs:
            figures["foreground"] = pairs = noticed(both, given.pairs, given.window)
            rows += beside.rows(pairs)
    support.show("Bulk deletion", ["what", "measured", "compared with", ""], rows)
    support.write("deletes", given, figures)


if __name__ == "__main__":
    main()
