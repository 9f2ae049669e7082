"""`crontalk memory` in this process: what it says, refuses and leaves behind."""

from __future__ import annotations

import json
import uuid

from tests.factories import a_bot, a_contact, rows
from tests.integration.test_commands_privacy import run  # noqa: F401 (a fixture)


def test_a_memory_is_added_listed_searched_and_deleted(context, account, run):  # noqa: F811
    bot, contact = a_bot(context, account), str(a_contact(context, account).id)
    code, out, _ = run("memory", "add", "Prefers tea.", "--bot", "helper", "--contact", contact, "--json")
    memory = json.loads(out)
    assert (code, memory["botId"], memory["contactId"]) == (0, str(bot.id), contact)
    run("memory", "add", "Closed on Mondays.", "--bot", "helper")
    assert "Closed on Mondays." in run("memory", "list")[1]
    for words in (("--contact", contact), ("--search", "tea or coffee", "--bot", "helper")):
        items = json.loads(run("memory", "list", *words, "--json")[1])["items"]
        assert [item["id"] for item in items] == [memory["id"]]
    assert run("memory", "delete", memory["id"])[0] == 0
    assert [row["text"] for row in rows(context, "SELECT text FROM memories")] == ["Closed on Mondays."]


def test_what_cannot_be_is_refused(context, account, run):  # noqa: F811
    assert run("memory", "add", " ")[0] == 2
    assert run("memory", "add", "x", "--contact", str(uuid.uuid4()))[0] == 3
    assert run("memory", "delete", "nonsense")[0] == 3
    assert rows(context, "SELECT 1 FROM memories") == []
