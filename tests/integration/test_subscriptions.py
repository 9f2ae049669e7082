"""Subscriptions at the doors: what they take, what they show, and what is never seen again."""

from __future__ import annotations

import json
import logging
import sys
import threading
import uuid
from contextlib import contextmanager

import pytest
import structlog

from cli.local.home import Home
from cli.local.keyfile import keep_key, stored_key
from cli.main import main
from cli.reach import with_key
from core import subscriptions
from core.deliveries import announce_task
from core.errors import Conflict, InvalidInput, NotFound
from core.keys import KeyUnusable, seal, unseal
from core.logs import configure
from core.settings import read_settings
from core.turns import carry_out
from models import Base, Event
from tests.api import a_client, a_secret
from tests.factories import (
    a_pending_run,
    a_subscription,
    a_task,
    an_account,
    execute,
    one,
    rows,
)
from tests.hook_server import HookServer, status
from tests.told import deliver_all, told, with_settings

CANARY = "CANARYcanary"


@contextmanager
def as_process(level):
    """Logs as a process writes them."""
    handlers = logging.getLogger().handlers
    configure(level, process="tests")
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers = handlers


def everything(context):
    """Every row of every table, as text."""
    return [
        row["row"]
        for table in Base.metadata.tables
        for row in rows(context, f"SELECT CAST({table} AS text) AS row FROM {table}")
    ]


def test_the_address_and_the_secret_are_in_no_row_no_log_and_no_list(
    context, account, leases, client, capfd, monkeypatch
):
    with as_process("debug"), HookServer() as server:
        run = a_pending_run(context, account)
        url = server.url(f"/{CANARY}?token={CANARY}")
        base = f"/api/v1/task/{run.task_id}"
        made = client.post(f"{base}/subscription/create", json={"kind": "webhook", "target": url}).json()
        assert carry_out(context, leases, run.id, worker="tests") == "succeeded"
        server.replies += [status(500), status(200, f"Retry-After: {CANARY}")]
        assert deliver_all(context) == ["retried"]
        assert deliver_all(with_settings(context, outbound_allow="")) == ["failed"]
        bad = client.post(
            f"{base}/subscription/create", json={"kind": "webhook", "target": f"ftp://{CANARY}"}
        )
        assert bad.status_code == 400
        seen = [
            client.get(f"{base}/subscription/list").text,
            client.get(f"{base}/delivery/list").text,
            client.get("/metrics").text,
            bad.text,
            *everything(context),
        ]
        printed = capfd.readouterr()
    seen += [printed.out, printed.err]
    secret = made["secret"].removeprefix("whsec_")
    assert "delivery_settled" in printed.err
    for word in (CANARY, CANARY.encode().hex(), secret, secret.encode().hex()):
        assert not [text for text in seen if word in text]


def test_a_subscription_lives_through_the_api(context, account, client, world):
    base = f"/api/v1/task/{world.taskId}"
    made = client.post(
        f"{base}/subscription/create",
        json={"kind": "webhook", "target": "https://Hooks.Example/a", "events": ["paused", "failure"]},
    ).json()
    assert made["secret"].startswith("whsec_")
    listed = client.get(f"{base}/subscription/list").json()["items"]
    mine = next(item for item in listed if item["id"] == made["id"])
    assert (mine["host"], mine["events"], mine["includeText"], mine["state"]) == (
        "hooks.example",
        ["failure", "paused"],
        False,
        "active",
    )
    assert all("secret" not in item for item in listed)
    place = f"{base}/subscription/{made['id']}"
    assert client.post(f"{place}/update", json={"active": False, "includeText": True}).status_code == 200
    assert client.post(f"{place}/test", json={}).status_code == 409
    stopped = client.get(f"{base}/subscription/list").json()["items"][1]
    assert (stopped["state"], stopped["disabledReason"], stopped["includeText"]) == ("disabled", "user", True)
    client.post(f"{place}/update", json={"active": True, "events": ["success"]})
    tested = client.post(f"{place}/test", json={}).json()
    log = client.get(f"{base}/delivery/list").json()["items"]
    assert [item["event"] for item in log] == ["test", "success"]
    assert log[0]["id"] == tested["deliveryId"]
    assert log[0]["state"] == "pending"
    assert client.post(f"{place}/delete", json={}).json() == {"id": made["id"]}
    assert len(client.get(f"{base}/delivery/list").json()["items"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "webhook"},
        {"kind": "pigeon", "target": "https://hooks.example/"},
        {"kind": "webhook", "target": "http://hooks.other.example/"},
        {"kind": "webhook", "target": "https://169.254.169.254/latest"},
        {"kind": "webhook", "target": "https://[::ffff:10.0.0.1]/"},
        {"kind": "webhook", "target": "https://hooks.example:22/"},
        {"kind": "webhook", "target": "https://a:b@hooks.example/"},
        {"kind": "webhook", "target": "https://hooks.example/\x00"},
        {"kind": "webhook", "target": "https://hooks.example/\ud800"},
        {"kind": "webhook", "target": 1},
        {"kind": "webhook", "target": "https://hooks.example/", "events": []},
        {"kind": "webhook", "target": "https://hooks.example/", "events": ["test"]},
        {"kind": "webhook", "target": "https://hooks.example/", "events": ["CANARY"]},
        {"kind": "webhook", "target": "https://hooks.example/", "includeText": "yes"},
        {"kind": "email", "target": "ada@example.com"},
    ],
)
def test_what_cannot_be_told_is_refused_with_a_sentence(client, world, context, body):
    before = one(context, "SELECT count(*) FROM subscriptions")
    strict = with_settings(context, outbound_allow="")
    asking = a_client(strict, a_secret(context, world.account))
    answer = asking.post(
        f"/api/v1/task/{world.taskId}/subscription/create",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 400, answer.text
    assert "CANARY" not in answer.text
    assert one(context, "SELECT count(*) FROM subscriptions") == before


def test_without_a_key_nothing_is_sealed_and_the_sentence_says_so(context, account):
    task = a_task(context, account)
    for key, words in ((None, "set CRONTALK_KEY"), ("00" * 32, "not the key")):
        if key:
            a_subscription(context, account, task.id)
        with pytest.raises(KeyUnusable, match=words):
            a_subscription(with_settings(context, key=key), account, task.id, "https://hooks.example/b")
    secret = a_secret(context, account)
    answer = a_client(with_settings(context, key=None), secret).post(
        f"/api/v1/task/{task.id}/subscription/create",
        json={"kind": "webhook", "target": "https://hooks.example/c"},
    )
    assert answer.status_code == 409


def test_one_address_is_told_once_and_ten_at_most(context, account):
    task = a_task(context, account)
    a_subscription(context, account, task.id, "https://hooks.example/0")
    with pytest.raises(Conflict, match="already"):
        a_subscription(context, account, task.id, "https://hooks.example/0")
    for number in range(1, subscriptions.MOST):
        a_subscription(context, account, task.id, f"https://hooks.example/{number}")
    with pytest.raises(Conflict, match="up to 10"):
        a_subscription(context, account, task.id, "https://hooks.example/more")


def test_a_subscription_of_another_task_is_not_found_there(client, world, context, account):
    other = a_task(context, account)
    for path in (f"subscription/{world.subscriptionId}/delete", f"delivery/{world.deliveryId}/redeliver"):
        answer = client.post(f"/api/v1/task/{other.id}/{path}", json={})
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


def test_what_is_sealed_opens_for_its_account_and_purpose_alone(context, account):
    grace = an_account(context, "Grace")
    with context.transaction() as session:
        sealed = seal(session, account, b"hush", "here")
        assert unseal(session, account, sealed, "here") == b"hush"
        for owner, purpose in ((grace, "here"), (account, "there")):
            seal(session, owner, b"", "key made")
            with pytest.raises(KeyUnusable):
                unseal(session, owner, sealed, purpose)
    assert one(context, "SELECT count(DISTINCT wrapped_key) FROM accounts") == 2


def test_the_first_key_of_an_account_is_made_once_whoever_asks_first(context, account):
    sealed = []

    def ask():
        with context.transaction() as session:
            sealed.append(seal(session, account, b"hush", "here"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with context.transaction() as session:
        assert {unseal(session, account, one_, "here") for one_ in sealed} == {b"hush"}
    assert len(sealed) == 8


def test_up_makes_a_key_once_that_only_its_owner_reads(tmp_path, monkeypatch):
    home = Home.at(tmp_path / "home")
    assert stored_key(home.path) is None
    made = keep_key(home.path)
    assert (home.path / "key").stat().st_mode & 0o777 == 0o600
    assert keep_key(home.path) == stored_key(home.path) == made
    assert with_key(read_settings(home=home.path)).key.get_secret_value() == made
    monkeypatch.setenv("CRONTALK_KEY", "ab" * 32)
    assert with_key(read_settings(home=home.path)).key.get_secret_value() == "ab" * 32


def test_a_key_file_that_says_nothing_is_not_overwritten(tmp_path):
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="cannot be read"):
        keep_key(tmp_path)
    assert (tmp_path / "key").read_bytes() == b"\xff\xfe"


def test_a_damaged_key_is_a_sentence(context, account, tmp_path):
    (tmp_path / "key").write_text("damaged")
    settings = with_key(read_settings(home=tmp_path))
    with context.transaction() as session:
        session.info["settings"] = settings
        with pytest.raises(KeyUnusable, match="restore"):
            seal(session, account, b"", "x")


def test_metrics_tell_deliveries_by_what_became_of_them(client, world, context):
    text = client.get("/metrics").text
    assert 'crontalk_deliveries_last_hour{event="success",state="pending"} 1.0' in text
    assert "crontalk_deliveries_due 1.0" in text


@pytest.fixture
def command(monkeypatch, capsys, database_url, tmp_path):
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CRONTALK_HOME", str(tmp_path))
    monkeypatch.setenv("CRONTALK_KEY", "5e" * 32)

    def ask(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["crontalk", "task", "notify", *words, "--json"])
        ended = 0
        with as_process("error"):
            try:
                main()
            except SystemExit as leaving:
                ended = leaving.code or 0
        out = capsys.readouterr().out
        assert ended == code, out
        return json.loads(out)

    return ask


def test_a_subscription_lives_through_its_commands(context, account, command, monkeypatch):
    task = str(a_task(context, account).id)
    made = command("add", task, "--webhook", "https://hooks.example/in", "--on", "failure,recovery")
    assert made["secret"].startswith("whsec_")
    assert made["events"] == ["recovery", "failure"]
    (listed,) = command("list", task)["items"]
    assert listed["id"] == made["id"]
    assert "secret" not in listed
    assert command("update", task, made["id"], "--include-text")["includeText"]
    tested = command("test", task, made["id"])
    (logged,) = command("log", task)["items"]
    assert (logged["id"], logged["event"], logged["host"]) == (tested["deliveryId"], "test", "hooks.example")
    assert command("redeliver", task, logged["id"]) == {"id": logged["id"]}
    assert command("update", task, made["id"], "--disabled")["disabledReason"] == "user"
    assert command("remove", task, made["id"]) == {"id": made["id"]}
    assert command("list", task) == {"items": []}
    assert command("add", task, code=2)["code"] == "BAD_REQUEST"
    assert command("add", task, "--email", "ada@example.com", code=2)["message"].endswith("no mail server.")


def test_the_commands_print_for_people(context, account, command, monkeypatch, capsys):
    task = str(a_task(context, account).id)
    command("add", task, "--webhook", "https://hooks.example/in")
    with context.transaction() as session:
        announce_task(session, Event.BUDGET, uuid.UUID(task), "today")
    for words, seen in ((["list", task], "hooks.example"), (["log", task], "budget")):
        monkeypatch.setattr(sys, "argv", ["crontalk", "task", "notify", *words])
        with as_process("error"), pytest.raises(SystemExit) as leaving:
            main()
        assert not leaving.value.code
        assert seen in capsys.readouterr().out


def test_a_task_deleted_before_the_subscription_is_stored_gets_none(context, account):
    task = a_task(context, account)
    execute(context, "DELETE FROM task_clocks")
    with pytest.raises(NotFound):
        a_subscription(context, account, task.id)
    assert told(context) == []
