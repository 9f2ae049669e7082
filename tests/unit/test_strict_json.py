"""JSON as strictly as it was meant."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.strict_json import read_object
from core.errors import InvalidInput

TOO_DEEP = "The body is nested deeper than 32 levels."
HALF = "The body holds half of a surrogate pair, which is not text."
NUL = "The body holds a NUL character, which no text may."
TOO_LARGE = "The body holds a number that is too large."
NOT_A_NUMBER = "The body holds NaN or Infinity, which are not JSON."

HOSTILE = {
    "nested arrays": (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", TOO_DEEP),
    "nested without an end": (b"[" * 500_000, TOO_DEEP),
    "nested objects": (b'{"a":' * 33 + b"1" + b"}" * 33, TOO_DEEP),
    "deep behind an unterminated string": (b'{"a": "\\' + b"[" * 1000, "The body is not JSON: "),
    "NaN": (b'{"a": NaN}', NOT_A_NUMBER),
    "Infinity": (b'{"a": [Infinity]}', NOT_A_NUMBER),
    "-Infinity": (b'{"a": -Infinity}', NOT_A_NUMBER),
    "an endless float": (b'{"a": 1e999}', TOO_LARGE),
    "an endless negative float": (b'{"a": -1e999}', TOO_LARGE),
    "an endless integer": (b'{"a": ' + b"9" * 5000 + b"}", TOO_LARGE),
    "an escaped NUL": (b'{"a": "x\\u0000y"}', NUL),
    "an escaped NUL in a key": (b'{"a\\u0000": 1}', NUL),
    "a raw NUL in a text": (
        b'{"a": "x\x00y"}',
        "The body is not JSON: it holds a NUL character at character 8.",
    ),
    "a raw NUL outside": (b'{"a": \x00}', "The body is not JSON: it holds a NUL character at character 6."),
    "a high surrogate": (b'{"a": "\\ud800"}', HALF),
    "a low surrogate": (b'{"a": [{"b": "x\\udfff"}]}', HALF),
    "a pair the wrong way round": (b'{"a": "\\udc00\\ud800"}', HALF),
    "a surrogate in a key": (b'{"\\ud800": 1}', HALF),
    "a raw surrogate": (b'{"a": "\xed\xa0\x80"}', "The body is not valid UTF-8."),
    "invalid UTF-8": (b'{"a": "\xff"}', "The body is not valid UTF-8."),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "The body is not valid UTF-8."),
    "a byte order mark": (b'\xef\xbb\xbf{"a": 1}', "The body is not JSON: "),
    "a key twice": (b'{"a": 1, "a": 2}', "An object in the body has the same key twice."),
    "a key twice, deep and escaped": (
        b'{"x": [{"a": 1, "\\u0061": 2}]}',
        "An object in the body has the same key twice.",
    ),
    "trailing garbage": (b'{"a": 1} x', "The body is not JSON: something follows its end at character 9."),
    "two documents": (b"{}{}", "The body is not JSON: something follows its end at character 2."),
    "too many keys": (
        json.dumps({str(n): n for n in range(257)}).encode(),
        "An object in the body has more than 256 keys.",
    ),
    "an array": (b"[]", "The body must be a JSON object."),
    "null": (b"null", "The body must be a JSON object."),
    "a text": (b'"x"', "The body must be a JSON object."),
    "no JSON": (b"name=x", "The body is not JSON: expecting value at character 0."),
    "half of it": (b'{"a": ', "The body is not JSON: expecting value at character 6."),
    "a comment": (b'{"a": 1 /* x */}', "The body is not JSON: "),
    "single quotes": (b"{'a': 1}", "The body is not JSON: "),
    "a control character": (
        b'{"a": "x\ny"}',
        "The body is not JSON: invalid control character at at character 8.",
    ),
}


@pytest.mark.parametrize(("body", "sentence"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_not_strict_json_is_refused_with_its_reason(body, sentence):
    with pytest.raises(InvalidInput) as refused:
        read_object(body)
    assert str(refused.value).startswith(sentence)
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize("body", [b"", b"  \n", b"{}"])
def test_an_empty_body_is_an_empty_object(body):
    assert read_object(body) == {}


def test_what_json_allows_is_read():
    deepest = b'{"a":' + b"[" * 31 + b"]" * 31 + b"}"
    assert read_object(deepest)
    text = (
        '{"a": "\\ud83d\\ude00 [[[[ \\\\u0000 \\"{", "b": -0.5e10, "c": [true, null], "d": 123456789012345}'
    )
    assert read_object(text.encode())["a"] == '😀 [[[[ \\u0000 "{'
    assert read_object(json.dumps({str(n): n for n in range(256)}).encode())


def test_brackets_inside_strings_are_no_depth():
    assert read_object(json.dumps({"a": '[{"\\' * 100}).encode())


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(10**30), 10**30)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        ),
    )
)
def test_every_storable_document_comes_back_as_it_was_sent(document):
    unstorable = "\\u0000" in json.dumps(document) and "\x00" in "".join(_texts(document))
    for spelled in (json.dumps(document), json.dumps(document, ensure_ascii=False)):
        if unstorable:
            with pytest.raises(InvalidInput):
                read_object(spelled.encode())
        else:
            assert read_object(spelled.encode()) == document


def _texts(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


@given(st.binary() | st.text(alphabet='{}[]",:\\u0d8 \n1eN').map(str.encode))
def test_any_bytes_are_an_object_or_refused(body):
    with suppress(InvalidInput):
        assert isinstance(read_object(body), dict)


def test_hostile_quotes_take_linear_time():
    def seconds(size):
        begin = time.perf_counter()
        with pytest.raises(InvalidInput):
            read_object(b'{"a": "' + b'\\"' * size)
        return time.perf_counter() - begin

    assert seconds(400_000) < max(40 * seconds(40_000), 0.5)
