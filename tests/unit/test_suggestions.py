"""Quick replies: read from what an operator or a model wrote, in its order, whatever else stands there."""

from __future__ import annotations

import pytest

from core.suggestions import pieces_of, suggestions_of, with_suggestions

BLOCK = "Gladly.\n\n```suggestions\nTrack my order\n- Talk to a person => human\n\n```\n"


def test_a_configured_list_goes_with_every_answer_in_its_order():
    text, meta = with_suggestions("Hello.", ["b", "a", {"text": "c", "value": "see"}])
    assert text == "Hello."
    assert [one["value"] for one in suggestions_of(meta)] == ["b", "a", "see"]


def test_a_block_of_the_model_is_taken_off_and_goes_before_the_list():
    for configured in ("model", ["Yes"]):
        text, meta = with_suggestions(BLOCK, configured)
        assert text == "Gladly."
        assert suggestions_of(meta) == [
            {"text": "Track my order", "value": "Track my order"},
            {"text": "Talk to a person", "value": "human"},
        ]


@pytest.mark.parametrize("configured", [None, "other", 7, {}, True])
def test_where_none_are_wanted_an_answer_stays_as_it_is(configured):
    assert with_suggestions(BLOCK, configured) == (BLOCK, {})


def test_an_answer_of_nothing_else_and_a_block_in_the_middle_stay():
    for text in ("```suggestions\nYes\n```", "Before ```suggestions\nYes\n``` after."):
        assert with_suggestions(text, "model") == (text, {})


def test_an_empty_block_leaves_the_list():
    assert with_suggestions("Hi.\n```suggestions\n\n```", ["Yes"])[1] == {
        "suggestions": [{"text": "Yes", "value": "Yes"}]
    }


@pytest.mark.parametrize("junk", [None, 7, "x", {}, [None, 7, {}, {"text": 7}, {"text": " "}, [], ["x"]]])
def test_what_is_no_suggestion_is_left_out(junk):
    assert suggestions_of({"suggestions": junk}) == []


def test_there_are_ten_of_two_hundred_characters_at_most():
    found = suggestions_of({"suggestions": ["x" * 300] * 50})
    assert (len(found), len(found[0]["text"])) == (10, 200)


def test_hostile_answers_take_no_time():
    text = "```suggestions\n" * 20_000
    assert with_suggestions("x" + text, "model")[0].startswith("x")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_pieces_of_an_answer_hold_no_block(size):
    for answer, told in (
        (BLOCK, "Gladly."),
        ("See:\n```sql\nSELECT 1\n```\nso", "See:\n```sql\nSELECT 1\n```\nso"),
        ("a `` b", "a `` b"),
        ("```suggestions\nYes\n```", ""),
    ):
        tell = pieces_of("model")
        assert "".join(tell(answer[at : at + size]) for at in range(0, len(answer), size)) == told


def test_pieces_are_told_whole_where_no_suggestions_are_wanted():
    assert pieces_of(None)(BLOCK) == BLOCK
