"""Numbers and passwords as people call them, and what is none of them."""

from __future__ import annotations

import re

import pytest

from core.privacy.detect import detect
from tests.unit.privacy_phrases import HELD, LEFT

PHRASES = [(kind, phrase) for kind, phrases in HELD.items() for phrase in phrases]


@pytest.mark.parametrize(("kind", "phrase"), PHRASES)
def test_a_value_is_found_beside_what_it_is_called(kind, phrase):
    text, places = "", []
    for part in re.split(r"(\{[^{}]*\})", phrase):
        value = part[1:-1] if part.startswith("{") else part
        if part.startswith("{"):
            places.append((len(text), len(text) + len(value)))
        text += value
    assert [(one.begin, one.end) for one in detect(text) if one.type == kind] == places


@pytest.mark.parametrize("text", LEFT)
def test_what_only_sounds_like_one_is_left(text):
    assert detect(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "call the patient: 943 476 5919",
        "NHS helpline, call 943 476 5919",
        "patient reached at 943-476-5919",
    ],
)
def test_a_phone_is_no_nhs_number(text):
    assert [one.type for one in detect(text)] == ["PHONE_NUMBER"]


def test_an_order_is_no_nhs_number():
    assert detect("NHS order 9434765919") == []
    assert detect("about my NHS appointment, see order 9434765919") == []


def test_both_passwords_of_a_change_are_found():
    text = "I changed my password from tulip2018 to rose2019"
    assert [text[one.begin : one.end] for one in detect(text)] == ["tulip2018", "rose2019"]
