import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.chat.model_name import ModelName, parse_model
from core.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("offline", "offline", {}),
        (" gpt-5-mini/temperature=0.2 ", "gpt-5-mini", {"temperature": 0.2}),
        (
            "offline/latency=0.05/fail_rate=0.1/seed=1",
            "offline",
            {"latency": 0.05, "fail_rate": 0.1, "seed": 1},
        ),
        ("gpt-4o/maxTokens=500/topP=1", "gpt-4o", {"max_tokens": 500, "top_p": 1}),
        ("meta-llama/Llama-3.1-8B/seed=-3", "meta-llama/Llama-3.1-8B", {"seed": -3}),
        (
            "llama3:8b/region=us/size=1e3/beta=true",
            "llama3:8b",
            {"region": "us", "size": 1000.0, "beta": "true"},
        ),
        ("offline/finish=length/empty=1/chunks=3", "offline", {"finish": "length", "empty": 1, "chunks": 3}),
        ("m/url=a=b", "m", {"url": "a=b"}),
    ],
)
def test_a_model_string_is_a_name_and_options(text, name, options):
    assert parse_model(text) == ModelName(name, options)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "/",
        "/temperature=1",
        "a//temperature=1",
        "temperature=1",
        "gpt/",
        "gpt/temperature=1/loose",
        "gpt/temperature=1/",
        "gpt/temperature=",
        "gpt/=1",
        "gpt/a b=1",
        "gpt/temperature=1/temperature=1",
        "gpt/maxTokens=1/max_tokens=1",
        "gpt/temperature=warm",
        "gpt/temperature=nan",
        "gpt/temperature=1e999",
        "gpt/temperature=2.1",
        "gpt/top_p=-0.1",
        "gpt/max_tokens=1.5",
        "gpt/max_tokens=0",
        "gpt/max_tokens=" + "9" * 50,
        "offline/latency=-1",
        "offline/fail_rate=1.5",
        "offline/seed=x",
        "offline/finish=never",
        "gpt\x00",
        "gpt\nX-Header: 1",
        "gpt\u202e",
        "g" * 513,
        "gpt" + "".join(f"/k{number}=1" for number in range(17)),
    ],
)
def test_garbage_is_refused_with_a_sentence(text):
    with pytest.raises(InvalidInput, match=r"\.$"):
        parse_model(text)


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    try:
        parsed = parse_model(text)
    except InvalidInput:
        return
    assert parsed.name


@given(st.text(alphabet="abcxyz/=.-0123456789eE_", max_size=60))
def test_anything_that_looks_like_a_model_string_is_parsed_or_refused(text):
    try:
        parsed = parse_model(text)
    except InvalidInput:
        return
    assert "=" not in parsed.name
