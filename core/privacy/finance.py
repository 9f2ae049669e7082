"""Accounts: IBAN, BIC, United States bank numbers and the addresses of crypto wallets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256

from core.privacy.context import Cue, after, says, topics
from core.privacy.found import Found
from core.privacy.words import words

# The registry of ISO 13616: how long an account's number is in each country.
IBAN_LENGTHS: Mapping[str, int] = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27,
    "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20,
    "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27,
    "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30,
    "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
    "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28,
    "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19,
    "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
    "YE": 30,
}  # fmt: skip
_IBAN = re.compile(r"(?<![^\W_])(?<!•)[a-z]{2}[0-9]{2}(?=[ -]{0,2}[a-z0-9])", re.IGNORECASE)
_BODY = re.compile(r"(?:[ -]{0,2}[a-z0-9]){11,36}", re.IGNORECASE)
_BIC = re.compile(r"(?<![\w•.@/-])[a-z]{4}[a-z]{2}[a-z0-9]{2}(?:[a-z0-9]{3})?(?![\w@-])", re.IGNORECASE)
_BANK = re.compile(
    r"(?<![\w•.,:/#$€£-])(?:[0-9]{8,17}|[0-9]{2,10}(?:[ -][0-9]{1,10}){1,5})(?![\w•]|[.,:/-][0-9])"
)
_LEAST_BANK_DIGITS = 8
_MOST_BANK_DIGITS = 17
_BIC_ONLY = frozenset({"AX", "XK", "IM", "JE", "GG"})
_WALLETS = re.compile(
    r"(?<![\w•])(?:(?P<base58>[13][1-9A-HJ-NP-Za-km-z]{25,34}|[LM][1-9A-HJ-NP-Za-km-z]{26,33}"
    r"|T[1-9A-HJ-NP-Za-km-z]{33}|D[1-9A-HJ-NP-Za-km-z]{33})"
    r"|(?P<bech>(?:bc1|ltc1)[02-9ac-hj-np-z]{11,71}|(?:BC1|LTC1)[02-9AC-HJ-NP-Z]{11,71})"
    r"|(?P<hex>0x[0-9a-fA-F]{40})"
    r"|(?P<ada>addr1[02-9ac-hj-np-z]{50,110}))(?![\w•])"
)
_BASE58 = {
    letter: value for value, letter in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}
_BECH32 = {letter: value for value, letter in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}
_POLYNOMIAL = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def ibans(text: str, out: list[Found]) -> None:
    """Accounts in any country of the registry, in any case, with spaces or without."""
    past = 0
    for head in _IBAN.finditer(text):
        begin = head.start()
        if begin < past:
            continue
        length = IBAN_LENGTHS.get(head.group()[:2].upper())
        body = _BODY.match(text, head.end()) if length else None
        if length is None or body is None:
            continue
        end, kept = head.end(), 4
        while kept < length and end < body.end():
            if text[end] not in " -":
                kept += 1
            end += 1
        if kept < length or (end < len(text) and (text[end].isalnum() or text[end] == "•")):
            continue
        if _mod97(re.sub("[ -]", "", text[begin:end]).upper()):
            out.append((0.97, begin, end, "IBAN_CODE"))
            past = end


def _mod97(iban: str) -> bool:
    return int("".join([str(int(letter, 36)) for letter in iban[4:] + iban[:4]])) % 97 == 1


def bics(text: str, out: list[Found]) -> None:
    """Codes of banks: of a real country, beside a word for them or an account."""
    for held in _BIC.finditer(text):
        code = held.group()
        country = code[4:6].upper()
        if country not in IBAN_LENGTHS and country not in _OTHER_COUNTRIES and country not in _BIC_ONLY:
            continue
        if code != code.upper() and not (code == code.lower() and any(letter.isdigit() for letter in code)):
            continue
        begin, end = held.span()
        if says(text, begin, end, Cue.BIC):
            out.append((0.8, begin, end, "BIC"))
        elif any(letter.isdigit() for letter in code[6:]) and any(
            topic & (Cue.BANK) for topic in topics(text, begin)
        ):
            out.append((0.5, begin, end, "BIC"))


_OTHER_COUNTRIES = words("""
    AF AG AI AM AO AR AS AU AW BB BD BF BJ BM BN BO BS BT BW BZ CA CD CF CG CI CK CL CM CN CO CU CV CW
    DM DZ EC ER ET FJ FM GA GD GF GH GM GN GQ GU GW GY HK HT ID IN IR JM JP KE KG KH KI KM KN KP KR KY
    LA LK LR LS MA MG MH ML MM MO MS MV MW MX MY MZ NA NC NE NG NP NR NU NZ PA PE PF PG PH PR PW PY RW
    SB SG SH SL SN SR SS SX SY SZ TC TD TG TH TJ TM TO TT TV TW TZ UG US UY UZ VC VE VI VN VU WS ZA ZM
    ZW
""")


def bank_numbers(text: str, out: list[Found]) -> None:
    """Account and routing numbers: digits that the word before them calls so."""
    for held in _BANK.finditer(text):
        begin, end = held.span()
        if not _LEAST_BANK_DIGITS <= sum(map(str.isdigit, held.group())) <= _MOST_BANK_DIGITS:
            continue
        cues = [cue for cue in topics(text, begin) if cue != Cue.NUMBER]
        told = cues and cues[0] & (Cue.BANK | Cue.CARD) and any(cue & Cue.BANK for cue in cues[:3])
        if told or _called_behind(cues, after(text, end)):
            out.append((0.55, begin, end, "US_BANK_NUMBER"))


def _called_behind(cues: list[int], behind: int) -> bool:
    return bool(behind & Cue.BANK and (not cues or behind & Cue.LINKED))


def wallets(text: str, out: list[Found]) -> None:
    """Addresses of Bitcoin, Litecoin, Dogecoin, Tron, Ethereum and Cardano, by their own checks."""
    for held in _WALLETS.finditer(text):
        name, address = held.lastgroup, held.group()
        if name == "hex":
            score = 0.96
        elif name == "base58":
            score = 0.95 if _base58(address) else 0.0
        elif name == "bech":
            score = 0.95 if _bech32(address.lower()) else 0.0
        else:
            score = 0.8
        if score:
            out.append((score, held.start(), held.end(), "CRYPTO"))


def _base58(address: str) -> bool:
    number = 0
    for letter in address:
        number = number * 58 + _BASE58[letter]
    if number >= 1 << 200:
        return False
    raw = number.to_bytes(25, "big")
    return sha256(sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


def _bech32(address: str) -> bool:
    prefix, _, rest = address.partition("1")
    values = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    checksum = 1
    for value in values + [_BECH32[letter] for letter in rest]:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate(_POLYNOMIAL):
            if top >> bit & 1:
                checksum ^= term
    return checksum in {1, 0x2BC830A3}  # Bech32 and Bech32m
