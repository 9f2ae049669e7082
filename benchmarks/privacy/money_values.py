"""What money is moved with: cards, accounts, wallets. Check digits are computed here, by the books."""

from __future__ import annotations

import hashlib
import string

from stdnum import luhn
from stdnum.iso7064 import mod_97_10

from benchmarks.privacy.labelled import Dice, Value

# First digits (one of a range) and the lengths they come in.
ISSUERS: tuple[tuple[tuple[int, int], tuple[int, ...]], ...] = (
    ((4, 4), (16, 16, 16, 13, 19)),
    ((51, 55), (16,)),
    ((2221, 2720), (16,)),
    ((34, 34), (15,)),
    ((37, 37), (15,)),
    ((6011, 6011), (16,)),
    ((644, 649), (16,)),
    ((65, 65), (16,)),
    ((300, 305), (14,)),
    ((36, 36), (14,)),
    ((38, 39), (14,)),
    ((3528, 3589), (16,)),
    ((622126, 622925), (16, 17, 18, 19)),
    ((5018, 5018), (12, 13, 16, 18, 19)),
    ((5020, 5020), (16,)),
    ((5038, 5038), (16,)),
    ((6304, 6304), (16,)),
    ((6759, 6759), (16, 18)),
    ((6761, 6763), (12, 16, 19)),
    ((2200, 2204), (16,)),
    ((508500, 508999), (16,)),
    ((606282, 606282), (16,)),
    ((636368, 636368), (16,)),
)


def credit_card(dice: Dice, _language: str) -> Value:
    (least, most), lengths = dice.pick(ISSUERS)
    length = dice.pick(lengths)
    first = str(dice.between(least, most))
    body = first + dice.digits(length - len(first) - 1)
    number = body + luhn.calc_check_digit(body)
    sizes = {15: (4, 6, 5), 14: (4, 6, 4)}.get(
        length, (4,) * (length // 4) + ((length % 4,) if length % 4 else ())
    )
    groups, at = [], 0
    for size in sizes:
        groups.append(number[at : at + size])
        at += size
    mark = dice.pick(("", "", " ", " ", " ", "-", "-", "."))
    return Value("CREDIT_CARD", mark.join(groups), cue=length < 14 or mark == ".")


# The basic account number of a country: n digits, a capital letters, c either.
BBAN = {
    "DE": "18n", "FR": "20n1c2n", "ES": "20n", "IT": "1a10n12c", "PT": "21n", "NL": "4a10n",
    "BE": "12n", "GB": "4a14n", "IE": "4a14n", "CH": "17n", "AT": "16n", "PL": "24n",
    "SE": "20n", "NO": "11n", "DK": "14n", "FI": "14n", "LU": "3n13c", "CZ": "20n",
    "HU": "24n", "RO": "4a16c", "BG": "4a14n", "GR": "7n16c", "HR": "17n", "TR": "6n16c",
    "SA": "2n18c", "AE": "19n", "BR": "23n1a1c", "MT": "4a5n18c", "LV": "4a13c",
}  # fmt: skip
_ALPHABETS = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits + string.ascii_uppercase}


def iban(dice: Dice, _language: str) -> Value:
    country = dice.pick(tuple(BBAN))
    bban, count = "", ""
    for mark in BBAN[country]:
        if mark.isdigit():
            count += mark
        else:
            bban, count = bban + dice.some(_ALPHABETS[mark], int(count)), ""
    whole = country + mod_97_10.calc_check_digits(bban + country) + bban
    grouped = " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))
    shape = dice.rolls.random()
    if shape < 0.45:
        return Value("IBAN_CODE", grouped)
    if shape < 0.85:
        return Value("IBAN_CODE", whole)
    return Value("IBAN_CODE", dice.pick((whole.lower(), grouped.lower(), grouped.replace(" ", "-"))))


def bic(dice: Dice, _language: str) -> Value:
    country = dice.pick(
        ("DE", "FR", "ES", "PT", "BR", "GB", "US", "NL", "BE", "AT", "CH", "IT", "PL", "SE", "IE")
    )
    place = dice.some(string.ascii_uppercase + "23456789", 2)
    branch = dice.pick(("", "", "XXX", dice.digits(3)))
    return Value("BIC", dice.some(string.ascii_uppercase, 4) + country + place + branch, cue=True)


def bank_account(dice: Dice, _language: str) -> Value:
    number = dice.pick("123456789") + dice.digits(dice.pick((7, 8, 9, 9, 9, 10, 11)))
    if dice.chance(0.15):
        number = f"{number[:4]}-{number[4:]}" if dice.chance(0.5) else f"{number[:4]} {number[4:]}"
    return Value("US_BANK_NUMBER", number, cue=True)


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def wallet(dice: Dice, _language: str) -> Value:
    roll = dice.rolls.random()
    if roll < 0.25:
        return Value("CRYPTO", _base58(b"\x00" + dice.rolls.randbytes(20)))
    if roll < 0.4:
        return Value("CRYPTO", _base58(b"\x05" + dice.rolls.randbytes(20)))
    if roll < 0.6:
        return Value("CRYPTO", _segwit(dice, 0, 32))
    if roll < 0.7:
        return Value("CRYPTO", _segwit(dice, 1, 52))
    return Value("CRYPTO", "0x" + dice.some("0123456789abcdef", 40))


def _base58(payload: bytes) -> str:
    whole = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(whole, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = _BASE58[rest] + text
    return "1" * (len(whole) - len(whole.lstrip(b"\x00"))) + text


def _segwit(dice: Dice, version: int, length: int) -> str:
    """Bech32 of version 0, Bech32m of those after (BIP 173, BIP 350). The last of 52 symbols is padded."""
    symbols = [version] + [dice.between(0, 31) for _ in range(length - 1)]
    symbols.append(dice.pick((0, 16)) if length == 52 else dice.between(0, 31))
    head = [ord(mark) >> 5 for mark in "bc"] + [0] + [ord(mark) & 31 for mark in "bc"]
    remainder = _polymod(head + symbols + [0] * 6) ^ (1 if version == 0 else 0x2BC830A3)
    check = [(remainder >> 5 * (5 - place)) & 31 for place in range(6)]
    return "bc1" + "".join(_BECH32[symbol] for symbol in symbols + check)


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if (top >> bit) & 1 else 0
    return check
