"""Our own format is lossless: what is imported into an empty account is exported as the same again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.exporters.jsonl import written
from core.importers import Conversation
from core.importers.records import Message
from core.privacy_policies import owner_of, set_policy
from models import MessageType
from tests.exports import exported, read_back
from tests.factories import an_account
from tests.imports import a_talk, an_export, errors, imported, talks
from tests.unit.export_records import CONTACTS, METAS, SAID, WORDS

NUMBERS = count()
INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
NAMES = st.none() | WORDS.filter(lambda text: len(text) < 100)
MESSAGES = st.builds(
    Message,
    key=st.uuids().map(str),
    type=st.sampled_from(MessageType).map(str),
    text=SAID,
    created_at=st.none() | INSTANTS,
    name=NAMES,
    description=NAMES,
    meta=METAS,
)
CONVERSATIONS = st.builds(
    Conversation,
    key=st.uuids().map(str),
    title=NAMES,
    description=NAMES,
    created_at=st.none() | INSTANTS,
    meta=METAS,
    messages=st.lists(MESSAGES, max_size=4).map(tuple),
    contact=st.none()
    | st.tuples(CONTACTS, st.uuids()).map(
        lambda told: replace(told[0], key=str(told[1]), email=None, phone=None)
    ),
    source=st.none() | st.text("abc", min_size=1, max_size=10),
    status=st.sampled_from([None, "active", "archived"]),
    model=st.none() | st.just("offline"),
    backstory=NAMES,
    moderation=st.booleans(),
    # What privacy makes of words of any letters may be found again in them; see the modes below.
    policy=st.none() | st.just({"preset": "off"}),
)


def without_ids(raw: bytes) -> list[Conversation]:
    """What an export says, but for the ids that rows have where they are."""
    return [
        replace(
            talk,
            key="",
            links={},
            contact=talk.contact and replace(talk.contact, key=""),
            messages=tuple(replace(message, key="", parent_key=None) for message in talk.messages),
        )
        for talk in read_back(raw)
    ]


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example costs a second: none is made smaller
)
@given(st.lists(CONVERSATIONS, min_size=1, max_size=4, unique_by=lambda talk: talk.key))
def test_any_conversations_are_the_same_after_an_export_and_an_import(context, conversations):
    first, second = (an_account(context, f"Account {next(NUMBERS)}") for _ in range(2))
    job = imported(context, first, b"".join(written(conversations)))
    assert errors(context, first, job) == []
    raw = exported(context, first, mode="original")
    assert len(read_back(raw)) == len(conversations), (job.counts, raw)
    again = imported(context, second, raw)
    assert (again.state, again.done) == ("completed", len(conversations))
    assert without_ids(exported(context, second, mode="original")) == without_ids(raw)


@pytest.mark.parametrize("mode", ["redacted", "tokenised", "original"])
@pytest.mark.parametrize("private", [False, True])
def test_every_mode_gives_back_its_own_words_and_entities(context, account, mode, private):
    """Into an account without privacy, or under that of the conversations themselves."""
    preset = "tokenise" if private else "recommended"
    if not private:
        with context.transaction(account) as session:
            set_policy(session, owner_of(session), {"preset": preset})
    said = ("Write to grace@example.com", "I have: grace@example.com and 4111 1111 1111 1111", "Fine 😀")
    content = an_export(a_talk("a", *said, privacy=private, meta={"mail": "ada@example.com"}))
    imported(context, account, content)
    raw = exported(context, account, mode=mode)
    other = an_account(context, "Elsewhere")
    job = imported(context, other, raw)
    assert (job.state, errors(context, other, job)) == ("completed", [])
    mine, theirs = without_ids(raw), without_ids(exported(context, other, mode=mode))
    if mode == "original":
        assert [message.text for message in theirs[0].messages] == [m.text for m in mine[0].messages]
    elif private or mode == "tokenised":
        assert theirs == mine
    else:
        assert [m.text for m in theirs[0].messages] == [m.text for m in mine[0].messages]
    if mode != "original":
        assert all(
            "grace@" not in message["text"] for talk in talks(context, other) for message in talk["messages"]
        )


def test_an_export_of_nothing_is_an_import_of_nothing(context, account):
    raw = exported(context, account)
    job = imported(context, account, raw)
    assert (job.state, job.total, errors(context, account, job)) == ("completed", 0, [])


def test_entities_of_a_file_do_not_let_raw_words_through(context, account):
    """A file may claim that a raw address is what stands for one: where there is privacy it is looked at."""
    text = "Write to grace@example.com now"
    claim = {"type": "EMAIL_ADDRESS", "begin": 9, "end": 26, "score": 1.0, "source": "structured"}
    talk = a_talk("a", text, privacy=True)
    for operator in ("replace", "mask", "tokenise", "annotate", "keep", "redact", "hash"):
        document = {**talk, "key": operator}
        document["messages"] = [{**talk["messages"][0], "entities": [{**claim, "operator": operator}]}]
        content = an_export(document).replace(b'"version": 1', b'"version": 2')
        job = imported(context, account, content)
        assert job.counts["messages"] == 1, errors(context, account, job)
    for found in talks(context, account):
        assert "grace@" not in found["messages"][0]["text"]
