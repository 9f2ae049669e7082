"""A migration whose workers are killed again and again, PostgreSQL twice, from a server with flaws.

Everything that the server holds is here once, in its place and linked to what it hung on; another account's
rows are not touched; and the token can be read nowhere.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from cli.local.home import Home
from core.context import Context, make_context
from core.schema import upgrade
from core.settings import Settings
from models import Job
from tests.acceptance.lost_workers import SETTINGS, Fire, Report, figures_of, start_ours
from tests.acceptance.storm.fleet import Fleet
from tests.deletions import some_talks, the_job
from tests.factories import A_KEY, an_account, one
from tests.migrating import TOKEN, Answer, Elsewhere, a_migration, told

EACH = 12  # messages of a conversation
FLAWED = 37  # every so many requests
BOTS = 7


def storm(talks: int, gap: float) -> Report:
    """Call it from the main thread."""
    with tempfile.TemporaryDirectory(prefix="crontalk-move-", ignore_cleanup_errors=True) as directory:
        place = {"CRONTALK_KEY": A_KEY, "CRONTALK_OUTBOUND_ALLOW": "127.0.0.1"}
        fleet = Fleet(Path(directory), SETTINGS | place, 1)
        with Home.at(fleet.directory / "home").lock():
            fleet.start_servers()
            fleet.start_model()
            upgrade(fleet.direct_url)
            settings = Settings(database_url=fleet.direct_url, key=A_KEY, outbound_allow="127.0.0.1")
            context = make_context(settings, "storm")
            try:
                with Elsewhere() as server:
                    return _storm(context, fleet, server, talks, gap)
            finally:
                context.close()
                fleet.stop()


def _storm(context: Context, fleet: Fleet, server: Elsewhere, talks: int, gap: float) -> Report:
    account, other = an_account(context), an_account(context, "Grace")
    some_talks(context, other, 3, EACH)
    _fill(server, talks)
    job = a_migration(context, account, server.url).id
    start_ours(fleet)
    fire, report, began = Fire(fleet, gap, job, talks), Report(), time.monotonic()
    if not fire.rage(context):
        report.wrong.append("The migration does not go on.")
    report.figures = figures_of(fire, time.monotonic() - began) | {"requests": len(server.asked)}
    report.wrong += _faults(context, account, talks, the_job(context, account, job))
    if one(context, "SELECT count(*) FROM messages WHERE account_id = :id", id=other) != 3 * EACH:
        report.wrong.append("Another account's messages are not what they were.")
    report.logs = fleet.logs()
    if TOKEN in report.logs or server.url in report.logs:
        report.wrong.append("The logs tell the token or the address.")
    return report


def _fill(server: Elsewhere, talks: int) -> None:
    for n in range(BOTS):
        server.lists["bot"].append({"id": f"b{n}", "name": f"Bot {n}"})
        server.lists["contact"].append({"id": f"k{n}", "fingerprint": f"f{n}", "name": f"Contact {n}"})
        task = {"id": f"t{n}", "name": f"Task {n}", "description": "Say it.", "schedule": "daily"}
        server.lists["task"].append({**task, "botId": f"b{n}", "contactId": f"k{n}"})
    for n in range(talks):
        links = {"botId": f"b{n % BOTS}", "contactId": f"k{n % BOTS}", "taskId": f"t{n % BOTS}"}
        server.talk(f"c{n}", *(f"Word {at} of c{n}" for at in range(EACH)), **links)

    def flawed(_path: str, query: dict[str, str]) -> Answer | None:
        time.sleep(0.01)
        query["take"] = str(min(int(query.get("take", "100")), 5))  # several pages for every conversation
        return told({"message": "no"}, 503) if len(server.asked) % FLAWED == 0 else None

    server.hook = flawed


def _faults(context: Context, account: uuid.UUID, talks: int, job: Job) -> list[str]:
    def count(what: str, of: str, where: str = "true") -> int:
        query = f"SELECT count({what}) FROM {of} WHERE account_id = :id AND {where}"
        return int(one(context, query, id=account))

    in_place = (
        "SELECT count(*) FROM messages m JOIN conversations c ON c.id = m.conversation_id"
        " WHERE m.account_id = :id"
        " AND 'Word ' || (m.seq - 1) || ' of ' || split_part(c.name, ' ', 2) = m.text"
    )
    linked = (
        "SELECT count(*) FROM conversations c JOIN bots b ON b.id = c.bot_id JOIN tasks t ON t.id = c.task_id"
        " JOIN contacts k ON k.id = c.contact_id WHERE c.account_id = :id"
        " AND split_part(b.name, ' ', 2) = split_part(t.name, ' ', 2)"
        " AND split_part(b.name, ' ', 2) = split_part(k.name, ' ', 2) AND t.bot_id = b.id"
    )
    rows = talks + 3 * BOTS
    found: dict[str, tuple[Any, Any]] = {
        "state, total, done, failed": (
            (str(job.state), job.total, job.done, job.failed),
            ("completed", rows, rows, 0),
        ),
        "messages": (count("*", "messages"), talks * EACH),
        "different messages": (count("DISTINCT text", "messages"), talks * EACH),
        "messages in their place": (one(context, in_place, id=account), talks * EACH),
        "messages counted": (job.counts.get("messages"), talks * EACH),
        "conversations": (count("*", "conversations"), talks),
        "conversations with their links": (one(context, linked, id=account), talks),
        "bots": (count("*", "bots", "name LIKE 'Bot %'"), BOTS),
        "contacts": (count("*", "contacts"), BOTS),
        "tasks": (count("*", "tasks"), BOTS),
        "sealed": ("sealed" in job.params, False),
    }
    return [f"{what}: {is_} instead of {wanted}" for what, (is_, wanted) in found.items() if is_ != wanted]


def main() -> int:
    parser = argparse.ArgumentParser(prog="move", description=__doc__)
    parser.add_argument("--talks", type=int, default=150)
    parser.add_argument("--gap", type=float, default=1.5, help="seconds between kills")
    given = parser.parse_args()
    report = storm(given.talks, given.gap)
    if report.wrong:
        print(report.logs[-20_000:], file=sys.stderr)
    print(json.dumps({"wrong": report.wrong, **report.figures}, indent=2))
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
