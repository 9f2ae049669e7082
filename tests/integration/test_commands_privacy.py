"""`crontalk privacy …` and `crontalk job …`, in this process and as one of their own."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading

import pytest
import structlog

from cli.main import main
from core.annotating import annotate
from core.bots import update_bot
from core.feeding import feed_annotations
from core.privacy_policies import owner_of, set_policy
from core.talking import send
from tests.factories import a_bot, a_conversation, one, rows

MAIL = "grace.hopper@example.com"
SAID = f"😀 Write to {MAIL}."


@pytest.fixture
def run(monkeypatch, capsys, settings, account, tmp_path):
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    monkeypatch.setenv("CRONTALK_KEY", settings.key.get_secret_value())
    monkeypatch.setenv("CRONTALK_BLOBS", settings.blobs)
    monkeypatch.setenv("CRONTALK_HOME", str(tmp_path / "home"))

    def ask(*words: str):
        monkeypatch.setattr(sys, "argv", ["crontalk", *words])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        told = capsys.readouterr()
        return code, told.out, told.err

    handlers = logging.getLogger().handlers
    yield ask
    structlog.reset_defaults()
    logging.getLogger().handlers = handlers


@pytest.fixture
def document(run):
    def ask(*words: str):
        code, out, err = run(*words, "--json")
        assert code == 0, out + err
        return json.loads(out)

    return ask


def alone(*words, given="", **environment):
    """A process that knows no database."""
    command = [sys.executable, "-m", "cli", *words]
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.run(
        command, input=given.encode(), capture_output=True, env={**kept, **environment}, check=False
    )


def test_a_policy_is_set_shown_and_cleared(run, document, context, account, tmp_path):
    bot = a_bot(context, account, name="Kim")
    assert document("privacy", "policy", "show")["effective"]["on"] is False
    assert document("privacy", "policy", "set", "--preset", "strict")["effective"]["preset"] == "strict"
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"operators": {"email": "hash"}}))
    told = document(
        "privacy", "policy", "set", "--file", str(file), "--preset", "recommended", "--bot", "Kim"
    )
    assert told["policy"] == {"preset": "recommended", "operators": {"EMAIL_ADDRESS": "hash"}}
    assert document("privacy", "policy", "show", "--bot", str(bot.id)) == told
    code, out, _ = run("privacy", "policy", "show", "--bot", "Kim")
    assert (code, "EMAIL_ADDRESS" in out, "hash" in out) == (0, True, True)
    assert "policy" not in document("privacy", "policy", "clear", "--bot", "Kim")
    assert document("privacy", "policy", "show", "--bot", "Kim")["effective"]["preset"] == "strict"


@pytest.mark.parametrize("content", ["{", '{"preset": "geheim4711"}', '"geheim4711"', None])
def test_a_policy_that_cannot_be_used_is_refused(run, context, account, tmp_path, content):
    file = tmp_path / "policy.json"
    if content is not None:
        file.write_text(content)
    code, _, err = run("privacy", "policy", "set", "--file", str(file))
    assert (code, "geheim" in err) == (2, False)
    assert run("privacy", "policy", "set")[0] == 2
    assert one(context, "SELECT privacy_policy IS NULL FROM accounts")


def test_a_text_is_tried_out_under_the_policy_of_the_account(run, document, context, account):
    assert document("privacy", "test", SAID)["policy"] == "recommended"
    with context.transaction(account) as session:
        set_policy(session, owner_of(session), {"preset": "strict"})
    told = document("privacy", "test", SAID)
    assert (told["policy"], told["text"]) == ("strict", "😀 Write to <EMAIL_ADDRESS>.")
    (found,) = told["entities"]
    assert SAID[found["begin"] : found["end"]] == found["text"] == MAIL
    bot = a_bot(context, account, name="Kim")
    with context.transaction(account) as session:
        set_policy(session, owner_of(session, bot_id=bot.id), {"operators": {"email": "redact"}})
    assert document("privacy", "test", SAID, "--bot", "Kim")["text"] == "😀 Write to <REDACTED>."
    code, out, _ = run("privacy", "test", SAID, "--preset", "annotate")
    assert (code, "policy: annotate" in out, out.count(MAIL)) == (0, True, 3)
    assert run("privacy", "test", SAID, "--bot", "nobody")[0] == 3


def test_a_text_is_tried_out_without_a_database(tmp_path):
    done = alone("privacy", "test", SAID, "--json", CRONTALK_HOME=str(tmp_path / "none"))
    told = json.loads(done.stdout)
    assert (done.returncode, told["policy"], told["entities"][0]["operator"]) == (0, "recommended", "mask")
    done = alone("privacy", "test", "-", "--preset", "tokenise", given=SAID)
    assert (done.returncode, b"[email:" in done.stdout) == (0, True)
    assert alone("privacy", "test", "x", "--preset", "nonsense").returncode == 2
    assert alone("privacy", "test", "x", "--bot", "y", CRONTALK_HOME=str(tmp_path / "none")).returncode == 6


def scanned(lines, *words):
    done = alone("privacy", "scan", "--json", *words, given="".join(f"{line}\n" for line in lines))
    return done, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_scan_answers_every_line_in_code_points():
    asked = [{"id": 7, "text": SAID}, {"id": "b", "text": "nothing"}, {"text": "Card 4111 1111 1111 1111"}]
    done, told = scanned([json.dumps(asked[0]), "", json.dumps(asked[1]), json.dumps(asked[2])])
    assert (done.returncode, done.stderr) == (0, b"")
    first, second, third = told
    (found,) = first["entities"]
    assert (first["id"], found["type"], found["operator"]) == (7, "EMAIL_ADDRESS", "mask")
    assert SAID[found["begin"] : found["end"]] == found["text"] == MAIL
    assert second == {"id": "b", "entities": [], "redacted": "nothing"}
    assert ("id" in third, third["entities"][0]["type"]) == (False, "CREDIT_CARD")


def test_a_line_that_cannot_be_read_is_named_and_not_repeated():
    lines = ['{"id": 1, "text": "fine"}', "geheim4711", '{"text": 4711}', '["geheim4711"]', '{"text": "too"}']
    done, told = scanned(lines)
    assert done.returncode == 9
    assert b"3 lines" in done.stderr
    assert [one.get("line") for one in told] == [None, 2, 3, 4, None]
    assert all(one["error"] for one in told[1:4])
    assert b"4711" not in done.stdout + done.stderr


def test_a_scan_mints_tokens_that_lead_nowhere():
    line = json.dumps({"text": f"{MAIL} and {MAIL} and ada@example.com"})
    _, (first, second) = scanned([line, line], "--preset", "tokenise")
    _, (other,) = scanned([line], "--preset", "tokenise")
    tokens = [word for word in first["redacted"].split() if word != "and"]
    assert tokens[0] == tokens[1] != tokens[2]
    assert first["redacted"] == second["redacted"] != other["redacted"]


def test_a_scan_loads_nothing_it_does_not_need():
    heavy = "sqlalchemy", "celery", "fastapi", "psycopg", "redis", "rich.console"
    code = (
        "import sys, cli.main\nsys.argv = ['crontalk', 'privacy', 'scan']\n"
        "try: cli.main.main()\nexcept SystemExit: pass\n"
        f"print(sorted(name for name in {heavy} if name in sys.modules), file=sys.stderr)"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, input=b'{"text": "x"}\n', capture_output=True, check=True)
    assert done.stderr.strip() == b"[]"


@pytest.fixture
def history(context, account):
    conversation = a_conversation(context, account)
    with context.transaction(account) as session:
        for _ in range(3):
            send(session, conversation.id, SAID)
        set_policy(session, owner_of(session), {"preset": "tokenise"})
    return conversation


@pytest.fixture
def at_work(context):
    """A scheduler and a worker, as far as history needs them."""
    stop = threading.Event()

    def work():
        while not stop.wait(0.02):
            feed_annotations(context)
            for row in rows(context, "SELECT message_id FROM annotations WHERE run_at <= now() LIMIT 1"):
                annotate(context, row["message_id"])

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_history_is_annotated_and_watched_to_its_end(run, document, context, history, at_work):
    told = document("privacy", "annotate", "--wait")
    assert (told["state"], told["total"], told["done"], told["failed"]) == ("completed", 3, 3, 0)
    assert MAIL not in str(rows(context, "SELECT * FROM messages"))
    assert document("job", "show", told["id"]) == told
    assert document("job", "watch", told["id"]) == told
    assert document("job", "list", "--kind", "annotate")["items"] == [told]
    code, out, _ = run("job", "list")
    assert (code, told["id"] in out, "completed" in out) == (0, True, True)
    assert run("job", "cancel", told["id"])[0] == 4


def test_a_job_is_paused_resumed_and_cancelled(document, history):
    job = document("privacy", "annotate", "--conversation", str(history.id))["id"]
    assert document("job", "pause", job)["state"] == "paused"
    assert document("job", "watch", job)["state"] == "paused"
    assert document("job", "resume", job)["state"] == "pending"
    assert document("job", "cancel", job)["state"] == "cancelled"


def test_a_conversation_is_shown_with_what_is_private_underlined_and_revealed_on_request(
    run, document, context, account, monkeypatch
):
    bot = a_bot(context, account)
    with context.transaction(account) as session:
        update_bot(session, bot.id, privacy=True)
    conversation = a_conversation(context, account, bot_id=bot.id)
    with context.transaction(account) as session:
        send(session, conversation.id, SAID)
    shown = document("conversation", "show", str(conversation.id))
    assert MAIL not in json.dumps(shown)
    revealed = document("conversation", "show", str(conversation.id), "--reveal")
    assert revealed["messages"][0]["text"] == SAID
    assert one(context, "SELECT count(*) FROM audit_events WHERE action = 'message.read'") == 1
    assert MAIL not in str(rows(context, "SELECT text FROM messages"))
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setattr(
        "cli.show.console",
        lambda **_: Console(file=screen, force_terminal=True, width=200, color_system="standard"),
    )
    run("conversation", "show", str(conversation.id), "--reveal")
    assert f"\x1b[4m{MAIL}\x1b[0m" in screen.getvalue()
