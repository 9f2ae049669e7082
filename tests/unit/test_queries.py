"""What a person types to find conversations: read whole, or refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.browsing import BEGIN, END, parts_of
from core.errors import InvalidInput
from core.queries import KEYS, Query, read_query


def test_words_and_filters_are_told_apart_in_any_order():
    query = read_query('refund bot:Concierge "late delivery" source:"my widget" -test has:pii or money')
    assert query.words == 'refund "late delivery" -test or money'
    assert query.filters == {"bot": ("Concierge",), "source": ("my widget",), "has": ("pii",)}


def test_a_filter_that_may_be_several_things_collects_them():
    assert read_query("type:user type:bot").filters == {"type": ("user", "bot")}


def test_a_web_address_and_a_quoted_colon_are_words():
    assert read_query('https://a.example/x?y=1 "color:red" 10:30') == Query(
        'https://a.example/x?y=1 "color:red" 10:30', {}
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("colour:red", "There is no such filter"),
        ("bot:", "needs a value"),
        ('bot:""', "needs a value"),
        ("has:money", "has: is one of pii"),
        ("status:gone", "status: is one of"),
        ("type:nothing", "type: is one of"),
        ("before:yesterday", "A time is written as"),
        ("after:2026-13-01", "no such day"),
        ("before:2026-01-01 before:2027-01-01", "once"),
        (" ".join(f"bot:{n}" for n in range(21)), "up to 20"),
        ("x" * 1001, "at most 1000"),
    ],
)
def test_what_cannot_be_read_is_an_error_and_never_left_out(typed, said):
    with pytest.raises(InvalidInput, match=said):
        read_query(typed)


def test_another_value_of_a_filter_leaves_the_rest_alone():
    query = read_query("refund status:active")
    assert query.having("status", "archived").text == "status:archived refund"
    assert query.having("status", None).text == "refund"


@given(st.text(max_size=60))
def test_whatever_is_typed_is_read_or_refused(typed):
    try:
        query = read_query(typed)
    except InvalidInput:
        return
    assert set(query.filters) <= set(KEYS)
    assert read_query(query.text) == query


@given(st.lists(st.text(alphabet=f"ab<&{BEGIN}{END}", max_size=6), max_size=6).map("".join))
def test_a_snippet_loses_nothing_but_its_marks(said):
    parts = parts_of(said)
    plain = said.replace(BEGIN, "").replace(END, "")
    assert "".join(words for words, _ in parts) == plain


def test_a_snippet_is_cut_where_words_were_found():
    assert parts_of(f"a {BEGIN}b{END} <c>") == (("a ", False), ("b", True), (" <c>", False))


def test_an_integration_is_a_source_by_the_name_that_chatbotkit_has_for_it():
    assert read_query("integration:widget hello").text == "source:widget hello"
