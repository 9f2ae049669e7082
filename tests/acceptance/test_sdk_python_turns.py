"""The official Python SDK, unmodified, against the real processes: turns, functions, agents and channels."""

from __future__ import annotations

import asyncio

import pytest
from chatbotkit import types
from chatbotkit.agent import Tool, complete, execute

from tests.acceptance.sdk import a_conversation, driven, heard, plain_events, refused, streamed

pytestmark = pytest.mark.acceptance

WEATHER = {
    "name": "getWeather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
STREAM = ["completeBegin", "token", "completeEnd", "usage", "message", "result"]


def asked(text: str) -> dict[str, str]:
    return {"type": "user", "text": text}


def in_order(kinds: list[str]) -> list[str]:
    """Kinds of events, each run of the same kind once."""
    return [kind for index, kind in enumerate(kinds) if index == 0 or kinds[index - 1] != kind]


@driven
async def test_send_receive_and_complete(kit, service):
    conversation = await a_conversation(kit)
    sent = await kit.conversation.send(conversation, {"text": " What is your name? "})
    assert sent.entities == []
    received = await kit.conversation.receive(conversation, {})
    assert received.text.startswith("I am Bo. You asked “What is your name?”")
    assert received.usage.token > 0
    both = await kit.conversation.complete(conversation, {"text": "And now?"})
    assert (both.end.reason.value, both.usage.token > 0) == ("stop", True)
    again = await kit.conversation.complete(conversation, {})
    readme = await kit.conversation.complete(conversation, {"messages": [{"type": "user", "text": "Hm?"}]})
    assert len({both.id, again.id, readme.id}) == 3
    base = f"/api/v1/conversation/{conversation}"
    said = (await kit.client_fetch(f"{base}/message/list"))["items"]
    assert [message["type"] for message in said] == ["user", "bot", "user", "bot", "bot", "user", "bot"]
    assert (said[0]["id"], said[0]["text"]) == (sent.id, "What is your name?")
    assert (said[1]["id"], said[1]["text"]) == (received.id, received.text)
    usage = await kit.client_fetch(f"{base}/usage/fetch")
    assert (usage["messages"], usage["tokens"] > 0) == (7, True)
    compacted = await kit.client_fetch(f"{base}/compact", record={})
    assert (compacted["text"] != "", compacted["usage"]["token"] > 0) == (True, True)


@driven
async def test_streamed_turns_bring_every_event_in_its_type_and_the_result_last(kit, service):
    conversation = await a_conversation(kit)
    (sent,) = await streamed(kit.conversation.send(conversation, {"text": "Hello – 👋?"}))
    assert (sent.type.value, sent.data.entities) == ("result", [])
    turns = (
        kit.conversation.receive(conversation, {}),
        kit.conversation.complete(conversation, {"text": "And?"}),
        kit.conversation.complete(None, {"backstory": "You are Cy.", "messages": [asked("Who – 👋?")]}),
    )
    for turn in turns:
        events = await streamed(turn)
        assert in_order([event.type.value for event in events]) == STREAM
        (result,) = [event.data for event in events if event.type.value == "result"]
        (message,) = [event.data for event in events if event.type.value == "message"]
        (usage,) = [event.data for event in events if event.type.value == "usage"]
        tokens = [event.data.token for event in events if event.type.value == "token"]
        assert "".join(tokens) == result.text == message.text
        assert (message.type.value, usage.model) == ("bot", "offline")
        assert usage.input_tokens_used + usage.output_tokens_used == result.usage.token


@driven
async def test_a_stateless_complete_stores_nothing(kit, service):
    before = (await kit.usage.fetch()).conversations
    request = {"messages": [asked("Who are you?")], "backstory": "You are Cy.", "model": "offline"}
    done = await kit.conversation.complete(None, request)
    assert done.text.startswith("I am Cy. You asked “Who are you?”")
    assert done.end.reason.value == "stop"
    assert (await kit.usage.fetch()).conversations == before


@driven
async def test_functions_with_data_without_a_result_and_forced(kit, service):
    conversation = await a_conversation(kit)
    request = types.ConversationMessageCompleteRequest.from_dict(
        {"text": "Get weather for Oslo.", "functions": [WEATHER | {"result": {"data": {"degrees": 5}}}]}
    )
    events = await plain_events(kit, f"conversation/{conversation}/complete", request.to_dict())
    activities = [
        event["data"]["meta"]["activity"] for event in events if event["data"].get("type") == "activity"
    ]
    assert [activity["type"] for activity in activities] == ["request", "response"]
    assert {activity["function"]["name"] for activity in activities} == {"getWeather"}
    assert activities[1]["function"]["result"] == {"degrees": 5}
    typed = await kit.conversation.complete(conversation, request)
    assert "getWeather said" in typed.text

    left = await kit.conversation.complete(
        conversation, {"text": "Get weather again.", "functions": [WEATHER]}
    )
    assert left.end.reason.value == "activity"
    asking = await kit.client_fetch(
        f"/api/v1/conversation/{conversation}/message/list", query={"order": "desc", "take": 1}
    )
    activity = asking["items"][0]["meta"]["activity"]
    response = {"type": "response", "function": activity["function"] | {"result": {"degrees": 7}}}
    answer = {"type": "activity", "text": "It answered.", "meta": {"activity": response}}
    await kit.client_fetch(f"/api/v1/conversation/{conversation}/message/create", record=answer)
    went_on = await kit.conversation.complete(conversation, {"functions": [WEATHER]})
    assert (went_on.end.reason.value, "7" in went_on.text) == ("stop", True)

    forced = WEATHER | {"result": {"data": 1}, "call": {"start": True, "end": True}}
    stateless = {"messages": [asked("Hi.")], "functions": [forced]}
    kinds = [event.type.value for event in await streamed(kit.conversation.complete(None, stateless))]
    assert kinds.count("message") >= 2
    one_step = stateless | {"functions": [WEATHER | {"result": {"data": 1}, "call": {"start": True}}]}
    stepped = await kit.conversation.complete(None, one_step | {"limits": {"iterations": 1}})
    assert stepped.end.reason.value == "iteration"


@driven
async def test_the_agent_of_the_sdk_answers_its_functions_on_channels(kit, service):
    cities = []

    async def weather(arguments):
        cities.append(arguments["city"])
        return {"degrees": 5}

    tools = {"get_weather": Tool("The weather.", weather, parameters=WEATHER["parameters"])}
    conversation = await a_conversation(kit)
    events = [
        event
        async for event in complete(
            client=kit, conversation_id=conversation, tools=tools, text="Get weather for Oslo."
        )
    ]
    kinds = [event["type"] for event in events]
    waits = [kind for kind in kinds if kind.startswith("waitForChannelMessage")]
    assert waits == ["waitForChannelMessageBegin", "waitForChannelMessageEnd"]
    assert (kinds.count("toolCallStart"), kinds.count("toolCallEnd"), kinds.count("toolCallError")) == (
        1,
        1,
        0,
    )
    assert cities == ["Get weather for Oslo."]

    messages = [asked("Get weather for Rome.")]
    loop = [event async for event in execute(client=kit, messages=messages, tools=tools, max_iterations=4)]
    assert loop[-1] == {"type": "exit", "data": {"code": 0}}
    assert cities[1:] == ["Get weather for Rome."]
    assert [message["type"] for message in messages] == ["user", "activity", "activity", "bot"]

    stop = [asked("Now exit.")]
    ended = [event async for event in execute(client=kit, messages=stop, max_iterations=4)]
    assert ended[-1]["type"] == "exit"
    assert {"name": "exit", "args": ended[-1]["data"]} in [
        event["data"] for event in ended if event["type"] == "toolCallStart"
    ]


@driven
async def test_a_dispatched_completion_is_heard_on_its_channel(kit, service):
    conversation = await a_conversation(kit)
    stateful = await kit.conversation.dispatch(conversation, {"text": "Go."})
    assert len(stateful.channel_id) >= 16
    named = {"messages": [asked("Go.")], "channelId": "a-channel-of-this-very-test"}
    stateless = [await kit.conversation.dispatch(None, named) for _ in range(2)]
    assert [one.channel_id for one in stateless] == ["a-channel-of-this-very-test"] * 2
    for channel in (stateful.channel_id, stateless[0].channel_id):
        live = await heard(kit, channel)
        assert in_order([event["type"] for event in live]) == STREAM
        assert live[-1]["data"]["end"] == {"reason": "stop"}
        assert await heard(kit, channel, historyLength=1000) == live


@driven
async def test_what_is_published_is_heard(kit, service):
    channel = "a-channel-between-two"
    told = {"text": "Grüße 👋", "deep": {"list": [1, None]}}
    assert (await kit.channel.publish(channel, {"message": told})).id == channel
    assert await heard(kit, channel, 1, historyLength=10) == [told]
    live = asyncio.create_task(heard(kit, channel, 2, historyLength=2))
    await kit.channel.publish(channel, {"message": {"second": True}})
    assert await live == [told, {"second": True}]
    await refused(kit.channel.publish("short", {"message": {}}), 400, "BAD_REQUEST")


@driven
async def test_a_second_turn_on_a_busy_conversation_is_a_conflict(kit, service):
    conversation = await a_conversation(kit, model="offline/latency=3")
    async for event in kit.conversation.complete(conversation, {"text": "Slowly."}).stream():
        if event.type.value == "completeBegin":
            await refused(kit.conversation.complete(conversation, {"text": "Quick!"}), 409, "CONFLICT")
            await refused(kit.conversation.receive(conversation, {}), 409, "CONFLICT")
    assert event.type.value == "result"
    said = await kit.client_fetch(f"/api/v1/conversation/{conversation}/message/list")
    assert [message["type"] for message in said["items"]] == ["user", "bot"]
