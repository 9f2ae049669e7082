"""Requests as they are filled: an argument is what stands in its place, and changes nothing around it."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.outbound import parse_place
from core.outbound.client import _checked
from core.secrets import SecretValue
from core.skills.request_json import storable
from core.skills.requests import _filled, checked_request
from core.skills.skill import SkillFailed

PARAMETERS = {"properties": {"id": {}, "text": {}, "a": {}}}
URL = "https://api.example.com/users"


def filled(arguments=None, secret=None, **parts):
    document = checked_request({"type": "request", "url": URL, **parts}, PARAMETERS)
    return _filled(document, storable(arguments or {}), secret)


def failing(code, *args, **parts):
    with pytest.raises(SkillFailed) as raised:
        filled(*args, **parts)
    assert raised.value.code == code
    assert not raised.value.retryable


@pytest.mark.parametrize(
    ("argument", "segment"),
    [
        ("7", "7"), (7, "7"), (1.5, "1.5"), (True, "true"), ("a/b", "a%2Fb"), ("a?b#c", "a%3Fb%23c"),
        ("ü 😀", "%C3%BC%20%F0%9F%98%80"), ("%2F", "%252F"), ("a;b=c&d", "a%3Bb%3Dc%26d"), ("...", "..."),
        ("{id}", "%7Bid%7D"), ("a..b", "a..b"), ("@evil.example", "%40evil.example"), ("\\\\x", "%5C%5Cx"),
    ],
)  # fmt: skip
def test_an_argument_is_one_segment_of_the_path(argument, segment):
    assert filled({"id": argument}, url=URL + "/{id}/x").url == f"{URL}/{segment}/x"


@pytest.mark.parametrize(
    "argument",
    [
        "", ".", "..", None, [], {}, [1], {"a": 1}, "../admin", "a/../b", "..\\x", "%2e%2e", "%2E",
        "%252e%252e%252fx",
        ".%2e", "a/%2e%2e/b", "a\nb", "x\r\nHost: evil", "%00", "x" * 3000, "%25" * 4000,
    ],
    ids=ascii,
)  # fmt: skip
def test_an_argument_that_would_be_another_path_is_refused(argument):
    failing("argument", {"id": argument}, url=URL + "/{id}/x")
    failing("argument", {"id": argument}, url=URL + "/{id}")


def test_a_path_is_not_made_of_halves():
    failing("argument", {"id": ".", "a": "."}, url=URL + "/{id}{a}/x")
    failing("argument", {"id": "."}, url=URL + "/.{id}/x")
    failing("argument", {"id": "2e"}, url=URL + "/%2e%{id}/x")
    failing("argument", {}, url=URL + "/v{id}")
    assert filled({"id": ""}, url=URL + "/v{id}").url == URL + "/v"


def test_a_query_holds_values_and_leaves_out_what_is_absent():
    query = {"q": "{text}", "all": True, "n": 2, "none": "{a}", "said": "is {a}!", "{{x}}": "{{y}}"}
    url = filled({"text": "a&b=c#d+e ü"}, query=query).url
    assert url == f"{URL}?q=a%26b%3Dc%23d%2Be%20%C3%BC&all=true&n=2&said=is%20%21&%7Bx%7D=%7By%7D"
    assert filled({"text": ["x", 1, None]}, query={"q": "{text}"}).url == f"{URL}?q=x&q=1"
    assert filled({"text": {"k": 1}}, query={"q": "{text}"}).url == f"{URL}?q=%7B%22k%22%3A1%7D"
    assert filled({"text": "x&y"}, url=URL + "?a={text}", query={"b": "1"}).url == f"{URL}?a=x%26y&b=1"
    assert filled({"text": None}, query={"q": "{text}"}).url == URL


@pytest.mark.parametrize(
    "value", ["words", 5, 2.5, True, None, [1, "{a}"], {"b": {"c": []}}, "", "{text}", "{{", 10**30], ids=str
)
def test_a_value_alone_keeps_its_type(value):
    body = {"one": "{text}", "many": ["{text}", 1], "deep": {"er": "{text}"}, "text": "<{text}>"}
    sent = json.loads(filled({"text": value}, method="POST", body=body).body)
    assert (sent["one"], sent["many"], sent["deep"]) == (value, [value, 1], {"er": value})
    assert isinstance(sent["text"], str)
    assert json.loads(filled({"text": value}, method="POST", body="{text}").body) == value


def test_what_is_absent_leaves_its_key_out():
    body = {"one": "{text}", "many": ["{text}", 1], "deep": {"er": "{text}"}, "text": "<{text}>"}
    sent = filled({}, method="POST", body=body)
    assert json.loads(sent.body) == {"many": [1], "deep": {}, "text": "<>"}
    assert sent.headers == {"Content-Type": "application/json"}
    assert (filled({}, method="POST", body="{text}").body, filled({}, method="POST").body) == (b"", b"")


def test_texts_and_forms_are_bodies_too():
    text = filled({"text": "a&b=c"}, method="POST", body="Says {text} and {{text}}.")
    assert (text.body, text.headers) == (
        b"Says a&b=c and {text}.",
        {"Content-Type": "text/plain; charset=utf-8"},
    )
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    form = filled({"text": "a&b=c ü", "a": 1}, method="POST", body="x={text}&y={a}", headers=kind)
    assert (form.body, form.headers) == (b"x=a%26b%3Dc%20%C3%BC&y=1", kind)
    own = {"Content-Type": "application/merge-patch+json"}
    assert filled({}, method="PATCH", body={}, headers=own).headers == own


def test_headers_are_filled_on_one_line():
    headers = {"X-A": "{a}", "X-B": "is {a}, {{a}}", "X-C": "{text}"}
    assert filled({"a": 5}, headers=headers).headers == {"X-A": "5", "X-B": "is 5, {a}"}
    assert filled({"a": ""}, headers={"X-A": "{a}", "X-B": "b {a}"}).headers == {"X-B": "b"}


@pytest.mark.parametrize(
    "value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "\x00", "é", "a\tb", "\x7f", "x" * 20_000, "\u2028"]
)
def test_an_argument_that_could_end_a_header_is_refused(value):
    failing("argument", {"a": value}, headers={"X-A": "{a}"})
    failing("argument", {"a": value}, headers={"X-A": "is {a}."})


def test_a_secret_is_shown_where_the_template_says_or_by_itself():
    basic, bearer, plain = (
        SecretValue("basic", "ada:geheim"),
        SecretValue("bearer", "sk-1"),
        SecretValue("plain", "key"),
    )
    packed = base64.b64encode(b"ada:geheim").decode()
    assert filled(secret=basic).headers == {"Authorization": f"Basic {packed}"}
    assert filled(secret=bearer).headers == {"Authorization": "Bearer sk-1"}
    assert filled(secret=plain).headers == {}
    for secret, shown in ((basic, packed), (bearer, "sk-1"), (plain, "key")):
        assert filled(secret=secret, headers={"X-Key": "Key {secret}"}).headers == {"X-Key": f"Key {shown}"}
    assert filled(secret=bearer, headers={"authorization": "none"}).headers == {"authorization": "none"}
    assert filled(secret=bearer, headers={"X": "{{secret}}"}).headers["Authorization"] == "Bearer sk-1"
    failing("no_secret", headers={"X-Key": "{secret}"})
    assert "sk-1" not in repr(filled(secret=bearer))


def test_an_argument_cannot_say_what_the_secret_is():
    sent = filled(
        {"secret": "mine", "a": "{secret}"}, SecretValue("plain", "key"), headers={"X": "{secret}{a}"}
    )
    assert sent.headers == {"X": "key{secret}"}


# What follows holds for any argument there is.
WORDS = st.text(max_size=40) | st.text(alphabet="./\\%2eEfF?#&=@:{}\r\n \x00", max_size=20)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.characters(categories=["Cs"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.fixed_dictionaries({}, optional={"id": ANY, "text": ANY, "a": ANY})


@given(ARGUMENTS)
@example({"id": "..", "text": "&x=1", "a": "\r\n"})
@example({"id": "%2e%2e", "text": "#", "a": "?"})
def test_no_argument_changes_host_or_path(arguments):
    try:
        sent = filled(arguments, url="https://api.example.com:8443/v1/{id}/of-{a}/end", query={"q": "{text}"})
    except SkillFailed as failed:
        assert failed.code == "argument"  # noqa: PT017 (it may also succeed)
        return
    parts = urlsplit(sent.url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "api.example.com:8443", "")
    segments = parts.path.split("/")
    assert (len(segments), segments[:2], segments[4]) == (5, ["", "v1"], "end")
    assert segments[3].startswith("of-")
    assert not {"", ".", ".."} & {unquote(segment) for segment in segments[2:]}
    if len(sent.url) <= 2048:
        place = parse_place(sent.url)
        assert (place.host, place.port) == ("api.example.com", 8443)


@given(ARGUMENTS)
def test_no_argument_adds_to_the_query_or_to_a_form(arguments):
    query = {"first": "{text}!", "second": "{a}!"}
    parts = urlsplit(filled(arguments, query=query).url)
    assert [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)] == ["first", "second"]
    inside = urlsplit(filled(arguments, url=URL + "?first={text}&second={a}").url)
    assert [name for name, _ in parse_qsl(inside.query, keep_blank_values=True)] == ["first", "second"]
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    form = filled(arguments, method="POST", headers=kind, body="first={text}&second={a}").body
    assert form.count(b"&") == 1
    assert form.count(b"=") == 2


@given(ARGUMENTS)
def test_no_argument_adds_a_header_or_ends_one(arguments):
    try:
        sent = filled(
            arguments, SecretValue("bearer", "sk-1"), headers={"X-A": "{a}", "X-B": "b: {text}; {id}"}
        )
    except SkillFailed as failed:
        assert failed.code == "argument"  # noqa: PT017 (it may also succeed)
        return
    assert sent.headers.keys() <= {"X-A", "X-B", "Authorization"}
    assert sent.headers["Authorization"] == "Bearer sk-1"
    outgoing = _checked(sent.headers, b"")
    assert len(outgoing) == len(sent.headers) + 4
    assert not any(set(value) & {10, 13, 0} for pair in outgoing for value in pair)


@given(ARGUMENTS)
def test_no_argument_changes_the_structure_of_a_body(arguments):
    body = {"fixed": 1, "text": "<{text}> {id}", "in": [{"a": "x{a}"}], "value": "{a}"}
    sent = json.loads(filled(arguments, method="POST", body=body).body)
    assert sent.keys() - {"value"} == {"fixed", "text", "in"}
    assert (sent["fixed"], len(sent["in"]), sent["in"][0].keys()) == (1, 1, {"a"})
    assert isinstance(sent["text"], str)
    assert isinstance(sent["in"][0]["a"], str)
    assert ("value" in sent) == ("a" in arguments)
    assert sent.get("value") == storable(arguments.get("a"))
