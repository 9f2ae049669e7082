"""Passwords and PINs that other words part from what calls them so."""

from __future__ import annotations

import pytest

from core.privacy.detect import detect


@pytest.mark.parametrize(
    "text",
    [
        "the password for the printer upstairs is still {Regen-4711x}",
        "take {tiger77#x} as the password",
        "{luna_2024} - das ist das Passwort",
        "mot de passe\n{castelo123}",
        "la nueva contraseña de la oficina ahora es {playa-88x}",
        "mudei a senha para {velvet55}",
        "the pin of the alarm is {4821}",
        "PIN: {482193}",
    ],
)
def test_a_password_is_found_behind_other_words(text):
    before, _, rest = text.partition("{")
    value, _, after = rest.partition("}")
    found = detect(before + value + after)
    assert [(one.type, one.begin, one.end) for one in found] == [
        ("SECRET", len(before), len(before) + len(value))
    ]


@pytest.mark.parametrize(
    "text",
    [
        "the password reset link expires in 24hours",
        "the password page says it is HTTP404",
        "my password expired on 12.03.2024 at 10:30am",
        "use Office365 for the password change",
        "secret santa is on the 12th at 5pm",
        "the token expired at 2024-05-17T08:15:00Z",
        "my pin code: 560001",
        "pin it to the board: 2024 goals",
    ],
)
def test_ordinary_words_beside_a_cue_are_left(text):
    assert detect(text) == []


def test_an_nhs_number_may_stand_far_from_its_name():
    text = "my NHS number, as it is printed on the letter I got from the hospital in spring, is 943 476 5919"
    assert [one.type for one in detect(text)] == ["UK_NHS"]
