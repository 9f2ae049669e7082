"""A backup brings back what was deleted after it was made; the receipts take it away again."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import psycopg
import pytest

from cli.local.binaries import find_postgres
from core.account_deletion import delete_account
from core.contacts import delete_contact
from core.context import make_context
from core.conversations import delete_conversation
from core.messages import delete_message
from core.talking import send
from core.tasks import delete_task
from tests.api import a_client, a_secret
from tests.factories import (
    A_KEY,
    a_bot,
    a_contact,
    a_conversation,
    a_due_task,
    an_account,
    execute,
    one,
    rows,
)
from tests.servers import at_database, drop_database, libpq
from tests.traces import forget_words, traces_of

MARK = "xyloquartz"
MAIL = f"{MARK}@example.com"
TABLES = ("conversations", "messages", "pii_tokens", "contacts", "tasks", "task_clocks", "bots", "accounts")


@pytest.fixture(autouse=True)
def _silence(context):
    forget_words(context)


@pytest.fixture
def command(tmp_path, settings):
    """Runs a command in a process of its own, on a database: exit code, standard output, standard error."""

    def ask(url, *words, said=None):
        env = {
            "DATABASE_URL": url,
            "REDIS_URL": settings.redis_url,
            "CRONTALK_HOME": str(tmp_path / "home"),
            "CRONTALK_KEY": A_KEY,
            "PATH": "",
        }
        line = [sys.executable, "-m", "cli", *words]
        done = subprocess.run(
            line, env=env, input=said, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return ask


@pytest.fixture
def backup(context, settings, admin_url, worker_id, tmp_path):
    """`make` dumps the database as it is; `restore` answers a context on a new one made of the dump."""
    dump, name = tmp_path / "backup.dump", f"restored_{worker_id}"
    tools = find_postgres().directory
    made = []

    def make():
        subprocess.run([tools / "pg_dump", "-Fc", "-f", dump, libpq(settings.database_url)], check=True)

    def restore():
        with psycopg.connect(libpq(admin_url), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            admin.execute(f"CREATE DATABASE {name} OWNER crontalk")
        url = at_database(settings.database_url, user="crontalk", database=name)
        subprocess.run([tools / "pg_restore", "-d", libpq(url), dump], check=True)
        made.append(make_context(settings.model_copy(update={"database_url": url}), "restored"))
        return made[-1]

    yield make, restore
    for restored in made:
        restored.close()
    drop_database(admin_url, at_database(settings.database_url, user="crontalk", database=name))


@pytest.fixture
def lived(context, account, backup):
    """A database that was backed up, and of which then a message, a conversation, a contact, a task and an
    account were deleted. What is theirs holds the word.
    """
    bot = a_bot(context, account, privacy=True)
    talks = [a_conversation(context, account, bot_id=bot.id).id for _ in range(3)]
    contact = a_contact(context, account, name=MARK, email=MAIL)
    task = a_due_task(context, account, name=MARK, bot_id=bot.id)
    doomed = an_account(context, f"The {MARK}")
    doomed_talk = a_conversation(context, doomed, name=MARK).id
    with context.transaction(account) as session:
        message = send(session, talks[0], f"{MARK} wrote to {MAIL}").message.id
        for talk in (talks[0], talks[2]):
            send(session, talk, "Stays, with stays@example.com")
        for n in range(5):
            send(session, talks[1], f"{n} {MARK} {MAIL}")
    with context.transaction(doomed) as session:
        send(session, doomed_talk, MARK)
    make, _ = backup
    make()
    with context.transaction(account, actor="token:x") as session:
        delete_message(session, talks[0], message)
        delete_conversation(session, talks[1])
        delete_contact(session, contact.id)
        delete_task(session, task.id)
    delete_account(context, doomed, actor="cli")
    assert traces_of(context, MARK) == []
    return talks


def contents(context):
    """The rows of people; what deleting touches beside what it deletes is left out."""
    untouched = " - 'updated_at' - 'purge_epoch' - 'rests_from'"
    return {
        table: {
            row["r"] for row in rows(context, f"SELECT CAST(to_jsonb(t){untouched} AS text) r FROM {table} t")
        }
        for table in TABLES
    }


def test_after_a_restore_the_receipts_take_away_what_came_back_and_nothing_else(
    context, settings, lived, backup, command, tmp_path
):
    file = tmp_path / "receipts.jsonl"
    code, _, told = command(settings.database_url, "erasure", "export", "--out", str(file))
    assert (code, told) == (0, "5 receipts\n")
    assert MARK not in file.read_text()
    _, restore = backup
    restored = restore()
    assert {"messages", "conversations", "contacts", "tasks", "accounts"} <= set(traces_of(restored, MARK))
    url = restored.settings.database_url
    code, out, err = command(url, "erasure", "apply", str(file), "--json")
    assert code == 0, err
    counts = {"receipts": 5, "erased": 5, "gone": 0, "unfinished": 0, "foreign": 0, "failed": 0}
    assert json.loads(out) == counts
    assert traces_of(restored, MARK) == []
    assert contents(restored) == contents(context)
    stored = "SELECT id, kind, target_id, messages, conversations, actor FROM erasures ORDER BY id"
    assert rows(restored, stored) == rows(context, stored)
    code, out, _ = command(url, "erasure", "apply", "-", "--json", said=file.read_text())
    assert (code, json.loads(out)) == (0, counts | {"erased": 0, "gone": 5})
    assert rows(restored, stored) == rows(context, stored)
    assert contents(restored) == contents(context)


def test_receipts_are_applied_while_the_api_is_used(
    context, settings, account, lived, backup, command, tmp_path
):
    file = tmp_path / "receipts.jsonl"
    command(settings.database_url, "erasure", "export", "--out", str(file))
    _, restore = backup
    restored = restore()
    client = a_client(restored, a_secret(restored, account, ("read", "write", "pii:read")))
    stop, answers = threading.Event(), []

    def asks(talk, n):
        path = f"/api/v1/conversation/{talk}/message"
        while not stop.is_set():
            answers.append(
                client.post(f"{path}/create", json={"type": "user", "text": f"By {n}@example.com"})
            )
            answers.append(client.get(f"{path}/list"))
            if n and (items := answers[-1].json().get("items")):
                answers.append(client.post(f"{path}/{items[0]['id']}/delete", json={}))

    threads = [threading.Thread(target=asks, args=(talk, n)) for n, talk in enumerate(lived)]
    for thread in threads:
        thread.start()
    url = restored.settings.database_url
    outcomes = [command(url, "erasure", "apply", str(file), "--json") for _ in range(2)]
    stop.set()
    for thread in threads:
        thread.join(30)
    assert [code for code, _, _ in outcomes] == [0, 0]
    assert {answer.status_code for answer in answers} <= {200, 404, 503}
    assert answers
    assert traces_of(restored, MARK) == []
    orphans = (
        "SELECT count(*) FROM pii_tokens t WHERE NOT EXISTS (SELECT FROM messages m"
        " WHERE m.conversation_id = t.conversation_id AND strpos(m.text, t.token) > 0)"
    )
    assert one(restored, orphans) == 0


def test_only_what_was_completed_since_is_exported(context, settings, account, command):
    talks = [a_conversation(context, account).id for _ in range(3)]
    with context.transaction(account) as session:
        for talk in talks:
            delete_conversation(session, talk)
    execute(context, "UPDATE erasures SET completed_at = '2020-01-01' WHERE target_id = :id", id=talks[0])
    execute(context, "UPDATE erasures SET completed_at = NULL WHERE target_id = :id", id=talks[1])
    code, out, _ = command(settings.database_url, "erasure", "export", "--since", "2020-01-02")
    assert code == 0
    assert [json.loads(line)["targetId"] for line in out.splitlines()] == [str(talks[1]), str(talks[2])]
    code, out, _ = command(settings.database_url, "erasure", "export", "--json")
    assert (code, len(json.loads(out)["items"])) == (0, 3)
    assert command(settings.database_url, "erasure", "export", "--since", "yesterday")[0] == 2


def test_a_conversation_that_was_still_going_is_spared(context, settings, account, command):
    talk = a_conversation(context, account).id
    receipt = {
        "id": str(talk),
        "accountId": str(account),
        "kind": "conversation",
        "targetId": str(talk),
        "createdAt": 1_700_000_000_000,
    }
    url = settings.database_url
    code, out, _ = command(url, "erasure", "apply", "-", "--json", said=json.dumps(receipt))
    assert (code, json.loads(out)["unfinished"]) == (0, 1)
    foreign = receipt | {"accountId": str(an_account(context)), "completedAt": 1_700_000_000_000}
    code, out, _ = command(url, "erasure", "apply", "-", "--json", said=json.dumps(foreign))
    assert (code, json.loads(out)["foreign"]) == (0, 1)
    assert one(context, "SELECT count(*) FROM conversations") == 1


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "{}",
        '{"kind": "planet", "id": "1"}',
        json.dumps({"kind": "contact", "id": "x", "accountId": "x", "targetId": "x", "createdAt": 1}),
    ],
)
def test_a_file_that_is_no_export_deletes_nothing(context, settings, account, command, line):
    talk = str(a_conversation(context, account).id)
    good = {"kind": "conversation", "targetId": talk, "createdAt": 1, "completedAt": 1}
    first = json.dumps(good | {"id": talk, "accountId": str(account)})
    code, _, complaint = command(settings.database_url, "erasure", "apply", "-", said=f"{first}\n\n{line}\n")
    assert code == 2
    assert "Line 3 is no receipt" in complaint
    assert one(context, "SELECT count(*) FROM conversations") == 1
    assert one(context, "SELECT count(*) FROM erasures") == 0
