"""What is told while a turn goes on: kinds of pieces apart, and privacy for each of them."""

from __future__ import annotations

import itertools
import random
import uuid
from types import SimpleNamespace

import pytest

from core.privacy.policy import effective
from core.privacy.redacting import Redactor
from core.telling import REASONING, SPEAKING, ChannelTelling, ShieldedTelling, Silence, Withheld
from tests.unit.privacy_stand_ins import Tools, find

MAIL = "ada@home.org"


class Heard:
    def __init__(self):
        self.events = []

    def tell(self, kind, data):
        self.events.append((kind, data))

    def token(self, text, kind=SPEAKING):
        self.events.append((kind, text))

    def said(self, kind):
        return "".join(data for told, data in self.events if told == kind)


def shielded(heard):
    policy = effective({"preset": "strict"})
    shield = SimpleNamespace(
        redactor=lambda: Redactor(find, policy, Tools()),
        vault=SimpleNamespace(kept={}, shown=None, sealed={}),
        tree=lambda value, *_: value,
        tokens=frozenset,
    )
    return ShieldedTelling(heard, shield)


def test_both_kinds_are_redacted_however_they_come_in_turns():
    words = dict.fromkeys((SPEAKING, REASONING), f"{'word ' * 60}{MAIL} and {'more ' * 60}{MAIL}.")
    whole = {}
    for kind, text in words.items():
        heard = Heard()
        telling = shielded(heard)
        telling.token(text, kind)
        telling.tell("completeEnd", {})
        whole[kind] = heard.said(kind)
        assert MAIL not in whole[kind]
    draw = random.Random(7)
    for _ in range(30):
        left, heard = dict(words), Heard()
        telling = shielded(heard)
        while any(left.values()):
            kind = draw.choice([kind for kind, text in left.items() if text])
            size = draw.randrange(1, 9)
            telling.token(left[kind][:size], kind)
            left[kind] = left[kind][size:]
        telling.tell("completeEnd", {})
        assert {kind: heard.said(kind) for kind in words} == whole
        assert heard.events[-1] == ("completeEnd", {})


def test_what_is_held_back_is_told_before_the_next_event_and_then_forgotten():
    heard = Heard()
    telling = shielded(heard)
    telling.token("Hm.", REASONING)
    telling.token("Yes.")
    telling.tell("completeEnd", {})
    telling.token("Again.")
    telling.tell("completeEnd", {})
    assert heard.events == [
        (REASONING, "Hm."),
        (SPEAKING, "Yes."),
        ("completeEnd", {}),
        (SPEAKING, "Again."),
        ("completeEnd", {}),
    ]


@pytest.mark.parametrize("telling", [Silence(), Withheld(Silence())])
def test_where_nobody_may_listen_no_kind_is_told(telling):
    heard = Heard()
    telling._telling = heard
    telling.token("Hm.", REASONING)
    telling.token("Yes.")
    assert heard.events == []


def test_pieces_of_one_kind_are_told_together_and_kinds_in_their_order(monkeypatch):
    published = []
    live = SimpleNamespace(publish=lambda _account, _channel, events: published.extend(events))
    monkeypatch.setattr("core.telling.time.monotonic", itertools.repeat(0.0).__next__)
    telling = ChannelTelling(live, uuid.uuid4(), "channel", 3)
    for text, kind in (
        ("H", REASONING),
        ("m.", REASONING),
        ("Ye", SPEAKING),
        ("s.", SPEAKING),
        ("!", REASONING),
    ):
        telling.token(text, kind)
    telling.tell("completeEnd", {})
    assert [event["data"] for event in published] == [
        {"type": REASONING, "data": {"token": "Hm."}},
        {"type": SPEAKING, "data": {"token": "Yes."}},
        {"type": REASONING, "data": {"token": "!"}},
        {"type": "completeEnd", "data": {}},
    ]
    assert {event["epoch"] for event in published} == {3}
