"""A full installation to look through: three accounts, a million messages unless told, copied in by time.

The words are made up and as frequent as words are (Zipf's law): the commonest is in nearly every second
message. Conversations are of two to two hundred messages, most of them short, and are written at the
same time, so that the messages of one lie apart from each other as they do in a table that grew. However many
there are, a batch of them is in memory.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import text

from benchmarks import support
from benchmarks.knowledge import vocabulary, weights
from cli.local.servers import Servers
from core.context import Context
from models import first_id_of

DAYS = 400
BATCH = 500  # conversations that go on at the same time
MEAN = 13  # messages of a conversation
LONG = 5000  # messages of the longest
SHARES = (0.8, 0.16, 0.04)  # of the messages, by account
TASKS, BOTS, CONTACTS, JOBS = 200, 6, 4000, 120
LATELY = 50_000  # runs of the last day, whose conversations are gone
NOWHERE = "nowhereatall"
PII = {"t": "EMAIL_ADDRESS", "b": 0, "e": 4, "s": 0.95, "o": "mask", "d": "pattern"}
MESSAGES = (
    "COPY messages (id, account_id, conversation_id, seq, type, text, pii, pii_types, pii_state, created_at,"
    " updated_at) FROM STDIN"
)
CONVERSATIONS = (
    "COPY conversations (id, account_id, bot_id, task_id, contact_id, source, name, status, next_seq,"
    " last_message_at, created_at, updated_at) FROM STDIN"
)
RUNS = (
    "INSERT INTO runs (id, account_id, task_id, conversation_id, trigger, action, scheduled_for, state,"
    " error_class, attempt, worker, model, model_calls, input_tokens, output_tokens, created_at, started_at,"
    " finished_at) SELECT {id}, {account}, {task}, {conversation}, 'schedule', 'complete', {at},"
    " CASE WHEN {n} % 20 = 0 THEN 'failed' ELSE 'succeeded' END,"
    " CASE WHEN {n} % 20 = 0 THEN 'provider_error' END, 1, 'worker-' || {n} % 4, 'offline', 1, 300, 80,"
    " {at}, {at} + interval '1 second', {at} + interval '3 seconds' FROM {source}"
)
STEPS = (
    "INSERT INTO run_steps (run_id, step, account_id, epoch, started_at, finished_at, outcome, worker)"
    " SELECT id, s, account_id, 1, started_at, finished_at, 'succeeded', worker"
    " FROM runs, unnest(ARRAY['attempt.1', 'model.1']) AS s"
)
SETTLED = (
    "UPDATE conversations c SET run_id = r.id FROM runs r WHERE r.conversation_id = c.id AND c.run_id IS NULL"
)


@dataclass(frozen=True)
class Tenant:
    """An account with what its conversations are linked to."""

    id: uuid.UUID
    bots: list[uuid.UUID]
    tasks: list[uuid.UUID]
    contacts: list[uuid.UUID]


@dataclass(frozen=True)
class Talk:
    """A conversation that is about to be written."""

    id: uuid.UUID
    tenant: Tenant
    size: int
    begins: datetime
    last: datetime


@dataclass
class Filled:
    """What there is to look at."""

    tenants: list[Tenant]
    words: Sequence[str]
    long: uuid.UUID
    conversations: int = 0
    messages: int = 0
    seconds: float = 0.0


def fill(context: Context, both: Servers, messages: int) -> Filled:
    """Fills a new database; it is analysed as autovacuum would have."""
    chance = random.Random(11)
    words, now = vocabulary(random.Random(1)), datetime.now(UTC)
    tenants = [_tenant(context, name) for name in ("large", "middle", "small")]
    filled = Filled(tenants, words, uuid.UUID(int=0))
    address = support.superuser(context, both)
    with psycopg.connect(address) as one, psycopg.connect(address) as other:
        for connection in (one, other):
            # What the rows hang on is written beside them: only the foreign keys are not looked at.
            connection.execute("SET statement_timeout = 0")
            connection.execute("SET session_replication_role = replica")
            connection.execute("SET synchronous_commit = off")
        with one.cursor() as first, other.cursor() as second:
            with first.copy(MESSAGES) as said, second.copy(CONVERSATIONS) as begun:
                for talks, rows in _batches(chance, filled, messages, now):
                    for row in talks:
                        begun.write_row(row)
                    for row in rows:
                        said.write_row(row)
            one.commit()
            other.commit()
            _ran(one, tenants[0])
    support.settle_down(context)
    return filled


def _tenant(context: Context, name: str) -> Tenant:
    account = support.an_account(context, name)
    statements = {
        "bots": (BOTS, "INSERT INTO bots (id, account_id, name) SELECT uuidv7(), :a, 'Bot ' || n"),
        "tasks": (
            TASKS,
            (
                "INSERT INTO tasks (id, account_id, name, description, schedule, bot_id) SELECT uuidv7(), :a,"
                " 'Task ' || n, 'Say what is new.', '0 9 * * *', (SELECT min(id::text)::uuid FROM bots WHERE"
                " account_id = :a)"
            ),
        ),
        "contacts": (
            CONTACTS,
            (
                "INSERT INTO contacts (id, account_id, fingerprint, name) SELECT uuidv7(), :a, 'c' || n,"
                " 'Contact ' || n"
            ),
        ),
        "jobs": (
            JOBS,
            (
                "INSERT INTO jobs (id, account_id, kind, state, params, total, done, started_at, finished_at)"
                " SELECT uuidv7(), :a, 'delete', 'completed',"
                " jsonb_build_object('what', 'messages', 'filter', '{}'::jsonb, 'until', now()),"
                " 900 + n, 900 + n, now(), now()"
            ),
        ),
    }
    found: dict[str, list[uuid.UUID]] = {}
    with context.transaction() as session:
        for table, (count, insert) in statements.items():
            session.execute(text(f"{insert} FROM generate_series(1, {count}) AS n"), {"a": account})
            query = text(f"SELECT id FROM {table} WHERE account_id = :a ORDER BY id")
            found[table] = list(session.scalars(query, {"a": account}))
        session.execute(
            text(
                "INSERT INTO task_clocks (task_id, account_id, next_run_at) SELECT id, account_id,"
                " now() + interval '1 day' FROM tasks WHERE account_id = :a"
            ),
            {"a": account},
        )
    return Tenant(account, found["bots"], found["tasks"], found["contacts"])


def _batches(
    chance: random.Random, filled: Filled, messages: int, now: datetime
) -> Iterator[tuple[list[Any], list[Any]]]:
    """Rows of conversations that go on at the same time, and those of their messages in the order of time."""
    often, written = weights(), 0
    step = timedelta(days=DAYS) * MEAN / messages
    begins = now - timedelta(days=DAYS)
    long_at = messages // 2
    while written < messages:
        talks: list[Any] = []
        rows: list[Any] = []
        for _ in range(BATCH):
            longest = filled.long.int == 0 and written >= long_at
            size = LONG if longest else min(200, max(2, round(chance.lognormvariate(2.1, 0.95))))
            size = min(size, max(2, messages - written))
            tenant = filled.tenants[0 if longest else _which(chance)]
            one = uuid.UUID(int=first_id_of(begins).int | chance.getrandbits(62))
            if longest:
                filled.long = one
            talk = Talk(one, tenant, size, begins, min(now, begins + timedelta(minutes=2 * size)))
            old = written < messages // 50
            rows += (_message(chance, filled, often, talk, seq, old=old) for seq in range(1, size + 1))
            talks.append(_conversation(chance, filled.words, talk))
            written += size
            begins += step * size / MEAN
            if written >= messages:
                break
        rows.sort(key=lambda row: row[9])
        filled.conversations += len(talks)
        filled.messages = written
        yield talks, rows


def _which(chance: random.Random) -> int:
    return chance.choices(range(len(SHARES)), SHARES)[0]


def _message(
    chance: random.Random, filled: Filled, often: Sequence[float], talk: Talk, seq: int, *, old: bool
) -> tuple[Any, ...]:
    """A bot's answers are longer. Personal data is in one message of fifty, in the small account in its
    oldest alone, and contexts are in the oldest only.
    """
    at = talk.begins + (talk.last - talk.begins) * seq / talk.size
    kind = "activity" if chance.random() < 0.03 else "bot" if seq % 2 == 0 else "user"
    words = chance.choices(filled.words, cum_weights=often, k=chance.randint(15, 50) if kind == "bot" else 12)
    private = chance.random() < 0.02 and (talk.tenant is not filled.tenants[2] or old)
    if old and chance.random() < 0.001:
        kind = "context"
    pii = json.dumps([PII]) if private else None
    return (
        uuid.UUID(int=first_id_of(at).int | chance.getrandbits(62)),
        talk.tenant.id,
        talk.id,
        seq,
        kind,
        " ".join(words),
        pii,
        ["EMAIL_ADDRESS"] if private else None,
        "blocked" if chance.random() < 0.0005 else "done",
        at,
        at,
    )


def _conversation(chance: random.Random, words: Sequence[str], talk: Talk) -> tuple[Any, ...]:
    tenant, by_task = talk.tenant, chance.random() < 0.3
    return (
        talk.id,
        tenant.id,
        chance.choice(tenant.bots),
        tenant.tasks[_skewed(chance, TASKS)] if by_task else None,
        None if by_task else tenant.contacts[_skewed(chance, CONTACTS)],
        "task" if by_task else "widget",
        " ".join(chance.choices(words[:2000], k=3)).capitalize() if chance.random() < 0.5 else None,
        "archived" if chance.random() < 0.05 else "active",
        talk.size + 1,
        talk.last,
        talk.begins,
        talk.last,
    )


def _skewed(chance: random.Random, count: int) -> int:
    """Few have many, most have few."""
    return min(count - 1, int(count * chance.random() ** 3))


def _ran(connection: psycopg.Connection[Any], tenant: Tenant) -> None:
    """A run for every conversation of a task, and those of a busy day."""
    with connection.cursor() as cursor:
        cursor.execute(
            RUNS.format(
                id="uuidv7(created_at - now())",
                account="account_id",
                task="task_id",
                conversation="id",
                at="created_at",
                n="next_seq",
                source="conversations WHERE task_id IS NOT NULL ORDER BY id",
            )
        )
        cursor.execute(
            RUNS.format(
                id="uuidv7(make_interval(secs => n * -1.7))",
                account=f"'{tenant.id}'",
                task=f"('{{{','.join(map(str, tenant.tasks))}}}'::uuid[])[1 + n % {TASKS}]",
                conversation="NULL",
                at="now() - make_interval(secs => n * 1.7)",
                n="n",
                source=f"generate_series({LATELY}, 1, -1) AS n",
            )
        )
        cursor.execute(SETTLED)
        cursor.execute(STEPS)
    connection.commit()
