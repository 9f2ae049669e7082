"""Importing of chat histories into the database, privacy off and on, beside a bare COPY of the same rows.

    python -m benchmarks importing [--messages 100000] [--rounds 3] [--large 1000]

The worker is a process of its own that calls what the Celery task calls; messages a second are by the clock,
from its first slice to the job's end. The bare COPY takes the very rows that were stored, written out
before, into the same table with the same indexes. Messages are short chat, 15 % of which hold personal data.
The large file has as many megabytes of ChatGPT's conversations.json in an archive; `peak` is what its worker
held.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import support
from benchmarks.imports import large
from benchmarks.privacy.speed import short15
from core.blobs import open_writing
from core.context import Context
from core.exporters.jsonl import written
from core.file_names import Described
from core.import_jobs import create_import_job, start_import_file
from core.importers.records import Conversation, Message
from core.privacy.policy import Preset
from core.privacy_policies import owner_of, set_policy

EACH = 20  # messages of a conversation
KEY = "5e" * 32
WORKER = """
import re, resource, sys, uuid
from core.carrying import carry_on
from core.context import make_context
from core.settings import read_settings
context = make_context(read_settings(), "bench")
while carry_on(context, uuid.UUID(sys.argv[1])) == "sliced":
    pass
used = resource.getrusage(resource.RUSAGE_SELF)
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
print(used.ru_utime + used.ru_stime, peak)
"""
COLUMNS = (
    "id, account_id, conversation_id, seq, type, name, description, text, meta, pii, pii_types, pii_state,"
    " pii_version, created_at, updated_at"
)


def chatgpt_file(texts: list[str]) -> bytes:
    return json.dumps([_gpt(at, texts[at : at + EACH]) for at in range(0, len(texts), EACH)]).encode()


def _gpt(number: int, texts: list[str]) -> dict[str, Any]:
    mapping: dict[str, Any] = {"root": {"id": "root", "parent": None, "children": [], "message": None}}
    parent = "root"
    for at, text in enumerate(texts):
        key = f"{number:08}-{at}"
        role = ("user", "assistant")[at % 2]
        mapping[key] = {
            "id": key,
            "parent": parent,
            "children": [],
            "message": {
                "id": key,
                "author": {"role": role, "name": None, "metadata": {}},
                "create_time": 1.76e9 + at,
                "content": {"content_type": "text", "parts": [text]},
                "status": "finished_successfully",
                "metadata": {"model_slug": "gpt-9"},
                "recipient": "all",
            },
        }
        parent = key
    return {
        "title": "A talk",
        "create_time": 1.76e9,
        "mapping": mapping,
        "current_node": parent,
        "id": f"c{number}",
    }


def own_file(texts: list[str]) -> bytes:
    def talks() -> Iterator[Conversation]:
        for at in range(0, len(texts), EACH):
            messages = tuple(
                Message(str(n), ("user", "bot")[n % 2], text) for n, text in enumerate(texts[at : at + EACH])
            )
            yield Conversation(f"c{at}", "A talk", messages=messages)

    return b"".join(written(talks()))


def import_once(context: Context, account: uuid.UUID, content: bytes | Path) -> dict[str, float]:
    """Imports a file by a worker of its own; what it took."""
    job = _asked(context, account, content)
    env = {
        **os.environ,
        "DATABASE_URL": str(context.settings.database_url),
        "CRONTALK_KEY": KEY,
        "CRONTALK_BLOBS": str(context.settings.blobs),
    }
    servers = support.server_cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(job)], capture_output=True, check=True, text=True, env=env
    )
    cpu, peak = map(float, done.stdout.split())
    took = support.execute(
        context,
        "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM jobs WHERE id = :id",
        id=job,
    )
    state = support.execute(context, "SELECT state FROM jobs WHERE id = :id", id=job)
    assert state == "completed", state
    count = support.execute(context, "SELECT (counts ->> 'messages')::int FROM jobs WHERE id = :id", id=job)
    return {
        "messages": count,
        "rate": count / float(took),
        "cpu": cpu / count * 1e6,
        "servers": (support.server_cpu_seconds() - servers) / count * 1e6,
        "peak": peak / 1024,
    }


def _asked(context: Context, account: uuid.UUID, content: bytes | Path) -> uuid.UUID:
    with context.transaction(account) as session:
        blob = start_import_file(session, Described("e", "application/octet-stream"))
        writing = open_writing(context, session, blob, most=context.settings.max_import)
    stream = io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
    with stream:
        while piece := stream.read(1 << 20):
            writing.add(piece)
    writing.finish()
    with context.transaction(account) as session:
        return create_import_job(session, str(blob.file_id)).id


def bare_copy(context: Context, both: Any) -> float:
    """Copies the messages that are there once more, into the emptied table; messages a second."""
    import psycopg

    with psycopg.connect(support.superuser(context, both)) as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY messages ({COLUMNS}) TO STDOUT") as out:
            rows = [bytes(row) for row in out]
        cursor.execute("DELETE FROM messages")
        connection.commit()
    support.settle_down(context)
    with psycopg.connect(support.superuser(context, both)) as connection, connection.cursor() as cursor:
        began = time.perf_counter()
        with cursor.copy(f"COPY messages ({COLUMNS}) FROM STDIN") as into:
            for at in range(0, len(rows), 500):
                into.write(b"".join(rows[at : at + 500]))
        connection.commit()
        took = time.perf_counter() - began
    return len(rows) / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--large", type=int, default=1000, help="megabytes of the large file; 0 leaves it out"
    )
    given = support.options(parser)
    texts = [message.text for message in short15(given.messages, 1)]
    files = {"crontalk": own_file(texts), "chatgpt": chatgpt_file(texts)}
    rows: list[list[Any]] = []
    figures: dict[str, Any] = {}
    with support.servers() as both, tempfile.TemporaryDirectory(prefix="crontalk-bench-") as made:
        for name, content in files.items():
            for preset in (None, Preset.RECOMMENDED, Preset.STRICT):
                told = []
                for _ in range(given.rounds):
                    with support.fresh_context(both, key=KEY, blobs=made) as context:
                        account = support.an_account(context)
                        if preset is not None:
                            with context.transaction(account) as session:
                                set_policy(session, owner_of(session), {"preset": preset.value})
                        one = import_once(context, account, content)
                        told.append(one | {"copy": bare_copy(context, both)})
                label = f"{name}, privacy {preset.value if preset else 'off'}"
                figures[label] = told
                middle = {key: support.median([one[key] for one in told]) for key in told[0]}
                rows.append(
                    [
                        label,
                        f"{middle['rate']:,.0f}",
                        f"{middle['copy']:,.0f}",
                        f"{support.median([one['rate'] / one['copy'] for one in told]):.0%}",
                        f"{middle['cpu']:.1f}",
                        f"{middle['servers']:.1f}",
                        f"{middle['peak']:.0f}",
                    ]
                )
        if given.large:
            with support.fresh_context(both, key=KEY, blobs=made) as context:
                account = support.an_account(context)
                one = import_once(context, account, large(Path(made), given.large))
            figures["large"] = one
            label = f"chatgpt, {given.large} MB in a zip"
            rows.append(
                [
                    label,
                    f"{one['rate']:,.0f}",
                    "",
                    "",
                    f"{one['cpu']:.1f}",
                    f"{one['servers']:.1f}",
                    f"{one['peak']:.0f}",
                ]
            )
    columns = ["file", "messages/s", "bare COPY", "", "CPU µs: worker", "servers", "peak MiB"]
    support.show("Importing", columns, rows)
    support.write("importing", given, figures)


if __name__ == "__main__":
    main()
