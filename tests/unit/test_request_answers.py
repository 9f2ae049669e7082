"""Answers as a model is shown them, whatever came back; and JSON that can be stored, whatever it holds."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.outbound import Answer
from core.secrets import SecretValue
from core.skills.request_answers import MOST_SHOWN, answer_document
from core.skills.request_json import DEPTH, read_json, storable
from core.skills.skill import SkillFailed

SECRET = SecretValue("bearer", "CANARY-sk-1")


def shown(body=b"", kind=None, status=200, expected=None):
    headers = {} if kind is None else {"content-type": kind}
    return answer_document(Answer(status, headers, body), expected, SECRET)


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (b'{"a": 1}', "application/json", {"a": 1}),
        (b'{"a": 1}', "application/problem+json; charset=utf-8", {"a": 1}),
        (b"\xef\xbb\xbf[1]", "text/json", [1]),
        (b"null", "application/json", None),
        (b"not json", "application/json", "not json"),
        (b"", "application/json", ""),
        (b"", None, ""),
        (b'{"a": 1}', "text/plain", '{"a": 1}'),
        (b'{"a": 1}', None, '{"a": 1}'),
        ("grüße".encode("latin-1"), "text/plain; charset=ISO-8859-1", "grüße"),
        ("grüße".encode("utf-16"), 'text/html; charset="utf-16"', "grüße"),
        ("grüße".encode(), "text/plain; charset=idna", "grüße"),
        ("grüße".encode(), "text/plain; charset=zip", "grüße"),
        ("grüße".encode(), "text/plain; charset=iso-8859-99", "grüße"),
        (b"gr\xfc\xdfe", "text/plain", "gr\ufffd\ufffde"),
        (b"a\x00b", "text/plain", "a\ufffdb"),
        (b"\x89PNG\r\n", "image/png", {"type": "image/png", "size": 6}),
        (b"\x00\x01\x02", None, {"type": "application/octet-stream", "size": 3}),
        (b"\xff\xfe", None, {"type": "application/octet-stream", "size": 2}),
        (b"x", "application/pdf; name=CANARY", {"type": "application/pdf", "size": 1}),
        (b"x", "nonsense", "x"),
        (b"<a/>", "image/svg+xml", "<a/>"),
    ],
)
def test_an_answer_is_json_or_text_or_named(body, kind, told):
    assert shown(body, kind) == {"status": 200, "body": told}


def test_a_template_says_what_it_expects():
    assert shown(b"[1]", "text/plain", expected="json")["body"] == [1]
    assert shown(b"[1]", "application/json", expected="text")["body"] == "[1]"
    assert shown(b"<html>", "text/html", status=404, expected="json") == {"status": 404, "body": "<html>"}
    assert shown(b"", None, status=204, expected="json") == {"status": 204, "body": ""}
    for body in (b"<html>", b"[" * 100_000, b'{"a": }', b"{'a': 1}"):
        with pytest.raises(SkillFailed) as raised:
            shown(body, "text/html", expected="json")
        assert raised.value.code == "not_json"
        assert "<html>" not in str(raised.value)


def test_what_is_long_is_cut_between_characters_and_marked():
    told = shown("ü".encode() * 200_000, "text/plain")
    assert told["truncated"] is True
    assert len(told["body"].encode()) <= MOST_SHOWN
    assert set(told["body"]) == {"ü"}
    told = shown(json.dumps(["word"] * 60_000).encode(), "application/json")
    assert (told["truncated"], told["body"][:8]) == (True, '["word",')
    assert "truncated" not in shown(b"x" * MOST_SHOWN, "text/plain")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", None])
def test_a_secret_that_is_said_again_is_out_of_sight(kind):
    body = json.dumps({"headers": {"Authorization": f"Bearer {SECRET.value}"}, SECRET.value: [SECRET.value]})
    told = json.dumps(shown(body.encode(), kind))
    assert SECRET.value not in told
    assert told.count("[secret]") == 3


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ('"a\\u0000b"', "a\ufffdb"), ('"\\ud800"', "\ufffd"), ('"\\udc00\\ud800x"', "\ufffd\ufffdx"),
        ('"\\ud83d\\ude00"', "😀"), ('{"\\u0000": {"\\ud800": 1}}', {"\ufffd": {"\ufffd": 1}}),
        ("NaN", None), ("-Infinity", None), ("1e999", None), ("9" * 5000, None), ("9" * 301, None),
        ("9" * 40, int("9" * 40)), ("1e-400", 0.0), ("[1.5, true, null]", [1.5, True, None]),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_json_becomes_what_can_be_stored(words, value):
    assert storable(read_json(words)) == value


def test_what_is_too_deep_is_cut():
    deep = 1
    for _ in range(DEPTH + 5):
        deep = {"a": deep}
    found, depth = storable(deep), 0
    while found is not None:
        found, depth = found["a"], depth + 1
    assert depth == DEPTH


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.characters(categories=["Cs"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.characters(categories=["Cs"]), inner),
)


@given(ANY)
def test_anything_is_stored_as_json_that_is_text(value):
    found = storable(value)
    words = json.dumps(found, ensure_ascii=False, allow_nan=False)
    assert "\x00" not in words
    assert "\\u0000" not in words.replace("\\\\", "")
    assert words.encode()
    assert storable(found) == found


@given(st.floats(), st.integers(min_value=-(10**400), max_value=10**400))
def test_a_number_stays_or_is_null(fraction, whole):
    found = storable([fraction, whole])
    assert found[0] is None if not math.isfinite(fraction) else found[0] == fraction
    assert found[1] in {None, whole}


@given(st.binary(max_size=300), st.text(max_size=60), st.sampled_from([None, "json", "text"]))
def test_any_bytes_are_shown_or_named(body, kind, expected):
    try:
        told = shown(body, kind, expected=expected)
    except SkillFailed as failed:
        assert failed.code == "not_json"  # noqa: PT017 (it may also succeed)
        return
    assert json.dumps(told).encode()
    assert told.keys() <= {"status", "body", "truncated"}
