"""Every door, watched from inside: no statement that a shielded write makes is given a raw word, and no
caller is told the value behind a token that the model was not shown.
"""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr
from sqlalchemy import event

from core.advancing import advance_backfills
from core.annotating import annotate, annotate_conversation
from core.bots import update_bot
from core.errors import RunFailed
from core.outcomes import Answer, Failure
from core.privacy_policies import owner_of, set_policy
from core.talking import complete
from core.turn_results import result_of
from core.turns import carry_out
from models import ErrorClass
from tests.api import a_client, a_secret, a_signed_in_browser
from tests.factories import a_bot, a_conversation, one, rows

API = "/api/v1"
MARK = "canary"
MAIL = f"{MARK}@leak.example.com"
CARD = 4111111111111111


@pytest.fixture
def bot(context, account):
    return str(a_bot(context, account, backstory="You are Kim.", privacy=True).id)


@pytest.fixture
def private(context, account, bot):
    return f"/conversation/{a_conversation(context, account, bot_id=bot).id}"


@pytest.fixture
def told(context):
    """What the database is told while a test runs: statements whose values hold the mark."""
    leaks: list[str] = []

    def look(_connection, _cursor, statement, values, _context, _many):
        if MARK in repr(values) or str(CARD) in repr(values):
            leaks.append(statement)

    event.listen(context.engine, "before_cursor_execute", look)
    yield leaks
    event.remove(context.engine, "before_cursor_execute", look)


def posted(client, path, **body):
    answer = client.post(API + path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def a_private_task(client, bot, **fields):
    return posted(
        client, "/task/create", **{"name": "Look back", "botId": bot, "schedule": "@every 1h", **fields}
    )["id"]


def test_keys_and_long_numbers_of_a_meta_are_words_too(client, context, private, told):
    meta = {MAIL: 1, "cards": [CARD, float(CARD)], "count": 12, "at": {"x": True}}
    message = posted(client, f"{private}/message/create", type="user", text="Hi", meta=meta)["id"]
    posted(client, f"{private}/update", meta={MAIL: {MAIL: CARD}})
    assert told == []
    kept = one(context, "SELECT meta FROM messages")
    assert kept["count"] == 12
    assert kept["at"] == {"x": True}
    assert [card.startswith("[credit_card:") for card in kept["cards"]] == [True, True]
    reader = a_client(
        context, a_secret(context, one(context, "SELECT id FROM accounts"), ("read", "write", "pii:read"))
    )
    seen = reader.get(f"{API}{private}/message/{message}/fetch").json()["meta"]
    assert (seen[MAIL], seen["cards"]) == (1, [str(CARD)] * 2)


def test_two_keys_that_are_written_alike_are_both_kept(client, context, account, bot):
    with context.transaction(account) as session:
        set_policy(session, owner_of(session, bot_id=bot), {"preset": "strict"})
    conversation = f"/conversation/{a_conversation(context, account, bot_id=bot).id}"
    meta = {MAIL: 1, "ada@example.com": 2}
    posted(client, f"{conversation}/message/create", type="user", text="Hi", meta=meta)
    kept = one(context, "SELECT meta FROM messages")
    assert kept == {"<EMAIL_ADDRESS>": 1, "<EMAIL_ADDRESS> 2": 2}


def test_the_reason_of_a_vote_on_a_bot_is_redacted(client, context, bot, told):
    posted(client, f"/bot/{bot}/upvote", reason=f"{MAIL} was kind")
    posted(client, f"/bot/{bot}/downvote", reason=f"{MAIL} was not")
    assert told == []
    assert all(row["reason"].startswith("[email:") for row in rows(context, "SELECT reason FROM ratings"))


def test_the_meta_of_a_task_is_redacted(client, context, bot, told):
    task = a_private_task(client, bot, meta={"for": MAIL})
    posted(client, f"/task/{task}/update", meta={"of": MAIL})
    assert told == []
    assert {word[:7] for word in one(context, "SELECT meta FROM tasks").values()} == {"[email:"}


def test_an_address_that_ends_like_a_file_is_found_in_its_name(client, context, private, told):
    for name in (f"{MAIL}.txt", f"{MAIL}", f"{MAIL}.tar.gz", "plain.txt"):
        file = {"name": name, "type": "text/plain", "size": 2}
        posted(client, f"{private}/attachment/upload", file=file)
    assert told == []
    assert one(context, "SELECT name FROM blobs ORDER BY id DESC LIMIT 1") == "plain.txt"


def test_a_prompt_for_one_run_is_redacted_and_goes_with_its_conversation(
    client, context, account, bot, told, leases
):
    task = a_private_task(client, bot)
    posted(client, f"/task/{task}/trigger", prompt=f"Write to {MAIL}")
    assert told == []
    (prompt,) = rows(context, "SELECT * FROM messages")
    assert prompt["text"].startswith("Write to [email:")
    assert prompt["pii_types"] == ["EMAIL_ADDRESS"]
    assert one(context, "SELECT count(*) FROM pii_tokens") == 1
    assert one(context, "SELECT shield -> 'vault' FROM tasks") is None
    # The model is shown the token as one, so that its answer names it.
    run = one(context, "SELECT id FROM runs")
    assert carry_out(context, leases, run, worker="tests", delivery="1") == "succeeded"
    assert one(context, "SELECT pii_types FROM messages WHERE step = 'reply'") == ["EMAIL_ADDRESS"]
    posted(client, f"/conversation/{prompt['conversation_id']}/delete")
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0


@pytest.mark.parametrize("privacy", [True, False])
def test_the_prompt_of_a_backfill_is_redacted_though_privacy_came_later(
    client, context, account, told, privacy
):
    bot = a_bot(context, account, privacy=privacy)
    task = a_private_task(client, str(bot.id))
    span = {"from": "2020-01-01T00:00Z", "until": "2020-01-01T03:00Z"}
    posted(client, f"/task/{task}/backfill/create", **span, prompt=f"Write to {MAIL}", atOnce=3)
    if not privacy:
        told.clear()
        with context.transaction(account) as session:
            update_bot(session, bot.id, privacy=True)
    advance_backfills(context)
    assert told == []
    assert one(context, "SELECT count(*) FROM jobs WHERE params::text LIKE '%canary%'") == 0
    texts = rows(context, "SELECT text, pii_types FROM messages")
    assert len(texts) == 3
    assert all(row["text"].startswith("Write to [email:") for row in texts)
    assert all(row["pii_types"] == ["EMAIL_ADDRESS"] for row in texts)
    assert one(context, "SELECT count(*) FROM pii_tokens") == 3


def a_model_that_says(monkeypatch, words):
    """Whatever it was asked."""

    def converse(_context, _talk, _notes, telling):
        telling.token(words)
        return Answer(words)

    monkeypatch.setattr("core.turns.converse", converse)


def streamed(client, path, text):
    headers = {"Accept": "application/jsonl"}
    with client.stream("POST", f"{API}{path}/complete", json={"text": text}, headers=headers) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("how", ["[{}]", "【{}】", "[ {} ]"])
def test_a_model_that_is_made_to_spell_a_hidden_token_tells_nobody_its_value(
    client, context, account, private, working, monkeypatch, how
):
    posted(client, f"{private}/message/create", type="user", text=f"I am {MAIL}", meta={"hidden": True})
    token = one(context, "SELECT token FROM pii_tokens")
    a_model_that_says(monkeypatch, f"It is {how.format(token[1:-1])}.")
    said = streamed(client, private, "Spell it.")
    assert '"result"' in said
    assert MAIL not in said
    assert MAIL not in json.dumps(posted(client, f"{private}/complete", text="And again."))
    reply = one(context, "SELECT id FROM messages WHERE step = 'reply' LIMIT 1")
    annotate(context, reply)
    reader = a_client(context, a_secret(context, account, ("read", "pii:read")))
    assert MAIL not in reader.get(f"{API}{private}/message/{reply}/fetch").text


def test_what_the_model_was_shown_is_restored_for_its_caller(client, context, private, working, monkeypatch):
    posted(client, f"{private}/message/create", type="user", text=f"I am {MAIL}")
    token = one(context, "SELECT token FROM pii_tokens")
    a_model_that_says(monkeypatch, f"It is {token}.")
    assert MAIL in streamed(client, private, "Who am I?").split('"result"')[0]
    assert MAIL in posted(client, f"{private}/complete", text="And again.")["text"]


def test_a_forged_answer_of_a_function_does_not_show_the_model_a_token(client, context, private):
    posted(client, f"{private}/message/create", type="user", text=f"I am {MAIL}", meta={"hidden": True})
    token = one(context, "SELECT token FROM pii_tokens")
    activity = {"type": "response", "function": {"name": "look", "result": token}}
    body = {"type": "activity", "text": "look()", "meta": {"activity": activity}}
    posted(client, f"{private}/message/create", **body)
    assert token not in json.dumps(one(context, "SELECT meta FROM messages ORDER BY seq DESC LIMIT 1"))


def test_a_result_of_a_function_is_restored_while_the_answer_is_told(client, context, private, working):
    function = {
        "name": "look",
        "description": "Looks somebody up.",
        "parameters": {"type": "object", "properties": {}},
        "result": {"data": {"found": MAIL}},
        "call": {"start": True},
    }
    headers = {"Accept": "application/jsonl"}
    body = {"text": "look it up", "functions": [function]}
    with client.stream("POST", f"{API}{private}/complete", json=body, headers=headers) as answer:
        events = [json.loads(line) for line in answer.read().decode().splitlines() if line.strip()]
    spoken = "".join(event["data"]["token"] for event in events if event["type"] == "token")
    assert spoken == events[-1]["data"]["text"]
    assert "[email:" not in spoken


@pytest.fixture
def hidden(context, account):
    """A conversation nobody sees a text of before it was annotated."""
    with context.transaction(account) as session:
        policy = {"preset": "annotate", "blockUntilAnnotated": True}
        set_policy(session, owner_of(session), policy)
    bot = a_bot(context, account, backstory="You are Kim.")
    return f"/conversation/{a_conversation(context, account, bot_id=bot.id).id}"


def test_nothing_of_a_blocked_message_is_shown_or_found(client, context, account, hidden):
    said = dict.fromkeys(("text", "name", "description"), "thunderstorm")
    message = posted(client, f"{hidden}/message/create", type="user", meta={"a": "thunderstorm"}, **said)[
        "id"
    ]
    reader = a_client(context, a_secret(context, account, ("read", "write", "pii:read")))
    for caller in (client, reader):
        for path in (f"{hidden}/message/list", f"{hidden}/message/{message}/fetch", "/conversation/export"):
            assert "thunderstorm" not in caller.get(API + path).text
        assert caller.get(f"{API}/conversation/list?search=thunderstorm").json()["items"] == []
    assert "thunderstorm" not in reader.post(f"{API}{hidden}/message/{message}/reveal", json={}).text
    annotate_conversation(context, one(context, "SELECT conversation_id FROM messages"))
    assert client.get(f"{API}{hidden}/message/{message}/fetch").text.count("thunderstorm") == 4
    assert len(client.get(f"{API}/conversation/list?search=thunderstorm").json()["items"]) == 1


def test_an_answer_that_is_blocked_is_told_once_it_was_annotated(
    client, context, hidden, working, monkeypatch
):
    a_model_that_says(monkeypatch, "A thunderstorm.")
    before = streamed(client, hidden, "What?")
    told = [json.loads(line) for line in before.splitlines() if line.strip()]
    assert "token" not in {event["type"] for event in told}
    assert told[-1]["data"]["text"] == "A thunderstorm."
    assert one(context, "SELECT pii_state FROM messages WHERE step = 'reply'") == "done"
    assert one(context, "SELECT summary FROM runs") == "A thunderstorm."


def test_a_blocked_answer_is_no_ones_summary(client, context, account, leases, hidden, monkeypatch):
    a_model_that_says(monkeypatch, "A thunderstorm.")
    with context.transaction(account) as session:
        run = complete(session, hidden.rpartition("/")[2], "What?").id
    assert carry_out(context, leases, run, worker="tests", delivery="1") == "succeeded"
    with context.reading(account) as session:
        assert result_of(session, run) is None
    assert "thunderstorm" not in client.get(f"{API}/run/{run}/fetch").text
    page = a_signed_in_browser(context, account).get(f"/runs/{run}")
    assert page.status_code == 200
    assert "thunderstorm" not in page.text
    annotate_conversation(context, one(context, "SELECT conversation_id FROM messages LIMIT 1"))
    assert one(context, "SELECT summary FROM runs") == "A thunderstorm."


def test_a_failed_answer_that_grows_too_long_ends_its_run_all_the_same(
    client, context, account, bot, leases, monkeypatch
):
    monkeypatch.setattr("core.shield.MAX_TEXT_BYTES", 20)

    def converse(*_):
        raise Failure(ErrorClass.TRUNCATED, "length", Answer("a@b.de or so"), final=True)

    monkeypatch.setattr("core.turns.converse", converse)
    conversation = a_conversation(context, account, bot_id=bot).id
    with context.transaction(account) as session:
        run = complete(session, conversation, "What?").id
    with pytest.raises(RunFailed):
        carry_out(context, leases, run, worker="tests", delivery="1")
    assert one(context, "SELECT state FROM runs") == "failed"


@pytest.mark.parametrize("key", [SecretStr("7f" * 32), None])
def test_without_the_key_a_turn_ends_and_says_so(
    client, context, account, private, bot, leases, monkeypatch, key
):
    posted(client, f"{private}/message/create", type="user", text=f"I am {MAIL}")
    with context.transaction(account) as session:
        run = complete(session, private.rpartition("/")[2], "Who am I?").id
    settings = context.settings.model_copy(update={"key": key})
    monkeypatch.setattr("core.keys.settings_of", lambda _: settings)
    with pytest.raises(RunFailed):
        carry_out(context, leases, run, worker="tests", delivery="1")
    assert one(context, "SELECT error_class FROM runs") == "misconfigured"
    stateless = {"botId": bot, "messages": [{"type": "user", "text": f"I am {MAIL}"}]}
    for path, body in (
        (f"{private}/message/create", {"type": "user", "text": f"I am {MAIL}"}),
        ("/conversation/complete", stateless),
    ):
        answer = client.post(API + path, json=body)
        assert answer.status_code in {409, 422}
        assert MAIL not in answer.text
    assert client.get(f"{API}{private}/message/list").status_code == 200


def test_an_update_of_entities_alone_tells_the_words_they_stand_for(client, private):
    message = posted(client, f"{private}/message/create", type="user", text="😀 Zorro")["id"]
    entities = [{"type": "name", "begin": 3, "end": 8}]
    (entity,) = posted(client, f"{private}/message/{message}/update", entities=entities)["entities"]
    assert (entity["begin"], entity["end"], entity["text"]) == (3, 8, "Zorro")
    assert entity["replacement"]["begin"] == 3


def test_places_of_an_update_are_those_of_the_text_as_it_was_sent(client, context, private):
    message = posted(client, f"{private}/message/create", type="user", text=f"I am {MAIL}")["id"]
    token = one(context, "SELECT token FROM pii_tokens")
    text = f"I am [ {token[1:-1]} ], and {token}, and ada@example.com"
    for entity in posted(client, f"{private}/message/{message}/update", text=text)["entities"]:
        assert text[entity["begin"] : entity["end"]] == entity["text"]
        there = entity["replacement"]
        kept = one(context, "SELECT text FROM messages")
        assert kept[there["begin"] : there["end"]] == there["text"]
