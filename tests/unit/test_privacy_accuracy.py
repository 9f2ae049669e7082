"""How well personal data is found: a guard. The figures themselves are the benchmark's."""

from __future__ import annotations

import pytest

from benchmarks.privacy import ours
from benchmarks.privacy.chatter import clean_messages
from benchmarks.privacy.corpus import MAKERS, labelled_messages
from benchmarks.privacy.lookalikes import FIXED, lookalikes
from benchmarks.privacy.scoring import Scores, score
from core.privacy.detect import detect

SEED = 909
COUNT = 2_000


@pytest.fixture(scope="module")
def scores() -> Scores:
    messages = labelled_messages(COUNT, SEED)
    return score(messages, map(ours.found_in, messages))


def test_recall_weighs_more_and_is_high(scores):
    whole = scores.overall()
    assert whole.f2 >= 0.985
    assert whole.precision >= 0.975
    assert scores.leak <= 0.01


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_every_kind_is_found(scores, kind):
    one = scores.kinds[kind]
    assert one.gold - one.hits <= max(1, round(one.gold * 0.04))


def test_look_alikes_are_left_alone():
    found = {text: detect(text, ours.CLEAN) for text in lookalikes(SEED)}
    assert sum(map(bool, found.values())) <= len(found) * 0.03
    assert sum(bool(found[text]) for text in FIXED) <= len(FIXED) * 0.03


def test_clean_chat_is_left_alone():
    assert sum(len(detect(text, ours.CLEAN)) for text in clean_messages(10_000, SEED)) <= 1
