"""Operators of privacy: what stands in the text afterwards, and where."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.entities import Entity
from core.privacy.kinds import KINDS
from core.privacy.masks import masked
from core.privacy.operators import Redacted, read_stored, redact, stored
from core.privacy.placeholders import PLACEHOLDERS
from core.privacy.policy import Operator, effective, read_policy
from core.privacy.spans import Span
from core.privacy.tokens import digest_of, restore, restore_spans
from core.privacy.wire import given_spans, redacted_documents
from tests.unit.privacy_stand_ins import KEY, Tools, find

TEXT = "😀 Ana Sol: ana@sol.de, 212-555-0188, https://sol.de/a"
PIECES = st.sampled_from(
    [
        "Ana Sol", "Bo Li", "ana@sol.de", "bo@li.com", "212-555-0188", "+212 555 0199", "https://a.de/b",
        " ", ", ", "\n", "😀", "ß", "e\u0301", "<URL>", "[email:abcde]", "[email:", "]", "•••", "Falcon", "x",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=12).map("".join)
ALTERING = [operator for operator in Operator if operator not in {Operator.KEEP, Operator.ANNOTATE}]


def every(operator, **more):
    """A policy with this operator for every kind."""
    kinds = dict.fromkeys((*KINDS, "DENIED"), operator.value)
    return effective(read_policy({"preset": "strict", "operators": kinds} | more))


def redacted(text, operator, spans=None, **more):
    return redact(text, find(text) if spans is None else spans, every(operator, **more), Tools())


def spans_of(text):
    place = st.integers(0, len(text) + 2)
    kinds = st.sampled_from(["PERSON", "EMAIL_ADDRESS", "ORG", "SECRET"])
    sources = st.sampled_from(["structured", "known", "given", "model"])
    return st.lists(st.builds(Span, kinds, place, place, st.floats(0, 1), sources), max_size=8)


@pytest.mark.parametrize(
    ("operator", "text"),
    [
        ("annotate", TEXT),
        ("keep", TEXT),
        ("mask", "😀 ••• •••: a••@sol.de, •••-•••-0188, ••••••••"),
        ("replace", "😀 <PERSON_1>: <EMAIL_ADDRESS_2>, <PHONE_NUMBER_3>, <URL_4>"),
        ("redact", "😀 <REDACTED>: <REDACTED>, <REDACTED>, <REDACTED>"),
    ],
)
def test_what_each_operator_writes(operator, text):
    assert redacted(TEXT, Operator(operator)).text == text


def test_what_is_hashed_and_tokenised_is_the_same_for_the_same_value():
    twice = "ana@sol.de bo@li.de ana@sol.de"
    for operator in (Operator.HASH, Operator.TOKENISE):
        first, other, again = redacted(twice, operator).text.split(" ")
        assert first == again != other
        assert PLACEHOLDERS.fullmatch(first)


@pytest.mark.parametrize(
    ("kind", "value", "mask"),
    [
        ("CREDIT_CARD", "4111 1111 1111 1111", "•••• •••• •••• 1111"),
        (
            "IBAN_CODE",
            "GB29 NWBK 6016 1331 9268 19",
            "•••• •••• •••• •••• ••68 19",
        ),
        ("PHONE_NUMBER", "555-0188", "•••-••••"),
        ("US_SSN", "078-05-1120", "•••-••-1120"),
        ("IT_FISCAL_CODE", "RSSMRA85T10A562S", "••••••••••••••••"),
        ("EMAIL_ADDRESS", "john@example.com", "j••@example.com"),
        ("EMAIL_ADDRESS", "j@example.com", "•••@example.com"),
        ("PERSON", "Zoë O'Hara", "••• •'••••"),
        ("DATE_OF_BIRTH", "12.04.1985", "••.••.••••"),
        ("IP_ADDRESS", "192.168.100.200", "•••.•••.•••.•••"),
        ("URL", "https://example.com/me?id=12345678", "••••••••"),
        ("SECRET", "sk-1234567890", "••••••••"),
        ("PERSON", "👩‍🚀", "•••"),
        ("PERSON", "--", "••••••••"),
    ],
)
def test_a_mask_tells_no_more_than_which_one_is_meant(kind, value, mask):
    assert masked(kind, value) == mask


def test_one_value_is_hashed_the_same_however_it_is_written():
    for kind, one, other in [
        ("PHONE_NUMBER", "+49 (89) 123-456", "004989123456"),
        ("EMAIL_ADDRESS", "Ana@Sol.de", "ana@sol.DE"),
        ("IBAN_CODE", "de89 3704 0044", "DE8937040044"),
        ("PERSON", "Ana  Sol", "ana sol"),
    ]:
        assert digest_of(KEY, kind, one) == digest_of(KEY, kind, other)
    assert digest_of(KEY, "SECRET", "abC") != digest_of(KEY, "SECRET", "abc")
    assert digest_of(KEY, "URL", "x") != digest_of(KEY, "SECRET", "x") != digest_of(KEY[::-1], "SECRET", "x")


def test_denied_words_are_taken_at_the_boundaries_of_words_in_any_case():
    text = "Falcon, falcon GmbH and FALCONS, blue  heron."
    result = redacted(text, Operator.REPLACE, deny=["Falcon", "falcon GmbH", "Blue Heron"])
    assert re.sub(r"_\d", "", result.text) == "<DENIED>, <DENIED> and FALCONS, <DENIED>."
    assert {one.source for one in result.taken} == {"denied"}


def test_allowed_values_stay():
    result = redacted("Ana Sol, Bo Li", Operator.MASK, allow=["ANA SOL"])
    assert result.text == "Ana Sol, •• ••"


def test_what_a_caller_gives_is_told_whatever_the_policy_looks_for():
    spans = [Span("STAFF_ID", 0, 3, 1.0, "given"), Span("PERSON", 4, 7, 0.2, "given")]
    held = effective({"operators": {"URL": "mask"}})
    result = redact("A42 Ana", spans, held, Tools())
    assert result.text == "A42 Ana"
    assert [(one.type, one.operator) for one in result.taken] == [
        ("STAFF_ID", Operator.ANNOTATE),
        ("PERSON", Operator.ANNOTATE),
    ]
    assert redacted("A42 Ana", Operator.REDACT, spans).text == "<STAFF_ID_1> <REDACTED>"


def test_what_is_below_its_threshold_stays():
    assert redacted(TEXT, Operator.MASK, thresholds=dict.fromkeys(KINDS, 0.95)) == Redacted(TEXT)


def test_no_part_of_overlapping_spans_is_left():
    spans = [Span("PERSON", 0, 7, 0.9), Span("EMAIL_ADDRESS", 4, 18, 0.5), Span("URL", 0, 3, 1.0, "given")]
    result = redacted("Ana Sol.x@sol.de.x now", Operator.REDACT, spans)
    assert result.text == "<REDACTED> <REDACTED>.<REDACTED> now"


def test_an_annotation_shields_nothing_from_an_operator_that_alters():
    held = effective({"preset": "annotate", "operators": {"EMAIL_ADDRESS": "redact"}})
    spans = [Span("PERSON", 0, 3, 1.0, "given"), Span("EMAIL_ADDRESS", 0, 10, 0.5)]
    assert redact("ana@sol.de", spans, held, Tools()).text == "<REDACTED>"


def test_placeholders_in_a_text_stay_and_what_is_around_them_does_not():
    text = "Ana [email:abcde] Sol"
    result = redacted(text, Operator.REDACT, [Span("PERSON", 0, len(text), 1.0, "given")])
    assert result.text == "<REDACTED> [email:abcde] <REDACTED>"


@pytest.mark.parametrize("operator", ALTERING)
@given(text=st.lists(PIECES, max_size=12).map(" ".join))
def test_redacting_again_changes_nothing_and_carries_the_entities_over(operator, text):
    once = redacted(text, operator, deny=["Falcon"])
    entries = read_stored(json.loads(json.dumps(stored(once.taken))))
    policy = every(operator, deny=["Falcon"])
    again = redact(once.text, find(once.text), policy, Tools(), settled=entries)
    assert again.text == once.text
    assert stored(again.taken) == stored(once.taken)


@given(st.data(), TEXTS, st.sampled_from(list(Operator)))
def test_entities_are_in_range_in_order_and_apart_for_whatever_spans(data, text, operator):
    result = redacted(text, operator, data.draw(spans_of(text)), deny=["Falcon"])
    done = stored_done = 0
    rebuilt = ""
    for one in result.taken:
        assert done <= one.begin < one.end <= len(text)
        assert stored_done <= one.stored_begin <= one.stored_end <= len(result.text)
        assert text[done : one.begin] == result.text[stored_done : one.stored_begin]
        rebuilt += text[done : one.begin] + text[one.begin : one.end]
        done, stored_done = one.end, one.stored_end
    assert text[done:] == result.text[stored_done:]
    assert rebuilt + text[done:] == text


@given(TEXTS)
def test_what_was_tokenised_is_restored_exactly(text):
    tools = Tools()
    result = redact(text, find(text), every(Operator.TOKENISE), tools)
    assert restore(result.text, tools.values) == text
    entries = read_stored(stored(result.taken))
    whole, moved = restore_spans(result.text, entries, tools.values)
    assert whole == text
    assert [(one.begin, one.end) for one in moved] == [(one.begin, one.end) for one in result.taken]


def test_only_what_was_recorded_is_restored_in_a_stored_text():
    tools = Tools()
    token = tools.token("EMAIL_ADDRESS", "ana@sol.de")
    result = redact("Write ana@sol.de", find("Write ana@sol.de"), every(Operator.TOKENISE), tools)
    text, entries = result.text + " or " + token, read_stored(stored(result.taken))
    assert restore_spans(text, entries, tools.values)[0] == f"Write ana@sol.de or {token}"
    assert restore_spans(text, entries, {}) == (text, entries)


def test_a_stored_entity_holds_no_value():
    (entry,) = stored(redacted("ana@sol.de", Operator.MASK).taken)
    assert entry == {"t": "EMAIL_ADDRESS", "b": 0, "e": 10, "s": 0.9, "o": "mask", "d": "s"}
    assert read_stored(None) == ()


def sliced(text, span):
    """What a JavaScript program gets for this span."""
    return text.encode("utf-16-le")[2 * span["begin"] : 2 * span["end"]].decode("utf-16-le")


@given(TEXTS, st.sampled_from(list(Operator)))
def test_the_wire_counts_utf_16_units_of_both_texts(text, operator):
    result = redacted(text, operator)
    documents = redacted_documents(result, text)
    assert len(documents) == len(result.taken)
    for document, one in zip(documents, result.taken, strict=True):
        assert sliced(text, document) == document["text"] == text[one.begin : one.end]
        now = document["replacement"]
        assert sliced(result.text, now) == now["text"] == result.text[one.stored_begin : one.stored_end]
        assert document["type"] == document["type"].lower()


def test_types_of_a_caller_become_kinds():
    words = ["name", "Phone number", "EMAIL_ADDRESS", "staff-id", "unknown", "né", "x" * 60, "ana@sol.de"]
    spans = given_spans([Entity(word, at, at + 1) for at, word in enumerate(words)])
    assert [span.type for span in spans] == [
        "PERSON", "PHONE_NUMBER", "EMAIL_ADDRESS", "STAFF_ID", "UNKNOWN", "UNKNOWN", "UNKNOWN", "UNKNOWN",
    ]  # fmt: skip
    assert {span.source for span in spans} == {"given"}
