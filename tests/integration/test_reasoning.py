"""What a model thinks, on the streams of the doors: told apart from the answer, and as private."""

from __future__ import annotations

import json

import pytest

from core.privacy_policies import owner_of, set_policy
from tests.factories import a_bot, a_conversation, rows

API = "/api/v1"
MAIL = "ada.lovelace@example.org"
MODEL = "offline/reasoning=1/chunks=40"


@pytest.fixture
def talk(context, account):
    bot = a_bot(context, account, backstory="You are Kim.", model=MODEL)
    return f"{API}/conversation/{a_conversation(context, account, bot_id=bot.id).id}"


@pytest.fixture
def private(context, account):
    bot = a_bot(context, account, backstory="You are Kim.", model=MODEL, privacy=True)
    return f"{API}/conversation/{a_conversation(context, account, bot_id=bot.id).id}"


def streamed(client, path, **body):
    headers = {"Accept": "application/jsonl"}
    with client.stream("POST", path, json=body, headers=headers) as answer:
        return [json.loads(line) for line in answer.read().decode().splitlines() if line.strip()]


def said(events, kind):
    return "".join(event["data"]["token"] for event in events if event["type"] == kind)


def test_a_stream_tells_what_the_model_thinks_and_then_what_it_says(client, talk, working):
    events = streamed(client, f"{talk}/complete", text="How are you?")
    kinds = [event["type"] for event in events]
    assert kinds.index("reasoningToken") < kinds.index("token")
    assert said(events, "reasoningToken").startswith("The question is “How are you?”.")
    assert said(events, "token") == events[-1]["data"]["text"]
    assert "The question is" not in events[-1]["data"]["text"]


def test_a_turn_without_a_conversation_tells_it_too(client):
    body = {
        "messages": [{"type": "user", "text": "How are you?"}],
        "model": MODEL,
        "backstory": "You are Kim.",
    }
    events = streamed(client, f"{API}/conversation/complete", **body)
    assert said(events, "reasoningToken").startswith("The question is “How are you?”.")
    assert said(events, "token") == events[-1]["data"]["text"]


def test_under_privacy_the_caller_of_the_turn_sees_its_values_and_nothing_else_does(
    client, context, private, working
):
    events = streamed(client, f"{private}/complete", text=f"Write to {MAIL}")
    assert MAIL in said(events, "reasoningToken")
    assert "[email:" not in said(events, "reasoningToken")
    assert MAIL in said(events, "token")
    assert MAIL not in json.dumps(rows(context, "SELECT text, meta FROM messages"), default=str)


def test_nothing_is_told_of_it_before_it_was_looked_at(client, context, account, private, working):
    with context.transaction(account) as session:
        set_policy(session, owner_of(session), {"preset": "annotate", "blockUntilAnnotated": True})
    events = streamed(client, f"{private}/complete", text=f"Write to {MAIL}")
    assert not {"reasoningToken", "token"} & {event["type"] for event in events}
    assert events[-1]["type"] == "result"
