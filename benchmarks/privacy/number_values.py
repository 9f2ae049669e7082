"""Numbers that say who somebody is, of many countries, valid by their own check digits."""

from __future__ import annotations

import string
from datetime import date, timedelta
from itertools import pairwise

from stdnum import verhoeff
from stdnum.de import idnr

from benchmarks.privacy.labelled import Dice, Value


def ssn(dice: Dice, _language: str) -> Value:
    area = dice.pick([number for number in range(1, 900) if number != 666])
    parts = (f"{area:03}", f"{dice.between(1, 99):02}", f"{dice.between(1, 9999):04}")
    mark = dice.pick(("-", "-", "-", " ", ""))
    return Value("US_SSN", mark.join(parts), cue=mark != "-")


def itin(dice: Dice, _language: str) -> Value:
    group = dice.pick([*range(50, 66), *range(70, 89), *range(90, 93), *range(94, 100)])
    mark = dice.pick(("-", "-", "-", " ", ""))
    return Value("US_ITIN", mark.join((f"9{dice.digits(2)}", str(group), dice.digits(4))), cue=mark != "-")


def passport(dice: Dice, _language: str) -> Value:
    if dice.chance(0.5):
        return Value("US_PASSPORT", dice.some(string.ascii_uppercase, 1) + dice.digits(8), cue=True)
    return Value("US_PASSPORT", dice.pick("123456789") + dice.digits(8), cue=True)


def driver_license(dice: Dice, _language: str) -> Value:
    letter = dice.some(string.ascii_uppercase, 1)
    number = dice.pick(
        (
            letter + dice.digits(7),
            letter + dice.digits(12),
            letter
            + "-".join((dice.digits(3), dice.digits(3), dice.digits(2), dice.digits(3), dice.digits(1))),
            letter + "-".join((dice.digits(3), dice.digits(4), dice.digits(4)))[: dice.pick((13, 12))],
            f"{letter}{dice.digits(4)} {dice.digits(5)} {dice.digits(5)}",
            " ".join((dice.digits(3), dice.digits(3), dice.digits(3))),
            dice.pick("123456789") + dice.digits(7),
            dice.pick("123456789") + dice.digits(8),
            dice.some(string.ascii_uppercase, 2) + dice.digits(6),
        )
    )
    return Value("US_DRIVER_LICENSE", number, cue=True)


def nhs(dice: Dice, _language: str) -> Value:
    while True:
        body = dice.pick("4679") + dice.digits(8)
        rest = 11 - sum(int(digit) * (10 - place) for place, digit in enumerate(body)) % 11
        if rest != 10:
            break
    whole = f"{body}{rest % 11}"
    text = dice.pick(
        (f"{whole[:3]} {whole[3:6]} {whole[6:]}", f"{whole[:3]}-{whole[3:6]}-{whole[6:]}", whole)
    )
    return Value("UK_NHS", text, cue=True)


def nino(dice: Dice, _language: str) -> Value:
    while True:
        prefix = dice.some("ABCEGHJKLMNOPRSTWXYZ", 1) + dice.some("ABCEGHJKLMNPRSTWXYZ", 1)
        if prefix not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}:
            break
    number, suffix = dice.digits(6), dice.pick("ABCD")
    spaced = f"{prefix} {number[:2]} {number[2:4]} {number[4:]} {suffix}"
    text = dice.pick((prefix + number + suffix, spaced, spaced, (prefix + number + suffix).lower()))
    return Value("UK_NINO", text, cue=text.islower())


def german_tax_id(dice: Dice, _language: str) -> Value:
    while True:
        digits = list("0123456789")
        dice.rolls.shuffle(digits)
        digits[dice.between(1, 9)] = digits[0]  # nine different digits, one of them twice
        tail = digits[1:]
        dice.rolls.shuffle(tail)
        body = digits[0] + "".join(tail)
        if body[0] == "0":
            continue
        whole = next((body + str(check) for check in range(10) if idnr.is_valid(body + str(check))), "")
        if whole:
            break
    spaced = f"{whole[:2]} {whole[2:5]} {whole[5:8]} {whole[8:]}"
    return Value("DE_TAX_ID", dice.pick((whole, spaced)), cue=True)


def french_nir(dice: Dice, _language: str) -> Value:
    department = dice.pick([f"{number:02}" for number in range(1, 96) if number != 20] + ["2A", "2B"])
    born = f"{dice.pick('12')}{dice.digits(2)}{dice.between(1, 12):02}"
    body = f"{born}{department}{dice.between(1, 900):03}{dice.between(1, 999):03}"
    key = 97 - int(body.replace("2A", "19").replace("2B", "18")) % 97
    whole = f"{body}{key:02}"
    cuts = (0, 1, 3, 5, 7, 10, 13, 15)
    spaced = " ".join(whole[begin:end] for begin, end in pairwise(cuts))
    return Value("FR_NIR", dice.pick((whole, spaced, spaced)))


_NIF_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


def spanish_nif(dice: Dice, _language: str) -> Value:
    number = dice.digits(8)
    letter = _NIF_LETTERS[int(number) % 23]
    dotted = f"{number[:2]}.{number[2:5]}.{number[5:]}"
    text = dice.pick(
        (
            number + letter,
            number + letter,
            f"{number}-{letter}",
            f"{dotted}-{letter}",
            number + letter.lower(),
        )
    )
    return Value("ES_NIF", text, cue=text[-1].islower())


def spanish_nie(dice: Dice, _language: str) -> Value:
    first, number = dice.pick("XYZ"), dice.digits(7)
    letter = _NIF_LETTERS[int(str("XYZ".index(first)) + number) % 23]
    text = dice.pick((f"{first}{number}{letter}", f"{first}-{number}-{letter}", f"{first}{number}-{letter}"))
    return Value("ES_NIE", text)


def italian_code(dice: Dice, _language: str) -> Value:
    text = dice.faker_of("it_IT").ssn()
    return Value("IT_FISCAL_CODE", text.lower() if dice.chance(0.1) else text)


def dutch_bsn(dice: Dice, _language: str) -> Value:
    while True:
        body = dice.pick("123456789") + dice.digits(7)
        rest = sum(int(digit) * (9 - place) for place, digit in enumerate(body)) % 11
        if rest < 10:
            break
    whole = body + str(rest)
    return Value(
        "NL_BSN",
        dice.pick(
            (whole, whole, f"{whole[:4]}.{whole[4:6]}.{whole[6:]}", f"{whole[:3]} {whole[3:6]} {whole[6:]}")
        ),
        cue=True,
    )


def polish_pesel(dice: Dice, _language: str) -> Value:
    born = date(1940, 1, 1) + timedelta(days=dice.between(0, 30000))
    month = born.month + (20 if born.year >= 2000 else 0)
    body = f"{born.year % 100:02}{month:02}{born.day:02}{dice.digits(4)}"
    check = -sum(int(digit) * (1, 3, 7, 9)[place % 4] for place, digit in enumerate(body)) % 10
    return Value("PL_PESEL", f"{body}{check}", cue=True)


def brazilian_cpf(dice: Dice, _language: str) -> Value:
    text = dice.faker_of("pt_BR").cpf()
    if dice.chance(0.4):
        return Value("BR_CPF", "".join(mark for mark in text if mark.isdigit()), cue=True)
    return Value("BR_CPF", text)


def aadhaar(dice: Dice, _language: str) -> Value:
    body = dice.pick("23456789") + dice.digits(10)
    whole = body + verhoeff.calc_check_digit(body)
    spaced = f"{whole[:4]} {whole[4:8]} {whole[8:]}"
    return Value("IN_AADHAAR", dice.pick((spaced, spaced, whole, spaced.replace(" ", "-"))), cue=True)


def pan(dice: Dice, _language: str) -> Value:
    head = dice.some(string.ascii_uppercase, 3) + dice.pick("PPPPCHFT") + dice.some(string.ascii_uppercase, 1)
    text = head + f"{dice.between(1, 9999):04}" + dice.some(string.ascii_uppercase, 1)
    text = text.lower() if dice.chance(0.08) else text
    return Value("IN_PAN", text, cue=True)
