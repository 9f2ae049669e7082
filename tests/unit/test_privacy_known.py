"""Known identities: found however they are written, and nothing else."""

from __future__ import annotations

import pytest

from core.privacy.detect import Scope, detect
from core.privacy.known import Identity, known

MARIA = Identity(
    names=("María José Strauß", "Will Okonkwo"),
    emails=("Maria@Example.com",),
    phones=("+49 30 1234567",),
    others=("CUST-0042",),
)


def found(text, *identities):
    spans = detect(text, Scope(known=known(identities or (MARIA,))))
    return [(span.type, text[span.begin : span.end], span.source) for span in spans]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Hi maría, how are you", "maría"),
        ("Dear MARÍA JOSÉ STRAUSS!", "MARÍA JOSÉ STRAUSS"),
        ("Strauß, María wrote", "Strauß, María"),
        ("I am Will Okonkwo.", "Will Okonkwo"),
        ("is Will there", "Will"),
        ("okonkwo's order", "okonkwo"),
        ("😀 ßß okonkwo 😀", "okonkwo"),
    ],
)
def test_a_name_is_found_as_it_is_written(text, name):
    assert found(text) == [("PERSON", name, "known")]


@pytest.mark.parametrize("text", ["I will come", "WILL YOU", "straußenei", "Marían", "the order", "goodwill"])
def test_a_word_that_is_a_name_only_elsewhere_is_left_alone(text):
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "+49 30 1234567",
        "030 1234567",
        "(030) 12 34 567",
        "0049301234567",
        "30-1234567",
        "+49\u00a030/1234567",
    ],
)
def test_a_phone_number_is_found_in_any_punctuation(text):
    assert [kind for kind, _, _ in found(text)] == ["PHONE_NUMBER"]


def test_another_number_is_not_theirs():
    assert found("030 7654321 x") == [("PHONE_NUMBER", "030 7654321", "structured")]


def test_addresses_and_other_words_are_found_in_any_case():
    assert found("maria@EXAMPLE.com") == [("EMAIL_ADDRESS", "maria@EXAMPLE.com", "known")] or found(
        "maria@EXAMPLE.com"
    ) == [("EMAIL_ADDRESS", "maria@EXAMPLE.com", "structured")]
    assert found("number cust-0042, please") == [("PERSON", "cust-0042", "known")]


def test_name_parts_of_two_letters_are_no_names():
    assert found("do you know", Identity(names=("Do Yu",))) == []


def test_an_e_mail_address_is_not_cut_by_a_name_in_it():
    assert [kind for kind, _, _ in found("maría.okonkwo@other.org")] == ["EMAIL_ADDRESS"]


def test_what_was_replaced_is_not_found_again():
    assert found("<PERSON> and [name:maria] and okon•••") == []


def test_identities_without_words_are_none():
    assert known([Identity(), Identity(names=("Al",))]) is None


def test_the_version_follows_the_words_alone():
    one, other = known([MARIA]), known([Identity(names=("Will Okonkwo", "María José Strauß"))])
    assert one is known([MARIA])
    assert one is not None
    assert other is not None
    assert one.version == known([MARIA, Identity()]).version != other.version
    assert hash(one) == hash(known([MARIA, Identity()]))
    assert "Okonkwo" not in repr(one)
