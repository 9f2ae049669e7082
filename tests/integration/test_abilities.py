"""Abilities in turns: what a bot does, once, within its bounds, and what it is told when it cannot."""

from __future__ import annotations

import json
import threading

import pytest
import structlog

from core.chat.provider import (
    Deadline,
    Finished,
    FinishReason,
    ModelTimeout,
    ModelUnavailable,
    TextDelta,
    ToolCall,
)
from core.errors import PrivacyFailed, RunFailed
from core.messages import delete_message
from core.notes import StoredNotes
from core.privacy_policies import owner_of, set_policy
from core.secrets import create_secret, delete_secret
from core.skills.schemas import check_arguments, checked_schema
from core.skills.skill import SkillFailed
from core.skillsets import create_ability, create_skillset, update_skillset
from core.talking import complete, dispatch, receive
from core.turn_requests import Function, TurnRequest
from core.turns import carry_out
from core.work import LeaseLost, reap
from tests.api import a_client, a_secret
from tests.factories import a_bot, a_conversation, a_due_task, execute, one, rows, the_run
from tests.hook_server import HookServer, status
from tests.scripted import USED, calls, says

API = "/api/v1"
PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}


def json_reply(value, code=200):
    body = json.dumps(value).encode()
    lines = [f"HTTP/1.1 {code} OK", "Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture
def server():
    with HookServer() as listening:
        yield listening


@pytest.fixture
def skillset(context, account):
    with context.transaction(account) as session:
        return create_skillset(session, name="Skills")


@pytest.fixture
def able(context, account, skillset):
    """Adds an ability; a request to `url` unless another action is given."""

    def add(name, url=None, *, parameters=PLACE, action=None, secret=None, **more):
        action = (
            action
            if action is not None
            else {"type": "request", "method": "POST", "url": url, "body": {"at": "{place}"}}
        )
        with context.transaction(account) as session:
            return create_ability(
                session,
                skillset.id,
                name=name,
                description="Does it.",
                parameters=parameters,
                action=action,
                links={"secretId": str(secret)} if secret else None,
                **more,
            )

    return add


@pytest.fixture
def asked(context, account, skillset):
    def ask(text="Hello?", request=None, **conversation):
        bot = a_bot(context, account, skillset_id=skillset.id)
        talk = a_conversation(context, account, bot_id=bot.id, **conversation)
        with context.transaction(account) as session:
            return complete(session, talk.id, text, request or TurnRequest())

    return ask


def carried(context, leases, run):
    return carry_out(context, leases, run.id, worker="here")


def responses(context):
    return [
        row["meta"]["activity"]["function"]["result"]
        for row in rows(context, "SELECT meta FROM messages WHERE type = 'activity' ORDER BY seq")
        if row["meta"]["activity"]["type"] == "response"
    ]


def timeline(context):
    query = "SELECT step, outcome, error_code FROM run_steps WHERE step LIKE 'call%' ORDER BY step"
    return [tuple(row.values()) for row in rows(context, query)]


def test_a_request_is_made_under_a_key_and_its_answer_is_shown_to_the_model(
    context, leases, speak, server, able, asked
):
    able("look up", server.url("/weather"))
    server.replies.append(json_reply({"sky": "blue"}))
    provider = speak(calls("look_up", place="Lisbon"), says("It is blue."))
    run = asked()
    assert carried(context, leases, run) == "succeeded"
    (request,) = server.asked
    assert request.headers["idempotency-key"] == f"{run.id}-note.1"
    assert json.loads(request.body) == {"at": "Lisbon"}
    assert provider.requests[0].tools[0].name == "look_up"
    assert responses(context) == [{"status": 200, "body": {"sky": "blue"}}]
    assert "blue" in provider.requests[1].messages[-1].text
    assert timeline(context) == [("call.1", "succeeded", None)]


def test_requests_of_one_answer_are_made_side_by_side_and_written_down_in_order(
    context, leases, speak, server, able, asked
):
    able("one", server.url())
    both = threading.Barrier(2, timeout=10)

    def waits(conversation):
        both.wait()
        conversation.sock.sendall(json_reply("done"))

    server.replies += [waits, waits]
    speak([ToolCall("a", "one", {"place": "x"}), ToolCall("b", "one", {"place": "y"}), USED], says("Done."))
    assert carried(context, leases, asked()) == "succeeded"
    assert timeline(context) == [("call.1", "succeeded", None), ("call.2", "succeeded", None)]
    keys = {request.headers["idempotency-key"][-6:] for request in server.asked}
    assert keys == {"note.1", "note.2"}


def test_a_run_that_dies_after_a_request_makes_it_again_under_the_same_key_and_no_other(
    context, leases, speak, server, able, asked, monkeypatch
):
    able("one", server.url())
    speak(calls("one"), says("Done."))
    run = asked()

    def dies(*_):
        raise LeaseLost("killed here")

    with monkeypatch.context() as patched:
        patched.setattr("core.notes.StoredNotes._respond", dies)
        assert carried(context, leases, run) == "lost"
    execute(context, "UPDATE runs SET lease_until = now() - interval '1 second'")
    assert reap(context) == 1
    assert carried(context, leases, run) == "succeeded"
    assert [request.headers["idempotency-key"] for request in server.asked] == [f"{run.id}-note.1"] * 2
    assert len({request.body for request in server.asked}) == 1
    assert len(responses(context)) == 1


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (status(503), "http_503"),
        (status(302, "Location: http://169.254.169.254/"), "redirect"),
        (b"nonsense\r\n\r\n", "broken"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n" + b"x" * 2_000_000, "too_large"),
    ],
    ids=["down", "elsewhere", "nonsense", "endless"],
)
def test_what_goes_wrong_is_told_to_the_model_and_stands_in_the_timeline(
    context, leases, speak, server, able, asked, reply, code
):
    able("one", server.url())
    server.replies.append(reply)
    provider = speak(calls("one"), says("I could not."))
    assert carried(context, leases, asked()) == "succeeded"
    assert responses(context)[0]["error"]["code"] == code
    assert timeline(context) == [("call.1", "failed", code)]
    assert "127.0.0.1" not in provider.requests[1].messages[-1].text


@pytest.mark.parametrize(
    "url",
    ["https://metadata.google.internal/x", "https://nowhere.invalid/"],
)
def test_an_address_that_is_not_public_is_never_called(context, leases, speak, able, asked, url):
    able("one", url)
    speak(calls("one"), says("I could not."))
    assert carried(context, leases, asked()) == "succeeded"
    assert responses(context)[0]["error"]["code"] in {"refused", "connect"}


@pytest.mark.parametrize("arguments", [{}, {"place": 5}, {"place": None}, {"other": "x"}])
def test_arguments_that_do_not_fit_call_nobody(context, leases, speak, server, able, asked, arguments):
    able("one", server.url())
    provider = speak([ToolCall("a", "one", arguments), USED], says("I see."))
    assert carried(context, leases, asked()) == "succeeded"
    assert server.asked == []
    assert timeline(context) == [("call.1", "failed", "arguments")]
    assert "place" in provider.requests[1].messages[-1].text


def test_a_secret_is_shown_to_its_server_and_to_nobody_else(
    context, account, leases, speak, server, able, asked
):
    with context.transaction(account) as session:
        secret = create_secret(session, name="key", type="bearer", value="s3cr3t-value-of-ours")
    able("one", server.url(), secret=secret.id)
    server.replies.append(json_reply({"you sent": "Bearer s3cr3t-value-of-ours"}))
    with structlog.testing.capture_logs() as logs:
        provider = speak(calls("one"), calls("one"), says("Done."))
        assert carried(context, leases, asked()) == "succeeded"
    assert server.asked[0].headers["authorization"] == "Bearer s3cr3t-value-of-ours"
    stored = rows(context, "SELECT text, meta FROM messages")
    assert "s3cr3t" not in json.dumps(stored) + str(provider.requests) + str(logs)


def test_a_secret_that_has_gone_fails_the_call(context, account, leases, speak, server, able, asked):
    with context.transaction(account) as session:
        secret = create_secret(session, name="key", type="bearer", value="s3cr3t-value-of-ours")
    able("one", server.url(), secret=secret.id)
    with context.transaction(account) as session:
        delete_secret(session, secret.id)
    speak(calls("one"), says("I could not."))
    assert carried(context, leases, asked()) == "succeeded"
    assert server.asked == []
    assert timeline(context) == [("call.1", "failed", "secret")]


def test_an_ability_without_an_action_gives_the_model_its_instruction(context, leases, speak, able, asked):
    able("be polite", action={}, parameters=None, instruction="Say please.")
    speak([ToolCall("a", "be_polite", {}), USED], says("Please."))
    assert carried(context, leases, asked()) == "succeeded"
    assert responses(context) == [{"instruction": "Say please."}]


def test_what_is_disabled_is_not_there(context, account, leases, speak, server, able, asked, skillset):
    able("one", server.url())
    with context.transaction(account) as session:
        update_skillset(session, skillset.id, state="disabled")
    provider = speak(calls("one"), says("No."))
    assert carried(context, leases, asked()) == "succeeded"
    assert provider.requests[0].tools == ()
    assert (server.asked, timeline(context)) == ([], [("call.1", "failed", "unknown_function")])


def test_a_callers_function_goes_before_an_ability_of_its_name(context, leases, speak, server, able, asked):
    able("one", server.url())
    provider = speak(calls("one"), calls("one_2"), says("Done."))
    request = TurnRequest(functions=(Function("one", "Mine.", PLACE, {"data": "mine"}),))
    assert carried(context, leases, asked(request=request)) == "succeeded"
    assert [tool.name for tool in provider.requests[0].tools] == ["one", "one_2"]
    assert responses(context)[0] == "mine"
    assert len(server.asked) == 1


def test_a_long_answer_is_cut_to_what_can_be_shown(context, leases, speak, server, able, asked):
    able("one", server.url())
    server.replies.append(json_reply(["x" * 100] * 3000))
    provider = speak(calls("one"), says("Long."))
    assert carried(context, leases, asked()) == "succeeded"
    assert responses(context)[0]["truncated"] is True
    assert len(provider.requests[1].messages[-1].text) < context.settings.history_tokens * 2


def test_under_privacy_what_declares_it_leaves_with_its_values_and_what_comes_back_is_redacted(
    context, account, leases, speak, server, able, asked
):
    schema = {
        "type": "object",
        "properties": {"to": {"type": "string", "x-restore": True}, "note": {"type": "string"}},
    }
    action = {
        "type": "request",
        "method": "POST",
        "url": server.url(),
        "body": {"to": "{to}", "note": "{note}"},
    }
    able("write", parameters=schema, action=action)
    server.replies.append(json_reply({"copy": "grace@leak.example.com"}))

    shown = []

    def echo(request, _):
        shown.append(request)
        token = request.messages[0].text.split()[-1]
        if len(shown) == 1:
            yield from [ToolCall("a", "write", {"to": token, "note": token}), USED]
        else:
            yield from says("Sent.")

    speak().stream = echo
    assert carried(context, leases, asked("Write to ada@leak.example.com", privacy=True)) == "succeeded"
    sent = json.loads(server.asked[0].body)
    assert sent["to"] == "ada@leak.example.com"
    assert sent["note"].startswith("[email:")
    stored = json.dumps(rows(context, "SELECT text, meta FROM messages"))
    assert "leak.example.com" not in stored
    assert "leak.example.com" not in str([m.text for r in shown for m in r.messages])


def test_a_tasks_run_that_only_calls_is_no_success(
    context, account, leases, speak, server, able, skillset, monkeypatch
):
    from core.firing import fire

    monkeypatch.setattr("core.agent.ITERATIONS", 3)
    able("one", server.url())
    a_due_task(context, account, bot_id=a_bot(context, account, skillset_id=skillset.id).id)
    fire(context)
    provider = speak(*[calls("one", place=str(n)) for n in range(5)])
    run = one(context, "SELECT id FROM runs")
    with pytest.raises(RunFailed, match="limit"):
        carry_out(context, leases, run, worker="here")
    assert len(provider.requests) == 3
    assert the_run(context, run)["error_code"] == "iteration"


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ({"type": "shell"}, None),
        ({"url": "https://example.com"}, None),
        ("request", None),
        ({"type": "request", "method": "GET", "url": "file:///etc/passwd"}, None),
        ({"type": "request", "method": "GET", "url": "https://10.0.0.1/x"}, None),
        ({"type": "request", "method": "GET", "url": "https://[::1]/x"}, None),
        ({"type": "request", "method": "GET", "url": "https://example.com/{nowhere}"}, PLACE),
        ({"type": "search", "datasetId": 5}, None),
        (None, {"type": "array"}),
        (None, {"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}}),
        (None, {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=a)"}}}),
        (None, {"type": "object", "properties": {"a": {"type": "nonsense"}}}),
    ],
)
def test_an_action_that_cannot_be_is_refused_at_the_door(
    client, context, account, skillset, action, parameters
):
    body = {"name": "x", "action": action, "parameters": parameters}
    answer = client.post(f"{API}/skillset/{skillset.id}/ability/create", json=body)
    assert answer.status_code in {400, 404}
    bot = a_bot(context, account)
    talk = a_conversation(context, account, bot_id=bot.id)
    inline = {
        "text": "Hi",
        "extensions": {
            "skillsets": [{"abilities": [{"name": "x", "action": action, "parameters": parameters}]}]
        },
    }
    assert client.post(f"{API}/conversation/{talk.id}/complete", json=inline).status_code in {400, 404}
    assert one(context, "SELECT count(*) FROM messages") == 0


def test_abilities_that_come_along_are_carried_out(client, context, account, speak, server, working):
    action = {"type": "request", "method": "GET", "url": server.url("/{place}")}
    ability = {
        "name": "look",
        "description": "Looks.",
        "instruction": "",
        "parameters": PLACE,
        "action": action,
    }
    body = {"text": "Hi", "extensions": {"skillsets": [{"name": "s", "abilities": [ability]}]}}
    talk = a_conversation(context, account, bot_id=a_bot(context, account).id)
    speak(calls("look", place="a b"), says("Done."))
    answer = client.post(f"{API}/conversation/{talk.id}/complete", json=body)
    assert (answer.status_code, answer.json()["text"]) == (200, "Done.")
    assert server.asked[0].line.startswith("GET /a%20b ")
    speak(calls("look", place="c"), says("Done."))
    stateless = {**body, "messages": [{"type": "user", "text": "Hi"}], "backstory": "You look."}
    del stateless["text"]
    answer = client.post(f"{API}/conversation/complete", json=stateless)
    assert (answer.status_code, answer.json()["text"]) == (200, "Done.")
    assert server.asked[1].line.startswith("GET /c ")


def test_one_iteration_at_a_time_as_agent_sdks_drive_it(
    client, context, account, speak, server, able, skillset, working
):
    able("one", server.url())
    bot = a_bot(context, account, skillset_id=skillset.id)
    talk = a_conversation(context, account, bot_id=bot.id)
    speak(calls("one"), says("Done."))
    body = {"limits": {"iterations": 1}}
    first = client.post(f"{API}/conversation/{talk.id}/complete", json={**body, "text": "Go."}).json()
    assert first["end"]["reason"] == "iteration"
    second = client.post(f"{API}/conversation/{talk.id}/complete", json=body).json()
    assert (second["end"]["reason"], second["text"]) == ("stop", "Done.")


def test_another_accounts_ability_and_secret_are_out_of_reach(client, context, account, skillset):
    from tests.factories import an_account

    other = an_account(context, "Grace")
    stranger = a_client(context, a_secret(context, other))
    with context.transaction(account) as session:
        secret = create_secret(session, name="key", type="bearer", value="s3cr3t-value-of-ours")
    talk = a_conversation(context, other, bot_id=a_bot(context, other).id)
    action = {"type": "request", "method": "GET", "url": "https://example.com/"}
    ability = {"name": "x", "action": action, "secretId": str(secret.id)}
    body = {"text": "Hi", "extensions": {"skillsets": [{"abilities": [ability]}]}}
    assert stranger.post(f"{API}/conversation/{talk.id}/complete", json=body).status_code == 403
    mine = {"messages": [{"type": "user", "text": "x"}], "skillsetId": str(skillset.id)}
    assert stranger.post(f"{API}/conversation/complete", json=mine).status_code == 403


def test_a_dispatched_turn_that_is_stored_nowhere_acts_once(
    context, account, leases, speak, server, skillset, able
):
    able("one", server.url())
    speak(calls("one"), [ModelUnavailable("http_503")], says("never"))
    request = TurnRequest(
        messages=({"type": "user", "text": "Hi"},), backstory="You act.", skillset_id=str(skillset.id)
    )
    with context.transaction(account) as session:
        run, _ = dispatch(session, None, None, request)
    with pytest.raises(RunFailed, match="provider_error"):
        carried(context, leases, run)
    assert len(server.asked) == 1


def test_a_dispatched_turn_that_died_after_it_acted_is_not_tried_again(
    context, account, leases, speak, server, skillset, able, monkeypatch
):
    able("one", server.url())
    speak(calls("one"), says("never"))
    request = TurnRequest(
        messages=({"type": "user", "text": "Hi"},), backstory="You act.", skillset_id=str(skillset.id)
    )
    with context.transaction(account) as session:
        run, _ = dispatch(session, None, None, request)

    def dies(*_):
        raise LeaseLost("killed here")

    with monkeypatch.context() as patched:
        patched.setattr("core.notes.MemoryNotes.respond", dies)
        assert carried(context, leases, run) == "lost"
    execute(context, "UPDATE runs SET lease_until = now() - interval '1 second'")
    reap(context)
    with pytest.raises(RunFailed, match="internal_error"):
        carried(context, leases, run)
    assert len(server.asked) == 1


def test_an_ability_can_be_tried_on_its_own(client, server, able, skillset, speak):
    ability = able("look up", server.url())
    place = f"{API}/skillset/{skillset.id}/ability/{ability.id}/execute"
    server.replies += [json_reply({"sky": "blue"})] * 2
    for said in ('{"place": "Lisbon"}', "Lisbon"):
        answer = client.post(place, json={"input": said})
        assert answer.status_code == 200
        assert answer.json()["result"] == {"status": 200, "body": {"sky": "blue"}}
    assert [json.loads(request.body) for request in server.asked] == [{"at": "Lisbon"}] * 2
    assert len({request.headers["idempotency-key"] for request in server.asked}) == 2
    wrong = client.post(place, json={"input": '{"place": 5}'}).json()
    assert "place" in wrong["error"]
    assert "result" not in wrong


def test_a_model_makes_arguments_of_what_is_said_where_that_takes_one(client, server, able, skillset, speak):
    schema = {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}}
    ability = able("look up", server.url(), parameters=schema)
    place = f"{API}/skillset/{skillset.id}/ability/{ability.id}/execute"
    provider = speak(calls("look_up", place="Lisbon"), says("I will not."))
    events = client.post(place, json={"input": "In Lisbon"}, headers={"accept": "application/jsonl"})
    told = [json.loads(line) for line in events.text.splitlines()]
    assert [event["type"] for event in told][-1] == "result"
    assert told[-1]["data"]["usage"] == {"token": 14}
    assert provider.requests[0].forced == "look_up"
    refused = client.post(place, json={"input": "In Lisbon"})
    assert refused.status_code == 422


def test_a_call_that_a_caller_has_written_is_carried_out_by_nobody(
    client, context, account, leases, speak, server, skillset, able
):
    able("one", server.url())
    bot = a_bot(context, account, skillset_id=skillset.id)
    talk = a_conversation(context, account, bot_id=bot.id)
    opened = client.post(f"{API}/conversation/{talk.id}/session/create", json={})
    session_token = {"authorization": f"Bearer {opened.json()['token']}"}
    meta = {"activity": {"type": "request", "function": {"name": "one", "arguments": {"place": "x"}}}}
    said = {"type": "activity", "text": "one()", "meta": meta}
    place = f"{API}/conversation/{talk.id}/message/create"
    assert client.post(place, json=said, headers=session_token).status_code == 200
    speak(says("Done."))
    with context.transaction(account) as session:
        run = receive(session, talk.id)
    assert carried(context, leases, run) == "succeeded"
    assert server.asked == []
    assert responses(context) == []


def test_a_call_keeps_its_number_for_itself_when_its_message_is_deleted(
    context, account, leases, speak, server, able, asked
):
    able("one", server.url())
    server.replies += [json_reply("first"), json_reply("second"), json_reply("third")]
    run = asked()
    conversation = one(context, "SELECT conversation_id FROM messages")
    provider = speak()
    rounds = [calls("one", place="x"), calls("one", place="y"), calls("one", place="z"), says("Done.")]

    def deleting(request, _):
        answer = rounds.pop(0)
        if len(rounds) == 1:
            query = "SELECT id FROM messages WHERE step IN ('note.1', 'note.2') ORDER BY seq"
            for row in rows(context, query) if forgets else ():
                with context.transaction(account) as session:
                    delete_message(session, conversation, row["id"])
        yield from answer

    forgets = True
    provider.stream = deleting
    assert carried(context, leases, run) == "discarded"
    rounds[:] = [calls("one", place="z"), says("Done.")]
    forgets = False
    assert carried(context, leases, run) == "succeeded"
    assert [json.loads(request.body)["at"] for request in server.asked] == ["x", "y", "z"]
    assert len({request.headers["idempotency-key"] for request in server.asked}) == 3
    assert responses(context)[-1]["body"] == "third"


def test_a_call_that_outlasts_its_turn_ends_it_as_what_it_is(
    context, leases, speak, server, able, asked, monkeypatch
):
    able("one", server.url())
    speak(calls("one"))
    keep = StoredNotes.keep

    def passed(_):
        raise ModelTimeout("deadline")

    def late(notes, entries, answer):
        monkeypatch.setattr(Deadline, "check", passed)
        return keep(notes, entries, answer)

    monkeypatch.setattr(StoredNotes, "keep", late)
    with pytest.raises(RunFailed, match="timeout"):
        carried(context, leases, asked())
    assert server.asked == []


def test_calls_of_earlier_attempts_count_as_well(context, leases, speak, server, able, asked):
    able("one", server.url())
    server.replies += [json_reply("first"), json_reply("second"), json_reply("third")]
    away = [ModelUnavailable("http_503")]
    speak(calls("one", place="x"), away, calls("one", place="y"), calls("one", place="z"))
    run = asked(request=TurnRequest(calls=2))
    assert carried(context, leases, run) == "retried"
    execute(context, "UPDATE runs SET run_at = now()")
    with pytest.raises(RunFailed, match="limit"):
        carried(context, leases, run)
    assert len(server.asked) == 2


def test_a_dispatched_turn_that_acted_and_was_cut_says_how_it_ended(
    client, context, account, leases, speak, server, skillset, able
):
    able("one", server.url())
    server.replies.append(json_reply("done"))
    speak(calls("one"), [TextDelta("Half a"), Finished(FinishReason.length, 3, 2)])
    request = TurnRequest(
        messages=({"type": "user", "text": "Hi"},), backstory="You act.", skillset_id=str(skillset.id)
    )
    with context.transaction(account) as session:
        run, channel = dispatch(session, None, None, request)
    with pytest.raises(RunFailed, match="truncated"):
        carried(context, leases, run)
    place = f"{API}/channel/{channel}/subscribe"
    told = client.post(place, json={"historyLength": 100}, headers={"accept": "application/json"})
    assert told.json()["items"][-1]["data"]["data"]["end"] == {"reason": "length"}


def test_what_was_sent_with_its_value_comes_back_as_its_token(
    client, context, account, leases, speak, server, able, skillset
):
    schema = {"type": "object", "properties": {"to": {"type": "string", "x-restore": True}}}
    action = {"type": "request", "method": "POST", "url": server.url(), "body": {"to": "{to}"}}
    able("write", parameters=schema, action=action)
    server.replies.append(json_reply({"copy": "Dear Zorblax, thank you"}))
    bot = a_bot(context, account, skillset_id=skillset.id)
    talk = a_conversation(context, account, bot_id=bot.id, privacy=True)
    said = {"text": "Write to Zorblax", "entities": [{"type": "person", "begin": 9, "end": 16}]}
    shown = []

    def echo(request, _):
        shown.append(request)
        token = request.messages[0].text.split()[-1]
        if len(shown) == 1:
            yield from [ToolCall("a", "write", {"to": token}), USED]
        else:
            yield from says("Sent.")

    speak().stream = echo
    sent = client.post(f"{API}/conversation/{talk.id}/send", json=said)
    assert sent.status_code == 200, sent.text
    with context.transaction(account) as session:
        run = receive(session, talk.id)
    assert carried(context, leases, run) == "succeeded"
    assert json.loads(server.asked[0].body)["to"] == "Zorblax"
    assert "Zorblax" not in json.dumps(rows(context, "SELECT text, meta FROM messages"))
    assert "Zorblax" not in str([m.text for r in shown for m in r.messages])


def test_more_abilities_than_a_turn_can_use_do_not_come_along(client, context, account):
    talk = a_conversation(context, account, bot_id=a_bot(context, account).id)
    many = [{"abilities": [{"name": "one"}] * 100}] * 2
    long = {"type": "object", "properties": {"a": {"type": "string", "description": "x" * 60_000}}}
    large = [{"abilities": [{"name": "one", "parameters": long}] * 5}]
    for skillsets in (many, large):
        body = {"text": "Hi", "extensions": {"skillsets": skillsets}}
        assert client.post(f"{API}/conversation/{talk.id}/complete", json=body).status_code == 400


def test_a_turn_that_cannot_be_read_fails_instead_of_being_claimed_without_an_end(
    context, leases, speak, asked, monkeypatch
):
    def fails(*_, **__):
        raise PrivacyFailed("The text could not be looked at.")

    speak(says("never"))
    run = asked()
    monkeypatch.setattr("core.loading.equipped", fails)
    with pytest.raises(RunFailed, match="internal_error"):
        carried(context, leases, run)
    assert the_run(context, run.id)["error_code"] == "privacy"


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({"type": "array", "items": {"anyOf": [{"type": "null"}] * 3000}}, [1] * 30_000),
        ({"type": "array", "uniqueItems": True}, [{"a": n} for n in range(8000)]),
        ({"type": "array", "items": {"enum": [f"x{n}" for n in range(5000)]}}, ["y"] * 15_000),
    ],
)
def test_arguments_that_take_for_ever_to_be_looked_at_are_refused(schema, arguments):
    checked = checked_schema({"type": "object", "properties": {"a": schema}})
    with pytest.raises(SkillFailed, match="too many"):
        check_arguments(checked, {"a": arguments})


def test_a_model_that_makes_arguments_is_shown_tokens_where_the_account_has_privacy(
    client, context, account, server, able, skillset, speak
):
    schema = {
        "type": "object",
        "properties": {"place": {"type": "string", "x-restore": True}, "days": {"type": "integer"}},
    }
    ability = able("look up", server.url(), parameters=schema)
    server.replies.append(json_reply({"seen": "ada@leak.example.com"}))
    with context.transaction(account) as session:
        set_policy(session, owner_of(session), {"preset": "tokenise"})
    shown = []

    def echo(request, _):
        shown.append(request)
        yield from [ToolCall("a", "look_up", {"place": request.messages[0].text.split()[-1]}), USED]

    speak().stream = echo
    place = f"{API}/skillset/{skillset.id}/ability/{ability.id}/execute"
    answer = client.post(place, json={"input": "Look for ada@leak.example.com"})
    assert json.loads(server.asked[0].body) == {"at": "ada@leak.example.com"}
    assert answer.json()["result"]["body"] == {"seen": "ada@leak.example.com"}
    assert "leak.example" not in str([m.text for r in shown for m in r.messages])


def test_under_privacy_a_long_answer_is_redacted_before_it_is_cut(
    context, leases, speak, server, able, asked
):
    able("one", server.url())
    most = context.settings.history_tokens  # bytes: a quarter of the window at four bytes a token
    # The address stands across the place where it is cut.
    server.replies.append(
        json_reply("x " * ((most - 60) // 2) + "canary.of.many.letters@leak.example.com" + " x" * 5000)
    )
    speak(calls("one"), says("Long."))
    assert carried(context, leases, asked(privacy=True)) == "succeeded"
    (result,) = responses(context)
    assert result["truncated"] is True
    assert "canary.of" not in json.dumps(result)


def test_what_abilities_say_of_themselves_counts(context, leases, speak, server, able, asked):
    long = {"type": "object", "properties": {"place": {"type": "string", "description": "x" * 60_000}}}
    able("one", server.url(), parameters=long)
    provider = speak(says("never"))
    with pytest.raises(RunFailed, match="context_too_long"):
        carried(context, leases, asked())
    assert provider.requests == []
