"""Calls in an answer, in every way that servers send them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.chat.answer import read_answer
from core.chat.call_parts import MAX_ARGUMENTS_BYTES, MAX_CALLS, CallParts
from core.chat.provider import Finished, FinishReason, ModelRequest, ModelUnavailable, Tool, ToolCall

TOOLS = (Tool("look", "Looks.", {}), Tool("send", "Sends.", {}))
REQUEST = ModelRequest("m", {}, "", (), None, TOOLS)


def piece(index=None, call_id=None, name=None, arguments=None, **more):
    function = {"name": name, "arguments": arguments}
    said = {"index": index, "id": call_id, "function": {k: v for k, v in function.items() if v is not None}}
    return {key: value for key, value in said.items() if value is not None} | more


def read(*chunks):
    """The calls that come of these chunks, each a list of pieces."""
    parts = CallParts()
    for chunk in chunks:
        parts.feed(list(chunk))
    return [(call.id, call.name, dict(call.arguments), call.broken) for call in parts.calls()]


def test_arguments_come_in_pieces_and_calls_interleaved():
    assert read(
        [piece(0, "a", "look", "")],
        [piece(1, "b", "send", '{"to"')],
        [piece(0, arguments='{"place": "Ro')],
        [piece(1, arguments=': "x"}'), piece(0, arguments='me"}')],
    ) == [("a", "look", {"place": "Rome"}, None), ("b", "send", {"to": "x"}, None)]


@given(st.data())
def test_calls_are_the_same_however_their_arguments_are_cut(data):
    wanted = [{"text": "é😀", "n": [1, {"a": None}]}, {}, {"q": "x" * 30}]
    queues = []
    for index, arguments in enumerate(wanted):
        words = json.dumps(arguments)
        cut = data.draw(st.integers(0, len(words)))
        queues.append([piece(index, f"c{index}", "look", words[:cut]), piece(index, arguments=words[cut:])])
    chunks = []
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        chunks.append([queue.pop(0)])
    assert sorted(read(*chunks)) == [(f"c{n}", "look", arguments, None) for n, arguments in enumerate(wanted)]


def test_servers_without_index_or_ids_are_understood():
    whole = [piece(name="look", arguments="{}"), piece(name="send", arguments='{"a": 1}')]
    expected = [("call_0", "look", {}, None), ("call_1", "send", {"a": 1}, None)]
    assert read(whole) == expected
    assert read(*([one] for one in whole)) == expected
    assert read([piece(name="send")], [piece(arguments='{"a"')], [piece(arguments=": 1}")]) == [
        ("call_0", "send", {"a": 1}, None)
    ]
    assert read([piece(call_id="x", name="look")], [piece(call_id="y", name="send")]) == [
        ("x", "look", {}, None),
        ("y", "send", {}, None),
    ]


def test_servers_that_give_every_call_one_index_are_understood():
    assert read([piece(0, "x", "look", "{}")], [piece(0, "y", "send", "{}")]) == [
        ("x", "look", {}, None),
        ("y", "send", {}, None),
    ]


def test_servers_that_repeat_id_and_name_are_understood():
    assert read([piece(0, "x", "look", '{"a"')], [piece(0, "x", "look", ":1}")]) == [
        ("x", "look", {"a": 1}, None)
    ]


def test_no_two_calls_have_one_id():
    ids = [call[0] for call in read([piece(0, "x", "look"), piece(1, "x", "look"), piece(2, name="look")])]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("arguments", [None, "", " ", "null", "{}", {}])
def test_no_arguments_are_no_arguments(arguments):
    assert read([piece(0, "x", "look", arguments)]) == [("x", "look", {}, None)]


def test_arguments_may_be_an_object_already():
    assert read([piece(0, "x", "look", {"a": [1]})]) == [("x", "look", {"a": [1]}, None)]


@pytest.mark.parametrize(
    ("arguments", "broken"),
    [
        ('{"a": ', "not_json"),
        ("city=Rome", "not_json"),
        ("[" * 5000, "not_json"),
        ('{"a": ' + "9" * 5000 + "}", "not_json"),
        (["a"], "not_json"),
        (7, "not_json"),
        ('["a"]', "not_an_object"),
        ('"text"', "not_an_object"),
        ("7", "not_an_object"),
        ('{"a": "' + "x" * MAX_ARGUMENTS_BYTES + '"}', "too_long"),
    ],
)
def test_arguments_that_cannot_be_read_break_one_call_and_not_the_answer(arguments, broken):
    good = piece(1, "y", "send", '{"a": 1}')
    assert read([piece(0, "x", "look", arguments), good]) == [
        ("x", "look", {}, broken),
        ("y", "send", {"a": 1}, None),
    ]


def test_what_a_database_cannot_hold_is_left_out():
    (call,) = read([piece(0, "x", "lo\0ok", '{"a\\u0000": "b\\u0000\\ud83d", "n": NaN}')])
    assert call == ("x", "look", {"a": "b", "n": None}, None)


@pytest.mark.parametrize(
    "part", [7, None, {"function": 7}, piece(0, "x", ["look"]), {"id": 7, "function": {"name": "look"}}]
)
def test_pieces_of_no_call_are_nonsense(part):
    with pytest.raises(ModelUnavailable, match="not_a_call"):
        read([part])


def test_a_call_of_nothing_is_nonsense():
    with pytest.raises(ModelUnavailable, match="not_a_call"):
        read([piece(0, "x", None, "{}")])


def test_there_are_only_so_many_calls():
    assert len(read([piece(n, name="look") for n in range(MAX_CALLS)])) == MAX_CALLS
    with pytest.raises(ModelUnavailable, match="too_many_calls"):
        read([piece(n, name="look") for n in range(MAX_CALLS + 1)])


def body(*deltas, finish):
    chunks = [{"choices": [{"delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"delta": {}, "finish_reason": finish}]})
    return [b"data: " + json.dumps(chunk).encode() + b"\n" for chunk in chunks]


CALL = {"tool_calls": [piece(0, "x", "unheard_of", '{"a": 1}')]}


@pytest.mark.parametrize("finish", ["tool_calls", "stop", "tool_use", "function_call"])
def test_a_function_that_nobody_declared_is_told_as_it_was_called(finish):
    events = list(read_answer(body(CALL, finish=finish), REQUEST, lambda _span: None))
    assert events[0] == ToolCall("x", "unheard_of", {"a": 1})
    assert events[1].reason is FinishReason.tool


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", FinishReason.length), ("content_filter", FinishReason.refused)]
)
def test_no_call_is_told_of_an_answer_that_was_cut_off(finish, reason):
    (last,) = read_answer(body(CALL, finish=finish), REQUEST, lambda _span: None)
    assert isinstance(last, Finished)
    assert last.reason is reason


def test_the_spelling_before_there_were_tools_is_understood():
    old = [{"function_call": {"name": "look", "arguments": '{"a"'}}, {"function_call": {"arguments": ": 1}"}}]
    first, last = read_answer(body(*old, finish="function_call"), REQUEST, lambda _span: None)
    assert (first.name, first.arguments, last.reason) == ("look", {"a": 1}, FinishReason.tool)


def test_arguments_without_end_end_the_answer():
    endless = [{"tool_calls": [piece(n, f"{n}", "look", "x" * 60_000)]} for n in range(8)]
    (last,) = read_answer(body(*endless, finish="tool_calls"), REQUEST, lambda _span: None)
    assert last.reason is FinishReason.length


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["index", "id", "function", "name", "arguments"]), inner, max_size=4
        )
    ),
)


@given(st.lists(JSON, max_size=6))
def test_any_pieces_are_calls_or_an_error_of_ours(pieces):
    parts = CallParts()
    try:
        parts.feed(pieces)
        calls = parts.calls()
    except ModelUnavailable:
        return
    assert all(call.name and isinstance(call.arguments, dict) for call in calls)
    assert len({call.id for call in calls}) == len(calls)
