"""Turns through the API: stored, waited for, streamed, and what is left of them afterwards."""

from __future__ import annotations

import json
import threading
import time
import uuid

import pytest

from core.conversations import create_conversation
from tests.factories import a_bot, a_conversation, an_account, execute, one, rows
from tests.hands import hands

API = "/api/v1/conversation"
WEATHER = {
    "name": "getWeather",
    "description": "The weather of a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}


@pytest.fixture
def talk(context, account):
    bot = a_bot(context, account, backstory="You are Kim. The tower is 300 metres high.")
    return str(a_conversation(context, account, bot_id=bot.id).id)


def streamed(client, path, body):
    with client.stream("POST", path, json=body, headers={"Accept": "application/jsonl"}) as answer:
        text = answer.read().decode()
    assert answer.status_code == 200, text
    assert answer.headers["content-type"] == "application/jsonl"
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def texts(context):
    return [
        (row["type"], row["text"]) for row in rows(context, "SELECT type, text FROM messages ORDER BY seq")
    ]


def test_send_stores_and_nobody_answers(client, context, talk):
    answer = client.post(f"{API}/{talk}/send", json={"text": "  Hello \n"})
    assert answer.status_code == 200
    assert answer.json()["entities"] == []
    assert texts(context) == [("user", "Hello")]
    assert one(context, "SELECT count(*) FROM runs") == 0
    assert streamed(client, f"{API}/{talk}/send", {"text": "x"})[0]["type"] == "result"


@pytest.mark.parametrize("form", ["application/json", "application/jsonl", "text/event-stream"])
def test_a_message_sent_again_under_its_key_is_told_in_the_form_asked_for(client, context, talk, form):
    headers = {"Idempotency-Key": "one", "Accept": form}
    first, second = (client.post(f"{API}/{talk}/send", json={"text": "Hi"}, headers=headers) for _ in "12")
    assert (first.status_code, second.status_code) == (200, 200)
    assert (first.content, first.headers["content-type"]) == (second.content, second.headers["content-type"])
    assert second.headers["Idempotency-Replayed"] == "true"
    assert texts(context) == [("user", "Hi")]


def test_complete_answers_with_the_stored_message(client, context, talk, working):
    answer = client.post(f"{API}/{talk}/complete", json={"text": "How high is the tower?"}).json()
    assert answer["end"] == {"reason": "stop"}
    assert "300 metres" in answer["text"]
    assert answer["usage"]["token"] > 0
    (stored,) = rows(context, "SELECT id, text FROM messages WHERE type = 'bot'")
    assert (str(stored["id"]), stored["text"]) == (answer["id"], answer["text"])


def test_receive_answers_what_was_sent(client, talk, working):
    client.post(f"{API}/{talk}/send", json={"text": "How high is the tower?"})
    assert "300 metres" in client.post(f"{API}/{talk}/receive", json={}).json()["text"]


def test_a_stream_tells_the_tokens_the_message_and_the_result(client, talk, working):
    events = streamed(client, f"{API}/{talk}/complete", {"text": "How high is the tower?"})
    kinds = [event["type"] for event in events]
    assert kinds[-2:] == ["message", "result"]
    result = events[-1]["data"]
    assert "".join(e["data"]["token"] for e in events if e["type"] == "token") == result["text"]
    assert events[-2]["data"] == {"type": "bot", "text": result["text"]}
    assert set(kinds) <= {"completeBegin", "token", "completeEnd", "usage", "message", "result"}


def test_a_stream_without_a_valkey_has_the_message_and_the_result(client, talk, working, monkeypatch):
    monkeypatch.setattr(client.app.state.ears, "_url", None)
    events = streamed(client, f"{API}/{talk}/complete", {"text": "How high is the tower?"})
    assert [event["type"] for event in events] == ["message", "result"]


def test_server_sent_events(client, talk, working):
    headers = {"Accept": "text/event-stream"}
    text = client.post(f"{API}/{talk}/complete", json={"text": "Hi"}, headers=headers).text
    assert text.startswith("event: ")
    assert "event: result\ndata: {" in text


def test_a_second_turn_at_once_is_409_and_stores_nothing(client, context, account, talk):
    with context.transaction(account) as session:
        from core.talking import complete

        complete(session, talk, "First")
    answer = client.post(f"{API}/{talk}/complete", json={"text": "Second"})
    assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert texts(context) == [("user", "First")]
    assert client.post(f"{API}/{talk}/send", json={"text": "Third"}).status_code == 200


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [("offline/finish=refused", 422, "UNPROCESSABLE_ENTITY"), ("gpt-nowhere", 422, "UNPROCESSABLE_ENTITY")],
)
def test_a_turn_that_fails_is_no_5xx_since_the_node_sdk_would_do_it_again(
    client, context, account, working, model, status, code
):
    bot = a_bot(context, account, model=model)
    talk = a_conversation(context, account, bot_id=bot.id).id
    answer = client.post(f"{API}/{talk}/complete", json={"text": "Hi"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    events = streamed(client, f"{API}/{talk}/complete", {"text": "Hi"})
    assert [e["type"] for e in events if e["type"] in {"result", "error"}] == ["error"]
    assert events[-1]["data"]["code"] == code


def test_an_answer_cut_at_its_length_is_told_with_that_reason(client, context, account, working):
    bot = a_bot(context, account, model="offline/finish=length")
    talk = a_conversation(context, account, bot_id=bot.id).id
    answer = client.post(f"{API}/{talk}/complete", json={"text": "Tell me everything."}).json()
    assert answer["end"] == {"reason": "length"}
    assert answer["text"]


def test_a_turn_nobody_carries_out_is_408_and_goes_on(client, context, talk, monkeypatch):
    monkeypatch.setattr("api.chatbotkit.turns.LATE", {"message": "Later.", "code": "TIMEOUT"})
    monkeypatch.setattr("api.chatbotkit.turns._waiting", impatient(monkeypatch))
    answer = client.post(f"{API}/{talk}/complete", json={"text": "Hi"})
    assert (answer.status_code, answer.json()) == (408, {"message": "Later.", "code": "TIMEOUT"})
    assert one(context, "SELECT state FROM runs") == "pending"


def impatient(monkeypatch):
    from api.chatbotkit import turns

    waiting = turns._waiting

    def now(*arguments):
        import dataclasses

        return dataclasses.replace(waiting(*arguments), until=time.monotonic())

    return now


def test_the_same_key_is_one_turn_and_one_answer(client, context, talk, working):
    headers = {"Idempotency-Key": "k1"}
    body = {"text": "How high is the tower?"}
    first = client.post(f"{API}/{talk}/complete", json=body, headers=headers).json()
    second = client.post(f"{API}/{talk}/complete", json=body, headers=headers).json()
    assert first == second
    assert one(context, "SELECT count(*) FROM runs") == 1
    other = client.post(f"{API}/{talk}/complete", json={"text": "Else"}, headers=headers)
    assert other.status_code == 422


def test_two_at_once_under_one_key_share_one_turn(client, context, talk, working):
    answers = []

    def ask():
        headers = {"Idempotency-Key": "k2"}
        answers.append(client.post(f"{API}/{talk}/complete", json={"text": "Hi"}, headers=headers).json())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["id"] for answer in answers}) == 1
    assert one(context, "SELECT count(*) FROM runs") == 1


def test_a_function_with_data_is_answered_and_the_turn_goes_on(client, context, talk, working):
    body = {
        "text": "Please getWeather in Paris",
        "functions": [{**WEATHER, "result": {"data": {"sky": "blue"}}}],
    }
    events = streamed(client, f"{API}/{talk}/complete", body)
    activities = [e["data"]["meta"]["activity"] for e in events if e["data"].get("type") == "activity"]
    assert [activity["type"] for activity in activities] == ["request", "response"]
    assert activities[1]["function"]["result"] == {"sky": "blue"}
    assert "blue" in events[-1]["data"]["text"]
    assert [kind for kind, _ in texts(context)] == ["user", "activity", "activity", "bot"]
    assert one(context, "SELECT request FROM runs") is None


def test_a_function_of_the_callers_ends_the_turn_until_it_has_answered(client, context, talk, working):
    body = {"text": "Please getWeather in Paris", "functions": [WEATHER]}
    answer = client.post(f"{API}/{talk}/complete", json=body).json()
    assert answer["end"] == {"reason": "activity"}
    called = {"name": "getWeather", "arguments": {"place": "Paris"}, "result": {"sky": "grey"}}
    execute(
        context,
        "INSERT INTO messages (id, account_id, conversation_id, seq, type, text, meta)"
        " SELECT :id, account_id, id, 50, 'activity', 'grey', CAST(:meta AS jsonb) FROM conversations",
        id=uuid.uuid4(),
        meta=json.dumps({"activity": {"type": "response", "function": called}}),
    )
    execute(context, "UPDATE conversations SET next_seq = 51")
    answer = client.post(f"{API}/{talk}/complete", json={"functions": [WEATHER]}).json()
    assert answer["end"] == {"reason": "stop"}
    assert "grey" in answer["text"]


def test_one_iteration_at_a_time(client, talk, working):
    functions = [{**WEATHER, "result": {"data": "fine"}}]
    body = {"text": "getWeather here", "functions": functions, "limits": {"iterations": 1}}
    assert client.post(f"{API}/{talk}/complete", json=body).json()["end"] == {"reason": "iteration"}
    answer = client.post(f"{API}/{talk}/complete", json={"functions": functions}).json()
    assert answer["end"] == {"reason": "stop"}
    assert "fine" in answer["text"]


def test_a_function_answered_on_a_channel(client, context, talk, working):
    channel = "channel-of-the-weather"
    body = {"text": "getWeather here", "functions": [{**WEATHER, "result": {"channel": channel}}]}
    events = []

    def ask():
        events.extend(streamed(client, f"{API}/{talk}/complete", body))

    asking = threading.Thread(target=ask)
    asking.start()
    while one(context, "SELECT count(*) FROM messages WHERE type = 'activity'") == 0:
        time.sleep(0.02)
    time.sleep(0.2)
    published = client.post(f"/api/v1/channel/{channel}/publish", json={"message": {"data": "stormy"}})
    assert published.json() == {"id": channel}
    asking.join()
    kinds = [event["type"] for event in events]
    assert kinds.index("waitForChannelMessageBegin") < kinds.index("waitForChannelMessageEnd")
    assert "stormy" in events[-1]["data"]["text"]


def test_a_function_hears_what_is_published_and_not_what_turns_tell(client, context, account, talk, working):
    channel = "the-channel-of-the-turn-itself"
    functions = [{**WEATHER, "result": {"channel": channel}}]
    client.post(
        f"{API}/{talk}/dispatch",
        json={"text": "getWeather here", "functions": functions, "channelId": channel},
    )
    while b"waitForChannel" not in json.dumps(context.live.wait(account, channel, "0", 0.1)).encode():
        time.sleep(0.02)
    client.post(f"/api/v1/channel/{channel}/publish", json={"message": {"data": "stormy"}})
    assert "stormy" in heard(client, channel, until="result")[-1]["data"]["data"]["text"]


def test_what_is_published_on_the_channel_of_a_turn_does_not_break_its_stream(
    client, context, account, leases, talk
):
    events = []
    asking = threading.Thread(
        target=lambda: events.extend(streamed(client, f"{API}/{talk}/complete", {"text": "Hi"}))
    )
    asking.start()
    while not (found := rows(context, "SELECT id FROM runs")):
        time.sleep(0.02)
    client.post(f"/api/v1/channel/{found[0]['id']}/publish", json={"message": {"type": "result"}})
    with hands(context, leases):
        asking.join()
    assert [event["type"] for event in events].count("result") == 1
    assert events[-1]["data"]["end"] == {"reason": "stop"}


def test_a_dispatched_turn_is_heard_on_its_channel_even_afterwards(client, context, talk, working):
    channel = "c" * 30
    body = {"text": "How high is the tower?", "channelId": channel}
    for _ in range(2):
        assert client.post(f"{API}/{talk}/dispatch", json=body).json() == {"channelId": channel}
    assert one(context, "SELECT count(*) FROM runs") == 1
    said = heard(client, channel, until="result")
    assert {event["type"] for event in said} == {"message"}
    assert "300 metres" in said[-1]["data"]["data"]["text"]


def heard(client, channel, until):
    """What a subscriber hears until a dispatched turn has ended."""
    import asyncio

    from api.chatbotkit.channels import _Heard
    from core.accounts import authenticate

    app = client.app
    secret = client.headers["authorization"].removeprefix("Bearer ")
    with app.state.context.transaction() as session:
        caller = authenticate(session, secret)

    async def listen():
        found = []
        async for line in _Heard(app.state.context, app.state.ears, caller, channel).lines(1000):
            if line.strip():
                found.append(json.loads(line))
                if found[-1]["data"].get("type") in {until, "error"}:
                    break
        await app.state.ears.close()
        return found

    return asyncio.run(asyncio.wait_for(listen(), 20))


def test_a_channel_opens_no_conversation_of_others(client, context, talk):
    body = {"text": "Hi", "channelId": "c" * 30}
    theirs = a_conversation(context, an_account(context)).id
    assert client.post(f"{API}/{talk}/dispatch", json=body).status_code == 200
    assert client.post(f"{API}/{theirs}/dispatch", json=body).status_code == 403
    assert client.post(f"{API}/{uuid.uuid4()}/dispatch", json=body).status_code == 404


def test_a_stateless_answer_cut_at_its_length_is_told_with_that_reason(client, context, account, leases):
    body = {"messages": [{"type": "user", "text": "Tell me everything."}], "model": "offline/finish=length"}
    answer = client.post(f"{API}/complete", json=body).json()
    assert answer["end"] == {"reason": "length"}
    assert answer["text"]
    channel = client.post(f"{API}/dispatch", json=body).json()["channelId"]
    with hands(context, leases):
        assert heard(client, channel, until="result")[-1]["data"]["data"]["end"] == {"reason": "length"}
    said = [word["data"]["type"] for _, word in context.live.wait(account, channel, "0", 0.1)]
    assert said.count("result") + said.count("error") == 1


def test_a_stateless_turn_takes_a_model_and_a_contact_as_objects(client):
    model = {"name": "offline", "config": {"temperature": None, "chunks": 2}}
    body = {"messages": [{"type": "user", "text": "Hi"}], "contactId": {"fingerprint": "f"}, "model": model}
    assert client.post(f"{API}/complete", json=body).status_code == 200


def test_a_stateless_turn_answers_and_stores_nothing(client, context):
    body = {
        "backstory": "You are Kim. The tower is 300 metres high.",
        "messages": [{"type": "user", "text": "How high is the tower?"}],
    }
    answer = client.post(f"{API}/complete", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"text", "usage", "end"}
    assert "300 metres" in answer.json()["text"]
    events = streamed(client, f"{API}/complete", body)
    assert [event["type"] for event in events][-2:] == ["message", "result"]
    assert one(context, "SELECT count(*) FROM messages") + one(context, "SELECT count(*) FROM runs") == 0
    assert one(context, "SELECT sum(model_calls) FROM usage_days") == 2


def test_a_stateless_turn_in_the_background_keeps_what_was_sent_sealed_and_only_while_it_runs(
    client, context, leases
):
    body = {"messages": [{"type": "user", "text": "my secret canary"}]}
    channel = client.post(f"{API}/dispatch", json=body).json()["channelId"]
    stored = one(context, "SELECT request FROM runs")
    assert b"canary" not in bytes(stored)
    with hands(context, leases):
        said = heard(client, channel, until="result")
    assert "canary" in said[-1]["data"]["data"]["text"]
    assert one(context, "SELECT request FROM runs") is None
    assert one(context, "SELECT summary FROM runs") is None
    assert one(context, "SELECT count(*) FROM messages") == 0


def test_a_turn_in_the_background_that_is_tried_again_ends_once(
    client, context, account, leases, monkeypatch
):
    failures = [True, False]
    monkeypatch.setattr("core.chat.offline._fails", lambda *_: failures.pop(0))
    body = {"messages": [{"type": "user", "text": "Hi"}]}
    channel = client.post(f"{API}/dispatch", json=body).json()["channelId"]
    with hands(context, leases):
        assert heard(client, channel, until="result")[-1]["data"]["type"] == "result"
    assert one(context, "SELECT attempt FROM runs") == 2
    said = [word["data"]["type"] for _, word in context.live.wait(account, channel, "0", 0.1)]
    assert [kind for kind in said if kind in {"result", "error"}] == ["result"]


def test_a_turn_in_the_background_that_fails_says_so_once(client, context, account, leases):
    body = {"messages": [{"type": "user", "text": "Hi"}], "model": "offline/finish=refused"}
    channel = client.post(f"{API}/dispatch", json=body).json()["channelId"]
    with hands(context, leases):
        assert heard(client, channel, until="error")[-1]["data"]["data"]["code"] == "UNPROCESSABLE_ENTITY"
    said = [word["data"]["type"] for _, word in context.live.wait(account, channel, "0", 0.1)]
    assert said[-1] == "error"
    assert said.count("error") == 1


def test_the_channel_of_a_turn_ends_with_its_conversation(client, talk):
    channel = "c" * 30
    client.post(f"{API}/{talk}/dispatch", json={"text": "Hi", "channelId": channel})
    client.post(f"{API}/{talk}/delete")
    assert heard(client, channel, until="error")[-1]["data"]["data"]["code"] == "CONFLICT"


def test_compacting_sums_up_and_the_bot_sees_the_summary_from_then_on(client, context, talk, working):
    assert client.post(f"{API}/{talk}/compact", json={}).json()["id"] == talk
    client.post(f"{API}/{talk}/complete", json={"text": "How high is the tower?"})
    answer = client.post(f"{API}/{talk}/compact", json={}).json()
    kinds = [kind for kind, _ in texts(context)]
    assert kinds == ["user", "bot", "checkpoint"]
    assert answer["text"] == texts(context)[-1][1]
    again = client.post(f"{API}/{talk}/complete", json={"text": "And now?"}).json()["text"]
    assert "earlier message" not in again


def test_what_a_conversation_says_itself_goes_before_what_its_bot_says(client, context, account, working):
    with context.transaction(account) as session:
        talk = create_conversation(session)
        talk.backstory = "You are Lou. The river is cold."
        talk_id = str(talk.id)
    answer = client.post(f"{API}/{talk_id}/complete", json={"text": "How is the river?"}).json()
    assert "I am Lou" in answer["text"]
    extra = {"text": "And the lake?", "extensions": {"backstory": "The lake is warm."}}
    assert "lake is warm" in client.post(f"{API}/{talk_id}/complete", json=extra).json()["text"]


def test_the_zone_of_the_caller_is_told_and_an_unknown_one_refused(client, talk, working):
    body = {"text": "What is the time?"}
    answer = client.post(f"{API}/{talk}/complete", json=body, headers={"x-timezone": "Europe/Berlin"}).json()
    assert "Europe/Berlin" in answer["text"]
    assert client.post(f"{API}/{talk}/complete", json=body, headers={"x-timezone": "Mars"}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"text": ""},
        {"text": " \n"},
        {"text": 5},
        {"text": "x", "functions": [{**WEATHER, "name": "not a name"}]},
        {"text": "x", "functions": [WEATHER, WEATHER]},
        {"text": "x", "functions": [{**WEATHER, "parameters": {}}]},
        {"text": "x", "functions": [{**WEATHER, "result": {}}]},
        {"text": "x", "functions": [{**WEATHER, "result": {"channel": "short"}}]},
        {"text": "x", "limits": {"iterations": 0}},
        {"text": "x", "limits": {"calls": True}},
        {"text": "x", "entities": [{"begin": -1, "end": 1}]},
        {"text": "x", "extensions": 5},
        {"messages": []},
        {"messages": [{"type": "bot", "text": "x"}]},
    ],
)
def test_bad_turns_are_400_and_store_nothing(client, context, talk, body):
    if body == {"messages": []}:
        body = {"text": None, "messages": [{"type": "user", "text": " "}]}
    answer = client.post(f"{API}/{talk}/complete", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST"), answer.text
    assert texts(context) == []
    assert one(context, "SELECT count(*) FROM runs") == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": "x"},
        {"messages": [{"type": "user"}]},
        {"messages": [{"type": "person", "text": "x"}]},
        {"messages": [{"type": "activity", "text": "x"}]},
        {
            "messages": [
                {"type": "activity", "text": "x", "meta": {"activity": {"type": "odd", "function": {}}}}
            ]
        },
        {"messages": [{"type": "user", "text": "x"}], "model": "///"},
        {"messages": [{"type": "user", "text": "x"}], "model": {"name": "offline", "config": {"a": {}}}},
        {"messages": [{"type": "user", "text": "x"}], "model": {"config": {}}},
        {"messages": [{"type": "user", "text": "x"}], "contactId": 5},
        {"messages": [{"type": "user", "text": "x"}], "contactId": {"fingerprint": 5}},
    ],
)
def test_bad_stateless_turns_are_400(client, body):
    for path in ("complete", "dispatch"):
        assert client.post(f"{API}/{path}", json=body).status_code == 400


def test_channels_have_names_and_belong_to_their_account(client, context, account):
    assert client.post("/api/v1/channel/short/publish", json={"message": {}}).status_code == 400
    assert client.post(f"/api/v1/channel/{'x' * 20}/publish", json={"message": "x"}).status_code == 400
    assert client.post(f"/api/v1/channel/{'x' * 20}/subscribe", json={"historyLength": -1}).status_code == 400
    client.post(f"/api/v1/channel/{'x' * 20}/publish", json={"message": {"mine": 1}})
    assert context.live.wait(account, "x" * 20, "0", 0.1)[0][1] == {"data": {"mine": 1}}
    assert context.live.wait(uuid.uuid4(), "x" * 20, "0", 0.1) == []


@pytest.mark.parametrize(("verb", "body"), [("delete", {}), ("update", {"text": "Other words."})])
def test_an_answer_that_is_deleted_or_changed_is_silenced(
    client, context, account, talk, working, verb, body
):
    answer = streamed(client, f"{API}/{talk}/complete", {"text": "Hi"})[-1]["data"]
    run = str(one(context, "SELECT id FROM runs"))
    assert context.live.wait(account, run, "0", 0.1)
    assert client.post(f"{API}/{talk}/message/{answer['id']}/{verb}", json=body).status_code == 200
    assert context.live.wait(account, run, "0", 0.1) == []


def test_a_conversation_deleted_in_the_middle_of_an_answer_is_silenced(client, context, account, leases):
    bot = a_bot(context, account, model="offline/latency=1.5/chunks=30")
    talk = a_conversation(context, account, bot_id=bot.id).id
    events = []
    asking = threading.Thread(
        target=lambda: events.extend(streamed(client, f"{API}/{talk}/complete", {"text": "Hi"}))
    )
    with hands(context, leases):
        asking.start()
        while "token" not in {event["type"] for event in told(context, account)}:
            time.sleep(0.02)
        assert client.post(f"{API}/{talk}/delete").status_code == 200
        asking.join()
    assert events[-1]["data"]["code"] == "CONFLICT"
    assert told(context, account) == []


def told(context, account):
    """What is there to be heard of the only turn."""
    runs = rows(context, "SELECT id FROM runs")
    words = context.live.wait(account, str(runs[0]["id"]), "0", 0.1) if runs else []
    return [word["data"] for _, word in words]


def test_a_deleted_conversation_is_silenced(client, context, account, talk, working):
    streamed(client, f"{API}/{talk}/complete", {"text": "Hi"})
    run = str(one(context, "SELECT id FROM runs"))
    assert context.live.wait(account, run, "0", 0.1)
    client.post(f"{API}/{talk}/delete")
    assert context.live.wait(account, run, "0", 0.1) == []


def test_a_word_on_a_channel_is_bounded(client):
    path = f"/api/v1/channel/{'x' * 20}/publish"
    assert client.post(path, json={"message": {"data": "x" * 60_000}}).status_code == 200
    answer = client.post(path, json={"message": {"data": "x" * 70_000}})
    assert (answer.status_code, answer.json()["code"]) == (413, "CONTENT_TOO_LARGE")


def test_a_stream_ends_when_its_token_opens_it_no_more(client, context, monkeypatch):
    import asyncio

    from fastapi.security import HTTPAuthorizationCredentials

    from api.chatbotkit import turns

    async def endless():
        while True:
            yield b" "

    async def all_lines(secret):
        credentials = HTTPAuthorizationCredentials(scheme="Bearer", credentials=secret)
        lines = turns.while_signed_in(endless(), context, credentials)
        return [await anext(lines) for _ in range(2)]

    monkeypatch.setattr(turns, "BEAT", 0.0)
    secret = client.headers["authorization"].removeprefix("Bearer ")
    assert asyncio.run(all_lines(secret)) == [b" ", b" "]
    with pytest.raises(StopAsyncIteration):
        asyncio.run(all_lines("ct_revoked"))
