"""The labelled messages that the detector of personal data is measured on."""

from __future__ import annotations

from collections import Counter

import pytest
from stdnum import iban, luhn
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel

from benchmarks.privacy.chatter import clean_messages
from benchmarks.privacy.corpus import MAKERS, NOT_MADE, OPT_IN, labelled_messages
from benchmarks.privacy.hostile import hostile_messages
from benchmarks.privacy.labelled import LANGUAGES, Gold, Labelled
from benchmarks.privacy.lookalikes import lookalikes
from benchmarks.privacy.scoring import score
from core.privacy.kinds import KINDS
from core.privacy.spans import Span

COUNT = 2_000
SEED = 5


@pytest.fixture(scope="module")
def messages() -> list[Labelled]:
    return labelled_messages(COUNT, SEED)


def values(messages: list[Labelled], kind: str) -> list[str]:
    return [
        message.text[gold.begin : gold.end]
        for message in messages
        for gold in message.gold
        if gold.type == kind
    ]


def test_the_same_seed_gives_the_same_messages(messages):
    assert labelled_messages(COUNT, SEED) == messages
    assert labelled_messages(50, SEED + 1) != messages[:50]
    assert clean_messages(100, SEED) == clean_messages(100, SEED)
    assert lookalikes(SEED) == lookalikes(SEED)


def test_every_kind_and_every_language_occurs(messages):
    assert set(MAKERS) | NOT_MADE == set(KINDS)
    kinds = Counter(gold.type for message in messages for gold in message.gold)
    assert set(kinds) == set(MAKERS)
    assert min(kinds.values()) >= 15
    languages = Counter(message.language for message in messages)
    assert set(languages) == set(LANGUAGES)
    assert set(languages.values()) == {COUNT // len(LANGUAGES)}


def test_gold_spans_are_in_order_within_the_text_and_not_empty(messages):
    for message in messages:
        ends = 0
        for gold in message.gold:
            assert ends <= gold.begin < gold.end <= len(message.text)
            ends = gold.end
            value = message.text[gold.begin : gold.end]
            assert value == value.strip()


@pytest.mark.parametrize(
    ("kind", "valid"),
    [
        ("CREDIT_CARD", lambda number: luhn.is_valid(number.replace(".", "").replace("-", ""))),
        ("IBAN_CODE", lambda number: iban.is_valid(number, check_country=False)),
        ("DE_TAX_ID", idnr.is_valid),
        ("FR_NIR", nir.is_valid),
        ("ES_NIF", lambda number: dni.is_valid(number.replace(".", ""))),
        ("ES_NIE", nie.is_valid),
        ("UK_NHS", nhs.is_valid),
        ("IT_FISCAL_CODE", codicefiscale.is_valid),
        ("NL_BSN", bsn.is_valid),
        ("PL_PESEL", pesel.is_valid),
    ],
)
def test_gold_values_satisfy_the_check_digits_of_a_library(messages, kind, valid):
    found = values(messages, kind)
    wrong = [value for value in found if not valid(value.replace("\u00a0", " ").replace(" ", ""))]
    assert not wrong


def test_what_must_be_asked_for_and_who_takes_part_come_with_the_message(messages):
    for message in messages:
        kinds = {gold.type for gold in message.gold}
        assert message.asked == kinds & OPT_IN
        assert message.identities or "PERSON" not in kinds


def test_the_halves_share_no_frame_of_a_cue():
    first, second = (
        "\n".join(message.text.lower() for message in labelled_messages(600, SEED, half)) for half in (0, 1)
    )
    assert "please note the" in second
    assert "please note the" not in first
    assert "you asked for" in first
    assert "you asked for" not in second


def test_there_are_enough_look_alikes_clean_messages_and_hostile_shapes():
    assert len(set(lookalikes(SEED))) >= 500
    clean = clean_messages(5_000, SEED)
    assert len(set(clean)) > 4_500
    assert not any("@" in text for text in clean)
    shapes = hostile_messages(4_000)
    assert len(shapes) >= 25
    assert {len(text) for text in shapes.values()} == {4_000}


def test_a_found_span_counts_once_and_only_for_its_kind():
    message = Labelled("0123456789", (Gold("URL", 0, 4), Gold("URL", 6, 10)), "en")
    found = [Span("URL", 0, 8, 0.9), Span("URL", 0, 3, 0.9), Span("IP_ADDRESS", 6, 10, 0.9)]
    scores = score([message], [found])
    assert (scores.kinds["URL"].hits, scores.kinds["URL"].found, scores.kinds["URL"].gold) == (1, 2, 2)
    assert (scores.kinds["IP_ADDRESS"].hits, scores.kinds["IP_ADDRESS"].found) == (0, 1)
    assert scores.leak == 0
    assert [gold.begin for _, gold in scores.missed] == [6]


def test_exact_spans_scores_and_leaked_characters_are_counted():
    message = Labelled("0123456789", (Gold("URL", 0, 4), Gold("SECRET", 6, 10)), "en")
    scores = score([message], [[Span("URL", 0, 4, 0.9), Span("SECRET", 7, 10, 0.9)]])
    assert scores.overall().exact == 1
    assert scores.overall().recall == scores.overall().precision == scores.overall().f2 == 1
    assert scores.leak == 1 / 8
