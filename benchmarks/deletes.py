"""Bulk deletion: as fast as it can, at a rate over three workers, and beside foreground writes.

The workers are threads, each with a context of its own, which call what the Celery task calls.
"""

from __future__ import annotations

import argparse
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sqlalchemy import text

from benchmarks import support
from core.carrying import carry_on
from core.context import Context, make_context
from core.conversations import create_conversation
from core.delete_jobs import create_delete_job, preview_deletion
from core.drafts import Draft
from core.messages import create_messages
from models import Job, MessageType

EACH = 50  # messages of a conversation
WORKERS = 3
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


@contextmanager
def writing(context: Context, account: uuid.UUID, times: list[float]) -> Iterator[None]:
    """Somebody who creates messages all the while, 50 a second, in conversations of their own."""
    stop = threading.Event()
    with context.transaction(account) as session:
        talks = [create_conversation(session).id for _ in range(20)]

    def write() -> None:
        number = 0
        while not stop.wait(0.02):
            number += 1
            began = time.perf_counter()
            with context.transaction(account) as session:
                create_messages(session, talks[number % 20], [Draft(MessageType.USER, "Hello there.")])
            times.append((time.perf_counter() - began) * 1000)

    thread = threading.Thread(target=write)
    thread.start()
    yield
    stop.set()
    thread.join()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    given = support.options(parser)
    rows: list[list[Any]] = []
    figures: dict[str, Any] = {}
    with support.servers() as both:
        ratios = []
        for _ in range(given.rounds):
            with support.fresh_context(both, rate_bulk=None) as context:
                ones = [support.an_account(context, name) for name in ("a", "b")]
                for one in ones:
                    filled(context, one, given.messages)
                straight = bare(context, ones[0])
                ours = work(context, [a_job(context, ones[1], all=True)])
            ratios.append((straight, ours))
            rows.append(
                [
                    "unlimited, beside one bare DELETE",
                    f"{ours:,.0f}/s",
                    f"{straight:,.0f}/s",
                    f"{ours / straight:.0%}",
                ]
            )
        figures["unlimited"] = ratios
        for rate in ("500/s",):
            with support.fresh_context(both, rate_bulk=rate) as context:
                account = support.an_account(context)
                filled(context, account, 500 * given.seconds)
                jobs = [
                    a_job(context, account, conversation_id=part) for part in parts(context, account, WORKERS)
                ]
                measured = work(context, jobs)
            figures["rate"] = measured
            rows.append(
                [
                    f"{rate} over {WORKERS} workers",
                    f"{measured:,.1f}/s",
                    "500/s",
                    f"{measured / 500 - 1:+.1%}",
                ]
            )
        with support.fresh_context(both, rate_bulk="500/s") as context:
            account, other = support.an_account(context), support.an_account(context, "other")
            filled(context, account, 500 * given.seconds)
            alone: list[float] = []
            beside: list[float] = []
            with writing(context, other, alone):
                time.sleep(given.seconds)
            with writing(context, other, beside):
                work(context, [a_job(context, account, all=True)])
        figures["foreground"] = {"alone": alone, "beside": beside}
        for share in (0.5, 0.95, 0.99):
            quiet, busy = support.percentile(alone, share), support.percentile(beside, share)
            rows.append(
                [
                    f"create a message beside 500/s, p{share * 100:.0f}",
                    f"{busy:.1f} ms",
                    f"{quiet:.1f} ms",
                    f"{busy / quiet - 1:+.0%}",
                ]
            )
    support.show("Bulk deletion", ["what", "measured", "compared with", ""], rows)
    support.write("deletes", given, figures)


if __name__ == "__main__":
    main()
