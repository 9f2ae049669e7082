"""`crontalk dataset` and `skillset` in this process: what bots know and can do, from a shell."""

from __future__ import annotations

import json
import uuid

import pytest

from core.carrying import carry_on
from tests.factories import one, rows
from tests.hook_server import HookServer
from tests.integration.test_commands_privacy import run  # noqa: F401 (a fixture)

PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}


@pytest.fixture
def ask(run):  # noqa: F811
    """Asks for JSON and reads it."""

    def asked(*words):
        code, out, err = run(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    return asked


def test_a_bot_is_given_what_it_knows(context, account, run, ask, tmp_path):  # noqa: F811
    ask("dataset", "create", "House", "--language", "english")
    ask("dataset", "add", "House", "--text", "The pool opens at eight.", "--source", "Pool")
    file = tmp_path / "guide.md"
    file.write_text("# Shuttle\n\nThe shuttle leaves at nine.")
    (made,) = ask("dataset", "add", "House", str(file))["items"]
    assert carry_on(context, uuid.UUID(made["job"])) == "completed"
    (found, *_) = ask("dataset", "search", "House", "when does the shuttle leave")["items"]
    assert "leaves at nine" in found["text"]
    assert found["source"].startswith("guide.md")
    bot = ask("bot", "create", "host", "--dataset", "House")
    assert one(context, "SELECT dataset_id IS NOT NULL FROM bots WHERE id = :id", id=bot["id"])
    assert [d["name"] for d in ask("dataset", "list")["items"]] == ["House"]
    ask("dataset", "delete", "House")
    assert rows(context, "SELECT 1 FROM records") == []


def test_a_bot_is_given_what_it_can_do_and_it_is_tried(context, account, run, ask, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("CRONTALK_OUTBOUND_ALLOW", "127.0.0.1")
    with HookServer() as server:
        action = {"type": "request", "method": "GET", "url": server.url("/{place}")}
        schema = tmp_path / "schema.json"
        schema.write_text(json.dumps(PLACE))
        ask("skillset", "create", "Desk")
        ask(
            *("skillset", "add", "Desk", "look", "--action", json.dumps(action)),
            *("--parameters", f"@{schema}", "--description", "Looks."),
        )
        tried = ask("skillset", "try", "Desk", "look", '{"place": "roof"}')
        assert tried["result"]["status"] == 200
        code, _, _ = run("skillset", "try", "Desk", "look", '{"place": 5}')
        assert code == 7
        assert [request.line for request in server.asked] == ["GET /roof HTTP/1.1"]
    bot = ask("bot", "create", "host", "--skillset", "Desk")
    assert one(context, "SELECT skillset_id IS NOT NULL FROM bots WHERE id = :id", id=bot["id"])
    assert [a["name"] for a in ask("skillset", "show", "Desk")["items"]] == ["look"]
    assert [s["name"] for s in ask("skillset", "list")["items"]] == ["Desk"]
    ask("skillset", "remove", "Desk", "look")
    assert ask("skillset", "show", "Desk")["items"] == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("dataset", "add", "House"), 2),
        (("dataset", "search", "Nowhere", "x"), 3),
        (("dataset", "create", "x", "--language", "klingon"), 2),
        (("skillset", "add", "Desk", "x", "--action", "nonsense"), 2),
        (("skillset", "add", "Desk", "x", "--action", "@/nowhere"), 2),
        (("skillset", "add", "Desk", "x", "--action", '{"type": "shell"}'), 2),
        (("skillset", "add", "Desk", "x", "--secret", "none"), 3),
        (("skillset", "try", "Desk", "none"), 3),
        (("bot", "create", "x", "--dataset", "none"), 3),
    ],
)
def test_what_cannot_be_is_refused(context, account, run, ask, words, code):  # noqa: F811
    ask("dataset", "create", "House")
    ask("skillset", "create", "Desk")
    assert run(*words)[0] == code
    assert rows(context, "SELECT 1 FROM abilities") == []
