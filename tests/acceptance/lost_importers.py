"""An import whose workers are killed every two seconds, PostgreSQL twice: `make import N=200000`.

Every message of the file is there once, as it was said but for its personal data, in its place; nobody else's
are touched; however often a worker, or the database, was lost in the middle of a batch.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli.local.home import Home
from core.blobs import open_writing
from core.context import Context, make_context
from core.exporters.jsonl import written
from core.file_names import Described
from core.import_jobs import create_import_job, start_import_file
from core.importers.records import Conversation, Message
from core.privacy_policies import owner_of, set_policy
from core.schema import upgrade
from core.settings import Settings
from models import Job
from tests.acceptance.lost_workers import SETTINGS, Fire, Report, figures_of, start_ours
from tests.acceptance.storm.fleet import Fleet
from tests.deletions import some_talks, the_job
from tests.factories import A_KEY, an_account, one

EACH = 50  # messages of a conversation
MAIL = "grace@example.com"
OTHERS = (
    "SELECT encode(sha256(convert_to(string_agg(concat_ws(' ', id, seq, text), ',' ORDER BY id), 'utf8')),"
    " 'hex') FROM messages WHERE account_id = :account"
)


def storm(messages: int, gap: float) -> Report:
    """Call it from the main thread."""
    with tempfile.TemporaryDirectory(prefix="crontalk-import-", ignore_cleanup_errors=True) as directory:
        place = {"CRONTALK_KEY": A_KEY, "CRONTALK_BLOBS": str(Path(directory) / "blobs")}
        fleet = Fleet(Path(directory), SETTINGS | place, 1)
        with Home.at(fleet.directory / "home").lock():
            fleet.start_servers()
            fleet.start_model()
            upgrade(fleet.direct_url)
            settings = Settings(
                database_url=fleet.direct_url, key=A_KEY, blobs=place["CRONTALK_BLOBS"], max_file=10**10
            )
            context = make_context(settings, "storm")
            try:
                return _storm(context, fleet, messages, gap)
            finally:
                context.close()
                fleet.stop()


def _storm(context: Context, fleet: Fleet, messages: int, gap: float) -> Report:
    account, other = an_account(context), an_account(context, "Grace")
    some_talks(context, other, 20, EACH)
    before = one(context, OTHERS, account=other)
    with context.transaction(account) as session:
        set_policy(session, owner_of(session), {"preset": "recommended"})
    job = _asked(context, account, messages)
    start_ours(fleet)
    fire, report, began = Fire(fleet, gap, job, messages // EACH), Report(), time.monotonic()
    if not fire.rage(context):
        report.wrong.append("The import does not go on.")
    report.figures = figures_of(fire, time.monotonic() - began) | {"messages": messages}
    report.wrong += _faults(context, account, messages, the_job(context, account, job))
    if one(context, OTHERS, account=other) != before:
        report.wrong.append("Another account's messages are not what they were.")
    report.logs = fleet.logs()
    return report


def _talks(messages: int) -> Iterator[Conversation]:
    for talk in range(messages // EACH):
        said = (
            Message(
                str(n), ("user", "bot")[n % 2], f"Word {n} of talk {talk}, write to {MAIL}, it is talk {talk}"
            )
            for n in range(EACH)
        )
        yield Conversation(f"talk {talk}", f"Talk {talk}", messages=tuple(said))


def _asked(context: Context, account: uuid.UUID, messages: int) -> uuid.UUID:
    with context.transaction(account) as session:
        blob = start_import_file(session, Described("e", "application/octet-stream"))
        writing = open_writing(context, session, blob)
    for line in written(_talks(messages)):
        writing.add(line)
    writing.finish()
    with context.transaction(account) as session:
        return create_import_job(session, str(blob.file_id)).id


def _faults(context: Context, account: uuid.UUID, messages: int, job: Job) -> list[str]:
    talks = messages // EACH

    def count(what: str, of: str = "messages") -> int:
        return int(one(context, f"SELECT count({what}) FROM {of} WHERE account_id = :id", id=account))

    in_place = (
        "SELECT count(*) FROM messages m JOIN conversations c ON c.id = m.conversation_id"
        " WHERE m.account_id = :id AND c.name = 'Talk ' || split_part(m.text, 'it is talk ', 2)"
        " AND m.text LIKE 'Word ' || (m.seq - 1) || ' of talk %'"
    )
    raw = f"SELECT count(*) FROM messages WHERE text LIKE '%{MAIL}%'"
    found: dict[str, tuple[Any, Any]] = {
        "state, total, done, skipped, failed": (
            (str(job.state), job.total, job.done, job.skipped, job.failed),
            ("completed", talks, talks, 0, 0),
        ),
        "messages and conversations counted": (
            (job.counts.get("messages"), job.counts.get("conversations")),
            (messages, talks),
        ),
        "messages": (count("*"), messages),
        "different messages": (count("DISTINCT text"), messages),
        "places": (count("DISTINCT (conversation_id, seq)"), messages),
        "messages in their place": (one(context, in_place, id=account), messages),
        "conversations": (count("*", "conversations"), talks),
        "texts with personal data": (one(context, raw), 0),
        "files left": (count("*", "files"), 0),
    }
    return [f"{what}: {is_} instead of {wanted}" for what, (is_, wanted) in found.items() if is_ != wanted]


def main() -> int:
    parser = argparse.ArgumentParser(prog="import", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--gap", type=float, default=2.0, help="seconds between kills")
    given = parser.parse_args()
    report = storm(given.messages // EACH * EACH, given.gap)
    print(json.dumps(report.figures, indent=1))
    for sentence in report.wrong:
        print(f"WRONG {sentence}")
    if report.wrong:
        print(report.logs[-4000:])
        return 1
    print("Everything in the file is there, once.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
