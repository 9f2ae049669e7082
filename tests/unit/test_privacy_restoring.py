"""Tokens while they are told: altered by a model, cut by chunks, typed by somebody."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.privacy.operators import redact
from core.privacy.placeholders import LONGEST_TOKEN, TOKENS
from core.privacy.policy import effective
from core.privacy.redacting import HOLD, MOST, Redactor
from core.privacy.restoring import Restorer, escape_lookalikes, restore_altered
from core.privacy.spans import Span
from core.privacy.tokens import LENGTHS, restore, token_of
from tests.unit.privacy_stand_ins import KEY, Tools, find

EMAIL, PHONE, CUSTOM = "[email:a7x2b]", "[phone_number:qqqqqqqq]", "[staff_id:zz2zz]"
VALUES = {EMAIL: "ana@sol.de", PHONE: "[email:not restored again]", CUSTOM: "A42"}
PIECES = st.sampled_from(
    [
        EMAIL, PHONE, CUSTOM, "[", "]", "\\", "\\[", "email", "e", "mail", "Email", "phone\\_number",
        "phone number", ":", "：", " ", "  ", "a7x2b", "A7X2B", "qqqq", "qqqqqqqq", "zz2zz", "*", "`",
        "correo", "【", "】", "\n", "staff-id", "[email:", ":a7x2b", "x", "_", "é",
        "[phone_number:qqqqqqqqq]", "word " * 9,
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=16).map("".join)
CUTS = st.lists(st.integers(1, 9), max_size=60)


def chunks(text, sizes):
    """The text in pieces of these sizes, then the rest."""
    done = 0
    for size in sizes:
        yield text[done : done + size]
        done += size
    yield text[done:]


def told(stream, pieces):
    return "".join([*(stream.feed(piece) for piece in pieces), stream.finish()])


@pytest.mark.parametrize(
    "written",
    [
        EMAIL,
        "[EMAIL:A7X2B]",
        "[ Email : a7x2b ]",
        r"\[email:a7x2b\]",
        "［email：a7x2b］",
        "【email:a7x2b】",
        "[**email:a7x2b**]",
        "[email:`a7x2b`]",
        "email:a7x2b",
        "Email:a7x2b",
        "[correo:a7x2b]",
        "[E-Mail: a7x2b]",
    ],
)
def test_a_token_is_found_however_a_model_writes_it(written):
    assert restore_altered(f"So: {written}, ok", VALUES) == "So: ana@sol.de, ok"


@pytest.mark.parametrize(
    "written", [r"[phone\_number:qqqqqqqq]", "[Phone number: qqqqqqqq]", "phone-number:qqqqqqqq"]
)
def test_a_label_of_several_words_too(written):
    assert restore_altered(written, {PHONE: "+49"}) == "+49"


@pytest.mark.parametrize(
    "written",
    [
        "[email:bbbbb]",  # unknown
        "[name:a7x2b]",  # the token of something else
        "[email:a7x2bc]",
        "email:a7x2bc",
        "xemail:a7x2b",
        "Email: a7x2b",  # prose
        "[some kind of mail:a7x2b]",
        "a7x2b",
        "[email a7x2b]",
    ],
)
def test_what_could_be_something_else_stays(written):
    assert restore_altered(written, VALUES) == written


def test_a_code_of_two_tokens_is_told_apart_by_its_label_alone():
    both = {"[email:aaaaa]": "one", "[name:aaaaa]": "two"}
    assert restore_altered("[Name:AAAAA] [correo:aaaaa]", both) == "two [correo:aaaaa]"


@given(TEXTS, CUTS)
@example("\\[" + " " * 3 + "email" + " " * 3 + ":   " + "a7x2b", [1] * 60)
@settings(max_examples=1000)
def test_chunks_tell_what_the_whole_tells(text, sizes):
    assert told(Restorer(VALUES), chunks(text, sizes)) == restore_altered(text, VALUES)


@given(TEXTS)
def test_what_is_restored_exactly_is_restored_when_altered_too(text):
    if not TOKENS.sub("", text).strip("[]:\\ "):
        assert restore_altered(text, VALUES) == restore(text, VALUES)


@given(TEXTS)
def test_no_more_is_held_back_than_a_token_is_long(text):
    stream = Restorer(dict.fromkeys(VALUES, ""))
    for one in text:
        stream.feed(one)
        assert len(stream._held) < LONGEST_TOKEN


def test_plain_words_are_told_at_once():
    stream = Restorer(VALUES)
    assert stream.feed("Hello, this is all: good. ") == "Hello, this is all: good. "
    assert stream.feed("See [1") == "See [1"
    assert stream.feed("] ema") == "] "
    assert stream.feed("nate") == "emanate"
    assert stream.feed(" [email:a7x") == " "
    assert stream.feed("2b]!") == "ana@sol.de!"


def test_a_token_that_becomes_known_on_the_way_is_restored():
    values: dict[str, str] = {}
    stream = Restorer(values)
    assert stream.feed("[email:a7x2b] ") == "[email:a7x2b] "
    values[EMAIL] = "ana@sol.de"
    assert stream.feed("[email:a7x2b]") == "ana@sol.de"


def test_a_token_is_the_same_for_the_same_value_in_one_conversation_only():
    first = token_of(KEY, "one", "EMAIL_ADDRESS", "ana@sol.de")
    assert first == token_of(KEY, "one", "EMAIL_ADDRESS", "ana@sol.de")
    others = {
        token_of(KEY, "two", "EMAIL_ADDRESS", "ana@sol.de"),
        token_of(KEY, "one", "EMAIL_ADDRESS", "Ana@sol.de"),
        token_of(KEY, "one", "URL", "ana@sol.de"),
        token_of(KEY[::-1], "one", "EMAIL_ADDRESS", "ana@sol.de"),
    }
    assert len(others | {first}) == 5
    for kind in ("US_DRIVER_LICENSE", "ORG", "A" * 31):
        for length in LENGTHS:
            token = token_of(KEY, "one", kind, "x", length)
            assert TOKENS.fullmatch(token)
            assert len(token) <= LONGEST_TOKEN
            assert token.startswith(token_of(KEY, "one", kind, "x")[:-1])


@given(TEXTS)
def test_what_somebody_typed_is_taken_for_no_token(text):
    escaped = escape_lookalikes(text, [], VALUES)
    assert len(escaped) == len(text)
    assert restore_altered(escaped, VALUES) == escaped


def test_a_token_that_stands_for_something_stays():
    text = f"{EMAIL} and {EMAIL} and email:a7x2b"
    assert escape_lookalikes(text, [Span("EMAIL_ADDRESS", 0, len(EMAIL), 1.0)], [EMAIL]) == (
        f"{EMAIL} and (email a7x2b) and email a7x2b"
    )


ANSWERS = st.lists(
    st.sampled_from(
        [
            "ana@sol.de", "212-555-0188", "+212 555 0199", "https://a.de/b", "Ana Sol", "[email:abcde]",
            "well", " ", ", ", ". ", "\n", "你好。", "some more words to tell ", "x" * 70, "Falcon",
        ]
    ),
    max_size=120,
).map("".join)  # fmt: skip


@given(
    ANSWERS, st.lists(st.integers(1, 50), max_size=80), st.sampled_from(["strict", "tokenise", "recommended"])
)
@settings(deadline=None)
def test_what_is_told_early_is_what_the_whole_would_tell(text, sizes, preset):
    policy = effective({"preset": preset, "deny": ["Falcon"]})
    stream = Redactor(find, policy, Tools())
    assert told(stream, chunks(text, sizes)) == redact(text, find(text), policy, Tools()).text


def test_an_answer_is_told_while_it_is_made_and_each_part_is_looked_at_a_few_times():
    looked = 0

    def counting(text):
        nonlocal looked
        looked += len(text)
        return find(text)

    words = "Write to ana@sol.de or call 212-555-0188, please. " * 400
    stream = Redactor(counting, effective({"preset": "strict"}), Tools())
    early = "".join(stream.feed(character) for character in words)
    assert "ana" not in early
    assert words.count("please") - early.count("please") <= 5
    assert looked < 10 * len(words)


@pytest.mark.parametrize("policy", [{}, {"preset": "annotate"}])
def test_what_is_not_altered_is_told_at_once(policy):
    stream = Redactor(find, effective(policy), Tools())
    assert stream.feed("ana@sol.de") == "ana@sol.de"
    assert stream.finish() == ""


def test_a_text_without_a_break_is_told_all_the_same():
    stream = Redactor(find, effective({"preset": "strict"}), Tools())
    early = "".join(stream.feed("q" * 50) for _ in range(400))
    assert len(early) >= 20_000 - 2 * MOST - 2 * HOLD
    assert early + stream.finish() == "q" * 20_000
