"""The veil of an export: what leaves in which mode."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.exporters.veil import Kept, Mode, veiled_conversation, veiled_message
from core.importers import Attachment, Contact
from core.privacy.choosing import Entry
from core.privacy.presets import Operator
from tests.unit.export_records import CONVERSATIONS, a_talk, messages, said

MAIL, PHONE, CARD = "grace.hopper@example.com", "+49 30 901820", "4111 1111 1111 1111"
TOKEN, HASH = "[email:a7x2b]", "<PHONE_NUMBER:hx4k2m7q3w5t6y2a>"


def entry(text, part, operator, kind="EMAIL_ADDRESS"):
    begin = text.index(part)
    return Entry(kind, begin, begin + len(part), 1.0, "structured", operator)


def redacted(message, kept=Kept(), looked=True):  # noqa: B008 (frozen)
    return veiled_message(message, Mode.REDACTED, kept, looked=looked)


def test_tokens_and_hashes_become_placeholders_that_lead_nowhere():
    text = f"🙂 Write to {TOKEN} or call {HASH}, or {TOKEN}."
    first = entry(text, TOKEN, Operator.TOKENISE)
    message = replace(
        said("user", text),
        entities=(first, entry(text, HASH, Operator.HASH, "PHONE_NUMBER")),
        name=f"From {TOKEN}",
        meta={"from": TOKEN, TOKEN: 1},
    )
    found = redacted(message)
    assert found.text == "🙂 Write to <EMAIL_ADDRESS> or call <PHONE_NUMBER>, or <EMAIL_ADDRESS>."
    assert [(found.text[e.begin : e.end], e.operator) for e in found.entities] == [
        ("<EMAIL_ADDRESS>", Operator.REPLACE),
        ("<PHONE_NUMBER>", Operator.REPLACE),
    ]
    assert found.name == "From <EMAIL_ADDRESS>"
    assert found.meta == {"from": "<EMAIL_ADDRESS>", "<EMAIL_ADDRESS>": 1}


def test_a_token_of_a_kind_of_the_callers_own_is_known_by_the_vault():
    message = said("user", "See [ticket:abcde] and [todo:fixme].")
    assert redacted(message, Kept(frozenset({"[ticket:abcde]"}))).text == "See <TICKET> and [todo:fixme]."


def test_what_privacy_has_never_looked_at_is_redacted_on_the_way_out():
    message = replace(
        said(
            "user", f"Mail {MAIL}, pay with {CARD}", card=CARD, number=4111111111111111, plain={"x": [PHONE]}
        ),
        name=MAIL,
        description=f"Call {PHONE}",
        attachments=(Attachment(f"{MAIL} cv.pdf", "application/pdf", 5),),
    )
    for mode in (Mode.REDACTED, Mode.TOKENISED):
        found = veiled_message(message, mode, Kept(), looked=False)
        told = json.dumps(asdict(found), default=str)
        for value in (MAIL, PHONE, CARD, "4111111111111111", "hopper"):
            assert value not in told
        assert found.text == "Mail g••@example.com, pay with •••• •••• •••• 1111"
        assert [e.type for e in found.entities] == ["EMAIL_ADDRESS", "CREDIT_CARD"]
        assert all(found.text[e.begin : e.end].count("•") for e in found.entities)


def test_what_a_policy_only_told_is_judged_as_recommended():
    text = f"{MAIL} is Grace"
    message = replace(
        said("user", text),
        entities=(
            entry(text, MAIL, Operator.ANNOTATE),
            entry(text, "Grace", Operator.ANNOTATE, "PERSON"),
        ),
    )
    found = redacted(message)
    assert found.text == "g••@example.com is Grace"
    assert [(e.type, e.operator) for e in found.entities] == [
        ("EMAIL_ADDRESS", Operator.MASK),
        ("PERSON", Operator.ANNOTATE),
    ]


def test_tokenised_is_as_it_is_stored_where_privacy_has_looked():
    text = f"Write to {TOKEN}"
    message = replace(said("user", text), entities=(entry(text, TOKEN, Operator.TOKENISE),))
    assert veiled_message(message, Mode.TOKENISED, Kept(), looked=True) == message
    talk = a_talk(title=f"About {TOKEN}", backstory=f"Ask {MAIL}", source=MAIL)
    found = veiled_conversation(talk, Mode.TOKENISED, Kept(looked=True))
    assert found.title == talk.title
    assert MAIL not in (found.backstory + found.source)
    assert veiled_conversation(talk, Mode.TOKENISED, Kept(looked=False)).title == "About <EMAIL_ADDRESS>"


def test_original_restores_where_a_token_was_written_and_nowhere_else():
    text = f"{TOKEN} says {TOKEN}"
    message = replace(said("user", text, by=TOKEN), entities=(entry(text, TOKEN, Operator.TOKENISE),))
    found = veiled_message(message, Mode.ORIGINAL, Kept(values={TOKEN: MAIL}), looked=True)
    assert found.text == f"{MAIL} says {TOKEN}"
    assert (found.meta["by"], found.text[found.entities[0].begin : found.entities[0].end]) == (MAIL, MAIL)
    talk = a_talk(title=f"About {TOKEN}", meta={"of": TOKEN})
    seen = veiled_conversation(talk, Mode.ORIGINAL, Kept(values={TOKEN: MAIL}))
    assert (seen.title, seen.meta) == (f"About {MAIL}", {"of": MAIL})


@settings(max_examples=25, deadline=None)
@given(CONVERSATIONS, messages())
def test_original_without_tokens_is_what_is_stored(talk, message):
    assert veiled_conversation(talk, Mode.ORIGINAL, Kept()) == talk
    assert veiled_message(message, Mode.ORIGINAL, Kept(), looked=False) == message


@pytest.mark.parametrize("mode", [Mode.REDACTED, Mode.TOKENISED])
def test_who_a_conversation_was_with_is_masked(mode):
    contact = Contact("id", name="Grace Hopper", email=MAIL, phone=PHONE, nick="gh", meta={"x": MAIL})
    policy = {"preset": "tokenise", "identities": [{"name": "Grace"}], "deny": ["Zugzwang"], "allow": ["x"]}
    found = veiled_conversation(a_talk(contact=contact, policy=policy), mode, Kept(looked=True))
    assert found.contact == Contact("id", "••••• ••••••", "g••@example.com", "+•• •• ••1820", "••")
    assert found.policy == {"preset": "tokenise"}


@settings(max_examples=40, deadline=None)
@given(messages(), st.booleans())
def test_a_veil_over_a_veil_changes_nothing_more(message, looked):
    once = redacted(message, looked=looked)
    assert redacted(once).text == once.text
    assert all(0 <= e.begin < e.end <= len(once.text) for e in once.entities)
