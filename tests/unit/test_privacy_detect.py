"""What the structured detector finds, kind by kind, and what it leaves alone."""

from __future__ import annotations

import pytest

from core.privacy.detect import Scope, detect
from tests.unit.privacy_cases import CASES, LOOK_ALIKES, marked


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_personal_data_is_found_exactly(kind, case):
    text, held = marked(case)
    spans = detect(text)
    assert [(span.type, text[span.begin : span.end]) for span in spans] == [(kind, value) for value in held]
    assert all(0.4 <= span.score <= 1 and span.source == "structured" for span in spans)


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_a_look_alike_is_left_alone(text):
    assert detect(text) == []


def test_only_the_kinds_wanted_are_found():
    text = "joe@example.com, +49 30 12345678"
    assert [span.type for span in detect(text, Scope(kinds=frozenset({"EMAIL_ADDRESS"})))] == [
        "EMAIL_ADDRESS"
    ]


def test_a_card_is_no_phone_number_where_cards_are_not_wanted():
    assert detect("4111 1111 1111 1111", Scope(kinds=frozenset({"PHONE_NUMBER"}))) == []


def test_a_threshold_holds_for_its_kind_alone():
    text = "joe@corp.internal 415-555-2671"
    assert [span.type for span in detect(text, Scope(thresholds={"EMAIL_ADDRESS": 0.9}))] == ["PHONE_NUMBER"]


def test_national_numbers_of_the_accounts_regions_need_no_word_for_a_phone():
    text = "es ist die 612 345 678"
    assert detect(text) == []
    assert [span.type for span in detect(text, Scope(regions=("ES",)))] == ["PHONE_NUMBER"]


def test_streets_are_found_only_where_a_policy_names_them():
    text = "I live at 1600 Pennsylvania Avenue"
    assert detect(text) == []
    (span,) = detect(text, Scope(kinds=frozenset({"STREET_ADDRESS"})))
    assert text[span.begin : span.end] == "1600 Pennsylvania Avenue"


def test_an_address_in_a_pages_address_is_seen_in_it():
    text = "https://example.com/?mail=joe@example.com&x=1"
    spans = detect(text)
    assert [(span.type, text[span.begin : span.end]) for span in spans] == [
        ("URL", "https://example.com/?mail="),
        ("EMAIL_ADDRESS", "joe@example.com"),
        ("URL", "&x=1"),
    ]
    assert [span.type for span in detect(text, Scope(kinds=frozenset({"EMAIL_ADDRESS"})))] == [
        "EMAIL_ADDRESS"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "<EMAIL_ADDRESS> and <PHONE_NUMBER_2>",
        "<PHONE_NUMBER:hx4k2m7q3w5t6y2a>",
        "call [phone_number:a7x2b] or [email:b3c4d]",
        "[us_driver_license:abcde234567abcde234567abcd]",
        "j••@example.com",
        "•••• •••• •••• 1111",
        "+•• •• ••••4567",
        "•••-••-6789",
        "password: ••••••",
        "••••••••••1234 •••••••• 1234",
    ],
)
def test_what_was_redacted_is_left_alone(text):
    assert detect(text) == []


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("my SSN is 123-45-6789 and date of birth 03/12/85 and 01223356666",
         ["US_SSN", "DATE_OF_BIRTH", "PHONE_NUMBER"]),
        ("call me at +49 30 12345678 12/03/1985 is my birthday", ["PHONE_NUMBER", "DATE_OF_BIRTH"]),
        ("card 4111 1111 1111 1111 0x742d35Cc6634C0532925a3b844Bc454e4438f44e", ["CREDIT_CARD", "CRYPTO"]),
        ("+1 (415) 555-2671 (415) 555-2671", ["PHONE_NUMBER", "PHONE_NUMBER"]),
        ("my driving licence is MORGA657054SM9IJ GB82 WEST 1234 5698 7654 32",
         ["US_DRIVER_LICENSE", "IBAN_CODE"]),
        ("de89 3704 0044 0532 0130 00 390.533.447-05", ["IBAN_CODE", "BR_CPF"]),
        ("Steuer-ID 36 574 261 809, 192.168.1.1", ["DE_TAX_ID", "IP_ADDRESS"]),
        ("4111 1111 1111 1111 123 12/28", ["CREDIT_CARD"]),
    ],
)  # fmt: skip
def test_what_stands_side_by_side_is_found_apart(text, kinds):
    assert [span.type for span in detect(text)] == kinds


def test_a_word_for_an_order_outweighs_one_for_a_phone_farther_off():
    assert detect("I called about order 4155552671") == []


def test_international_examples_of_every_region_are_found():
    phonenumbers = pytest.importorskip("phonenumbers")
    missed = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE):
            number = phonenumbers.example_number_for_type(region, kind)
            if number is None:
                continue
            for form in (phonenumbers.PhoneNumberFormat.E164, phonenumbers.PhoneNumberFormat.INTERNATIONAL):
                text = phonenumbers.format_number(number, form)
                if [(span.type, span.begin, span.end) for span in detect(text)] != [
                    ("PHONE_NUMBER", 0, len(text))
                ]:
                    missed.append(text)
    assert missed == []
