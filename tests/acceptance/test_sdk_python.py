"""The official Python SDK, unmodified, against the real processes: every method of the core resources."""

from __future__ import annotations

import asyncio
import base64
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from chatbotkit import types

from core.quotas import set_limits
from models import Account
from tests.acceptance.sdk import a_conversation, a_kit, driven, refused, streamed, until
from tests.api import a_secret, an_expired_secret
from tests.factories import an_account

pytestmark = pytest.mark.acceptance

NOWHERE = "00000000-0000-7000-8000-000000000000"


def near_now(milliseconds: float) -> bool:
    return abs(time.time() * 1000 - milliseconds) < 120_000


@driven
async def test_bots(kit, service):
    bot = await kit.bot.create(
        {"name": "Bo", "backstory": "You are Bo.", "model": "offline", "meta": {"kind": "x"}, "privacy": True}
    )
    found = await kit.bot.fetch(bot.id)
    assert (found.id, found.name, found.backstory, found.model) == (bot.id, "Bo", "You are Bo.", "offline")
    assert found.meta == {"kind": "x"}
    assert (found.privacy, found.moderation, found.visibility.value) == (True, False, "private")
    assert near_now(found.created_at)
    assert found.updated_at >= found.created_at
    change = {"name": None, "alias": "bo", "meta": {"more": 1}, "visibility": "protected"}
    assert (await kit.bot.update(bot.id, change)).id == bot.id
    found = await kit.bot.fetch(bot.id)
    assert (found.name, found.alias, found.backstory) == (None, "bo", "You are Bo.")
    assert found.meta == {"kind": "x", "more": 1}
    assert [item.id for item in (await kit.bot.list({"meta": {"kind": "x"}})).items] == [bot.id]
    assert [item.data.id for item in await streamed(kit.bot.list({"meta": {"kind": "x"}}))] == [bot.id]
    assert (await kit.bot.upvote(bot.id, {})).id == bot.id
    assert (await kit.bot.downvote(bot.id, {"value": -5, "reason": "Slow."})).id == bot.id
    assert (await kit.bot.delete(bot.id)).id == bot.id
    await refused(kit.bot.fetch(bot.id), 404, "NOT_FOUND")


@driven
async def test_memories(kit, service):
    bot, contact = (await kit.bot.create({"name": "B"})).id, (await kit.contact.create({"name": "C"})).id
    memory = (await kit.memory.create({"text": "Prefers tea.", "botId": bot, "contactId": contact})).id
    found = await kit.memory.fetch(memory)
    assert (found.text, found.bot_id, found.contact_id) == ("Prefers tea.", bot, contact)
    assert (await kit.memory.update(memory, {"text": "Prefers green tea.", "name": "Tea"})).id == memory
    asked = {"search": "What tea?", "botId": bot, "contactId": contact}
    assert [(item.id, item.text) for item in (await kit.memory.search(asked)).items] == [
        (memory, "Prefers green tea.")
    ]
    for pages in (kit.memory.list, kit.memory.export):
        assert memory in [item.id for item in (await pages()).items]
        assert memory in [item.data.id for item in await streamed(pages())]
    assert (await kit.memory.delete(memory)).id == memory


@driven
async def test_contacts_and_what_belongs_to_them(kit, service):
    contact = await kit.contact.create(
        {"name": "Grace", "email": "grace@example.com", "phone": "(415) 555-2671", "meta": {"a": 1}}
    )
    found = await kit.contact.fetch(contact.id)
    assert (found.name, found.email, found.phone) == ("Grace", "grace@example.com", "+14155552671")
    assert found.fingerprint
    assert (await kit.contact.update(contact.id, {"nick": "g", "phone": None})).id == contact.id
    found = await kit.contact.fetch(contact.id)
    assert (found.nick, found.phone, found.name) == ("g", None, "Grace")
    ensured = {(await kit.contact.ensure({"fingerprint": "print-1", "nick": "n"})).id for _ in range(2)}
    ensured.add((await kit.contact.create({"fingerprint": "print-1"})).id)
    assert len(ensured) == 1
    conversation = await a_conversation(kit, contactId=contact.id)
    task = await kit.task.create({"name": "T", "contactId": contact.id})
    lists = {kit.contact.conversation: [conversation], kit.contact.task: [task.id]}
    lists |= {kit.contact.space: [], kit.contact.secret: []}
    for client, expected in lists.items():
        page = await client.list(contact.id)
        assert [item.id for item in page.items] == expected
        assert page.cursor == (expected or [""])[-1]
        assert [item.data.id for item in await streamed(client.list(contact.id))] == expected
    assert (await kit.contact.delete(contact.id)).id == contact.id
    assert (await kit.conversation.fetch(conversation)).contact_id is None


@driven
async def test_conversations(kit, service):
    bot = await kit.bot.create({"name": "Bo", "model": "offline"})
    messages = [{"type": "user", "text": "Hello."}, {"type": "bot", "text": "Hello to you."}]
    made = await kit.conversation.create(
        types.ConversationCreateRequest.from_dict(
            {"botId": bot.id, "name": "First", "messages": messages, "meta": {"app": "sdk", "yes": True}}
        )
    )
    assert [(message.type.value, message.text) for message in made.messages] == [
        ("user", "Hello."),
        ("bot", "Hello to you."),
    ]
    found = await kit.conversation.fetch(made.id)
    assert (found.id, found.name, found.bot_id) == (made.id, "First", bot.id)
    assert near_now(found.created_at)
    for query in ({"botId": bot.id}, {"meta": {"app": "sdk", "yes": True}}):
        assert [item.id for item in (await kit.conversation.list(query)).items] == [made.id]
        assert [item.data.id for item in await streamed(kit.conversation.list(query))] == [made.id]
    nothing = await kit.conversation.list({"meta": {"app": "sdk", "yes": False}})
    assert (nothing.items, nothing.cursor) == ([], "")
    assert (await kit.conversation.update(made.id, {"name": None, "meta": {"app": "new"}})).id == made.id
    found = await kit.conversation.fetch(made.id)
    assert (found.name, found.meta) == (None, {"app": "new", "yes": True})
    assert (await kit.conversation.upvote(made.id, {})).id == made.id
    assert (await kit.conversation.downvote(made.id, {"value": -3, "reason": "No."})).id == made.id
    exported = await kit.client_fetch("/api/v1/conversation/export")
    assert made.id in {item["id"] for item in exported["items"]}
    assert (await kit.conversation.delete(made.id)).id == made.id
    await refused(kit.conversation.fetch(made.id), 404, "NOT_FOUND")
    assert (await kit.bot.fetch(bot.id)).id == bot.id


@driven
async def test_messages(kit, service):
    conversation = await a_conversation(kit)
    base = f"/api/v1/conversation/{conversation}"
    made = await kit.client_fetch(f"{base}/message/create", record={"type": "user", "text": "One."})
    assert made["entities"] == []
    batch = {"items": [{"id": "x", "type": "bot", "text": "Two."}, {"type": "context", "text": "Three."}]}
    items = (await kit.client_fetch(f"{base}/message/batch/create", record=batch))["items"]
    assert [item.get("originalId") for item in items] == ["x", None]
    one = f"{base}/message/{made['id']}"
    assert (await kit.client_fetch(f"{one}/fetch"))["text"] == "One."
    assert (await kit.client_fetch(f"{one}/update", record={"text": "1."}))["id"] == made["id"]
    for verb in ("upvote", "downvote"):
        assert (await kit.client_fetch(f"{one}/{verb}", record={}))["id"] == made["id"]
    listed = await kit.client_fetch(f"{base}/message/list")
    assert [(item["type"], item["text"]) for item in listed["items"]] == [
        ("user", "1."),
        ("bot", "Two."),
        ("context", "Three."),
    ]
    assert (await kit.client_fetch(f"{one}/delete", record={}))["id"] == made["id"]
    left = await streamed(kit.client_fetch(f"{base}/message/list"))
    assert [(line["type"], line["data"]["text"]) for line in left] == [("item", "Two."), ("item", "Three.")]


@driven
async def test_pages_follow_cursors_to_the_empty_page_and_a_stream_brings_them_all(kit, service):
    conversation = await a_conversation(kit)
    path = f"/api/v1/conversation/{conversation}/message"
    for start in (0, 100):
        items = [{"type": "user", "text": str(start + index)} for index in range(100 - start // 2)]
        await kit.client_fetch(f"{path}/batch/create", record={"items": items})
    lines = await streamed(kit.client_fetch(f"{path}/list"))
    assert [line["data"]["text"] for line in lines] == [str(index) for index in range(150)]
    bounded = await streamed(kit.client_fetch(f"{path}/list", query={"take": 120, "order": "desc"}))
    assert [line["data"]["text"] for line in bounded] == [str(index) for index in range(149, 29, -1)]

    made = [kit.contact.create({"nick": str(index), "meta": {"many": True}}) for index in range(105)]
    ids = [contact.id for contact in await asyncio.gather(*made)]
    query = {"meta": {"many": True}, "order": "asc", "take": 40}
    pages = []
    while not pages or pages[-1].items:
        pages.append(await kit.contact.list(query))
        query["cursor"] = pages[-1].cursor
    assert [len(page.items) for page in pages] == [40, 40, 25, 0]
    assert pages[-1].cursor == ""
    assert all(page.cursor == page.items[-1].id for page in pages[:-1])
    found = [item.id for page in pages for item in page.items]
    assert sorted(found) == sorted(ids)
    whole = await streamed(kit.contact.list({"meta": {"many": True}}))
    assert [item.data.id for item in whole] == found[::-1]


@driven
async def test_a_task_is_triggered_and_followed_to_its_conversation_and_messages(kit, service):
    bot = await kit.bot.create({"name": "Bo", "backstory": "You are Bo.", "model": "offline"})
    request = {"name": "Morning", "description": "Say good morning.", "botId": bot.id, "meta": {"t": "1"}}
    limits = {"sessionDuration": 0, "maxIterations": 20, "maxTime": 900_000, "maxCalls": 5}
    task = await kit.task.create(request | limits | {"schedule": "0 9 * * 1-5", "timezone": "Europe/Oslo"})
    found = await kit.task.fetch(task.id)
    assert (found.name, found.bot_id, found.schedule, found.timezone) == (
        "Morning",
        bot.id,
        "0 9 * * 1-5",
        "Europe/Oslo",
    )
    assert (found.status.value, found.outcome.value, found.last_run_at) == ("idle", "pending", None)
    assert found.next_run_at > time.time() * 1000
    assert (await kit.task.update(task.id, {"schedule": None})).id == task.id
    assert (await kit.task.fetch(task.id)).next_run_at is None
    assert [item.id for item in (await kit.task.list({"botId": bot.id, "status": "idle"})).items] == [task.id]
    assert [item.data.id for item in await streamed(kit.task.list({"meta": {"t": "1"}}))] == [task.id]
    exports = (await kit.task.export({"meta": {"t": "1"}})).items
    exports += [item.data for item in await streamed(kit.task.export({"meta": {"t": "1"}}))]
    assert [(item.id, item.name) for item in exports] == [(task.id, "Morning")] * 2

    assert (await kit.task.trigger(task.id)).id == task.id

    async def ended():
        items = (await kit.task.execution.list(task.id)).items
        return items and items[0].completed_at and items[0]

    execution = await until(ended)
    assert (execution.status.value, execution.outcome.value) == ("idle", "success")
    assert (execution.task_id, execution.name) == (task.id, "Morning")
    assert abs(datetime.now(UTC) - execution.completed_at) < timedelta(minutes=2)
    (item,) = await streamed(kit.task.execution.list(task.id, {"status": "idle"}))
    assert (item.data.id, item.data.conversation_id) == (execution.id, execution.conversation_id)
    conversation = await kit.conversation.fetch(execution.conversation_id)
    assert (conversation.task_id, conversation.bot_id) == (task.id, bot.id)
    (listed,) = (await kit.conversation.list({"taskId": task.id})).items
    assert listed.id == conversation.id
    said = await kit.client_fetch(f"/api/v1/conversation/{conversation.id}/message/list")
    assert [message["type"] for message in said["items"]] == ["user", "bot"]
    assert said["items"][1]["text"].startswith("I am Bo.")
    assert (await kit.task.fetch(task.id)).outcome.value == "success"
    await refused(kit.task.execution.cancel(task.id, execution.id), 409, "CONFLICT")
    assert (await kit.task.delete(task.id)).id == task.id
    await refused(kit.task.trigger(task.id), 404, "NOT_FOUND")


@driven
async def test_running_tasks_and_executions_are_cancelled(kit, service):
    bot = await kit.bot.create({"name": "Slow", "model": "offline/latency=50"})
    for cancel_execution in (True, False):
        task = await kit.task.create({"name": "Long", "botId": bot.id})
        await kit.task.trigger(task.id)

        async def running(task=task):
            items = (await kit.task.execution.list(task.id, {"status": "running"})).items
            return items and items[0]

        execution = await until(running)
        if cancel_execution:
            done = await kit.task.execution.cancel(task.id, execution.id)
            assert (done.id, done.task_id) == (execution.id, task.id)
        else:
            assert (await kit.task.cancel(task.id)).id == task.id

        async def canceled(task=task):
            items = (await kit.task.execution.list(task.id, {"status": "canceled"})).items
            return items and items[0]

        ended = await until(canceled)
        assert (ended.id, ended.outcome.value) == (execution.id, "failure")
        assert (await kit.task.cancel(task.id)).id == task.id


@driven
async def test_datasets_and_records(kit, service):
    dataset = await kit.dataset.create({"name": "Animals", "meta": {"kind": "zoo"}})
    assert (await kit.dataset.update(dataset.id, {"description": "All of them."})).id == dataset.id
    found = await kit.dataset.fetch(dataset.id)
    assert (found.name, found.description, found.meta) == ("Animals", "All of them.", {"kind": "zoo"})
    assert [item.id for item in (await kit.dataset.list({"meta": {"kind": "zoo"}})).items] == [dataset.id]
    assert [item.data.id for item in await streamed(kit.dataset.list({"meta": {"kind": "zoo"}}))] == [
        dataset.id
    ]
    record = await kit.dataset.record.create(dataset.id, {"text": "Cats purr.", "meta": {"legs": 4}})
    await kit.dataset.record.create(dataset.id, {"text": "Snakes hiss.", "meta": {"legs": 0}})
    assert (await kit.dataset.record.update(dataset.id, record.id, {"text": "Cats meow."})).id == record.id
    assert (await kit.dataset.record.fetch(dataset.id, record.id)).text == "Cats meow."
    newest_first = ["Snakes hiss.", "Cats meow."]
    for listed in (kit.dataset.record.list, kit.dataset.record.export):
        assert [item.text for item in (await listed(dataset.id)).items] == newest_first
        assert [item.data.text for item in await streamed(listed(dataset.id))] == newest_first
    searched = await kit.dataset.search(dataset.id, {"search": "cats", "filter": {"legs": {"$gt": 1}}})
    assert [(one.id, one.text, one.score > 0) for one in searched.records] == [
        (record.id, "Cats meow.", True)
    ]
    assert (await kit.dataset.record.delete(dataset.id, record.id)).id == record.id
    assert (await kit.dataset.delete(dataset.id)).id == dataset.id
    await refused(kit.dataset.fetch(dataset.id), 404, "NOT_FOUND")


@driven
async def test_a_file_becomes_records_that_are_found_in_other_words(kit, service):
    service.installation.start("worker", "--queues", "annotate,bulk")
    dataset = await kit.dataset.create({"name": "Manual", "searchMaxRecords": 1})
    file = await kit.file.create({"name": "manual.html"})
    page = base64.b64encode(b"<h1>Care</h1><p>Batteries are charged overnight.</p>").decode()
    upload = {"file": f"data:text/html;base64,{page}"}
    await kit.client_fetch(f"/api/v1/file/{file.id}/upload", record=upload)
    attach = f"/api/v1/dataset/{dataset.id}/file/{file.id}/attach"
    await kit.client_fetch(attach, record={"type": "source"})
    assert (await kit.file.sync(file.id)).id == file.id

    async def found():
        return (await kit.dataset.search(dataset.id, {"search": "charging a battery"})).records

    (record,) = await until(found)
    assert (record.text, record.source) == ("Care\n\nBatteries are charged overnight.", "Care")


@driven
async def test_skillsets_and_abilities(kit, service):
    skillset = await kit.skillset.create({"name": "Skills"})
    assert (await kit.skillset.update(skillset.id, {"description": "Some."})).id == skillset.id
    found = await kit.skillset.fetch(skillset.id)
    assert (found.name, found.description) == ("Skills", "Some.")
    assert skillset.id in [item.id for item in (await kit.skillset.list()).items]
    assert skillset.id in [item.data.id for item in await streamed(kit.skillset.list())]
    ability = await kit.skillset.ability.create(
        skillset.id, {"name": "greet", "description": "Greets.", "instruction": "Say hello."}
    )
    assert (await kit.skillset.ability.update(skillset.id, ability.id, {"name": "hail"})).id == ability.id
    found = await kit.skillset.ability.fetch(skillset.id, ability.id)
    assert (found.name, found.description, found.instruction) == ("hail", "Greets.", "Say hello.")
    for listed in (kit.skillset.ability.list, kit.skillset.ability.export):
        assert [item.id for item in (await listed(skillset.id)).items] == [ability.id]
        assert [item.data.id for item in await streamed(listed(skillset.id))] == [ability.id]
    assert (await kit.skillset.ability.delete(skillset.id, ability.id)).id == ability.id
    assert (await kit.skillset.delete(skillset.id)).id == skillset.id


@driven
async def test_files_models_teams_usage_and_events(kit, service):
    file = await kit.file.create({"name": "Notes", "meta": {"f": "1"}})
    assert (await kit.file.update(file.id, {"description": "Mine."})).id == file.id
    found = await kit.file.fetch(file.id)
    assert (found.name, found.description) == ("Notes", "Mine.")
    assert [item.id for item in (await kit.file.list({"meta": {"f": "1"}})).items] == [file.id]
    assert [item.data.id for item in await streamed(kit.file.list({"meta": {"f": "1"}}))] == [file.id]
    assert (await kit.file.sync(file.id)).id == file.id
    assert (await kit.file.delete(file.id)).id == file.id
    models = (await kit.platform.model.list()).items
    assert [(model.id, model.type.value, model.provider != "") for model in models] == [
        ("offline", "language", True)
    ]
    assert [item.data.id for item in await streamed(kit.platform.model.list())] == ["offline"]
    assert [team.name for team in (await kit.team.list()).items] == ["Ada"]
    before = await kit.usage.fetch()
    conversation = await a_conversation(kit)
    await kit.conversation.complete(conversation, {"text": "Hi."})
    used = await kit.usage.fetch()
    assert (used.conversations, used.messages) == (before.conversations + 1, before.messages + 2)
    assert used.tokens > before.tokens
    series = await kit.usage.series.fetch()
    assert len(series.tokens) == len(series.messages) == len(series.conversations) == 90
    assert series.tokens[-1].total == used.tokens
    newest = (await kit.event.log.list({"take": 20})).items
    assert conversation in {event.conversation_id for event in newest}
    assert "conversation.create" in {event.type for event in newest}
    assert len(await streamed(kit.event.log.list({"take": 3}))) == 3
    assert conversation in {event.conversation_id for event in (await kit.event.log.export()).items}
    assert conversation in {item.data.conversation_id for item in await streamed(kit.event.log.export())}


@driven
async def test_every_error_arrives_with_its_code_and_status(kit, service):
    conversation = await a_conversation(kit)
    bad = await refused(kit.task.create({"name": "T", "schedule": "nonsense"}), 400, "BAD_REQUEST")
    assert "nonsense" not in bad.message
    await refused(kit.conversation.send(conversation, {"text": "  "}), 400, "BAD_REQUEST")
    await refused(kit.conversation.complete(None, {"messages": "x"}), 400, "BAD_REQUEST")
    await refused(kit.conversation.fetch(NOWHERE), 404, "NOT_FOUND")
    await refused(kit.conversation.fetch("no-id-at-all"), 404, "NOT_FOUND")
    await refused(kit.portal.list(), 404, "NOT_FOUND")
    await refused(kit.client_fetch("/api/v1/bot/create"), 405, "METHOD_NOT_ALLOWED")
    await refused(kit.client_fetch("/api/v1/bot/list", record={}), 405, "METHOD_NOT_ALLOWED")
    await refused(kit.bot.create({"backstory": "x" * 2_000_000}), 413, "CONTENT_TOO_LARGE")
    with pytest.raises(httpx.ResponseNotRead):  # the SDK's own bug: no stream begins, and the reason is lost
        await streamed(kit.conversation.complete(NOWHERE, {"text": "Hi."}))

    context = service.installation.context
    for token in ("ct_wrong", None, an_expired_secret(context, service.account)):
        async with a_kit(service, token) as stranger:
            await refused(stranger.conversation.list(), 401, "NOT_AUTHENTICATED")
    async with a_kit(service, a_secret(context, service.account, ("read",))) as reader:
        assert (await reader.conversation.fetch(conversation)).id == conversation
        await refused(reader.conversation.delete(conversation), 403, "NOT_AUTHORIZED")
    other = an_account(context, "Eve")
    with context.transaction() as session:
        set_limits(session, session.get_one(Account, other), {"rate_turn": "1/m"})
    async with a_kit(service, a_secret(context, other)) as eve:
        await refused(eve.conversation.fetch(conversation), 403, "NOT_AUTHORIZED")
        await refused(eve.conversation.delete(conversation), 403, "NOT_AUTHORIZED")
        own = await a_conversation(eve)
        await eve.conversation.send(own, {"text": "One."})
        await refused(eve.conversation.send(own, {"text": "Two."}), 429, "LIMITS_REACHED")


@driven
async def test_the_options_of_the_client(kit, service):
    async with a_kit(service, timezone="Asia/Tokyo", timeout=20.0, headers={"x-more": "1"}) as tokyo:
        conversation = await a_conversation(tokyo)
        assert (await tokyo.conversation.complete(conversation, {"text": "Now?"})).end.reason.value == "stop"
        extended = tokyo.extend(secret=service.token, base_url=f"{service.origin}/")
        async with extended:
            assert (await extended.conversation.fetch(conversation)).id == conversation
