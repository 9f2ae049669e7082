"""Secrets at every door: what they take, and that what they are is never seen again."""

from __future__ import annotations

import base64
import io
import json
import sys
import threading
import uuid

import pytest

from core import secrets
from core.account_deletion import delete_account
from core.errors import InvalidInput, NotAuthorized, NotFound
from core.keys import KeyUnusable, account_key
from tests.factories import an_account, execute, one, rows
from tests.integration.test_commands_privacy import run  # noqa: F401 (a fixture)
from tests.integration.test_subscriptions import as_process, everything
from tests.told import with_settings

CANARY = "CANARY-sk-4f2a9"
SPELLINGS = (CANARY, CANARY.encode().hex(), base64.b64encode(CANARY.encode()).decode().rstrip("="))


def opened(context, account, secret_id):
    with context.transaction(account) as session:
        return secrets.open_secret(session, secret_id)


def made(client, **fields):
    answer = client.post("/api/v1/secret/create", json={"name": "weather", "value": CANARY, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def test_a_secret_lives_through_the_api(context, account, client):
    secret = made(client, type="bearer", description="Opens the weather.", meta={"of": "tests"})
    found = client.get(f"/api/v1/secret/{secret}/fetch").json()
    assert found.pop("createdAt") == found.pop("updatedAt")
    assert found == {
        "id": secret,
        "name": "weather",
        "description": "Opens the weather.",
        "kind": "shared",
        "type": "bearer",
        "visibility": "private",
        "meta": {"of": "tests"},
    }
    assert opened(context, account, secret) == secrets.SecretValue("bearer", CANARY)
    changes = {"value": "another", "name": None, "description": "Another.", "meta": {"more": 1}}
    assert client.post(f"/api/v1/secret/{secret}/update", json=changes).json() == {"id": secret}
    (listed,) = client.get("/api/v1/secret/list", params={"meta[more]": 1}).json()["items"]
    assert (listed["id"], listed.get("name"), listed["meta"]) == (secret, None, {"of": "tests", "more": 1})
    assert listed["lastUsedAt"] >= listed["createdAt"]
    assert opened(context, account, secret).value == "another"
    assert client.post(f"/api/v1/secret/{secret}/delete", json={}).json() == {"id": secret}
    assert rows(context, "SELECT 1 FROM secrets") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"value": None},
        {"value": ""},
        {"value": "two\nlines"},
        {"value": "a\r\nX-Evil: 1"},
        {"value": " spaces around "},
        {"value": "ünicode"},
        {"value": "x" * 8193},
        {"value": CANARY, "type": "jwt"},
        {"value": CANARY, "type": "oauth"},
        {"value": CANARY, "type": "Bearer"},
        {"value": CANARY, "kind": "personal"},
        {"value": CANARY, "visibility": "secret"},
        {"value": CANARY, "name": "x" * 1001},
        {"value": f"{CANARY} x", "type": "bearer"},
        {"value": f":{CANARY}", "type": "basic"},
        {"value": CANARY, "type": "basic"},
        {"value": f"ada:{CANARY}\n", "type": "basic"},
        {"value": {"deep": CANARY}},
        {"value": [CANARY]},
        {"value": 5},
        {"value": CANARY, "meta": {"_": 1}, "type": "plain"},
    ],
)
def test_what_cannot_be_shown_to_anybody_is_refused_without_being_repeated(context, client, fields):
    answer = client.post("/api/v1/secret/create", json={"name": "weather", **fields})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert CANARY not in answer.text
    assert rows(context, "SELECT 1 FROM secrets") == []


def test_another_type_needs_another_value(context, account, client):
    secret = made(client)
    for change in ({"type": "basic"}, {"type": "basic", "value": CANARY}):
        answer = client.post(f"/api/v1/secret/{secret}/update", json=change)
        assert answer.status_code == 400
        assert CANARY not in answer.text
    assert opened(context, account, secret) == secrets.SecretValue("plain", CANARY)
    for change in ({"type": None, "value": None, "kind": None}, {"type": "plain", "kind": "shared"}, {}):
        assert client.post(f"/api/v1/secret/{secret}/update", json=change).status_code == 200
    assert opened(context, account, secret) == secrets.SecretValue("plain", CANARY)


def test_the_value_is_in_no_row_no_log_and_no_answer(context, account, client, capfd):
    with as_process("debug"):
        secret = made(client, type="bearer")
        place = f"/api/v1/secret/{secret}"
        seen = [
            client.get(f"{place}/fetch").text,
            client.get("/api/v1/secret/list").text,
            client.post(f"{place}/update", json={"value": CANARY}, headers={"Idempotency-Key": "k"}).text,
            client.post(
                f"{place}/update", json={"value": CANARY + "x"}, headers={"Idempotency-Key": "k"}
            ).text,
            client.post(f"{place}/update", json={"value": f"{CANARY} x"}).text,
            client.post(f"{place}/update", content=f'{{"value": "{CANARY}'.encode()).text,
            client.post("/api/v1/secret/create", json={"value": CANARY, "name": CANARY[:3], "type": 7}).text,
            client.get("/metrics").text,
        ]
        value = opened(context, account, secret)
        printed = capfd.readouterr()
    seen += [*everything(context), printed.out, printed.err, repr(value), str([value])]
    for word in SPELLINGS:
        assert not [text for text in seen if word in text]


def test_a_secret_of_another_account_or_none_is_not_opened(context, account, client):
    secret = made(client)
    with context.transaction(an_account(context, "Grace")) as session:
        with pytest.raises(NotAuthorized):
            secrets.open_secret(session, secret)
        for unknown in (str(uuid.uuid4()), "nonsense"):
            with pytest.raises(NotFound):
                secrets.open_secret(session, unknown)


def test_a_value_that_was_moved_to_another_row_or_account_opens_nothing(context, account, client):
    mine, other = made(client), made(client, value="other")
    execute(
        context,
        "UPDATE secrets SET value = (SELECT value FROM secrets WHERE id = :mine) WHERE id = :other",
        mine=uuid.UUID(mine),
        other=uuid.UUID(other),
    )
    with pytest.raises(KeyUnusable):
        opened(context, account, other)
    stranger = an_account(context, "Grace")
    with context.transaction(stranger) as session:
        account_key(session, stranger)
    execute(context, "UPDATE secrets SET account_id = :a WHERE id = :id", a=stranger, id=uuid.UUID(mine))
    with pytest.raises(KeyUnusable):
        opened(context, stranger, mine)


def test_without_its_key_a_secret_is_unreadable_and_none_is_stored(context, account, client):
    secret = made(client)
    elsewhere = with_settings(context, key="77" * 32)
    with pytest.raises(KeyUnusable):
        opened(elsewhere, account, secret)
    keyless = with_settings(context, key=None)
    with pytest.raises(KeyUnusable), keyless.transaction(account) as session:
        secrets.create_secret(session, name="x", value="y")
    execute(
        context,
        "UPDATE accounts SET wrapped_key = NULL, erased_at = now(), closed_at = now()",
    )
    with pytest.raises(KeyUnusable):
        opened(context, account, secret)
    assert one(context, "SELECT count(*) FROM secrets") == 1


def test_a_deleted_account_takes_its_secrets_along(context, account, client):
    made(client)
    delete_account(context, account)
    assert rows(context, "SELECT 1 FROM secrets") == []


def test_use_is_noted_once_a_minute_and_waits_for_nobody(context, account, client):
    secret = made(client)
    opened(context, account, secret)
    first = one(context, "SELECT last_used_at FROM secrets")
    opened(context, account, secret)
    assert one(context, "SELECT last_used_at FROM secrets") == first
    execute(context, "UPDATE secrets SET last_used_at = now() - interval '2 minutes'")
    with context.transaction(account) as holding:
        secrets.open_secret(holding, secret)
        assert opened(context, account, secret).value == CANARY  # while another turn holds the row
    assert one(context, "SELECT last_used_at > now() - interval '1 minute' FROM secrets")


def test_one_name_set_twice_at_once_is_one_secret(context, account):
    start = threading.Barrier(4)

    def set_it(number):
        start.wait()
        with context.transaction(account) as session:
            secrets.set_secret(session, "weather", f"value-{number}")

    threads = [threading.Thread(target=set_it, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (stored,) = rows(context, "SELECT id FROM secrets")
    assert opened(context, account, stored["id"]).value.startswith("value-")


def test_what_an_answer_says_again_is_masked():
    basic = secrets.SecretValue("basic", "ada:hunter2-long")
    packed = base64.b64encode(b"ada:hunter2-long").decode()
    assert basic.authorization == f"Basic {packed}"
    assert (
        basic.masked(f"{packed}, ada:hunter2-long, hunter2-long, ada") == "[secret], [secret], [secret], ada"
    )
    assert secrets.SecretValue("bearer", "sk-123").authorization == "Bearer sk-123"
    plain = secrets.SecretValue("plain", "abc")
    assert plain.authorization is None
    assert plain.masked("abcdef") == "abcdef"  # too short to be looked for in a text


@pytest.fixture
def told(run, monkeypatch):  # noqa: F811
    def ask(*words, value=None, code=0):
        monkeypatch.setattr(sys, "stdin", io.StringIO(value or ""))
        ended, out, err = run("secret", *words, "--json")
        assert ended == code, out + err
        assert CANARY not in out + err
        return json.loads(out)

    return ask


def test_a_secret_lives_through_its_commands(context, account, told, run):  # noqa: F811
    first = told("set", "weather", "--type", "bearer", "--description", "Opens it.", value=f"{CANARY}\n")
    assert (first["name"], first["type"], first["description"]) == ("weather", "bearer", "Opens it.")
    again = told("set", "weather", value=f"{CANARY}-2\r\n")
    assert (again["id"], again["type"], again["description"]) == (first["id"], "bearer", "Opens it.")
    assert opened(context, account, first["id"]).value == f"{CANARY}-2"
    assert [item["id"] for item in told("list")["items"]] == [first["id"]]
    code, out, _ = run("secret", "list")
    assert code == 0
    assert "weather" in out
    assert CANARY not in out
    assert told("delete", "weather") == {"id": first["id"]}
    assert told("list") == {"items": []}
    assert told("delete", "weather", code=3)["code"] == "NOT_FOUND"


@pytest.mark.parametrize("value", ["", "\n", "a\nb", f"{CANARY} ", "é"])
def test_a_value_that_is_none_is_refused_by_the_command(context, told, value):
    assert told("set", "weather", value=value, code=2)["code"] == "BAD_REQUEST"
    assert rows(context, "SELECT 1 FROM secrets") == []


def test_the_value_is_no_argument_of_the_command(run):  # noqa: F811
    assert run("secret", "set", "weather", CANARY)[0] == 2
    assert run("secret", "set", "weather", "--value", CANARY)[0] == 2


def test_several_of_one_name_are_told_apart_by_id(context, account, client, told):
    first, second = made(client), made(client)
    assert told("set", "weather", value="x", code=4)["code"] == "CONFLICT"
    assert told("delete", "weather", code=4)["code"] == "CONFLICT"
    assert told("delete", first) == {"id": first}
    assert told("delete", "weather") == {"id": second}


def test_a_name_that_is_none_is_refused(context, account):
    with context.transaction(account) as session:
        for name in ("", " ", "a\x00b", "x" * 1001):
            with pytest.raises(InvalidInput):
                secrets.set_secret(session, name, "value")


def test_somebody_who_types_it_is_asked_twice_and_sees_nothing(context, account, run, monkeypatch):  # noqa: F811
    asked = []

    def prompt(words, **options):
        asked.append((words, options))
        return CANARY

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", prompt)
    code, out, err = run("secret", "set", "weather")
    assert code == 0, err
    assert CANARY not in out + err
    assert asked == [("Value", {"hide_input": True, "confirmation_prompt": True, "err": True})]
    assert opened(context, account, one(context, "SELECT id FROM secrets")).value == CANARY
