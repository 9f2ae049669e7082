"""`crontalk retention`, `hold` and `anonymise` in this process: what they say, refuse and leave behind."""

from __future__ import annotations

import json
import uuid

import pytest

from core.carrying import carry_on
from tests.deletions import conversations_left, old_talks, some_talks
from tests.factories import a_task, execute, one, rows
from tests.integration.test_commands_privacy import run  # noqa: F401 (a fixture)


@pytest.fixture
def ask(run):  # noqa: F811
    """Asks for JSON and reads it."""

    def asked(*words):
        code, out, err = run(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    return asked


def test_a_rule_is_set_listed_changed_and_removed(context, account, run, ask):  # noqa: F811
    task = str(a_task(context, account).id)
    made = ask("retention", "set", "--task", task, "--anonymise-after", "30d", "--delete-after", "1y")
    assert (made["taskId"], made["anonymiseAfter"], made["deleteAfter"]) == (task, "30d", "1y")
    same = ask("retention", "set", "--task", task, "--anonymise-after", "30d", "--delete-after", "1y")
    assert same == made
    changed = ask("retention", "set", "--task", task, "--delete-after", "2y", "--messages")
    assert (changed["id"], changed["what"], changed.get("anonymiseAfter")) == (made["id"], "messages", None)
    code, out, _ = run("retention", "list")
    assert code == 0
    assert "2y" in out
    assert task in out
    assert ask("retention", "remove", made["id"]) == {"id": made["id"]}
    assert ask("retention", "list") == {"items": []}


@pytest.mark.parametrize(
    "words",
    [
        ("set",),
        ("set", "--delete-after", "soon"),
        ("set", "--anonymise-after", "30d", "--delete-after", "10d"),
        ("simulate",),
        ("simulate", "01a1f8d9-2816-7f1f-b65c-5da87a24cb6b", "--delete-after", "10d"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(context, account, run, words):  # noqa: F811
    assert run("retention", *words)[0] == 2
    assert rows(context, "SELECT 1 FROM retention_rules") == []


def test_a_rule_that_is_none_is_not_found(context, account, run):  # noqa: F811
    for word in ("remove", "run", "simulate"):
        assert run("retention", word, "nonsense")[0] == 3


def test_it_is_simulated_and_run(context, account, run, ask, monkeypatch):  # noqa: F811
    monkeypatch.setattr(context.settings, "rate_bulk", None)
    old_talks(context, account, 40, 2, 3)
    told = ask("retention", "simulate", "--delete-after", "30d")
    assert told["today"]["delete"]["conversations"] == 2
    code, out, _ = run("retention", "simulate", "--delete-after", "30d")
    assert code == 0
    assert "within 30 days" in out
    made = ask("retention", "set", "--delete-after", "30d")
    assert ask("retention", "simulate", made["id"]) == told
    started = ask("retention", "run", made["id"])
    assert [job["kind"] for job in started["jobs"]] == ["delete"]
    carry_on(context, uuid.UUID(started["jobs"][0]["id"]))
    assert conversations_left(context, account) == set()
    code, out, _ = run("retention", "run", made["id"])
    assert (code, "Nothing is due" in out) == (0, True)


def test_a_hold_is_placed_listed_and_released(context, account, run, ask):  # noqa: F811
    (talk,) = some_talks(context, account, 1, 1)
    placed = ask("hold", "place", "--conversation", str(talk), "--reason", "A matter.")
    assert (placed["conversationId"], placed["placedBy"]) == (str(talk), "cli")
    code, out, _ = run("hold", "list")
    assert code == 0
    assert "A matter." in out
    code, _, err = run("conversation", "delete", str(talk))
    assert (code, "legal hold" in err) == (4, True)
    code, out, _ = run("delete", "conversations", "--all", "--dry-run", "--json")
    assert (code, json.loads(out)["count"], json.loads(out)["held"]) == (0, 0, 1)
    assert ask("hold", "release", placed["id"]) == {"id": placed["id"]}
    assert ask("hold", "list") == {"items": []}
    assert run("hold", "place")[0] == 2
    assert run("hold", "place", "--all", "--bot", "x")[0] == 2
    assert run("hold", "release", placed["id"])[0] == 3


def test_anonymising_asks_before_it_does_anything(context, account, run, ask, monkeypatch):  # noqa: F811
    monkeypatch.setattr(context.settings, "rate_bulk", None)
    (talk,) = some_talks(context, account, 1, 2)
    execute(context, "UPDATE messages SET text = 'Write to a@b.example'")
    assert run("anonymise", "messages", "--conversation", str(talk))[0] == 2
    assert rows(context, "SELECT 1 FROM jobs") == []
    told = ask("anonymise", "messages", "--conversation", str(talk), "--dry-run")
    assert told["count"] == 2
    made = ask("anonymise", "conversations", "--conversation", str(talk), "--yes")
    assert carry_on(context, uuid.UUID(made["id"])) == "completed"
    assert one(context, "SELECT count(*) FROM messages WHERE text = 'Write to <EMAIL_ADDRESS>'") == 2
