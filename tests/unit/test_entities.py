"""Entities: UTF-16 code units of the wire, code points of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.entities import Entity, Units, read_entities
from core.errors import InvalidInput
from core.said import given_alone

TEXT = "Hi 😀, I am Zoë 👩‍🚀 of Bern."


def units_of(text):
    return len(text.encode("utf-16-le")) // 2


def span(text, part, **more):
    """The span of `part` as a JavaScript program would count it."""
    begin = units_of(text[: text.index(part)])
    return {"begin": begin, "end": begin + units_of(part), **more}


def test_a_span_after_an_emoji_is_read_and_told_in_utf_16_units():
    given = [span(TEXT, "Zoë", type="name"), span(TEXT, "Bern", type="address")]
    entities = read_entities(given, TEXT)
    assert [TEXT[entity.begin : entity.end] for entity in entities] == ["Zoë", "Bern"]
    zoe, bern = given_alone(TEXT, entities).documents(TEXT)
    assert zoe == {
        "type": "name",
        "begin": 12,
        "end": 15,
        "text": "Zoë",
        "replacement": {"begin": 12, "end": 15, "text": "Zoë"},
    }
    assert (bern["begin"], bern["end"], bern["text"]) == (25, 29, "Bern")


def test_an_emoji_itself_is_two_units_long():
    (entity,) = read_entities([span(TEXT, "😀")], TEXT)
    assert entity == Entity("unknown", 3, 4)
    assert given_alone(TEXT, [entity]).documents(TEXT)[0]["text"] == "😀"


def test_the_example_of_the_contract():
    text = "My name is John."
    (entity,) = read_entities([{"type": "name", "begin": 11, "end": 15, "text": "John"}], text)
    assert given_alone(text, [entity]).documents(text) == [
        {
            "type": "name",
            "begin": 11,
            "end": 15,
            "text": "John",
            "replacement": {"begin": 11, "end": 15, "text": "John"},
        }
    ]


def test_nothing_known_is_nothing_told():
    assert read_entities(None, "x") == read_entities([], "x") == ()
    assert given_alone("x", []).documents("x") == []


@pytest.mark.parametrize(
    "entities",
    [
        "no list",
        {"begin": 0, "end": 1},
        ["x"],
        [None],
        [{}],
        [{"begin": 0}],
        [{"begin": None, "end": 1}],
        [{"begin": "0", "end": 1}],
        [{"begin": True, "end": 2}],
        [{"begin": 0.0, "end": 1}],
        [{"begin": -1, "end": 1}],
        [{"begin": 0, "end": 0}],
        [{"begin": 2, "end": 2}],
        [{"begin": 3, "end": 2}],
        [{"begin": 0, "end": units_of(TEXT) + 1}],
        [{"begin": 10**30, "end": 10**30 + 1}],
        [{"begin": 4, "end": 6}],
        [{"begin": 0, "end": 4}],
        [{"begin": 0, "end": 3}, {"begin": 2, "end": 3}],
        [{"begin": 0, "end": 3}, {"begin": 0, "end": 3}],
        [{"begin": 0, "end": 1, "type": 5}],
        [{"begin": 0, "end": 1, "type": ""}],
        [{"begin": 0, "end": 1, "type": "x" * 101}],
        [{"begin": 0, "end": 1}] * 1001,
    ],
)
def test_what_is_no_span_of_the_text_is_refused(entities):
    with pytest.raises(InvalidInput):
        read_entities(entities, TEXT)


@given(st.text(st.sampled_from("aé€😀\U0010ffff\uffff"), max_size=30))
def test_places_and_units_are_each_others_inverse(text):
    units = Units(text)
    assert units.length == units_of(text)
    told = [units.of(place) for place in range(len(text) + 1)]
    assert told == [units_of(text[:place]) for place in range(len(text) + 1)]
    assert [units.place(unit) for unit in told] == list(range(len(text) + 1))
    assert all(units.place(unit) is None for unit in set(range(units.length)) - set(told))
