"""What the demo shows of privacy: each operator once, and nothing raw that is to be taken."""

from __future__ import annotations

from cli.demo import SAID, seed
from core.tasks import list_tasks, trigger_task
from core.turns import carry_out
from tests.factories import one, rows


def test_the_demo_shows_what_privacy_does(context, account):
    assert seed(context, account) == 4
    assert seed(context, account) == 0
    stored = rows(context, "SELECT text, pii FROM messages ORDER BY seq")
    assert len(stored) == len(SAID)
    words = "\n".join(row["text"] for row in stored)
    for raw in ("Maria", "maria.sousa@", "321 5000", "4111", "0002 0123"):
        assert raw not in words
    assert "https://hotel.example/lisbon" in words
    assert words.count("[email:") == 2
    operators = {entity["o"] for row in stored for entity in row["pii"]}
    assert operators == {"tokenise", "mask", "replace", "hash", "annotate"}
    assert one(context, "SELECT bool_and(privacy) FROM bots WHERE name IN ('Concierge', 'Night watch')")


def test_a_run_of_the_demo_shows_retrieval_and_an_action(context, account, leases):
    seed(context, account)
    with context.transaction(account) as session:
        task = next(task for task, _ in list_tasks(session) if task.name == "Shuttle note")
        run = trigger_task(session, task.id)
    assert carry_out(context, leases, run.id, worker="here") == "succeeded"
    said = rows(context, "SELECT type, text, meta FROM messages WHERE run_id = :run ORDER BY seq", run=run.id)
    assert [row["type"] for row in said] == ["user", "activity", "activity", "bot"]
    assert "6:00" in said[-1]["text"]
    assert "<" not in said[-1]["text"]
    assert said[-1]["meta"]["records"][0]["source"] == "Shuttle"
    assert "error" not in said[2]["meta"]["activity"]["function"]["result"]
    assert one(context, "SELECT text FROM memories") == "Guests were told of the shuttle."
