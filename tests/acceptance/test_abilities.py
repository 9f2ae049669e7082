"""Abilities in real workers: a model over HTTP calls in pieces, workers are killed in mid call."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from core.skillsets import create_ability, create_skillset
from core.talking import complete
from tests.factories import a_bot, a_conversation, one, rows
from tests.hook_server import HookServer
from tests.model_server import ModelServer

pytestmark = pytest.mark.acceptance

PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
DONE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\ntrue"


def able(context, account, url, model, names=("notify",)):
    """A bot that can ask `url`."""
    action = {"type": "request", "method": "POST", "url": url, "body": {"at": "{place}"}}
    with context.transaction(account) as session:
        skillset = create_skillset(session, name="Skills")
        for name in names:
            create_ability(
                session, skillset.id, name=name, description="Tells.", parameters=PLACE, action=action
            )
    return a_bot(context, account, skillset_id=skillset.id, model=model)


def asked(context, account, bot, text):
    talk = a_conversation(context, account, bot_id=bot.id)
    with context.transaction(account) as session:
        return complete(session, talk.id, text)


@pytest.fixture
def context(installation):
    """As its operator has it: the receiver is on this machine."""
    installation.settings["CRONTALK_OUTBOUND_ALLOW"] = "127.0.0.1"
    settings = installation.context.settings.model_copy(update={"outbound_allow": "127.0.0.1"})
    return replace(installation.context, settings=settings)


def test_a_worker_killed_between_a_call_and_its_settlement_has_the_effect_once(
    installation, context, account, eventually
):
    effects, reached, killed = {}, threading.Event(), threading.Event()
    with HookServer() as server:

        def honours_the_key(conversation):
            request = server.asked[-1]
            effects.setdefault(request.headers["idempotency-key"], json.loads(request.body))
            reached.set()
            killed.wait(60)
            conversation.sock.sendall(DONE)

        server.replies.append(honours_the_key)
        server.replies.append(honours_the_key)
        bot = able(context, account, server.url(), "offline")
        first = installation.start("worker", "--queues", "chat")
        run = asked(context, account, bot, "Please notify with place=Lisbon.")
        assert reached.wait(60), installation.all_logs()
        installation.kill(first)
        killed.set()
        installation.start("scheduler")
        installation.start("worker", "--queues", "chat")
        eventually(lambda: one(context, "SELECT state FROM runs") == "succeeded", 60)
        assert effects == {f"{run.id}-note.1": {"at": "Lisbon"}}
        assert len(server.asked) == 2
    said = rows(context, "SELECT type, step FROM messages ORDER BY seq")
    assert [tuple(row.values()) for row in said] == [
        ("user", "prompt"),
        ("activity", "note.1"),
        ("activity", "answer.1"),
        ("bot", "reply"),
    ]
    assert one(context, "SELECT crashes FROM runs") == 1


def test_a_model_over_http_calls_in_pieces_and_side_by_side(installation, context, account, eventually):
    with HookServer() as server, ModelServer() as model:
        installation.settings["LLM_BASE_URL"] = model.base_url
        server.replies += [DONE, DONE]
        model.script('calling:{"place": "Lisbon"}')
        bot = able(context, account, server.url(), "vendor", ("first", "second"))
        installation.start("worker", "--queues", "chat")
        asked(context, account, bot, "Tell them.")
        eventually(lambda: one(context, "SELECT state FROM runs") == "succeeded", 60)
        assert {json.loads(request.body)["at"] for request in server.asked} == {"Lisbon"}
        assert len({request.headers["idempotency-key"] for request in server.asked}) == 2
    timeline = rows(context, "SELECT step, outcome FROM run_steps WHERE step LIKE 'call.%' ORDER BY step")
    assert timeline == [
        {"step": "call.1", "outcome": "succeeded"},
        {"step": "call.2", "outcome": "succeeded"},
    ]
