"""Annotating with the operator's own model: names that no rule finds, and what happens when it is away."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import structlog

from core import annotating
from core.annotating import annotate
from core.annotations import enqueue_annotations
from core.bots import update_bot
from core.privacy import model as models
from core.privacy.model import ModelAway, namer_of
from core.privacy_policies import owner_of, set_policy
from models import Message
from tests.factories import a_bot, a_conversation, execute, one, rows
from tests.hands import hands

API = "/api/v1/conversation"
NAME = "Grace Hopper"
SAID = f"😀 Yesterday {NAME} called from Berlin."


@pytest.fixture
def naming(context, names_model):
    """A worker's context: with the operator's model. The API needs none."""
    settings = context.settings.model_copy(update={"pii_ner": "spacy", "pii_ner_path": names_model})
    return replace(context, settings=settings)


@pytest.fixture
def private(context, account):
    bot = a_bot(context, account, backstory="You are Kim.", privacy=True)
    return str(a_conversation(context, account, bot_id=bot.id).id)


def a_policy(context, account, document, **of):
    with context.transaction(account) as session:
        set_policy(session, owner_of(session, **of), document)


def said_in(client, conversation, text=SAID):
    answer = client.post(f"{API}/{conversation}/message/create", json={"type": "user", "text": text})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def stored(context):
    return rows(context, "SELECT * FROM messages ORDER BY seq")


def again(context, message_id):
    """Asks for a message to be looked at once more."""
    with context.transaction(one(context, "SELECT account_id FROM messages")) as session:
        message = session.get_one(Message, message_id)
        enqueue_annotations(session, [message], text_rev=message.text_rev)


def lapse(context):
    """Lets every lease and every wait be over."""
    execute(
        context,
        "UPDATE annotations SET run_at = now() - interval '1 s',"
        " lease_until = CASE WHEN lease_until IS NOT NULL THEN now() - interval '1 s' END",
    )


def test_a_name_is_found_by_the_model_and_redacted(client, context, naming, private):
    message_id = said_in(client, private)
    assert stored(context)[0]["text"] == SAID
    assert annotate(naming, message_id) == "annotated"
    (message,) = stored(context)
    assert message["text"].startswith("😀 Yesterday [name:")
    assert NAME not in message["text"]
    assert "Berlin" not in message["text"]
    assert message["pii_types"] == ["LOCATION", "PERSON"]
    assert [entity["d"] for entity in message["pii"]] == ["m", "m"]
    assert (message["pii_state"], message["text_rev"]) == ("done", 2)
    assert message["pii_version"].endswith(f"+{namer_of(naming.settings).version}")
    assert one(context, "SELECT count(*) FROM annotations") == 0
    found = one(context, "SELECT sum(count) FROM pii_days WHERE kind = 'PERSON'")
    assert found == 1


@pytest.mark.parametrize("preset", ["tokenise", "strict", "recommended", "annotate"])
def test_a_second_look_changes_nothing(client, context, account, naming, preset):
    a_policy(context, account, {"preset": preset})
    message_id = said_in(client, str(a_conversation(context, account).id))
    annotate(naming, message_id)
    once = stored(context)
    assert once[0]["pii_types"] == ["LOCATION", "PERSON"]
    assert (NAME in once[0]["text"]) == (preset in {"recommended", "annotate"})
    again(context, message_id)
    assert annotate(naming, message_id) == "annotated"
    assert stored(context) == once
    assert one(context, "SELECT sum(count) FROM pii_days WHERE kind = 'PERSON'") == 1


def test_a_policy_may_do_without_the_model(client, context, account, naming):
    a_policy(context, account, {"preset": "strict", "model": False})
    message_id = said_in(client, str(a_conversation(context, account).id))
    assert annotate(naming, message_id) == "annotated"
    (message,) = stored(context)
    assert message["text"] == SAID
    assert "+" not in message["pii_version"]


def test_a_policy_says_what_happens_to_what_the_model_finds(client, context, account, naming):
    document = {"preset": "strict", "operators": {"LOCATION": "keep", "PERSON": "mask"}}
    a_policy(context, account, document)
    message_id = said_in(client, str(a_conversation(context, account).id))
    annotate(naming, message_id)
    assert stored(context)[0]["pii_types"] == ["PERSON"]
    assert stored(context)[0]["text"].endswith(" called from Berlin.")


def test_a_threshold_above_the_models_certainty_leaves_it_out(client, context, account, naming):
    a_policy(context, account, {"preset": "strict", "thresholds": {"PERSON": 0.9}})
    message_id = said_in(client, str(a_conversation(context, account).id))
    annotate(naming, message_id)
    assert stored(context)[0]["pii_types"] == ["LOCATION"]


def test_only_texts_of_the_policys_direction_are_shown_to_the_model(
    client, context, account, naming, monkeypatch
):
    monkeypatch.setattr(annotating, "namer_of", lambda _: pytest.fail("it was asked for"))
    a_policy(context, account, {"preset": "strict", "direction": "outbound"})
    message_id = said_in(client, str(a_conversation(context, account).id))
    assert annotate(naming, message_id) == "annotated"


def test_a_missing_folder_puts_off_and_loses_nothing(client, context, naming, private, tmp_path, names_model):
    place = tmp_path / "later"
    settings = naming.settings.model_copy(update={"pii_ner_path": place})
    without = replace(naming, settings=settings)
    message_id = said_in(client, private)
    with structlog.testing.capture_logs() as told:
        for _ in range(12):  # more often than a message that is at fault itself
            assert annotate(without, message_id) == "retried"
            lapse(context)
    assert {(entry["event"], entry["code"]) for entry in told} == {("model_away", "folder_missing")}
    assert NAME not in json.dumps(told)
    (message,) = stored(context)
    assert (message["text"], message["pii_state"]) == (SAID, "pending")
    row = rows(context, "SELECT state, error_code FROM annotations")
    assert row == [{"state": "pending", "error_code": "folder_missing"}]
    place.symlink_to(names_model)
    models._away.clear()
    assert annotate(without, message_id) == "annotated"
    assert stored(context)[0]["text"].startswith("😀 Yesterday [name:")


def test_one_text_the_model_breaks_on_is_given_up_and_the_others_are_not(
    client, context, naming, private, monkeypatch
):
    class Fragile:
        version = "fragile"

        def spans(self, text):
            if "poison" in text:
                raise ModelAway("model_broke")
            return namer_of(naming.settings).spans(text)

    monkeypatch.setattr(annotating, "namer_of", lambda _: Fragile())
    bad = said_in(client, private, f"poison for {NAME}")
    good = said_in(client, private)
    with structlog.testing.capture_logs() as told:
        for _ in range(8):
            annotate(naming, bad)
            lapse(context)
    assert NAME not in json.dumps(told, default=str)
    states = {str(row["id"]): row["pii_state"] for row in stored(context)}
    assert states == {bad: "pending", good: "done"}
    row = rows(context, "SELECT message_id::text AS id, state, error_code FROM annotations")
    assert row == [{"id": bad, "state": "failed", "error_code": "model_broke"}]


def test_a_crash_between_the_model_and_the_write_repeats_harmlessly(
    client, context, naming, private, monkeypatch
):
    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    message_id = said_in(client, private)
    with monkeypatch.context() as patched:
        patched.setattr(annotating, "_write", die)
        with pytest.raises(Killed):
            annotate(naming, message_id)
    assert stored(context)[0]["text"] == SAID
    assert annotate(naming, message_id) == "ignored"  # the dead one's lease
    lapse(context)
    assert annotate(naming, message_id) == "annotated"
    assert stored(context)[0]["pii_types"] == ["LOCATION", "PERSON"]
    assert one(context, "SELECT count(*) FROM annotations") == 0


class Slow:
    """A model that tells when it works, and waits to be let go."""

    def __init__(self, settings):
        self._namer = namer_of(settings)
        self.version = self._namer.version
        self.working, self.go = threading.Event(), threading.Event()

    def spans(self, text):
        self.working.set()
        assert self.go.wait(20)
        return self._namer.spans(text)


@pytest.fixture
def slow(naming, monkeypatch):
    namer = Slow(naming.settings)
    monkeypatch.setattr(annotating, "namer_of", lambda _: namer)
    yield namer
    namer.go.set()


def while_it_works(naming, message_id, slow, act):
    """Answers what came of the annotation during which `act` happened."""
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(annotate, naming, message_id)
        assert slow.working.wait(20)
        act()
        slow.go.set()
        return outcome.result(20)


def test_a_message_deleted_while_the_model_works_stays_deleted(client, context, naming, private, slow):
    message_id = said_in(client, private)

    def delete():
        assert client.post(f"{API}/{private}/message/{message_id}/delete", json={}).status_code == 200

    assert while_it_works(naming, message_id, slow, delete) == "annotated"
    assert stored(context) == []
    assert one(context, "SELECT count(*) FROM annotations") == 0
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0


def test_a_conversation_deleted_while_the_model_works_stays_deleted(client, context, naming, private, slow):
    message_id = said_in(client, private)

    def delete():
        assert client.post(f"{API}/{private}/delete", json={}).status_code == 200

    assert while_it_works(naming, message_id, slow, delete) == "annotated"
    assert stored(context) == []
    assert one(context, "SELECT count(*) FROM pii_tokens") == 0


def test_a_text_changed_while_the_model_works_is_looked_at_anew(client, context, naming, private, slow):
    message_id = said_in(client, private)

    def update():
        body = {"text": "Is Alan Turing in Oslo?"}
        assert client.post(f"{API}/{private}/message/{message_id}/update", json=body).status_code == 200

    while_it_works(naming, message_id, slow, update)
    assert stored(context)[0]["text"] == "Is Alan Turing in Oslo?"
    assert annotate(naming, message_id) == "annotated"
    (message,) = stored(context)
    assert message["text"].startswith("Is [name:")
    assert one(context, "SELECT count(*) FROM annotations") == 0


def test_a_policy_that_asks_for_the_model_meanwhile_is_obeyed(client, context, account, naming, monkeypatch):
    conversation = str(a_conversation(context, account).id)
    a_policy(context, account, {"preset": "strict", "model": False})
    message_id = said_in(client, conversation)
    before = annotating._named

    def changed(*arguments):
        found = before(*arguments)
        a_policy(context, account, {"preset": "strict"})
        return found

    with monkeypatch.context() as patched:
        patched.setattr(annotating, "_named", changed)
        assert annotate(naming, message_id) == "retried"
    assert stored(context)[0]["pii_state"] == "pending"
    lapse(context)
    assert annotate(naming, message_id) == "annotated"
    assert NAME not in stored(context)[0]["text"]


def test_two_annotators_at_once_find_everything_once(client, context, naming, private):
    ids = [said_in(client, private, f"{SAID} {number}") for number in range(12)]
    barrier = threading.Barrier(4)

    def one_of_them(message_id):
        barrier.wait(20)
        return annotate(naming, message_id)

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(one_of_them, ids[:4]))
    assert set(outcomes) <= {"annotated", "ignored"}
    assert {message["pii_state"] for message in stored(context)} == {"done"}
    assert {message["text_rev"] for message in stored(context)} == {2}
    assert not any(NAME in message["text"] for message in stored(context))
    assert one(context, "SELECT count(*) FROM annotations") == 0
    assert one(context, "SELECT sum(count) FROM pii_days WHERE kind = 'PERSON'") == len(ids)


def test_a_lost_lease_and_its_successor_write_once(client, context, naming, private, slow):
    """The first was taken for dead while its model worked; the second has written by then."""
    message_id = said_in(client, private)
    other = replace(naming, settings=naming.settings)

    def overtake():
        slow.go.set()
        lapse(context)
        annotate(other, message_id)

    while_it_works(naming, message_id, slow, overtake)
    (message,) = stored(context)
    assert (message["text_rev"], message["pii_types"]) == (2, ["LOCATION", "PERSON"])
    assert one(context, "SELECT count(*) FROM annotations") == 0
    assert one(context, "SELECT sum(count) FROM pii_days WHERE kind = 'PERSON'") == 1


def test_a_turn_waits_until_the_model_has_looked(client, context, account, naming, leases):
    bot = a_bot(context, account)
    conversation = str(a_conversation(context, account, bot_id=bot.id).id)
    a_policy(context, account, {"preset": "strict", "blockUntilAnnotated": True})
    message_id = said_in(client, conversation)
    path = f"{API}/{conversation}/message/{message_id}/fetch"
    assert client.get(path).json()["text"] == ""
    with hands(naming, leases):
        answer = client.post(f"{API}/{conversation}/complete", json={"text": f"My name is {NAME}."})
    assert answer.status_code == 200
    assert NAME not in answer.text
    assert client.get(path).json()["text"].startswith("😀 Yesterday <PERSON")
    assert NAME not in "".join(message["text"] for message in stored(context))


def test_a_turn_fails_rather_than_show_what_the_model_has_not_seen(
    client, context, account, naming, leases, tmp_path
):
    settings = naming.settings.model_copy(update={"pii_ner_path": tmp_path / "nowhere", "attempts": 2})
    bot = a_bot(context, account)
    conversation = str(a_conversation(context, account, bot_id=bot.id).id)
    a_policy(context, account, {"preset": "strict", "blockUntilAnnotated": True})
    with hands(replace(naming, settings=settings), leases):
        answer = client.post(f"{API}/{conversation}/complete", json={"text": f"My name is {NAME}."})
    assert answer.status_code == 422
    assert NAME not in answer.text
    assert [message["type"] for message in stored(context)] == ["user"]


def test_privacy_switched_off_while_it_waits_leaves_the_text_alone(client, context, account, naming):
    bot = a_bot(context, account, privacy=True)
    message_id = said_in(client, str(a_conversation(context, account, bot_id=bot.id).id))
    with context.transaction(account) as session:
        update_bot(session, bot.id, privacy=False)
    assert annotate(naming, message_id) == "annotated"
    assert stored(context)[0]["text"] == SAID
