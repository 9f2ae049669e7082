"""Anonymous texts: nothing of what was found is left, its places are right, and twice is once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.privacy.anonymous import Anonymiser, strictest
from core.privacy.detect import Scope, detect
from core.privacy.known import Identity, known
from core.privacy.operators import redact, stored
from core.privacy.policy import Policy, effective
from tests.unit.privacy_stand_ins import Tools

MAIL, PHONE, CARD, STREET = (
    "grace@example.com",
    "+49 30 901820",
    "4111 1111 1111 1111",
    "Musterstraße 12, 10115 Berlin",
)
PIECES = st.sampled_from(
    [MAIL, PHONE, CARD, "Grace Hopper", "hello", "👩‍👩‍👧", "<EMAIL_ADDRESS>", "<REDACTED>",
     "[email:a7x2b]", "[foo:a7x2b]", "<PHONE_NUMBER:hx4k2m7q3w5t6y2a>", "•", "\n", "ß"]
)  # fmt: skip


def an_anonymiser(tokens=("[email:a7x2b]",), policy=None):
    strict = strictest(policy or Policy())
    people = known([Identity(names=("Grace Hopper",))])
    return Anonymiser(strict, Scope(kinds=strict.kinds(), known=people), frozenset(tokens))


@pytest.mark.parametrize("preset", ["annotate", "recommended", "strict", "tokenise"])
@given(pieces=st.lists(PIECES, max_size=12))
def test_whatever_stood_before_nothing_of_it_is_left_and_twice_is_once(preset, pieces):
    policy = effective({"preset": preset})
    words = " and then ".join(pieces)
    said = redact(words, detect(words), policy, Tools())
    anonymiser = an_anonymiser()
    once = anonymiser.text(said.text, stored(said.taken))
    for value in (MAIL, PHONE, CARD, "Grace", "Hopper", "[email:a7x2b]", "hx4k2m7q3w5t6y2a", "1111"):
        assert value not in once.text
    for one in once.taken:
        assert once.text[one.stored_begin : one.stored_end] in {f"<{one.type}>", "<REDACTED>"}
    again = anonymiser.text(once.text, stored(once.taken))
    assert (again.text, stored(again.taken)) == (once.text, stored(once.taken))
    assert anonymiser.text(once.text).text == once.text, "without its places as well"


def test_what_only_looks_like_a_token_of_this_conversation_stays():
    assert an_anonymiser().text("[foo:a7x2b] and [email:a7x2b]").text == "[foo:a7x2b] and <EMAIL_ADDRESS>"


def test_kinds_that_are_not_looked_for_by_default_go_as_well():
    assert "Musterstraße" not in an_anonymiser().text(f"Ich wohne in der {STREET}.").text


def test_places_that_are_not_there_are_no_harm():
    wrong = [
        {"t": "PERSON", "b": b, "e": e, "s": 1.0, "o": "annotate", "d": "g"}
        for b, e in ((-1, 3), (2, 99), (3, 3), (4, 2))
    ]
    assert an_anonymiser().text("Nothing here.", wrong).text == "Nothing here."


def test_words_of_a_callers_own_kind_go():
    given_ = [{"t": "MEMBER_ID", "b": 3, "e": 8, "s": 1.0, "o": "annotate", "d": "g"}]
    assert an_anonymiser().text("is ABC12.", given_).text == "is <MEMBER_ID>."


def test_a_tree_is_anonymous_in_every_leaf_and_key():
    tree = {MAIL: [1, 4_111_111_111_111_111, {"to": f"Grace <{MAIL}>"}], "plain": None, "n": 1.5, "yes": True}
    found = an_anonymiser().tree(tree)
    assert found["<EMAIL_ADDRESS>"][0] == 1
    assert found["<EMAIL_ADDRESS>"][1] == "<CREDIT_CARD>"
    assert MAIL not in str(found)
    assert (found["plain"], found["n"], found["yes"]) == (None, 1.5, True)


def test_denied_words_of_a_policy_go_whatever_its_preset():
    policy = effective({"preset": "annotate", "deny": ["Projekt Adler"]})
    assert an_anonymiser(policy=policy).text("Das Projekt Adler lebt.").text == "Das <DENIED> lebt."
