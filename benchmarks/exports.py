"""Exports: messages a second by format and mode, beside the bare reading of the same rows, and the memory.

    python -m benchmarks exports [--messages 100000]

Every figure is of one export from its claim to its file, carried out in a process of its own that does what
a worker does: reading, redacting, writing, sealing and putting the parts together, with every commit and
every chunk on the disk. Messages are those a second of its CPU, as many as one core can do; bare reading is
the same for the same rows that are read in pages and dropped. `peak` is what the process held at most, with
Python and everything imported.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks import support
from core.context import Context, make_context
from core.exports import create_export_job
from core.settings import read_settings

EACH = 50  # messages of a conversation
WORKING = """
import sys, uuid
from benchmarks.exports import work
work(uuid.UUID(sys.argv[1]))
"""
FILL = (
    "WITH made AS (INSERT INTO conversations (id, account_id, source, next_seq, name)"
    " SELECT uuidv7(), :account, 'bench', :each + 1, 'A talk' FROM generate_series(1, :talks) RETURNING id)"
    " INSERT INTO messages (id, account_id, conversation_id, seq, type, text)"
    " SELECT uuidv7(), :account, id, n, CASE WHEN n % 2 = 1 THEN 'user' ELSE 'bot' END,"
    "  repeat('The quick brown fox jumps over the lazy dog, and nobody minds it. ', 1 + n % 6)"
    "  || CASE WHEN n % 5 = 0 THEN 'Write to fox' || n || '@example.com.' ELSE '' END"
    " FROM made, generate_series(1, :each) AS n"
)
CASES = (
    ("crontalk", "redacted", False),
    ("crontalk", "redacted", True),
    ("crontalk", "original", False),
    ("openai", "redacted", False),
    ("sharegpt", "redacted", False),
    ("markdown", "redacted", False),
    ("csv", "redacted", False),
)


def work(job_id: uuid.UUID) -> None:
    """Carries an export out and says what it held at most; in a process of its own."""
    from core.carrying import carry_on

    context = make_context(read_settings(), "bench")
    began = time.process_time()
    while carry_on(context, job_id) == "sliced":
        pass
    took = time.process_time() - began
    context.close()
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(peak[1] if peak else 0, took)


def export(context: Context, account: uuid.UUID, place: str, case: tuple[str, str, bool]) -> dict[str, Any]:
    name, mode, gzip = case
    with context.transaction(account, actor="bench") as session:
        job = create_export_job(session, name, {"all": True}, mode=mode, gzip=gzip, scopes={"pii:read"}).id
    settings = context.settings
    given = {
        "DATABASE_URL": str(settings.database_url),
        "CRONTALK_BLOBS": place,
        "CRONTALK_KEY": settings.key.get_secret_value() if settings.key else "",
    }
    done = subprocess.run(
        [sys.executable, "-c", WORKING, str(job)],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, **given},
    )
    done_ = "SELECT done FROM jobs WHERE id = :id AND state = 'completed'"
    size = "SELECT (params ->> 'size')::float8 FROM jobs WHERE id = :id AND state = 'completed'"
    peak, took = map(float, done.stdout.split())
    return {
        "messages": float(support.execute(context, done_, id=job)) / took,
        "megabytes": float(support.execute(context, size, id=job)) / 1e6,
        "peak": peak / 1024,
    }


def bare(context: Context, account: uuid.UUID, messages: int) -> float:
    """The same rows read in pages of their own, and dropped; messages a second of CPU."""
    page = text(
        "SELECT * FROM messages WHERE conversation_id = ANY(ARRAY(SELECT id FROM conversations"
        " WHERE account_id = :account AND id > :after ORDER BY id LIMIT 80)) ORDER BY conversation_id, seq"
    )
    began, after = time.process_time(), uuid.UUID(int=0)
    while True:
        with context.transaction() as session:
            rows = session.execute(page, {"account": account, "after": after}).all()
        if not rows:
            return messages / (time.process_time() - began)
        after = rows[-1].conversation_id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    given = support.options(parser)
    figures: dict[str, Any] = {}
    with support.servers() as both, tempfile.TemporaryDirectory(prefix="crontalk-bench-") as place:
        for factor in (1, 4):
            messages = given.messages * factor
            with support.fresh_context(both, key="5e" * 32, blobs=place) as context:
                account = support.an_account(context)
                with context.transaction() as session:
                    session.execute(text("SET LOCAL statement_timeout = 0"))
                    values = {"account": account, "talks": messages // EACH, "each": EACH}
                    session.execute(text(FILL), values)
                support.settle_down(context, "messages, conversations")
                straight = bare(context, account, messages)
                for case in CASES if factor == 1 else CASES[:1]:
                    name = f"{case[0]}, {case[1]}{', gzip' if case[2] else ''}, {messages:,}"
                    figures[name] = {**export(context, account, place, case), "bare": straight}
    rows = [
        [
            name,
            f"{each['messages']:,.0f}",
            f"{each['messages'] / each['bare']:.0%}",
            f"{each['megabytes']:.0f}",
            f"{each['peak']:.0f}",
        ]
        for name, each in figures.items()
    ]
    show = ["export", "messages/s", "of bare reading", "MB", "peak MiB"]
    support.show("Exports", show, rows)
    support.write("exports", given, figures)


if __name__ == "__main__":
    main()
