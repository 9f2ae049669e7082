"""Documents of requests when they are saved: taken as they are meant, or refused in a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.outbound import Allowance
from core.skills.requests import checked_request

PARAMETERS = {"type": "object", "properties": {"id": {"type": "string"}, "text": {}, "a": {}}}
URL = "https://api.example.com/users"
WHOLE = {
    "type": "request",
    "method": "POST",
    "url": "https://api.example.com/users/{id}?b={text}",
    "query": {"q": "{text}", "page": 2, "all": True},
    "headers": {"X-A": "{a}", "Authorization": "Token {secret}"},
    "body": {"text": "{text}", "note": "Says {a}, {{not a parameter}}.", "more": [1, None, {"id": "{id}"}]},
    "timeout": 5000,
    "answer": "json",
}


def checked(**parts):
    return checked_request({"type": "request", "url": URL, **parts}, PARAMETERS, Allowance())


def refused(document, parameters=PARAMETERS):
    with pytest.raises(InvalidInput) as raised:
        checked_request(document, parameters, Allowance())
    return str(raised.value)


def test_a_whole_document_is_taken_as_it_is():
    assert checked_request(WHOLE, PARAMETERS, Allowance()) == WHOLE
    assert checked_request(checked_request(WHOLE, PARAMETERS), PARAMETERS) == WHOLE


def test_a_short_one_has_a_method_and_no_nulls():
    short = checked(method="get", body=None, query=None)
    assert short == {"type": "request", "method": "GET", "url": URL}


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com", "https://api.example.com/{id}", "https://api.example.com/v{id}.json",
        "https://api.example.com:8443/a;b=c/{id}-{a}?x={text}&y=1", "https://api.example.com?x={text}",
        "https://api.example.com/%7Bid%7D", "https://api.example.com/{{id}}",
    ],
)  # fmt: skip
def test_an_address_that_parameters_fill_behind_its_host_is_taken(url):
    assert checked(url=url)["url"] == url


@pytest.mark.parametrize(
    "url",
    [
        None, 5, "", "/users", "//api.example.com/", "{id}", "{id}://api.example.com/", "https://{id}/",
        "https://{id}.example.com/", "https://api.{id}/", "https://api.example.com:{id}/", "https://api.example.com{id}",
        "https://{id}@api.example.com/", "https://ada:{id}@api.example.com/", "https://ada:pass@api.example.com/",
        "https://api.example.com/#{id}", "https://api.example.com/#x", "https://api.example.com/{id",
        "https://api.example.com/id}", "https://api.example.com/{}", "https://api.example.com/{1}",
        "https://api.example.com/{ id }", "https://api.example.com/{id}}", "https://api.example.com/{unknown}",
        "https://api.example.com/?a={unknown}", "https://api.example.com/{secret}", "https://api.example.com/?k={secret}",
        "http://api.example.com/", "ftp://api.example.com/", "file:///etc/passwd", "gopher://api.example.com/",
        "https://api.example.com:22/", "https://127.0.0.1/", "https://api.example.com/a b", "https://api.example.com/\r\n",
        "https://api.example.com/\tx", "https://api.example.com/ü", "https://api.example.com/\\evil.example/",
        "https://api.example.com/" + "a" * 2048, "https://api.example.com/\ud800",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_without_being_repeated(url):
    told = refused({"type": "request", "url": url})
    assert not isinstance(url, str) or len(url) < 8 or url not in told


@pytest.mark.parametrize(
    "parts",
    [
        {"method": "TRACE"}, {"method": "CONNECT"}, {"method": "GET\r\n"}, {"method": 1}, {"method": ""},
        {"extra": 1}, {"auth": "x"}, {"type": "action"}, {"timeout": 0}, {"timeout": -1}, {"timeout": True},
        {"timeout": 1.5}, {"timeout": 10**9}, {"answer": "xml"}, {"answer": ["json"]},
        {"query": "a=1"}, {"query": {"a": None}}, {"query": {"a": [1]}}, {"query": {"a": "{unknown}"}},
        {"query": {"{id}": "a"}}, {"query": {"a": "{secret}"}}, {"query": {"a": "{"}}, {"query": {"{": 1}},
        {"query": {str(n): n for n in range(65)}},
        {"headers": []}, {"headers": {"X": 1}}, {"headers": {"X": ""}}, {"headers": {"X": " a"}},
        {"headers": {"X": "a\r\nY: 1"}}, {"headers": {"X": "a\n"}}, {"headers": {"X": "a\x00"}},
        {"headers": {"X": "é"}},
        {"headers": {"X\r\nY": "1"}}, {"headers": {"X Y": "1"}}, {"headers": {"X:": "1"}},
        {"headers": {"": "1"}},
        {"headers": {"{id}": "1"}}, {"headers": {"X": "{unknown}"}}, {"headers": {"X": "{id"}},
        {"headers": {"X-A": "1", "x-a": "2"}}, {"headers": {f"X-{n}": "1" for n in range(33)}},
        {"headers": {"Content-Type": "{id}"}, "method": "POST", "body": {}},
        {"body": {}}, {"method": "HEAD", "body": "x"}, {"method": "POST", "body": {"a": "{unknown}"}},
        {"method": "POST", "body": "{secret}"}, {"method": "POST", "body": {"a": ["{secret}"]}},
        {"method": "POST", "body": {"{id}": 1}}, {"method": "POST", "body": {"a": "{"}},
        {"method": "POST", "body": '{"a": "{id}"}'}, {"method": "POST", "body": {"a": "\x00"}},
        {"method": "POST", "body": {"a": "\ud800"}}, {"method": "POST", "body": {"a": float("nan")}},
        {"method": "POST", "body": {"a": {1, 2}}}, {"method": "POST", "body": "x" * 70_000},
        {"method": "POST", "body": '{{"a": "{id}"}}', "headers": {"Content-Type": "application/json"}},
        {"method": "POST", "body": "<a>{id}</a>", "headers": {"Content-Type": "text/xml"}},
        {"method": "POST", "body": {"a": 1}, "headers": {"Content-Type": "text/plain"}},
        {"method": "POST", "body": "{id}", "headers": {"content-type": "text/plain"}},
    ],
    ids=str,
)  # fmt: skip
def test_what_could_not_be_sent_as_it_is_meant_is_refused(parts):
    refused({"type": "request", "url": URL, **parts})


@pytest.mark.parametrize(
    "name",
    [
        "Host", "CONTENT-LENGTH", "Transfer-Encoding", "connection", "Accept-Encoding", "TE",
        "Idempotency-Key",
        "User-Agent", "Upgrade", "Expect", "Proxy-Authorization", "Trailer", "Keep-Alive",
    ],
)  # fmt: skip
def test_the_headers_that_are_ours_are_nobody_elses(name):
    assert name in refused({"type": "request", "url": URL, "headers": {name: "x"}})


def test_nesting_without_an_end_is_refused():
    for depth in (40, 900, 100_000):
        deep = []
        for _ in range(depth):
            deep = [deep]
        refused({"type": "request", "url": URL, "method": "POST", "body": deep})


@pytest.mark.parametrize("document", [None, [], "x", 5, {}, {"type": "request"}, {"url": URL}])
def test_what_is_no_request_is_refused(document):
    refused(document)


def test_a_parameter_named_secret_cannot_be_told_from_the_secret():
    parameters = {"properties": {"secret": {}}}
    refused({"type": "request", "url": URL, "headers": {"X": "{secret}"}}, parameters)
    refused({"type": "request", "url": URL + "/{secret}"}, parameters)


@pytest.mark.parametrize("parameters", [None, {}, {"properties": {}}, {"properties": None}])
def test_without_parameters_nothing_can_be_filled(parameters):
    assert checked_request({"type": "request", "url": URL}, parameters)["url"] == URL
    refused({"type": "request", "url": URL + "/{id}"}, parameters)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"type": st.just("request")},
        optional={
            "method": st.sampled_from(["GET", "POST"]) | JSON,
            "url": st.text(max_size=30) | st.text(max_size=20).map(lambda words: URL + words),
            "query": JSON,
            "headers": JSON | st.dictionaries(st.text(max_size=8), st.text(max_size=8)),
            "body": JSON,
            "timeout": JSON,
            "answer": JSON,
        },
    )
)
def test_any_document_is_taken_or_refused_in_a_sentence(document):
    try:
        checked = checked_request(document, PARAMETERS)
    except InvalidInput as refusal:
        assert str(refusal).endswith(".")  # noqa: PT017 (it may also be taken)
    else:
        assert checked_request(checked, PARAMETERS) == checked
