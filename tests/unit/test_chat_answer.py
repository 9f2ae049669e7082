import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.chat.answer import read_answer
from core.chat.provider import Finished, FinishReason, ModelError, ModelRequest, ModelUnavailable, TextDelta

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
                ["choices", "delta", "message", "content", "finish_reason", "error", "usage", "refusal"]
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
        isinstance(delta, TextDelta) and delta.text and "\0" not in delta.text for delta in events[:-1]
    )
