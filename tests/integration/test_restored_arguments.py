"""Arguments of functions under privacy: what the caller of a turn is told of them, and what others are."""

from __future__ import annotations

import json
import threading
import time

import pytest

from tests.api import a_client, a_secret
from tests.factories import a_bot, a_conversation, one, rows
from tests.integration.test_api_turns import heard, streamed
from tests.scripted import InTurns

API = "/api/v1"
MAIL = "canary@leak.example.com"
QUESTION = f"write letter to {MAIL}"
LETTER = {
    "name": "writeLetter",
    "description": "Writes to somebody.",
    "parameters": {
        "type": "object",
        "properties": {"to": {"type": "string", "x-restore": True}, "note": {"type": "string"}},
    },
    "result": {"data": "sent"},
    "call": {"start": True},
}


@pytest.fixture
def private(context, account):
    bot = a_bot(context, account, backstory="You are Kim.", privacy=True)
    return f"/conversation/{a_conversation(context, account, bot_id=bot.id).id}"


def said_on(client, channel):
    """Everything a subscriber is told of a turn that has ended."""
    heard(client, channel, until="result")
    said = client.post(f"{API}/channel/{channel}/subscribe", json={}).json()["items"]
    return [event["data"] for event in said]


def arguments_in(events):
    """Of the calls that were told, in order."""
    told = [event["data"] for event in events if event["type"] == "message"]
    calls = [one["meta"]["activity"]["function"]["arguments"] for one in told if "meta" in one]
    waits = [event["data"]["function"]["args"] for event in events if event["type"].startswith("waitFor")]
    return calls + waits


def test_the_caller_of_a_turn_is_told_arguments_with_their_values(client, private, working):
    body = {"text": QUESTION, "functions": [LETTER]}
    events = streamed(client, f"{API}{private}/complete", body)
    assert [set(call.values()) for call in arguments_in(events)] == [{QUESTION}] * 2
    assert "restores" not in json.dumps(events)


def test_on_a_channel_only_what_declares_it_is_restored(client, context, private, working):
    channel = "c" * 30
    body = {"text": QUESTION, "functions": [LETTER], "channelId": channel}
    assert client.post(f"{API}{private}/dispatch", json=body).status_code == 200
    events = said_on(client, channel)
    token = one(context, "SELECT token FROM pii_tokens")
    calls = arguments_in(events)
    assert [call["to"] for call in calls] == [QUESTION] * 2
    assert [call["note"] for call in calls] == [QUESTION.replace(MAIL, token)] * 2
    for event in events:
        if event["type"] == "message" and "meta" in event["data"]:
            assert MAIL not in event["data"]["text"]
    assert "restores" not in json.dumps(events)


def test_what_waits_for_a_channel_tells_others_what_is_declared(client, context, account, private, working):
    channel, answers = "d" * 30, "the-channel-of-the-answers"
    function = {**LETTER, "result": {"channel": answers}}
    body = {"text": QUESTION, "functions": [function], "channelId": channel}
    assert client.post(f"{API}{private}/dispatch", json=body).status_code == 200

    def answered():
        while b"waitFor" not in json.dumps(context.live.wait(account, channel, "0", 0.1)).encode():
            time.sleep(0.02)
        client.post(f"{API}/channel/{answers}/publish", json={"message": {"data": "sent"}})

    answering = threading.Thread(target=answered)
    answering.start()
    events = said_on(client, channel)
    answering.join()
    token = one(context, "SELECT token FROM pii_tokens")
    calls = arguments_in(events)
    assert len(calls) == 4
    assert {call["to"] for call in calls} == {QUESTION}
    assert {call["note"] for call in calls} == {QUESTION.replace(MAIL, token)}


def test_the_words_of_a_channel_hold_no_values_where_they_are_kept(
    client, context, account, private, working
):
    channel = "e" * 30
    body = {"text": QUESTION, "functions": [LETTER], "channelId": channel}
    client.post(f"{API}{private}/dispatch", json=body)
    heard(client, channel, until="result")
    assert MAIL not in json.dumps(context.live.wait(account, channel, "0", 0.1))


def test_lists_keep_the_tokens_of_arguments(client, context, account, private, working):
    streamed(client, f"{API}{private}/complete", {"text": QUESTION, "functions": [LETTER]})
    assert MAIL not in client.get(f"{API}{private}/message/list").text
    reader = a_client(context, a_secret(context, account, ("read", "pii:read")))
    assert MAIL in reader.get(f"{API}{private}/message/list").text


def test_models_are_not_shown_what_a_schema_declares(context, client, private, working, monkeypatch):
    provider = InTurns()
    shown = []

    def stream(_self, request, _deadline):
        shown.extend(request.tools)
        raise RuntimeError("enough")
        yield

    monkeypatch.setattr(type(provider), "stream", stream)
    monkeypatch.setattr(
        type(context.providers), "provider_for", lambda _self, _model: (provider, "scripted", {})
    )
    client.post(f"{API}{private}/complete", json={"text": QUESTION, "functions": [LETTER]})
    assert [tool.parameters["properties"]["to"] for tool in shown][:1] == [{"type": "string"}]


def test_without_privacy_arguments_are_told_as_they_are(client, context, account, working):
    bot = a_bot(context, account, backstory="You are Kim.")
    talk = f"/conversation/{a_conversation(context, account, bot_id=bot.id).id}"
    events = streamed(client, f"{API}{talk}/complete", {"text": QUESTION, "functions": [LETTER]})
    assert [set(call.values()) for call in arguments_in(events)] == [{QUESTION}] * 2
    assert "restores" not in json.dumps(events)
    assert rows(context, "SELECT token FROM pii_tokens") == []
