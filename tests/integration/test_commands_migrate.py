"""`crontalk migrate` and `crontalk migrate chatbotkit` in this process, and the API's door to the same."""

from __future__ import annotations

import io
import json
import sys
import threading

import pytest

from cli import migrating as command
from core import migrating
from core.carrying import carry_on
from tests.api import a_client, a_secret
from tests.factories import an_account, one, rows
from tests.integration.test_commands_privacy import run  # noqa: F401 (a fixture)
from tests.migrating import TOKEN, Elsewhere, make_due, told

MIGRATE = "/api/v1/job/migrate"


@pytest.fixture
def elsewhere(monkeypatch):
    from datetime import timedelta

    monkeypatch.setenv("CRONTALK_OUTBOUND_ALLOW", "127.0.0.1")
    monkeypatch.setattr(migrating, "BASE", timedelta(milliseconds=1))
    with Elsewhere() as server:
        server.lists["bot"].append({"id": "b1", "name": "guide"})
        server.talk("a", "One", "Two", botId="b1")
        yield server


@pytest.fixture
def worker(context):
    """Carries out whatever job is due."""
    stop = threading.Event()

    def serve():
        while not stop.wait(0.05):
            for row in rows(context, "SELECT id FROM jobs WHERE state IN ('pending', 'running')"):
                if carry_on(context, row["id"]) == "paced":
                    make_due(context, row["id"])

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_migrate_alone_brings_the_schema_up_to_date(run):  # noqa: F811
    code, out, _ = run("migrate", "--json")
    assert code == 0
    assert set(json.loads(out)) == {"revision"}
    code, out, _ = run("migrate")
    assert (code, out.split()[0]) == (0, "schema")


def test_an_account_moves_here_and_a_second_time_changes_nothing(context, run, elsewhere, worker):  # noqa: F811
    words = ("migrate", "chatbotkit", "--base-url", elsewhere.url, "--token", TOKEN)
    code, out, err = run(*words, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert (document["state"], document["source"]) == ("completed", "chatbotkit")
    assert (document["counts"]["messages"], document["counts"]["bots"]) == (2, 1)
    code, out, err = run(*words)
    assert (code, "3 known" in out) == (0, True)
    assert one(context, "SELECT count(*) FROM messages") == 2
    for word in (TOKEN, "127.0.0.1"):
        assert word not in out + err + json.dumps(document)


def test_the_token_need_not_stand_in_the_command(run, elsewhere, worker, monkeypatch):  # noqa: F811
    words = ("migrate", "chatbotkit", "--base-url", elsewhere.url, "--json")
    code, _, err = run(*words)
    assert code == 2
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{TOKEN}\n"))
    assert run(*words, "--token", "-")[0] == 0
    monkeypatch.setenv("CRONTALK_MIGRATE_TOKEN", TOKEN)
    assert run(*words)[0] == 0
    assert elsewhere.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in err


def test_whoever_sits_at_a_terminal_is_asked_for_the_token(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(command, "console", lambda **_: type("Console", (), {"is_terminal": True}))
    monkeypatch.setattr(command.typer, "prompt", lambda *_, **named: TOKEN if named["hide_input"] else "")
    assert command._secret(None) == TOKEN


def test_what_could_not_be_kept_is_exit_code_9_and_a_bad_token_7(run, elsewhere, worker):  # noqa: F811
    elsewhere.lists["task"].append({"id": "t1", "name": "Never", "schedule": "61 * * * *"})
    words = ("migrate", "chatbotkit", "--base-url", elsewhere.url, "--token", TOKEN)
    code, out, _ = run(*words, "--json")
    assert (code, json.loads(out)["counts"]["errors"]) == (9, 1)
    elsewhere.hook = lambda *_: told({"message": "no"}, 401)
    code, _, err = run(*words)
    assert (code, "does not accept the token" in err) == (7, True)


def test_kinds_a_date_and_no_wait(context, run, elsewhere):  # noqa: F811
    words = ("migrate", "chatbotkit", "--base-url", elsewhere.url, "--token", TOKEN, "--no-wait", "--json")
    code, out, _ = run(*words, "--only", "bots, tasks", "--since", "2026-01-01", "--privacy")
    assert code == 0
    (job,) = rows(context, "SELECT id, params FROM jobs")
    assert json.loads(out)["id"] == str(job["id"])
    assert (job["params"]["only"], job["params"]["privacy"]) == (["bots", "tasks"], True)
    assert job["params"]["since"].startswith("2026-01-01T00:00:00")
    assert run(*words, "--only", "secrets")[0] == 2
    assert run(*words, "--since", "soon")[0] == 2


def test_an_address_that_is_not_allowed_says_how_to_allow_it(run, elsewhere, monkeypatch):  # noqa: F811
    monkeypatch.setenv("CRONTALK_OUTBOUND_ALLOW", "")
    code, _, err = run("migrate", "chatbotkit", "--base-url", elsewhere.url, "--token", TOKEN)
    assert (code, "CRONTALK_OUTBOUND_ALLOW=host:port" in err) == (2, True)
    assert "127.0.0.1" not in err


def test_options_before_the_sub_command_are_refused(run, tmp_path):  # noqa: F811
    for option in (["--home", str(tmp_path)], ["--json"]):
        assert run("migrate", *option, "chatbotkit", "--token", TOKEN)[0] == 2


def test_the_api_makes_the_same_job_and_shows_what_came_of_it(
    context, account, client, elsewhere, worker, eventually
):
    made = client.post(MIGRATE, json={"baseUrl": elsewhere.url, "token": TOKEN}).json()
    job = f"/api/v1/job/{made['id']}/fetch"
    eventually(lambda: "finishedAt" in client.get(job).json())
    document = client.get(job).json()
    assert (document["state"], document["source"], document["counts"]["messages"]) == (
        "completed",
        "chatbotkit",
        2,
    )
    listed = client.get("/api/v1/job/list").text
    assert TOKEN not in listed
    assert "127.0.0.1" not in listed
    stranger = a_client(context, a_secret(context, an_account(context, "Grace")))
    assert stranger.get(job).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"token": ""},
        {"token": None},
        {"token": 7},
        {"baseUrl": "ftp://a.example"},
        {"baseUrl": "https://10.0.0.1"},
        {"only": ["secrets"]},
        {"only": "bots"},
        {"since": "soon"},
        {"source": "elsewhere"},
        {"privacy": "yes"},
    ],
)
def test_the_api_refuses_what_cannot_be_and_repeats_none_of_it(context, client, change):
    body = {"baseUrl": "https://chat.example", "token": TOKEN, **change}
    answer = client.post(MIGRATE, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    for word in (TOKEN, "chat.example", "10.0.0.1", "a.example"):
        assert word not in answer.text
    assert rows(context, "SELECT 1 FROM jobs") == []


def test_a_token_that_may_only_read_makes_no_migration(context, account, nobody):
    reader = a_client(context, a_secret(context, account, ("read",)))
    body = {"baseUrl": "https://chat.example", "token": TOKEN}
    assert reader.post(MIGRATE, json=body).status_code == 403
    assert nobody.post(MIGRATE, json=body).status_code == 401
