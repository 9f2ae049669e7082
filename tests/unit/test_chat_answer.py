import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.chat.answer import read_answer
from core.chat.provider import (
    Finished,
    FinishReason,
    ModelError,
    ModelMisconfigured,
    ModelRequest,
    ModelUnavailable,
    ReasoningDelta,
    TextDelta,
)

REQUEST = ModelRequest("m", {}, "", (), None)


def event(**choice):
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


HELLO = event(delta={"content": "Hé"}) + event(delta={"content": "llo 😀"}, finish_reason="")
USAGE = b'data: {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\n'
GOOD = HELLO + event(delta={}, finish_reason="stop") + USAGE + b"data: [DONE]\n\n"


def read(*pieces):
    *deltas, last = read_answer(pieces, REQUEST, lambda _span: None)
    return "".join(delta.text for delta in deltas), last


@given(st.lists(st.integers(0, len(GOOD)), max_size=20))
def test_an_answer_is_the_same_however_its_bytes_are_cut(cuts):
    bounds = [0, *sorted(cuts), len(GOOD)]
    pieces = [GOOD[start:end] for start, end in itertools.pairwise(bounds)]
    assert read(*pieces) == ("Héllo 😀", Finished(FinishReason.stop, 3, 2))


@pytest.mark.parametrize(
    "body",
    [
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.replace(b"data: ", b"data:"),
        b"\xef\xbb\xbf" + GOOD,
        b"\n\n: keep-alive\n\n" + GOOD,
        b"event: message\nid: 1\n" + GOOD,
        USAGE + GOOD,
        GOOD.replace(b"\n\n", b"\n"),
        GOOD + b"data: nonsense after the end\n",
    ],
)
def test_servers_may_format_the_stream_in_their_own_ways(body):
    assert read(body) == ("Héllo 😀", Finished(FinishReason.stop, 3, 2))


def test_a_declined_answer_is_refused():
    body = event(delta={"refusal": "I cannot"}) + event(delta={}, finish_reason="stop")
    assert read(body)[1].reason is FinishReason.refused


def test_an_unknown_finish_reason_is_no_success():
    with pytest.raises(ModelUnavailable, match="unknown_finish"):
        read(event(delta={"content": "x"}, finish_reason="whatever"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("STOP", FinishReason.stop),
        ("end_turn", FinishReason.stop),
        ("stop_sequence", FinishReason.stop),
        ("eos_token", FinishReason.stop),
        ("MAX_TOKENS", FinishReason.length),
        ("model_length", FinishReason.length),
        ("SAFETY", FinishReason.refused),
        ("refusal", FinishReason.refused),
        ("tool_use", FinishReason.tool),
    ],
)
def test_vendors_have_their_own_words_for_the_end(name, reason):
    assert read(event(delta={"content": "x"}, finish_reason=name))[1].reason is reason


@pytest.mark.parametrize("name", ["error", "abort", "insufficient_system_resource"])
def test_a_server_that_stopped_for_itself_gave_no_answer(name):
    with pytest.raises(ModelUnavailable, match="interrupted"):
        read(event(delta={"content": "x"}, finish_reason=name))


def test_an_error_may_stand_in_the_choice_or_in_a_field_of_its_own():
    with pytest.raises(ModelMisconfigured, match="http_401"):
        read(event(delta={}, finish_reason="error", error={"code": 401, "message": "x"}))
    with pytest.raises(ModelUnavailable, match="overloaded"):
        read(HELLO + b'error: {"code": 503, "message": "Loading model", "type": "unavailable_error"}\n\n')
    with pytest.raises(ModelUnavailable, match="not_json"):
        read(HELLO + b"error: it broke\n\n")


def thoughts(*pieces):
    events = list(read_answer(pieces, REQUEST, lambda _span: None))
    thought = "".join(one.text for one in events if isinstance(one, ReasoningDelta))
    return thought, "".join(one.text for one in events if isinstance(one, TextDelta)), events[-1]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_what_a_model_thinks_is_no_part_of_its_answer(key):
    said = (
        event(delta={key: "Hm "})
        + event(delta={key: "\ud83d"})
        + event(delta={key: "\ude00\0", "content": None})
    )
    assert thoughts(said + GOOD) == ("Hm 😀", "Héllo 😀", Finished(FinishReason.stop, 3, 2))


def test_thoughts_that_come_under_two_names_are_told_once_and_other_things_not_at_all():
    both = event(
        delta={"reasoning_content": "Hm.", "reasoning": "Hm.", "reasoning_details": [{"text": "Hm."}]}
    )
    strange = event(delta={"reasoning": {"a": 1}}) + event(delta={"reasoning": 7})
    assert thoughts(both + strange + GOOD)[:2] == ("Hm.", "Héllo 😀")


def test_a_whole_answer_may_hold_thoughts():
    whole = {"choices": [{"message": {"reasoning": "Hm.", "content": "Yes."}, "finish_reason": "stop"}]}
    assert thoughts(json.dumps(whole).encode())[:2] == ("Hm.", "Yes.")


def test_content_may_be_a_list_of_parts():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    parts = [thinking, {"type": "text", "text": "Yes."}, {"type": "image_url"}, 7]
    assert thoughts(event(delta={"content": parts}, finish_reason="stop"))[:2] == ("Hm.", "Yes.")


def test_thoughts_without_end_are_cut_off_and_the_answer_is_not():
    endless = event(delta={"reasoning": "é" * 50_000}) * 10
    thought, text, last = thoughts(endless + GOOD)
    assert len(thought.encode()) == 256 * 1024
    assert (text, last.reason) == ("Héllo 😀", FinishReason.stop)


def test_without_usage_thoughts_are_counted_as_well():
    body = event(delta={"reasoning": "x" * 40}) + event(delta={"content": "y" * 8}, finish_reason="stop")
    assert thoughts(body)[2].output_tokens == 12


def test_an_impossible_usage_is_replaced_by_an_estimate():
    for usage in (
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": "3"},
        [],
        {"prompt_tokens": True},
    ):
        body = HELLO + b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n"
        assert read(body + event(delta={}, finish_reason="stop"))[1] == Finished(FinishReason.stop, 0, 3)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_end_in_an_error_of_ours(pieces):
    with pytest.raises(ModelError):
        read(*pieces)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("choices", "delta", "message", "content", "finish_reason", "error", "usage", "refusal"),
                    *("reasoning", "thinking", "type", "text", "tool_calls", "function_call"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(st.lists(JSON, max_size=4))
def test_any_json_is_an_answer_or_an_error_of_ours(values):
    lines = [b"data: " + json.dumps(value).encode() for value in values]
    try:
        events = list(read_answer([b"\n".join(lines)], REQUEST, lambda _span: None))
    except ModelError:
        return
    assert isinstance(events[-1], Finished)
    assert all(
        isinstance(delta, TextDelta | ReasoningDelta) and delta.text and "\0" not in delta.text
        for delta in events[:-1]
    )
