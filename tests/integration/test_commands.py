"""The commands, in this process: what they print, what they refuse, how they exit."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
import uuid

import pytest
import structlog
from sqlalchemy.engine import make_url

from cli.main import app, main
from core.accounts import create_account
from core.advancing import advance_backfills
from core.turns import carry_out
from core.work import unclaimed
from tests.factories import a_bot, a_contact, an_account, one, rows

COMMANDS = (
    "up down status doctor import export scheduler worker api flower",
    "task: create list show update preview trigger pause resume delete backfill why history",
    "task backfill: create list show pause resume cancel",
    "task: notify",
    "run: list show cancel",
    "conversation: list show send complete delete",
    "bot: create list show",
    "account: create list close open limits delete",
    "erasure: list export apply",
    "audit: list",
    "migrate: chatbotkit",
    "job: list show watch pause resume cancel",
    "privacy: test scan annotate",
    "privacy policy: show set clear",
    "token: create list revoke",
)


@pytest.fixture
def run(monkeypatch, capsys, database_url, redis_url, tmp_path):
    """Runs a command line to its end: exit code, standard output, standard error."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
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


def test_every_command_of_the_manual_is_there():
    group = __import__("typer").main.get_command(app)
    known = {
        "": {name for name, command in group.commands.items() if not hasattr(command, "commands")},
        **{
            name: set(command.commands)
            for name, command in group.commands.items()
            if hasattr(command, "commands")
        },
    }
    known["privacy policy"] = set(group.commands["privacy"].commands["policy"].commands)
    known["task backfill"] = set(group.commands["task"].commands["backfill"].commands)
    for line in COMMANDS:
        head, _, names = line.rpartition(":")
        assert set(names.split()) <= known[head]


def test_a_task_lives_through_its_commands(context, account, document):
    made = document(
        "task",
        "create",
        "Nightly",
        "--prompt",
        "Report.",
        "--schedule",
        "0 3 * * *",
        "--timezone",
        "Europe/Berlin",
        "--max-time",
        "60000",
    )
    assert (made["name"], made["schedule"], made["maxTime"], made["paused"]) == (
        "Nightly",
        "0 3 * * *",
        60000,
        False,
    )
    task = made["id"]
    assert [item["id"] for item in document("task", "list")["items"]] == [task]
    assert len(document("task", "preview", task, "-n", "3")["items"]) == 3
    assert document("task", "update", task, "--prompt", "Report briefly.")["description"] == "Report briefly."
    paused = document("task", "pause", task)
    assert paused["paused"]
    assert "nextRunAt" not in paused
    assert "nextRunAt" in document("task", "resume", task)
    started = document("task", "trigger", task)
    assert started["taskId"] == task
    shown = document("task", "show", task)
    assert [run["id"] for run in shown["runs"]] == [started["id"]]
    assert [found["id"] for found in shown["conversations"]] == [started["conversationId"]]
    assert document("run", "cancel", started["id"])["state"] == "cancelled"
    assert document("task", "update", task, "--schedule", "").get("nextRunAt") is None
    assert document("task", "delete", task) == {"id": task}
    assert document("task", "list") == {"items": []}


def test_a_run_shows_its_timeline_and_messages(context, account, leases, document, run):
    task = document("task", "create", "Hello", "--prompt", "Say hello.")
    started = document("task", "trigger", task["id"])
    carry_out(context, leases, one(context, "SELECT id FROM runs"), worker="here")
    shown = document("run", "show", started["id"])
    assert shown["state"] == "succeeded"
    assert [step["step"] for step in shown["steps"]] == ["attempt.1", "model.1"]
    assert [message["type"] for message in shown["messages"]] == ["user", "bot"]
    conversation = document("conversation", "show", started["conversationId"])
    assert (conversation["taskId"], conversation["runId"]) == (task["id"], started["id"])
    for words in (
        ["run", "show", started["id"]],
        ["conversation", "show", conversation["id"]],
        ["run", "list"],
        ["task", "list"],
        ["task", "show", task["id"]],
        ["conversation", "list"],
        ["bot", "list"],
        ["token", "list"],
        ["account", "list"],
        ["task", "preview", task["id"]],
    ):
        code, out, _ = run(*words)
        assert code == 0
        assert out.strip()


def test_a_conversation_is_spoken_in(context, account, leases, document):
    bot = document("bot", "create", "Ada", "--backstory", "You love numbers.", "--model", "offline")
    assert document("bot", "show", "Ada")["id"] == bot["id"]
    conversation = document("conversation", "create", "--bot", "Ada")["id"]
    assert document("conversation", "send", conversation, "Hi.")["text"] == "Hi."
    stop = threading.Event()

    def work():
        while not stop.is_set():
            for run_id, _ in unclaimed(context, "chat", context.settings.tick, 5):
                carry_out(context, leases, run_id, worker="here")
            time.sleep(0.02)

    worker = threading.Thread(target=work)
    worker.start()
    reply = document("conversation", "complete", conversation, "How many?")
    stop.set()
    worker.join()
    assert reply["type"] == "bot"
    assert reply["conversationId"] == conversation
    assert document("conversation", "delete", conversation) == {"id": conversation}
    assert one(context, "SELECT count(*) FROM messages") == 0


def test_a_failed_turn_is_an_exit_code_of_its_own(context, account, leases, run, document):
    a_bot(context, account, name="mute", model="offline/finish=length")
    conversation = document("conversation", "create", "--bot", "mute")["id"]
    stop = threading.Event()

    def work():
        while not stop.is_set():
            for run_id, _ in unclaimed(context, "chat", context.settings.tick, 5):
                with pytest.raises(Exception, match="truncated"):
                    carry_out(context, leases, run_id, worker="here")
            time.sleep(0.02)

    worker = threading.Thread(target=work)
    worker.start()
    code, _, err = run("conversation", "complete", conversation, "Speak.")
    stop.set()
    worker.join()
    assert code == 7
    assert "truncated" in err


def test_accounts_and_tokens_tell_their_secret_once(context, document, run):
    made = document("account", "create", "Acme")
    assert made["token"].startswith("ct_")
    assert [account["name"] for account in document("account", "list")["items"]] == ["Acme"]
    token = document("token", "create", "ci", "--scope", "read", "--days", "30")
    assert token["scopes"] == ["read"]
    listed = document("token", "list")["items"]
    assert [one["name"] for one in listed] == ["first", "ci"]
    assert not any("token" in one for one in listed)
    assert "revokedAt" in document("token", "revoke", token["id"])
    assert document("token", "link")["url"].startswith("http://127.0.0.1:")


def test_a_contacts_token_is_made_told_apart_and_opens_no_command(context, document, run, monkeypatch):
    account = uuid.UUID(document("account", "create", "Acme")["id"])
    contact = str(a_contact(context, account).id)
    made = document("token", "create", "web", "--contact", contact)
    assert made["contactId"] == contact
    assert [token.get("contactId") for token in document("token", "list")["items"]] == [None, contact]
    assert "of a contact" in run("token", "list")[1]
    foreign = str(a_contact(context, an_account(context, "Grace"), fingerprint="g").id)
    for wrong in (foreign, str(uuid.uuid4()), "nonsense"):
        assert run("token", "create", "web", "--account", "Acme", "--contact", wrong)[0] == 3
    monkeypatch.setenv("CRONTALK_TOKEN", made["token"])
    code, _, err = run("task", "list")
    assert (code, "conversations API only" in err) == (5, True)


def test_one_of_several_accounts_is_chosen_by_name_or_token(context, document, run, monkeypatch):
    first, _ = document("account", "create", "One"), document("account", "create", "Two")
    code, _, err = run("task", "list")
    assert (code, "--account" in err) == (2, True)
    document("task", "create", "Mine", "--account", "Two")
    monkeypatch.setenv("CRONTALK_TOKEN", first["token"])
    assert document("task", "list") == {"items": []}
    assert len(document("task", "list", "--account", "Two")["items"]) == 1
    monkeypatch.setenv("CRONTALK_TOKEN", "ct_nonsense")
    assert run("task", "list")[0] == 5


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--schedule", "0 9 * * *", "--timezone", "Europe/Berlni"], "Europe/Berlin"),
        (["--schedule", "0 0 31 2 *"], "never"),
        (["--schedule", "0 0 9 * * *"], "5 fields"),
        (["--schedule", "2020-01-01T00:00:00Z"], "past"),
        (["--schedule", "@every 500ms"], ""),
        (["--schedule", "@every 0s"], ""),
        (["--schedule", "tomorrow"], ""),
        (["--max-time", "-1"], "0 to 86400000"),
        (["--max-tokens", "-5"], "0 to"),
        (["--bot", "nobody"], ""),
        (["--action", "sing"], "complete, receive, send"),
        (["--timezone", "../etc/passwd"], ""),
        (["--prompt", "a\x00b"], "NUL"),
        (["--prompt", "\ud800"], "surrogate"),
        (["--prompt", "x" * 300_000], "longer"),
    ],
)
def test_bad_input_is_a_sentence_and_stores_nothing(context, account, run, words, sentence):
    code, out, err = run("task", "create", "Bad", *words)
    assert code in {2, 3}
    assert out == ""
    assert err.startswith("crontalk: ")
    assert sentence in err
    assert rows(context, "SELECT * FROM tasks") == []


def test_an_interval_under_the_operators_minimum_is_refused(context, account, run, monkeypatch):
    monkeypatch.setenv("CRONTALK_MINIMUM_INTERVAL", "60")
    code, _, err = run("task", "create", "Fast", "--schedule", "@every 30s")
    assert (code, "least time allowed" in err) == (2, True)
    assert run("task", "create", "Slow", "--schedule", "* * * * *")[0] == 0


def test_a_task_needs_something_to_say(context, account, run):
    assert run("task", "create")[0] == 2
    assert one(context, "SELECT count(*) FROM tasks") == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["task", "show", "nonsense"], 3),
        (["run", "show", "01a1f8b1-ceb8-7ba1-bc9c-e4e5fb315243"], 3),
        (["run", "list", "--state", "nonsense"], 2),
        (["token", "create", "--scope", "root"], 2),
        (["bot", "create", "x", "--model", "offline/temperature=hot"], 2),
        (["nonsense"], 2),
        (["task", "list", "--take", "0"], 2),
    ],
)
def test_exit_codes_mean_something(context, account, run, words, code):
    assert run(*words)[0] == code


def test_a_trigger_takes_a_prompt_of_its_own_also_from_standard_input(
    context, account, document, run, monkeypatch
):
    task = document("task", "create", "Hello", "--prompt", "Say hello.")["id"]
    document("run", "cancel", document("task", "trigger", task, "--prompt", "Say goodbye.")["id"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("Say it in\ntwo lines."))
    document("run", "cancel", document("task", "trigger", task, "--prompt", "-")["id"])
    said = [row["text"] for row in rows(context, "SELECT text FROM messages ORDER BY id")]
    assert said == ["Say goodbye.", "Say it in\ntwo lines."]
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert run("task", "trigger", task, "--prompt", "-")[0] == 2


def test_a_backfill_lives_through_its_commands(context, account, document, run):
    task = document("task", "create", "Hourly", "--prompt", "Report.", "--schedule", "0 * * * *")["id"]
    span = ("--from", "2020-01-01", "--until", "2020-01-01T03:00")
    plan = document("task", "backfill", task, *span, "--dry-run", "--all")
    assert (plan["total"], plan["toRun"], "id" in plan) == (3, 3, False)
    words = ("--pace", "30/min", "--at-once", "2", "--prompt", "Look back.")
    made = document("task", "backfill", *span, *words, task)["id"]
    assert document("task", "backfill", "create", task, *span)["id"] != made
    assert [one["id"] for one in document("task", "backfill", "list", "--task", task)["items"]][-1] == made
    advance_backfills(context)
    shown = document("task", "backfill", "show", made)
    assert (shown["state"], shown["pace"], shown["underWay"], len(shown["runs"])) == ("running", 30, 2, 2)
    for verb, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert document("task", "backfill", verb, made)["state"] == state
    for line in (("list",), ("show", made), (task, *span, "--dry-run")):
        code, out, _ = run("task", "backfill", *line)
        assert code == 0
        assert "3" in out
    assert run("task", "backfill", "resume", made)[0] == 4
    assert run("task", "backfill", task, *span, "--pace", "fast")[0] == 2
    assert run("task", "backfill", task, "--from", "2020-01-01")[0] == 2
    assert run("task", "backfill", "nonsense", *span)[0] == 3


def test_another_accounts_objects_are_refused(context, account, run, document):
    with context.transaction() as session:
        create_account(session, "Mallory")
    task = document("task", "create", "Mine", "--account", "Ada")["id"]
    for words in (["show"], ["trigger"], ["delete"], ["pause"], ["update", "--prompt", "x"]):
        assert run("task", words[0], task, *words[1:], "--account", "Mallory")[0] == 5


def test_an_error_is_one_json_document_where_json_is_asked_for(context, account, run):
    code, out, err = run("task", "show", "nonsense", "--json")
    assert (code, err) == (3, "")
    assert json.loads(out)["code"] == "NOT_FOUND"


def test_a_database_that_is_away_is_a_sentence(run, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://crontalk@127.0.0.1:1/nowhere")
    code, _, err = run("task", "list")
    assert code == 6
    assert "database" in err
    monkeypatch.setenv("DATABASE_URL", "mysql://x")
    assert run("task", "list")[0] == 2


def test_without_any_server_the_sentence_says_what_to_do(run, monkeypatch):
    monkeypatch.delenv("DATABASE_URL")
    code, _, err = run("task", "list")
    assert (code, "crontalk up" in err) == (6, True)


def test_help_imports_nothing_heavy():
    heavy = {"sqlalchemy", "celery", "fastapi", "pydantic", "openai", "alembic", "psycopg", "redis", "kombu"}
    code = "import sys, cli.main; print(sorted(m for m in sys.modules if '.' not in m))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not heavy & set(json.loads(out.replace("'", '"')))


def test_control_characters_of_a_message_do_not_reach_the_terminal(context, account, leases, document, run):
    conversation = document("conversation", "create")["id"]
    document("conversation", "send", conversation, "\x1b[31mred\x07 [bold]not bold[/bold]")
    _, out, _ = run("conversation", "show", conversation)
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[bold]not bold[/bold]" in out


def commands(group, *names):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


def test_every_command_takes_json():
    group = __import__("typer").main.get_command(app)
    without = [
        words for words, command in commands(group) if "as_json" not in {p.name for p in command.params}
    ]
    assert without == []


@pytest.mark.parametrize(
    "words", [["nonsense"], ["task", "list", "--take", "0"], ["task", "list", "--nonsense"]]
)
def test_a_command_line_that_is_not_understood_is_one_json_document_too(run, words):
    code, out, err = run(*words, "--json")
    assert (code, json.loads(out)["code"]) == (2, "BAD_REQUEST")
    assert "Error" in err


@pytest.mark.parametrize(("name", "value"), [("CRONTALK_LEASE", "soon"), ("CRONTALK_PORT", "99999")])
def test_a_setting_that_cannot_be_used_is_named_and_its_value_is_not_repeated(run, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    for words in (["status"], ["task", "list"], ["up"]):
        code, _, err = run(*words)
        assert (code, name in err, value in err) == (2, True, False)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"database": "nowhere"}, "no database of this name"),
        ({"username": "nobody"}, "no such user"),
        ({"database": "template1"}, "run `crontalk migrate`"),
        ({"query": {"host": "/nowhere"}}, "Nothing listens"),
        ({"host": "nowhere.invalid", "query": {}}, "host name is unknown"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_apart_from_a_slow_one(
    run, monkeypatch, database_url, change, sentence
):
    url = make_url(database_url).set(**change).render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", url)
    code, _, err = run("task", "list")
    assert (code, sentence in err) == (6, True), err


def test_looking_creates_no_home(context, account, run, monkeypatch, tmp_path):
    home = tmp_path / "none"
    assert run("status", "--home", str(home))[0] == 0
    assert run("token", "link", "--home", str(home))[0] == 0
    assert run("down", "--home", str(home))[0] == 4
    monkeypatch.delenv("DATABASE_URL")
    assert run("status", "--home", str(home))[0] == 6
    assert not home.exists()


def test_what_the_terminals_encoding_lacks_is_shown_as_a_question_mark(context, account, database_url):
    environment = {**os.environ, "DATABASE_URL": database_url, "PYTHONIOENCODING": "ascii"}
    words = [sys.executable, "-m", "cli", "bot", "create", "Café", "--account", "Ada"]
    made = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert (made.returncode, "Caf?" in made.stdout) == (0, True), made.stderr
